//! What all measurements stand on: release binaries, a cluster with one pod that holds the dump, an
//! application of four data sets. Set up once, never timed.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use fs_err as fs;

use super::dump;
use crate::build::Profile;
use crate::kubectl::{Kubectl, Place};
use crate::local_cluster::{Lifetime, LocalCluster};
use crate::process;
use crate::progress::Progress;
use crate::settings::Settings;
use crate::stage::{Databases, Stage, Wanted};

/// The namespace of the bench.
const NAMESPACE: &str = "bench";

/// The data sets; the first is the one of single transfers.
pub(super) const DATA_SETS: [&str; 4] = ["one", "two", "three", "four"];

/// A pod that only waits.
const OBJECTS: &str = r#"
apiVersion: v1
kind: Namespace
metadata: { name: bench }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: server, namespace: bench }
spec:
  replicas: 1
  selector: { matchLabels: { deployment: server } }
  template:
    metadata: { labels: { deployment: server } }
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: server
          image: "${COFFERDAM_TEST_IMAGE}"
          command: ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 3600 & wait \"$!\"; done"]
          volumeMounts: [{ name: data, mountPath: /data }]
      volumes: [{ name: data, emptyDir: {} }]
"#;

/// The ground under all measurements.
#[derive(Debug)]
pub(super) struct Ground {
    /// The product, optimized.
    pub(super) cofferdam: PathBuf,
    /// A client that is not ours.
    pub(super) kubectl: Kubectl,
    /// A backup program that is not ours.
    pub(super) restic: PathBuf,
    /// Where the dump lies.
    pub(super) place: Place,
    /// The stock modules.
    pub(super) stock: PathBuf,
    /// The guest that moves a stream and does no more.
    pub(super) guest: PathBuf,
    /// How cargo is called, for the benches of the host's crates.
    pub(super) settings: Settings,
    /// A scratch folder.
    pub(super) folder: PathBuf,
    cluster: LocalCluster,
    guests: PathBuf,
    state: tempfile::TempDir,
}

impl Ground {
    /// Builds, starts and fills everything.
    pub(super) fn prepare(
        settings: &Settings,
        mebibytes: u64,
        progress: Progress,
    ) -> anyhow::Result<Self> {
        let Stage {
            ground: tools,
            workspace: _,
            binaries,
            components,
            state,
            cluster,
            kubectl,
        } = Stage::set_up(
            settings,
            Wanted {
                purpose: "bench",
                profile: Profile::Release,
                lifetime: Lifetime::Bound,
                databases: Databases::Empty,
                namespace: NAMESPACE,
            },
            progress,
        )?;
        let guest = components.guests.join("streams.wasm");
        if !guest.is_file() {
            bail!("the bench needs the test guest `streams`, and `tests/guests` has none");
        }
        let step = progress.start("server", "starting");
        kubectl.apply(&OBJECTS.replace("${COFFERDAM_TEST_IMAGE}", &settings.image))?;
        kubectl.run(&[
            "wait",
            "--for=condition=Available",
            "deployment",
            "--all",
            "--timeout=60s",
        ])?;
        step.done("is up");
        let folder = state.path().join("site");
        // Modules from one folder only: the guest alone.
        let guests = state.path().join("modules");
        fs::create_dir(&folder)?;
        fs::create_dir(&guests)?;
        fs::copy(&guest, guests.join("streams.wasm"))?;
        let ground = Self {
            cofferdam: binaries.cofferdam,
            restic: tools.restic,
            place: Place {
                workload: "deployment/server".to_owned(),
                container: "server".to_owned(),
            },
            stock: components.stock,
            guest,
            settings: settings.clone(),
            kubectl,
            folder,
            cluster,
            guests,
            state,
        };
        let step = progress.start("dump", &format!("writing {mebibytes} MiB into the pod"));
        ground.write_dump("one", mebibytes)?;
        fs::write(ground.folder.join("cofferdam.yaml"), application())?;
        fs::write(ground.state.path().join("password"), "only for the bench\n")?;
        process::quietly(ground.product(Path::new("unused")).args(["policy", "init"]))?;
        step.done("written");
        Ok(ground)
    }

    /// The product with a repository of its own.
    pub(super) fn product(&self, repository: &Path) -> Command {
        let mut command = Command::new(&self.cofferdam);
        self.surround(&mut command, repository);
        command
    }

    /// Gives a command that ends in the product what the product needs.
    pub(super) fn surround(&self, command: &mut Command, repository: &Path) {
        command
            .current_dir(&self.folder)
            .env("KUBECONFIG", &self.cluster.kubeconfig)
            .env("COFFERDAM_MODULES", &self.guests)
            .env("COFFERDAM_REPOSITORY", repository)
            .env(
                "COFFERDAM_PASSWORD_FILE",
                self.state.path().join("password"),
            )
            .env("COFFERDAM_STATE", self.state.path().join("state"));
    }

    /// An empty folder for one round.
    pub(super) fn scratch(&self) -> anyhow::Result<tempfile::TempDir> {
        tempfile::tempdir_in(self.state.path()).context("failed to make a folder for a round")
    }

    /// Writes the dump of one data set anew, with another size.
    pub(super) fn write_dump(&self, data_set: &str, mebibytes: u64) -> anyhow::Result<()> {
        // Each data set has a seed of its own: its place in the list.
        let seed = DATA_SETS
            .iter()
            .zip(0..)
            .find_map(|(name, seed)| (*name == data_set).then_some(seed))
            .context("a data set of the bench")?;
        let words = format!("cat > /data/{data_set}-dump.sql");
        let mut command = self
            .kubectl
            .exec_command(&self.place, &["sh", "-c", &words]);
        dump::feed(&mut command, mebibytes << 20, seed)
    }

    /// Ends the cluster.
    pub(super) fn stop(self) -> anyhow::Result<()> {
        self.cluster.stop()
    }
}

/// Four data sets of one module that each read a file and write another.
fn application() -> String {
    let mut yaml = "apiVersion: cofferdam.dev/v1alpha1\nkind: Application\nmetadata: { name: bench, namespace: bench }\nspec:\n  dataSets:\n".to_owned();
    for name in DATA_SETS {
        yaml.push_str(&format!(
            "    - name: {name}\n      module: {{ name: streams }}\n      targets: {{ server: {{ workload: deployment/server, container: server }} }}\n      parameters: {{ file: /data/{name}-dump.sql, restored: /data/{name}.sql }}\n"
        ));
    }
    yaml
}
