//! Leases against a cluster that is a map, so that every order of taking and letting go can be
//! played.

mod scaling;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use async_trait::async_trait;
use cofferdam_policy::name::{ApplicationName, GroupName, Namespace};
use cofferdam_policy::request::{ModuleIdentity, RunKind, Workload, WorkloadKind};

use super::*;
use crate::event::Nobody;
use crate::journal::{self, OpenLease};

const SITE: &str = "save 900 1";
const OFF: &str = "save \"\"";

/// A cluster with one ConfigMap, and what was done to it.
#[derive(Debug, Default)]
struct Map {
    data: Mutex<BTreeMap<String, String>>,
    done: Mutex<Vec<String>>,
    refuses_to_put_back: AtomicBool,
    /// While it is locked nothing is made: a slow API.
    gate: tokio::sync::Mutex<()>,
}

/// The desk's end of it.
#[derive(Debug)]
struct End(Arc<Map>);

impl Map {
    fn note(&self, line: &str) {
        self.done.lock().expect("not poisoned").push(line.into());
    }

    fn done(&self) -> Vec<String> {
        self.done.lock().expect("not poisoned").clone()
    }

    fn text(&self, key: &str) -> String {
        self.data.lock().expect("not poisoned")[key].clone()
    }

    fn set(&self, key: &str, text: &str) {
        let mut data = self.data.lock().expect("not poisoned");
        data.insert(key.into(), text.into());
    }
}

fn edits(change: &Change) -> &BTreeMap<DataKey, String> {
    match change {
        Change::EditObject { changes, .. } => changes,
        Change::Scale { .. } => panic!("these tests edit"),
    }
}

#[async_trait]
impl Changeable for End {
    async fn read_original(
        &self,
        permit: &Permit<TakeLease>,
    ) -> Result<Original, cofferdam_cluster::Error> {
        let keys = edits(&permit.request().change).keys();
        let values = keys.map(|key| (key.clone(), Some(self.0.text(key.as_str()))));
        Ok(Original::Data {
            values: values.collect(),
        })
    }

    async fn make_change(
        &self,
        permit: &Permit<TakeLease>,
        _original: &Original,
    ) -> Result<(), cofferdam_cluster::Error> {
        let _open = self.0.gate.lock().await;
        for (key, text) in edits(&permit.request().change) {
            if self.0.text(key.as_str()) != *text {
                self.0.note(&format!("change {key}"));
                self.0.set(key.as_str(), text);
            }
        }
        Ok(())
    }

    async fn put_back(
        &self,
        _permit: &Permit<PutBack>,
        original: &Original,
    ) -> Result<PutBackOutcome, cofferdam_cluster::Error> {
        if self.0.refuses_to_put_back.load(Ordering::Relaxed) {
            return Err(cofferdam_cluster::Error::WrongPermit {
                what: "the API refuses".into(),
            });
        }
        let Original::Data { values } = original else {
            panic!("these tests edit");
        };
        for (key, text) in values {
            self.0.note(&format!("put back {key}"));
            self.0.set(key.as_str(), text.as_deref().expect("a text"));
        }
        Ok(PutBackOutcome::Restored)
    }
}

struct Stage {
    desk: Arc<LeaseDesk>,
    map: Arc<Map>,
    policy: Arc<Policy>,
    cancel: CancellationToken,
    folder: tempfile::TempDir,
}

fn name(text: &str) -> DataSetName {
    DataSetName::parse(text).expect("a name")
}

fn stage() -> Stage {
    let folder = tempfile::tempdir().expect("a folder");
    let all = (
        "all.cedar".to_owned(),
        "permit (principal, action, resource);".to_owned(),
    );
    let policy = Arc::new(Policy::parse(&[all]).expect("a policy"));
    let map = Arc::new(Map::default());
    map.set("redis.conf", SITE);
    map.set("sentinel.conf", SITE);
    let cancel = CancellationToken::new();
    let journal = Journal::open(&folder.path().join("journal")).expect("a journal");
    let audit = Audit::begin(&folder.path().join("audit"), "run").expect("an audit log");
    let desk = LeaseDesk::new(
        End(map.clone()),
        policy.clone(),
        Arc::new(journal),
        Arc::new(audit),
        Arc::new(Nobody),
        cancel.clone(),
    );
    Stage {
        desk: Arc::new(desk),
        map,
        policy,
        cancel,
        folder,
    }
}

fn kind() -> ObjectKind {
    ObjectKind {
        api_version: "v1".into(),
        kind: "ConfigMap".into(),
    }
}

fn redis_config() -> ObjectName {
    ObjectName::parse("redis-config").expect("a name")
}

impl Stage {
    /// What a data set that lets go of everything could not put back.
    async fn left(&self, data_set: &str) -> Vec<String> {
        self.desk.release_all(&name(data_set)).await.left
    }

    fn scope(&self, data_set: &DataSetName) -> Scope {
        Scope {
            principal: Principal::Module(ModuleIdentity {
                name: "redis".parse().expect("a name"),
                version: "0.1.0".into(),
                digest: format!("sha256:{}", "0".repeat(64)),
                signer: None,
            }),
            application: ApplicationName::parse("threescale").expect("a name"),
            namespace: Namespace::parse("3scale").expect("a name"),
            data_set: Some(data_set.clone()),
            run: RunKind::Restore,
        }
    }

