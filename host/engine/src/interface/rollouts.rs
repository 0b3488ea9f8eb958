//! `rollouts`: what may be done with the workloads of the targets.

use cofferdam_policy::name::RoleName;
use wasmtime::component::Resource;

use super::wait_time;
use crate::bindings::cofferdam::module::rollouts;
use crate::capability::rollout_action;
use crate::fault::{Answer, Fault};
use crate::limits;
use crate::manifest::RolloutVerb;
use crate::state::{CallState, TargetEntry};
use crate::text::clean;

impl rollouts::Host for CallState {
    async fn restart(&mut self, what: Resource<TargetEntry>) -> Answer<()> {
        let role = self.rollout(&what, RolloutVerb::Restart)?;
        let restarted = self.host.restart(&role).await;
        self.answered(restarted)
    }

    async fn wait(&mut self, what: Resource<TargetEntry>, timeout_ms: u64) -> Answer<()> {
        let role = self.rollout(&what, RolloutVerb::Wait)?;
        let timeout = wait_time(timeout_ms)?;
        let waited = self.host.wait_rollout(&role, timeout).await;
        self.answered(waited)
    }

    async fn replicas(&mut self, what: Resource<TargetEntry>) -> Answer<u32> {
        let role = self.rollout(&what, RolloutVerb::Replicas)?;
        let replicas = self.host.replicas(&role).await;
        self.answered(replicas)
    }

    async fn set_replicas(&mut self, what: Resource<TargetEntry>, replicas: u32) -> Answer<()> {
        let role = self.rollout(&what, RolloutVerb::SetReplicas)?;
        let set = self.host.set_replicas(&role, replicas).await;
        self.answered(set)
    }

    async fn guard(&mut self, what: Resource<TargetEntry>, reason: String) -> Answer<()> {
        let role = self.rollout(&what, RolloutVerb::Guard)?;
        let reason = clean(reason.trim(), limits::REASON_BYTES);
        if reason.is_empty() {
            return Err(Fault::invalid("a guard needs a reason"));
        }
        let guarded = self.host.guard(&role, &reason).await;
        self.answered(guarded)
    }
}

impl CallState {
    /// The role of a target that the manifest declares this verb for.
    pub(super) fn rollout(
        &mut self,
        target: &Resource<TargetEntry>,
        verb: RolloutVerb,
    ) -> Answer<RoleName> {
        let role = self.role(target)?;
        let declared = self.binding.manifest().rollouts.get(&role);
        if declared.is_some_and(|verbs| verbs.contains(&verb)) {
            return Ok(role);
        }
        let capability = rollout_action(verb);
        let message = format!(
            "{} does not declare {capability} for target `{role}`",
            self.manifest_name()
        );
        self.refuse(capability, &format!("target `{role}`"), message)
    }
}
