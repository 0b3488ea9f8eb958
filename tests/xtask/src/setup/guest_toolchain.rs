//! A compiler for `wasm32-unknown-unknown`: the installed target, else rustup's, else Debian's
//! compiler unpacked into the cache with a standard library built once.
//!
//! rustup is asked with a time limit and never forced: a machine that cannot download goes on.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use fs_err as fs;

use super::cache::Cache;
use super::debian::{self, Package};
use crate::process;
use crate::progress::Progress;
use crate::settings::GuestChoice;

/// The target of all guests.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// How guests are compiled on this machine.
#[derive(Debug)]
pub(crate) enum GuestToolchain {
    /// The machine's own rustc has the target.
    Installed,
    /// Debian's rustc, run from where it was unpacked.
    Unpacked {
        /// The unpacked packages.
        root: PathBuf,
        /// The standard library for guests.
        sysroot: PathBuf,
        /// The linker of the machine's own rustc.
        linker: PathBuf,
    },
}

impl GuestToolchain {
    /// What tells the outputs of two toolchains apart.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Installed => "installed",
            Self::Unpacked { .. } => "unpacked",
        }
    }

    /// What an ordinary cargo needs in its environment to build guests.
    pub(crate) fn environment(&self) -> serde_json::Value {
        self.variables()
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_string_lossy().into()))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }

    /// Makes a cargo command build guests with this toolchain, whatever the caller's environment says.
    pub(crate) fn apply<'a>(&self, cargo: &'a mut Command) -> &'a mut Command {
        // Flags meant for the machine's own programs mean nothing to a guest.
        for name in [
            "RUSTFLAGS",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_BUILD_RUSTFLAGS",
        ] {
            cargo.env_remove(name);
        }
        cargo.envs(self.variables()).args(["--target", TARGET])
    }

    fn variables(&self) -> Vec<(&'static str, OsString)> {
        match self {
            Self::Installed => Vec::new(),
            Self::Unpacked {
                root,
                sysroot,
                linker,
            } => {
                let mut flag = OsString::from("--sysroot=");
                flag.push(sysroot);
                vec![
                    ("RUSTC", root.join("usr/bin/rustc").into()),
                    ("LD_LIBRARY_PATH", libraries(root).into()),
                    ("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS", flag),
                    ("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker.into()),
                ]
            }
        }
    }
}

/// The toolchain of this machine, made if need be.
pub(crate) fn prepare(
    cache: &Cache,
    choice: GuestChoice,
    progress: Progress,
) -> anyhow::Result<GuestToolchain> {
    let name = "guest toolchain";
    if choice == GuestChoice::FirstThatWorks && target_is_installed() {
        progress.say(name, "ready (installed target)");
        return Ok(GuestToolchain::Installed);
    }
    let state = debian::machine_state("guest-toolchain", &[RECIPE])?;
    if let Some(folder) = cache.recall(&state) {
        progress.say(name, "ready (Debian's compiler)");
        return unpacked(&folder);
    }
    let lock = cache.lock()?;
    if choice == GuestChoice::FirstThatWorks {
        let step = progress.start(name, "asking rustup for the target");
        if add_target() {
            step.done("added by rustup");
            return Ok(GuestToolchain::Installed);
        }
        step.done("not to be had from rustup");
    }
    let step = progress.start(
        name,
        "fetching Debian's compiler and building the library (minutes)",
    );
    let (key, folder) = debian::obtain(cache, &lock, "guest-toolchain", RECIPE, packages, build)
        .context("this machine has no compiler for modules\nhint: run `rustup target add wasm32-unknown-unknown` where rustup can download")?;
    cache.remember(&state, &key)?;
    step.done("built from Debian's compiler");
    unpacked(&folder)
}

/// Counts up when this file makes another toolchain from the same packages.
const RECIPE: &str = "2";

fn target_is_installed() -> bool {
    let asked = process::capture(Command::new("rustc").args([
        "--print",
        "target-libdir",
        "--target",
        TARGET,
    ]));
    asked.is_ok_and(|folder| Path::new(folder.trim()).is_dir())
}

/// A minute is enough for 20 MB anywhere and short enough where nothing answers.
fn add_target() -> bool {
    let asked =
        process::quietly(Command::new("timeout").args(["60", "rustup", "target", "add", TARGET]));
    asked.is_ok() && target_is_installed()
}

