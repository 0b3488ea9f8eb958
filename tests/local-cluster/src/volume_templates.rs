//! Volumes that are already initialised, so that a database need not make its files anew for each
//! cluster. A template is a plain copy of a volume that no process uses.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::document;
use crate::store::Store;

/// The template for a claim, if there is one.
pub(crate) fn find(templates: Option<&Path>, claim: &str) -> Option<PathBuf> {
    templates
        .map(|folder| folder.join(claim))
        .filter(|template| template.is_dir())
}

/// Copies a template to where a volume shall be, with owners, modes and times.
pub(crate) fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let copied = Command::new("cp")
        .args(["--archive", "--reflink=auto", "--no-target-directory"])
        .args([from, to])
        .status()
        .context("failed to start `cp`")?;
    ensure!(
        copied.success(),
        "failed to copy `{}` to `{}`",
        from.display(),
        to.display()
    );
    Ok(())
}

/// Keeps the volume of every bound claim as a template that is not there yet. Must be called when
/// all pods have ended.
pub(crate) fn keep(store: &Store, volumes: &Path, templates: &Path) -> anyhow::Result<()> {
    fs_err::create_dir_all(templates).context("failed to make the folder for templates")?;
    for claim in store.list("persistentvolumeclaims", None).1 {
        let volume = volumes.join(volume_of(&claim));
        let template = templates.join(document::name(&claim));
        if !volume.is_dir() || template.exists() {
            continue;
        }
        // A copy that is cut off must not look like a template.
        let partial = templates.join(format!(".{}-partial", document::uid(&claim)));
        copy(&volume, &partial)?;
        fs_err::rename(&partial, &template).context("failed to put a template in its place")?;
    }
    Ok(())
}

/// The name of the volume, and of its folder, that a claim is bound to.
pub(crate) fn volume_of(claim: &Value) -> String {
    format!("pvc-{}", document::uid(claim))
}
