//! The pods of the workloads that the site bound.
//!
//! Must never take one of several pods: nobody would know whose data it has.

use std::sync::PoisonError;

use cofferdam_cluster::{Error, Pod, sole_running};
use cofferdam_engine::host::{Host, HostError, Level, PodId};
use cofferdam_policy::Permit;
use cofferdam_policy::name::RoleName;
use cofferdam_policy::request::{ResolveTarget, RunKind};

use super::{Granted, Session};

impl Session {
    pub(super) async fn find_pod(&self, role: &RoleName) -> Result<PodId, HostError> {
        let Granted { permit, record } = self.permit(ResolveTarget {
            target: self.bound(role)?,
        })?;
        let found = match self.shared.cluster.ready_pod(&permit).await {
            Err(error @ Error::NoReadyPod { .. }) if self.scope.run == RunKind::Restore => {
                self.sole_running_pod(&permit).await.ok_or(error)
            }
            found => found,
        };
        Ok(self.remember(role, record.close(found)?))
    }

    pub(super) async fn find_pods(&self, role: &RoleName) -> Result<Vec<PodId>, HostError> {
        let Granted { permit, record } = self.permit(ResolveTarget {
            target: self.bound(role)?,
        })?;
        let pods = record.close(self.shared.cluster.pods(&permit).await)?;
        let ready = pods.into_iter().filter(Pod::is_ready);
        Ok(ready.map(|pod| self.remember(role, pod)).collect())
    }

    pub(super) fn pod(&self, id: &PodId) -> Result<Pod, HostError> {
        let pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        pods.get(id).cloned().ok_or_else(|| {
            HostError::NotFound(format!(
                "pod `{}` was not looked up by this module",
                id.name
            ))
        })
    }

    /// A restore comes where things are broken: a database that was dropped fails its pod's readiness
    /// probe, and is restored through that very pod. One that runs is taken, if it is the only one.
    async fn sole_running_pod(&self, permit: &Permit<ResolveTarget>) -> Option<Pod> {
        let pods = self.shared.cluster.pods(permit).await.ok()?;
        let pod = sole_running(pods)?;
        let message = format!(
            "pod `{}` is {}: restoring all the same",
            pod.name(),
            pod.state()
        );
        self.log(Level::Warn, &message);
        Some(pod)
    }

    fn remember(&self, role: &RoleName, pod: Pod) -> PodId {
        let id = PodId {
            role: role.clone(),
            name: pod.name().to_owned(),
            uid: pod.uid().to_owned(),
        };
        self.pods
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id.clone(), pod);
        id
    }
}
