//! Rolling a workload and waiting until that is done.
//!
//! Must never take an earlier rollout for the one that is waited for, and never start a second one
//! because an answer was lost.

use std::time::Duration;

use cofferdam_policy::Permit;
use cofferdam_policy::request::{Roll, RolloutOperation, Target, WorkloadKind};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::call::{Call, Repeat};
use crate::cluster::Cluster;
use crate::error::Error;
use crate::judge::{Progress, judge};
use crate::objects::MANAGER;
use crate::pod::{Pod, listed};
use crate::workload::{path_of, wanted};

/// Between the first two looks; twice as long each time, up to [`LOOK`]. A small pod is up in no time.
const FIRST_LOOK: Duration = Duration::from_millis(40);
/// Between two looks at most. Most pods take a second or more.
const LOOK: Duration = Duration::from_millis(320);
/// How often a number that somebody else keeps changing is tried.
const CONFLICTS: usize = 8;

/// How many pods a workload has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replicas {
    /// Wanted.
    pub desired: u32,
    /// Ready, by the last word of its controller.
    pub ready: u32,
}

impl Cluster {
    /// Replaces the pods of a workload, as `kubectl rollout restart` and `oc rollout latest` do.
    /// Waiting is another call.
    ///
    /// # Errors
    /// [`Error::NotRollable`] for a paused workload and one that replaces pods only by hand.
    pub async fn restart(&self, permit: &Permit<Roll>) -> Result<(), Error> {
        let target = allowed(permit, RolloutOperation::Restart)?;
        let object = self.workload(target).await?;
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        let not_rollable = |what: &str| Error::NotRollable {
            workload: target.workload.to_string(),
            what: what.to_owned(),
        };
        if object.pointer("/spec/paused") == Some(&Value::Bool(true)) {
            return Err(not_rollable("it is paused"));
        }
        match target.workload.kind {
            WorkloadKind::DeploymentConfig => return self.instantiate(target, &object).await,
            WorkloadKind::StatefulSet if text("/spec/updateStrategy/type") == Some("OnDelete") => {
                return Err(not_rollable("its strategy is `OnDelete`"));
            }
            WorkloadKind::Deployment | WorkloadKind::StatefulSet => {}
        }
        let path = path_of(&target.namespace, &target.workload);
        let attempt = format!("restart `{}` in `{}`", target.workload, target.namespace);
        // kubectl's own annotation, so that people and tools know what happened.
        let body = json!({ "spec": { "template": { "metadata": { "annotations": {
            "kubectl.kubernetes.io/restartedAt": Timestamp::now().to_string() } } } } });
        let call = Call::patch(path, attempt, "application/merge-patch+json", &body);
        self.caller.answer::<serde::de::IgnoredAny>(call).await?;
        Ok(())
    }

    async fn instantiate(&self, target: &Target, before: &Value) -> Result<(), Error> {
        let path = path_of(&target.namespace, &target.workload);
        let attempt = format!("restart `{}` in `{}`", target.workload, target.namespace);
        let body = json!({
            "kind": "DeploymentRequest", "apiVersion": "apps.openshift.io/v1",
            "name": target.workload.name.as_str(), "latest": true, "force": true,
        });
        let call = Call::post(
            format!("{path}/instantiate"),
            attempt,
            &body,
            Repeat::Untouched,
        );
        let Err(error) = self.caller.answer::<serde::de::IgnoredAny>(call).await else {
            return Ok(());
        };
        if !error.retryable() {
            return Err(error);
        }
        // Whether it took effect shows in the number of the latest deployment.
        let version = |object: &Value| {
            object
                .pointer("/status/latestVersion")
                .and_then(Value::as_u64)
        };
        let after = self.workload(target).await?;
        if version(&after) > version(before) {
            Ok(())
        } else {
            Err(error)
        }
    }

