//! Removes what no snapshot refers to, in two phases, and sweeps the leftovers of killed programs.
//!
//! The first phase marks packs, the second removes packs that were marked at least 23 hours ago, so that a reader with
//! an old index still finds what it looks for. It must never delete at once, and never without the exclusive lock.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::TryStreamExt;
use jiff::Timestamp;
use rustic_core::repofile::IndexFile;
use rustic_core::{
    BytesList, ErrorKind, FileType, Id, LimitOption, PruneOptions, ReadBackend, RusticError,
    RusticResult, WriteBackend,
};
use serde::{Deserialize, Serialize};

use crate::backend::StoreBackend;
use crate::error::{Error, Result};
use crate::holder::LockOwner;
use crate::location::Location;
use crate::lock::{Lock, LockKind};
use crate::repository::{Inner, Repository, blocking};

/// How old a leftover must be to be swept: a store that writes a file may have it open for minutes, not for an hour.
const LEFTOVER_AGE: Duration = Duration::from_secs(3600);

/// How old a pack that no index knows must be to be swept, in milliseconds: as long as a marked pack is kept.
const STRAY_AGE: i64 = 23 * 3600 * 1000;

/// What a prune did or would do. Sizes are bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PruneReport {
    /// Packs newly marked: nothing refers to them, and a prune in 23 hours or later removes them.
    pub packs_marked: u64,
    /// Their size.
    pub bytes_marked: u64,
    /// Packs removed, marked by an earlier prune.
    pub packs_removed: u64,
    /// Their size.
    pub bytes_removed: u64,
    /// What was copied out of packs that are only partly used.
    pub bytes_repacked: u64,
    /// What the snapshots use.
    pub bytes_used: u64,
    /// Unfinished files, and packs without an index, of killed programs that were swept.
    pub leftovers_removed: u64,
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// Holders of stale locks that were broken.
    pub broken_locks: Vec<LockOwner>,
}

/// The exclusive lock, and a backend that refuses to change anything once it is lost.
#[derive(Debug)]
pub(crate) struct Exclusive {
    lock: Arc<Lock>,
    backend: Arc<Guarded>,
}

impl Exclusive {
    pub(crate) async fn take(inner: &Inner, purpose: &str) -> Result<Self> {
        let lock = inner.take_lock(LockKind::Exclusive, purpose).await?;
        let inner = Arc::clone(&inner.shared.backend);
        let backend = Arc::new(Guarded {
            inner,
            lock: Arc::clone(&lock),
        });
        Ok(Self { lock, backend })
    }

    pub(crate) fn backend(&self) -> Arc<dyn WriteBackend> {
        Arc::clone(&self.backend) as _
    }

    /// Gives the lock back and says whose stale locks were broken for it.
    pub(crate) async fn release(self) -> Vec<LockOwner> {
        if let Err(error) = self.lock.release().await {
            tracing::warn!(%error, "failed to release the exclusive lock");
        }
        self.lock.broken().to_vec()
    }
}

#[derive(Debug)]
struct Guarded {
    inner: Arc<StoreBackend>,
    lock: Arc<Lock>,
}

impl Guarded {
    fn permit(&self) -> RusticResult<()> {
        if self.lock.is_lost() {
            return Err(RusticError::new(
                ErrorKind::Backend,
                "the exclusive lock was lost, so nothing more is changed",
            ));
        }
        Ok(())
    }
}

impl ReadBackend for Guarded {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn list_with_size(&self, kind: FileType) -> RusticResult<Vec<(Id, u32)>> {
        self.inner.list_with_size(kind)
    }

    fn read_full(&self, kind: FileType, id: &Id) -> RusticResult<Bytes> {
        self.inner.read_full(kind, id)
    }

    fn read_partial(
        &self,
        kind: FileType,
        id: &Id,
        cacheable: bool,
        offset: u32,
        length: u32,
    ) -> RusticResult<Bytes> {
        self.inner.read_partial(kind, id, cacheable, offset, length)
    }

    fn warmup_path(&self, kind: FileType, id: &Id) -> String {
        self.inner.warmup_path(kind, id)
    }
}

impl WriteBackend for Guarded {
    fn write_bytes(
        &self,
        kind: FileType,
        id: &Id,
        cacheable: bool,
        content: BytesList,
    ) -> RusticResult<()> {
        self.permit()?;
        self.inner.write_bytes(kind, id, cacheable, content)
    }

    fn remove(&self, kind: FileType, id: &Id, cacheable: bool) -> RusticResult<()> {
        self.permit()?;
        self.inner.remove(kind, id, cacheable)
    }
}

impl Repository {
    /// Marks what no snapshot refers to, removes what was marked at least 23 hours ago, and sweeps leftovers.
    ///
    /// # Errors
    /// [`Error::Locked`] beside a backup, and what the store says; a prune that was cut short is finished by the next.
    pub async fn prune(&self, dry_run: bool) -> Result<PruneReport> {
        let exclusive = Exclusive::take(&self.inner, "prune").await?;
        let result = self.prune_locked(dry_run, &exclusive).await;
        let broken_locks = exclusive.release().await;
        result.map(|report| PruneReport {
            broken_locks,
            ..report
        })
    }

