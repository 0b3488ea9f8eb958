//! A tree that is being saved: listed, compared with the earlier one, read where it changed, listed again.
//!
//! A file counts only when a listing *after* it was read shows the same size, times and inode as the listing before. So a
//! file that grew, shrank, was replaced or padded by the program that packed it is read again, and the tree is committed
//! only from a listing of which every file was read. Must never commit a file whose content was not whole.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::task::JoinHandle;

use crate::chunker::Chunker;
use crate::error::{Error, Result};
use crate::evidence::ArtifactSummary;
use crate::ingest::StoredChunk;
use crate::names::ArtifactName;
use crate::repository::blocking;
use crate::trees::TREE_MEDIA_TYPE;
use crate::trees::commit::build;
use crate::trees::compare::compare;
use crate::trees::entry::{Content, FileTime, Record, TreeEntry, TreePath};
use crate::trees::spool::{Names, Records, Sorter, Spool, SpoolWriter, merge};
use crate::writer::{Common, Kept, Progress};

/// After so many rounds a file that is never the same twice is given up, and the tree with it.
const MOST_ROUNDS: u32 = 6;
/// Files whose chunks are in work; the ingest bounds the chunks.
const FILES_AHEAD: usize = 64;
/// A sparse file of more pieces is loaded as an ordinary one.
const MOST_PIECES: usize = 1000;
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// What is in a tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TreeCounts {
    /// Regular files.
    pub files: u64,
    /// Folders, the root among them.
    pub folders: u64,
    /// Symbolic links.
    pub links: u64,
    /// Bytes of the files, holes included.
    pub bytes: u64,
    /// Files that were taken over from the earlier snapshot unread.
    pub unchanged: u64,
    /// Bytes that were read.
    pub read: u64,
    /// Devices, sockets and pipes, which are left out.
    pub left_out: u64,
    /// Entries that came while the tree was saved and are left to the next backup.
    pub late: u64,
    /// How often the tree was listed.
    pub rounds: u32,
}

/// A file that is being read.
struct Current {
    record: Record,
    /// Its size when it was packed is not that of the listing: it is read past and asked for again.
    refused: bool,
    chunker: Chunker,
    hasher: Sha256,
    bytes: u64,
    pieces: Vec<(u64, u64)>,
    jobs: Vec<JoinHandle<Result<StoredChunk>>>,
}

/// A file that was read, whose chunks are in work.
struct Pending {
    record: Record,
    content: Option<Content>,
    jobs: Vec<JoinHandle<Result<StoredChunk>>>,
}

/// A tree that is being saved. Dropping it before [`TreeWriter::commit`] fails its snapshot.
pub struct TreeWriter {
    common: Arc<Common>,
    name: Option<ArtifactName>,
    counts: TreeCounts,
    stored_bytes: u64,
    /// What is known: first the earlier snapshot's tree, later the last round's.
    known: Vec<Spool>,
    listing: Sorter,
    listed_at: FileTime,
    wanted: Option<std::iter::Peekable<Records>>,
    fetched: Option<SpoolWriter>,
    current: Option<Current>,
    pending: VecDeque<Pending>,
    done: bool,
}

impl fmt::Debug for TreeWriter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("TreeWriter")
            .field("name", &self.name)
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}

impl TreeWriter {
    pub(crate) fn new(common: Arc<Common>, name: ArtifactName, earlier: Option<Spool>) -> Self {
        Self {
            common,
            name: Some(name),
            counts: TreeCounts::default(),
            stored_bytes: 0,
            known: earlier.into_iter().collect(),
            listing: Sorter::default(),
            listed_at: FileTime::default(),
            wanted: None,
            fetched: None,
            current: None,
            pending: VecDeque::new(),
            done: false,
        }
    }

    /// Begins a listing. `now` is the clock of the machine that lists.
    ///
    /// # Errors
    /// What befell files of the last round, and [`Error::TreeChanging`] after too many rounds.
    pub async fn begin_listing(&mut self, now: FileTime) -> Result<()> {
        self.end_round().await?;
        self.counts.rounds += 1;
        self.counts.left_out = 0;
        self.counts.late = 0;
        self.listing = Sorter::default();
        self.listed_at = now;
        Ok(())
    }

    /// Takes an entry, in any order; the root, with the empty path, is one of them.
    ///
    /// # Errors
    /// When the temporary file cannot be written.
    pub fn list(&mut self, entry: TreeEntry) -> Result<()> {
        self.listing.push(Record::new(entry))
    }

