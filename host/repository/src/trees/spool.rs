//! Sorted records in temporary files, so that a tree of any number of entries takes the same memory.
//!
//! A record is one line of JSON. [`RUN`] records are sorted in memory; longer listings become several sorted files, which
//! are merged while they are read. The files have no name, so that a killed process leaves none.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Seek as _, Write as _};

use crate::error::{Error, Result};
use crate::trees::entry::{Record, TreePath};

/// How many records are sorted in memory: 15 MB at 300 bytes each, and a million entries make 31 files.
const RUN: usize = 32_768;
/// A line has a path, a link target and the chunks of a file: a file of 1 TiB has a million.
const BUFFER: usize = 128 * 1024;

/// Records in order.
pub(crate) type Records = Box<dyn Iterator<Item = Result<Record>> + Send>;

pub(crate) fn file_error(source: std::io::Error) -> Error {
    Error::File {
        attempt: "keep the listing of a tree in a temporary file".to_owned(),
        source,
    }
}

/// A temporary file of records that is being written.
pub(crate) struct SpoolWriter {
    file: BufWriter<File>,
}

impl fmt::Debug for SpoolWriter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SpoolWriter")
    }
}

impl SpoolWriter {
    pub(crate) fn new() -> Result<Self> {
        let file = tempfile::tempfile().map_err(file_error)?;
        Ok(Self {
            file: BufWriter::with_capacity(BUFFER, file),
        })
    }

    pub(crate) fn push(&mut self, record: &Record) -> Result<()> {
        self.raw(&line(record)?)
    }

    /// Lines that were records before.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(file_error)
    }

    pub(crate) fn finish(self) -> Result<Spool> {
        let file = self
            .file
            .into_inner()
            .map_err(|error| file_error(error.into_error()))?;
        Ok(Spool { file })
    }
}

/// A record as the line that listings have.
pub(crate) fn line(record: &Record) -> Result<Vec<u8>> {
    let mut line = serde_json::to_vec(record).map_err(|source| Error::Content {
        attempt: "write the listing of a tree".to_owned(),
        source,
    })?;
    line.push(b'\n');
    Ok(line)
}

/// A temporary file of records.
#[derive(Debug)]
pub(crate) struct Spool {
    file: File,
}

impl Spool {
    /// The records from the beginning. One reader at a time.
    pub(crate) fn read(&self) -> Result<Records> {
        let mut file = self.file.try_clone().map_err(file_error)?;
        file.rewind().map_err(file_error)?;
        let mut reader = BufReader::with_capacity(BUFFER, file);
        let mut line = Vec::new();
        Ok(Box::new(std::iter::from_fn(move || {
            line.clear();
            match reader.read_until(b'\n', &mut line) {
                Ok(0) => None,
                Ok(_) => Some(
                    serde_json::from_slice(&line).map_err(|source| Error::Content {
                        attempt: "read the listing of a tree".to_owned(),
                        source,
                    }),
                ),
                Err(source) => Some(Err(file_error(source))),
            }
        })))
    }
}

/// Sorts records by their paths.
#[derive(Debug, Default)]
pub(crate) struct Sorter {
    runs: Vec<Spool>,
    pending: Vec<Record>,
}

impl Sorter {
    /// Takes a record. Blocks for a moment every [`RUN`] records.
    pub(crate) fn push(&mut self, record: Record) -> Result<()> {
        self.pending.push(record);
        if self.pending.len() < RUN {
            return Ok(());
        }
        let mut run = SpoolWriter::new()?;
        self.pending
            .sort_by(|one, other| one.entry.path.cmp(&other.entry.path));
        for record in self.pending.drain(..) {
            run.push(&record)?;
        }
        self.runs.push(run.finish()?);
        Ok(())
    }

    pub(crate) fn sorted(mut self) -> Result<Records> {
        self.pending
            .sort_by(|one, other| one.entry.path.cmp(&other.entry.path));
        let mut inputs: Vec<Records> = vec![Box::new(self.pending.into_iter().map(Ok))];
        for run in &self.runs {
            inputs.push(run.read()?);
        }
        Ok(merge(inputs))
    }
}