    async fn take(&self, data_set: &str, key: &str, text: &str) -> Result<LeaseId, LeaseError> {
        let data_set = name(data_set);
        let scope = self.scope(&data_set);
        let change = Change::EditObject {
            namespace: scope.namespace.clone(),
            // Two modules may call the same object differently.
            group: GroupName::parse(&format!("of-{data_set}")).expect("a name"),
            kind: kind(),
            name: redis_config(),
            changes: BTreeMap::from([(DataKey::parse(key).expect("a key"), text.into())]),
        };
        let permit = self
            .policy
            .permit(&scope, TakeLease { change })
            .expect("allowed");
        self.desk.take(&scope, &data_set, &permit).await
    }

    fn open_leases(&self) -> Vec<OpenLease> {
        let lines = journal::read(&self.folder.path().join("journal")).expect("read");
        journal::remains(&lines).leases
    }

    /// Lets go in a task of its own, and sees that it waits.
    async fn lets_go_and_waits(
        &self,
        id: LeaseId,
        data_set: &str,
    ) -> tokio::task::JoinHandle<Result<PutBackOutcome, LeaseError>> {
        let (desk, data_set) = (self.desk.clone(), name(data_set));
        let task = tokio::spawn(async move { desk.release(id, &data_set).await });
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!task.is_finished(), "it does not wait for the other");
        task
    }
}

#[tokio::test]
async fn two_data_sets_share_a_change_which_is_put_back_once_when_the_last_lets_go() {
    let stage = stage();
    let one = stage
        .take("backend-redis", "redis.conf", OFF)
        .await
        .expect("taken");
    let other = stage
        .take("system-redis", "redis.conf", OFF)
        .await
        .expect("shared");
    assert_eq!(stage.map.done(), ["change redis.conf"]);
    assert_eq!(stage.open_leases().len(), 1);

    let waiting = stage.lets_go_and_waits(one, "backend-redis").await;
    assert_eq!(
        stage.map.text("redis.conf"),
        OFF,
        "the other still needs it"
    );
    let outcome = stage.desk.release(other, &name("system-redis")).await;
    assert_eq!(outcome.expect("put back"), PutBackOutcome::Restored);
    assert_eq!(
        waiting.await.expect("ended").expect("put back"),
        PutBackOutcome::Restored
    );
    assert_eq!(
        stage.map.done(),
        ["change redis.conf", "put back redis.conf"]
    );
    assert_eq!(stage.map.text("redis.conf"), SITE);
    assert!(stage.open_leases().is_empty());
    for (id, data_set) in [(one, "backend-redis"), (other, "system-redis")] {
        let again = stage.desk.release(id, &name(data_set)).await;
        assert!(matches!(again, Err(LeaseError::Unknown)), "{again:?}");
    }
}

#[tokio::test]
async fn one_after_the_other_each_has_a_lease_of_its_own() {
    let stage = stage();
    for data_set in ["backend-redis", "system-redis"] {
        let id = stage
            .take(data_set, "redis.conf", OFF)
            .await
            .expect("taken");
        let outcome = stage.desk.release(id, &name(data_set)).await;
        assert_eq!(outcome.expect("put back"), PutBackOutcome::Restored);
        assert_eq!(stage.map.text("redis.conf"), SITE);
    }
    assert_eq!(stage.map.done().len(), 4, "{:?}", stage.map.done());
}

#[tokio::test]
async fn different_changes_of_one_key_are_a_conflict_that_names_the_holder() {
    let stage = stage();
    let id = stage
        .take("backend-redis", "redis.conf", OFF)
        .await
        .expect("taken");
    let refused = stage.take("system-redis", "redis.conf", "save 1 1").await;
    let text = refused.expect_err("a conflict").to_string();
    assert!(
        text.starts_with(
            "data set `backend-redis` has changed ConfigMap/redis-config in another way"
        ),
        "{text}"
    );
    assert!(text.contains("after: [backend-redis]"), "{text}");
    let twice = stage.take("backend-redis", "redis.conf", OFF).await;
    assert!(matches!(twice, Err(LeaseError::Held(_))), "{twice:?}");
    stage
        .desk
        .release(id, &name("backend-redis"))
        .await
        .expect("put back");
    stage
        .take("system-redis", "redis.conf", "save 1 1")
        .await
        .expect("free again");
}

#[tokio::test]
async fn different_keys_of_one_object_do_not_meet() {
    let stage = stage();
    let one = stage
        .take("backend-redis", "redis.conf", OFF)
        .await
        .expect("taken");
    stage
        .take("sentinel", "sentinel.conf", "other")
        .await
        .expect("taken");
    stage
        .desk
        .release(one, &name("backend-redis"))
        .await
        .expect("put back");
    assert_eq!(stage.map.text("redis.conf"), SITE);
    assert_eq!(stage.map.text("sentinel.conf"), "other");
    assert!(stage.left("sentinel").await.is_empty());
    assert_eq!(stage.map.text("sentinel.conf"), SITE);
}