    /// Compares the listing with what is known: the names of the files that have to be read, in the order in which
    /// they have to come. None means that the tree is whole and can be committed.
    ///
    /// # Errors
    /// [`Error::Tree`] for a listing that no tree has, [`Error::TreeChanging`] after too many rounds.
    pub async fn plan(&mut self) -> Result<Names> {
        let listing = std::mem::take(&mut self.listing);
        let known = std::mem::take(&mut self.known);
        let (common, round, at) = (Arc::clone(&self.common), self.counts.rounds, self.listed_at);
        let plan = blocking("compare a tree with the earlier one", move || {
            let inputs = known.iter().map(Spool::read).collect::<Result<_>>()?;
            compare(&common, listing.sorted()?, merge(inputs), round, at)
        })
        .await?;
        self.counts.left_out = plan.left_out;
        self.counts.late = plan.late;
        self.done = plan.names.count() == 0;
        if !self.done && round >= MOST_ROUNDS {
            return Err(Error::TreeChanging {
                names: plan.told.join("`, `"),
                count: plan.names.count(),
                rounds: round,
            });
        }
        self.known = vec![plan.taken];
        self.wanted = Some(plan.wanted.read()?.peekable());
        self.fetched = Some(SpoolWriter::new()?);
        Ok(plan.names)
    }

    /// Begins a file that was asked for. Files that do not come are simply left out.
    ///
    /// # Errors
    /// [`Error::Tree`] for one that was not asked for, or comes twice or out of order.
    pub async fn begin_file(&mut self, path: &TreePath, size: u64) -> Result<()> {
        let stranger = |what: &str| Error::Tree {
            reason: format!("the pod sent `{path}`, {what}"),
        };
        if self.current.is_some() {
            return Err(stranger("while another file was not at its end"));
        }
        let record = loop {
            let next = self.wanted.as_mut().and_then(Iterator::next).transpose()?;
            let Some(record) = next else {
                return Err(stranger("which was not asked for, or sent before"));
            };
            if record.entry.path == *path {
                break record;
            }
            if record.entry.path > *path {
                return Err(stranger("which was not asked for, or sent before"));
            }
            self.queue(Pending {
                record,
                content: None,
                jobs: Vec::new(),
            })
            .await?;
        };
        self.current = Some(Current {
            refused: record.entry.size != size,
            record,
            chunker: Chunker::new(Arc::clone(&self.common.repository.cut)),
            hasher: Sha256::new(),
            bytes: 0,
            pieces: Vec::new(),
            jobs: Vec::new(),
        });
        Ok(())
    }

