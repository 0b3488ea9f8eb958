//! Kubernetes objects: scrubbed into an artifact and back, past the module.
//!
//! The artifact is an ordinary `v1` `List` in JSON, so that `kubectl apply -f` can bring it back
//! without this program. What comes from an artifact is not trusted: kind and name must be ones that
//! the manifest names.

use std::collections::BTreeMap;

use bytes::Bytes;
use cofferdam_cluster as cluster;
use cofferdam_engine::host::{HostError, Loaded, SEALED, Source, WhenPresent};
use cofferdam_engine::manifest::ObjectVerb;
use cofferdam_policy::name::{ArtifactName, DataKey, GroupName, ObjectName};
use cofferdam_policy::request::{AccessObject, ObjectKind, ObjectOperation};
use serde_json::{Value, json};

use super::{Granted, Session};

/// The largest list that is read back, in bytes. An object has at most 1.5 MiB in etcd.
const MAXIMUM_LIST: usize = 256 * 1024 * 1024;

impl Session {
    pub(super) async fn save_group(
        &self,
        group: &GroupName,
        artifact: &ArtifactName,
    ) -> Result<Vec<String>, HostError> {
        let kind = self.object_kind(group)?;
        let mut names = Vec::new();
        let mut items = Vec::new();
        for name in self.binding.object_names(group) {
            match self
                .find_object(group, &kind, name, ObjectOperation::Save)
                .await?
            {
                Some(object) => {
                    without_passwords(&kind, name, &object)?;
                    names.push(format!("{}/{name}", kind.kind));
                    items.push(object);
                }
                None => names.push(format!("{}/{name} (missing)", kind.kind)),
            }
        }
        let evidence = vec![
            // Sealed: the engine lets no module read what may hold Secrets.
            (SEALED.to_owned(), "objects".to_owned()),
            ("objects".to_owned(), items.len().to_string()),
            (
                "missing".to_owned(),
                (names.len() - items.len()).to_string(),
            ),
        ];
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": items });
        let bytes = serde_json::to_vec(&list).map_err(|error| HostError::Failed {
            code: "objects",
            message: error.to_string(),
        })?;
        let mut sink = self.new_artifact(artifact, "application/json").await?;
        sink.write(Bytes::from(bytes)).await?;
        sink.commit(evidence).await?;
        Ok(names)
    }

    pub(super) async fn load_list(
        &self,
        artifact: &ArtifactName,
        present: WhenPresent,
    ) -> Result<Vec<Loaded>, HostError> {
        let items = read_list(self.stored_artifact(artifact).await?).await?;
        // All are known before the first is touched: a list with a stranger in it changes nothing.
        let mut known = Vec::new();
        for item in &items {
            known.push((self.declared(item)?, item));
        }
        let mut loaded = Vec::new();
        for ((group, kind, name), item) in known {
            let request = self.object(&group, &kind, &name, ObjectOperation::Load);
            let Granted { permit, record } = self.permit(request)?;
            let result = record.close(
                self.shared
                    .cluster
                    .load_object(&permit, item, when_present(present))
                    .await,
            )?;
            loaded.push(became(format!("{}/{name}", kind.kind), result));
        }
        Ok(loaded)
    }

    pub(super) async fn read_object(
        &self,
        group: &GroupName,
        name: &ObjectName,
    ) -> Result<String, HostError> {
        let kind = self.object_kind(group)?;
        if kind.is_secret() {
            return Err(HostError::Invalid(
                "the contents of a Secret stay in the host".into(),
            ));
        }
        match self
            .find_object(group, &kind, name, ObjectOperation::Get)
            .await?
        {
            Some(object) => {
                without_passwords(&kind, name, &object)?;
                Ok(object.to_string())
            }
            None => Err(HostError::NotFound(format!(
                "{}/{name} does not exist",
                kind.kind
            ))),
        }
    }

    /// One object, without what other data sets of this run have changed in it for a time: who
    /// takes that for the site's own would keep it, or build on it.
    async fn find_object(
        &self,
        group: &GroupName,
        kind: &ObjectKind,
        name: &ObjectName,
        operation: ObjectOperation,
    ) -> Result<Option<Value>, HostError> {
        let others = || {
            self.shared
                .leases
                .before_others(&self.data_set.name, kind, name)
        };
        let request = self.object(group, kind, name, operation);
        let Granted { permit, record } = self.permit(request)?;
        // A lease may begin or end while the object is read: the original is the same.
        let before = others();
        let found = record.close(self.shared.cluster.get_object(&permit).await)?;
        let mut originals = others();
        originals.extend(before);
        Ok(found.map(|object| with_originals(object, &originals)))
    }