/// The compiler, the library's sources and what the compiler itself is made of, also where parts of
/// it are installed on the machine.
fn packages() -> anyhow::Result<Vec<Package>> {
    let mut packages = debian::with_dependencies(&["rustc-web", "rust-web-src"])?;
    let tree = [
        "depends",
        "--recurse",
        "--no-recommends",
        "--no-suggests",
        "--no-conflicts",
        "--no-breaks",
        "--no-replaces",
        "--no-enhances",
    ];
    let tree = process::capture(
        Command::new("apt-cache")
            .env("LC_ALL", "C")
            .args(tree)
            .arg("rustc-web"),
    )?;
    let parts: Vec<&str> = tree
        .lines()
        .filter(|line| line.starts_with("libstd-rust") || line.starts_with("libllvm"))
        .collect();
    packages.extend(debian::alone(&parts)?);
    packages.sort();
    packages.dedup();
    Ok(packages)
}

/// Makes a compiler for guests of unpacked packages: the tree stays as it is, a library comes beside it.
fn build(root: &Path) -> anyhow::Result<()> {
    let library = root.join("library");
    fs::create_dir_all(library.join("src"))?;
    fs::write(
        library.join("src/lib.rs"),
        "//! Only its dependency, the standard library, is wanted.\n",
    )?;
    // An own workspace, or cargo would look for one in the folders above.
    fs::write(
        library.join("Cargo.toml"),
        "[package]\nname = \"only-the-standard-library\"\nversion = \"0.0.0\"\nedition = \"2021\"\n[profile.release]\nlto = \"off\"\npanic = \"abort\"\n[workspace]\n",
    )?;
    let target = library.join("target");
    let mut cargo = Command::new("cargo");
    cargo
        .args([
            "build",
            "--release",
            "-Zbuild-std=std,panic_abort",
            "--target",
            TARGET,
            "--target-dir",
        ])
        .arg(&target);
    cargo
        .current_dir(&library)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("CARGO_TARGET_DIR");
    // Bit code in the library is what lets guests be optimized as a whole.
    cargo
        .env("RUSTC", root.join("usr/bin/rustc"))
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", "-Cembed-bitcode=yes");
    cargo.env("LD_LIBRARY_PATH", libraries(root));
    process::quietly(&mut cargo).context("failed to build the standard library for guests")?;
    let parts = root.join("sysroot/lib/rustlib").join(TARGET).join("lib");
    fs::create_dir_all(&parts)?;
    for entry in fs::read_dir(target.join(TARGET).join("release/deps"))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".rlib") && !name.starts_with("libonly_the_standard_library") {
            fs::copy(entry.path(), parts.join(name))?;
        }
    }
    fs::remove_dir_all(&library)?;
    // The sources have done their work; they are half of what was unpacked.
    for sources in ["usr/lib/rustlib/src", "usr/src"] {
        let sources = root.join(sources);
        if sources.exists() {
            fs::remove_dir_all(sources)?;
        }
    }
    Ok(())
}

fn unpacked(folder: &Path) -> anyhow::Result<GuestToolchain> {
    Ok(GuestToolchain::Unpacked {
        root: folder.to_owned(),
        sysroot: folder.join("sysroot"),
        linker: linker()?,
    })
}

/// The linker that comes with the machine's own rustc; Debian's compiler has none for guests.
fn linker() -> anyhow::Result<PathBuf> {
    let about = process::capture(Command::new("rustc").arg("-vV"))?;
    let host = about
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .context("rustc does not say its host")?;
    let sysroot = process::capture(Command::new("rustc").args(["--print", "sysroot"]))?;
    let linker = Path::new(sysroot.trim())
        .join("lib/rustlib")
        .join(host)
        .join("bin/rust-lld");
    if !linker.is_file() {
        bail!("the installed Rust has no `rust-lld`\nhint: install Rust with rustup");
    }
    Ok(linker)
}

/// The folder of the compiler's own libraries; its name holds the machine's architecture.
fn libraries(root: &Path) -> PathBuf {
    let folders = fs::read_dir(root.join("usr/lib"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    let mut folders = folders.filter(|path| path.to_string_lossy().ends_with("-linux-gnu"));
    folders.next().unwrap_or_else(|| root.join("usr/lib"))
}
