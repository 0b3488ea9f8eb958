//! Reads an archive of GNU `tar` as it comes, in pieces of any size.
//!
//! Our own on top of the headers of the crate `tar`, because its reader is synchronous and reads a long name of any
//! length into memory. Nothing in an archive is believed: checksums, lengths and maps are checked, a name is bounded, and
//! what is no file is passed over. Must never give out a byte that belongs to a header.

use std::collections::VecDeque;

use bytes::{Buf as _, Bytes};
use tar::{EntryType, GnuExtSparseHeader, GnuSparseHeader, Header};

const BLOCK: usize = 512;
/// Twice the longest path of Linux.
const LONGEST_NAME: u64 = 8192;
/// Pieces of one sparse file: 16 MB of map.
const MOST_PIECES: usize = 1 << 20;

/// What an archive has next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packed {
    /// A file begins.
    Begin {
        /// Its path below the folder, not checked.
        path: Vec<u8>,
        /// How many bytes it is going to have, holes included.
        size: u64,
    },
    /// Bytes of it.
    Data(Bytes),
    /// A hole of it, so many bytes long.
    Hole(u64),
    /// It ends.
    End,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Header,
    /// The content of a long name, and how much is behind it.
    Name {
        left: usize,
        padding: u64,
    },
    /// Blocks with more of a map.
    Map(File),
    Data(File),
    /// Bytes without meaning.
    Skip(u64),
    /// After the end only zeros come.
    Ended,
    Failed,
}

/// A file in the middle of its data.
#[derive(Debug, Default)]
struct File {
    /// The pieces that are still to come: offset and length.
    pieces: VecDeque<(u64, u64)>,
    /// Where the file is.
    at: u64,
    /// What is left of the piece.
    left: u64,
    /// Bytes in the archive, without padding.
    packed: u64,
    size: u64,
    path: Vec<u8>,
    begun: bool,
}

/// Takes an archive apart.
#[derive(Debug, Default)]
pub(crate) struct Unpacker {
    state: State,
    block: Vec<u8>,
    name: Option<Vec<u8>>,
}

impl Unpacker {
    /// Whether the end of the archive was seen.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    /// What comes next; `None` when more input is needed.
    pub(crate) fn next(&mut self, input: &mut Bytes) -> Result<Option<Packed>, String> {
        let result = self.step(input);
        if result.is_err() {
            self.state = State::Failed;
        }
        result
    }

    fn step(&mut self, input: &mut Bytes) -> Result<Option<Packed>, String> {
        loop {
            match std::mem::take(&mut self.state) {
                State::Header => {
                    if !self.fill(BLOCK, input) {
                        self.state = State::Header;
                        return Ok(None);
                    }
                    self.state = self.header()?;
                }
                State::Name { left, padding } => {
                    if !self.fill(left, input) {
                        self.state = State::Name { left, padding };
                        return Ok(None);
                    }
                    let mut name = std::mem::take(&mut self.block);
                    while name.last() == Some(&0) {
                        name.pop();
                    }
                    self.name = Some(name);
                    self.state = State::Skip(padding);
                }
                State::Map(mut file) => {
                    if !self.fill(BLOCK, input) {
                        self.state = State::Map(file);
                        return Ok(None);
                    }
                    let mut extension = GnuExtSparseHeader::new();
                    extension.as_mut_bytes().copy_from_slice(&self.block);
                    self.block.clear();
                    file.add(&extension.sparse)?;
                    self.state = if extension.is_extended() {
                        State::Map(file)
                    } else {
                        State::Data(file.checked()?)
                    };
                }
                State::Data(mut file) => {
                    let event = file.event(input);
                    let ended = event == Some(Packed::End);
                    self.state = if ended {
                        State::Skip(padding(file.packed))
                    } else {
                        State::Data(file)
                    };
                    return Ok(event);
                }
                State::Skip(left) => {
                    let now =
                        usize::try_from(left).map_or(input.len(), |left| left.min(input.len()));
                    input.advance(now);
                    let left = left - now as u64;
                    if left > 0 {
                        self.state = State::Skip(left);
                        return Ok(None);
                    }
                    self.state = State::Header;
                }
                State::Ended => {
                    if input.iter().any(|byte| *byte != 0) {
                        return Err("the archive goes on after its end".to_owned());
                    }
                    input.clear();
                    self.state = State::Ended;
                    return Ok(None);
                }
                State::Failed => return Err("the archive is broken".to_owned()),
            }
        }
    }

    /// Gathers `length` bytes; false when there are not enough yet.
    fn fill(&mut self, length: usize, input: &mut Bytes) -> bool {
        let now = length.saturating_sub(self.block.len()).min(input.len());
        self.block.extend_from_slice(&input.split_to(now));
        self.block.len() >= length
    }

