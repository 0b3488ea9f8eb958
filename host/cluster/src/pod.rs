//! A pod of a workload, as it was seen.
//!
//! Only this crate makes one, from what the API said; it may be gone when it is used.

use cofferdam_policy::name::Namespace;
use cofferdam_policy::request::{Target, Workload, WorkloadKind};
use serde::Deserialize;

use crate::error::Error;
use crate::text;

/// One pod of a target's workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    namespace: Namespace,
    workload: Workload,
    name: String,
    uid: String,
    running: bool,
    ready: bool,
    terminating: bool,
    state: String,
    containers: Vec<String>,
    /// Of a `DeploymentConfig`: the deployment that it belongs to, as `NAME-7`.
    deployment: Option<String>,
}

impl Pod {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its uid: a namesake has another.
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// Its namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The workload through whose selector it was found.
    pub fn workload(&self) -> &Workload {
        &self.workload
    }

    /// Running, ready or not, and not being deleted.
    pub fn is_running(&self) -> bool {
        self.running
    }

    /// Running, ready, and not being deleted.
    pub fn is_ready(&self) -> bool {
        self.ready
    }

    /// Whether it is being deleted.
    pub fn is_terminating(&self) -> bool {
        self.terminating
    }

    /// What people want to know of it, such as `Running, not ready: CrashLoopBackOff`.
    pub fn state(&self) -> &str {
        &self.state
    }

    /// The names of its containers.
    pub fn containers(&self) -> &[String] {
        &self.containers
    }

    pub(crate) fn deployment(&self) -> Option<&str> {
        self.deployment.as_deref()
    }

    /// Reads what the API said.
    pub(crate) fn read(seen: Seen, namespace: &Namespace, workload: &Workload) -> Self {
        let terminating = seen.metadata.deletion_timestamp.is_some();
        let running = !terminating && seen.status.phase == "Running";
        let ready = running
            && seen
                .status
                .conditions
                .iter()
                .any(|c| c.kind == "Ready" && c.status == "True");
        let annotation = seen.metadata.annotations.as_ref();
        let annotation = annotation.and_then(|all| all.get("openshift.io/deployment.name"));
        let label = seen.metadata.labels.as_ref();
        let label = label.and_then(|all| all.get("deployment"));
        let deployment = annotation.or(label).cloned();
        Self {
            namespace: namespace.clone(),
            workload: workload.clone(),
            state: state(&seen, ready, terminating),
            name: text::sentence(&seen.metadata.name),
            uid: seen.metadata.uid,
            running,
            ready,
            terminating,
            containers: seen.spec.containers.into_iter().map(|c| c.name).collect(),
            deployment,
        }
    }

    /// Whether this pod, and the container in it, is what a permit for `target` speaks of.
    pub(crate) fn check(&self, target: &Target) -> Result<(), Error> {
        if self.namespace != target.namespace || self.workload != target.workload {
            return Err(Error::WrongPermit {
                what: format!(
                    "it is for `{}` in `{}`, and pod `{}` is of `{}` in `{}`",
                    target.workload, target.namespace, self.name, self.workload, self.namespace
                ),
            });
        }
        if self
            .containers
            .iter()
            .any(|name| name == target.container.as_str())
        {
            return Ok(());
        }
        Err(no_container(target, &self.containers))
    }
}

/// The only one of a workload's pods that stays, if it runs, ready or not. With a second one, in
/// whatever state, nobody would know whose data it has.
pub fn sole_running(pods: Vec<Pod>) -> Option<Pod> {
    let mut staying = pods.into_iter().filter(|pod| !pod.is_terminating());
    let only = staying.next().filter(|_| staying.next().is_none());
    only.filter(Pod::is_running)
}

/// The error for a container that the site named wrongly.
pub(crate) fn no_container(target: &Target, containers: &[String]) -> Error {
    let names: Vec<String> = containers
        .iter()
        .map(|name| format!("`{}`", text::sentence(name)))
        .collect();
    Error::NoContainer {
        workload: target.workload.to_string(),
        container: target.container.to_string(),
        containers: names.join(", "),
    }
}

