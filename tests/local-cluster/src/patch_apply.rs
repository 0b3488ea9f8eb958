//! Server-side apply: merging a configuration that a manager applies, refusing to take fields of
//! others without force, and removing what the manager no longer applies.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::document;
use crate::fields::{self, Counting, FieldSet, Fields, Path};
use crate::managed_fields::{self, Entry, Manager, Operation};
use crate::status::{ApiError, ApiResult};

/// The object after an apply. `live` is what is stored, if anything.
pub(crate) fn apply(
    live: Option<&Value>,
    configuration: &Value,
    manager: &Manager,
    force: bool,
) -> ApiResult<Value> {
    let mut configuration = configuration.clone();
    document::remove(&mut configuration, "/metadata/managedFields");
    document::remove(&mut configuration, "/metadata/creationTimestamp");
    let wanted = fields::collect(&configuration, Counting::Applied, !manager.custom);
    let current = live
        .map(|live| fields::collect(live, Counting::Applied, !manager.custom))
        .unwrap_or_default();
    let mut entries = live.map(managed_fields::read).unwrap_or_default();

    let conflicts = conflicts(&wanted, &current, &entries, manager);
    if !conflicts.is_empty() && !force {
        return Err(refusal(&conflicts));
    }
    for (_, path) in &conflicts {
        for entry in entries.iter_mut().filter(|entry| !is_own(entry, manager)) {
            entry.fields.remove(path);
        }
    }

    let mut object = live.cloned().unwrap_or_else(|| json!({}));
    let applied: FieldSet = wanted.into_keys().collect();
    for path in no_longer_applied(&entries, &applied, manager) {
        take_out(&mut object, &path);
    }
    merge(&mut object, &configuration, "", "", manager.custom);

    if let Some(own) = entries.iter_mut().find(|entry| is_own(entry, manager)) {
        let unchanged = own.fields == applied && live.is_some_and(|live| same(live, &object));
        if !unchanged {
            own.time = document::now();
        }
        own.fields = applied;
        own.api_version.clone_from(&manager.api_version);
    } else {
        let mut entry = Entry::new(manager, Operation::Apply);
        entry.fields = applied;
        entries.push(entry);
    }
    managed_fields::write(&mut object, entries);
    Ok(object)
}

fn is_own(entry: &Entry, manager: &Manager) -> bool {
    entry.belongs_to(manager, Operation::Apply)
}

fn same(one: &Value, two: &Value) -> bool {
    let strip = |object: &Value| {
        let mut object = object.clone();
        document::remove(&mut object, "/metadata/managedFields");
        object
    };
    strip(one) == strip(two)
}

/// Fields that the configuration would change and that somebody else owns, with the owner.
fn conflicts(
    wanted: &Fields,
    current: &Fields,
    entries: &[Entry],
    manager: &Manager,
) -> Vec<(String, Path)> {
    let mut found = Vec::new();
    for entry in entries.iter().filter(|entry| !is_own(entry, manager)) {
        for (path, value) in wanted {
            let differs = current.get(path).is_some_and(|current| current != value);
            if differs && entry.fields.contains(path) {
                found.push((entry.described(), path.clone()));
            }
        }
    }
    found.sort();
    found
}

fn refusal(conflicts: &[(String, Path)]) -> ApiError {
    let count = conflicts.len();
    let message = if let [(owner, path)] = conflicts {
        format!(
            "Apply failed with 1 conflict: conflict with {owner}: {}",
            fields::readable(path)
        )
    } else {
        let mut owners: Vec<&str> = conflicts.iter().map(|(owner, _)| owner.as_str()).collect();
        owners.dedup();
        let mut lines = Vec::new();
        for owner in owners {
            lines.push(format!("conflicts with {owner}:"));
            let paths = conflicts.iter().filter(|(other, _)| other == owner);
            lines.extend(paths.map(|(_, path)| format!("- {}", fields::readable(path))));
        }
        format!("Apply failed with {count} conflicts: {}", lines.join("\n"))
    };
    let causes: Vec<Value> = conflicts
        .iter()
        .map(|(owner, path)| {
            json!({
                "reason": "FieldManagerConflict",
                "message": format!("conflict with {owner}"),
                "field": fields::readable(path),
            })
        })
        .collect();
    ApiError::new(StatusCode::CONFLICT, "Conflict", message).with_details(json!({"causes": causes}))
}

/// What the manager applied before, applies no more, and nobody else owns.
fn no_longer_applied(entries: &[Entry], applied: &FieldSet, manager: &Manager) -> Vec<Path> {
    let Some(own) = entries.iter().find(|entry| is_own(entry, manager)) else {
        return Vec::new();
    };
    let others = || entries.iter().filter(|entry| !is_own(entry, manager));
    own.fields
        .iter()
        .filter(|path| !applied.contains(*path))
        .filter(|path| !others().any(|entry| entry.fields.contains(*path)))
        .cloned()
        .collect()
}

