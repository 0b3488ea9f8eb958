//! Packs: blobs one behind the other, a sealed header, its length; and the index that says where each blob lies.
//!
//! It does no I/O. Blobs of data and of trees must never share a pack.

use bytes::Bytes;
use jiff::Timestamp;
use object_store::PutPayload;
use rustic_core::Id;
use rustic_core::repofile::BlobType;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::seal::{SealedBlob, Sealer};

/// The entry of a blob in an index, in the words of the format.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct IndexBlob {
    id: Id,
    #[serde(rename = "type")]
    kind: BlobType,
    offset: u32,
    length: u32,
    uncompressed_length: u32,
}

/// The entry of a pack in an index, in the words of the format.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct IndexPack {
    id: Id,
    blobs: Vec<IndexBlob>,
    /// When it was written; prune asks for it.
    time: Timestamp,
}

impl IndexPack {
    /// How many blobs the pack has.
    pub(crate) fn blobs(&self) -> usize {
        self.blobs.len()
    }
}

/// An index file.
#[derive(Debug, Serialize)]
pub(crate) struct IndexFile<'a> {
    pub(crate) packs: &'a [IndexPack],
}

/// A pack ready to be stored under its id.
#[derive(Debug)]
pub(crate) struct Pack {
    pub(crate) id: Id,
    pub(crate) content: PutPayload,
    pub(crate) entry: IndexPack,
}

/// Gathers sealed blobs of one kind.
#[derive(Debug)]
pub(crate) struct Packer {
    kind: BlobType,
    blobs: Vec<IndexBlob>,
    content: Vec<Bytes>,
    size: u32,
}

impl Packer {
    pub(crate) fn new(kind: BlobType) -> Self {
        Self {
            kind,
            blobs: Vec::new(),
            content: Vec::new(),
            size: 0,
        }
    }

    /// Bytes gathered so far.
    pub(crate) fn size(&self) -> u32 {
        self.size
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.blobs.is_empty()
    }

    pub(crate) fn add(&mut self, id: Id, blob: SealedBlob) -> Result<()> {
        let full = Error::Limit {
            attempt: "add a blob to a pack",
            reason: "the pack passes 4 GiB",
        };
        let Ok(length) = u32::try_from(blob.bytes.len()) else {
            return Err(full);
        };
        let Some(end) = self.size.checked_add(length) else {
            return Err(full);
        };
        self.blobs.push(IndexBlob {
            id,
            kind: self.kind,
            offset: self.size,
            length,
            uncompressed_length: blob.plain_length,
        });
        self.content.push(blob.bytes.into());
        self.size = end;
        Ok(())
    }

    /// Closes the pack with its header.
    pub(crate) fn close(mut self, sealer: &Sealer) -> Result<Pack> {
        let mut header = Vec::with_capacity(self.blobs.len() * 41);
        for blob in &self.blobs {
            // 2 and 3: compressed data, compressed tree; lengths are little-endian.
            header.push(match blob.kind {
                BlobType::Data => 2,
                BlobType::Tree => 3,
            });
            header.extend_from_slice(&blob.length.to_le_bytes());
            header.extend_from_slice(&blob.uncompressed_length.to_le_bytes());
            hex::decode(blob.id.to_hex().as_str())
                .map(|id| header.extend_from_slice(&id))
                .map_err(|_| Error::Limit {
                    attempt: "write the header of a pack",
                    reason: "an id is not hexadecimal",
                })?;
        }
        let header = sealer.seal(&header)?;
        let length = u32::try_from(header.len()).map_err(|_| Error::Limit {
            attempt: "write the header of a pack",
            reason: "it passes 4 GiB",
        })?;
        self.content.push(header.into());
        self.content
            .push(Bytes::copy_from_slice(&length.to_le_bytes()));
        let mut hasher = Sha256::new();
        for part in &self.content {
            hasher.update(part);
        }
        let id = Id::new(hasher.finalize().into());
        Ok(Pack {
            id,
            content: self.content.into_iter().collect(),
            entry: IndexPack {
                id,
                blobs: self.blobs,
                time: Timestamp::now(),
            },
        })
    }
}
