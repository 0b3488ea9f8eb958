//! Custom resources of one kind: what an operator is told, kept and told again.
//!
//! The host saves and loads them, scrubbed; what is in them never enters this module. A restore
//! holds the operator back, where the site binds one, until all of them are loaded, and counts only
//! once the operator says that it has done what they ask for.

mod operator;

use std::time::Duration;

use cofferdam_guest_sdk::{
    Context, DataSet, Error, Host, Level, Loaded, Result, WhenPresent, export,
};

use crate::operator::HeldBack;

/// The group of the manifest.
const GROUP: &str = "resources";
/// The artifact of this module.
const ARTIFACT: &str = "resources.json";
/// What the host puts behind the name of an object that the cluster does not have.
const MISSING: &str = " (missing)";

/// The data set: named custom resources of one kind.
#[derive(Debug)]
pub struct CustomResource;

export!(CustomResource);

impl DataSet for CustomResource {
    fn backup(host: &dyn Host) -> Result<()> {
        if host.list("names").is_empty() {
            return Err(Error::invalid(
                "parameter `names` is empty: there is nothing to keep",
            ));
        }
        let said = host.step("save", || {
            host.save_objects(GROUP, ARTIFACT)
                .context("failed to save the resources")
        })?;
        let (missing, saved): (Vec<&str>, Vec<&str>) = said
            .iter()
            .map(String::as_str)
            .partition(|name| name.ends_with(MISSING));
        for name in &missing {
            host.warn(&format!(
                "`{}` is not in the cluster, so it is not in the backup",
                name.trim_end_matches(MISSING)
            ));
        }
        if saved.is_empty() {
            return Err(Error::NotFound(format!(
                "the cluster has none of the {} resources that parameter `names` names",
                missing.len()
            )));
        }
        host.info(&format!(
            "kept {}, {} missing",
            saved.join(", "),
            missing.len()
        ));
        Ok(())
    }

    fn restore(host: &dyn Host) -> Result<()> {
        let present = when_present(host)?;
        let held_back = HeldBack::by_lease(host)?;
        let loaded = host.step("load", || {
            host.load_objects(ARTIFACT, present)
                .context("failed to restore the resources")
        });
        // The operator goes on with what is there, whether or not that is all.
        let back = held_back.map_or(Ok(()), |held_back| held_back.release(host));
        let loaded = loaded?;
        let refused = report(host, &loaded)?;
        back?;
        if !refused.is_empty() {
            return Err(Error::Conflict(format!(
                "there with other content and left as they are: {}; set parameter `when-present` to `replace` or `keep`, then restore again",
                refused.join(", ")
            )));
        }
        host.step("condition", || wait(host, &loaded))
    }

    fn verify(host: &dyn Host) -> Result<()> {
        let evidence = host.evidence(ARTIFACT)?;
        let moved = host.open_artifact(ARTIFACT)?.examine()?;
        evidence.check_transfer(ARTIFACT, &moved)?;
        match evidence.number("objects") {
            Some(objects) if objects > 0 && moved.bytes > 0 => Ok(()),
            _ => Err(Error::failed(
                "not-objects",
                format!(
                    "artifact `{ARTIFACT}` of {} bytes holds no objects",
                    moved.bytes
                ),
            )),
        }
    }
}

fn when_present(host: &dyn Host) -> Result<WhenPresent> {
    match host.required("when-present")?.as_str() {
        "keep" => Ok(WhenPresent::Keep),
        "replace" => Ok(WhenPresent::Replace),
        "fail" => Ok(WhenPresent::Fail),
        other => Err(Error::invalid(format!(
            "parameter `when-present` is `{other}`"
        ))),
    }
}

/// Says what became of each resource, and which ones the backup does not have. Returns those that
/// were refused.
fn report(host: &dyn Host, loaded: &[Loaded]) -> Result<Vec<String>> {
    let mut refused = Vec::new();
    for one in loaded {
        let why: String = one
            .details
            .iter()
            .map(|(key, value)| format!(", {key} {value}"))
            .collect();
        let level = match one.result.as_str() {
            "created" | "equal" => Level::Info,
            "replaced" | "kept" => Level::Warn,
            "refused" => {
                refused.push(format!("`{}`", one.name));
                Level::Error
            }
            other => {
                return Err(Error::failed(
                    "unknown-answer",
                    format!(
                        "the host says that `{}` is `{other}`, which this module does not know",
                        one.name
                    ),
                ));
            }
        };
        host.log(level, &format!("`{}`: {}{why}", one.name, one.result));
    }
    for name in host.list("names") {
        if !loaded.iter().any(|one| name_of(one) == name) {
            host.warn(&format!(
                "`{name}` is not in the backup, so it is as it was"
            ));
        }
    }
    Ok(refused)
}

/// The name behind the kind.
fn name_of(loaded: &Loaded) -> &str {
    loaded
        .name
        .split_once('/')
        .map_or(loaded.name.as_str(), |(_, name)| name)
}

/// Waits until the operator has done what the resources ask for.
///
/// A replaced resource still has the condition of its old content: it is given time to lose it. An
/// operator that takes longer than that to notice would be believed too early.
fn wait(host: &dyn Host, loaded: &[Loaded]) -> Result<()> {
    let condition = host.required("condition")?;
    if condition.is_empty() {
        host.info("parameter `condition` is empty: nothing is awaited");
        return Ok(());
    }
    let deadline: Duration = host.duration("condition-deadline")?;
    if loaded.iter().any(|one| one.result == "replaced") {
        host.sleep(host.duration("settle")?)?;
    }
    for one in loaded {
        host.wait_for_object(GROUP, name_of(one), &condition, deadline)
            .context(format!(
                "`{}` is loaded, and its operator has not done what it asks for",
                one.name
            ))?;
        host.info(&format!("`{}`: {condition}", one.name));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
