//! Compression and encryption as the restic format wants them: zstd, then AES-256-CTR with Poly1305-AES.
//!
//! `rustic_core` keeps its own seal private, and trees with the right sizes cannot be written without one. Nothing here
//! invents cryptography: the cipher is the crate that `rustic_core` uses. A nonce must never be used twice; each
//! comes from the operating system.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use aes256ctr_poly1305aes::aead::{Aead, AeadInPlace};
use aes256ctr_poly1305aes::{Aes256CtrPoly1305Aes, Key, Nonce};
use rustic_core::Id;
use rustic_core::repofile::MasterKey;
use sha2::{Digest, Sha256};
use zeroize::Zeroize;

use crate::error::{Error, Result};

/// Bytes of the nonce before, and of the tag behind, what is sealed.
const NONCE: usize = 16;
const TAG: usize = 16;
/// What a nonce and a tag add to what is sealed.
pub(crate) const OVERHEAD: usize = NONCE + TAG;
/// The first byte of a compressed index or snapshot file.
const COMPRESSED: u8 = 2;

/// The hash that names blobs and files.
pub(crate) fn hash(data: &[u8]) -> Id {
    Id::new(Sha256::digest(data).into())
}

/// A blob as it lies in a pack.
#[derive(Debug)]
pub(crate) struct SealedBlob {
    pub(crate) bytes: Vec<u8>,
    /// The length before compression, never 0.
    pub(crate) plain_length: u32,
}

struct Compressor {
    context: zstd::bulk::Compressor<'static>,
    scratch: Vec<u8>,
}

/// Seals with the master key of one repository.
pub(crate) struct Sealer {
    key: Key,
    level: i32,
    /// Contexts are kept, because making one for each chunk of a MiB costs a tenth of the compression.
    idle: Mutex<Vec<Compressor>>,
}

impl fmt::Debug for Sealer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Sealer")
    }
}

impl Drop for Sealer {
    fn drop(&mut self) {
        self.key.as_mut_slice().zeroize();
    }
}

impl Sealer {
    /// Takes the master key and the zstd level.
    pub(crate) fn new(master: &MasterKey, level: i32) -> Result<Self> {
        let mut bytes = Vec::with_capacity(64);
        bytes.extend_from_slice(&master.encrypt);
        bytes.extend_from_slice(&master.mac.k);
        bytes.extend_from_slice(&master.mac.r);
        if bytes.len() != 64 {
            return Err(Error::Limit {
                attempt: "use the master key of the repository",
                reason: "it is not 64 bytes long",
            });
        }
        let key = *Key::from_slice(&bytes);
        bytes.zeroize();
        Ok(Self {
            key,
            level,
            idle: Mutex::new(Vec::new()),
        })
    }

    /// The zstd level.
    pub(crate) fn level(&self) -> i32 {
        self.level
    }

    /// Compresses and seals a blob. An empty blob cannot exist in the format.
    pub(crate) fn seal_blob(&self, plain: &[u8]) -> Result<SealedBlob> {
        let plain_length = u32::try_from(plain.len())
            .ok()
            .filter(|length| *length > 0)
            .ok_or(Error::Limit {
                attempt: "seal a blob",
                reason: "it is empty or longer than 4 GiB",
            })?;
        let bytes = self.compressed(&[], plain, |compressed| self.seal(compressed))?;
        Ok(SealedBlob {
            bytes,
            plain_length,
        })
    }

    /// Compresses and seals an index or snapshot file; the name of the file is the hash of what comes back.
    pub(crate) fn seal_file(&self, plain: &[u8]) -> Result<Vec<u8>> {
        self.compressed(&[COMPRESSED], plain, |compressed| self.seal(compressed))
    }

    /// Seals without compression.
    pub(crate) fn seal(&self, plain: &[u8]) -> Result<Vec<u8>> {
        let refused = |reason| Error::Limit {
            attempt: "seal data",
            reason,
        };
        let mut nonce = Nonce::default();
        getrandom::fill(&mut nonce)
            .map_err(|_| refused("the operating system gave no random bytes"))?;
        let mut sealed = Vec::with_capacity(plain.len() + OVERHEAD);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plain);
        let body = sealed.get_mut(NONCE..).unwrap_or_default();
        let tag = Aes256CtrPoly1305Aes::new(&self.key)
            .encrypt_in_place_detached(&nonce, &[], body)
            .map_err(|_| refused("the cipher refused"))?;
        sealed.extend_from_slice(&tag);
        Ok(sealed)
    }

    /// Opens what [`Self::seal`] made; `None` if it was changed since or sealed with another key.
    pub(crate) fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, body) = sealed.split_at_checked(NONCE)?;
        Aes256CtrPoly1305Aes::new(&self.key)
            .decrypt(Nonce::from_slice(nonce), body)
            .ok()
    }

    fn compressed<T>(
        &self,
        head: &[u8],
        plain: &[u8],
        then: impl FnOnce(&[u8]) -> Result<T>,
    ) -> Result<T> {
        let refused = |reason| Error::Limit {
            attempt: "compress data",
            reason,
        };
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let mut compressor = match idle {
            Some(compressor) => compressor,
            None => Compressor {
                context: zstd::bulk::Compressor::new(self.level)
                    .map_err(|_| refused("zstd gave no context"))?,
                scratch: Vec::new(),
            },
        };
        compressor.scratch.clear();
        compressor
            .scratch
            .reserve(head.len() + zstd::zstd_safe::compress_bound(plain.len()));
        compressor.scratch.extend_from_slice(head);
        // zstd writes over a Vec from its start, so the head goes through a cursor behind it.
        let mut target = std::io::Cursor::new(&mut compressor.scratch);
        target.set_position(head.len() as u64);
        compressor
            .context
            .compress_to_buffer(plain, &mut target)
            .map_err(|_| refused("zstd refused"))?;
        let result = then(&compressor.scratch);
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(compressor);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer() -> Sealer {
        Sealer::new(&MasterKey::new(), 1).unwrap()
    }

    #[test]
    fn what_was_sealed_opens_again_and_only_unchanged() {
        let sealer = sealer();
        let mut sealed = sealer.seal(b"one").unwrap();
        assert_eq!(sealer.open(&sealed).unwrap(), b"one");
        sealed[17] ^= 1;
        assert!(sealer.open(&sealed).is_none());
        assert!(sealer.open(b"short").is_none());
    }

    #[test]
    fn a_compressed_blob_comes_back_and_the_next_one_is_not_mixed_with_it() {
        let sealer = sealer();
        for plain in [vec![7_u8; 3_000_000], b"two".to_vec()] {
            let blob = sealer.seal_blob(&plain).unwrap();
            let opened = sealer.open(&blob.bytes).unwrap();
            assert_eq!(zstd::stream::decode_all(&opened[..]).unwrap(), plain);
            assert_eq!(blob.plain_length as usize, plain.len());
            let file = sealer.open(&sealer.seal_file(&plain).unwrap()).unwrap();
            assert_eq!(file[0], 2);
            assert_eq!(zstd::stream::decode_all(&file[1..]).unwrap(), plain);
        }
        assert!(sealer.seal_blob(b"").is_err());
    }
}
