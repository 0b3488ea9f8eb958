//! A restore into another namespace: the application moved there, and what would lead back.
//!
//! Must never let a restored copy write to its source unseen, and never say a value of a Secret.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cofferdam_engine::host::SEALED;
use cofferdam_policy::name::{DataSetName, Namespace};
use cofferdam_policy::request::{Workload, WorkloadKind};
use cofferdam_repository::{Repository, Snapshot};
use serde_json::Value;

use crate::application::{Application, parse_workload};

/// The largest list of objects that is looked through. An object has at most 1.5 MiB in etcd, and a
/// data set names tens of them.
const MAXIMUM_LIST: usize = 64 * 1024 * 1024;

/// Why an application cannot be restored elsewhere.
#[derive(Debug, thiserror::Error)]
pub enum ElsewhereError {
    /// That is where it is.
    #[error("`{0}` is the namespace of the application itself")]
    Same(Namespace),
    /// A workload is mapped that no data set has.
    #[error("no data set has a target `{0}`")]
    Unknown(Workload),
    /// A parameter leads back.
    #[error(
        "parameter `{parameter}` of data set `{data_set}` names a host in namespace `{origin}`: the restore would write to its own source"
    )]
    Parameter {
        /// The data set.
        data_set: DataSetName,
        /// The parameter.
        parameter: String,
        /// The namespace of the source.
        origin: Namespace,
    },
    /// Saved objects lead back.
    #[error(
        "what is restored into `{target}` names hosts in namespace `{origin}`, so the copy would write to its source: {}",
        listed(leads)
    )]
    Leads {
        /// The namespace that is restored into.
        target: Namespace,
        /// The namespace of the source.
        origin: Namespace,
        /// Where the hosts stand.
        leads: Vec<Lead>,
    },
    /// A saved list of objects cannot be looked through.
    #[error("failed to look through the objects of data set `{data_set}`: {reason}")]
    Unreadable {
        /// The data set.
        data_set: DataSetName,
        /// Why.
        reason: String,
    },
    /// The repository.
    #[error(transparent)]
    Repository(#[from] cofferdam_repository::Error),
}

/// A place in a saved object that names a host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lead {
    /// Such as `Secret/system-database`.
    pub object: String,
    /// The key of its data, or the place in it.
    pub key: String,
    /// Where the host is.
    pub to: LeadsTo,
}

/// Where a host is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeadsTo {
    /// In the namespace that was backed up.
    Origin,
    /// In no namespace that is known here: source and copy share it.
    Outside,
}

impl std::fmt::Display for Lead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} `{}`", self.object, self.key)
    }
}

/// The places, for a sentence.
pub fn listed(leads: &[Lead]) -> String {
    let texts: Vec<String> = leads.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

/// One workload stands in for another: `deploymentconfig/a=deployment/b`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// What the application file names.
    pub from: Workload,
    /// What is meant in the other namespace.
    pub to: Workload,
}

impl std::str::FromStr for Mapping {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (from, to) = text
            .split_once('=')
            .ok_or("write `KIND/NAME=KIND/NAME`, such as `deploymentconfig/a=deployment/a`")?;
        Ok(Self {
            from: parse_workload(from)?,
            to: parse_workload(to)?,
        })
    }
}

impl Application {
    /// The application as it is to be in `namespace`, its backups still being those of where it was.
    ///
    /// # Errors
    /// [`ElsewhereError`] when that is where it is, or when something in the file leads back.
    pub fn moved(
        mut self,
        namespace: Namespace,
        mappings: &[Mapping],
    ) -> Result<Self, ElsewhereError> {
        if self.namespace == namespace {
            return Err(ElsewhereError::Same(namespace));
        }
        let origin = std::mem::replace(&mut self.namespace, namespace.clone());
        for data_set in &self.data_sets {
            for (parameter, value) in &data_set.parameters {
                let mut found = false;
                texts(value, "", &mut |_, text| {
                    found |= names_host_in(text, &origin);
                });
                if found {
                    return Err(ElsewhereError::Parameter {
                        data_set: data_set.name.clone(),
                        parameter: parameter.to_string(),
                        origin,
                    });
                }
            }
        }
        for mapping in mappings {
            let mut targets = self
                .data_sets
                .iter()
                .flat_map(|data_set| data_set.targets.values());
            if !targets.any(|target| target.workload == mapping.from) {
                return Err(ElsewhereError::Unknown(mapping.from.clone()));
            }
        }
        for target in self
            .data_sets
            .iter_mut()
            .flat_map(|data_set| data_set.targets.values_mut())
        {
            target.namespace = namespace.clone();
            if let Some(mapping) = mappings
                .iter()
                .find(|mapping| mapping.from == target.workload)
            {
                target.workload = mapping.to.clone();
            }
        }
        self.origin = Some(origin);
        Ok(self)
    }