    async fn prune_locked(&self, dry_run: bool, exclusive: &Exclusive) -> Result<PruneReport> {
        let stray = self.sweep_stray_packs(dry_run, exclusive).await?;
        let (inner, backend) = (Arc::clone(&self.inner), exclusive.backend());
        let mut report = blocking("prune the repository", move || {
            prune(&inner, backend, dry_run)
        })
        .await?;
        report.leftovers_removed = stray;
        if let Location::Folder(folder) = &self.inner.location {
            let folder = folder.clone();
            report.leftovers_removed +=
                blocking("sweep leftovers", move || sweep(&folder, dry_run)).await?;
        }
        Ok(report)
    }

    /// Removes packs that no index knows, which killed backups leave, once they are old; counts them.
    ///
    /// The library marks them as well, but forgets its marks where no index has to be rewritten.
    async fn sweep_stray_packs(&self, dry_run: bool, exclusive: &Exclusive) -> Result<u64> {
        let attempt = "sweep packs that no index knows";
        let inner = Arc::clone(&self.inner);
        let known = blocking(attempt, move || {
            let files = inner
                .rustic
                .stream_files::<IndexFile>()
                .map_err(Error::format(attempt))?;
            let mut known = BTreeSet::<Id>::new();
            for file in files {
                let (_, index) = file.map_err(Error::format(attempt))?;
                known.extend(
                    index
                        .packs
                        .iter()
                        .chain(&index.packs_to_delete)
                        .map(|pack| *pack.id),
                );
            }
            Ok(known)
        })
        .await?;
        let packs: Vec<_> = self
            .inner
            .store()
            .list(Some(&object_store::path::Path::from(
                FileType::Pack.dirname(),
            )))
            .try_collect()
            .await
            .map_err(Error::store(attempt))?;
        let now = Timestamp::now().as_millisecond();
        let stray: Vec<Id> = packs
            .into_iter()
            .filter(|meta| now - meta.last_modified.timestamp_millis() > STRAY_AGE)
            .filter_map(|meta| meta.location.filename()?.parse::<Id>().ok())
            .filter(|id| !known.contains(id))
            .collect();
        let count = stray.len() as u64;
        if dry_run {
            return Ok(count);
        }
        let backend = exclusive.backend();
        blocking(attempt, move || {
            stray.iter().try_for_each(|id| {
                backend
                    .remove(FileType::Pack, id, false)
                    .map_err(Error::format(attempt))
            })
        })
        .await?;
        Ok(count)
    }
}

fn prune(inner: &Inner, backend: Arc<dyn WriteBackend>, dry_run: bool) -> Result<PruneReport> {
    let attempt = "prune the repository";
    let repository = inner.reopen(backend)?;
    // The defaults are the two phases with 23 hours between them. What is repacked has no limit, as in
    // restic: a tenth of the repository, the library's limit, is less than one pack where there are few,
    // and nothing of them would ever be freed.
    let mut options = PruneOptions::default();
    options.max_repack = LimitOption::Unlimited;
    let plan = repository
        .prune_plan(&options)
        .map_err(Error::format(attempt))?;
    let stats = &plan.stats;
    let sizes = stats.size_sum();
    let report = PruneReport {
        packs_marked: stats.packs.unused + stats.packs.repack,
        bytes_marked: sizes.remove + sizes.repack,
        packs_removed: stats.packs_to_delete.remove,
        bytes_removed: stats.size_to_delete.remove,
        bytes_repacked: sizes.repack.saturating_sub(sizes.repackrm),
        bytes_used: sizes.used,
        leftovers_removed: 0,
        dry_run,
        broken_locks: Vec::new(),
    };
    if !dry_run {
        repository
            .prune(&options, plan)
            .map_err(Error::format(attempt))?;
    }
    Ok(report)
}

/// Whether a name is one that a program gives to a file it has not finished: `object_store` appends `#` and a number,
/// restic `-tmp-` and a number.
fn is_leftover(name: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let by_store = name.rsplit_once('#').is_some_and(|(_, end)| number(end));
    let by_restic = name
        .rsplit_once("-tmp-")
        .is_some_and(|(_, end)| number(end));
    by_store || by_restic
}

/// Removes unfinished files from the folders of the repository, and counts them. Links are not followed.
fn sweep(folder: &Path, dry_run: bool) -> Result<u64> {
    let failed = |source| Error::File {
        attempt: format!("sweep leftovers from `{}`", folder.display()),
        source,
    };
    let mut swept = 0;
    let mut folders: Vec<PathBuf> = ["data", "index", "keys", "snapshots", "cofferdam"]
        .map(|name| folder.join(name))
        .into_iter()
        .filter(|folder| folder.is_dir())
        .collect();
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let kind = entry.file_type().map_err(failed)?;
            if kind.is_dir() {
                folders.push(entry.path());
                continue;
            }
            if !kind.is_file() || !entry.file_name().to_str().is_some_and(is_leftover) {
                continue;
            }
            let modified = entry
                .metadata()
                .and_then(|meta| meta.modified())
                .map_err(failed)?;
            let age = SystemTime::now()
                .duration_since(modified)
                .unwrap_or_default();
            if age < LEFTOVER_AGE {
                continue;
            }
            if !dry_run {
                fs_err::remove_file(entry.path()).map_err(failed)?;
            }
            swept += 1;
        }
    }
    Ok(swept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unfinished_files_are_leftovers() {
        let id = "0123456789abcdef";
        assert!(is_leftover(&format!("{id}#1")));
        assert!(is_leftover(&format!("{id}-tmp-123456")));
        for name in [id, "config", "a#b", "a-tmp-", "#", "x#1y"] {
            assert!(!is_leftover(name), "{name}");
        }
    }
}