    /// Waits until the newest specification of a workload is rolled out: seen by its controller, all
    /// pods updated, ready and available, and the old ones gone. `progress` is told of each change.
    ///
    /// # Errors
    /// [`Error::RolloutTimedOut`] with what is missing and what blocks each pod. That the API does
    /// not answer for a while is waited for too.
    pub async fn wait_rollout(
        &self,
        permit: &Permit<Roll>,
        timeout: Duration,
        progress: &mut (dyn FnMut(&Progress) + Send),
    ) -> Result<(), Error> {
        let target = allowed(permit, RolloutOperation::Wait)?;
        let deadline = Instant::now() + timeout;
        let mut pause = FIRST_LOOK;
        let mut last: Option<Progress> = None;
        loop {
            let (waiting_for, pods) = match self.look(target).await {
                Ok((seen, pods)) => {
                    if last.as_ref() != Some(&seen) {
                        progress(&seen);
                    }
                    if seen.is_done() {
                        return Ok(());
                    }
                    let waiting_for = seen.waiting_for.clone();
                    last = Some(seen);
                    (waiting_for, listed(&pods))
                }
                Err(error) if error.retryable() => {
                    (error.to_string(), "its pods are not known".into())
                }
                Err(error) => return Err(error),
            };
            if Instant::now() + pause > deadline {
                return Err(Error::RolloutTimedOut {
                    workload: target.workload.to_string(),
                    seconds: timeout.as_secs(),
                    waiting_for,
                    pods,
                });
            }
            sleep(pause).await;
            pause = LOOK.min(pause * 2);
        }
    }

    async fn look(&self, target: &Target) -> Result<(Progress, Vec<Pod>), Error> {
        let object = self.workload(target).await?;
        let pods = self.pods_of(target, &object).await?;
        Ok((judge(&target.workload, &object, &pods), pods))
    }

    /// Sets the wanted number of pods for good. Doing it again is no harm.
    ///
    /// # Errors
    /// [`Error::NoWorkload`] and the refusals of the API, a conflict among them where somebody else
    /// keeps changing the number.
    pub async fn set_replicas(&self, permit: &Permit<Roll>) -> Result<(), Error> {
        let RolloutOperation::SetReplicas { replicas } = permit.request().operation else {
            return Err(Error::WrongPermit {
                what: format!(
                    "it allows {:?} and not to set a number of replicas",
                    permit.request().operation
                ),
            });
        };
        let target = &permit.request().target;
        let place = format!("`{}` in `{}`", target.workload, target.namespace);
        let path = format!("{}/scale", path_of(&target.namespace, &target.workload));
        let mut conflicts = 0;
        loop {
            let call = Call::get(path.clone(), format!("read the scale of {place}"));
            let found: Option<Value> = self.caller.find(call).await?;
            let mut scale = found.ok_or_else(|| Error::NoWorkload {
                workload: target.workload.to_string(),
                namespace: target.namespace.to_string(),
            })?;
            if let Some(scale) = scale.as_object_mut() {
                scale.insert("spec".to_owned(), json!({ "replicas": replicas }));
            }
            let attempt = format!("scale {place} to {replicas} replicas");
            let path = format!("{path}?fieldManager={MANAGER}");
            let call = Call::put(path, attempt, &scale);
            match self.caller.answer::<serde::de::IgnoredAny>(call).await {
                Err(error) if error.is_conflict() && conflicts < CONFLICTS => conflicts += 1,
                result => return result.map(drop),
            }
        }
    }

    /// How many pods a workload wants and has.
    ///
    /// # Errors
    /// [`Error::NoWorkload`] and the refusals of the API.
    pub async fn replicas(&self, permit: &Permit<Roll>) -> Result<Replicas, Error> {
        let target = allowed(permit, RolloutOperation::Replicas)?;
        let object = self.workload(target).await?;
        let ready = object
            .pointer("/status/readyReplicas")
            .and_then(Value::as_u64);
        Ok(Replicas {
            desired: wanted(&object),
            ready: ready.map_or(0, |ready| u32::try_from(ready).unwrap_or(u32::MAX)),
        })
    }
}

fn allowed(permit: &Permit<Roll>, operation: RolloutOperation) -> Result<&Target, Error> {
    let request = permit.request();
    if request.operation == operation {
        return Ok(&request.target);
    }
    Err(Error::WrongPermit {
        what: format!("it allows {:?} and not {operation:?}", request.operation),
    })
}

#[cfg(test)]
mod tests;
