//! Workloads by kind and name, and their pods by the workload's own selector.
//!
//! Must never find a pod by a label that somebody guessed, and never take the first of several.

use cofferdam_policy::Permit;
use cofferdam_policy::name::Namespace;
use cofferdam_policy::request::{ResolveTarget, Target, Workload, WorkloadKind};
use serde::Deserialize;
use serde_json::Value;

use crate::call::Call;
use crate::cluster::Cluster;
use crate::error::Error;
use crate::pod::{Pod, Seen, belongs, listed, no_container};

/// Pods asked for at a time.
const PAGE: usize = 500;

/// A target's workload, as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetState {
    /// The workload.
    pub workload: Workload,
    /// Its selector, as the API takes it: `deployment=backend-redis`.
    pub selector: String,
    /// The names of the containers in its template.
    pub containers: Vec<String>,
    /// Whether the container of the target is one of them.
    pub container_exists: bool,
    /// How many pods it wants.
    pub replicas: u32,
    /// Counts the changes of its specification.
    pub generation: i64,
    /// How a rollout goes: `Recreate`, `RollingUpdate`, `Rolling`, `OnDelete`.
    pub strategy: String,
    /// Its volumes of kind `emptyDir`, whose contents the next rollout wipes.
    pub ephemeral_volumes: Vec<EphemeralVolume>,
    /// The objects that it was made for, such as the custom resource of an operator.
    pub owners: Vec<Owner>,
}

/// A volume of kind `emptyDir`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EphemeralVolume {
    /// Its name.
    pub name: String,
    /// The folders where containers have it.
    pub places: Vec<String>,
}

/// An object that another one was made for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Owner {
    /// Such as `apps.3scale.net/v1alpha1`.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
}

impl Cluster {
    /// Reads the workload of a target.
    ///
    /// # Errors
    /// [`Error::NoWorkload`] when it does not exist.
    pub async fn target(&self, permit: &Permit<ResolveTarget>) -> Result<TargetState, Error> {
        let target = &permit.request().target;
        let object = self.workload(target).await?;
        let selector = self.selector(target, &object)?;
        Ok(read(target, &object, selector))
    }

    /// All pods of a target's workload, ready or not.
    ///
    /// # Errors
    /// [`Error::NoWorkload`] when the workload does not exist.
    pub async fn pods(&self, permit: &Permit<ResolveTarget>) -> Result<Vec<Pod>, Error> {
        let target = &permit.request().target;
        let object = self.workload(target).await?;
        self.pods_of(target, &object).await
    }

    /// The one pod of a target that is ready: running, ready, not being deleted.
    ///
    /// # Errors
    /// [`Error::NoReadyPod`], [`Error::SeveralReadyPods`], [`Error::NoContainer`],
    /// [`Error::NoWorkload`].
    pub async fn ready_pod(&self, permit: &Permit<ResolveTarget>) -> Result<Pod, Error> {
        let target = &permit.request().target;
        let object = self.workload(target).await?;
        let selector = self.selector(target, &object)?;
        let state = read(target, &object, selector);
        if !state.container_exists {
            return Err(no_container(target, &state.containers));
        }
        let mut pods = self.pods_of(target, &object).await?;
        let ready = pods.iter().filter(|pod| pod.is_ready()).count();
        let workload = target.workload.to_string();
        if ready > 1 {
            let seen = listed(&pods);
            return Err(Error::SeveralReadyPods { workload, seen });
        }
        let Some(place) = pods.iter().position(Pod::is_ready) else {
            let seen = listed(&pods);
            return Err(Error::NoReadyPod { workload, seen });
        };
        let pod = pods.swap_remove(place);
        pod.check(target)?;
        Ok(pod)
    }

    /// The workload's object.
    pub(crate) async fn workload(&self, target: &Target) -> Result<Value, Error> {
        let path = path_of(&target.namespace, &target.workload);
        let attempt = format!("read `{}` in `{}`", target.workload, target.namespace);
        let found = self.caller.find(Call::get(path, attempt)).await?;
        found.ok_or_else(|| Error::NoWorkload {
            workload: target.workload.to_string(),
            namespace: target.namespace.to_string(),
        })
    }

    /// The pods of the workload that `object` is.
    pub(crate) async fn pods_of(&self, target: &Target, object: &Value) -> Result<Vec<Pod>, Error> {
        #[derive(Deserialize)]
        struct Page {
            #[serde(default)]
            metadata: PageMetadata,
            items: Vec<Seen>,
        }
        #[derive(Default, Deserialize)]
        struct PageMetadata {
            #[serde(rename = "continue")]
            next: Option<String>,
        }
        let selector = self.selector(target, object)?;
        let mut pods = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let query = page_query(&selector, next.as_deref());
            let path = format!("/api/v1/namespaces/{}/pods?{query}", target.namespace);
            let attempt = format!(
                "list the pods of `{}` in `{}`",
                target.workload, target.namespace
            );
            let page: Page = self.caller.answer(Call::get(path, attempt)).await?;
            let items = page.items.into_iter();
            let items = items.filter(|seen| belongs(seen, &target.workload));
            pods.extend(items.map(|seen| Pod::read(seen, &target.namespace, &target.workload)));
            next = page.metadata.next.filter(|next| !next.is_empty());
            if next.is_none() {
                return Ok(pods);
            }
        }
    }

    fn selector(&self, target: &Target, object: &Value) -> Result<String, Error> {
        selector(target.workload.kind, object).ok_or_else(|| Error::Garbled {
            attempt: format!("read the selector of `{}`", target.workload),
            what: "it has none, which would mean every pod".into(),
        })
    }
}

