//! Takes chunks in: hash, deduplicate, compress, seal, pack, store.
//!
//! One per snapshot. A failure here poisons the whole snapshot, because a chunk that one artifact stored may be one that
//! another only counts on. It must never write an index of packs that are not stored, nor a snapshot file.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustic_core::repofile::{BlobType, SnapshotFile};
use rustic_core::{DataId, FileType, Id, TreeId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use crate::backend::StoreBackend;
use crate::error::{Error, Result};
use crate::pack::{IndexFile, IndexPack, Pack, Packer};
use crate::repository::Indexed;
use crate::seal::{SealedBlob, Sealer, hash};

/// Chunks of one snapshot in work at the same time: two are computed on two cores while two more wait for the disk.
const CHUNKS_AT_ONCE: u32 = 4;
/// The size a pack is stored at, in bytes. See `repository::PACK_SIZE` for the reason.
const PACK_FULL: u32 = crate::repository::PACK_SIZE;
/// After how many blobs an index is written although the snapshot goes on: about 10 GiB, so that a backup killed
/// later has not stored them in vain.
const INDEX_FULL: usize = 10_000;
/// Empty chunk buffers kept for reuse, and the largest that is kept: beyond it a buffer is an exception whose memory
/// would lie idle.
const SPARE_BUFFERS: usize = 6;
const SPARE_CAPACITY: usize = 3 * 1024 * 1024;

/// What all snapshots of a repository share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) backend: Arc<StoreBackend>,
    pub(crate) sealer: Arc<Sealer>,
    /// Bounds the chunks, and with them the memory, of all snapshots together.
    pub(crate) chunks: Arc<Semaphore>,
    pub(crate) spare: Mutex<Vec<Vec<u8>>>,
}

impl Shared {
    /// An empty buffer, used before if there is one.
    pub(crate) fn buffer(&self) -> Vec<u8> {
        lock(&self.spare).pop().unwrap_or_default()
    }

    fn give_back(&self, mut buffer: Vec<u8>) {
        let mut spare = lock(&self.spare);
        if spare.len() < SPARE_BUFFERS && buffer.capacity() <= SPARE_CAPACITY {
            buffer.clear();
            spare.push(buffer);
        }
    }
}

/// A chunk that the repository has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoredChunk {
    pub(crate) id: DataId,
    /// What it added to the repository.
    pub(crate) stored_bytes: u64,
}

#[derive(Debug)]
struct State {
    /// Blobs that this snapshot stores or has stored.
    seen: HashSet<Id>,
    packer: Packer,
    trees: Packer,
    packs: Vec<IndexPack>,
    failed: Option<String>,
}

/// Takes in the chunks of one snapshot.
#[derive(Debug)]
pub(crate) struct Ingest {
    shared: Arc<Shared>,
    index: Arc<Indexed>,
    own_chunks: Arc<Semaphore>,
    state: Mutex<State>,
}

/// A poisoned lock guards data that a panic left; every user of it fails by `failed` or does no harm.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The right to work on one chunk.
pub(crate) type Permits = (OwnedSemaphorePermit, OwnedSemaphorePermit);

impl Ingest {
    pub(crate) fn new(shared: Arc<Shared>, index: Arc<Indexed>) -> Self {
        Self {
            shared,
            index,
            own_chunks: Arc::new(Semaphore::new(CHUNKS_AT_ONCE as usize)),
            state: Mutex::new(State {
                seen: HashSet::new(),
                packer: Packer::new(BlobType::Data),
                trees: Packer::new(BlobType::Tree),
                packs: Vec::new(),
                failed: None,
            }),
        }
    }

    /// Waits until a chunk may be worked on.
    pub(crate) async fn admit(&self) -> Result<Permits> {
        // The own permit first: a snapshot at its own limit must not hold back others.
        let own = Arc::clone(&self.own_chunks).acquire_owned().await;
        let common = Arc::clone(&self.shared.chunks).acquire_owned().await;
        match (own, common) {
            (Ok(own), Ok(common)) => Ok((own, common)),
            _ => Err(Error::AlreadyFailed {
                reason: "the repository was closed".to_owned(),
            }),
        }
    }

    /// Waits until no chunk is in work any more, and lets none in after that.
    pub(crate) async fn drain(&self) -> Result<()> {
        // The permits are kept for good, so that nothing is admitted after a drain.
        let drained = self.own_chunks.acquire_many(CHUNKS_AT_ONCE).await;
        drained
            .map(SemaphorePermit::forget)
            .map_err(|_| Error::AlreadyFailed {
                reason: "the repository was closed".to_owned(),
            })?;
        self.fail_if_failed()
    }

    /// Stores a chunk unless the repository has it. Blocks.
    pub(crate) fn store_chunk(&self, chunk: Vec<u8>) -> Result<StoredChunk> {
        self.fail_if_failed()?;
        let result = self.try_store_chunk(&chunk);
        self.shared.give_back(chunk);
        result.inspect_err(|error| {
            lock(&self.state)
                .failed
                .get_or_insert_with(|| error.to_string());
        })
    }