    /// Takes bytes of the file that was begun.
    ///
    /// # Errors
    /// What the store says, and more bytes than the file has.
    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
        if let Some(current) = &mut self.current {
            let length = bytes.len() as u64;
            let at = current.bytes;
            let few = current.pieces.len() <= MOST_PIECES;
            match current.pieces.last_mut() {
                Some((offset, held)) if *offset + *held == at => *held += length,
                Some(_) | None if few => current.pieces.push((at, length)),
                Some(_) | None => {}
            }
            self.counts.read += length;
        }
        self.append(bytes).await
    }

    /// Takes a hole of the file that was begun.
    ///
    /// # Errors
    /// As [`TreeWriter::write`].
    pub async fn hole(&mut self, mut length: u64) -> Result<()> {
        while length > 0 {
            let part = length.min(ZEROS.len() as u64);
            let zeros = Bytes::from_static(&ZEROS);
            self.append(zeros.slice(..usize::try_from(part).unwrap_or(0)))
                .await?;
            length -= part;
        }
        Ok(())
    }

    async fn append(&mut self, mut bytes: Bytes) -> Result<()> {
        let Some(current) = &mut self.current else {
            return Err(Error::Tree {
                reason: "bytes came outside of a file".to_owned(),
            });
        };
        current.bytes += bytes.len() as u64;
        if current.refused {
            return Ok(());
        }
        current.hasher.update(&bytes);
        let shared = Arc::clone(&self.common.repository.shared);
        while !bytes.is_empty() {
            let full = current.chunker.push(&mut bytes, || shared.buffer());
            if let Some(chunk) = full {
                let job = self.common.store(chunk).await?;
                current.jobs.push(job);
            }
        }
        Ok(())
    }

    /// Ends the file that was begun.
    ///
    /// # Errors
    /// What the store says about this file or one before it.
    pub async fn end_file(&mut self) -> Result<()> {
        let Some(mut current) = self.current.take() else {
            return Err(Error::Tree {
                reason: "a file ended that was not begun".to_owned(),
            });
        };
        let rest = current.chunker.finish();
        if !rest.is_empty() && !current.refused {
            current.jobs.push(self.common.store(rest).await?);
        }
        let whole = !current.refused && current.bytes == current.record.entry.size;
        let entry = &current.record.entry;
        let content = whole.then(|| Content {
            sha256: hex::encode(current.hasher.finalize()),
            chunks: Vec::new(),
            data: (entry.sparse && current.pieces.len() <= MOST_PIECES).then_some(current.pieces),
        });
        self.queue(Pending {
            record: current.record,
            content,
            jobs: current.jobs,
        })
        .await
    }

    async fn queue(&mut self, pending: Pending) -> Result<()> {
        self.pending.push_back(pending);
        while self.pending.len() > FILES_AHEAD
            || self
                .pending
                .front()
                .is_some_and(|first| first.jobs.iter().all(JoinHandle::is_finished))
        {
            let Some(first) = self.pending.pop_front() else {
                break;
            };
            self.settle(first).await?;
        }
        Ok(())
    }

    async fn settle(&mut self, pending: Pending) -> Result<()> {
        let mut chunks = Vec::with_capacity(pending.jobs.len());
        for job in pending.jobs {
            let stored = job.await.map_err(|source| Error::Task {
                attempt: "store a chunk".to_owned(),
                source,
            })??;
            self.stored_bytes += stored.stored_bytes;
            chunks.push(stored.id);
        }
        let mut record = pending.record;
        record.fresh = true;
        record.content = pending.content.map(|content| Content { chunks, ..content });
        match &mut self.fetched {
            Some(fetched) => fetched.push(&record),
            None => Ok(()),
        }
    }

    /// What came in this round is known from now on; what did not come is asked for again.
    async fn end_round(&mut self) -> Result<()> {
        if let Some(current) = self.current.take() {
            return Err(Error::Tree {
                reason: format!(
                    "the bytes of `{}` ended in its middle",
                    current.record.entry.path
                ),
            });
        }
        while let Some(first) = self.pending.pop_front() {
            self.settle(first).await?;
        }
        if let Some(mut fetched) = self.fetched.take() {
            if let Some(rest) = self.wanted.take() {
                for record in rest {
                    fetched.push(&record?)?;
                }
            }
            self.known.push(fetched.finish()?);
        }
        Ok(())
    }

    /// What is known of the tree so far; all of it after [`TreeWriter::commit`].
    #[must_use]
    pub fn counts(&self) -> TreeCounts {
        self.counts
    }

    /// Makes the tree an artifact. It becomes real with the snapshot.
    ///
    /// # Errors
    /// [`Error::Tree`] unless the last [`plan`](Self::plan) wanted nothing, and what the store says.
    pub async fn commit(
        mut self,
        mut evidence: Vec<(String, String)>,
    ) -> Result<(ArtifactSummary, TreeCounts)> {
        if !self.done {
            return Err(Error::Tree {
                reason: "it was to be committed before all of it was read".to_owned(),
            });
        }
        let known = std::mem::take(&mut self.known);
        let common = Arc::clone(&self.common);
        let built = blocking("write the folders of a tree", move || {
            let inputs = known.iter().map(Spool::read).collect::<Result<_>>()?;
            build(&common, merge(inputs))
        })
        .await?;
        let Some(name) = self.name.take() else {
            return Err(Error::AlreadyFailed {
                reason: "the tree failed before".to_owned(),
            });
        };
        let counts = TreeCounts {
            files: built.counts.files,
            folders: built.counts.folders,
            links: built.counts.links,
            bytes: built.counts.bytes,
            unchanged: built.counts.unchanged,
            ..self.counts
        };
        let entries = counts.files + counts.folders + counts.links;
        let fixed = [
            ("entries", entries.to_string()),
            ("files", counts.files.to_string()),
            ("folders", counts.folders.to_string()),
            ("links", counts.links.to_string()),
            ("unchanged", counts.unchanged.to_string()),
            ("read-bytes", counts.read.to_string()),
            ("archive-bytes", built.archive_bytes.to_string()),
            ("tree-sha256", built.tree_sha256),
        ];
        evidence.extend(fixed.map(|(key, value)| (key.to_owned(), value)));
        let summary = ArtifactSummary {
            name: name.clone(),
            media_type: TREE_MEDIA_TYPE.to_owned(),
            bytes: counts.bytes,
            stored_bytes: self.stored_bytes + built.stored_bytes,
            sha256: built.listing_sha256,
            evidence,
        };
        let kept = Kept::Tree {
            root: built.root,
            listing: built.listing,
        };
        let progress = Progress::Committed(summary.clone(), kept);
        self.common.artifacts().insert(name, progress);
        Ok((summary, counts))
    }

    /// Gives the tree up on purpose: the snapshot can be finished without it, and its name is free again.
    pub fn discard(mut self) {
        if let Some(name) = self.name.take() {
            self.common.artifacts().remove(&name);
        }
    }
}

impl Drop for TreeWriter {
    fn drop(&mut self) {
        if let Some(name) = self.name.take() {
            let reason = "was given up before its end".to_owned();
            self.common
                .artifacts()
                .insert(name, Progress::Failed(reason));
        }
    }
}
