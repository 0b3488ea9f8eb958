//! Namespaces: each new one gets what every real one has, and one that is deleted goes when it is
//! empty.

use serde_json::{Value, json};

use super::{Ground, pods};
use crate::document::{self, set};

/// Furnishes new namespaces and empties those that are to go.
pub(crate) fn reconcile(ground: &Ground) {
    for namespace in ground.store.list("namespaces", None).1 {
        if document::is_terminating(&namespace) {
            empty(ground, &namespace);
        } else {
            furnish(ground, &namespace);
        }
    }
}

fn furnish(ground: &Ground, namespace: &Value) {
    let (store, name) = (&ground.store, document::name(namespace));
    if store.get("configmaps", name, "kube-root-ca.crt").is_none() {
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kube-root-ca.crt"},
            "data": {"ca.crt": ground.authority},
        });
        pods::make(store, "", "configmaps", name, map);
    }
    if store.get("serviceaccounts", name, "default").is_none() {
        let account = json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"},
        });
        pods::make(store, "", "serviceaccounts", name, account);
    }
}

fn empty(ground: &Ground, namespace: &Value) {
    let (store, name) = (&ground.store, document::name(namespace));
    let contents = store.in_namespace(name);
    if contents.is_empty() {
        store.remove("namespaces", "", name, Some(document::uid(namespace)));
        return;
    }
    for (collection, object) in contents {
        if &*collection == "pods" {
            if !document::is_terminating(&object) {
                pods::end(store, &object);
            }
            continue;
        }
        if document::items(&object, "/metadata/finalizers").is_empty() {
            let uid = document::uid(&object);
            store.remove(&collection, name, document::name(&object), Some(uid));
        } else {
            store.amend(&collection, name, document::name(&object), |object| {
                let time = json!(document::now());
                document::set_default(object, "/metadata/deletionTimestamp", time);
            });
        }
    }
    store.amend("namespaces", "", name, |namespace| {
        set(namespace, "/status/phase", json!("Terminating"));
    });
}
