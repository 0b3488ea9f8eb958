//! The object store as `rustic_core` wants it: synchronous, by kind and id.
//!
//! It translates and nothing else: it must never decide what may be written or removed. Its synchronous functions
//! block on the runtime, so they must never be called from one of its own worker threads.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use rustic_core::{
    BytesList, ErrorKind, FileType, Id, ReadBackend, RusticError, RusticResult, WriteBackend,
};
use tokio::runtime::Handle;

use crate::error::{Error, Result};

/// Index files kept in memory, in bytes: they never change, and each snapshot reads them all again. 32 MiB hold the
/// sealed index of about half a TiB.
const KEPT_INDEX: usize = 32 * 1024 * 1024;

#[derive(Default)]
struct Kept {
    files: HashMap<Id, Bytes>,
    size: usize,
}

/// An object store with the folders of a restic repository.
pub(crate) struct StoreBackend {
    store: Arc<dyn ObjectStore>,
    location: String,
    runtime: Handle,
    kept: Mutex<Kept>,
}

impl fmt::Debug for StoreBackend {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "StoreBackend({})", self.location)
    }
}

impl StoreBackend {
    /// Takes a store; the runtime is the one this is called on.
    pub(crate) fn new(store: Arc<dyn ObjectStore>, location: String) -> Self {
        Self {
            store,
            location,
            runtime: Handle::current(),
            kept: Mutex::default(),
        }
    }

    /// The store itself, for what lies beside the restic repository.
    pub(crate) fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// Stores a file of the repository. Blocks.
    pub(crate) fn put(&self, kind: FileType, id: Id, content: PutPayload) -> Result<()> {
        let path = path(kind, &id);
        self.runtime
            .block_on(self.store.put(&path, content))
            .map(drop)
            .map_err(Error::store(format!(
                "write `{path}` to `{}`",
                self.location
            )))
    }

    fn fail(&self, attempt: &str, path: &Path, source: object_store::Error) -> Box<RusticError> {
        RusticError::with_source(
            ErrorKind::Backend,
            format!("failed to {attempt} `{path}` at `{}`", self.location),
            source,
        )
    }

    async fn list_ids(&self, kind: FileType) -> object_store::Result<Vec<(Id, u32)>> {
        if kind == FileType::Config {
            return match self.store.head(&path(kind, &Id::default())).await {
                Ok(meta) => Ok(vec![(Id::default(), clamp(meta.size))]),
                Err(object_store::Error::NotFound { .. }) => Ok(Vec::new()),
                Err(error) => Err(error),
            };
        }
        // What has no id for a name is a leftover of a killed program, and prune sweeps it.
        self.store
            .list(Some(&Path::from(kind.dirname())))
            .try_filter_map(|meta| async move {
                let id = meta
                    .location
                    .filename()
                    .and_then(|name| name.parse::<Id>().ok());
                Ok(id.map(|id| (id, clamp(meta.size))))
            })
            .boxed()
            .try_collect()
            .await
    }
}

/// The format has no file of 4 GiB or more; a size that claims so cannot match any index.
fn clamp(size: u64) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

/// Where a file of the repository lies.
pub(crate) fn path(kind: FileType, id: &Id) -> Path {
    let hex = id.to_hex();
    let hex = hex.as_str();
    match kind {
        FileType::Config => Path::from("config"),
        FileType::Pack => Path::from_iter(["data", hex.get(..2).unwrap_or_default(), hex]),
        FileType::Index | FileType::Key | FileType::Snapshot => {
            Path::from_iter([kind.dirname(), hex])
        }
    }
}

impl ReadBackend for StoreBackend {
    fn location(&self) -> String {
        self.location.clone()
    }

    fn list_with_size(&self, kind: FileType) -> RusticResult<Vec<(Id, u32)>> {
        self.runtime
            .block_on(self.list_ids(kind))
            .map_err(|error| self.fail("list", &Path::from(kind.dirname()), error))
    }

    fn read_full(&self, kind: FileType, id: &Id) -> RusticResult<Bytes> {
        if kind == FileType::Index {
            let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(bytes) = kept.files.get(id) {
                return Ok(bytes.clone());
            }
        }
        let path = path(kind, id);
        let bytes = self
            .runtime
            .block_on(async { self.store.get(&path).await?.bytes().await })
            .map_err(|error| self.fail("read", &path, error))?;
        if kind == FileType::Index {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.size + bytes.len() <= KEPT_INDEX && !kept.files.contains_key(id) {
                kept.size += bytes.len();
                kept.files.insert(*id, bytes.clone());
            }
        }
        Ok(bytes)
    }

    fn read_partial(
        &self,
        kind: FileType,
        id: &Id,
        _cacheable: bool,
        offset: u32,
        length: u32,
    ) -> RusticResult<Bytes> {
        let path = path(kind, id);
        let range = u64::from(offset)..u64::from(offset) + u64::from(length);
        let bytes = self
            .runtime
            .block_on(self.store.get_range(&path, range))
            .map_err(|error| self.fail("read a part of", &path, error))?;
        // A store may answer a range behind the end of a cut file with less than was asked for.
        if bytes.len() == length as usize {
            Ok(bytes)
        } else {
            Err(RusticError::new(
                ErrorKind::Backend,
                format!("`{path}` at `{}` is too short", self.location),
            ))
        }
    }

    fn warmup_path(&self, kind: FileType, id: &Id) -> String {
        path(kind, id).to_string()
    }
}

impl WriteBackend for StoreBackend {
    fn write_bytes(
        &self,
        kind: FileType,
        id: &Id,
        _cacheable: bool,
        content: BytesList,
    ) -> RusticResult<()> {
        let path = path(kind, id);
        self.runtime
            .block_on(
                self.store
                    .put(&path, content.into_vec().into_iter().collect()),
            )
            .map(drop)
            .map_err(|error| self.fail("write", &path, error))
    }

    fn remove(&self, kind: FileType, id: &Id, _cacheable: bool) -> RusticResult<()> {
        let path = path(kind, id);
        match self.runtime.block_on(self.store.delete(&path)) {
            // A prune that was killed goes on where it was; what is gone is gone.
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.fail("remove", &path, error)),
        }
    }
}