/// Where the API keeps a workload.
pub(crate) fn path_of(namespace: &Namespace, workload: &Workload) -> String {
    let (group, plural) = match workload.kind {
        WorkloadKind::Deployment => ("apps/v1", "deployments"),
        WorkloadKind::StatefulSet => ("apps/v1", "statefulsets"),
        WorkloadKind::DeploymentConfig => ("apps.openshift.io/v1", "deploymentconfigs"),
    };
    format!(
        "/apis/{group}/namespaces/{namespace}/{plural}/{}",
        workload.name
    )
}

/// The number of replicas that a workload wants: 1 where it does not say.
pub(crate) fn wanted(object: &Value) -> u32 {
    let replicas = object.pointer("/spec/replicas").and_then(Value::as_u64);
    replicas.map_or(1, |replicas| u32::try_from(replicas).unwrap_or(u32::MAX))
}

fn read(target: &Target, object: &Value, selector: String) -> TargetState {
    let names = |pointer: &str, keep: &dyn Fn(&Value) -> bool| -> Vec<String> {
        let list = object.pointer(pointer).and_then(Value::as_array);
        let list = list.into_iter().flatten().filter(|item| keep(item));
        list.filter_map(|item| item.get("name")?.as_str().map(str::to_owned))
            .collect()
    };
    let containers = names("/spec/template/spec/containers", &|_| true);
    let pointer = match target.workload.kind {
        WorkloadKind::Deployment | WorkloadKind::DeploymentConfig => "/spec/strategy/type",
        WorkloadKind::StatefulSet => "/spec/updateStrategy/type",
    };
    TargetState {
        workload: target.workload.clone(),
        selector,
        container_exists: containers
            .iter()
            .any(|name| name == target.container.as_str()),
        containers,
        replicas: wanted(object),
        generation: object
            .pointer("/metadata/generation")
            .and_then(Value::as_i64)
            .unwrap_or(0),
        strategy: object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or("RollingUpdate")
            .to_owned(),
        ephemeral_volumes: names("/spec/template/spec/volumes", &|volume| {
            volume.get("emptyDir").is_some()
        })
        .into_iter()
        .map(|name| EphemeralVolume {
            places: places(object, &name),
            name,
        })
        .collect(),
        owners: owners(object),
    }
}

/// Where the containers of a template have a volume.
fn places(object: &Value, volume: &str) -> Vec<String> {
    let list = |within: &Value, pointer: &str| {
        let list = within.pointer(pointer).and_then(Value::as_array);
        list.cloned().unwrap_or_default()
    };
    let containers = list(object, "/spec/template/spec/containers");
    let mounts = containers.iter().flat_map(|one| list(one, "/volumeMounts"));
    mounts
        .filter(|mount| mount.get("name").and_then(Value::as_str) == Some(volume))
        .filter_map(|mount| Some(mount.get("mountPath")?.as_str()?.to_owned()))
        .collect()
}

fn owners(object: &Value) -> Vec<Owner> {
    let references = object.pointer("/metadata/ownerReferences");
    let references = references.and_then(Value::as_array).into_iter().flatten();
    references
        .filter_map(|reference| Owner::deserialize(reference).ok())
        .collect()
}

/// A workload's selector in the form of a query. `None` for an empty one, which matches everything.
fn selector(kind: WorkloadKind, object: &Value) -> Option<String> {
    let selector = object.pointer("/spec/selector")?;
    let (labels, expressions) = match kind {
        WorkloadKind::DeploymentConfig => (Some(selector), None),
        WorkloadKind::Deployment | WorkloadKind::StatefulSet => (
            selector.get("matchLabels"),
            selector.get("matchExpressions"),
        ),
    };
    let mut parts = Vec::new();
    for (key, value) in labels.and_then(Value::as_object).into_iter().flatten() {
        parts.push(format!("{key}={}", value.as_str()?));
    }
    for expression in expressions.and_then(Value::as_array).into_iter().flatten() {
        let key = expression.get("key")?.as_str()?;
        let values = expression.get("values").and_then(Value::as_array);
        let values: Vec<&str> = values
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        parts.push(match expression.get("operator")?.as_str()? {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "Exists" => key.to_owned(),
            "DoesNotExist" => format!("!{key}"),
            _ => return None,
        });
    }
    (!parts.is_empty()).then(|| parts.join(","))
}

/// The query of one page. A function of its own: the serializer cannot be held over an await.
fn page_query(selector: &str, next: Option<&str>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("labelSelector", selector);
    query.append_pair("limit", &PAGE.to_string());
    if let Some(next) = next {
        query.append_pair("continue", next);
    }
    query.finish()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(kind: WorkloadKind, spec: Value, expected: Option<&str>) {
        let object = json!({ "spec": { "selector": spec } });
        assert_eq!(selector(kind, &object).as_deref(), expected);
    }

    #[test]
    fn the_selector_is_the_workloads_own() {
        check(
            WorkloadKind::DeploymentConfig,
            json!({ "deploymentConfig": "system-mysql" }),
            Some("deploymentConfig=system-mysql"),
        );
        check(
            WorkloadKind::Deployment,
            json!({ "matchLabels": { "deployment": "x" }, "matchExpressions": [
                { "key": "tier", "operator": "In", "values": ["a", "b"] },
                { "key": "old", "operator": "DoesNotExist" }] }),
            Some("deployment=x,tier in (a,b),!old"),
        );
    }

    #[test]
    fn an_empty_selector_matches_no_pod() {
        check(WorkloadKind::Deployment, json!({}), None);
        check(WorkloadKind::DeploymentConfig, json!({}), None);
        check(
            WorkloadKind::Deployment,
            json!({ "matchExpressions": [{ "key": "a", "operator": "New" }] }),
            None,
        );
    }
}
