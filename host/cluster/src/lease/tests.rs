//! Leases against a store with the optimistic lock of the real API: killed anywhere, put back.

use std::collections::BTreeMap;

use cofferdam_policy::name::{DataKey, GroupName, ObjectName};
use cofferdam_policy::request::{Change, ObjectKind, PutBack, TakeLease, WorkloadKind};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::error::Error;
use crate::lease::{Original, PutBackOutcome};
use crate::testing::{Reply, Store, cluster, namespace, permit, target_of};

const CONFIG: &str = "/api/v1/namespaces/3scale/configmaps/redis-config";
const SCALE: &str = "/apis/apps/v1/namespaces/3scale/deployments/backend-redis/scale";
const BEFORE: &str = "save 900 1\nappendonly yes\n";
const LEASED: &str = "save \"\"\nappendonly no\n";

fn key(text: &str) -> DataKey {
    DataKey::parse(text).expect("a key")
}

fn edit() -> Change {
    Change::EditObject {
        namespace: namespace(),
        group: GroupName::parse("configuration").expect("a name"),
        kind: ObjectKind {
            api_version: "v1".into(),
            kind: "ConfigMap".into(),
        },
        name: ObjectName::parse("redis-config").expect("a name"),
        changes: BTreeMap::from([
            (key("new.conf"), "x".into()),
            (key("redis.conf"), LEASED.into()),
        ]),
    }
}

fn scale() -> Change {
    Change::Scale {
        namespace: namespace(),
        workload: target_of(WorkloadKind::Deployment).workload,
        replicas: 0,
    }
}

/// A cluster with the ConfigMap and the scale as they are before any lease.
fn world() -> (Cluster, Store) {
    let store = Store::default();
    store.put(CONFIG, json!({ "metadata": { "name": "redis-config" }, "data": { "redis.conf": BEFORE, "other": "stays" } }));
    store.put(
        SCALE,
        json!({ "metadata": { "name": "backend-redis" }, "spec": { "replicas": 2 } }),
    );
    let answers = store.clone();
    let (cluster, _) = cluster(move |asked| answers.answer(asked));
    (cluster, store)
}

async fn take(cluster: &Cluster, change: Change) -> Original {
    let permit = permit(TakeLease { change });
    let original = cluster.read_original(&permit).await.expect("read");
    // What the journal gives back after a crash is the same.
    let line = serde_json::to_string(&original).expect("a line");
    assert_eq!(
        serde_json::from_str::<Original>(&line).expect("read back"),
        original
    );
    cluster
        .make_change(&permit, &original)
        .await
        .expect("changed");
    original
}

async fn put_back(cluster: &Cluster, change: Change, original: &Original) -> PutBackOutcome {
    cluster
        .put_back(&permit(PutBack { change }), original)
        .await
        .expect("put back")
}

fn drifted(details: &[&str]) -> PutBackOutcome {
    PutBackOutcome::Drifted {
        details: details.iter().map(|&detail| detail.to_owned()).collect(),
    }
}

#[tokio::test]
async fn an_edit_is_made_and_put_back() {
    let (cluster, store) = world();
    let original = take(&cluster, edit()).await;
    assert_eq!(
        store.get(CONFIG)["data"],
        json!({ "redis.conf": LEASED, "other": "stays", "new.conf": "x" })
    );
    assert_eq!(
        put_back(&cluster, edit(), &original).await,
        PutBackOutcome::Restored
    );
    assert_eq!(
        store.get(CONFIG)["data"],
        json!({ "redis.conf": BEFORE, "other": "stays" })
    );
    assert_eq!(
        put_back(&cluster, edit(), &original).await,
        PutBackOutcome::AlreadyOriginal
    );
}

#[tokio::test]
async fn a_scale_is_made_and_put_back() {
    let (cluster, store) = world();
    let original = take(&cluster, scale()).await;
    assert_eq!(original, Original::Replicas { replicas: 2 });
    assert_eq!(store.get(SCALE)["spec"], json!({ "replicas": 0 }));
    // As a real server answers for none.
    let mut bare = store.get(SCALE);
    bare["spec"] = json!({});
    store.put(SCALE, bare);
    assert_eq!(
        put_back(&cluster, scale(), &original).await,
        PutBackOutcome::Restored
    );
    assert_eq!(store.get(SCALE)["spec"], json!({ "replicas": 2 }));
}

#[tokio::test]
async fn a_lease_that_died_before_its_change_needs_nothing() {
    let (cluster, store) = world();
    let permit = permit(TakeLease { change: edit() });
    let original = cluster.read_original(&permit).await.expect("read");
    let before = store.get(CONFIG);
    assert_eq!(
        put_back(&cluster, edit(), &original).await,
        PutBackOutcome::AlreadyOriginal
    );
    assert_eq!(store.get(CONFIG), before);
}

#[tokio::test]
async fn a_change_that_was_made_is_not_made_again() {
    let (cluster, store) = world();
    let original = take(&cluster, edit()).await;
    let before = store.get(CONFIG);
    cluster
        .make_change(&permit(TakeLease { change: edit() }), &original)
        .await
        .expect("no harm");
    assert_eq!(store.get(CONFIG), before);
}

