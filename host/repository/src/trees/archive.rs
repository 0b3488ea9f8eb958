//! A tree as a tar archive in the GNU format, its files checked against their digests on the way.
//!
//! The `tar` crate makes the headers; the order, the long names, the holes and the nanoseconds are put together here, since
//! the contents come asynchronously. Every name is `./` and a [`TreePath`](super::entry::TreePath), so none is absolute
//! and none has `..`. The last blocks of an archive are given out only after every file had its length and digest.

use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use rustic_core::repofile::BlobType;
use rustic_core::{BlobId, DataId};
use sha2::{Digest, Sha256};
use tar::{EntryType, GnuExtSparseHeader, Header};

use crate::error::{Error, Result};
use crate::repository::blocking;
use crate::trees::entry::{Record, TreeEntry, TreeKind, TreePath};
use crate::trees::reader::TreeReader;
use crate::trees::spool::{Records, Spool};

const BLOCK: u64 = 512;
static ZEROS: [u8; 1024] = [0; 1024];
/// Chunks fetched ahead: small files are one each.
const AHEAD: usize = 8;

fn padding(length: u64) -> usize {
    usize::try_from((BLOCK - length % BLOCK) % BLOCK).unwrap_or(0)
}

/// The first name under which each hard-linked inode is packed.
#[derive(Debug, Default)]
pub(crate) struct Links(HashMap<u64, TreePath>);

impl Links {
    /// Makes a file a link to the one packed before, if there was one.
    pub(crate) fn resolve(&mut self, record: &mut Record) {
        let entry = &record.entry;
        if entry.kind != TreeKind::File || entry.links <= 1 {
            return;
        }
        match self.0.get(&entry.inode) {
            Some(first) => record.link_to = Some(first.clone()),
            None => {
                self.0.insert(entry.inode, entry.path.clone());
            }
        }
    }
}

/// Sums up how long an archive gets: servers of the older exec protocol need to know.
#[derive(Debug, Default)]
pub(crate) struct Measure(u64);

impl Measure {
    pub(crate) fn add(&mut self, record: &Record) -> Result<()> {
        if record.entry.path.is_root() {
            return Ok(());
        }
        let data = data_length(record);
        self.0 += head(record)?.len() as u64 + data + padding(data) as u64;
        Ok(())
    }

    pub(crate) fn total(&self) -> u64 {
        self.0 + ZEROS.len() as u64
    }

    /// Without the blocks that end an archive.
    pub(crate) fn members(&self) -> u64 {
        self.0
    }
}

/// Where a file has data, when it is packed with holes.
fn pieces(record: &Record) -> Option<&[(u64, u64)]> {
    let content = record.content.as_ref()?;
    content.data.as_deref()
}

/// The bytes that follow the header.
fn data_length(record: &Record) -> u64 {
    if record.entry.kind != TreeKind::File || record.link_to.is_some() {
        return 0;
    }
    match pieces(record) {
        Some(pieces) => pieces.iter().map(|(_, length)| length).sum(),
        None => record.entry.size,
    }
}

/// All headers of an entry.
fn head(record: &Record) -> Result<Vec<u8>> {
    let entry = &record.entry;
    let mut name = b"./".to_vec();
    name.extend_from_slice(entry.path.as_bytes());
    let (kind, link) = match (entry.kind, &record.link_to) {
        (TreeKind::Folder, _) => {
            name.push(b'/');
            (EntryType::Directory, None)
        }
        (TreeKind::Link, _) => (EntryType::Symlink, Some(entry.target.0.clone())),
        (TreeKind::File, Some(first)) => {
            let mut link = b"./".to_vec();
            link.extend_from_slice(first.as_bytes());
            (EntryType::Link, Some(link))
        }
        (TreeKind::File, None) if pieces(record).is_some() => (EntryType::GNUSparse, None),
        (TreeKind::File, None) => (EntryType::Regular, None),
        (TreeKind::Other, _) => {
            return Err(Error::Tree {
                reason: format!("`{}` is of a kind that is not packed", entry.path),
            });
        }
    };
    let mut head = Vec::with_capacity(1024);
    if entry.modified.1 != 0 && kind != EntryType::Link {
        extra(&mut head, EntryType::XHeader, &precise_time(entry));
    }
    let limit = 100;
    if let Some(link) = link.as_ref().filter(|link| link.len() > limit) {
        extra(&mut head, EntryType::GNULongLink, &terminated(link));
    }
    if name.len() > limit {
        extra(&mut head, EntryType::GNULongName, &terminated(&name));
    }
    let mut header = Header::new_gnu();
    put(&mut header.as_old_mut().name, &name);
    if let Some(link) = &link {
        put(&mut header.as_old_mut().linkname, link);
    }
    header.set_entry_type(kind);
    header.set_mode(entry.mode & 0o7777);
    header.set_uid(entry.owner.into());
    header.set_gid(entry.group.into());
    header.set_mtime(u64::try_from(entry.modified.0).unwrap_or(0));
    header.set_size(data_length(record));
    let mut rest = Vec::new();
    if kind == EntryType::GNUSparse {
        sparse(
            &mut header,
            entry.size,
            pieces(record).unwrap_or_default(),
            &mut rest,
        )?;
    }
    header.set_cksum();
    head.extend_from_slice(header.as_bytes());
    head.extend_from_slice(&rest);
    Ok(head)
}

