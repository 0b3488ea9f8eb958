//! Making and counting the pods of an owner. It never looks at pods of others.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::deletion;
use crate::document::{self, set};
use crate::managed_fields::Manager;
use crate::objects;
use crate::request::Target;
use crate::resources;
use crate::store::Store;

/// The name under which controllers own fields.
const MANAGER: &str = "kube-controller-manager";

/// The pods that an owner controls, those that end among them.
pub(crate) fn owned(store: &Store, owner: &Value) -> Vec<Arc<Value>> {
    let (_, pods) = store.list("pods", Some(document::namespace(owner)));
    pods.into_iter()
        .filter(|pod| document::controller_uid(pod) == Some(document::uid(owner)))
        .collect()
}

/// Whether a pod counts as one of the wanted.
pub(crate) fn is_active(pod: &Value) -> bool {
    !document::is_terminating(pod)
        && !matches!(document::text(pod, "/status/phase"), "Succeeded" | "Failed")
}

/// Whether a pod has the Ready condition.
pub(crate) fn is_ready(pod: &Value) -> bool {
    document::items(pod, "/status/conditions")
        .iter()
        .any(|condition| {
            document::text(condition, "/type") == "Ready"
                && document::text(condition, "/status") == "True"
        })
}

/// Marks a pod for deletion with its own grace.
pub(crate) fn end(store: &Store, pod: &Value) {
    let grace = document::number(pod, "/spec/terminationGracePeriodSeconds").unwrap_or(30);
    store.amend(
        "pods",
        document::namespace(pod),
        document::name(pod),
        |marked| {
            if document::uid(marked) == document::uid(pod) {
                deletion::mark_pod(marked, grace);
            }
        },
    );
}

/// A reference to the controlling owner.
pub(crate) fn reference(owner: &Value) -> Value {
    json!([{
        "apiVersion": document::text(owner, "/apiVersion"), "kind": document::text(owner, "/kind"),
        "name": document::name(owner), "uid": document::uid(owner),
        "controller": true, "blockOwnerDeletion": true,
    }])
}

/// Makes a pod from the template of its owner. Without a name, one is generated.
pub(crate) fn start(store: &Store, owner: &Value, name: Option<&str>, labels: &[(&str, &str)]) {
    let template = owner.pointer("/spec/template").cloned().unwrap_or_default();
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": template.get("metadata").cloned().unwrap_or_else(|| json!({})),
        "spec": template.get("spec").cloned().unwrap_or_default(),
    });
    document::remove(&mut pod, "/metadata/creationTimestamp");
    for field in ["name", "namespace", "uid"] {
        document::remove(&mut pod, &format!("/metadata/{field}"));
    }
    match name {
        Some(name) => set(&mut pod, "/metadata/name", json!(name)),
        None => {
            let prefix = format!("{}-", document::name(owner));
            let generated = format!("{prefix}{}", document::random_suffix(5));
            set(&mut pod, "/metadata/name", json!(generated));
            set(&mut pod, "/metadata/generateName", json!(prefix));
        }
    }
    for (key, value) in labels {
        set(
            &mut pod,
            &format!("/metadata/labels/{}", document::segment(key)),
            json!(value),
        );
    }
    set(&mut pod, "/metadata/ownerReferences", reference(owner));
    make(store, "", "pods", document::namespace(owner), pod);
}

/// Stores an object that a controller makes. A refusal is told in the log: the next round tries
/// again.
pub(crate) fn make(store: &Store, group: &str, plural: &str, namespace: &str, object: Value) {
    let Some(resource) = resources::find(store, group, "v1", plural) else {
        return;
    };
    let manager = Manager {
        name: MANAGER.to_owned(),
        api_version: resource.api_version(),
        subresource: String::new(),
        custom: false,
    };
    let target = Target {
        resource,
        namespace: namespace.to_owned(),
        name: String::new(),
        subresource: String::new(),
    };
    if let Err(error) = objects::create_object(store, &target, object, false, Some(&manager)) {
        tracing::warn!(
            "a controller could not make one of `{plural}`: {}",
            error.object()
        );
    }
}

/// Writes parts of a status; what is zero or empty is left out, as the real server does.
pub(crate) fn compact(status: Value) -> Value {
    let kept = status
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, value)| *value != &json!(0) && !value.is_null());
    Value::Object(
        kept.map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
    )
}