/// Removes a field, and the maps that it leaves empty.
fn take_out(object: &mut Value, path: &[String]) {
    let Some((segment, rest)) = path.split_first() else {
        return;
    };
    if let Some(name) = segment.strip_prefix("f:") {
        let Some(map) = object.as_object_mut() else {
            return;
        };
        if rest.is_empty() {
            map.shift_remove(name);
            return;
        }
        let Some(child) = map.get_mut(name) else {
            return;
        };
        take_out(child, rest);
        let empty = child.as_object().is_some_and(serde_json::Map::is_empty)
            || child.as_array().is_some_and(Vec::is_empty);
        if empty {
            map.shift_remove(name);
        }
    } else if let Some(list) = object.as_array_mut()
        && let Some(position) = fields::item_position(list, segment)
    {
        if rest.is_empty() {
            list.remove(position);
        } else if let Some(item) = list.get_mut(position) {
            take_out(item, rest);
        }
    }
}

fn merge(current: &mut Value, wanted: &Value, field: &str, parent: &str, custom: bool) {
    match wanted {
        Value::Object(map) if !map.is_empty() => {
            let current = document::as_map(current);
            for (key, value) in map {
                if value.is_null() {
                    continue;
                }
                merge(
                    current.entry(key).or_insert(Value::Null),
                    value,
                    key,
                    field,
                    custom,
                );
            }
        }
        Value::Object(_) => {
            document::as_map(current);
        }
        Value::Array(items) if fields::is_set(field) => {
            let mut list = current.as_array().cloned().unwrap_or_default();
            list.extend(
                items
                    .iter()
                    .filter(|item| !list.contains(item))
                    .cloned()
                    .collect::<Vec<_>>(),
            );
            *current = Value::Array(list);
        }
        Value::Array(items) => {
            let keys = if custom {
                None
            } else {
                fields::merge_keys(field, parent)
            };
            let Some(keys) = keys else {
                *current = wanted.clone();
                return;
            };
            let mut list = current.as_array().cloned().unwrap_or_default();
            for item in items {
                let segment = fields::item_segment(item, keys);
                let position = fields::item_position(&list, &segment);
                match position.and_then(|position| list.get_mut(position)) {
                    Some(known) => merge(known, item, field, parent, custom),
                    None => list.push(item.clone()),
                }
            }
            *current = Value::Array(list);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            *current = wanted.clone();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manager(name: &str) -> Manager {
        Manager {
            name: name.to_owned(),
            api_version: "v1".to_owned(),
            subresource: String::new(),
            custom: false,
        }
    }

    #[test]
    fn a_field_of_another_manager_is_taken_only_by_force() {
        let first = json!({"data": {"a": "1", "b": "1"}});
        let live = apply(None, &first, &manager("one"), false).unwrap();
        let second = json!({"data": {"a": "2"}});
        let refused = apply(Some(&live), &second, &manager("two"), false).unwrap_err();
        assert_eq!(refused.code(), StatusCode::CONFLICT);
        let taken = apply(Some(&live), &second, &manager("two"), true).unwrap();
        assert_eq!(taken.pointer("/data"), Some(&json!({"a": "2", "b": "1"})));
        let owners = managed_fields::read(&taken);
        let path = vec!["f:data".to_owned(), "f:a".to_owned()];
        let holders: Vec<&str> = owners
            .iter()
            .filter(|entry| entry.fields.contains(&path))
            .map(|entry| entry.manager.as_str())
            .collect();
        assert_eq!(holders, ["two"]);
    }

    #[test]
    fn the_same_value_is_shared_and_goes_when_its_last_owner_drops_it() {
        let configuration = json!({"data": {"a": "1"}, "metadata": {"labels": {"x": "y"}}});
        let live = apply(None, &configuration, &manager("one"), false).unwrap();
        let live = apply(
            Some(&live),
            &json!({"data": {"a": "1"}}),
            &manager("two"),
            false,
        )
        .unwrap();
        let live = apply(Some(&live), &json!({}), &manager("one"), false).unwrap();
        assert_eq!(live.pointer("/data/a"), Some(&json!("1")));
        assert_eq!(live.pointer("/metadata/labels"), None);
        let live = apply(Some(&live), &json!({}), &manager("two"), false).unwrap();
        assert_eq!(live.pointer("/data"), None);
    }

    #[test]
    fn list_items_merge_by_key_and_a_dropped_item_goes() {
        let both = json!({"spec": {"containers": [{"name": "a", "image": "1"}, {"name": "b"}]}});
        let live = apply(None, &both, &manager("one"), false).unwrap();
        let one = json!({"spec": {"containers": [{"name": "a", "image": "2"}]}});
        let live = apply(Some(&live), &one, &manager("one"), false).unwrap();
        assert_eq!(
            live.pointer("/spec/containers"),
            Some(&json!([{"name": "a", "image": "2"}]))
        );
    }
}