/// An entry that speaks of the next one.
fn extra(head: &mut Vec<u8>, kind: EntryType, content: &[u8]) {
    let mut header = Header::new_gnu();
    put(&mut header.as_old_mut().name, b"././@LongLink");
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(content.len() as u64);
    header.set_cksum();
    head.extend_from_slice(header.as_bytes());
    head.extend_from_slice(content);
    head.resize(head.len() + padding(content.len() as u64), 0);
}

fn terminated(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.push(0);
    bytes
}

/// A line such as `30 mtime=1350244992.023960108`, whose number is its own length.
fn precise_time(entry: &TreeEntry) -> Vec<u8> {
    let time = entry.modified;
    // Nanoseconds count upwards, also before 1970, so a negative time borrows a second.
    let value = if time.0 < 0 {
        format!("-{}.{:09}", -(time.0 + 1), 1_000_000_000 - time.1)
    } else {
        format!("{}.{:09}", time.0, time.1)
    };
    let body = format!(" mtime={value}\n");
    // A second has at most 19 digits, so the number always has two.
    let length = body.len() + 2;
    format!("{length}{body}").into_bytes()
}

fn put(field: &mut [u8], bytes: &[u8]) {
    for (into, byte) in field.iter_mut().zip(bytes) {
        *into = *byte;
    }
}

/// The map of a file with holes: four pieces in the header, 21 in each block behind it.
fn sparse(header: &mut Header, size: u64, pieces: &[(u64, u64)], rest: &mut Vec<u8>) -> Result<()> {
    let mut map = pieces.to_vec();
    let end = map.last().map_or(0, |(offset, length)| offset + length);
    if end < size || map.is_empty() {
        map.push((size, 0));
    }
    let wrong = || Error::Tree {
        reason: "the map of a file with holes has no room".to_owned(),
    };
    let gnu = header.as_gnu_mut().ok_or_else(wrong)?;
    gnu.set_real_size(size);
    let (first, more) = map.split_at(map.len().min(gnu.sparse.len()));
    for (place, (offset, length)) in gnu.sparse.iter_mut().zip(first) {
        place.set_offset(*offset);
        place.set_length(*length);
    }
    gnu.set_is_extended(!more.is_empty());
    let blocks = more.chunks(21);
    let count = blocks.len();
    for (number, block) in blocks.enumerate() {
        let mut extension = GnuExtSparseHeader::new();
        for (place, (offset, length)) in extension.sparse.iter_mut().zip(block) {
            place.set_offset(*offset);
            place.set_length(*length);
        }
        extension.set_is_extended(number + 1 < count);
        rest.extend_from_slice(extension.as_bytes());
    }
    Ok(())
}

enum Step {
    Begin(Box<Record>),
    Chunk(DataId),
    End,
}

enum Done {
    Begin(Box<Record>),
    Chunk(Bytes),
    End,
}

type Steps = Pin<Box<dyn Stream<Item = Result<Done>> + Send>>;

/// A file on its way into the archive.
struct Current {
    record: Box<Record>,
    hasher: Sha256,
    offset: u64,
    sent: u64,
}

/// The bytes of a tar archive, in order.
pub struct TreeArchive {
    reader: TreeReader,
    steps: Steps,
    current: Option<Current>,
    bytes: u64,
    length: u64,
    files: u64,
    /// What an archive ends with; nothing where a larger one goes on behind it.
    end: &'static [u8],
    ended: bool,
    failed: bool,
}

impl fmt::Debug for TreeArchive {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "TreeArchive({} of {})", self.bytes, self.length)
    }
}

impl TreeArchive {
    pub(crate) fn new(reader: TreeReader, write: Spool, length: u64) -> Self {
        let attempt = format!(
            "read tree `{}` of snapshot `{}`",
            reader.summary.name,
            reader.snapshot.short()
        );
        let index = Arc::clone(&reader.index);
        let records: Records = match write.read() {
            Ok(records) => records,
            Err(error) => Box::new(std::iter::once(Err(error))),
        };
        let steps = stream::iter(records.flat_map(steps))
            .map(move |step| {
                let (index, attempt) = (Arc::clone(&index), attempt.clone());
                async move {
                    Ok(match step? {
                        Step::Begin(record) => Done::Begin(record),
                        Step::End => Done::End,
                        Step::Chunk(id) => Done::Chunk(
                            blocking("read a chunk", move || {
                                index
                                    .repository
                                    .get_blob_cached(&BlobId::from(*id), BlobType::Data)
                                    .map_err(Error::format(attempt))
                            })
                            .await?,
                        ),
                    })
                }
            })
            .buffered(AHEAD)
            .boxed();
        Self {
            reader,
            steps,
            current: None,
            bytes: 0,
            length,
            files: 0,
            end: &ZEROS,
            ended: false,
            failed: false,
        }
    }

