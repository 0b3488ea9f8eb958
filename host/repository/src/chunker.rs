//! Cuts a stream into chunks where its content says so, so that an insertion moves one chunk and not all that follow.
//!
//! The cut is restic's: a Rabin fingerprint over 64 bytes with the secret polynomial of the repository. It does no I/O
//! and never holds more than one chunk.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use rustic_cdc::{Polynom, Polynom64, Rabin64};
use rustic_core::repofile::ConfigFile;

use crate::error::{Error, Result};

/// Bytes in the window of the fingerprint; restic's number, part of the format's deduplication.
const WINDOW: usize = 64;

/// What the fingerprint of one repository needs.
#[derive(Debug)]
pub(crate) struct Cut {
    out: [Polynom64; 256],
    modulo: [Polynom64; 256],
    shift: u32,
    mask: u64,
    smallest: usize,
    largest: usize,
}

impl Cut {
    /// Reads the polynomial and the sizes from the configuration of the repository.
    pub(crate) fn new(config: &ConfigFile) -> Result<Self> {
        let refused = |reason| Error::Limit {
            attempt: "set up the chunker",
            reason,
        };
        let polynomial = config
            .poly()
            .map_err(Error::format("read the chunker's polynomial"))?;
        let shift = u32::try_from(polynomial.degree() - 8)
            .map_err(|_| refused("the polynomial of the repository has a degree under 8"))?;
        let average = config.chunk_size();
        let (smallest, largest) = (config.chunk_min_size(), config.chunk_max_size());
        if !average.is_power_of_two() || smallest < WINDOW || largest < smallest {
            return Err(refused(
                "the chunk sizes of the repository contradict each other",
            ));
        }
        Ok(Self {
            out: Rabin64::calculate_out_table(WINDOW, &polynomial),
            modulo: Rabin64::calculate_mod_table(&polynomial),
            shift,
            mask: average as u64 - 1,
            smallest,
            largest,
        })
    }
}

/// Cuts one stream.
#[derive(Debug)]
pub(crate) struct Chunker {
    cut: Arc<Cut>,
    chunk: Vec<u8>,
    /// How far the fingerprint has gone; 0 until the chunk has its smallest size.
    scanned: usize,
    fingerprint: u64,
}

impl Chunker {
    pub(crate) fn new(cut: Arc<Cut>) -> Self {
        Self {
            cut,
            chunk: Vec::new(),
            scanned: 0,
            fingerprint: 0,
        }
    }

    /// Takes bytes until a chunk is whole and returns it, or takes them all.
    ///
    /// `spare` is an empty buffer for the chunk after it.
    pub(crate) fn push(
        &mut self,
        bytes: &mut Bytes,
        spare: impl FnOnce() -> Vec<u8>,
    ) -> Option<Vec<u8>> {
        let before = self.chunk.len();
        let taken = bytes.len().min(self.cut.largest.saturating_sub(before));
        self.chunk
            .extend_from_slice(bytes.get(..taken).unwrap_or_default());
        let Some(end) = self.find_cut() else {
            bytes.advance(taken);
            return None;
        };
        bytes.advance(end.saturating_sub(before));
        self.chunk.truncate(end);
        self.scanned = 0;
        Some(std::mem::replace(&mut self.chunk, spare()))
    }

    /// The rest of the stream; empty if it ended with a cut.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        self.scanned = 0;
        std::mem::take(&mut self.chunk)
    }

    fn find_cut(&mut self) -> Option<usize> {
        let cut = &*self.cut;
        if self.chunk.len() < cut.smallest {
            return None;
        }
        let mut fingerprint = self.fingerprint;
        if self.scanned == 0 {
            fingerprint = 0;
            for byte in self.chunk.get(cut.smallest - WINDOW..cut.smallest)? {
                let index = table_index(fingerprint >> cut.shift);
                fingerprint = (fingerprint << 8 | u64::from(*byte)) ^ entry(&cut.modulo, index);
            }
            self.scanned = cut.smallest;
            if fingerprint & cut.mask == 0 {
                return Some(cut.smallest);
            }
        }
        let leaving = self.chunk.get(self.scanned - WINDOW..)?;
        let entering = self.chunk.get(self.scanned..)?;
        for (position, (old, new)) in (self.scanned + 1..).zip(leaving.iter().zip(entering)) {
            fingerprint ^= entry(&cut.out, *old);
            let index = table_index(fingerprint >> cut.shift);
            fingerprint = (fingerprint << 8 | u64::from(*new)) ^ entry(&cut.modulo, index);
            if fingerprint & cut.mask == 0 {
                return Some(position);
            }
        }
        self.fingerprint = fingerprint;
        self.scanned = self.chunk.len();
        (self.chunk.len() >= cut.largest).then_some(cut.largest)
    }
}

