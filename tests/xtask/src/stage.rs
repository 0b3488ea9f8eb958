//! What a demo or a bench begins with: everything built, and a local cluster with nothing in it.
//!
//! It must never put an application there: what is shown or measured is the business of its caller.

use anyhow::Context as _;
use tempfile::TempDir;

use crate::build::{self, Binaries, Profile, Workspace};
use crate::kubectl::Kubectl;
use crate::local_cluster::{Lifetime, LocalCluster, Volumes};
use crate::modules::{self, Components};
use crate::progress::Progress;
use crate::settings::Settings;
use crate::setup::{self, Ground};
use crate::volumes;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    /// What it is for, in one word: it stands in the name of the folder.
    pub(crate) purpose: &'static str,
    /// How the binaries are built.
    pub(crate) profile: Profile,
    /// How long the cluster lives.
    pub(crate) lifetime: Lifetime,
    /// What is in its volumes.
    pub(crate) databases: Databases,
    /// The namespace that kubectl speaks of.
    pub(crate) namespace: &'static str,
}

/// What is in the volumes of the demo's databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Databases {
    /// Nothing: they are not used, or make their own files.
    Empty,
    /// Files as of a first start, so that a server is up at once.
    Initialised,
}

/// All of it. The cluster stands before its folder, for fields are dropped in this order.
#[derive(Debug)]
pub(crate) struct Stage {
    /// What the set-up brought.
    pub(crate) ground: Ground,
    /// The checkout.
    pub(crate) workspace: Workspace,
    /// The product and the cluster's program.
    pub(crate) binaries: Binaries,
    /// Stock modules and test guests.
    pub(crate) components: Components,
    /// The cluster.
    pub(crate) cluster: LocalCluster,
    /// A client that is not ours.
    pub(crate) kubectl: Kubectl,
    /// A folder that ends with the run.
    pub(crate) state: TempDir,
}

impl Stage {
    /// Sets up, builds and starts.
    pub(crate) fn set_up(
        settings: &Settings,
        wanted: Wanted,
        progress: Progress,
    ) -> anyhow::Result<Self> {
        let ground = setup::prepare(settings, progress)?;
        progress.heading("build");
        let workspace = Workspace::find(settings)?;
        let binaries = build::binaries(settings, wanted.profile, progress)?;
        let components = modules::components(
            settings,
            &workspace,
            &ground.guest,
            &binaries.cofferdam,
            progress,
        )?;
        progress.heading("cluster");
        let volumes = match wanted.databases {
            Databases::Empty => None,
            Databases::Initialised => Some(volumes::prepare(
                settings, &workspace, &ground, &binaries, progress,
            )?),
        };
        let step = progress.start("cluster", "starting");
        let state = tempfile::Builder::new()
            .prefix(&format!("cofferdam-{}-", wanted.purpose))
            .tempdir()
            .with_context(|| format!("failed to make a folder for the {}", wanted.purpose))?;
        let cluster = LocalCluster::start(
            &binaries,
            &ground.layer,
            state.path(),
            wanted.lifetime,
            volumes.as_deref().map_or(Volumes::Empty, Volumes::From),
        )?;
        let kubectl = Kubectl::new(
            ground.kubectl.clone(),
            cluster.kubeconfig.clone(),
            wanted.namespace,
        );
        step.done("answers");
        Ok(Self {
            ground,
            workspace,
            binaries,
            components,
            cluster,
            kubectl,
            state,
        })
    }
}
