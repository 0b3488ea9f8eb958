//! ReplicaSets and ReplicationControllers: as many pods as wanted, and their count in the status.

use std::cmp::Reverse;
use std::sync::Arc;

use serde_json::{Value, json};

use super::{Ground, pods};
use crate::document::{self, set};

/// Brings every set of replicas nearer to what it wants.
pub(crate) fn reconcile(ground: &Ground) {
    for collection in ["apps/replicasets", "replicationcontrollers"] {
        for set in ground.store.list(collection, None).1 {
            if !document::is_terminating(&set) {
                reconcile_one(ground, collection, &set);
            }
        }
    }
}

fn reconcile_one(ground: &Ground, collection: &str, owner: &Value) {
    let store = &ground.store;
    let mut active: Vec<Arc<Value>> = pods::owned(store, owner)
        .into_iter()
        .filter(|pod| pods::is_active(pod))
        .collect();
    let wanted = document::number(owner, "/spec/replicas").unwrap_or(0);
    let wanted = usize::try_from(wanted).unwrap_or(0);
    for _ in active.len()..wanted {
        pods::start(store, owner, None, &[]);
    }
    if active.len() > wanted {
        // The ones that are not ready go first, then the youngest.
        active.sort_by_key(|pod| {
            let created = document::text(pod, "/metadata/creationTimestamp").to_owned();
            (pods::is_ready(pod), Reverse(created))
        });
        for pod in active.drain(..active.len() - wanted) {
            pods::end(store, &pod);
        }
    }
    write_status(ground, collection, owner);
}

fn write_status(ground: &Ground, collection: &str, owner: &Value) {
    let active: Vec<Arc<Value>> = pods::owned(&ground.store, owner)
        .into_iter()
        .filter(|pod| pods::is_active(pod))
        .collect();
    let ready = active.iter().filter(|pod| pods::is_ready(pod)).count();
    let generation = document::number(owner, "/metadata/generation").unwrap_or(1);
    let mut status = pods::compact(json!({
        "fullyLabeledReplicas": active.len(), "readyReplicas": ready,
        "availableReplicas": ready, "observedGeneration": generation,
    }));
    set(&mut status, "/replicas", json!(active.len()));
    let (namespace, name) = (document::namespace(owner), document::name(owner));
    ground.store.amend(collection, namespace, name, |object| {
        if document::uid(object) == document::uid(owner) {
            set(object, "/status", status);
        }
    });
}

/// Sets how many replicas an owner wants.
pub(crate) fn scale(ground: &Ground, collection: &str, owner: &Value, wanted: i64) {
    if document::number(owner, "/spec/replicas") == Some(wanted) {
        return;
    }
    let (namespace, name) = (document::namespace(owner), document::name(owner));
    ground.store.amend(collection, namespace, name, |object| {
        let generation = document::number(object, "/metadata/generation").unwrap_or(0);
        set(object, "/spec/replicas", json!(wanted));
        set(object, "/metadata/generation", json!(generation + 1));
    });
}
