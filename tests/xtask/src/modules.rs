//! The stock modules and the test guests: compiled to WebAssembly, then made into components by the
//! product's own `modules pack`, which embeds the manifest. Nothing else writes components.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail};
use fs_err as fs;

use crate::build::{self, Built, Profile, Workspace};
use crate::process;
use crate::progress::Progress;
use crate::settings::Settings;
use crate::setup::{self, GuestToolchain};

/// The package whose examples are the test guests.
const GUESTS: &str = "guests";

/// Where the components lie.
#[derive(Debug)]
pub(crate) struct Components {
    /// The stock modules, `NAME.wasm`.
    pub(crate) stock: PathBuf,
    /// The test guests, `NAME.wasm`.
    pub(crate) guests: PathBuf,
}

/// `cargo xtask modules`.
pub(crate) fn command(settings: &Settings, progress: &Progress) -> anyhow::Result<ExitCode> {
    let ground = setup::prepare(settings, *progress)?;
    let workspace = Workspace::find(settings)?;
    let binaries = build::binaries(settings, Profile::Development, *progress)?;
    let components = components(
        settings,
        &workspace,
        &ground.guest,
        &binaries.cofferdam,
        *progress,
    )?;
    crate::output::print(&format!(
        "{}\n{}",
        components.stock.display(),
        components.guests.display()
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Builds and packs all of them.
pub(crate) fn components(
    settings: &Settings,
    workspace: &Workspace,
    toolchain: &GuestToolchain,
    cofferdam: &Path,
    progress: Progress,
) -> anyhow::Result<Components> {
    let step = progress.start("modules", "compiling to WebAssembly");
    let modules = workspace.root.join("modules");
    let stock = workspace
        .packages
        .iter()
        .filter(|(_, folder)| folder.parent() == Some(modules.as_path()));
    let stock: Vec<&(String, PathBuf)> = stock.collect();
    let built = compile(settings, workspace, toolchain, &stock, progress)?;
    let out = workspace.target.join("cofferdam-modules");
    let components = Components {
        stock: out.join("stock"),
        guests: out.join("guests"),
    };
    let mut count = 0;
    let mut kept = Vec::new();
    for (package, folder) in stock {
        let core = built
            .iter()
            .find(|file| !file.is_example && file.name == package.replace('-', "_"));
        let core =
            core.with_context(|| format!("cargo built no WebAssembly module for `{package}`"))?;
        let name = folder
            .file_name()
            .context("a module's folder has a name")?
            .to_string_lossy();
        let component = components.stock.join(format!("{name}.wasm"));
        pack(
            cofferdam,
            &core.path,
            &folder.join("module.toml"),
            &component,
        )?;
        kept.push(component);
        count += 1;
    }
    for guest in built.iter().filter(|file| file.is_example) {
        let manifest = workspace
            .root
            .join("tests/guests/manifests")
            .join(format!("{}.toml", guest.name));
        let component = components.guests.join(format!("{}.wasm", guest.name));
        pack(cofferdam, &guest.path, &manifest, &component)?;
        kept.push(component);
        count += 1;
    }
    remove_others(&components, &kept)?;
    step.done(&format!("{count} components"));
    Ok(components)
}

fn compile(
    settings: &Settings,
    workspace: &Workspace,
    toolchain: &GuestToolchain,
    stock: &[&(String, PathBuf)],
    progress: Progress,
) -> anyhow::Result<Vec<Built>> {
    let mut cargo = settings.cargo();
    cargo.args(["build", "--lib", "--examples", "--profile", "guest"]);
    toolchain.apply(&mut cargo);
    // An own folder: the two toolchains and the machine's own programs do not share what they build.
    cargo.arg("--target-dir").arg(
        workspace
            .target
            .join(format!("cofferdam-guests-{}", toolchain.name())),
    );
    for (package, _) in stock {
        cargo.args(["--package", package]);
    }
    if workspace.packages.iter().any(|(name, _)| name == GUESTS) {
        cargo.args(["--package", GUESTS]);
    }
    build::files(&mut cargo, progress)
}

/// Packs one component; an unchanged one is left alone, so that caches keyed by its file stay good.
fn pack(cofferdam: &Path, core: &Path, manifest: &Path, component: &Path) -> anyhow::Result<()> {
    if !manifest.is_file() {
        bail!("the module has no manifest `{}`", manifest.display());
    }
    let folder = component.parent().context("a component lies in a folder")?;
    fs::create_dir_all(folder)?;
    let fresh = tempfile::Builder::new()
        .suffix(".wasm")
        .tempfile_in(folder)?
        .into_temp_path();
    let mut command = Command::new(cofferdam);
    command
        .args(["modules", "pack"])
        .arg(core)
        .arg("--manifest")
        .arg(manifest)
        .arg("--to")
        .arg(&fresh);
    process::quietly(&mut command)?;
    if fs::read(component).ok() == Some(fs::read(&fresh)?) {
        return Ok(());
    }
    fresh
        .persist(component)
        .with_context(|| format!("failed to write `{}`", component.display()))
}

/// A module that was renamed or taken out must not linger beside those that are there.
fn remove_others(components: &Components, kept: &[PathBuf]) -> anyhow::Result<()> {
    for folder in [&components.stock, &components.guests] {
        fs::create_dir_all(folder)?;
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "wasm")
                && !kept.contains(&path)
            {
                fs::remove_file(path)?;
            }
        }
    }
    Ok(())
}
