//! Which fields an object has, in the notation of `fieldsV1`, and the little of the schema that is
//! needed for it: which lists are maps by key, which maps are one value. It never changes objects.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

/// A field: the segments on the way to it, such as `f:data`, `f:redis.conf`.
pub(crate) type Path = Vec<String>;
/// A set of fields.
pub(crate) type FieldSet = BTreeSet<Path>;
/// Fields with their values.
pub(crate) type Fields = BTreeMap<Path, Value>;

/// How ownership of maps themselves is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counting {
    /// An applied configuration owns leaves and list items, not the maps around them.
    Applied,
    /// An update that makes a map owns the map too.
    Updated,
}

/// The members that identify an item of a list, if the list is a map by key.
pub(crate) fn merge_keys(field: &str, parent: &str) -> Option<&'static [&'static str]> {
    match (field, parent) {
        (
            "containers"
            | "initContainers"
            | "ephemeralContainers"
            | "env"
            | "volumes"
            | "imagePullSecrets",
            _,
        ) => Some(&["name"]),
        ("volumeMounts", _) => Some(&["mountPath"]),
        ("volumeDevices", _) => Some(&["devicePath"]),
        ("ports", "containers" | "initContainers") => Some(&["containerPort", "protocol"]),
        ("ports", "spec") => Some(&["port", "protocol"]),
        ("conditions", _) => Some(&["type"]),
        ("ownerReferences", _) => Some(&["uid"]),
        ("hostAliases" | "podIPs" | "hostIPs", _) => Some(&["ip"]),
        _ => None,
    }
}

/// Lists that are sets of plain values.
pub(crate) fn is_set(field: &str) -> bool {
    field == "finalizers"
}

/// Maps that change as a whole.
fn is_atomic_map(field: &str) -> bool {
    matches!(
        field,
        "selector"
            | "nodeSelector"
            | "secretKeyRef"
            | "configMapKeyRef"
            | "fieldRef"
            | "resourceFieldRef"
            | "labelSelector"
    )
}

/// Members that the server writes even when they are empty, so that nobody owns them as such.
fn is_always_there(field: &str) -> bool {
    matches!(
        field,
        "metadata" | "spec" | "status" | "template" | "strategy" | "containers"
    )
}

/// The fields of an object that can be owned. `typed` is false for custom kinds, whose lists are
/// all single values.
pub(crate) fn collect(object: &Value, counting: Counting, typed: bool) -> Fields {
    let mut fields = Fields::new();
    let collector = Collector { counting, typed };
    for (name, value) in object.as_object().into_iter().flatten() {
        match name.as_str() {
            "apiVersion" | "kind" => {}
            "metadata" => {
                let mut metadata = value.clone();
                if let Some(map) = metadata.as_object_mut() {
                    map.retain(|key, _| {
                        matches!(
                            key.as_str(),
                            "labels"
                                | "annotations"
                                | "finalizers"
                                | "ownerReferences"
                                | "generateName"
                        )
                    });
                    if !map.is_empty() {
                        collector.walk(&metadata, &["f:metadata".into()], name, "", &mut fields);
                    }
                }
            }
            _ => collector.walk(value, &[format!("f:{name}")], name, "", &mut fields),
        }
    }
    fields
}

struct Collector {
    counting: Counting,
    typed: bool,
}

impl Collector {
    fn walk(&self, value: &Value, path: &[String], field: &str, parent: &str, out: &mut Fields) {
        match value {
            Value::Null => {}
            Value::Object(map) if map.is_empty() || (self.typed && is_atomic_map(field)) => {
                out.insert(path.to_vec(), value.clone());
            }
            Value::Object(map) => {
                self.mark(path, field, out);
                for (name, child) in map {
                    let mut below = path.to_vec();
                    below.push(format!("f:{name}"));
                    self.walk(child, &below, name, field, out);
                }
            }
            Value::Array(list) => self.walk_list(list, value, path, field, parent, out),
            Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                out.insert(path.to_vec(), value.clone());
            }
        }
    }

    fn walk_list(
        &self,
        list: &[Value],
        value: &Value,
        path: &[String],
        field: &str,
        parent: &str,
        out: &mut Fields,
    ) {
        if is_set(field) {
            self.mark(path, field, out);
            for item in list {
                let mut below = path.to_vec();
                below.push(format!("v:{item}"));
                out.insert(below, item.clone());
            }
            return;
        }
        let keys = if self.typed {
            merge_keys(field, parent)
        } else {
            None
        };
        let Some(keys) = keys.filter(|_| !list.is_empty()) else {
            out.insert(path.to_vec(), value.clone());
            return;
        };
        self.mark(path, field, out);
        for item in list {
            let mut below = path.to_vec();
            below.push(item_segment(item, keys));
            out.insert(below.clone(), json!({}));
            for (name, child) in item.as_object().into_iter().flatten() {
                let mut deeper = below.clone();
                deeper.push(format!("f:{name}"));
                self.walk(child, &deeper, name, field, out);
            }
        }
    }

    fn mark(&self, path: &[String], field: &str, out: &mut Fields) {
        if self.counting == Counting::Updated && !is_always_there(field) {
            out.insert(path.to_vec(), json!({}));
        }
    }
}

