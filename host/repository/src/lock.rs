//! Locks of ours in the repository, because `rustic_core` takes none and a prune beside a backup damages the backup.
//!
//! A lock is an object of its own under `cofferdam/locks`, never overwritten by another process: it is put only if
//! absent, and removed by its holder or, once stale, by whoever finds it. Backups share, forget and prune exclude.
//! Both put their lock first and look at the others' afterwards, so of two at the same moment at least one gives way.
//! Plain restic does not know these locks: its `prune` and `forget` must not be started beside a backup of this program
//! (`foreign` looks for those that run already).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::TryStreamExt;
use jiff::{SignedDuration, Timestamp};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::error::{Error, Result};
use crate::holder::{Holder, LockOwner};

/// How often a holder renews its lock: twenty times within [`EXPIRY`], so that a store that is away for minutes does
/// not cost a backup.
const HEARTBEAT: Duration = Duration::from_secs(30);
/// After how long without renewal a lock of another machine counts as stale. Long enough for a store's outage or a
/// machine that swaps, short enough that nobody waits an hour for a machine that is gone.
pub(crate) const EXPIRY: Duration = Duration::from_secs(600);
/// A holder that could not renew for this long gives up by itself, well before another may break its lock.
const GIVE_UP: Duration = Duration::from_secs(480);

/// What a lock excludes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LockKind {
    /// Beside other shared locks: a backup.
    Shared,
    /// Alone: forget and prune.
    Exclusive,
}

/// A lock in the repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockInfo {
    /// What it excludes.
    pub kind: LockKind,
    /// Who holds it.
    pub owner: LockOwner,
    /// When it was last renewed, by the clock of the store.
    pub refreshed: Timestamp,
    /// Whether its holder is known to be gone; such a lock is broken by the next process that needs one.
    pub stale: bool,
}

/// The content of a lock object.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Body {
    kind: LockKind,
    #[serde(flatten)]
    holder: Holder,
}

fn folder() -> Path {
    Path::from_iter(["cofferdam", "locks"])
}

/// A lock object that was found.
struct Found {
    path: Path,
    body: Body,
    renewed: Timestamp,
}

impl Found {
    /// Both times are the store's, so the clocks of two machines need not agree.
    fn is_stale(&self, now: Timestamp) -> bool {
        let age = now.duration_since(self.renewed);
        self.body.holder.is_dead() || age.as_secs() > i64::try_from(EXPIRY.as_secs()).unwrap_or(600)
    }
}

fn renewed(meta: &ObjectMeta) -> Timestamp {
    Timestamp::from_millisecond(meta.last_modified.timestamp_millis()).unwrap_or(Timestamp::MIN)
}

async fn find(store: &dyn ObjectStore) -> Result<Vec<Found>> {
    let attempt = || "read the locks of the repository".to_owned();
    let listed: Vec<ObjectMeta> = store
        .list(Some(&folder()))
        .try_collect()
        .await
        .map_err(Error::store(attempt()))?;
    let mut found = Vec::new();
    for meta in listed {
        let bytes = match store.get(&meta.location).await {
            Ok(content) => content.bytes().await.map_err(Error::store(attempt()))?,
            // It was released between the listing and the reading.
            Err(object_store::Error::NotFound { .. }) => continue,
            Err(source) => {
                return Err(Error::Store {
                    attempt: attempt(),
                    source,
                });
            }
        };
        let body = serde_json::from_slice(&bytes).map_err(|source| Error::Content {
            attempt: format!("read the lock `{}`", meta.location),
            source,
        })?;
        found.push(Found {
            renewed: renewed(&meta),
            path: meta.location,
            body,
        });
    }
    Ok(found)
}

/// The locks in the repository, for people.
pub(crate) async fn list(store: &dyn ObjectStore) -> Result<Vec<LockInfo>> {
    // Nothing is written to ask the store for its time; a second of difference does no harm in a display.
    let now = Timestamp::now();
    let found = find(store).await?;
    Ok(found
        .into_iter()
        .map(|found| LockInfo {
            stale: found.is_stale(now),
            kind: found.body.kind,
            owner: found.body.holder.owner,
            refreshed: found.renewed,
        })
        .collect())
}

