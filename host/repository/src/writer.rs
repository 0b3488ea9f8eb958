//! Writes snapshots: artifacts as streams, and the one place where a snapshot file is written.
//!
//! Whatever happens before [`SnapshotWriter::finish`] returns, a list of snapshots shows nothing new: no half snapshot, no
//! artifact without its digest. A writer that is dropped, a source that fails and a process that is killed leave at
//! most packs that nothing refers to, which the next prune removes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use jiff::tz::TimeZone;
use rustic_core::repofile::{SnapshotFile, SnapshotSummary};
use rustic_core::{DataId, TreeId};
use sha2::{Digest, Sha256};
use tokio::task::JoinHandle;

use crate::chunker::Chunker;
use crate::error::{Error, Result};
use crate::evidence::{ArtifactSummary, Evidence, Snapshot, SnapshotDescription};
use crate::holder::LockOwner;
use crate::ingest::{Ingest, StoredChunk};
use crate::lock::Lock;
use crate::names::{ArtifactName, SnapshotId, check_text};
use crate::repository::{Inner, blocking};
use crate::tree::{self, Contents, StoredFile, StoredTree};
use crate::trees::TREE_MEDIA_TYPE;
use crate::trees::entry::Record;
use crate::trees::save::TreeWriter;

/// Chunks of one artifact that may be in work before the stream waits; the ingest bounds all of them together.
const CHUNKS_AHEAD: usize = 4;

/// What a committed artifact is in the snapshot.
#[derive(Debug)]
pub(crate) enum Kept {
    File(Vec<DataId>),
    Tree { root: TreeId, listing: StoredFile },
}

/// Where an artifact stands.
#[derive(Debug)]
pub(crate) enum Progress {
    Open,
    Committed(ArtifactSummary, Kept),
    Failed(String),
}

/// What the writers of one snapshot share.
#[derive(Debug)]
pub(crate) struct Common {
    pub(crate) repository: Arc<Inner>,
    lock: Arc<Lock>,
    pub(crate) ingest: Arc<Ingest>,
    description: SnapshotDescription,
    artifacts: Mutex<BTreeMap<ArtifactName, Progress>>,
}

impl Common {
    pub(crate) fn artifacts(&self) -> MutexGuard<'_, BTreeMap<ArtifactName, Progress>> {
        self.artifacts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores a chunk in the background, once there is room.
    pub(crate) async fn store(&self, chunk: Vec<u8>) -> Result<JoinHandle<Result<StoredChunk>>> {
        let ingest = Arc::clone(&self.ingest);
        let permits = ingest.admit().await?;
        Ok(tokio::task::spawn_blocking(move || {
            let stored = ingest.store_chunk(chunk);
            drop(permits);
            stored
        }))
    }

    /// Whether all chunks of a file were in the repository before.
    pub(crate) fn has(&self, record: &Record) -> bool {
        record.content.as_ref().is_some_and(|content| {
            content
                .chunks
                .iter()
                .all(|chunk| self.ingest.has_data(chunk))
        })
    }
}

/// A snapshot that is being written. It holds the shared lock; dropping it gives everything up.
#[derive(Debug)]
pub struct SnapshotWriter {
    common: Arc<Common>,
}

impl SnapshotWriter {
    pub(crate) fn new(
        repository: Arc<Inner>,
        lock: Arc<Lock>,
        ingest: Ingest,
        description: SnapshotDescription,
    ) -> Self {
        let (ingest, artifacts) = (Arc::new(ingest), Mutex::default());
        Self {
            common: Arc::new(Common {
                repository,
                lock,
                ingest,
                description,
                artifacts,
            }),
        }
    }

