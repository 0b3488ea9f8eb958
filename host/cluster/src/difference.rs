//! Where two objects differ, by the paths of fields.
//!
//! Pure. Must never give a value: objects may be Secrets.

use serde_json::Value;

/// Maps whose keys are data: one more in the cluster is a difference. Elsewhere the cluster fills
/// in defaults, and what the saved object does not name is no difference.
const WHOLE: [&str; 2] = ["data", "binaryData"];

/// The paths of the fields of `saved` that `live` has otherwise, both scrubbed.
pub(crate) fn differences(saved: &Value, live: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare(saved, live, "", false, &mut found);
    for field in WHOLE {
        let keys = |object: &Value| -> Vec<String> {
            let map = object.get(field).and_then(Value::as_object);
            map.into_iter()
                .flatten()
                .map(|(key, _)| key.clone())
                .collect()
        };
        let known = keys(saved);
        let extra = keys(live).into_iter().filter(|key| !known.contains(key));
        found.extend(extra.map(|key| format!("{field}.{key}")));
    }
    found.sort();
    found
}

fn compare(saved: &Value, live: &Value, path: &str, inside: bool, found: &mut Vec<String>) {
    match (saved, live) {
        (Value::Object(saved), Value::Object(live)) => {
            for (key, value) in saved {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                match live.get(key) {
                    Some(other) => compare(value, other, &path, true, found),
                    None if is_empty(value) => {}
                    None => found.push(path),
                }
            }
        }
        (Value::Array(saved), Value::Array(live)) if saved.len() == live.len() => {
            for (place, (value, other)) in saved.iter().zip(live).enumerate() {
                compare(value, other, &format!("{path}[{place}]"), true, found);
            }
        }
        (saved, live) if saved == live || (inside && is_empty(saved) && is_empty(live)) => {}
        _ => found.push(path.to_owned()),
    }
}

/// The API drops empty maps, lists and nulls.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(saved: Value, live: Value, expected: &[&str]) {
        assert_eq!(differences(&saved, &live), expected, "{saved} {live}");
    }

    #[test]
    fn the_same_is_equal_whatever_the_order() {
        check(
            json!({ "data": { "a": "1", "b": "2" } }),
            json!({ "data": { "b": "2", "a": "1" } }),
            &[],
        );
        check(json!({ "data": {} }), json!({ "kind": "Secret" }), &[]);
    }

    #[test]
    fn what_differs_is_named_without_its_value() {
        check(
            json!({ "data": { "a": "secret" } }),
            json!({ "data": { "a": "other" } }),
            &["data.a"],
        );
        check(
            json!({ "data": { "a": "1" } }),
            json!({ "data": {} }),
            &["data.a"],
        );
        check(
            json!({ "type": "Opaque" }),
            json!({ "type": "x" }),
            &["type"],
        );
        check(
            json!({ "spec": { "l": [1, { "a": 2 }] } }),
            json!({ "spec": { "l": [1, { "a": 3 }] } }),
            &["spec.l[1].a"],
        );
        check(
            json!({ "spec": { "l": [1] } }),
            json!({ "spec": { "l": [1, 2] } }),
            &["spec.l"],
        );
    }

    #[test]
    fn one_more_key_of_data_is_a_difference_and_a_default_is_not() {
        check(
            json!({ "data": { "a": "1" } }),
            json!({ "data": { "a": "1", "b": "2" } }),
            &["data.b"],
        );
        check(
            json!({ "spec": { "a": 1 } }),
            json!({ "spec": { "a": 1, "filledIn": true } }),
            &[],
        );
    }
}