/// A lock that is held. It is released by [`Lock::release`], or in the background on drop.
#[derive(Debug)]
pub(crate) struct Lock {
    store: Arc<dyn ObjectStore>,
    path: Path,
    lost: Arc<AtomicBool>,
    released: AtomicBool,
    heartbeat: AbortHandle,
    runtime: Handle,
    broken: Vec<LockOwner>,
}

impl Lock {
    /// Takes a lock, breaking stale ones on the way.
    ///
    /// # Errors
    /// [`Error::Locked`] if a live lock excludes it; nothing stays behind then.
    pub(crate) async fn take(
        store: &Arc<dyn ObjectStore>,
        kind: LockKind,
        purpose: &str,
    ) -> Result<Self> {
        let body = Body {
            kind,
            holder: Holder::me(purpose),
        };
        let content = serde_json::to_vec(&body)
            .map(PutPayload::from)
            .map_err(|source| Error::Content {
                attempt: "write a lock".to_owned(),
                source,
            })?;
        let mut name = [0_u8; 16];
        getrandom::fill(&mut name).map_err(|_| Error::Limit {
            attempt: "name a lock",
            reason: "the operating system gave no random bytes",
        })?;
        let path = folder().join(format!("{}.json", hex::encode(name)));
        let options = PutOptions {
            mode: PutMode::Create,
            ..PutOptions::default()
        };
        store
            .put_opts(&path, content.clone(), options)
            .await
            .map_err(Error::store(format!("write the lock `{path}`")))?;
        // From here on the lock is there, so every way out must remove it: the guard does.
        let lost = Arc::new(AtomicBool::new(false));
        let beat = beat(
            Arc::clone(store),
            path.clone(),
            content,
            Arc::clone(&lost),
            HEARTBEAT,
        );
        let mut lock = Self {
            store: Arc::clone(store),
            path,
            lost,
            released: AtomicBool::new(false),
            heartbeat: tokio::spawn(beat).abort_handle(),
            runtime: Handle::current(),
            broken: Vec::new(),
        };
        match lock.settle(kind).await {
            Ok(()) => Ok(lock),
            Err(error) => {
                // The refusal matters more than a lock that will be found stale.
                lock.release().await.unwrap_or_else(|error| {
                    tracing::warn!(%error, "failed to take back a lock");
                });
                Err(error)
            }
        }
    }

    /// Breaks stale locks and gives way to live ones.
    async fn settle(&mut self, kind: LockKind) -> Result<()> {
        let found = find(&*self.store).await?;
        let Some(mine) = found.iter().find(|found| found.path == self.path) else {
            return Err(Error::LockLost {
                reason: "it vanished right after it was written",
            });
        };
        let now = mine.renewed;
        for other in found.iter().filter(|found| found.path != self.path) {
            if other.is_stale(now) {
                match self.store.delete(&other.path).await {
                    Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                    Err(source) => {
                        return Err(Error::Store {
                            attempt: format!("break the stale lock `{}`", other.path),
                            source,
                        });
                    }
                }
                tracing::warn!(owner = %other.body.holder.owner, "broke a stale lock");
                self.broken.push(other.body.holder.owner.clone());
            } else if kind == LockKind::Exclusive || other.body.kind == LockKind::Exclusive {
                return Err(Error::Locked {
                    owner: Box::new(other.body.holder.owner.clone()),
                });
            }
        }
        Ok(())
    }

    /// The holders whose stale locks were broken to get this one.
    pub(crate) fn broken(&self) -> &[LockOwner] {
        &self.broken
    }

