//! Workloads whose number of replicas was put back: are their pods there again?
//!
//! Waits for a bounded time and says how that went. Must never fail what it waits for, nor change
//! anything.

use std::time::Duration;

use cofferdam_cluster::{Cluster, Progress};
use cofferdam_policy::Policy;
use cofferdam_policy::name::{ContainerName, DataSetName, RoleName};
use cofferdam_policy::request::{
    Change, Principal, Request, Roll, RolloutOperation, Scope, Target,
};
use tokio_util::sync::CancellationToken;

use crate::audit::{Audit, Entry};

/// What is needed to look at workloads on the host's own account.
pub(crate) struct ComeBack<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) policy: &'a Policy,
    /// Of the run that waits.
    pub(crate) scope: &'a Scope,
    /// Where the decision is noted; recovery has none yet.
    pub(crate) audit: Option<&'a Audit>,
    /// Nobody has to wait for pods who wants the run to end.
    pub(crate) cancel: &'a CancellationToken,
}

impl ComeBack<'_> {
    /// Waits until the workload of a change that was put back has its pods. A sentence says why they
    /// are not there; there is none when the wait was cancelled, nor for a change of an object.
    pub(crate) async fn wait(
        &self,
        data_set: &DataSetName,
        change: &Change,
        limit: Duration,
        progress: &mut (dyn FnMut(&Progress) + Send),
    ) -> Option<String> {
        let Change::Scale {
            namespace,
            workload,
            ..
        } = change
        else {
            return None;
        };
        let scope = Scope {
            principal: Principal::Host,
            namespace: namespace.clone(),
            ..self.scope.clone()
        };
        let target = Target {
            role: RoleName::parse("put-back").expect("a literal that is a name"),
            namespace: namespace.clone(),
            workload: workload.clone(),
            // All of its containers.
            container: ContainerName::parse("all").expect("a literal that is a name"),
        };
        let request = Roll {
            target,
            operation: RolloutOperation::Wait,
        };
        let late =
            |error: String| Some(format!("{workload} is put back and not there yet: {error}"));
        let capability = cofferdam_policy::capability(request.any()).to_owned();
        let subject = cofferdam_policy::subject(request.any());
        // A site may forbid the look: then nobody knows, and nobody is to blame.
        let permit = self.policy.permit(&scope, request).ok()?;
        if let Some(audit) = self.audit {
            let rules = permit.decision().rules.clone();
            let entry = Entry::Permitted {
                capability,
                subject,
                rules,
            };
            if let Err(error) = audit.write("host", Some(data_set), entry) {
                return Some(format!(
                    "{workload} is put back; whether it is there again was not looked at: {error}"
                ));
            }
        }
        tokio::select! {
            waited = self.cluster.wait_rollout(&permit, limit, progress) => {
                late(waited.err()?.to_string())
            }
            () = self.cancel.cancelled() => None,
        }
    }
}
