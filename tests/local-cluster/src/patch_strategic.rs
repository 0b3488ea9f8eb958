//! Strategic merge patches, as `kubectl apply` (client side), `rollout restart` and `set` send
//! them: lists merge by key, and directives say what to replace, delete, keep and order.

use serde_json::{Map, Value};

use crate::fields;

/// Merges a patch into an object.
pub(crate) fn merge(object: &mut Value, patch: &Value) {
    merge_value(object, patch, "", "");
}

fn merge_value(current: &mut Value, patch: &Value, field: &str, parent: &str) {
    match patch {
        Value::Object(patch) => merge_map(current, patch, field),
        Value::Array(items) => merge_list(current, items, field, parent),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            *current = patch.clone();
        }
    }
}

fn merge_map(current: &mut Value, patch: &Map<String, Value>, field: &str) {
    if patch.get("$patch").and_then(Value::as_str) == Some("replace") {
        let kept = patch.iter().filter(|(key, _)| !key.starts_with('$'));
        *current = Value::Object(
            kept.map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
        );
        return;
    }
    if let Some(keys) = patch.get("$retainKeys").and_then(Value::as_array)
        && let Some(map) = current.as_object_mut()
    {
        map.retain(|key, _| keys.iter().any(|kept| kept.as_str() == Some(key)));
    }
    let map = crate::document::as_map(current);
    for (key, value) in patch {
        if let Some(list) = key.strip_prefix("$deleteFromPrimitiveList/") {
            if let Some(Value::Array(items)) = map.get_mut(list) {
                let gone = value.as_array().cloned().unwrap_or_default();
                items.retain(|item| !gone.contains(item));
            }
        } else if key.starts_with('$') {
            // The other directives are read where they apply.
        } else if value.is_null() || value.get("$patch").and_then(Value::as_str) == Some("delete") {
            map.shift_remove(key);
        } else {
            merge_value(map.entry(key).or_insert(Value::Null), value, key, field);
        }
    }
    for (key, order) in patch {
        if let Some(list) = key.strip_prefix("$setElementOrder/")
            && let Some(Value::Array(items)) = map.get_mut(list)
        {
            let keys = fields::merge_keys(list, field);
            reorder(items, order.as_array().map_or(&[], Vec::as_slice), keys);
        }
    }
}

fn merge_list(current: &mut Value, patch: &[Value], field: &str, parent: &str) {
    let directive = |item: &Value| {
        item.get("$patch")
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let replaced = patch.iter().any(|item| {
        directive(item).as_deref() == Some("replace")
            && item.as_object().is_some_and(|map| map.len() == 1)
    });
    let key = fields::merge_keys(field, parent).and_then(|keys| keys.first().copied());
    let plain = |items: &[Value]| -> Vec<Value> {
        let kept = items.iter().filter(|item| directive(item).is_none());
        kept.map(without_directives).collect()
    };
    if replaced || (key.is_none() && !fields::is_set(field)) || !current.is_array() {
        *current = Value::Array(plain(patch));
        return;
    }
    let Value::Array(items) = current else { return };
    let Some(key) = key else {
        let new: Vec<Value> = patch
            .iter()
            .filter(|item| !items.contains(item))
            .cloned()
            .collect();
        items.extend(new);
        return;
    };
    for item in patch {
        let position = items
            .iter()
            .position(|known| known.get(key) == item.get(key));
        match (directive(item).as_deref(), position) {
            (Some("delete"), Some(position)) => {
                items.remove(position);
            }
            (Some("delete"), None) => {}
            (_, Some(position)) => {
                if let Some(known) = items.get_mut(position) {
                    merge_value(known, item, field, parent);
                }
            }
            (_, None) => items.push(without_directives(item)),
        }
    }
}

/// The patch as a new value: directives make no sense where nothing is yet.
fn without_directives(value: &Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.iter()
                .filter(|(key, value)| !key.starts_with('$') && !value.is_null())
                .map(|(key, value)| (key.clone(), without_directives(value)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.iter().map(without_directives).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// Sorts items into the wanted order; those that it does not name keep their places at the end.
fn reorder(items: &mut [Value], order: &[Value], keys: Option<&[&str]>) {
    let rank = |item: &Value| {
        order
            .iter()
            .position(|wanted| match keys {
                Some([key, ..]) => wanted.get(*key) == item.get(*key),
                Some([]) | None => wanted == item,
            })
            .unwrap_or(order.len())
    };
    items.sort_by_key(rank);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(mut object: Value, patch: Value, expected: Value) {
        merge(&mut object, &patch);
        assert_eq!(object, expected);
    }

    #[test]
    fn containers_merge_by_name_and_other_lists_are_replaced() {
        check(
            json!({"containers": [{"name": "a", "image": "1", "args": ["x"]}, {"name": "b"}]}),
            json!({"containers": [{"name": "a", "args": ["y", "z"]}]}),
            json!({"containers": [{"name": "a", "image": "1", "args": ["y", "z"]}, {"name": "b"}]}),
        );
    }

    #[test]
    fn directives_delete_replace_keep_and_order() {
        check(
            json!({"env": [{"name": "a"}, {"name": "b"}]}),
            json!({"env": [{"name": "a", "$patch": "delete"}, {"name": "c"}],
                   "$setElementOrder/env": [{"name": "c"}, {"name": "b"}]}),
            json!({"env": [{"name": "c"}, {"name": "b"}]}),
        );
        check(
            json!({"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}),
            json!({"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}),
            json!({"strategy": {"type": "Recreate"}}),
        );
        check(
            json!({"data": {"a": "1"}}),
            json!({"data": {"$patch": "replace", "b": "2"}}),
            json!({"data": {"b": "2"}}),
        );
        check(
            json!({"metadata": {"finalizers": ["a", "b"]}}),
            json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c"]}}),
            json!({"metadata": {"finalizers": ["b", "c"]}}),
        );
        check(
            json!({"data": {"a": "1", "b": "2"}}),
            json!({"data": {"a": null}}),
            json!({"data": {"b": "2"}}),
        );
    }
}
