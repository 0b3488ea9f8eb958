//! Secrets and ConfigMaps by name.
//!
//! The host saves and loads them, scrubbed; what is in them never enters this module. It decides
//! only what counts: what is missing is said, what would be overwritten is a decision of the site.

use cofferdam_guest_sdk::{Context, DataSet, Error, Evidence, Host, Loaded, Result, export};

/// A group of the manifest, the parameter with its names, and its artifact.
struct Group {
    name: &'static str,
    kind: &'static str,
    artifact: &'static str,
}

/// ConfigMaps and Secrets refer to nothing, so their order means nothing.
const GROUPS: [Group; 2] = [
    Group {
        name: "secrets",
        kind: "Secret",
        artifact: "secrets.json",
    },
    Group {
        name: "configmaps",
        kind: "ConfigMap",
        artifact: "configmaps.json",
    },
];
/// What the host puts behind the name of an object that the cluster does not have.
const MISSING: &str = " (missing)";

/// The data set: named Secrets and ConfigMaps of one namespace.
#[derive(Debug)]
pub struct KubeObjects;

export!(KubeObjects);

impl DataSet for KubeObjects {
    fn backup(host: &dyn Host) -> Result<()> {
        let mut asked = 0;
        for group in &GROUPS {
            if !host.list(group.name).is_empty() {
                asked += 1;
                host.step(group.name, || save(host, group))?;
            }
        }
        if asked == 0 {
            return Err(Error::invalid(
                "parameters `secrets` and `configmaps` are both empty: there is nothing to keep",
            ));
        }
        Ok(())
    }

    fn restore(host: &dyn Host) -> Result<()> {
        let present = host.when_present()?;
        let mut refused = Vec::new();
        for group in kept_groups(host)? {
            let loaded = host.step(group.name, || {
                host.load_objects(group.artifact, present)
                    .context(format!("failed to restore the {}s", group.kind))
            })?;
            refused.extend(report(host, group, &loaded)?);
        }
        if refused.is_empty() {
            return Ok(());
        }
        Err(Error::Conflict(format!(
            "{} there with other content and left as they are: {}; set parameter `when-present` to `replace` or `keep`, then restore again",
            if refused.len() == 1 {
                "one object is"
            } else {
                "some objects are"
            },
            refused.join(", ")
        )))
    }

    fn verify(host: &dyn Host) -> Result<()> {
        for group in kept_groups(host)? {
            let evidence = host.evidence(group.artifact)?;
            let moved = host.open_artifact(group.artifact)?.examine()?;
            evidence.check_transfer(group.artifact, &moved)?;
            check_contents(group, &evidence, moved.bytes)?;
        }
        Ok(())
    }
}

/// Saves a group and says what the cluster does not have. None at all is not a backup.
fn save(host: &dyn Host, group: &Group) -> Result<()> {
    let names = host
        .save_objects(group.name, group.artifact)
        .context(format!("failed to save the {}s", group.kind))?;
    let (missing, saved): (Vec<&str>, Vec<&str>) = names
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
            "the cluster has none of the {} {}s that parameter `{}` names",
            missing.len(),
            group.kind,
            group.name
        )));
    }
    host.info(&format!(
        "kept {} {}s, {} missing",
        saved.len(),
        group.kind,
        missing.len()
    ));
    Ok(())
}

/// The groups of which the snapshot has an artifact.
fn kept_groups(host: &dyn Host) -> Result<Vec<&'static Group>> {
    let artifacts = host.artifacts()?;
    let kept: Vec<&Group> = GROUPS
        .iter()
        .filter(|group| artifacts.iter().any(|artifact| artifact == group.artifact))
        .collect();
    if kept.is_empty() {
        return Err(Error::NotFound(
            "the snapshot has neither Secrets nor ConfigMaps".to_owned(),
        ));
    }
    Ok(kept)
}

/// Says for each object what became of it, and for each that was asked for that the snapshot does
/// not have it. Returns those that were refused.
fn report(host: &dyn Host, group: &Group, loaded: &[Loaded]) -> Result<Vec<String>> {
    let refused = host.log_loaded(loaded)?;
    for name in host.list(group.name) {
        let label = format!("{}/{name}", group.kind);
        if !loaded.iter().any(|one| one.name == label) {
            host.warn(&format!(
                "`{label}` is not in the backup, so it is as it was"
            ));
        }
    }
    Ok(refused)
}

/// All that can be held against an artifact without looking into it: the host keeps its contents
/// to itself, and its evidence counts the objects.
fn check_contents(group: &Group, evidence: &Evidence, bytes: u64) -> Result<()> {
    match evidence.number("objects") {
        Some(objects) if objects > 0 && bytes > 0 => Ok(()),
        _ => Err(Error::failed(
            "not-objects",
            format!(
                "artifact `{}` of {bytes} bytes holds no objects",
                group.artifact
            ),
        )),
    }
}

#[cfg(test)]
mod tests;