    /// Takes the workloads of one kind for those of another, of the same names: a backup of one era
    /// of 3scale is restored into the next.
    pub fn change_kind(&mut self, from: WorkloadKind, to: WorkloadKind) {
        let targets = self
            .data_sets
            .iter_mut()
            .flat_map(|data_set| data_set.targets.values_mut());
        for target in targets.filter(|target| target.workload.kind == from) {
            target.workload.kind = to;
        }
    }
}

/// Looks through the saved objects of `snapshots` for hosts that are not in `target`.
///
/// # Errors
/// [`ElsewhereError`] when a list of objects cannot be read: what was not looked at is not safe.
pub async fn leads(
    repository: &Repository,
    snapshots: &BTreeMap<DataSetName, Snapshot>,
    origin: &Namespace,
    target: &Namespace,
) -> Result<Vec<Lead>, ElsewhereError> {
    let mut leads = Vec::new();
    for (name, snapshot) in snapshots {
        let lists = snapshot
            .artifacts
            .iter()
            .filter(|artifact| artifact.evidence.iter().any(|(key, _)| key == SEALED));
        for artifact in lists {
            let unreadable = |reason: String| ElsewhereError::Unreadable {
                data_set: name.clone(),
                reason,
            };
            let mut reader = repository
                .open_artifact(&snapshot.id, &artifact.name)
                .await?;
            let mut bytes = Vec::new();
            while let Some(chunk) = reader.read().await? {
                if bytes.len() + chunk.len() > MAXIMUM_LIST {
                    return Err(unreadable(format!("longer than {MAXIMUM_LIST} bytes")));
                }
                bytes.extend_from_slice(&chunk);
            }
            // Not the error's own text: it may quote a Secret.
            let list: Value = serde_json::from_slice(&bytes)
                .map_err(|error| unreadable(format!("no JSON at line {}", error.line())))?;
            leads.extend(leads_of(&list, origin, target));
        }
    }
    leads.sort();
    leads.dedup();
    Ok(leads)
}

/// The hosts in a `v1` `List` that are not in `target`.
fn leads_of(list: &Value, origin: &Namespace, target: &Namespace) -> Vec<Lead> {
    let mut leads = Vec::new();
    let items = list.get("items").and_then(Value::as_array);
    for item in items.into_iter().flatten() {
        let text = |pointer: &str| {
            let text = item.pointer(pointer).and_then(Value::as_str);
            text.unwrap_or_default().escape_default().to_string()
        };
        let object = format!("{}/{}", text("/kind"), text("/metadata/name"));
        let mut see = |key: &str, text: &str| {
            let to = if names_host_in(text, origin) {
                LeadsTo::Origin
            } else if host_of(text).is_some_and(|host| is_outside(host, target)) {
                LeadsTo::Outside
            } else {
                return;
            };
            leads.push(Lead {
                object: object.clone(),
                key: key.trim_start_matches('/').escape_default().to_string(),
                to,
            });
        };
        let fields = item.as_object().into_iter().flatten();
        for (field, value) in fields.filter(|(field, _)| *field != "metadata") {
            if item.get("kind") == Some(&Value::from("Secret")) && field == "data" {
                texts(value, "", &mut |key, encoded| {
                    let decoded = STANDARD.decode(encoded).unwrap_or_default();
                    see(key, &String::from_utf8_lossy(&decoded));
                });
            } else if ["data", "stringData"].contains(&field.as_str()) {
                texts(value, "", &mut see);
            } else {
                texts(value, field, &mut see);
            }
        }
    }
    leads
}

