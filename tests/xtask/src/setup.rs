//! Brings what building and testing need and the checkout does not hold, into the cache folder.
//!
//! Idempotent, safe when two run at the same time, and quick when all is there. It must never
//! install, start or configure anything on the machine itself.

mod cache;
mod chromium;
mod debian;
mod guest_toolchain;
mod kubectl;
mod layer;
mod moto;
mod python;
mod restic;

use std::path::PathBuf;
use std::process::ExitCode;

use crate::progress::Progress;
use crate::settings::Settings;
pub(crate) use cache::{Cache, Key};
pub(crate) use guest_toolchain::GuestToolchain;

/// Which parts to set up.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Print the paths of what was set up as JSON
    #[arg(long)]
    paths: bool,
}

/// Everything that set-up brings.
#[derive(Debug)]
pub(crate) struct Ground {
    /// Builds for `wasm32-unknown-unknown`.
    pub(crate) guest: GuestToolchain,
    /// The unpacked database servers: `usr`, `etc`, `var`, `opt`.
    pub(crate) layer: PathBuf,
    /// The real kubectl.
    pub(crate) kubectl: PathBuf,
    /// The distribution's restic.
    pub(crate) restic: PathBuf,
    /// The program `moto_server`, which stands in for S3.
    pub(crate) moto: PathBuf,
    /// The headless browser in which tests look at pages.
    pub(crate) chromium: PathBuf,
}

/// `cargo xtask setup`.
pub(crate) fn command(
    arguments: &Arguments,
    settings: &Settings,
    progress: &Progress,
) -> anyhow::Result<ExitCode> {
    let ground = prepare(settings, *progress)?;
    if arguments.paths {
        let paths = serde_json::json!({
            "layer": ground.layer,
            "kubectl": ground.kubectl,
            "restic": ground.restic,
            "moto": ground.moto,
            "chromium": ground.chromium,
            "guestToolchain": ground.guest.environment(),
        });
        crate::output::print(&format!("{paths:#}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Sets up whatever is missing and says where everything is.
pub(crate) fn prepare(settings: &Settings, progress: Progress) -> anyhow::Result<Ground> {
    progress.heading("set-up");
    let cache = Cache::open(&settings.cache, progress)?;
    Ok(Ground {
        guest: guest_toolchain::prepare(&cache, settings.guest, progress)?,
        layer: layer::prepare(&cache, progress)?,
        kubectl: kubectl::prepare(&cache, progress)?,
        restic: restic::prepare(&cache, progress)?,
        moto: moto::prepare(&cache, progress)?,
        chromium: chromium::prepare(&cache, progress)?,
    })
}
