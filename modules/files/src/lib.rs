//! A folder with all that is in it.
//!
//! The host lists, compares, moves and checks; no file enters this module. It says how, and what the result has to be.

use cofferdam_guest_sdk::host::TreeSummary;
use cofferdam_guest_sdk::{Context, DataSet, Error, Host, LoadOptions, Result, export};

/// The artifact of this module.
const ARTIFACT: &str = "files";
/// The path of the manifest.
const FOLDER: &str = "folder";

/// The data set: one folder.
#[derive(Debug)]
pub struct Files;

export!(Files);

impl DataSet for Files {
    fn backup(host: &dyn Host) -> Result<()> {
        let pod = host.target("server")?.pod()?;
        let saved = host.step("save", || {
            pod.save_tree(FOLDER, ARTIFACT)
                .context("failed to save the folder")
        })?;
        if saved.files + saved.links == 0 {
            host.warn("the folder has no files: is it the right one?");
        }
        host.info(&format!(
            "kept {} files in {} folders, {} links, {} bytes; {} files were unchanged",
            saved.files, saved.folders, saved.links, saved.bytes, saved.unchanged
        ));
        warn_of(
            host,
            &saved,
            "left-out",
            "devices, sockets and pipes are not kept",
        );
        warn_of(
            host,
            &saved,
            "late",
            "entries came during the backup and are left to the next",
        );
        Ok(())
    }

    fn restore(host: &dyn Host) -> Result<()> {
        let options = LoadOptions {
            delete_extraneous: is_set(host, "delete-extraneous")?,
            keep_newer: is_set(host, "keep-newer")?,
            keep_owner: is_set(host, "keep-owner")?,
        };
        let only = host.parameter("only").unwrap_or_default();
        let only: Vec<&str> = only
            .split(':')
            .map(str::trim)
            .filter(|one| !one.is_empty())
            .collect();
        let pod = host.target("server")?.pod()?;
        let loaded = host.step("load", || {
            let loaded = if only.is_empty() {
                pod.load_tree(ARTIFACT, FOLDER, options)
            } else {
                pod.load_part(ARTIFACT, FOLDER, options, &only)
            };
            loaded.context("failed to load the folder")
        })?;
        host.info(&format!(
            "wrote {} files, {} folders, {} links, {} bytes; {} were unchanged, {} entries removed",
            loaded.files,
            loaded.folders,
            loaded.links,
            loaded.bytes,
            loaded.unchanged,
            loaded.removed
        ));
        warn_of(
            host,
            &loaded,
            "kept-newer",
            "files are newer in the folder and were left",
        );
        warn_of(
            host,
            &loaded,
            "left-folders",
            "folders belong to another user, so their modes and times were left",
        );
        Ok(())
    }

    /// Opening a tree reads all of its files against their digests; its length is known beforehand.
    fn verify(host: &dyn Host) -> Result<()> {
        let evidence = host.evidence(ARTIFACT)?;
        let expected = evidence
            .number("archive-bytes")
            .ok_or_else(|| Error::invalid("the evidence does not say how long the archive is"))?;
        let moved = host.open_artifact(ARTIFACT)?.examine()?;
        if moved.bytes == expected {
            return Ok(());
        }
        Err(Error::failed(
            "not-the-same",
            format!(
                "the tree packs into {} bytes, but its evidence says {expected}",
                moved.bytes
            ),
        ))
    }
}

fn is_set(host: &dyn Host, parameter: &str) -> Result<bool> {
    match host.parameter(parameter).as_deref() {
        Some("yes") => Ok(true),
        Some("no") | None => Ok(false),
        Some(other) => Err(Error::invalid(format!(
            "parameter `{parameter}` is `{other}`: it must be yes or no"
        ))),
    }
}

/// Says a count of the host's that is not zero.
fn warn_of(host: &dyn Host, summary: &TreeSummary, key: &str, words: &str) {
    let value = summary.details.iter().find(|(name, _)| name == key);
    if let Some((_, count)) = value
        && count != "0"
    {
        host.warn(&format!("{count} {words}"));
    }
}

#[cfg(test)]
mod tests;
