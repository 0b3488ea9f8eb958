//! A workload that stands still for the time of a backup.
//!
//! A backup waits until its job queues are empty, as far as that goes, scales it to 0 by a lease and
//! notes how many jobs were left. The host holds on to the lease until the last data set of the
//! backup has ended. A restore changes nothing: it says what became of the jobs.

mod queues;
mod record;

use cofferdam_guest_sdk::{Context, DataSet, Error, Host, Result, Target, export};

use crate::queues::{Depth, Queues};
use crate::record::Record;

/// The data set: one workload.
#[derive(Debug)]
pub struct Quiesce;

export!(Quiesce);

impl DataSet for Quiesce {
    fn backup(host: &dyn Host) -> Result<()> {
        let target = host.target("workload")?;
        let (kind, name) = (target.kind(), target.name());
        let replicas = target.replicas()?;
        let queues = Queues::bound(host)?;
        if let (Some(queues), true) = (&queues, replicas > 0) {
            drain(host, queues, &name)?;
        }
        let lease = target
            .scale_to(0)
            .context(format!("failed to scale `{name}` to 0"))?;
        target
            .wait_rollout(host.duration("stop-deadline")?)
            .context(format!("`{name}` did not stop"))?;
        let depth = queues.as_ref().map(Queues::depth).transpose()?;
        check_stopped(&*target)?;
        if let Some(depth) = &depth {
            tell_left(host, depth, &name)?;
        }
        let record = Record {
            kind,
            name,
            replicas,
            depth,
        };
        record.keep(host)?;
        host.info(&format!(
            "`{}` stands still until the backup has ended, and then has {replicas} replicas again",
            record.name
        ));
        lease.leave_to_host();
        Ok(())
    }

    fn restore(host: &dyn Host) -> Result<()> {
        let record = Record::read(host)?;
        let name = &record.name;
        match &record.depth {
            Some(depth) if depth.jobs() + depth.later() > 0 => host.warn(&format!(
                "when `{name}` was stopped for the backup it had {}: where their Redis is restored they are done again, also those that were done since; where it is not, they are lost",
                depth.words()
            )),
            Some(_) => host.info(&format!(
                "when `{name}` was stopped for the backup its queues were empty: no job of before is lost or done twice"
            )),
            None => host.info(&format!(
                "`{name}` was stopped for the backup; no job queues of it were looked at"
            )),
        }
        Ok(())
    }

    fn verify(host: &dyn Host) -> Result<()> {
        let record = Record::read(host)?;
        let queued = record.depth.as_ref().map_or_else(
            || "no queues were looked at".to_owned(),
            |depth| format!("{} left", depth.words()),
        );
        host.info(&format!(
            "{} `{}` was stopped with {} replicas; {queued}",
            record.kind, record.name, record.replicas
        ));
        Ok(())
    }
}

/// Waits until nothing is queued, or the deadline is over.
fn drain(host: &dyn Host, queues: &Queues, name: &str) -> Result<()> {
    let deadline = host.duration("drain-deadline")?;
    let Some(left) = queues.drained(host, deadline)? else {
        host.info(&format!("the queues of `{name}` are empty"));
        return Ok(());
    };
    let said = format!(
        "the queues of `{name}` did not drain within {} s: it has {}",
        deadline.as_secs(),
        left.words()
    );
    if is_required(host)? {
        return Err(Error::failed(
            "not-drained",
            format!("{said}; it was not stopped, since parameter `drain` is `required`"),
        ));
    }
    host.warn(&said);
    Ok(())
}

/// What is still queued now that nobody works on it: also what workers give back when they are told
/// to end in the middle of a job.
fn tell_left(host: &dyn Host, depth: &Depth, name: &str) -> Result<()> {
    if depth.jobs() == 0 {
        return Ok(());
    }
    let said = format!("`{name}` is stopped and has {}", depth.words());
    if is_required(host)? {
        return Err(Error::failed(
            "not-drained",
            format!("{said}, and parameter `drain` is `required`"),
        ));
    }
    host.warn(&said);
    Ok(())
}

fn is_required(host: &dyn Host) -> Result<bool> {
    Ok(host.required("drain")? == "required")
}

/// An operator that sets the number again would let it work on unseen.
fn check_stopped(target: &dyn Target) -> Result<()> {
    let pods = target.pods()?;
    let Some(pod) = pods.first() else {
        return Ok(());
    };
    Err(Error::failed(
        "not-stopped",
        format!(
            "`{}` was scaled to 0 and pod `{}` runs all the same: somebody scaled it back; where an operator does, let `quiesce` stop that first",
            target.name(),
            pod.name()
        ),
    ))
}

#[cfg(test)]
mod tests;