    fn header(&mut self) -> Result<State, String> {
        let block = std::mem::take(&mut self.block);
        if block.iter().all(|byte| *byte == 0) {
            return match self.name {
                None => Ok(State::Ended),
                Some(_) => Err("the archive ends behind a long name".to_owned()),
            };
        }
        let mut header = Header::new_gnu();
        header.as_mut_bytes().copy_from_slice(&block);
        let number = |result: std::io::Result<u64>| {
            result.map_err(|_| "a header of the archive has no length".to_owned())
        };
        let told = header.cksum().ok();
        if told != Some(checksum(&block)) {
            return Err("a header of the archive has a wrong checksum".to_owned());
        }
        let packed = number(header.entry_size())?;
        let kind = header.entry_type();
        match kind {
            EntryType::GNULongName if self.name.is_some() => {
                Err("the archive has two long names for one file".to_owned())
            }
            EntryType::GNULongName | EntryType::GNULongLink if packed > LONGEST_NAME => {
                Err("the archive has a name that is too long".to_owned())
            }
            EntryType::GNULongName => Ok(State::Name {
                left: usize::try_from(packed).unwrap_or(0),
                padding: padding(packed),
            }),
            EntryType::XHeader | EntryType::XGlobalHeader => {
                Err("the archive is in another format than was asked for".to_owned())
            }
            EntryType::Regular | EntryType::Continuous => {
                let mut file = self.file(&header, packed)?;
                file.size = packed;
                file.pieces.push_back((0, packed));
                Ok(State::Data(file.checked()?))
            }
            EntryType::GNUSparse => {
                let mut file = self.file(&header, packed)?;
                let Some(gnu) = header.as_gnu() else {
                    return Err("a file with holes has no map".to_owned());
                };
                file.size = number(gnu.real_size())?;
                file.add(&gnu.sparse)?;
                if gnu.is_extended() {
                    return Ok(State::Map(file));
                }
                Ok(State::Data(file.checked()?))
            }
            // Somebody put something else in the place of a file: it was not asked for.
            EntryType::GNULongLink => Ok(State::Skip(blocks(packed)?)),
            _ => {
                self.name = None;
                Ok(State::Skip(blocks(packed)?))
            }
        }
    }

    fn file(&mut self, header: &Header, packed: u64) -> Result<File, String> {
        let name = self.name.take();
        let name = name.unwrap_or_else(|| header.path_bytes().into_owned());
        let Some(path) = name.strip_prefix(b"./") else {
            return Err("the archive has a file that was not asked for".to_owned());
        };
        Ok(File {
            path: path.to_vec(),
            packed,
            ..File::default()
        })
    }
}

impl File {
    fn add(&mut self, map: &[GnuSparseHeader]) -> Result<(), String> {
        for piece in map {
            if piece.is_empty() {
                continue;
            }
            let (Ok(offset), Ok(length)) = (piece.offset(), piece.length()) else {
                return Err("the map of a file with holes is not understood".to_owned());
            };
            if self.pieces.len() >= MOST_PIECES {
                return Err("the map of a file with holes is too long".to_owned());
            }
            self.pieces.push_back((offset, length));
        }
        Ok(())
    }

    /// Holds the map against the lengths.
    fn checked(self) -> Result<Self, String> {
        let wrong = || Err("the map of a file with holes contradicts its length".to_owned());
        let (mut end, mut sum) = (0_u64, 0_u64);
        // The packer writes whole blocks: only where nothing follows may a piece end within one.
        let mut whole = true;
        for (offset, length) in &self.pieces {
            let Some(next) = offset.checked_add(*length) else {
                return wrong();
            };
            if *offset < end || (*length > 0 && !whole) {
                return wrong();
            }
            whole &= length % BLOCK as u64 == 0;
            end = next;
            sum += length;
        }
        if end > self.size || sum != self.packed || i64::try_from(self.size).is_err() {
            return wrong();
        }
        Ok(self)
    }

    fn event(&mut self, input: &mut Bytes) -> Option<Packed> {
        if !self.begun {
            self.begun = true;
            return Some(Packed::Begin {
                path: std::mem::take(&mut self.path),
                size: self.size,
            });
        }
        loop {
            if self.left > 0 {
                if input.is_empty() {
                    return None;
                }
                let now =
                    usize::try_from(self.left).map_or(input.len(), |left| left.min(input.len()));
                self.left -= now as u64;
                self.at += now as u64;
                return Some(Packed::Data(input.split_to(now)));
            }
            let next = self.pieces.front().map_or(self.size, |(offset, _)| *offset);
            if next > self.at {
                let hole = next - self.at;
                self.at = next;
                return Some(Packed::Hole(hole));
            }
            let Some((_, length)) = self.pieces.pop_front() else {
                return Some(Packed::End);
            };
            self.left = length;
        }
    }
}

fn padding(length: u64) -> u64 {
    (BLOCK as u64 - length % BLOCK as u64) % BLOCK as u64
}

fn blocks(length: u64) -> Result<u64, String> {
    length
        .checked_add(padding(length))
        .ok_or_else(|| "a header of the archive has a length beyond all disks".to_owned())
}

/// The sum of all bytes, with spaces in the place of the sum itself.
fn checksum(block: &[u8]) -> u32 {
    let byte = |(number, byte): (usize, &u8)| match number {
        148..156 => 32,
        _ => u32::from(*byte),
    };
    block.iter().enumerate().map(byte).sum()
}

#[cfg(test)]
mod tests;