/// One order out of several; what is equal stays in the order of the inputs.
pub(crate) fn merge(mut inputs: Vec<Records>) -> Records {
    let mut heads: Vec<Option<Record>> = inputs.iter().map(|_| None).collect();
    let mut heap: BinaryHeap<Reverse<(TreePath, usize)>> = BinaryHeap::new();
    let mut next: Vec<usize> = (0..inputs.len()).collect();
    let mut failed = false;
    Box::new(std::iter::from_fn(move || {
        if failed {
            return None;
        }
        for number in next.drain(..) {
            match inputs.get_mut(number).and_then(Iterator::next) {
                Some(Ok(record)) => {
                    heap.push(Reverse((record.entry.path.clone(), number)));
                    if let Some(head) = heads.get_mut(number) {
                        *head = Some(record);
                    }
                }
                Some(Err(error)) => {
                    failed = true;
                    return Some(Err(error));
                }
                None => {}
            }
        }
        let Reverse((_, number)) = heap.pop()?;
        next.push(number);
        heads.get_mut(number).and_then(Option::take).map(Ok)
    }))
}

/// The records of two orders side by side.
pub(crate) struct Pairs {
    left: std::iter::Peekable<Records>,
    right: std::iter::Peekable<Records>,
}

impl Pairs {
    pub(crate) fn new(left: Records, right: Records) -> Self {
        Self {
            left: left.peekable(),
            right: right.peekable(),
        }
    }

    /// The next path, as far as each side has it.
    pub(crate) fn next(&mut self) -> Result<Option<(Option<Record>, Option<Record>)>> {
        use std::cmp::Ordering;
        let order = match (self.left.peek(), self.right.peek()) {
            (None, None) => return Ok(None),
            (Some(Ok(left)), Some(Ok(right))) => left.entry.path.cmp(&right.entry.path),
            (Some(_), None) | (Some(Err(_)), _) => Ordering::Less,
            (None, Some(_)) | (_, Some(Err(_))) => Ordering::Greater,
        };
        let left = match order {
            Ordering::Less | Ordering::Equal => self.left.next().transpose()?,
            Ordering::Greater => None,
        };
        let right = match order {
            Ordering::Greater | Ordering::Equal => self.right.next().transpose()?,
            Ordering::Less => None,
        };
        Ok(Some((left, right)))
    }
}

/// Names for a command in the pod: each with `./` before and a zero byte behind.
#[derive(Debug)]
pub(crate) struct NamesWriter {
    file: BufWriter<File>,
    names: Names,
}

/// How many names there are, and the file they are in.
#[derive(Debug)]
pub struct Names {
    file: Option<File>,
    count: u64,
    bytes: u64,
}

impl NamesWriter {
    pub(crate) fn new() -> Result<Self> {
        let file = tempfile::tempfile().map_err(file_error)?;
        Ok(Self {
            file: BufWriter::with_capacity(BUFFER, file),
            names: Names {
                file: None,
                count: 0,
                bytes: 0,
            },
        })
    }

    pub(crate) fn push(&mut self, path: &TreePath) -> Result<()> {
        for part in [b"./", path.as_bytes(), b"\0"] {
            self.file.write_all(part).map_err(file_error)?;
            self.names.bytes += part.len() as u64;
        }
        self.names.count += 1;
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Result<Names> {
        let mut file = self
            .file
            .into_inner()
            .map_err(|error| file_error(error.into_error()))?;
        file.rewind().map_err(file_error)?;
        self.names.file = Some(file);
        Ok(self.names)
    }
}

impl Names {
    /// How many.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Bytes of all of them with what is between.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next bytes, at most 64 KiB; `None` at the end. They come from a file that was just written, so it does not
    /// wait for a disk.
    ///
    /// # Errors
    /// What the file system says.
    pub fn read(&mut self) -> Result<Option<bytes::Bytes>> {
        use std::io::Read as _;
        let Some(file) = &mut self.file else {
            return Ok(None);
        };
        let mut buffer = Vec::with_capacity(64 * 1024);
        file.take(64 * 1024)
            .read_to_end(&mut buffer)
            .map_err(file_error)?;
        Ok((!buffer.is_empty()).then(|| buffer.into()))
    }
}
