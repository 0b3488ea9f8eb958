//! Workloads: restarted, awaited, counted, and set to a number of replicas for good.
//!
//! Must never set for good what a lease of this run puts back, nor tell its number for the site's.

use std::time::Duration;

use cofferdam_engine::host::HostError;
use cofferdam_policy::name::RoleName;
use cofferdam_policy::request::{Roll, RolloutOperation, Target};

use super::{Granted, Pending, Session, told_lease};
use crate::audit::Ending;
use crate::event::Event;

impl Session {
    pub(super) async fn restart_workload(&self, role: &RoleName) -> Result<(), HostError> {
        let target = self.bound(role)?;
        let request = Roll {
            target: target.clone(),
            operation: RolloutOperation::Restart,
        };
        let Granted { permit, record } = self.permit(request)?;
        self.check_guards(&target, &record)?;
        record.close(self.shared.cluster.restart(&permit).await)
    }

    pub(super) async fn await_rollout(
        &self,
        role: &RoleName,
        timeout: Duration,
    ) -> Result<(), HostError> {
        let target = self.bound(role)?;
        let step = format!("rollout of {}", target.workload);
        let Granted { permit, record } = self.permit(Roll {
            target,
            operation: RolloutOperation::Wait,
        })?;
        let mut told = |progress: &cofferdam_cluster::Progress| {
            self.event(&Event::Progress {
                data_set: self.data_set.name.clone(),
                step: step.clone(),
                done: progress.available.into(),
                total: Some(progress.desired.into()),
                unit: "replicas".into(),
            });
        };
        let waited = self
            .shared
            .cluster
            .wait_rollout(&permit, timeout, &mut told);
        let result = tokio::select! {
            result = waited => result,
            () = self.shared.cancel.cancelled() => return Err(HostError::Cancelled),
        };
        record.close(result)
    }

    pub(super) async fn wanted_replicas(&self, role: &RoleName) -> Result<u32, HostError> {
        let request = Roll {
            target: self.bound(role)?,
            operation: RolloutOperation::Replicas,
        };
        let Granted { permit, record } = self.permit(request)?;
        let target = &permit.request().target;
        let before = self.shared.leases.replicas_before(target);
        let read = self.shared.cluster.replicas(&permit).await;
        let wanted = record.close(read)?.desired;
        // Asked on both sides of the read: a lease may begin or end while it is under way.
        let after = self.shared.leases.replicas_before(target);
        Ok(before.or(after).unwrap_or(wanted))
    }

    pub(super) async fn set_wanted_replicas(
        &self,
        role: &RoleName,
        replicas: u32,
    ) -> Result<(), HostError> {
        let target = self.bound(role)?;
        let workload = target.workload.to_string();
        let Granted { permit, record } = self.permit(Roll {
            target: target.clone(),
            operation: RolloutOperation::SetReplicas { replicas },
        })?;
        self.check_guards(&target, &record)?;
        // What a lease puts back is not to be set for good meanwhile.
        if self.shared.leases.holds(&workload) {
            let message = format!("a lease on {workload} is held in this run");
            record.end(Ending {
                error: Some(message.clone()),
                ..Ending::default()
            });
            return Err(HostError::Conflict(message));
        }
        record.close(self.shared.cluster.set_replicas(&permit).await)
    }

    /// Lets the pods of a workload stay for the rest of the run.
    pub(super) fn guard_pods(&self, role: &RoleName, reason: &str) -> Result<(), HostError> {
        let target = self.bound(role)?;
        let request = Roll {
            target: target.clone(),
            operation: RolloutOperation::Guard,
        };
        let Granted { permit: _, record } = self.permit(request)?;
        let guarded = self
            .shared
            .leases
            .guard(&self.data_set.name, &target, reason);
        record.end(Ending {
            error: guarded.as_ref().err().map(ToString::to_string),
            ..Ending::default()
        });
        guarded.map_err(told_lease)
    }

    /// What has the pods of a workload stay is not to be undone by another data set.
    fn check_guards(&self, target: &Target, record: &Pending) -> Result<(), HostError> {
        self.shared.leases.check_guards(target).map_err(|refusal| {
            record.end(Ending {
                error: Some(refusal.to_string()),
                ..Ending::default()
            });
            told_lease(refusal)
        })
    }
}
