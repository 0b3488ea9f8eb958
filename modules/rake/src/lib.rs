//! A rake task of 3scale's system, as the last step of a restore.
//!
//! There are no data of its own: a backup notes which task the restore will run, a restore runs it
//! until it ends with 0. The tasks are the words of the manifest's enum, all of which may be run
//! again; a command whose end is not known is run again only when its pod is gone.

mod task;

use cofferdam_guest_sdk::{Context, DataSet, Error, Evidence, Host, Result, export};

use crate::task::Task;

/// The artifact of this module.
const ARTIFACT: &str = "task.txt";

/// The data set: one task.
#[derive(Debug)]
pub struct Rake;

export!(Rake);

impl DataSet for Rake {
    fn backup(host: &dyn Host) -> Result<()> {
        let target = host.target("rails")?;
        let task = host.required("task")?;
        let mut artifact = host.new_artifact(ARTIFACT, "text/plain")?;
        artifact
            .sink()
            .write(format!("{task}\n").as_bytes())
            .context("failed to write the note")?;
        let evidence = Evidence::new()
            .with("task", &task)
            .with("workload", format!("{} {}", target.kind(), target.name()));
        artifact.commit(&evidence)?;
        host.info(&format!(
            "a restore runs `rake {task}` in `{}`",
            target.name()
        ));
        Ok(())
    }

    fn restore(host: &dyn Host) -> Result<()> {
        let task = host.required("task")?;
        let noted = noted(host)?;
        if noted != task {
            host.warn(&format!(
                "the backup noted task `{noted}`, and parameter `task` is `{task}` now: `{task}` is run"
            ));
        }
        let target = host.target("rails")?;
        host.step("task", || Task::new(host, &*target, &task)?.run())
    }

    fn verify(host: &dyn Host) -> Result<()> {
        let noted = noted(host)?;
        host.info(&format!("a restore runs `rake {noted}`"));
        Ok(())
    }
}

/// The task that the backup noted, from the artifact, held against its evidence.
fn noted(host: &dyn Host) -> Result<String> {
    let evidence = host.evidence(ARTIFACT)?;
    let moved = host.open_artifact(ARTIFACT)?.examine()?;
    let text = String::from_utf8_lossy(&moved.head).into_owned();
    let task = text.trim_end();
    if task.is_empty() || evidence.get("task") != Some(task) {
        return Err(Error::failed(
            "not-a-task",
            format!("artifact `{ARTIFACT}` does not hold the task that its evidence names"),
        ));
    }
    Ok(task.to_owned())
}

#[cfg(test)]
mod tests;