#[tokio::test]
async fn a_data_set_that_fails_leaves_the_change_to_those_who_need_it() {
    let stage = stage();
    let _one = stage
        .take("backend-redis", "redis.conf", OFF)
        .await
        .expect("taken");
    let other = stage
        .take("system-redis", "redis.conf", OFF)
        .await
        .expect("shared");
    // The one who made it ends first, without waiting.
    assert!(stage.left("backend-redis").await.is_empty());
    assert_eq!(stage.map.text("redis.conf"), OFF);
    assert_eq!(stage.open_leases().len(), 1, "a crash now must find it");
    stage
        .desk
        .release(other, &name("system-redis"))
        .await
        .expect("put back");
    assert_eq!(stage.map.text("redis.conf"), SITE);
    assert!(stage.open_leases().is_empty());
}

#[tokio::test]
async fn who_waits_goes_on_when_the_other_fails() {
    let stage = stage();
    let one = stage
        .take("backend-redis", "redis.conf", OFF)
        .await
        .expect("taken");
    let _other = stage
        .take("system-redis", "redis.conf", OFF)
        .await
        .expect("shared");
    let waiting = stage.lets_go_and_waits(one, "backend-redis").await;
    assert!(stage.left("system-redis").await.is_empty());
    assert_eq!(
        waiting.await.expect("ended").expect("put back"),
        PutBackOutcome::Restored
    );
    assert_eq!(
        stage.map.done(),
        ["change redis.conf", "put back redis.conf"]
    );
}

#[tokio::test]
async fn a_cancelled_run_puts_a_shared_change_back_once() {
    let stage = stage();
    let one = stage
        .take("backend-redis", "redis.conf", OFF)
        .await
        .expect("taken");
    let _other = stage
        .take("system-redis", "redis.conf", OFF)
        .await
        .expect("shared");
    let waiting = stage.lets_go_and_waits(one, "backend-redis").await;
    stage.cancel.cancel();
    let ended = waiting.await.expect("ended");
    assert!(matches!(ended, Err(LeaseError::Cancelled)), "{ended:?}");
    for data_set in ["backend-redis", "system-redis"] {
        assert!(stage.left(data_set).await.is_empty());
    }
    assert_eq!(
        stage.map.done(),
        ["change redis.conf", "put back redis.conf"]
    );
    assert!(stage.open_leases().is_empty());
}

#[tokio::test]
async fn a_failure_to_put_back_is_told_to_all_and_stays_in_the_journal() {
    let stage = stage();
    let one = stage
        .take("backend-redis", "redis.conf", OFF)
        .await
        .expect("taken");
    let other = stage
        .take("system-redis", "redis.conf", OFF)
        .await
        .expect("shared");
    let waiting = stage.lets_go_and_waits(one, "backend-redis").await;
    stage.map.refuses_to_put_back.store(true, Ordering::Relaxed);
    let failed = stage.desk.release(other, &name("system-redis")).await;
    assert!(
        failed
            .expect_err("refused")
            .to_string()
            .contains("the API refuses")
    );
    let text = waiting.await.expect("ended").expect_err("told").to_string();
    assert!(
        text.contains("ConfigMap/redis-config") && text.contains("the API refuses"),
        "{text}"
    );

    assert!(stage.left("backend-redis").await.is_empty());
    let left = stage.left("system-redis").await;
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(
        left[0].contains("the next run tries again first"),
        "{left:?}"
    );
    assert_eq!(stage.open_leases().len(), 1);
}

#[tokio::test]
async fn who_comes_while_it_is_made_waits_and_shares_it() {
    let stage = Arc::new(stage());
    let closed = stage.map.gate.lock().await;
    let take = |data_set: &'static str| {
        let stage = stage.clone();
        tokio::spawn(async move { stage.take(data_set, "redis.conf", OFF).await })
    };
    let (one, other) = (take("backend-redis"), take("system-redis"));
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!one.is_finished() && !other.is_finished());
    drop(closed);
    one.await.expect("ended").expect("taken");
    other.await.expect("ended").expect("shared");
    assert_eq!(stage.map.done(), ["change redis.conf"]);
    assert_eq!(stage.open_leases().len(), 1);
}

#[tokio::test]
async fn only_others_see_an_object_as_it_was_before() {
    let stage = stage();
    let _held = stage
        .take("backend-redis", "redis.conf", OFF)
        .await
        .expect("taken");
    let seen = |data_set| {
        stage
            .desk
            .before_others(&name(data_set), &kind(), &redis_config())
    };
    let before = seen("system-redis");
    assert_eq!(
        before.values().next(),
        Some(&Some(SITE.to_owned())),
        "what it will be again"
    );
    assert!(
        seen("backend-redis").is_empty(),
        "who holds it sees it as it is"
    );
    let other = ObjectName::parse("system-environment").expect("a name");
    assert!(
        stage
            .desk
            .before_others(&name("system-redis"), &kind(), &other)
            .is_empty()
    );
    assert!(stage.left("backend-redis").await.is_empty());
    assert!(seen("system-redis").is_empty());
}
