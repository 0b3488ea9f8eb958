//! The rights in the cluster that an application's grants need: pure, for pre-flight.

use std::collections::BTreeSet;

use cofferdam_policy::grant::{Grant, OwnedRequest};
use cofferdam_policy::request::{
    Change, EnvironmentSource, ObjectKind, ObjectOperation, ParameterSource, ProcessTemplate,
    RolloutOperation, Workload, WorkloadKind,
};

/// One right, as RBAC knows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// The API group; empty for the core group.
    pub group: String,
    /// The resource, plural.
    pub resource: String,
    /// The subresource, such as `exec`.
    pub subresource: Option<String>,
    /// The object, where the right is for one.
    pub name: Option<String>,
    /// Such as `get`.
    pub verb: &'static str,
}

impl std::fmt::Display for Right {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if let Some(subresource) = &self.subresource {
            write!(f, "/{subresource}")?;
        }
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        match &self.name {
            Some(name) => write!(f, " {name}"),
            None => Ok(()),
        }
    }
}

/// The rights that `grants` need, each once.
pub fn rights(grants: &[Grant]) -> BTreeSet<Right> {
    grants
        .iter()
        .flat_map(|grant| of_request(&grant.sample()))
        .collect()
}

fn of_request(request: &OwnedRequest) -> Vec<Right> {
    match request {
        OwnedRequest::ResolveTarget(asked) => {
            let mut rights = workload(&asked.target.workload, &["get"]);
            rights.push(pods(None, "list"));
            rights
        }
        OwnedRequest::RunCommand(asked) => {
            let secrets = asked
                .environment
                .iter()
                .filter_map(|(_, source)| match source {
                    EnvironmentSource::Secret { object, .. } => Some(secret(object.as_str())),
                    EnvironmentSource::Pod { .. } => None,
                });
            exec().into_iter().chain(secrets).collect()
        }
        OwnedRequest::AccessFile(_) => exec(),
        OwnedRequest::AccessObject(asked) => {
            let verbs: &[&'static str] = match asked.operation {
                ObjectOperation::Get | ObjectOperation::Save | ObjectOperation::Wait => &["get"],
                ObjectOperation::Load => &["get", "create", "update"],
                ObjectOperation::Apply => &["get", "patch"],
            };
            object(&asked.kind, asked.name.as_str(), verbs)
        }
        OwnedRequest::ProcessTemplate(asked) => template(asked),
        OwnedRequest::Roll(asked) => match asked.operation {
            RolloutOperation::Restart
                if asked.target.workload.kind == WorkloadKind::DeploymentConfig =>
            {
                let mut right = workload(&asked.target.workload, &["create"]);
                right
                    .iter_mut()
                    .for_each(|right| right.subresource = Some("instantiate".into()));
                // Paused ones are refused before, and the number of the rollout is read.
                right.extend(workload(&asked.target.workload, &["get"]));
                right
            }
            RolloutOperation::Restart => workload(&asked.target.workload, &["get", "patch"]),
            RolloutOperation::Wait => {
                let mut rights = workload(&asked.target.workload, &["get"]);
                rights.push(pods(None, "list"));
                rights
            }
            RolloutOperation::Replicas => workload(&asked.target.workload, &["get"]),
            RolloutOperation::Guard => Vec::new(),
            RolloutOperation::SetReplicas { .. } => scale(&asked.target.workload),
        },
        OwnedRequest::TakeLease(asked) => change(&asked.change),
        OwnedRequest::PutBack(asked) => change(&asked.change),
        OwnedRequest::UseArtifact(_) => Vec::new(),
    }
}

fn exec() -> Vec<Right> {
    // The WebSocket is opened by a GET; newer servers ask for `create` too. The pod is looked at
    // again right before.
    vec![
        pods(None, "get"),
        pods(Some("exec"), "get"),
        pods(Some("exec"), "create"),
    ]
}

fn secret(name: &str) -> Right {
    Right {
        group: String::new(),
        resource: "secrets".into(),
        subresource: None,
        name: Some(name.to_owned()),
        verb: "get",
    }
}

