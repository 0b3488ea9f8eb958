//! A workload that has no data of its own and works with those of others.
//!
//! A backup notes how many replicas it has; a restore sets that number again, restarts the pods so
//! that none works on with what it read before, and waits until they are ready. It never stops a
//! workload: a noted 0 may be that of a stopped application.

mod record;

use cofferdam_guest_sdk::{Context, DataSet, Error, Host, Result, Target, export};

use crate::record::Record;

/// The data set: one workload.
#[derive(Debug)]
pub struct Rollout;

export!(Rollout);

impl DataSet for Rollout {
    fn backup(host: &dyn Host) -> Result<()> {
        let target = host.target("workload")?;
        let record = Record {
            kind: target.kind(),
            name: target.name(),
            replicas: target.replicas()?,
        };
        if record.replicas == 0 {
            host.warn(&format!(
                "`{}` is scaled to 0: a restore of this backup will not start or stop it",
                record.name
            ));
        }
        record.keep(host)?;
        host.info(&format!(
            "`{}` has {} replicas",
            record.name, record.replicas
        ));
        Ok(())
    }

    fn restore(host: &dyn Host) -> Result<()> {
        let record = Record::read(host)?;
        let target = host.target("workload")?;
        let name = target.name();
        if (record.kind.as_str(), record.name.as_str()) != (&target.kind(), &name) {
            host.warn(&format!(
                "the backup was made of {} `{}`, and this is {} `{name}`",
                record.kind,
                record.name,
                target.kind()
            ));
        }
        let replicas = host.step("replicas", || set_replicas(host, &*target, &record))?;
        if replicas == 0 {
            host.warn(&format!("`{name}` is scaled to 0: nothing to restart"));
            return Ok(());
        }
        host.step("restart", || {
            target
                .restart()
                .context(format!("failed to restart `{name}`"))
        })?;
        host.step("wait", || {
            target
                .wait_rollout(host.duration("rollout-deadline")?)
                .context(format!("`{name}` did not come back"))
        })?;
        check(&*target, replicas)?;
        host.info(&format!("`{name}` is back with {replicas} replicas"));
        Ok(())
    }

    fn verify(host: &dyn Host) -> Result<()> {
        let record = Record::read(host)?;
        host.info(&format!(
            "{} `{}` with {} replicas",
            record.kind, record.name, record.replicas
        ));
        Ok(())
    }
}

/// Sets the number that the backup noted, where the site wants it, and says which one holds now.
fn set_replicas(host: &dyn Host, target: &dyn Target, record: &Record) -> Result<u32> {
    let (name, found) = (target.name(), target.replicas()?);
    let as_saved = host.required("replicas")? == "as-saved";
    if !as_saved || found == record.replicas {
        return Ok(found);
    }
    if record.replicas == 0 {
        host.warn(&format!(
            "`{name}` was scaled to 0 when it was backed up and has {found} replicas now: it is not stopped"
        ));
        return Ok(found);
    }
    target.set_replicas(record.replicas).context(format!(
        "failed to set `{name}` from {found} to {} replicas",
        record.replicas
    ))?;
    host.info(&format!(
        "`{name}` had {found} replicas and is set to {}, as it was backed up",
        record.replicas
    ));
    Ok(record.replicas)
}

/// Somebody who sets the number again is a matter for a person.
fn check(target: &dyn Target, wanted: u32) -> Result<()> {
    let found = target.replicas()?;
    if found == wanted {
        return Ok(());
    }
    Err(Error::failed(
        "not-proven",
        format!(
            "`{}` was to have {wanted} replicas and somebody set it to {found} meanwhile: where an operator or an autoscaler owns the number, set parameter `replicas` to `as-found`",
            target.name()
        ),
    ))
}

#[cfg(test)]
mod tests;