    /// Whether another could have broken the lock; then nothing may be written any more.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::SeqCst)
    }

    /// Looks whether the lock is still there and was renewed in time.
    pub(crate) async fn confirm(&self) -> Result<()> {
        if self.is_lost() {
            return Err(Error::LockLost {
                reason: "it was broken or could not be renewed in time",
            });
        }
        match self.store.head(&self.path).await {
            Ok(_) => Ok(()),
            Err(object_store::Error::NotFound { .. }) => {
                self.lost.store(true, Ordering::SeqCst);
                Err(Error::LockLost {
                    reason: "another process broke it",
                })
            }
            Err(source) => Err(Error::Store {
                attempt: format!("look at the lock `{}`", self.path),
                source,
            }),
        }
    }

    /// Gives the lock back.
    pub(crate) async fn release(&self) -> Result<()> {
        self.heartbeat.abort();
        if self.released.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        match self.store.delete(&self.path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(Error::Store {
                attempt: format!("release the lock `{}`", self.path),
                source,
            }),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.heartbeat.abort();
        if self.released.swap(true, Ordering::SeqCst) {
            return;
        }
        let (store, path) = (Arc::clone(&self.store), self.path.clone());
        // If the runtime ends first, the lock stays and is found stale: its process is gone.
        self.runtime.spawn(async move {
            if let Err(error) = store.delete(&path).await {
                tracing::warn!(%error, lock = %path, "failed to release a lock");
            }
        });
    }
}

