//! The operator, held back by a lease on its replicas.
//!
//! It must see all resources or none: with half of them it would build half an application. The
//! lease is put back by the host too, whatever becomes of this module.

use cofferdam_guest_sdk::{Context, Host, Lease, Result, Target};

/// An operator that is scaled to 0.
pub(crate) struct HeldBack {
    target: Box<dyn Target>,
    lease: Lease,
}

impl HeldBack {
    /// Scales the operator to 0 and waits until it is gone; `None` where the site binds none.
    pub(crate) fn by_lease(host: &dyn Host) -> Result<Option<Self>> {
        let Some(target) = host.target_if_bound("operator")? else {
            host.info("no operator is bound: the resources are loaded beside it, if there is one");
            return Ok(None);
        };
        let name = target.name();
        host.step("hold-operator", || {
            let lease = target
                .scale_to(0)
                .context(format!("failed to scale operator `{name}` to 0"))?;
            target
                .wait_rollout(host.duration("rollout-deadline")?)
                .context(format!("operator `{name}` did not stop"))?;
            Ok(Some(Self { target, lease }))
        })
    }

    /// Lets the operator come back and waits for it.
    pub(crate) fn release(self, host: &dyn Host) -> Result<()> {
        let name = self.target.name();
        host.step("release-operator", || {
            self.lease
                .release()
                .context(format!("failed to bring operator `{name}` back"))?;
            self.target
                .wait_rollout(host.duration("rollout-deadline")?)
                .context(format!("operator `{name}` did not come back"))
        })
    }
}