    /// Begins an artifact. Any order, and several at the same time.
    ///
    /// # Errors
    /// [`Error::ArtifactExists`] if the name was begun before; [`Error::Name`] if the media type is empty, longer than
    /// 256 bytes or has control characters.
    pub async fn create(&self, name: ArtifactName, media_type: String) -> Result<ArtifactWriter> {
        check_text("media type", &media_type)?;
        if media_type == TREE_MEDIA_TYPE {
            return Err(Error::Name {
                what: "media type",
                text: media_type,
                reason: "only folder trees have it",
            });
        }
        self.open(&name)?;
        Ok(ArtifactWriter {
            chunker: Chunker::new(Arc::clone(&self.common.repository.cut)),
            common: Arc::clone(&self.common),
            name: Some(name),
            media_type,
            hasher: Sha256::new(),
            bytes: 0,
            stored_bytes: 0,
            content: Vec::new(),
            jobs: VecDeque::new(),
            interrupted: false,
        })
    }

    fn open(&self, name: &ArtifactName) -> Result<()> {
        let mut artifacts = self.common.artifacts();
        if artifacts.contains_key(name) {
            return Err(Error::ArtifactExists { name: name.clone() });
        }
        artifacts.insert(name.clone(), Progress::Open);
        Ok(())
    }

    /// Begins a folder tree. Files that the newest snapshot of the same data set has in a tree of this name, with the same
    /// size, times and inode, are taken over from there unread.
    ///
    /// # Errors
    /// [`Error::ArtifactExists`] if the name was begun before, and what the store says.
    pub async fn create_tree(&self, name: ArtifactName) -> Result<TreeWriter> {
        self.open(&name)?;
        let common = &self.common;
        let earlier = common
            .repository
            .latest_listing(&common.description, &name)
            .await;
        // Without it all files are read, which is slow and right.
        let earlier = earlier.unwrap_or_else(|error| {
            tracing::warn!(%error, "failed to read the earlier listing of a tree");
            None
        });
        Ok(TreeWriter::new(Arc::clone(common), name, earlier))
    }

    /// The holders of stale locks that were broken to begin this snapshot: processes that died here before. Worth a
    /// line to the user.
    #[must_use]
    pub fn broken_locks(&self) -> &[LockOwner] {
        self.common.lock.broken()
    }

    /// Writes the snapshot: the only way for it to exist.
    ///
    /// `metadata` is free-form and kept beside the description.
    ///
    /// # Errors
    /// [`Error::Unfinished`] if an artifact was not committed, [`Error::NoArtifacts`] if there is none,
    /// [`Error::LockLost`] if another process could have pruned meanwhile, and what the store says. After any of them
    /// there is no snapshot.
    pub async fn finish(self, metadata: serde_json::Value) -> Result<Snapshot> {
        let common = &self.common;
        let (summaries, contents) = self.take_committed()?;
        common.ingest.drain().await?;
        common.lock.confirm().await?;
        let evidence = Evidence::new(common.description.clone(), summaries, metadata);
        let file = {
            let (common, evidence) = (Arc::clone(common), evidence.clone());
            blocking("write the trees of a snapshot", move || {
                store_trees(&common, &evidence, contents)
            })
            .await?
        };
        // The last look before the act: between here and the snapshot file lies one write.
        common.lock.confirm().await?;
        let ingest = Arc::clone(&common.ingest);
        let id = blocking("write a snapshot", move || ingest.store_snapshot(&file)).await?;
        let id: SnapshotId = id.to_hex().as_str().parse()?;
        // Whoever is last gives the lock back before the caller goes on; after a failure that happens on drop.
        let lock = Arc::into_inner(self.common).and_then(|common| Arc::into_inner(common.lock));
        if let Some(lock) = lock
            && let Err(error) = lock.release().await
        {
            tracing::warn!(%error, "failed to release the lock of a finished snapshot");
        }
        Ok(evidence.into_snapshot(id, Vec::new()))
    }