fn scale(scaled: &Workload) -> Vec<Right> {
    let mut rights = workload(scaled, &["get", "update"]);
    for right in &mut rights {
        right.subresource = Some("scale".into());
    }
    rights
}

fn template(asked: &ProcessTemplate) -> Vec<Right> {
    let group = |kind: &ObjectKind| {
        kind.api_version
            .split_once('/')
            .map(|(group, _)| group.to_owned())
    };
    let mut rights = vec![Right {
        group: group(&ProcessTemplate::kind()).unwrap_or_default(),
        resource: "processedtemplates".into(),
        subresource: None,
        name: None,
        verb: "create",
    }];
    for parameter in asked.parameters.values() {
        rights.push(match &parameter.source {
            ParameterSource::Secret { object, .. } => secret(object.as_str()),
            ParameterSource::ConfigMap { object, .. } | ParameterSource::Label { object, .. } => {
                Right {
                    resource: "configmaps".into(),
                    ..secret(object.as_str())
                }
            }
        });
    }
    // What a Template makes has names that nobody knows before it is processed.
    for kind in &asked.kinds {
        for verb in ["get", "create", "update"] {
            rights.push(Right {
                group: group(kind).unwrap_or_default(),
                resource: plural(&kind.kind),
                subresource: None,
                name: None,
                verb,
            });
        }
    }
    rights
}

fn change(change: &Change) -> Vec<Right> {
    match change {
        Change::Scale { workload, .. } => scale(workload),
        Change::EditObject { kind, name, .. } => object(kind, name.as_str(), &["get", "update"]),
    }
}

fn workload(workload: &Workload, verbs: &[&'static str]) -> Vec<Right> {
    let (group, resource) = match workload.kind {
        WorkloadKind::Deployment => ("apps", "deployments"),
        WorkloadKind::StatefulSet => ("apps", "statefulsets"),
        WorkloadKind::DeploymentConfig => ("apps.openshift.io", "deploymentconfigs"),
    };
    let right = |verb: &&'static str| Right {
        group: group.to_owned(),
        resource: resource.to_owned(),
        subresource: None,
        name: Some(workload.name.to_string()),
        verb,
    };
    verbs.iter().map(right).collect()
}

fn pods(subresource: Option<&str>, verb: &'static str) -> Right {
    Right {
        group: String::new(),
        resource: "pods".into(),
        subresource: subresource.map(str::to_owned),
        name: None,
        verb,
    }
}

fn object(kind: &ObjectKind, name: &str, verbs: &[&'static str]) -> Vec<Right> {
    let group = kind
        .api_version
        .split_once('/')
        .map(|(group, _)| group)
        .unwrap_or_default();
    let right = |verb: &&'static str| Right {
        group: group.to_owned(),
        resource: plural(&kind.kind),
        subresource: None,
        // RBAC cannot tie `create` to a name: the object is not there yet.
        name: (*verb != "create").then(|| name.to_owned()),
        verb,
    };
    verbs.iter().map(right).collect()
}

/// The plural as Kubernetes forms it for its own kinds and, by custom, for custom resources.
fn plural(kind: &str) -> String {
    let lower = kind.to_ascii_lowercase();
    match lower.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None if lower.ends_with('s') => format!("{lower}es"),
        None => format!("{lower}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plurals_are_those_of_kubernetes() {
        for (kind, wanted) in [
            ("Secret", "secrets"),
            ("ConfigMap", "configmaps"),
            ("NetworkPolicy", "networkpolicies"),
            ("Ingress", "ingresses"),
            ("APIManager", "apimanagers"),
        ] {
            assert_eq!(plural(kind), wanted);
        }
    }

    #[test]
    fn creating_is_never_tied_to_a_name() {
        let kind = ObjectKind {
            api_version: "v1".into(),
            kind: "Secret".into(),
        };
        let shown: Vec<String> = object(&kind, "a", &["get", "create"])
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(shown, ["get secrets a", "create secrets"]);
    }
}