    /// The same as members of a larger archive, whose end is for others to write.
    pub(crate) fn without_end(self) -> Self {
        Self { end: &[], ..self }
    }

    /// How long the archive is.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Bytes given out so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Files whose digests were right so far.
    #[must_use]
    pub fn files(&self) -> u64 {
        self.files
    }

    /// The next bytes, never empty, or `None` at the end, when every file was what was saved.
    ///
    /// # Errors
    /// [`Error::Damaged`] for a file that is not, [`Error::Format`] for a chunk that is missing or damaged.
    pub async fn read(&mut self) -> Result<Option<Bytes>> {
        if self.failed {
            return Err(Error::AlreadyFailed {
                reason: "the tree is not whole".to_owned(),
            });
        }
        self.failed = true;
        let next = self.next().await?;
        self.failed = false;
        self.bytes += next.as_ref().map_or(0, |bytes| bytes.len() as u64);
        Ok(next)
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        while !self.ended {
            let Some(step) = self.steps.next().await else {
                self.ended = true;
                return Ok((!self.end.is_empty()).then(|| Bytes::from_static(self.end)));
            };
            let bytes = match step? {
                Done::Begin(record) => {
                    let head = head(&record)?;
                    self.current = Some(Current {
                        record,
                        hasher: Sha256::new(),
                        offset: 0,
                        sent: 0,
                    });
                    Bytes::from(head)
                }
                Done::Chunk(chunk) => self.chunk(chunk)?,
                Done::End => self.end()?,
            };
            if !bytes.is_empty() {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }

    fn chunk(&mut self, chunk: Bytes) -> Result<Bytes> {
        let Some(current) = &mut self.current else {
            return Err(Error::Tree {
                reason: "a chunk is of no file".to_owned(),
            });
        };
        current.hasher.update(&chunk);
        let begin = current.offset;
        current.offset += chunk.len() as u64;
        let bytes = match pieces(&current.record) {
            None => chunk,
            Some(pieces) => {
                let mut kept = Vec::new();
                for (offset, length) in pieces {
                    let from = (*offset).max(begin) - begin;
                    let to = (offset + length).min(current.offset).saturating_sub(begin);
                    let range = usize::try_from(from).ok().zip(usize::try_from(to).ok());
                    let part = range.and_then(|(from, to)| chunk.get(from..to));
                    kept.extend_from_slice(part.unwrap_or_default());
                }
                Bytes::from(kept)
            }
        };
        current.sent += bytes.len() as u64;
        Ok(bytes)
    }

    fn end(&mut self) -> Result<Bytes> {
        let Some(current) = self.current.take() else {
            return Ok(Bytes::new());
        };
        let record = &current.record;
        let digest = hex::encode(current.hasher.finalize());
        let expected = record.content.as_ref().map(|content| &content.sha256);
        let reason = if current.offset != record.entry.size {
            format!(
                "has {} bytes instead of {}",
                current.offset, record.entry.size
            )
        } else if expected != Some(&digest) {
            "has another digest than it was saved with".to_owned()
        } else if current.sent != data_length(record) {
            "has another map of holes than it was saved with".to_owned()
        } else {
            self.files += 1;
            return Ok(Bytes::from_static(
                ZEROS.get(..padding(current.sent)).unwrap_or_default(),
            ));
        };
        Err(Error::Damaged {
            snapshot: self.reader.snapshot.clone(),
            name: self.reader.summary.name.clone(),
            reason: format!("file `{}` {reason}", record.entry.path),
        })
    }
}

fn steps(record: Result<Record>) -> Vec<Result<Step>> {
    let record = match record {
        Ok(record) => record,
        Err(error) => return vec![Err(error)],
    };
    let has_data = record.entry.kind == TreeKind::File && record.link_to.is_none();
    let chunks = record
        .content
        .as_ref()
        .map(|content| content.chunks.clone());
    let mut steps = vec![Ok(Step::Begin(Box::new(record)))];
    if has_data {
        steps.extend(
            chunks
                .unwrap_or_default()
                .into_iter()
                .map(Step::Chunk)
                .map(Ok),
        );
        steps.push(Ok(Step::End));
    }
    steps
}