/// Renews a lock until it is aborted or the lock is lost.
async fn beat(
    store: Arc<dyn ObjectStore>,
    path: Path,
    content: PutPayload,
    lost: Arc<AtomicBool>,
    every: Duration,
) {
    let mut last = (Instant::now(), Timestamp::now());
    let give_up = SignedDuration::try_from(GIVE_UP).unwrap_or(SignedDuration::MAX);
    loop {
        tokio::time::sleep(every).await;
        // A machine that slept must not go on as if nothing had happened, and only one of the clocks shows it slept.
        let slept =
            last.0.elapsed() >= GIVE_UP || Timestamp::now().duration_since(last.1) >= give_up;
        let renewed = match store.head(&path).await {
            Ok(_) if slept => Err(None),
            Ok(_) => store
                .put(&path, content.clone())
                .await
                .map(drop)
                .map_err(Some),
            // A lock that is gone must not be put again: what it protected may be gone as well.
            Err(object_store::Error::NotFound { .. }) => Err(None),
            Err(error) if slept => {
                tracing::warn!(%error, lock = %path, "gave up renewing a lock");
                Err(None)
            }
            Err(error) => Err(Some(error)),
        };
        match renewed {
            Ok(()) => last = (Instant::now(), Timestamp::now()),
            Err(Some(error)) => tracing::warn!(%error, lock = %path, "failed to renew a lock"),
            Err(None) => {
                lost.store(true, Ordering::SeqCst);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    fn store() -> Arc<dyn ObjectStore> {
        Arc::new(InMemory::new())
    }

    async fn plant(store: &Arc<dyn ObjectStore>, change: impl FnOnce(&mut Body)) {
        let mut body = Body {
            kind: LockKind::Exclusive,
            holder: Holder::me("planted"),
        };
        change(&mut body);
        let content = PutPayload::from(serde_json::to_vec(&body).unwrap());
        store
            .put(&folder().join("planted.json"), content)
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn shared_locks_stand_beside_each_other_and_an_exclusive_one_names_who_holds_it() {
        let store = store();
        let one = Lock::take(&store, LockKind::Shared, "backup of one")
            .await
            .unwrap();
        let other = Lock::take(&store, LockKind::Shared, "backup of two")
            .await
            .unwrap();
        one.release().await.unwrap();
        let error = Lock::take(&store, LockKind::Exclusive, "prune")
            .await
            .unwrap_err();
        let text = error.to_string();
        assert!(text.contains("backup of two"), "{text}");
        assert!(text.contains(&std::process::id().to_string()), "{text}");
        other.release().await.unwrap();
        let alone = Lock::take(&store, LockKind::Exclusive, "prune")
            .await
            .unwrap();
        let error = Lock::take(&store, LockKind::Shared, "backup")
            .await
            .unwrap_err();
        assert!(error.to_string().contains("prune"), "{error}");
        alone.release().await.unwrap();
        assert!(list(&*store).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn the_lock_of_a_dead_process_is_broken_and_said() {
        let store = store();
        // The highest id that Linux gives out is 4194304.
        plant(&store, |body| body.holder.owner.process_id = 4_194_305).await;
        assert!(list(&*store).await.unwrap()[0].stale);
        let lock = Lock::take(&store, LockKind::Shared, "backup")
            .await
            .unwrap();
        assert_eq!(lock.broken()[0].purpose, "planted");
    }

    #[tokio::test]
    async fn a_reused_process_id_is_not_taken_for_the_holder() {
        let store = store();
        plant(&store, |body| body.holder.started = "1".to_owned()).await;
        assert_eq!(
            Lock::take(&store, LockKind::Shared, "b")
                .await
                .unwrap()
                .broken()
                .len(),
            1
        );
    }

    #[tokio::test]
    async fn a_live_process_and_a_fresh_lock_of_another_machine_are_respected() {
        let store = store();
        plant(&store, |_| {}).await;
        assert!(
            Lock::take(&store, LockKind::Shared, "backup")
                .await
                .is_err()
        );
        plant(&store, |body| {
            body.holder.realm = "elsewhere".to_owned();
            body.holder.owner.process_id = 4_194_305;
        })
        .await;
        assert!(
            Lock::take(&store, LockKind::Shared, "backup")
                .await
                .is_err()
        );
        assert_eq!(
            list(&*store).await.unwrap().len(),
            1,
            "the refused ones left nothing"
        );
    }

    #[test]
    fn a_lock_of_another_machine_is_stale_only_after_its_expiry() {
        let mut body = Body {
            kind: LockKind::Shared,
            holder: Holder::me("backup"),
        };
        body.holder.realm = "elsewhere".to_owned();
        let renewed = Timestamp::from_second(1_000_000).unwrap();
        let found = Found {
            path: folder(),
            body,
            renewed,
        };
        let after = |seconds: i64| Timestamp::from_second(1_000_000 + seconds).unwrap();
        assert!(!found.is_stale(after(600)));
        assert!(found.is_stale(after(602)));
    }

    #[tokio::test]
    async fn a_lock_that_was_broken_is_noticed() {
        let store = store();
        let lock = Lock::take(&store, LockKind::Shared, "backup")
            .await
            .unwrap();
        lock.confirm().await.unwrap();
        store.delete(&lock.path).await.unwrap();
        assert!(matches!(lock.confirm().await, Err(Error::LockLost { .. })));
        assert!(lock.is_lost());
    }

    #[tokio::test]
    async fn a_heartbeat_renews_the_lock_and_does_not_revive_a_broken_one() {
        let store = store();
        let path = folder().join("beating.json");
        store.put(&path, "lock".into()).await.unwrap();
        let first = store.head(&path).await.unwrap().e_tag;
        let lost = Arc::new(AtomicBool::new(false));
        let every = Duration::from_millis(1);
        let beat = beat(
            Arc::clone(&store),
            path.clone(),
            "lock".into(),
            Arc::clone(&lost),
            every,
        );
        let beat = tokio::spawn(beat);
        while store.head(&path).await.unwrap().e_tag == first {
            tokio::task::yield_now().await;
        }
        assert!(!lost.load(Ordering::SeqCst));
        // A beat between its look and its renewal may put the lock back once; the next look still finds it gone.
        while !beat.is_finished() {
            let _ = store.delete(&path).await;
            tokio::task::yield_now().await;
        }
        assert!(lost.load(Ordering::SeqCst));
        assert!(store.head(&path).await.is_err());
    }

    #[tokio::test]
    async fn a_dropped_lock_goes_away() {
        let store = store();
        drop(
            Lock::take(&store, LockKind::Shared, "backup")
                .await
                .unwrap(),
        );
        while !list(&*store).await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    }
}
