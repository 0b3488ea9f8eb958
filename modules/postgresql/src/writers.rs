//! Workloads that write to the database, scaled to 0 for the time of a restore.
//!
//! Each is a lease: the host puts it back whatever happens, also after a crash.

use cofferdam_guest_sdk::{Context, Host, Lease, Result};

/// The roles of the manifest that a site may bind, in the order in which they are stopped.
const ROLES: [&str; 3] = ["writer", "second-writer", "third-writer"];

/// The writers that stand still. Dropped, they are put back.
#[derive(Debug)]
#[must_use = "the writers come back as soon as this is dropped"]
pub(crate) struct Stopped(Vec<(String, Lease)>);

impl Stopped {
    /// Scales every bound writer to 0 and waits until it is.
    pub(crate) fn all(host: &dyn Host) -> Result<Self> {
        let mut stopped = Self(Vec::new());
        for role in ROLES {
            let Some(target) = host.target_if_bound(role)? else {
                continue;
            };
            let name = target.name();
            let lease = target
                .scale_to(0)
                .context(format!("failed to scale `{name}` to 0"))?;
            stopped.0.push((name.clone(), lease));
            target
                .wait_rollout(host.duration("rollout-deadline")?)
                .context(format!("`{name}` did not stop"))?;
            host.info(&format!(
                "`{name}` is scaled to 0 for the time of the restore"
            ));
        }
        Ok(stopped)
    }

    /// Puts all back, the last first, and says so.
    pub(crate) fn put_back(mut self, host: &dyn Host) -> Result<()> {
        while let Some((name, lease)) = self.0.pop() {
            lease.release().context(format!(
                "the data are restored, but `{name}` was not scaled back"
            ))?;
            host.info(&format!("`{name}` is scaled back"));
        }
        Ok(())
    }
}