/// Every text below `value`, with its place.
fn texts(value: &Value, place: &str, see: &mut impl FnMut(&str, &str)) {
    match value {
        Value::String(text) => see(place, text),
        Value::Array(items) => items.iter().for_each(|item| texts(item, place, see)),
        Value::Object(fields) => {
            for (name, value) in fields {
                texts(value, &format!("{place}/{name}"), see);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Whether a text has a host such as `system-mysql.NAMESPACE.svc.cluster.local` or
/// `system-mysql.NAMESPACE` in it.
fn names_host_in(text: &str, namespace: &Namespace) -> bool {
    let host = |byte: char| byte.is_ascii_alphanumeric() || byte == '-' || byte == '.';
    text.split(|byte| !host(byte)).any(|word| {
        let mut labels = word.split('.');
        let service = labels.next().is_some_and(|label| !label.is_empty());
        service
            && labels.next() == Some(namespace.as_str())
            && labels.next().is_none_or(|label| label == "svc")
    })
}

/// The host of a text that is a URL.
fn host_of(text: &str) -> Option<&str> {
    let (_, rest) = text.trim().split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    let host = host.split([':', ',']).next()?;
    (!host.is_empty()).then_some(host)
}

/// Whether a host is neither a service of `target` nor the pod itself. A bare name is a service of
/// whatever namespace it is asked in.
fn is_outside(host: &str, target: &Namespace) -> bool {
    host.contains('.') && !names_host_in(host, target) && !host.starts_with("127.")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn namespace(name: &str) -> Namespace {
        Namespace::parse(name).expect("a name")
    }

    fn application(parameters: &str) -> Application {
        let text = format!(
            "apiVersion: cofferdam.dev/v1alpha1\nkind: Application\nmetadata: {{ name: threescale, namespace: \"3scale\" }}\nspec:\n  dataSets:\n    - name: a\n      module: {{ name: mysql }}\n      targets: {{ server: {{ workload: dc/system-mysql, container: c }} }}\n      parameters: {parameters}\n"
        );
        Application::parse(&text).expect("read")
    }

    fn mapping(text: &str) -> Vec<Mapping> {
        vec![text.parse().expect("a mapping")]
    }

    fn target(application: &Application) -> String {
        let target = application.data_sets[0]
            .targets
            .values()
            .next()
            .expect("one");
        format!("{} in {}", target.workload, target.namespace)
    }

    #[test]
    fn an_application_moves_with_its_targets_and_keeps_its_backups() {
        let moved = application("{}")
            .moved(namespace("copy"), &[])
            .expect("moved");
        assert_eq!(target(&moved), "deploymentconfig/system-mysql in copy");
        assert_eq!(moved.namespace, namespace("copy"));
        assert_eq!(moved.origin, Some(namespace("3scale")));
    }

    #[test]
    fn workloads_are_mapped_by_name_and_by_era() {
        let mappings = mapping("dc/system-mysql=deployment/other");
        let moved = application("{}")
            .moved(namespace("copy"), &mappings)
            .expect("moved");
        assert_eq!(target(&moved), "deployment/other in copy");
        let mut moved = application("{}")
            .moved(namespace("copy"), &[])
            .expect("moved");
        moved.change_kind(WorkloadKind::DeploymentConfig, WorkloadKind::Deployment);
        assert_eq!(target(&moved), "deployment/system-mysql in copy");
    }

    #[track_caller]
    fn refused(parameters: &str, to: &str, mappings: &[Mapping], wanted: &str) {
        let error = application(parameters)
            .moved(namespace(to), mappings)
            .expect_err("refused");
        assert_eq!(error.to_string(), wanted);
    }

    #[test]
    fn what_would_write_to_the_source_is_refused() {
        refused(
            "{}",
            "3scale",
            &[],
            "`3scale` is the namespace of the application itself",
        );
        for host in [
            "system-mysql.3scale",
            "system-mysql.3scale.svc.cluster.local",
        ] {
            refused(
                &format!("{{ host: {host} }}"),
                "copy",
                &[],
                "parameter `host` of data set `a` names a host in namespace `3scale`: the restore would write to its own source",
            );
        }
        refused(
            "{}",
            "copy",
            &mapping("dc/nobody=dc/other"),
            "no data set has a target `deploymentconfig/nobody`",
        );
    }

    #[test]
    fn a_host_of_somebody_else_is_not_the_sources() {
        for host in [
            "system-mysql",
            "db.3scale.example.com",
            "3scale",
            "a.b.3scale",
        ] {
            assert!(!names_host_in(host, &namespace("3scale")), "{host}");
        }
    }

    #[test]
    fn urls_in_saved_objects_that_lead_elsewhere_are_found_by_key() {
        let secret = |url: &str| STANDARD.encode(url);
        let list = json!({ "kind": "List", "items": [
            { "kind": "Secret", "metadata": { "name": "system-database" }, "data": {
                "URL": secret("mysql2://root:p%40ss@system-mysql.3scale.svc:3306/system"),
                "DB_PASSWORD": secret("hunter2") } },
            { "kind": "Secret", "metadata": { "name": "backend-redis" }, "data": {
                "REDIS_STORAGE_URL": secret("redis://:pw@redis.example.com:6379/0"),
                "REDIS_QUEUES_URL": secret("redis://backend-redis:6379/1") } },
            { "kind": "ConfigMap", "metadata": { "name": "system" }, "data": {
                "zync.yml": "endpoint: http://zync.3scale:8080", "x": "http://zync.copy.svc:8080" } },
            { "kind": "APIManager", "metadata": { "name": "m", "annotations": { "a": "b.3scale" } },
                "spec": { "external": { "url": "https://s3.example.com" } } },
        ]});
        let found = leads_of(&list, &namespace("3scale"), &namespace("copy"));
        let told: Vec<String> = found
            .iter()
            .map(|lead| format!("{lead} {:?}", lead.to))
            .collect();
        assert_eq!(
            told,
            [
                "Secret/system-database `URL` Origin",
                "Secret/backend-redis `REDIS_STORAGE_URL` Outside",
                "ConfigMap/system `zync.yml` Origin",
                "APIManager/m `spec/external/url` Outside",
            ]
        );
        let text = listed(&found);
        assert!(!text.contains("ss@") && !text.contains("hunter2"), "{text}");
    }
}