/// `name (state)` of each, for errors.
pub(crate) fn listed(pods: &[Pod]) -> String {
    if pods.is_empty() {
        return "there is none".into();
    }
    let each: Vec<String> = pods
        .iter()
        .map(|pod| format!("`{}` ({})", pod.name, pod.state))
        .collect();
    each.join(", ")
}

fn state(seen: &Seen, ready: bool, terminating: bool) -> String {
    let phase = match seen.status.phase.as_str() {
        "" => "Unknown",
        phase => phase,
    };
    if terminating {
        return format!("{}, terminating", text::sentence(phase));
    }
    if ready {
        return "Running, ready".into();
    }
    let mut reasons: Vec<&str> = Vec::new();
    for container in seen
        .status
        .init_container_statuses
        .iter()
        .chain(&seen.status.container_statuses)
    {
        let current = container.state.as_ref();
        let waiting = current.and_then(|state| state.waiting.as_ref());
        let ended = current.and_then(|state| state.terminated.as_ref());
        let last = container
            .last_state
            .as_ref()
            .and_then(|state| state.terminated.as_ref());
        for reason in [waiting, ended, last].into_iter().flatten() {
            reasons.extend([reason.reason.as_str(), reason.message.as_str()]);
        }
    }
    for condition in &seen.status.conditions {
        if condition.kind == "PodScheduled" && condition.status != "True" {
            reasons.extend([condition.reason.as_str(), condition.message.as_str()]);
        }
    }
    reasons.retain(|reason| !reason.is_empty() && *reason != "Completed");
    reasons.dedup();
    let ready = if phase == "Running" {
        ", not ready"
    } else {
        ""
    };
    let colon = if reasons.is_empty() { "" } else { ": " };
    text::sentence(&format!("{phase}{ready}{colon}{}", reasons.join(", ")))
}

/// Whether the pod is one that the workload's controller keeps running: neither a deployer or hook
/// of a `DeploymentConfig` nor the pod of a Job, whose labels may match the selector too.
pub(crate) fn belongs(seen: &Seen, workload: &Workload) -> bool {
    let labels = seen.metadata.labels.as_ref();
    if labels.is_some_and(|labels| labels.contains_key("openshift.io/deployer-pod-for.name")) {
        return false;
    }
    let expected = match workload.kind {
        WorkloadKind::Deployment => "ReplicaSet",
        WorkloadKind::DeploymentConfig => "ReplicationController",
        WorkloadKind::StatefulSet => "StatefulSet",
    };
    seen.metadata
        .owner_references
        .iter()
        .filter(|owner| owner.controller)
        .all(|owner| owner.kind == expected)
}

/// The part of a pod that matters here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Seen {
    pub(crate) metadata: Metadata,
    spec: Spec,
    status: Status,
}

