//! Secrets and ConfigMaps between one JSON file each and the list that a snapshot keeps.
//!
//! Must never put a value of a Secret into an error.

use std::fs::File;
use std::io::Read;

use base64::Engine as _;
use cofferdam_policy::name::ObjectName;
use serde_json::{Map, Value, json};

/// An object has at most 1.5 MiB in etcd; JSON that people read is longer.
const MAXIMUM_FILE: u64 = 8 * 1024 * 1024;

/// One object and the file that is its own.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) kind: &'static str,
    pub(super) name: ObjectName,
    pub(super) value: Value,
}

/// Reads a file of the manual procedure, and drops what a cluster wrote into it.
pub(super) fn read_file(file: File, kind: &str, name: &ObjectName) -> Result<Value, String> {
    let mut bytes = Vec::new();
    file.take(MAXIMUM_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() as u64 > MAXIMUM_FILE {
        return Err(format!(
            "has more than {MAXIMUM_FILE} bytes, as no object does"
        ));
    }
    if bytes.is_empty() {
        return Err("is empty".to_owned());
    }
    let mut object: Value = serde_json::from_slice(&bytes).map_err(|error| {
        format!(
            "is no JSON: line {}, column {}",
            error.line(),
            error.column()
        )
    })?;
    check(&object, kind, name)?;
    cofferdam_cluster::scrub(&mut object);
    Ok(object)
}

fn check(object: &Value, kind: &str, name: &ObjectName) -> Result<(), String> {
    let text = |pointer: &str| {
        let found = object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or("nothing");
        found
            .chars()
            .take(80)
            .flat_map(char::escape_default)
            .collect::<String>()
    };
    let (version, found, called) = (text("/apiVersion"), text("/kind"), text("/metadata/name"));
    if version != "v1" || found != kind {
        return Err(format!(
            "holds `{version}` `{found}`, where a `v1` `{kind}` belongs"
        ));
    }
    if called != name.as_str() {
        return Err(format!("holds {kind} `{called}`, where `{name}` belongs"));
    }
    let empty = Map::new();
    let data = match object.get("data") {
        None | Some(Value::Null) => &empty,
        Some(Value::Object(data)) => data,
        Some(_) => return Err("has a `data` that is no map".to_owned()),
    };
    for (key, value) in data {
        let key: String = key
            .chars()
            .take(80)
            .flat_map(char::escape_default)
            .collect();
        let Some(value) = value.as_str() else {
            return Err(format!("has a value under `{key}` that is no text"));
        };
        let is_encoded = || {
            base64::engine::general_purpose::STANDARD
                .decode(value)
                .is_ok()
        };
        if kind == "Secret" && !is_encoded() {
            return Err(format!("has a value under `{key}` that is not base64"));
        }
    }
    Ok(())
}

/// The list that a snapshot keeps, as the host writes it in a backup.
pub(super) fn list(items: Vec<Value>) -> Vec<u8> {
    json!({ "apiVersion": "v1", "kind": "List", "items": items })
        .to_string()
        .into_bytes()
}

/// The objects of a list. Names are checked, since they become names of files.
pub(super) fn read_list(bytes: &[u8], kind: &'static str) -> Result<Vec<Object>, String> {
    let mut list: Value = serde_json::from_slice(bytes)
        .map_err(|error| format!("it is no JSON: line {}", error.line()))?;
    let Some(Value::Array(items)) = list.get_mut("items").map(Value::take) else {
        return Err("it is no list of objects".to_owned());
    };
    let object = |value: Value| {
        let name = value.pointer("/metadata/name").and_then(Value::as_str);
        let name =
            ObjectName::parse(name.unwrap_or_default()).map_err(|error| error.to_string())?;
        check(&value, kind, &name).map_err(|problem| format!("`{name}` {problem}"))?;
        Ok(Object { kind, name, value })
    };
    items.into_iter().map(object).collect()
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};

    use super::*;

    fn check_file(text: &str) -> Result<Value, String> {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(text.as_bytes()).expect("written");
        file.rewind().expect("rewound");
        read_file(
            file,
            "Secret",
            &ObjectName::parse("system-smtp").expect("a name"),
        )
    }

    fn secret(kind: &str, name: &str, value: &str) -> String {
        json!({
            "apiVersion": "v1", "kind": kind, "data": { "password": value },
            "metadata": { "name": name, "uid": "u", "namespace": "3scale", "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": "{\"data\":{\"password\":\"aGVsbG8=\"}}" } },
        })
        .to_string()
    }

    #[test]
    fn what_the_cluster_wrote_is_dropped_also_where_nobody_dropped_it_before() {
        let read = check_file(&secret("Secret", "system-smtp", "aGVsbG8=")).expect("read");
        assert_eq!(
            read,
            json!({ "apiVersion": "v1", "kind": "Secret", "data": { "password": "aGVsbG8=" },
                "metadata": { "name": "system-smtp" } })
        );
    }

    #[test]
    fn a_wrong_file_in_a_right_name_is_refused_without_its_values() {
        for (text, expected) in [
            (
                secret("ConfigMap", "system-smtp", "aGVsbG8="),
                "where a `v1` `Secret` belongs",
            ),
            (
                secret("Secret", "system-seed", "aGVsbG8="),
                "holds Secret `system-seed`",
            ),
            // A pod template may have passwords in clear: nothing with one is taken over.
            (
                secret("Deployment", "system-smtp", "hunter2!"),
                "holds `v1` `Deployment`, where a `v1` `Secret` belongs",
            ),
            (
                secret("Secret", "system-smtp", "hunter2!"),
                "under `password` that is not base64",
            ),
            ("{ \"hunter2!\": ".to_owned(), "is no JSON"),
            ("[\"hunter2!\"]".to_owned(), "holds `nothing` `nothing`"),
            (String::new(), "is empty"),
        ] {
            let problem = check_file(&text).expect_err("refused");
            assert!(problem.contains(expected), "{problem}");
            assert!(!problem.contains("hunter2"), "{problem}");
        }
    }

    #[test]
    fn a_list_comes_back_and_a_name_that_climbs_does_not() {
        let value = |name: &str| json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name } });
        let read = read_list(&list(vec![value("a"), value("b")]), "Secret").expect("read");
        let names: Vec<&str> = read.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert!(read_list(&list(vec![value("../../etc/cron.d/x")]), "Secret").is_err());
        assert!(read_list(&list(vec![value("a")]), "ConfigMap").is_err());
        let workload =
            json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "a" } });
        assert!(read_list(&list(vec![workload]), "Secret").is_err());
    }
}
