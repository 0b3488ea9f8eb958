//! A stand-in for S3 on loopback: the Python package moto with all it needs, in a folder of its own.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use fs_err as fs;

use super::cache::{Cache, Key};
use super::python::Python;
use crate::progress::Progress;

/// moto with its server and what it needs for S3.
const PACKAGE: &str = "moto[server,s3]==5.2.1";

/// Where the program `moto_server` is, fetched if need be.
pub(crate) fn prepare(cache: &Cache, progress: Progress) -> anyhow::Result<PathBuf> {
    let key = Key::new("moto", [PACKAGE]);
    if let Some(folder) = cache.find(&key) {
        progress.say("moto", "ready");
        return Ok(folder.join("moto_server"));
    }
    let lock = cache.lock()?;
    let step = progress.start("moto", "fetching 60 MB from PyPI");
    let python = Python::find(cache, &lock)?;
    let folder = cache.make(&key, &lock, |folder| {
        python.install(PACKAGE, &folder.join("packages"))?;
        let program = folder.join("moto_server");
        // Found by its own place, since the folder is renamed once it is whole.
        fs::write(
            &program,
            "#!/bin/sh\nhere=$(dirname \"$(readlink -f \"$0\")\")\nPYTHONPATH=\"$here/packages\" exec python3 -m moto.server \"$@\"\n",
        )?;
        fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
        Ok(())
    })?;
    step.done("fetched");
    Ok(folder.join("moto_server"))
}
