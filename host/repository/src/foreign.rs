//! The locks of plain restic, so that a backup does not start beside `restic prune`, nor a prune beside `restic backup`.
//!
//! They are only read. restic does not know ours: a restic that starts later is not held back.

use futures::TryStreamExt;
use jiff::{SignedDuration, Timestamp};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde::Deserialize;

use crate::error::{Error, Result};
use crate::holder::{LockOwner, runs_here};
use crate::lock::LockKind;
use crate::seal::Sealer;

/// restic renews its lock every five minutes and calls one stale that is older than this.
const EXPIRY: SignedDuration = SignedDuration::from_mins(30);

/// A lock in restic's words.
#[derive(Debug, Deserialize)]
struct ResticLock {
    time: Timestamp,
    #[serde(default)]
    exclusive: bool,
    #[serde(default)]
    hostname: String,
    #[serde(default)]
    pid: u32,
}

impl ResticLock {
    fn is_stale(&self) -> bool {
        Timestamp::now().duration_since(self.time) > EXPIRY
            || runs_here(&self.hostname, self.pid) == Some(false)
    }
}

/// Refuses if restic holds a lock that excludes one of ours.
pub(crate) async fn give_way(
    store: &dyn ObjectStore,
    sealer: &Sealer,
    kind: LockKind,
) -> Result<()> {
    let attempt = || "read the locks of restic".to_owned();
    let folder = Path::from("locks");
    let listed: Vec<_> = store
        .list(Some(&folder))
        .try_collect()
        .await
        .map_err(Error::store(attempt()))?;
    for meta in listed {
        let sealed = match store.get(&meta.location).await {
            Ok(content) => content.bytes().await.map_err(Error::store(attempt()))?,
            Err(object_store::Error::NotFound { .. }) => continue,
            Err(source) => {
                return Err(Error::Store {
                    attempt: attempt(),
                    source,
                });
            }
        };
        // What does not open is no lock of restic: nobody without the key could have written one.
        let Some(lock) = read(sealer, &sealed) else {
            continue;
        };
        if (kind == LockKind::Exclusive || lock.exclusive) && !lock.is_stale() {
            let owner = LockOwner {
                host: lock.hostname,
                process_id: lock.pid,
                purpose: "restic".to_owned(),
                taken: lock.time,
            };
            return Err(Error::Locked {
                owner: Box::new(owner),
            });
        }
    }
    Ok(())
}

fn read(sealer: &Sealer, sealed: &[u8]) -> Option<ResticLock> {
    let opened = sealer.open(sealed)?;
    match opened.split_first()? {
        (b'{', _) => serde_json::from_slice(&opened).ok(),
        (2, compressed) => serde_json::from_slice(&zstd::stream::decode_all(compressed).ok()?).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;
    use rustic_core::repofile::MasterKey;

    use super::*;

    async fn check(exclusive: bool, age: SignedDuration, pid: u32, kind: LockKind, refused: bool) {
        let sealer = Sealer::new(&MasterKey::new(), 1).unwrap();
        let store = InMemory::new();
        let lock = serde_json::json!({
            "time": Timestamp::now() - age,
            "exclusive": exclusive,
            "hostname": crate::holder::host(),
            "username": "root",
            "pid": pid,
        });
        let sealed = sealer.seal_file(lock.to_string().as_bytes()).unwrap();
        store
            .put(&Path::from("locks/0"), sealed.into())
            .await
            .unwrap();
        store
            .put(&Path::from("locks/1"), "not a lock".into())
            .await
            .unwrap();
        let result = give_way(&store, &sealer, kind).await;
        assert_eq!(
            result.is_err(),
            refused,
            "{exclusive} {age:?} {pid} {kind:?}: {result:?}"
        );
        if let Err(error) = result {
            assert!(error.to_string().contains("(restic, since"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_live_restic_is_given_way_to_and_a_dead_one_is_not() {
        let (me, nobody) = (std::process::id(), 4_194_305);
        let minutes = SignedDuration::from_mins;
        check(true, minutes(1), me, LockKind::Shared, true).await;
        check(false, minutes(1), me, LockKind::Shared, false).await;
        check(false, minutes(1), me, LockKind::Exclusive, true).await;
        check(true, minutes(31), me, LockKind::Exclusive, false).await;
        check(true, minutes(1), nobody, LockKind::Exclusive, false).await;
    }
}