    pub(super) async fn apply_manifest(
        &self,
        group: &GroupName,
        manifest: &str,
    ) -> Result<(), HostError> {
        let object: Value = serde_json::from_str(manifest).map_err(|error| {
            HostError::Invalid(format!("the object to apply is no JSON: {error}"))
        })?;
        let kind = self.object_kind(group)?;
        let name = object_name(&object)?;
        if kind.is_secret()
            || kind_of(&object)? != kind
            || !self.binding.object_names(group).contains(&name)
        {
            return Err(HostError::Invalid(format!(
                "the object group `{group}` does not let this object be applied"
            )));
        }
        let Granted { permit, record } =
            self.permit(self.object(group, &kind, &name, ObjectOperation::Apply))?;
        record
            .close(self.shared.cluster.apply_object(&permit, object).await)
            .map(drop)
    }

    pub(super) async fn wait_object(
        &self,
        group: &GroupName,
        name: &ObjectName,
        condition: &str,
        timeout: std::time::Duration,
    ) -> Result<(), HostError> {
        let kind = self.object_kind(group)?;
        let condition: cluster::Condition = condition
            .parse()
            .map_err(|error| HostError::Invalid(format!("{error}")))?;
        let Granted { permit, record } =
            self.permit(self.object(group, &kind, name, ObjectOperation::Wait))?;
        let waited = self.shared.cluster.wait_for(&permit, &condition, timeout);
        tokio::select! {
            result = waited => record.close(result),
            () = self.shared.cancel.cancelled() => Err(HostError::Cancelled),
        }
    }

    fn object(
        &self,
        group: &GroupName,
        kind: &ObjectKind,
        name: &ObjectName,
        operation: ObjectOperation,
    ) -> AccessObject {
        AccessObject {
            namespace: self.scope.namespace.clone(),
            group: group.clone(),
            kind: kind.clone(),
            name: name.clone(),
            operation,
        }
    }

    /// The group of the manifest that lets this object be loaded.
    fn declared(&self, object: &Value) -> Result<(GroupName, ObjectKind, ObjectName), HostError> {
        let kind = kind_of(object)?;
        let name = object_name(object)?;
        let mut groups = self.binding.manifest().objects.iter();
        let found = groups.find(|(group, declared)| {
            self.binding.object_kind(group) == Some(&kind)
                && declared.verbs.contains(&ObjectVerb::Load)
                && self.binding.object_names(group).contains(&name)
        });
        match found {
            Some((group, _)) => Ok((group.clone(), kind, name)),
            None => Err(HostError::Invalid(format!(
                "the artifact holds {}/{name}, which this data set does not name; nothing was loaded",
                kind.kind.escape_default()
            ))),
        }
    }
}

/// The object with the values that its data had before a lease.
fn with_originals(mut object: Value, originals: &BTreeMap<DataKey, Option<String>>) -> Value {
    let Some(data) = object.get_mut("data").and_then(Value::as_object_mut) else {
        return object;
    };
    for (key, original) in originals {
        match original {
            Some(text) => data.insert(key.to_string(), json!(text)),
            None => data.shift_remove(key.as_str()),
        };
    }
    object
}

pub(super) fn when_present(present: WhenPresent) -> cluster::WhenPresent {
    match present {
        WhenPresent::Keep => cluster::WhenPresent::Keep,
        WhenPresent::Replace => cluster::WhenPresent::Replace,
        WhenPresent::Fail => cluster::WhenPresent::Fail,
    }
}

/// What a module is told of one object.
pub(super) fn became(name: String, loaded: cluster::Loaded) -> Loaded {
    let (result, details) = match loaded {
        cluster::Loaded::Created => ("created", Vec::new()),
        cluster::Loaded::Equal => ("equal", Vec::new()),
        cluster::Loaded::Replaced => ("replaced", Vec::new()),
        cluster::Loaded::Kept { differs } => {
            ("kept", vec![("differs".to_owned(), differs.join(", "))])
        }
        cluster::Loaded::Refused { reason } => ("refused", vec![("reason".to_owned(), reason)]),
    };
    Loaded {
        name,
        result,
        details,
    }
}

pub(super) async fn read_list(mut source: Box<dyn Source>) -> Result<Vec<Value>, HostError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = source.next().await? {
        if bytes.len() + chunk.len() > MAXIMUM_LIST {
            return Err(HostError::Invalid(format!(
                "the artifact is longer than {MAXIMUM_LIST} bytes"
            )));
        }
        bytes.extend_from_slice(&chunk);
    }
    let list: Value = serde_json::from_slice(&bytes).map_err(|error| {
        HostError::Invalid(format!("the artifact is no list of objects: {error}"))
    })?;
    match list {
        Value::Object(mut list) if list.get("kind") == Some(&json!("List")) => {
            match list.remove("items") {
                Some(Value::Array(items)) => Ok(items),
                _ => Err(HostError::Invalid(
                    "the artifact is a list without items".into(),
                )),
            }
        }
        _ => Err(HostError::Invalid("the artifact is no `v1` `List`".into())),
    }
}

