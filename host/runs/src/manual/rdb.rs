//! A dump of Redis or Valkey, proven by its magic, its end mark and its CRC-64.

use std::fs::File;
use std::io::Read;

use bytes::Bytes;
use crc::{CRC_64_REDIS, Crc, Table};

use super::dump::{CHUNK, Counted, Proof, Stop};

static CRC: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_REDIS);
/// How a dump begins, and the digits of its version: Valkey has its own from 9 on.
const MAGIC: [(&[u8], usize); 2] = [(b"REDIS", 4), (b"VALKEY", 3)];
/// The opcode after the last key.
const END: u8 = 0xFF;
/// The checksum is eight bytes, the least first.
const CHECKSUM: usize = 8;
/// Versions before 5 have no checksum; no server of this century writes them.
const OLDEST: u32 = 5;

/// Reads a dump to its end and hands on its bytes. What it hands on counts only when it returns a
/// proof.
pub(super) fn read(
    file: File,
    take: &mut dyn FnMut(Bytes) -> Result<(), Stop>,
) -> Result<Proof, Stop> {
    let mut source = Counted::new(file);
    let mut digest = CRC.digest();
    let mut version = None;
    // The last nine bytes are held back: only the end of the file tells that they are the trailer.
    let mut held: Vec<u8> = Vec::new();
    loop {
        let mut chunk = Vec::with_capacity(CHUNK);
        let read = (&mut source).take(CHUNK as u64).read_to_end(&mut chunk);
        read.map_err(|error| Stop::problem(format!("cannot be read: {error}")))?;
        if version.is_none() {
            version = Some(check_magic(&chunk)?);
        }
        if chunk.is_empty() {
            break;
        }
        held.extend_from_slice(&chunk);
        let (body, last) = held.split_at(held.len().saturating_sub(CHECKSUM + 1));
        digest.update(body);
        held = last.to_vec();
        take(chunk.into())?;
    }
    let Some((&END, sum)) = held.split_first().filter(|_| held.len() == CHECKSUM + 1) else {
        return Err(Stop::problem("has no end mark: the dump is not whole"));
    };
    digest.update(&[END]);
    let written = sum
        .iter()
        .rev()
        .fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    let computed = digest.finalize();
    let checksum = match written {
        0 => "off".to_owned(),
        written if written == computed => format!("{written:016x}"),
        written => {
            return Err(Stop::problem(format!(
                "is damaged: it says checksum {written:016x}, but its bytes have {computed:016x}"
            )));
        }
    };
    let checked = if written == 0 {
        "magic and end mark; the server wrote no checksum"
    } else {
        "magic, end mark and CRC-64"
    };
    let mut proof = source.proof();
    proof.pairs = [
        ("format-version", version.unwrap_or_default().to_string()),
        ("checksum", checksum),
        ("checked", checked.to_owned()),
        (
            "not-checked",
            "which server wrote it and when, and its keys: no server was asked".to_owned(),
        ),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into();
    Ok(proof)
}

fn check_magic(first: &[u8]) -> Result<u32, Stop> {
    let problem = || {
        Stop::problem(if first.is_empty() {
            "is empty"
        } else {
            "is no dump of Redis: it begins with neither `REDIS` nor `VALKEY` and a version"
        })
    };
    let (digits, _) = MAGIC
        .iter()
        .find_map(|(word, digits)| first.strip_prefix(*word)?.split_at_checked(*digits))
        .ok_or_else(problem)?;
    let version = str::from_utf8(digits)
        .ok()
        .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()))
        .and_then(|digits| digits.parse().ok());
    version
        .filter(|version| *version >= OLDEST)
        .ok_or_else(problem)
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};

    use super::*;

    /// Written by a real Redis 7.0.15 and a real Valkey 9.1.2, for the module `redis`.
    const REDIS: &[u8] = include_bytes!("../../../../modules/redis/fixtures/redis-7.0.15.rdb");
    const VALKEY: &[u8] = include_bytes!("../../../../modules/redis/fixtures/valkey-9.1.2.rdb");

    fn check(bytes: &[u8]) -> Result<(Proof, usize), String> {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(bytes).expect("written");
        file.rewind().expect("rewound");
        let mut taken = 0;
        let mut take = |bytes: Bytes| {
            taken += bytes.len();
            Ok(())
        };
        match read(file, &mut take) {
            Ok(proof) => Ok((proof, taken)),
            Err(Stop::Problem(text)) => Err(text),
            Err(Stop::Taker) => panic!("nobody stopped it"),
        }
    }

    #[test]
    fn real_dumps_are_whole_and_handed_on_whole() {
        for (dump, sum) in [(REDIS, "8792e170f831df23"), (VALKEY, "e5f109a8078ec823")] {
            let (proof, taken) = check(dump).expect("whole");
            assert_eq!(taken, dump.len());
            assert_eq!(proof.file_bytes, dump.len() as u64);
            assert!(
                proof
                    .pairs
                    .contains(&("checksum".to_owned(), sum.to_owned())),
                "{proof:?}"
            );
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_and_every_cut_is_found() {
        for at in 0..REDIS.len() {
            let mut damaged = REDIS.to_vec();
            damaged[at] ^= 1;
            assert!(check(&damaged).is_err(), "byte {at}");
            assert!(check(&REDIS[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_dump_longer_than_a_chunk_is_summed_across_the_cuts() {
        for length in [
            CHUNK - 9,
            CHUNK - 8,
            CHUNK - 1,
            CHUNK,
            CHUNK + 1,
            CHUNK + 8,
            3 * CHUNK,
        ] {
            let mut dump = b"REDIS0010".to_vec();
            dump.resize(length, 7);
            dump.push(END);
            let sum = CRC.checksum(&dump);
            dump.extend_from_slice(&sum.to_le_bytes());
            check(&dump).expect("whole");
            *dump.last_mut().expect("a byte") ^= 1;
            assert!(check(&dump).is_err(), "{length}");
        }
    }

    #[test]
    fn a_dump_without_a_checksum_says_so() {
        let mut off = REDIS.to_vec();
        let end = off.len() - CHECKSUM;
        off[end..].fill(0);
        let (proof, _) = check(&off).expect("whole");
        let checked = proof.pairs.iter().find(|(key, _)| key == "checked");
        assert!(checked.is_some_and(|(_, text)| text.contains("wrote no checksum")));
    }
}
