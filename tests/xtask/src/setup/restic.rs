//! The distribution's restic, which the tests let read our repositories: a foreign reader, unchanged,
//! taken from its package even where one is installed, so that every machine tests the same.

use std::path::PathBuf;
use std::process::Command;

use super::cache::Cache;
use super::debian;
use crate::process;
use crate::progress::Progress;

/// Where restic is, fetched if need be.
pub(crate) fn prepare(cache: &Cache, progress: Progress) -> anyhow::Result<PathBuf> {
    let state = debian::machine_state("restic", &["1"])?;
    if let Some(folder) = cache.recall(&state) {
        progress.say("restic", "ready");
        return Ok(folder.join("usr/bin/restic"));
    }
    let lock = cache.lock()?;
    let step = progress.start("restic", "fetching it from the distribution");
    let wanted = || debian::alone(&["restic"]);
    let (key, folder) = debian::obtain(cache, &lock, "restic", "1", wanted, |root| {
        process::quietly(Command::new(root.join("usr/bin/restic")).arg("version"))
    })?;
    cache.remember(&state, &key)?;
    step.done("fetched");
    Ok(folder.join("usr/bin/restic"))
}