/// The segment that names an item, such as `k:{"name":"backend-redis"}`.
pub(crate) fn item_segment(item: &Value, keys: &[&str]) -> String {
    let mut key = Map::new();
    for name in keys {
        match item.get(*name) {
            Some(value) => {
                key.insert((*name).to_owned(), value.clone());
            }
            None if *name == "protocol" => {
                key.insert("protocol".to_owned(), json!("TCP"));
            }
            None => {}
        }
    }
    format!("k:{}", Value::Object(key))
}

/// The value at a field of an object.
pub(crate) fn item_position(list: &[Value], segment: &str) -> Option<usize> {
    if let Some(key) = segment.strip_prefix("k:") {
        let key: Value = serde_json::from_str(key).ok()?;
        let wanted = key.as_object()?;
        return list.iter().position(|item| {
            wanted.iter().all(|(name, value)| match item.get(name) {
                Some(found) => found == value,
                None => name == "protocol" && value == "TCP",
            })
        });
    }
    let value: Value = serde_json::from_str(segment.strip_prefix("v:")?).ok()?;
    list.iter().position(|item| *item == value)
}

/// Writes a set as `fieldsV1`.
pub(crate) fn to_fields_v1(set: &FieldSet) -> Value {
    let mut root = json!({});
    for path in set {
        let mut place = &mut root;
        for segment in path {
            place = crate::document::as_map(place)
                .entry(segment)
                .or_insert_with(|| json!({}));
        }
    }
    for path in set {
        let mut place = Some(&mut root);
        for segment in path {
            place = place.and_then(|value| value.get_mut(segment));
        }
        if let Some(Value::Object(map)) = place
            && !map.is_empty()
        {
            map.shift_insert(0, ".".to_owned(), json!({}));
        }
    }
    root
}

/// Reads `fieldsV1`.
pub(crate) fn from_fields_v1(fields: &Value) -> FieldSet {
    let mut set = FieldSet::new();
    read(fields, &mut Vec::new(), &mut set);
    set
}

fn read(fields: &Value, path: &mut Path, set: &mut FieldSet) {
    let Some(map) = fields.as_object() else {
        return;
    };
    if (map.is_empty() || map.contains_key(".")) && !path.is_empty() {
        set.insert(path.clone());
    }
    for (segment, below) in map.iter().filter(|(segment, _)| *segment != ".") {
        path.push(segment.clone());
        read(below, path, set);
        path.pop();
    }
}

/// A field as messages show it, such as `.spec.containers[name="x"].image`.
pub(crate) fn readable(path: &[String]) -> String {
    let mut text = String::new();
    for segment in path {
        if let Some(name) = segment.strip_prefix("f:") {
            text.push('.');
            text.push_str(name);
        } else if let Some(key) = segment.strip_prefix("k:") {
            let key: Value = serde_json::from_str(key).unwrap_or_default();
            let parts: Vec<String> = key
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            text.push_str(&format!("[{}]", parts.join(",")));
        } else if let Some(value) = segment.strip_prefix("v:") {
            text.push_str(&format!("[={value}]"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_sets_survive_the_way_to_json_and_back() {
        let object = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [
            {"name": "x", "image": "i", "ports": [{"containerPort": 1}]}]}});
        for counting in [Counting::Applied, Counting::Updated] {
            let set: FieldSet = collect(&object, counting, true).into_keys().collect();
            assert_eq!(from_fields_v1(&to_fields_v1(&set)), set);
        }
    }

    #[test]
    fn an_update_owns_the_map_it_makes_and_an_apply_does_not() {
        let object = json!({"data": {"x": "1"}});
        let set = |counting| collect(&object, counting, true).into_keys().collect();
        assert_eq!(
            to_fields_v1(&set(Counting::Applied)),
            json!({"f:data": {"f:x": {}}})
        );
        assert_eq!(
            to_fields_v1(&set(Counting::Updated)),
            json!({"f:data": {".": {}, "f:x": {}}})
        );
    }

    #[test]
    fn readable_paths_name_items_by_their_keys() {
        let object = json!({"spec": {"containers": [{"name": "x", "image": "i"}]}});
        let paths: Vec<String> = collect(&object, Counting::Applied, true)
            .into_keys()
            .map(|path| readable(&path))
            .collect();
        assert!(
            paths.contains(&".spec.containers[name=\"x\"].image".to_owned()),
            "{paths:?}"
        );
    }
}