    fn fail_if_failed(&self) -> Result<()> {
        match &lock(&self.state).failed {
            Some(reason) => Err(Error::AlreadyFailed {
                reason: reason.clone(),
            }),
            None => Ok(()),
        }
    }

    fn try_store_chunk(&self, chunk: &[u8]) -> Result<StoredChunk> {
        let id = hash(chunk);
        let known = StoredChunk {
            id: id.into(),
            stored_bytes: 0,
        };
        if self.index.has_data(&known.id) || !lock(&self.state).seen.insert(id) {
            return Ok(known);
        }
        let blob = self.shared.sealer.seal_blob(chunk)?;
        let stored_bytes = blob.bytes.len() as u64;
        let full = {
            let mut state = lock(&self.state);
            state.packer.add(id, blob)?;
            (state.packer.size() >= PACK_FULL).then(|| take_packer(&mut state))
        };
        if let Some(packer) = full {
            self.store_pack(packer)?;
        }
        Ok(StoredChunk {
            id: known.id,
            stored_bytes,
        })
    }

    /// The zstd level of the repository.
    pub(crate) fn level(&self) -> i32 {
        self.shared.sealer.level()
    }

    /// Whether the repository had a chunk before this snapshot.
    pub(crate) fn has_data(&self, id: &DataId) -> bool {
        self.index.has_data(id)
    }

    /// Stores a folder unless the repository has it, and returns what it added. Blocks.
    ///
    /// `seal` is called for what is new only.
    pub(crate) fn store_tree(
        &self,
        id: TreeId,
        seal: impl FnOnce(&Sealer) -> Result<SealedBlob>,
    ) -> Result<u64> {
        self.fail_if_failed()?;
        if self.index.has_tree(&id) || !lock(&self.state).seen.insert(*id) {
            return Ok(0);
        }
        let stored = seal(&self.shared.sealer).and_then(|blob| {
            let stored_bytes = blob.bytes.len() as u64;
            let full = {
                let mut state = lock(&self.state);
                state.trees.add(*id, blob)?;
                let full = state.trees.size() >= PACK_FULL;
                full.then(|| std::mem::replace(&mut state.trees, Packer::new(BlobType::Tree)))
            };
            full.map_or(Ok(()), |packer| self.store_pack(packer))?;
            Ok(stored_bytes)
        });
        stored.inspect_err(|error| {
            lock(&self.state)
                .failed
                .get_or_insert_with(|| error.to_string());
        })
    }

    fn store_pack(&self, packer: Packer) -> Result<()> {
        let Pack { id, content, entry } = packer.close(&self.shared.sealer)?;
        self.shared.backend.put(FileType::Pack, id, content)?;
        let full = {
            let mut state = lock(&self.state);
            state.packs.push(entry);
            let blobs: usize = state.packs.iter().map(IndexPack::blobs).sum();
            (blobs >= INDEX_FULL).then(|| std::mem::take(&mut state.packs))
        };
        full.map_or(Ok(()), |packs| self.store_index(&packs))
    }

    fn store_index(&self, packs: &[IndexPack]) -> Result<()> {
        let plain = serde_json::to_vec(&IndexFile { packs }).map_err(|source| Error::Content {
            attempt: "write an index".to_owned(),
            source,
        })?;
        let sealed = self.shared.sealer.seal_file(&plain)?;
        self.shared
            .backend
            .put(FileType::Index, hash(&sealed), sealed.into())
    }

    /// Stores what is still in memory, the trees, and the index of all of it. Blocks; nothing may be in work.
    ///
    /// Each tree comes with its id, as `rustic_core` serialized it.
    pub(crate) fn flush(&self, trees: Vec<(Vec<u8>, TreeId)>) -> Result<()> {
        let rest = take_packer(&mut lock(&self.state));
        if !rest.is_empty() {
            self.store_pack(rest)?;
        }
        for (tree, id) in trees {
            self.store_tree(id, |sealer| sealer.seal_blob(&tree))?;
        }
        let packer = std::mem::replace(&mut lock(&self.state).trees, Packer::new(BlobType::Tree));
        if !packer.is_empty() {
            self.store_pack(packer)?;
        }
        let packs = std::mem::take(&mut lock(&self.state).packs);
        if packs.is_empty() {
            Ok(())
        } else {
            self.store_index(&packs)
        }
    }

    /// Writes the snapshot file: from here on the snapshot exists. Blocks.
    pub(crate) fn store_snapshot(&self, file: &SnapshotFile) -> Result<Id> {
        let plain = serde_json::to_vec(file).map_err(|source| Error::Content {
            attempt: "write a snapshot".to_owned(),
            source,
        })?;
        let sealed = self.shared.sealer.seal_file(&plain)?;
        let id = hash(&sealed);
        self.shared
            .backend
            .put(FileType::Snapshot, id, sealed.into())?;
        Ok(id)
    }
}

fn take_packer(state: &mut State) -> Packer {
    std::mem::replace(&mut state.packer, Packer::new(BlobType::Data))
}
