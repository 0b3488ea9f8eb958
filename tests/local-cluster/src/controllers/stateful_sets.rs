//! StatefulSets: pods with fixed names, one after the other, each with claims of its own. A pod of
//! an old revision goes before its successor of the same name comes.

use serde_json::{Value, json};

use super::{Ground, notice::Notices, pods};
use crate::document::{self, set};

const COLLECTION: &str = "apps/statefulsets";
const REVISION: &str = "controller-revision-hash";

/// Brings every StatefulSet nearer to what it wants.
pub(crate) fn reconcile(ground: &Ground, notices: &mut Notices) {
    for set in ground.store.list(COLLECTION, None).1 {
        if !document::is_terminating(&set) && notices.taken(&ground.faults, &set) {
            advance(ground, &set);
        }
    }
}

fn advance(ground: &Ground, owner: &Value) {
    let wanted = document::number(owner, "/spec/replicas").unwrap_or(1);
    let name = document::name(owner);
    let template = owner.pointer("/spec/template").cloned().unwrap_or_default();
    let revision = format!("{name}-{}", document::content_hash(&template));
    let parallel = document::text(owner, "/spec/podManagementPolicy") == "Parallel";
    let store = &ground.store;
    let owned = pods::owned(store, owner);
    let find = |ordinal: i64| {
        let name = format!("{name}-{ordinal}");
        owned.iter().find(move |pod| document::name(pod) == name)
    };
    for ordinal in 0..wanted {
        let pod = find(ordinal);
        if pod.is_none() {
            make_claims(ground, owner, ordinal);
            let pod_name = format!("{name}-{ordinal}");
            let labels = [
                (REVISION, revision.as_str()),
                ("statefulset.kubernetes.io/pod-name", pod_name.as_str()),
            ];
            pods::start(store, owner, Some(&pod_name), &labels);
        }
        if !parallel && !pod.is_some_and(|pod| pods::is_ready(pod)) {
            break;
        }
    }
    let beyond = owned
        .iter()
        .filter(|pod| ordinal_of(owner, pod).is_none_or(|it| it >= wanted));
    for pod in beyond.filter(|pod| pods::is_active(pod)) {
        pods::end(store, pod);
    }
    // The last ordinal is updated first, and the next only when all others are ready.
    let all_ready = (0..wanted).all(|ordinal| find(ordinal).is_some_and(|pod| pods::is_ready(pod)));
    let rolling = document::text(owner, "/spec/updateStrategy/type") != "OnDelete";
    let old =
        |pod: &Value| document::text(pod, &format!("/metadata/labels/{REVISION}")) != revision;
    if all_ready && rolling {
        let outdated = (0..wanted).rev().filter_map(find).find(|pod| old(pod));
        if let Some(pod) = outdated.filter(|pod| pods::is_active(pod)) {
            pods::end(store, pod);
        }
    }
    write_status(ground, owner, &revision);
}

fn ordinal_of(owner: &Value, pod: &Value) -> Option<i64> {
    let prefix = format!("{}-", document::name(owner));
    document::name(pod).strip_prefix(&prefix)?.parse().ok()
}

/// Claims of a pod stay when the pod goes.
fn make_claims(ground: &Ground, owner: &Value, ordinal: i64) {
    let namespace = document::namespace(owner);
    for template in document::items(owner, "/spec/volumeClaimTemplates") {
        let name = format!(
            "{}-{}-{ordinal}",
            document::name(template),
            document::name(owner)
        );
        if ground
            .store
            .get("persistentvolumeclaims", namespace, &name)
            .is_some()
        {
            continue;
        }
        let claim = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": name, "labels": owner.pointer("/spec/selector/matchLabels")},
            "spec": template.get("spec"),
        });
        pods::make(
            &ground.store,
            "",
            "persistentvolumeclaims",
            namespace,
            claim,
        );
    }
}

fn write_status(ground: &Ground, owner: &Value, revision: &str) {
    let active: Vec<_> = pods::owned(&ground.store, owner)
        .into_iter()
        .filter(|pod| pods::is_active(pod))
        .collect();
    let ready = active.iter().filter(|pod| pods::is_ready(pod)).count();
    let pointer = format!("/metadata/labels/{REVISION}");
    let updated = active
        .iter()
        .filter(|pod| document::text(pod, &pointer) == revision)
        .count();
    let generation = document::number(owner, "/metadata/generation").unwrap_or(1);
    let wanted = document::number(owner, "/spec/replicas").unwrap_or(1);
    let complete = i64::try_from(updated).is_ok_and(|updated| updated == wanted)
        && active.len() == updated
        && ready == updated;
    ground.store.amend(COLLECTION, document::namespace(owner), document::name(owner), |object| {
        if document::uid(object) != document::uid(owner) {
            return;
        }
        let before = document::text(object, "/status/currentRevision").to_owned();
        let current = if complete || before.is_empty() { revision.to_owned() } else { before };
        let mut status = pods::compact(json!({
            "observedGeneration": generation, "readyReplicas": ready, "availableReplicas": ready,
            "updatedReplicas": updated,
            "currentReplicas": if current == revision { updated } else { active.len() - updated },
            "currentRevision": current, "updateRevision": revision,
        }));
        set(&mut status, "/replicas", json!(active.len()));
        set(&mut status, "/collisionCount", json!(0));
        set(object, "/status", status);
    });
}
