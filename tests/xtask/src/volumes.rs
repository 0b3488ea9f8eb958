//! The volumes of the demo's databases, initialised once: MariaDB alone takes seconds to make its files
//! anew, and every story starts a cluster of its own.
//!
//! Made by the databases themselves on a local cluster, never written by hand.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use fs_err as fs;

use crate::build::{Binaries, Workspace};
use crate::demo::application;
use crate::kubectl::Kubectl;
use crate::local_cluster::{Lifetime, LocalCluster, Volumes};
use crate::progress::Progress;
use crate::settings::Settings;
use crate::setup::{Cache, Ground, Key};

/// The folder of volumes, each named as the claim that it is for; made if need be.
pub(crate) fn prepare(
    settings: &Settings,
    workspace: &Workspace,
    ground: &Ground,
    binaries: &Binaries,
    progress: Progress,
) -> anyhow::Result<PathBuf> {
    let demo = workspace.root.join(application::DATABASES);
    let cache = Cache::open(&settings.cache, progress)?;
    let key = key(&demo, &ground.layer)?;
    if let Some(volumes) = cache.find(&key) {
        progress.say("volumes", "ready");
        return Ok(volumes);
    }
    let lock = cache.lock()?;
    let step = progress.start("volumes", "starting the databases for the first time");
    let volumes = cache.make(&key, &lock, |folder| {
        let state = tempfile::Builder::new()
            .prefix("cofferdam-volumes-")
            .tempdir()
            .context("failed to make a folder for the cluster")?;
        let cluster = LocalCluster::start(
            binaries,
            &ground.layer,
            state.path(),
            Lifetime::Bound,
            Volumes::Keep(folder),
        )?;
        let kubectl = Kubectl::new(
            ground.kubectl.clone(),
            cluster.kubeconfig.clone(),
            application::NAMESPACE,
        );
        application::apply(&kubectl, &application::files(&demo)?, &settings.image)?;
        application::wait(&kubectl)?;
        cluster.stop()
    })?;
    step.done("initialised");
    Ok(volumes)
}

/// The servers and what they are told decide what they write.
fn key(demo: &Path, layer: &Path) -> anyhow::Result<Key> {
    // The layer's folder is named by what is in it.
    let layer = layer.file_name().unwrap_or_default().as_encoded_bytes();
    let mut parts = vec![layer.to_vec()];
    for file in application::files(demo)? {
        parts.push(fs::read(file)?);
    }
    Ok(Key::new("volumes", parts))
}
