//! Cargo's part: what the workspace is, and building the binaries that everything else calls.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use cargo_metadata::{Message, MetadataCommand, TargetKind};

use crate::interrupt;
use crate::process;
use crate::progress::Progress;
use crate::settings::Settings;

/// The checkout we were called in.
#[derive(Debug)]
pub(crate) struct Workspace {
    /// Its top folder.
    pub(crate) root: PathBuf,
    /// Where cargo puts what it builds.
    pub(crate) target: PathBuf,
    /// Its packages: name and folder.
    pub(crate) packages: Vec<(String, PathBuf)>,
}

/// One file that cargo built.
#[derive(Debug)]
pub(crate) struct Built {
    /// The target's name as in its `Cargo.toml`.
    pub(crate) name: String,
    /// Whether it is an example of the package.
    pub(crate) is_example: bool,
    /// The file.
    pub(crate) path: PathBuf,
}

/// The programs under test.
#[derive(Debug)]
pub(crate) struct Binaries {
    /// The product.
    pub(crate) cofferdam: PathBuf,
    /// The cluster it is tried on.
    pub(crate) local_cluster: PathBuf,
}

impl Workspace {
    /// Asks cargo.
    pub(crate) fn find(settings: &Settings) -> anyhow::Result<Self> {
        let metadata = MetadataCommand::new()
            .cargo_path(PathBuf::from(&settings.cargo))
            .no_deps()
            .exec()
            .context(
                "failed to read the workspace\nhint: run this inside a checkout of the project",
            )?;
        let packages = metadata.packages.iter().map(|package| {
            let folder = package
                .manifest_path
                .parent()
                .map(|folder| folder.to_path_buf().into_std_path_buf());
            (package.name.to_string(), folder.unwrap_or_default())
        });
        Ok(Self {
            packages: packages.collect(),
            root: metadata.workspace_root.clone().into_std_path_buf(),
            target: metadata.target_directory.clone().into_std_path_buf(),
        })
    }
}

/// Which compiled form the binaries take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Tests and demo.
    Development,
    /// Measurements.
    Release,
}

/// Builds every binary of the workspace at once: one choice of features for all the commands of
/// this crate and for `cargo test --workspace`, so that no dependency is compiled twice.
pub(crate) fn binaries(
    settings: &Settings,
    profile: Profile,
    progress: Progress,
) -> anyhow::Result<Binaries> {
    let step = progress.start("binaries", "compiling");
    let mut cargo = settings.cargo();
    // The same selection as the lints and the tests have: with another one cargo joins the features
    // of the dependencies differently and compiles the lowest of them, and all above, once more.
    match profile {
        Profile::Development => cargo.args(["build", "--workspace", "--all-targets"]),
        Profile::Release => cargo.args(["build", "--workspace", "--bins", "--release"]),
    };
    let built = files(&mut cargo, progress)?;
    let mut programs: BTreeMap<String, PathBuf> = built
        .into_iter()
        .map(|file| (file.name, file.path))
        .collect();
    let mut program = |name: &str| {
        programs
            .remove(name)
            .with_context(|| format!("cargo built no binary `{name}`"))
    };
    let binaries = Binaries {
        cofferdam: program("cofferdam")?,
        local_cluster: program("local-cluster")?,
    };
    step.done("built");
    Ok(binaries)
}

/// Runs a cargo build and lists the files it made or found fresh: programs and WebAssembly modules.
///
/// Compiler messages go to stderr; on a terminal cargo shows its own progress bar there too.
pub(crate) fn files(cargo: &mut Command, progress: Progress) -> anyhow::Result<Vec<Built>> {
    interrupt::check()?;
    cargo
        .arg("--message-format=json-render-diagnostics")
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    if !progress.is_terminal() {
        cargo.arg("--quiet");
    }
    let mut child = cargo
        .spawn()
        .with_context(|| format!("failed to start `{}`", process::shown(cargo)))?;
    let listed = interrupt::list(child.id());
    let stdout = child.stdout.take().context("the child has no stdout")?;
    let mut built = Vec::new();
    for message in Message::parse_stream(std::io::BufReader::new(stdout)) {
        if let Message::CompilerArtifact(artifact) =
            message.context("failed to read cargo's messages")?
        {
            if artifact.profile.test {
                continue;
            }
            let wasm = artifact
                .filenames
                .iter()
                .find(|path| path.extension() == Some("wasm"));
            let Some(path) = artifact.executable.as_ref().or(wasm) else {
                continue;
            };
            built.push(Built {
                name: artifact.target.name.clone(),
                is_example: artifact.target.kind.contains(&TargetKind::Example),
                path: path.clone().into_std_path_buf(),
            });
        }
    }
    let status = child.wait().context("failed to wait for cargo")?;
    drop(listed);
    interrupt::check()?;
    if !status.success() {
        bail!("`{}` failed with {status}", process::shown(cargo));
    }
    Ok(built)
}
