//! The demo's Kubernetes objects: the Secrets and ConfigMaps that one data set covers, their proof and
//! their destruction, with kubectl alone. A Secret's value is digested and never shown.

use std::collections::BTreeMap;

use anyhow::Context as _;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::kubectl::Kubectl;

/// A digest of what the objects mean: kind, name, type and data; not of when or by whom they were made.
/// An object that is missing counts as missing.
pub(crate) fn proof(kubectl: &Kubectl, names: &[String]) -> anyhow::Result<String> {
    let mut meanings = BTreeMap::new();
    let mut found = 0;
    for name in names {
        if let Some(object) = kubectl.find(name)? {
            found += 1;
            meanings.insert(name, meaning(&object)?);
        }
    }
    if found == 0 {
        return Ok("empty".to_owned());
    }
    let mut hasher = Sha256::new();
    for (name, meaning) in meanings {
        for part in [name, &meaning] {
            hasher.update(part.len().to_le_bytes());
            hasher.update(part);
        }
    }
    Ok(format!(
        "{found} objects {}",
        hex::encode(hasher.finalize())
    ))
}

/// Deletes the objects, as an administrator's slip would.
pub(crate) fn destroy(kubectl: &Kubectl, names: &[String]) -> anyhow::Result<()> {
    let mut command = vec!["delete"];
    command.extend(names.iter().map(String::as_str));
    kubectl.run(&command)
}

/// The parts of an object that a person put there, with sorted keys.
fn meaning(object: &Value) -> anyhow::Result<String> {
    let parts: BTreeMap<&str, Value> = ["type", "data", "binaryData", "immutable"]
        .into_iter()
        .filter_map(|key| Some((key, sorted(object.get(key)?))))
        .collect();
    serde_json::to_string(&parts).context("an object can be written as JSON")
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields: BTreeMap<&String, Value> = fields
                .iter()
                .map(|(key, value)| (key, sorted(value)))
                .collect();
            Value::Object(
                fields
                    .into_iter()
                    .map(|(key, value)| (key.clone(), value))
                    .collect(),
            )
        }
        Value::Array(values) => Value::Array(values.iter().map(sorted).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_meaning_does_not_depend_on_order_or_on_who_wrote_it() {
        let one = json!({"kind": "Secret", "type": "Opaque", "data": {"a": "MQ==", "b": "Mg=="}, "metadata": {"uid": "1"}});
        let other =
            json!({"metadata": {"uid": "2"}, "data": {"b": "Mg==", "a": "MQ=="}, "type": "Opaque"});
        assert_eq!(meaning(&one).unwrap(), meaning(&other).unwrap());
    }

    #[test]
    fn another_value_is_another_meaning() {
        let one = json!({"data": {"a": "MQ=="}});
        let other = json!({"data": {"a": "Mg=="}});
        assert_ne!(meaning(&one).unwrap(), meaning(&other).unwrap());
    }
}