    fn take_committed(&self) -> Result<(Vec<ArtifactSummary>, Contents)> {
        let artifacts = std::mem::take(&mut *self.common.artifacts());
        if artifacts.is_empty() {
            return Err(Error::NoArtifacts);
        }
        let mut summaries = Vec::new();
        let mut contents = Contents::default();
        for (name, progress) in artifacts {
            let reason = match progress {
                Progress::Committed(summary, kept) => {
                    let bytes = summary.bytes;
                    match kept {
                        Kept::File(content) => {
                            contents.files.insert(name, StoredFile { bytes, content });
                        }
                        Kept::Tree { root, listing } => {
                            contents.trees.insert(name, StoredTree { root, listing });
                        }
                    }
                    summaries.push(summary);
                    continue;
                }
                Progress::Open => "was not committed".to_owned(),
                Progress::Failed(reason) => reason,
            };
            return Err(Error::Unfinished { name, reason });
        }
        Ok((summaries, contents))
    }
}

/// Stores evidence, trees and index, and returns the snapshot file to write. Blocks.
fn store_trees(common: &Common, evidence: &Evidence, contents: Contents) -> Result<SnapshotFile> {
    let attempt = || "write the evidence of a snapshot".to_owned();
    let content_error = |source| Error::Content {
        attempt: attempt(),
        source,
    };
    let text = serde_json::to_vec_pretty(evidence).map_err(content_error)?;
    let bytes = text.len() as u64;
    let mut chunker = Chunker::new(Arc::clone(&common.repository.cut));
    let (mut rest, mut content, mut stored) = (Bytes::from(text), Vec::new(), 0);
    let mut keep = |chunk: Vec<u8>| -> Result<()> {
        let chunk = common.ingest.store_chunk(chunk)?;
        content.push(chunk.id);
        stored += chunk.stored_bytes;
        Ok(())
    };
    while !rest.is_empty() {
        if let Some(chunk) = chunker.push(&mut rest, Vec::new) {
            keep(chunk)?;
        }
    }
    let last = chunker.finish();
    if !last.is_empty() {
        keep(last)?;
    }
    let description = &evidence.description;
    let trees = tree::build(
        &description.data_set,
        contents,
        StoredFile { bytes, content },
        evidence.finished,
    )?;
    common.ingest.flush(trees.blobs)?;

    let mut summary = SnapshotSummary::default();
    summary.total_files_processed = evidence.artifacts.len() as u64 + 1;
    summary.files_new = summary.total_files_processed;
    summary.total_dirs_processed = 2;
    summary.total_bytes_processed = evidence
        .artifacts
        .iter()
        .map(|artifact| artifact.bytes)
        .sum::<u64>()
        + bytes;
    summary.data_added_packed = evidence
        .artifacts
        .iter()
        .map(|artifact| artifact.stored_bytes)
        .sum::<u64>()
        + stored;
    summary.backup_start = description.started.to_zoned(TimeZone::UTC);
    summary.backup_end = evidence.finished.to_zoned(TimeZone::UTC);
    let mut file = SnapshotFile {
        // The start of the run, so that all its snapshots fall into one bucket of any retention.
        time: description.started.to_zoned(TimeZone::UTC),
        program_version: format!("cofferdam {}", description.host_version),
        tree: trees.root,
        // restic groups by host and paths: for us that is an application and its data set.
        hostname: description.application.clone(),
        tags: description.tags(),
        description: Some(serde_json::to_string(evidence).map_err(content_error)?),
        summary: Some(summary),
        ..SnapshotFile::default()
    };
    file.paths.add(format!("/{}", description.data_set));
    Ok(file)
}

/// An artifact that is being written. Dropping it before [`ArtifactWriter::commit`] fails its snapshot.
#[derive(Debug)]
pub struct ArtifactWriter {
    common: Arc<Common>,
    /// Taken when the artifact is committed or discarded.
    name: Option<ArtifactName>,
    media_type: String,
    chunker: Chunker,
    hasher: Sha256,
    bytes: u64,
    stored_bytes: u64,
    content: Vec<DataId>,
    jobs: VecDeque<JoinHandle<Result<StoredChunk>>>,
    /// Set while a write is under way: a write whose future was dropped has taken an unknown part of its bytes.
    interrupted: bool,
}

