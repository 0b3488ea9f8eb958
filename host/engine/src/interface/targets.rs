//! `targets`: the workloads that the site bound to the module's roles.

use cofferdam_policy::name::RoleName;
use wasmtime::component::Resource;

use super::shown;
use crate::bindings::cofferdam::module::targets;
use crate::fault::Answer;
use crate::state::{CallState, PodEntry, TargetEntry};

impl targets::Host for CallState {
    async fn get(&mut self, role: String) -> Answer<Resource<TargetEntry>> {
        let declared = RoleName::parse(&role)
            .ok()
            .filter(|role| self.binding.manifest().targets.contains_key(role));
        let Some(role) = declared else {
            let message = format!(
                "{} declares no target `{}`",
                self.manifest_name(),
                shown(&role)
            );
            return self.refuse(
                "resolve-target",
                &format!("target `{}`", shown(&role)),
                message,
            );
        };
        let view = self.host.target(&role).await;
        let view = self.answered(view)?;
        Ok(self.table.push(TargetEntry { role, view })?)
    }
}

impl targets::HostTarget for CallState {
    async fn kind(&mut self, target: Resource<TargetEntry>) -> wasmtime::Result<String> {
        Ok(self.table.get(&target)?.view.kind.clone())
    }

    async fn name(&mut self, target: Resource<TargetEntry>) -> wasmtime::Result<String> {
        Ok(self.table.get(&target)?.view.name.clone())
    }

    async fn namespace(&mut self, target: Resource<TargetEntry>) -> wasmtime::Result<String> {
        Ok(self.table.get(&target)?.view.namespace.clone())
    }

    async fn pod(&mut self, target: Resource<TargetEntry>) -> Answer<Resource<PodEntry>> {
        let role = self.role(&target)?;
        let id = self.host.ready_pod(&role).await;
        let id = self.answered(id)?;
        Ok(self.table.push(PodEntry { id })?)
    }

    async fn pods(&mut self, target: Resource<TargetEntry>) -> Answer<Vec<Resource<PodEntry>>> {
        let role = self.role(&target)?;
        let ids = self.host.pods(&role).await;
        let mut pods = Vec::new();
        for id in self.answered(ids)? {
            pods.push(self.table.push(PodEntry { id })?);
        }
        Ok(pods)
    }

    async fn drop(&mut self, target: Resource<TargetEntry>) -> wasmtime::Result<()> {
        self.table.delete(target)?;
        Ok(())
    }
}

impl targets::HostPod for CallState {
    async fn name(&mut self, pod: Resource<PodEntry>) -> wasmtime::Result<String> {
        Ok(self.table.get(&pod)?.id.name.clone())
    }

    async fn drop(&mut self, pod: Resource<PodEntry>) -> wasmtime::Result<()> {
        self.table.delete(pod)?;
        Ok(())
    }
}
