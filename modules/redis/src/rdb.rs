//! The format of `dump.rdb` as far as a copy can be proven by it: magic, version, the fields that
//! the server writes about itself, the end mark and the checksum over all that is before it.

use std::fmt;

use cofferdam_guest_sdk::{Context, Error, Host, Result};
use crc::{CRC_64_REDIS, Crc, Table};

/// A table of 16 lanes: 32 KiB in the guest, and as fast as the chunks come.
static CRC: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_REDIS);
/// How a dump begins, and the digits of its version: Valkey has its own from 9 on.
const MAGIC: [(&[u8], usize); 2] = [(b"REDIS", 4), (b"VALKEY", 3)];
/// The opcode after the last key.
const END: u8 = 0xFF;
/// The opcode before a field that the server writes about itself.
const FIELD: u8 = 0xFA;
/// The checksum is eight bytes.
const CHECKSUM: usize = 8;
/// Large enough that crossing into the host costs nothing beside reading.
const CHUNK: u32 = 1024 * 1024;
/// Versions before 5 have no checksum; no server of this century writes them.
const OLDEST: u32 = 5;

/// What the last eight bytes of a dump say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checksum {
    /// The CRC-64 over everything before it.
    Is(u64),
    /// The server runs with `rdbchecksum no`.
    Off,
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(sum) => write!(f, "{sum:016x}"),
            Self::Off => f.write_str("off"),
        }
    }
}

/// A dump that was found whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dump {
    pub(crate) bytes: u64,
    pub(crate) version: u32,
    pub(crate) checksum: Checksum,
}

/// What the first bytes say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Head {
    /// The version of the format.
    pub(crate) version: u32,
    /// The version of the server that wrote it, where it says so.
    pub(crate) server: Option<String>,
    /// When it was written, in seconds since 1970, where it says so.
    pub(crate) written: Option<u64>,
}

/// Reads magic, version and the fields that follow them.
pub(crate) fn read_head(head: &[u8]) -> Result<Head> {
    let not_a_dump = || {
        Error::failed(
            "not-a-dump",
            "this is no dump: it begins with neither `REDIS` nor `VALKEY` and a version",
        )
    };
    let (digits, mut rest) = MAGIC
        .iter()
        .find_map(|(word, digits)| head.strip_prefix(*word)?.split_at_checked(*digits))
        .ok_or_else(not_a_dump)?;
    let version = str::from_utf8(digits)
        .ok()
        .and_then(|digits| digits.parse().ok());
    let version: u32 = version
        .filter(|version| *version >= OLDEST)
        .ok_or_else(not_a_dump)?;
    let mut found = Head {
        version,
        ..Head::default()
    };
    while let Some((&FIELD, after)) = rest.split_first() {
        let Some((key, after)) = read_string(after) else {
            break;
        };
        let Some((value, after)) = read_string(after) else {
            break;
        };
        match key.as_str() {
            "redis-ver" | "valkey-ver" => found.server = Some(value),
            "ctime" => found.written = value.parse().ok(),
            _ => {}
        }
        rest = after;
    }
    Ok(found)
}

/// A string of the format: plain with a short or middling length, or a small number. Fields hold
/// nothing else.
fn read_string(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    let low = first & 0x3F;
    match first >> 6 {
        0 => take_text(rest, usize::from(low)),
        1 => {
            let (&next, rest) = rest.split_first()?;
            take_text(rest, usize::from(low) << 8 | usize::from(next))
        }
        // A number of one, two or four bytes.
        3 => {
            let width = match low {
                0 => 1,
                1 => 2,
                2 => 4,
                _ => return None,
            };
            let (number, rest) = rest.split_at_checked(width)?;
            let value = number
                .iter()
                .rev()
                .fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
            Some((value.to_string(), rest))
        }
        _ => None,
    }
}

fn take_text(bytes: &[u8], length: usize) -> Option<(String, &[u8])> {
    let (text, rest) = bytes.split_at_checked(length)?;
    Some((String::from_utf8_lossy(text).into_owned(), rest))
}

/// Reads the end mark and the checksum behind it.
pub(crate) fn read_tail(tail: &[u8]) -> Result<Checksum> {
    let at = tail.len().checked_sub(CHECKSUM + 1);
    match at.and_then(|at| tail.get(at..)) {
        Some([END, sum @ ..]) => {
            let sum = sum
                .iter()
                .rev()
                .fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
            Ok(if sum == 0 {
                Checksum::Off
            } else {
                Checksum::Is(sum)
            })
        }
        Some(_) | None => Err(Error::failed(
            "no-trailer",
            "the dump has no end mark: it is not whole",
        )),
    }
}

/// Reads a whole artifact and proves it: digest of its evidence, magic, end mark and checksum.
///
/// The chunks come into the guest, because only a look at each byte gives the checksum.
pub(crate) fn examine(host: &dyn Host, artifact: &str) -> Result<Dump> {
    let evidence = host.evidence(artifact)?;
    let total = evidence.number("bytes");
    let mut source = host.open_artifact(artifact)?;
    let mut check = Check::default();
    loop {
        let chunk = source
            .read(CHUNK)
            .context(format!("failed to read artifact `{artifact}`"))?;
        if chunk.is_empty() {
            break;
        }
        check.update(&chunk);
        host.progress("check", check.bytes, total, "bytes");
    }
    let dump = check
        .finish()
        .context(format!("artifact `{artifact}` is damaged"))?;
    match total {
        Some(total) if total != dump.bytes => Err(Error::failed(
            "not-the-same",
            format!(
                "artifact `{artifact}` has {} bytes, but its evidence says {total}",
                dump.bytes
            ),
        )),
        Some(_) | None => Ok(dump),
    }
}