#[tokio::test]
async fn what_somebody_else_changed_is_left_and_said() {
    let (cluster, store) = world();
    let original = take(&cluster, edit()).await;
    let mut object = store.get(CONFIG);
    object["data"]["redis.conf"] = json!("maxmemory 1gb\n");
    store.put(CONFIG, object);
    let outcome = put_back(&cluster, edit(), &original).await;
    assert_eq!(outcome, drifted(&["`redis.conf` has another value"]));
    let expected = json!({ "redis.conf": "maxmemory 1gb\n", "other": "stays" });
    assert_eq!(
        store.get(CONFIG)["data"],
        expected,
        "what was still ours is undone"
    );

    let original = take(&cluster, scale()).await;
    store.put(SCALE, json!({ "spec": { "replicas": 5 } }));
    assert_eq!(
        put_back(&cluster, scale(), &original).await,
        drifted(&["`replicas` is 5"])
    );
    assert_eq!(store.get(SCALE)["spec"]["replicas"], json!(5));
}

#[tokio::test]
async fn a_change_between_reading_and_leasing_stops_the_lease() {
    let (cluster, store) = world();
    let permit = permit(TakeLease { change: edit() });
    let original = cluster.read_original(&permit).await.expect("read");
    let mut object = store.get(CONFIG);
    object["data"]["redis.conf"] = json!("somebody else");
    store.put(CONFIG, object.clone());
    let error = cluster
        .make_change(&permit, &original)
        .await
        .expect_err("drifted");
    assert_eq!(
        error.to_string(),
        "ConfigMap `redis-config` in `3scale` was changed by somebody else: `redis.conf` has another value"
    );
    assert_eq!(store.get(CONFIG)["data"], object["data"]);
}

#[tokio::test]
async fn a_conflict_is_looked_at_again() {
    let store = Store::default();
    store.put(CONFIG, json!({ "data": { "redis.conf": BEFORE } }));
    let answers = store.clone();
    let mut puts = 0;
    let (cluster, _) = cluster(move |asked| {
        if asked.method == "PUT" {
            puts += 1;
            if puts == 1 {
                // Somebody touches another key just before us.
                let mut object = answers.get(CONFIG);
                object["data"]["theirs"] = json!("1");
                answers.put(CONFIG, object);
            }
        }
        answers.answer(asked)
    });
    take(&cluster, edit()).await;
    assert_eq!(
        store.get(CONFIG)["data"],
        json!({ "redis.conf": LEASED, "theirs": "1", "new.conf": "x" })
    );
}

#[tokio::test]
async fn a_lost_answer_to_the_change_is_no_harm() {
    let store = Store::default();
    store.put(CONFIG, json!({ "data": { "redis.conf": BEFORE } }));
    let answers = store.clone();
    let mut lost = false;
    let (cluster, _) = cluster(move |asked| {
        let reply = answers.answer(asked);
        if asked.method == "PUT" && !lost {
            lost = true;
            return Reply::Lost;
        }
        reply
    });
    let original = take(&cluster, edit()).await;
    assert_eq!(
        put_back(&cluster, edit(), &original).await,
        PutBackOutcome::Restored
    );
    assert_eq!(store.get(CONFIG)["data"], json!({ "redis.conf": BEFORE }));
}

#[tokio::test]
async fn an_object_that_is_gone_is_said() {
    let (cluster, store) = world();
    let original = take(&cluster, edit()).await;
    store.remove(CONFIG);
    assert_eq!(
        put_back(&cluster, edit(), &original).await,
        PutBackOutcome::Gone
    );
}

#[tokio::test]
async fn what_cannot_be_leased_is_said_before_anything_is_changed() {
    let cases: [(Value, &str); 2] = [
        (json!({ "immutable": true, "data": {} }), "it is immutable"),
        (
            json!({ "binaryData": { "redis.conf": "AA==" } }),
            "its `redis.conf` is binary",
        ),
    ];
    for (object, expected) in cases {
        let store = Store::default();
        store.put(CONFIG, object);
        let (cluster, _) = cluster(move |asked| store.answer(asked));
        let error = cluster
            .read_original(&permit(TakeLease { change: edit() }))
            .await
            .expect_err("refused");
        assert_eq!(
            error.to_string(),
            format!("ConfigMap `redis-config` in `3scale` cannot be leased: {expected}")
        );
    }
    let (empty, _) = cluster(|asked| Store::default().answer(asked));
    let error = empty
        .read_original(&permit(TakeLease { change: edit() }))
        .await
        .expect_err("missing");
    assert!(matches!(error, Error::NotLeasable { .. }));
}

#[tokio::test]
async fn an_original_of_another_change_is_refused() {
    let (cluster, store) = world();
    let before = store.get(CONFIG);
    let other_key = BTreeMap::from([(key("other"), Some("stays".to_owned()))]);
    for original in [
        Original::Replicas { replicas: 1 },
        Original::Data { values: other_key },
    ] {
        let back = permit(PutBack { change: edit() });
        let error = cluster
            .put_back(&back, &original)
            .await
            .expect_err("mixed up");
        assert!(matches!(error, Error::WrongPermit { .. }), "{error}");
    }
    assert_eq!(store.get(CONFIG), before);
}
