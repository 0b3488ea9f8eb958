//! What a saved object must not carry: everything that the cluster wrote into it.
//!
//! Pure. Must never touch what a person wrote.

use serde_json::Value;

/// Written by the API server or its controllers, and wrong anywhere else.
const METADATA: [&str; 11] = [
    "resourceVersion",
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "namespace",
    "ownerReferences",
    "selfLink",
    "generation",
    "clusterName",
];
/// A second copy of the object, with its secrets.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Drops what the cluster wrote into `object`, so that it can be created elsewhere.
///
/// That is `status` and, of `metadata`: `resourceVersion`, `uid`, `creationTimestamp`,
/// `deletionTimestamp`, `deletionGracePeriodSeconds`, `managedFields`, `namespace`,
/// `ownerReferences`, `selfLink`, `generation`, `clusterName`, and kubectl's copy of what was last
/// applied. Nothing else is changed, and a second time changes nothing.
pub fn scrub(object: &mut Value) {
    let Some(object) = object.as_object_mut() else {
        return;
    };
    object.shift_remove("status");
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    for field in METADATA {
        metadata.shift_remove(field);
    }
    if let Some(annotations) = metadata
        .get_mut("annotations")
        .and_then(Value::as_object_mut)
    {
        annotations.shift_remove(LAST_APPLIED);
        if annotations.is_empty() {
            metadata.shift_remove("annotations");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_cluster_wrote_goes_and_the_rest_stays() {
        let mut object = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": {
                "name": "system-seed", "namespace": "3scale", "uid": "u", "resourceVersion": "7",
                "creationTimestamp": "t", "generation": 3, "selfLink": "/api", "clusterName": "c",
                "deletionTimestamp": "t", "deletionGracePeriodSeconds": 0,
                "managedFields": [{}], "ownerReferences": [{}], "labels": { "app": "3scale" },
                "finalizers": ["mine"],
                "annotations": { "kubectl.kubernetes.io/last-applied-configuration": "{}", "mine": "1" },
            },
            "data": { "status": "c3RhdHVz" }, "status": {},
        });
        let clean = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": {
                "name": "system-seed", "labels": { "app": "3scale" }, "finalizers": ["mine"],
                "annotations": { "mine": "1" },
            },
            "data": { "status": "c3RhdHVz" },
        });
        scrub(&mut object);
        assert_eq!(object, clean);
        scrub(&mut object);
        assert_eq!(object, clean);
    }

    #[test]
    fn an_annotation_map_that_held_only_the_copy_goes_too() {
        let mut object = json!({ "metadata": { "annotations": { LAST_APPLIED: "{}" } } });
        scrub(&mut object);
        assert_eq!(object, json!({ "metadata": {} }));
    }
}