impl ArtifactWriter {
    /// Writes bytes behind those written before; waits while the repository is slower than the stream.
    ///
    /// # Errors
    /// What the store says; from the first error on, this artifact and with it the snapshot cannot be finished. The
    /// same holds if the future is dropped before it is done.
    pub async fn write(&mut self, mut bytes: Bytes) -> Result<()> {
        if self.interrupted {
            return Err(self.fail("was interrupted in the middle of a write"));
        }
        self.interrupted = true;
        self.bytes += bytes.len() as u64;
        self.hasher.update(&bytes);
        while !bytes.is_empty() {
            let shared = &self.common.repository.shared;
            if let Some(chunk) = self.chunker.push(&mut bytes, || shared.buffer()) {
                self.dispatch(chunk).await?;
            }
        }
        self.interrupted = false;
        Ok(())
    }

    /// Ends the artifact. It becomes real with the snapshot.
    ///
    /// # Errors
    /// What the store said about any chunk of it.
    pub async fn commit(mut self, evidence: Vec<(String, String)>) -> Result<ArtifactSummary> {
        if self.interrupted {
            return Err(self.fail("was interrupted in the middle of a write"));
        }
        let rest = self.chunker.finish();
        if !rest.is_empty() {
            self.dispatch(rest).await?;
        }
        while let Some(job) = self.jobs.pop_front() {
            self.collect(job).await?;
        }
        let Some(name) = self.name.take() else {
            return Err(Error::AlreadyFailed {
                reason: "the artifact failed before".to_owned(),
            });
        };
        let summary = ArtifactSummary {
            name: name.clone(),
            media_type: std::mem::take(&mut self.media_type),
            bytes: self.bytes,
            stored_bytes: self.stored_bytes,
            sha256: hex::encode(std::mem::take(&mut self.hasher).finalize()),
            evidence,
        };
        let progress = Progress::Committed(
            summary.clone(),
            Kept::File(std::mem::take(&mut self.content)),
        );
        self.common.artifacts().insert(name, progress);
        Ok(summary)
    }

    /// Gives the artifact up on purpose: the snapshot can be finished without it, and its name is free again.
    pub fn discard(mut self) {
        if let Some(name) = self.name.take() {
            self.common.artifacts().remove(&name);
        }
    }

    async fn dispatch(&mut self, chunk: Vec<u8>) -> Result<()> {
        while self.jobs.len() >= CHUNKS_AHEAD
            || self.jobs.front().is_some_and(JoinHandle::is_finished)
        {
            let Some(job) = self.jobs.pop_front() else {
                break;
            };
            self.collect(job).await?;
        }
        let job = self.common.store(chunk).await;
        match job {
            Ok(job) => self.jobs.push_back(job),
            Err(error) => return Err(self.failed(error)),
        }
        Ok(())
    }

    async fn collect(&mut self, job: JoinHandle<Result<StoredChunk>>) -> Result<()> {
        let stored = match job.await {
            Ok(Ok(stored)) => stored,
            Ok(Err(error)) => return Err(self.failed(error)),
            Err(source) => {
                let attempt = "store a chunk".to_owned();
                return Err(self.failed(Error::Task { attempt, source }));
            }
        };
        self.content.push(stored.id);
        self.stored_bytes += stored.stored_bytes;
        Ok(())
    }

    /// Marks the artifact as failed because of an error, and hands the error on.
    fn failed(&mut self, error: Error) -> Error {
        let mut reason = format!("could not be stored: {error}");
        let mut cause = std::error::Error::source(&error);
        while let Some(inner) = cause {
            reason.push_str(&format!(": {inner}"));
            cause = inner.source();
        }
        self.mark(reason);
        error
    }

    fn fail(&mut self, reason: &str) -> Error {
        self.mark(reason.to_owned());
        Error::AlreadyFailed {
            reason: format!("an artifact {reason}"),
        }
    }

    fn mark(&mut self, reason: String) {
        if let Some(name) = self.name.take() {
            self.common
                .artifacts()
                .insert(name, Progress::Failed(reason));
        }
    }
}

impl Drop for ArtifactWriter {
    fn drop(&mut self) {
        self.mark("was given up before its end".to_owned());
    }
}
