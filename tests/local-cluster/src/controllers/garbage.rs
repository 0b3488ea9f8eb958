//! Objects whose owners have all gone go too, and what waits for its dependents goes after them.

use std::collections::BTreeSet;

use serde_json::json;

use super::{Ground, pods};
use crate::document::{self, set};
use crate::resources;

/// Collects what nobody owns any more.
pub(crate) fn reconcile(ground: &Ground) {
    let store = &ground.store;
    let collections: BTreeSet<String> = resources::all(store)
        .iter()
        .map(resources::Resource::collection)
        .collect();
    let objects: Vec<_> = collections
        .iter()
        .flat_map(|collection| {
            let (_, objects) = store.list(collection, None);
            objects.into_iter().map(move |object| (collection, object))
        })
        .collect();
    let present: BTreeSet<&str> = objects
        .iter()
        .map(|(_, object)| document::uid(object))
        .collect();
    for (collection, object) in &objects {
        let (namespace, name) = (document::namespace(object), document::name(object));
        let owners = document::items(object, "/metadata/ownerReferences");
        let orphaned = !owners.is_empty()
            && !owners
                .iter()
                .any(|owner| present.contains(document::text(owner, "/uid")));
        let owner_waits = objects.iter().any(|(_, other)| {
            has_foreground(other)
                && owners
                    .iter()
                    .any(|owner| document::text(owner, "/uid") == document::uid(other))
        });
        if orphaned || owner_waits {
            if collection.as_str() == "pods" {
                if !document::is_terminating(object) {
                    pods::end(store, object);
                }
            } else if store.owned_by(document::uid(object)).is_empty() || orphaned {
                store.remove(collection, namespace, name, Some(document::uid(object)));
            } else {
                store.amend(collection, namespace, name, |object| {
                    set(
                        object,
                        "/metadata/finalizers",
                        json!(["foregroundDeletion"]),
                    );
                    let time = json!(document::now());
                    document::set_default(object, "/metadata/deletionTimestamp", time);
                });
            }
        } else if has_foreground(object) && store.owned_by(document::uid(object)).is_empty() {
            store.remove(collection, namespace, name, Some(document::uid(object)));
        }
    }
}

fn has_foreground(object: &serde_json::Value) -> bool {
    document::is_terminating(object)
        && document::items(object, "/metadata/finalizers").contains(&json!("foregroundDeletion"))
}
