//! Is a rollout done? Decided from a workload's object and its pods.
//!
//! Pure. Must never take the status of an earlier generation for an answer, nor call a rollout done
//! while a pod of the old one still lives: two servers on one volume.

use cofferdam_policy::request::{Workload, WorkloadKind};
use serde_json::Value;

use crate::pod::Pod;
use crate::text;
use crate::workload::wanted;

/// How far a rollout has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Pods that are wanted.
    pub desired: u32,
    /// Pods of the newest specification.
    pub updated: u32,
    /// Pods that are ready.
    pub ready: u32,
    /// Pods that have been ready for long enough.
    pub available: u32,
    /// Pods that are being deleted.
    pub terminating: u32,
    /// Whether the controller has seen the newest specification; before that the numbers are old.
    pub observed: bool,
    /// What is missing, in words; empty when the rollout is done.
    pub waiting_for: String,
}

impl Progress {
    /// Whether nothing is missing.
    pub fn is_done(&self) -> bool {
        self.waiting_for.is_empty()
    }
}

/// Judges a workload and its pods, read after it.
pub(crate) fn judge(workload: &Workload, object: &Value, pods: &[Pod]) -> Progress {
    let whole = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64);
    let count = |pointer: &str| {
        whole(pointer)
            .and_then(|n| u32::try_from(n).ok())
            .unwrap_or(0)
    };
    let generation = whole("/metadata/generation").unwrap_or(0);
    let observed = whole("/status/observedGeneration").unwrap_or(0) >= generation;
    let desired = wanted(object);
    let ready = count("/status/readyReplicas");
    let available = match workload.kind {
        WorkloadKind::Deployment | WorkloadKind::DeploymentConfig => {
            count("/status/availableReplicas")
        }
        // Servers before 1.22 do not count them.
        WorkloadKind::StatefulSet => whole("/status/availableReplicas")
            .and_then(|n| u32::try_from(n).ok())
            .unwrap_or(ready),
    };
    let terminating = pods.iter().filter(|pod| pod.is_terminating()).count();
    let mut progress = Progress {
        desired,
        updated: count("/status/updatedReplicas"),
        ready,
        available,
        terminating: u32::try_from(terminating).unwrap_or(u32::MAX),
        observed,
        waiting_for: String::new(),
    };
    progress.waiting_for = missing(workload, object, pods, &progress).unwrap_or_default();
    progress
}

fn missing(
    workload: &Workload,
    object: &Value,
    pods: &[Pod],
    progress: &Progress,
) -> Option<String> {
    let Progress {
        desired,
        updated,
        ready,
        available,
        terminating,
        observed,
        ..
    } = *progress;
    if !observed {
        return Some("the controller has not seen the newest specification".into());
    }
    let total = object
        .pointer("/status/replicas")
        .and_then(Value::as_u64)
        .unwrap_or(0);
    let why = stuck(object)
        .map(|why| format!(": {why}"))
        .unwrap_or_default();
    if updated < desired {
        return Some(format!("{updated} of {desired} pods are updated{why}"));
    }
    if total > u64::from(updated) {
        let old = total - u64::from(updated);
        return Some(format!("{old} pods of the old rollout are left{why}"));
    }
    if total > u64::from(desired) {
        return Some(format!("{total} pods are there and {desired} are wanted"));
    }
    if ready < desired {
        return Some(format!("{ready} of {desired} pods are ready{why}"));
    }
    if available < desired {
        return Some(format!("{available} of {desired} pods are available{why}"));
    }
    if workload.kind == WorkloadKind::StatefulSet {
        let revision = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        let update = revision("/status/updateRevision");
        if desired > 0 && update.is_some() && revision("/status/currentRevision") != update {
            return Some("the new revision is not the current one yet".into());
        }
    }
    if terminating > 0 {
        return Some(format!("{terminating} old pods have not ended"));
    }
    let standing = pods.iter().filter(|pod| pod.is_ready()).count() as u64;
    if standing < u64::from(desired) {
        return Some(format!("{standing} of {desired} pods are ready{why}"));
    }
    if workload.kind == WorkloadKind::DeploymentConfig {
        return old_deployment(workload, object, pods);
    }
    None
}