impl Seen {
    pub(crate) fn is_running(&self) -> bool {
        self.status.phase == "Running" && self.metadata.deletion_timestamp.is_none()
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Metadata {
    pub(crate) name: String,
    pub(crate) uid: String,
    deletion_timestamp: Option<String>,
    labels: Option<std::collections::BTreeMap<String, String>>,
    annotations: Option<std::collections::BTreeMap<String, String>>,
    owner_references: Vec<Owner>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Owner {
    kind: String,
    controller: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Spec {
    containers: Vec<Named>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Named {
    name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    phase: String,
    conditions: Vec<Condition>,
    init_container_statuses: Vec<ContainerStatus>,
    container_statuses: Vec<ContainerStatus>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    reason: String,
    message: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ContainerStatus {
    state: Option<ContainerState>,
    last_state: Option<ContainerState>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ContainerState {
    waiting: Option<Reason>,
    terminated: Option<Reason>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Reason {
    reason: String,
    message: String,
}

#[cfg(test)]
mod tests {
    use cofferdam_policy::name::ObjectName;
    use serde_json::{Value, json};

    use super::*;

    fn workload(kind: WorkloadKind) -> Workload {
        Workload {
            kind,
            name: ObjectName::parse("backend-redis").expect("a name"),
        }
    }

    fn check(status: Value, deleted: bool, ready: bool, state: &str) {
        let mut pod = json!({ "metadata": { "name": "p", "uid": "u" }, "status": status });
        if deleted && let Some(metadata) = pod.get_mut("metadata") {
            *metadata = json!({ "name": "p", "deletionTimestamp": "2026-11-22T09:00:00Z" });
        }
        let seen: Seen = serde_json::from_value(pod).expect("a pod");
        let namespace = Namespace::parse("n").expect("a name");
        let pod = Pod::read(seen, &namespace, &workload(WorkloadKind::Deployment));
        assert_eq!((pod.is_ready(), pod.state()), (ready, state));
        let runs = state.starts_with("Running") && !deleted;
        assert_eq!(pod.is_running(), runs, "{state}");
    }

    #[test]
    fn a_pod_is_ready_when_it_runs_and_says_so_and_stays() {
        let ready =
            json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] });
        check(ready.clone(), false, true, "Running, ready");
        check(ready, true, false, "Running, terminating");
        check(
            json!({ "phase": "Running" }),
            false,
            false,
            "Running, not ready",
        );
        check(json!({}), false, false, "Unknown");
    }

    #[test]
    fn of_several_pods_none_is_the_sole_one_that_runs() {
        let check = |phases: &[&str], expected: Option<&str>| {
            let pods = phases.iter().enumerate().map(|(number, phase)| {
                let mut seen = json!({ "metadata": { "name": format!("p{number}"), "uid": "u" }, "status": { "phase": phase.trim_start_matches("leaving ") } });
                if phase.starts_with("leaving")
                    && let Some(metadata) = seen.get_mut("metadata")
                {
                    *metadata = json!({ "name": "leaving", "deletionTimestamp": "2026-11-22T09:00:00Z" });
                }
                let seen: Seen = serde_json::from_value(seen).expect("a pod");
                let namespace = Namespace::parse("n").expect("a name");
                Pod::read(seen, &namespace, &workload(WorkloadKind::Deployment))
            });
            let found = sole_running(pods.collect());
            assert_eq!(found.as_ref().map(Pod::name), expected, "{phases:?}");
        };
        check(&[], None);
        check(&["Running"], Some("p0"));
        check(&["leaving Running", "Running"], Some("p1"));
        check(&["Running", "leaving Running"], Some("p0"));
        check(&["Running", "Running"], None);
        check(&["Running", "Pending"], None);
        check(&["Pending"], None);
        check(&["leaving Running"], None);
    }

    #[test]
    fn the_state_says_what_blocks() {
        check(
            json!({ "phase": "Running", "containerStatuses": [{ "state": { "waiting": { "reason": "CrashLoopBackOff", "message": "back-off 10s\u{1b}[2J" } }, "lastState": { "terminated": { "reason": "OOMKilled" } } }] }),
            false,
            false,
            "Running, not ready: CrashLoopBackOff, back-off 10s\\u{1b}[2J, OOMKilled",
        );
        check(
            json!({ "phase": "Pending", "conditions": [{ "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes" }] }),
            false,
            false,
            "Pending: Unschedulable, 0/3 nodes",
        );
    }

    #[test]
    fn hooks_deployers_and_jobs_are_no_pods_of_the_workload() {
        let check = |kind, metadata: Value, expected| {
            let seen: Seen =
                serde_json::from_value(json!({ "metadata": metadata })).expect("a pod");
            assert_eq!(belongs(&seen, &workload(kind)), expected);
        };
        let owner =
            |kind: &str| json!({ "ownerReferences": [{ "kind": kind, "controller": true }] });
        check(WorkloadKind::Deployment, owner("ReplicaSet"), true);
        check(WorkloadKind::Deployment, owner("Job"), false);
        check(
            WorkloadKind::DeploymentConfig,
            owner("ReplicationController"),
            true,
        );
        check(WorkloadKind::DeploymentConfig, owner("ReplicaSet"), false);
        check(WorkloadKind::StatefulSet, json!({}), true);
        let labels =
            json!({ "labels": { "openshift.io/deployer-pod-for.name": "backend-redis-1" } });
        check(WorkloadKind::DeploymentConfig, labels, false);
    }
}
