//! From what a client sent to what is stored: the server's own fields, defaults, validation,
//! generation and managers. It decides about one object and stores nothing.

use serde_json::{Value, json};

use crate::document::{self, set};
use crate::managed_fields::{self, Manager};
use crate::resources::Resource;
use crate::status::ApiResult;
use crate::{defaults, validation};

/// Makes of what a client sent what is stored. Without a manager the entries of managers are left
/// as they are.
pub(crate) fn settle(
    resource: &Resource,
    previous: Option<&Value>,
    mut object: Value,
    subresource: &str,
    manager: Option<&Manager>,
) -> ApiResult<Value> {
    set(&mut object, "/apiVersion", json!(resource.api_version()));
    set(&mut object, "/kind", json!(resource.kind));
    document::remove(&mut object, "/metadata/selfLink");
    match previous {
        Some(previous) => keep_own_fields(resource, previous, &mut object, subresource),
        None => {
            for pointer in [
                "resourceVersion",
                "deletionTimestamp",
                "deletionGracePeriodSeconds",
            ] {
                document::remove(&mut object, &format!("/metadata/{pointer}"));
            }
            set(&mut object, "/metadata/uid", json!(document::new_uid()));
            set(
                &mut object,
                "/metadata/creationTimestamp",
                json!(document::now()),
            );
            if resource.counts_generations {
                set(&mut object, "/metadata/generation", json!(1));
            }
            if resource.has_status() {
                document::remove(&mut object, "/status");
            }
        }
    }
    defaults::fill(&resource.kind, &mut object);
    validation::check(resource, previous, &object)?;
    if let Some(previous) = previous.filter(|_| resource.counts_generations)
        && differs_in_content(previous, &object)
    {
        let generation = document::number(previous, "/metadata/generation").unwrap_or(1);
        set(&mut object, "/metadata/generation", json!(generation + 1));
    }
    if let Some(manager) = manager {
        let mut tracked = without_unmanaged_status(resource, &object, subresource);
        let before = previous.map(|object| without_unmanaged_status(resource, object, subresource));
        managed_fields::track_update(before.as_ref(), &mut tracked, manager);
        match tracked.pointer("/metadata/managedFields") {
            Some(entries) => set(&mut object, "/metadata/managedFields", entries.clone()),
            None => {
                document::remove(&mut object, "/metadata/managedFields");
            }
        }
    }
    Ok(object)
}

fn keep_own_fields(resource: &Resource, previous: &Value, object: &mut Value, subresource: &str) {
    if subresource == "status" {
        let status = object.get("status").cloned();
        let entries = object.pointer("/metadata/managedFields").cloned();
        *object = previous.clone();
        if let Some(status) = status {
            set(object, "/status", status);
        }
        if let Some(entries) = entries {
            set(object, "/metadata/managedFields", entries);
        }
        return;
    }
    for field in [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "generation",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        let pointer = format!("/metadata/{field}");
        match previous.pointer(&pointer) {
            Some(value) => set(object, &pointer, value.clone()),
            None => {
                document::remove(object, &pointer);
            }
        }
    }
    if let Some(entries) = previous.pointer("/metadata/managedFields") {
        document::set_default(object, "/metadata/managedFields", entries.clone());
    }
    if resource.has_status() {
        match previous.get("status") {
            Some(status) => set(object, "/status", status.clone()),
            None => {
                document::remove(object, "/status");
            }
        }
    }
}

/// Whether anything but metadata and status differs.
fn differs_in_content(one: &Value, two: &Value) -> bool {
    let content = |object: &Value| {
        let mut object = object.clone();
        document::remove(&mut object, "/metadata");
        document::remove(&mut object, "/status");
        object
    };
    content(one) != content(two)
}

/// Status counts as written only through its own sub-resource.
fn without_unmanaged_status(resource: &Resource, object: &Value, subresource: &str) -> Value {
    let mut object = object.clone();
    if resource.has_status() && subresource != "status" {
        document::remove(&mut object, "/status");
    }
    object
}