/// The status of a DeploymentConfig counts before its controller has begun the newest deployment;
/// each pod says of which one it is.
fn old_deployment(workload: &Workload, object: &Value, pods: &[Pod]) -> Option<String> {
    let latest = object
        .pointer("/status/latestVersion")
        .and_then(Value::as_u64)?;
    let newest = format!("{}-{latest}", workload.name);
    let numbered = |name: &&str| {
        let number = name
            .strip_prefix(workload.name.as_str())
            .and_then(|rest| rest.strip_prefix('-'));
        number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let mut names = pods.iter().filter_map(Pod::deployment).filter(numbered);
    let old = names.find(|name| *name != newest)?;
    let old = text::sentence(old);
    Some(format!(
        "a pod is still of deployment `{old}` and not of `{newest}`"
    ))
}

/// What the controller itself complains about.
fn stuck(object: &Value) -> Option<String> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    let text = |condition: &Value, key: &str| {
        condition
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let bad = conditions.iter().find(|condition| {
        let (kind, status) = (text(condition, "type"), text(condition, "status"));
        (kind == "Progressing" && status == "False")
            || (kind == "ReplicaFailure" && status == "True")
    })?;
    Some(text::sentence(&format!(
        "{}: {}",
        text(bad, "reason"),
        text(bad, "message")
    )))
}

#[cfg(test)]
mod tests {
    use cofferdam_policy::name::{Namespace, ObjectName};
    use serde_json::json;

    use super::*;

    fn pod(ready: bool, terminating: bool, deployment: Option<&str>) -> Pod {
        let mut metadata = json!({ "name": "p" });
        if terminating {
            metadata = json!({ "name": "p", "deletionTimestamp": "t" });
        }
        if let Some(name) = deployment {
            metadata =
                json!({ "name": "p", "annotations": { "openshift.io/deployment.name": name } });
        }
        let status = if ready { "True" } else { "False" };
        let seen = json!({ "metadata": metadata, "status": {
            "phase": "Running", "conditions": [{ "type": "Ready", "status": status }] } });
        let seen = serde_json::from_value(seen).expect("a pod");
        let workload = workload(WorkloadKind::Deployment);
        Pod::read(seen, &Namespace::parse("n").expect("a name"), &workload)
    }

    fn workload(kind: WorkloadKind) -> Workload {
        let name = ObjectName::parse("backend-redis").expect("a name");
        Workload { kind, name }
    }

    fn check(kind: WorkloadKind, object: Value, pods: &[Pod], expected: &str) {
        let progress = judge(&workload(kind), &object, pods);
        assert_eq!(progress.waiting_for, expected, "{object}");
    }

    fn deployment(status: Value) -> Value {
        json!({ "metadata": { "generation": 2 }, "spec": { "replicas": 1 }, "status": status })
    }

    #[test]
    fn each_state_of_a_recorded_restart_is_judged_rightly() {
        let kind = WorkloadKind::Deployment;
        let old = [pod(true, false, None)];
        // What a watch on a real server saw during a restart with `Recreate`, in this order.
        check(
            kind,
            deployment(
                json!({ "observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1 }),
            ),
            &old,
            "the controller has not seen the newest specification",
        );
        check(
            kind,
            deployment(
                json!({ "observedGeneration": 2, "replicas": 1, "readyReplicas": 1, "availableReplicas": 1 }),
            ),
            &old,
            "0 of 1 pods are updated",
        );
        check(
            kind,
            deployment(json!({ "observedGeneration": 2, "replicas": 1, "updatedReplicas": 1 })),
            &[pod(false, false, None)],
            "0 of 1 pods are ready",
        );
        let done = json!({ "observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1 });
        check(
            kind,
            deployment(done.clone()),
            &[pod(true, false, None)],
            "",
        );
        let both = [pod(true, false, None), pod(false, true, None)];
        check(kind, deployment(done), &both, "1 old pods have not ended");
    }

    #[test]
    fn an_old_pod_beside_the_new_one_is_not_done() {
        let status = json!({ "observedGeneration": 2, "replicas": 2, "updatedReplicas": 1, "readyReplicas": 2, "availableReplicas": 2 });
        check(
            WorkloadKind::Deployment,
            deployment(status),
            &[],
            "1 pods of the old rollout are left",
        );
    }

    #[test]
    fn a_stuck_rollout_says_why() {
        let status = json!({ "observedGeneration": 2, "conditions": [
            { "type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "timed out" }] });
        check(
            WorkloadKind::Deployment,
            deployment(status),
            &[],
            "0 of 1 pods are updated: ProgressDeadlineExceeded: timed out",
        );
    }

    #[test]
    fn a_deployment_config_is_done_when_its_pods_are_of_the_latest_deployment() {
        let object = json!({ "metadata": { "generation": 3 }, "spec": { "replicas": 1 }, "status": {
            "observedGeneration": 3, "latestVersion": 2, "replicas": 1, "updatedReplicas": 1,
            "readyReplicas": 1, "availableReplicas": 1 } });
        let kind = WorkloadKind::DeploymentConfig;
        check(
            kind,
            object.clone(),
            &[pod(true, false, Some("backend-redis-1"))],
            "a pod is still of deployment `backend-redis-1` and not of `backend-redis-2`",
        );
        check(
            kind,
            object,
            &[pod(true, false, Some("backend-redis-2"))],
            "",
        );
    }

    #[test]
    fn none_wanted_is_done_when_none_is_left() {
        let object = json!({ "metadata": { "generation": 2 }, "spec": { "replicas": 0 }, "status": { "observedGeneration": 2 } });
        check(WorkloadKind::Deployment, object.clone(), &[], "");
        check(
            WorkloadKind::Deployment,
            object,
            &[pod(false, true, None)],
            "1 old pods have not ended",
        );
    }

    #[test]
    fn a_stateful_set_is_done_when_the_new_revision_is_current() {
        let object = |current: &str| {
            json!({ "metadata": { "generation": 2 }, "spec": { "replicas": 1 }, "status": {
            "observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1,
            "currentRevision": current, "updateRevision": "b" } })
        };
        let pods = [pod(true, false, None)];
        check(
            WorkloadKind::StatefulSet,
            object("a"),
            &pods,
            "the new revision is not the current one yet",
        );
        check(WorkloadKind::StatefulSet, object("b"), &pods, "");
    }
}