/// The checksum over a stream of chunks, and what its ends say. The last eight bytes are held
/// back, because only the end of the stream tells that they are the checksum.
struct Check {
    digest: crc::Digest<'static, u64, Table<16>>,
    bytes: u64,
    head: Vec<u8>,
    held_back: Vec<u8>,
    before_checksum: Option<u8>,
}

impl Default for Check {
    fn default() -> Self {
        Self {
            digest: CRC.digest(),
            bytes: 0,
            head: Vec::new(),
            held_back: Vec::new(),
            before_checksum: None,
        }
    }
}

impl Check {
    fn update(&mut self, chunk: &[u8]) {
        self.bytes = self
            .bytes
            .saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
        // 4 KiB hold every field that a server writes.
        let room = 4096_usize.saturating_sub(self.head.len());
        self.head.extend(chunk.iter().take(room));
        let mut joined = std::mem::take(&mut self.held_back);
        if chunk.len() >= CHECKSUM {
            self.digest_bytes(&joined);
            let (body, last) = chunk.split_at(chunk.len().saturating_sub(CHECKSUM));
            self.digest_bytes(body);
            self.held_back = last.to_vec();
        } else {
            joined.extend_from_slice(chunk);
            let (body, last) = joined.split_at(joined.len().saturating_sub(CHECKSUM));
            self.digest_bytes(body);
            self.held_back = last.to_vec();
        }
    }

    fn digest_bytes(&mut self, bytes: &[u8]) {
        self.digest.update(bytes);
        self.before_checksum = bytes.last().copied().or(self.before_checksum);
    }

    fn finish(self) -> Result<Dump> {
        let head = read_head(&self.head)?;
        let mut tail: Vec<u8> = self.before_checksum.into_iter().collect();
        tail.extend(self.held_back);
        let checksum = read_tail(&tail)?;
        let computed = self.digest.finalize();
        match checksum {
            Checksum::Is(written) if written != computed => Err(Error::failed(
                "bad-checksum",
                format!(
                    "the dump says checksum {written:016x}, but its bytes have {computed:016x}"
                ),
            )),
            Checksum::Is(_) | Checksum::Off => Ok(Dump {
                bytes: self.bytes,
                version: head.version,
                checksum,
            }),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Written by a real Redis 7.0.15: four keys in database 0, one of them with a time to live
    /// that ends in 2026, and one key in database 3.
    pub(crate) const REAL: &[u8] = include_bytes!("../fixtures/redis-7.0.15.rdb");

    fn check(chunks: &[&[u8]]) -> Result<Dump> {
        let mut check = Check::default();
        for chunk in chunks {
            check.update(chunk);
        }
        check.finish()
    }

    #[test]
    fn a_real_dump_is_whole_however_it_is_cut_into_chunks() {
        for size in [1, 3, 7, 8, 9, 64, 4096] {
            let chunks: Vec<&[u8]> = REAL.chunks(size).collect();
            let dump = check(&chunks).expect("whole");
            assert_eq!(dump.bytes, 140);
            assert_eq!(dump.version, 10);
            assert_eq!(dump.checksum, Checksum::Is(0x8792_e170_f831_df23));
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_is_found() {
        for at in 0..REAL.len() {
            let mut damaged = REAL.to_vec();
            damaged[at] ^= 1;
            assert!(check(&[&damaged]).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_dump_without_its_last_byte_is_not_whole() {
        assert!(check(&[&REAL[..REAL.len() - 1]]).is_err());
        assert!(check(&[b"REDIS0010"]).is_err());
        assert!(check(&[]).is_err());
    }

    #[test]
    fn a_dump_without_a_checksum_says_so() {
        let mut off = REAL.to_vec();
        let end = off.len() - CHECKSUM;
        off[end..].fill(0);
        assert_eq!(check(&[&off]).expect("whole").checksum, Checksum::Off);
    }

    #[test]
    fn the_head_tells_server_and_time() {
        let head = read_head(REAL).expect("a head");
        assert_eq!(head.version, 10);
        assert_eq!(head.server.as_deref(), Some("7.0.15"));
        assert_eq!(head.written, Some(1_795_344_421));
        assert!(read_head(b"REDIS00").is_err());
        assert!(read_head(b"MYSQL0010").is_err());
    }

    #[test]
    fn valkey_9_has_a_magic_of_its_own() {
        let valkey = include_bytes!("../fixtures/valkey-9.1.2.rdb");
        let dump = check(&[valkey]).expect("whole");
        assert_eq!(dump.version, 80);
        assert_eq!(dump.checksum, Checksum::Is(0xe5f1_09a8_078e_c823));
        let head = read_head(valkey).expect("a head");
        assert_eq!(head.server.as_deref(), Some("9.1.2"));
        assert_eq!(head.written, Some(1_795_348_939));
        let mut damaged = valkey.to_vec();
        damaged[90] ^= 4;
        assert!(check(&[&damaged]).is_err());
    }
}