/// The lowest byte, which is what a table of 256 entries is asked for.
#[inline]
fn table_index(value: u64) -> u8 {
    let [lowest, ..] = value.to_le_bytes();
    lowest
}

/// A byte never misses a table of 256 entries, which the compiler sees as well.
#[inline]
#[expect(
    clippy::indexing_slicing,
    reason = "an index of type u8 is always within 256 entries"
)]
fn entry(table: &[Polynom64; 256], index: u8) -> Polynom64 {
    table[usize::from(index)]
}

#[cfg(test)]
mod tests {
    use rustic_cdc::RollingHash64;

    use super::*;

    const POLYNOMIAL: u64 = 0x003D_A335_8B4D_C173;

    fn cut() -> Arc<Cut> {
        let config = ConfigFile {
            version: 2,
            chunker_polynomial: format!("{POLYNOMIAL:x}"),
            chunk_size: Some(4096),
            chunk_min_size: Some(1024),
            chunk_max_size: Some(16384),
            ..ConfigFile::default()
        };
        Arc::new(Cut::new(&config).unwrap())
    }

    /// Bytes without a pattern, the same each time.
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        (0..length)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()[3]
            })
            .collect()
    }

    fn lengths(data: &[u8], portion: usize) -> Vec<usize> {
        let mut chunker = Chunker::new(cut());
        let mut lengths = Vec::new();
        for portion in data.chunks(portion) {
            let mut bytes = Bytes::copy_from_slice(portion);
            while !bytes.is_empty() {
                if let Some(chunk) = chunker.push(&mut bytes, Vec::new) {
                    lengths.push(chunk.len());
                }
            }
        }
        let rest = chunker.finish();
        if !rest.is_empty() {
            lengths.push(rest.len());
        }
        assert_eq!(lengths.iter().sum::<usize>(), data.len());
        lengths
    }

    #[test]
    fn the_cuts_do_not_depend_on_the_portions_a_stream_comes_in() {
        let data = noise(500_000);
        let whole = lengths(&data, data.len());
        assert!(whole.len() > 50);
        for portion in [1, 7, 1023, 1024, 1025, 65_536] {
            assert_eq!(lengths(&data, portion), whole);
        }
    }

    #[test]
    fn the_cuts_are_those_of_the_library() {
        let data = noise(300_000);
        let mut expected = Vec::new();
        let mut start = 0;
        while start < data.len() {
            let mut rabin = Rabin64::new_with_polynom(6, &POLYNOMIAL);
            let mut end = (start + 1024).min(data.len());
            for byte in &data[end.saturating_sub(64)..end] {
                rabin.slide(*byte);
            }
            while end < data.len() && end - start < 16384 && rabin.hash & 4095 != 0 {
                rabin.slide(data[end]);
                end += 1;
            }
            expected.push(end - start);
            start = end;
        }
        assert_eq!(lengths(&data, 10_000), expected);
    }

    #[test]
    fn no_chunk_leaves_its_bounds_and_an_empty_stream_has_none() {
        let lengths_of_noise = lengths(&noise(300_000), 5000);
        let (_, all_but_last) = lengths_of_noise.split_last().unwrap();
        assert!(
            all_but_last
                .iter()
                .all(|length| (1024..=16384).contains(length))
        );
        assert!(lengths(&[], 1).is_empty());
        assert_eq!(lengths(&[5], 1), [1]);
    }

    #[test]
    fn an_insertion_moves_few_chunks() {
        let before = noise(500_000);
        let mut after = before.clone();
        after.splice(1000..1000, *b"inserted");
        let count = lengths(&before, 9999).len();
        let same_tail = lengths(&before, 9999)
            .iter()
            .rev()
            .zip(lengths(&after, 9999).iter().rev())
            .take_while(|(one, other)| one == other)
            .count();
        assert!(same_tail + 3 > count, "{same_tail} of {count}");
    }
}