/// Where a pod template lists its containers.
const CONTAINERS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];
/// A Template has the templates of its workloads inside, and its parameters in the place of passwords.
const TEMPLATE: &str = "Template";

/// Refuses an object with a pod template that has values of its environment in clear: 3scale's
/// operator writes the root password of MySQL there. To leave the value out would make a copy that
/// cannot be brought back.
fn without_passwords(
    kind: &ObjectKind,
    name: &ObjectName,
    object: &Value,
) -> Result<(), HostError> {
    if kind.kind == TEMPLATE {
        return Ok(());
    }
    let Some(variable) = value_in_clear(object) else {
        return Ok(());
    };
    Err(HostError::Failed {
        code: "pod-template",
        message: format!(
            "`{}/{name}` has a pod template with the value of `{variable}` in clear, which may be a password: an object like this is not kept, its operator or Template makes it again",
            kind.kind
        ),
    })
}

/// The name of a variable of a container that has its value beside it.
fn value_in_clear(value: &Value) -> Option<String> {
    match value {
        Value::Array(items) => items.iter().find_map(value_in_clear),
        Value::Object(fields) => fields.iter().find_map(|(key, inner)| {
            let is_list = CONTAINERS.contains(&key.as_str());
            let found = is_list.then(|| variable_in_clear(inner)).flatten();
            found.or_else(|| value_in_clear(inner))
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

fn variable_in_clear(containers: &Value) -> Option<String> {
    let environments = containers
        .as_array()?
        .iter()
        .filter_map(|container| container.get("env")?.as_array());
    let variable = environments.flatten().find(|variable| {
        let value = variable.get("value").and_then(Value::as_str);
        value.is_some_and(|value| !value.is_empty())
    })?;
    let name = variable.get("name").and_then(Value::as_str);
    let name = name.unwrap_or("?").chars().take(80);
    Some(name.flat_map(char::escape_default).collect())
}

fn kind_of(object: &Value) -> Result<ObjectKind, HostError> {
    let field = |name: &str| object.get(name).and_then(Value::as_str).map(str::to_owned);
    match (field("apiVersion"), field("kind")) {
        (Some(api_version), Some(kind)) => Ok(ObjectKind { api_version, kind }),
        _ => Err(HostError::Invalid(
            "an object has no `apiVersion` or no `kind`".into(),
        )),
    }
}

pub(super) fn object_name(object: &Value) -> Result<ObjectName, HostError> {
    let name = object
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .unwrap_or_default();
    ObjectName::parse(name).map_err(|invalid| HostError::Invalid(invalid.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(object: &Value, expected: Option<&str>) {
        let kind = ObjectKind {
            api_version: "example.com/v1".to_owned(),
            kind: "Rollout".to_owned(),
        };
        let name = ObjectName::parse("system-mysql").expect("a name");
        let refused = without_passwords(&kind, &name, object).err();
        let said = refused.map(|error| error.to_string());
        match (expected, said) {
            (None, None) => {}
            (Some(variable), Some(said)) => {
                assert!(said.contains(variable), "{said}");
                assert!(!said.contains("hunter2"), "{said}");
            }
            (expected, said) => panic!("{expected:?}: {said:?}"),
        }
    }

    #[test]
    fn a_password_in_a_pod_template_is_found_wherever_it_lies() {
        let open = json!([{ "name": "m", "env": [
            { "name": "A", "valueFrom": { "secretKeyRef": {} } },
            { "name": "MYSQL_ROOT_PASSWORD", "value": "hunter2" },
        ] }]);
        let closed =
            json!([{ "name": "m", "env": [{ "name": "A", "value": "" }, { "name": "B" }] }]);
        let found = Some("MYSQL_ROOT_PASSWORD");
        check(
            &json!({ "spec": { "template": { "spec": { "containers": open } } } }),
            found,
        );
        check(&json!({ "spec": { "containers": open } }), found);
        check(
            &json!({ "spec": { "jobs": [{ "spec": { "initContainers": open } }] } }),
            found,
        );
        check(
            &json!({ "spec": { "template": { "spec": { "containers": closed } } } }),
            None,
        );
        check(&json!({ "spec": { "env": open, "containers": 3 } }), None);
    }
}
