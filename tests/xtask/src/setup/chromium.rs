//! The distribution's headless Chromium, in which tests look at pages: unpacked, not installed, and
//! found by the programs that name it only.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use fs_err as fs;

use super::cache::Cache;
use super::debian;
use crate::process;
use crate::progress::Progress;

/// Counts up when this file makes another thing from the same packages.
const RECIPE: &str = "1";

/// Finds itself by its own place, since the folder is renamed once it is whole. The libraries of
/// some packages lie in folders of their own, which only an installed system would list.
const PROGRAM: &str = "#!/bin/sh
here=$(dirname \"$(readlink -f \"$0\")\")
set -- \"$here\"/usr/lib/*-linux-gnu \"$@\"
LD_LIBRARY_PATH=$1:$1/pulseaudio
export LD_LIBRARY_PATH
shift
exec \"$here/usr/lib/chromium/chromium-headless-shell\" \"$@\"
";

/// Where the browser is, fetched if need be.
pub(crate) fn prepare(cache: &Cache, progress: Progress) -> anyhow::Result<PathBuf> {
    let state = debian::machine_state("chromium", &[RECIPE])?;
    if let Some(folder) = cache.recall(&state) {
        progress.say("chromium", "ready");
        return Ok(folder.join("chromium"));
    }
    let lock = cache.lock()?;
    let step = progress.start("chromium", "fetching 70 MB from the distribution");
    let wanted = || debian::with_dependencies(&["chromium-headless-shell"]);
    let (key, folder) = debian::obtain(cache, &lock, "chromium", RECIPE, wanted, |root| {
        let program = root.join("chromium");
        fs::write(&program, PROGRAM)?;
        fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
        process::quietly(Command::new(&program).arg("--version"))
    })?;
    cache.remember(&state, &key)?;
    step.done("fetched");
    Ok(folder.join("chromium"))
}
