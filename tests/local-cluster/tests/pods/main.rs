//! Pods as processes, from outside: what runs in them, what they see, and what is left of them.
//!
//! Needs root or user namespaces and fails where it has neither. No server packages are needed:
//! the layer is empty, and the pods run what the host has.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what fails in a helper fails its test"
)]

mod commands;
mod files;
mod isolation;
mod lives;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use local_cluster::pods::{
    ContainerSpec, Exec, ExecStatus, MountSpec, Pod, PodSpec, Runtime, RuntimeOptions,
    VolumeSource, VolumeSpec,
};
use tokio::io::AsyncReadExt;

/// A main process that waits for its end and can be ended at once.
const WAITS: &str = "trap 'exit 0' TERM; while :; do sleep 0.05; done";

struct Ground {
    folder: tempfile::TempDir,
    runtime: Runtime,
}

fn ground() -> Ground {
    let folder = tempfile::tempdir().unwrap();
    let runtime = runtime(folder.path());
    Ground { folder, runtime }
}

fn runtime(folder: &Path) -> Runtime {
    runtime_with(folder, PathBuf::from(env!("CARGO_BIN_EXE_local-cluster")))
}

fn runtime_with(folder: &Path, helper: PathBuf) -> Runtime {
    let layer = folder.join("layer");
    fs_err::create_dir_all(layer.join("usr")).unwrap();
    let options = RuntimeOptions {
        state: folder.join("state"),
        layer,
        helper: Some(helper),
    };
    match Runtime::new(options) {
        Ok(runtime) => runtime,
        Err(error) => panic!("this machine cannot run the tests of the pods: {error:#}"),
    }
}

impl Ground {
    async fn start(
        &self,
        name: &str,
        containers: Vec<ContainerSpec>,
        volumes: Vec<VolumeSpec>,
    ) -> Pod {
        self.runtime
            .start(pod(name, containers, volumes))
            .await
            .unwrap()
    }

    async fn waiting(&self, name: &str) -> Pod {
        self.start(name, vec![container(WAITS)], vec![]).await
    }
}

fn pod(name: &str, containers: Vec<ContainerSpec>, volumes: Vec<VolumeSpec>) -> PodSpec {
    let uid = format!("uid-{name}");
    PodSpec {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        uid,
        containers,
        volumes,
    }
}

fn container(script: &str) -> ContainerSpec {
    ContainerSpec {
        name: "main".to_owned(),
        command: shell(script),
        env: vec![],
        working_dir: None,
        run_as_user: None,
        mounts: vec![],
    }
}

fn shell(script: &str) -> Vec<String> {
    ["sh", "-c", script].map(str::to_owned).to_vec()
}

fn volume(name: &str, source: VolumeSource) -> VolumeSpec {
    VolumeSpec {
        name: name.to_owned(),
        source,
    }
}

fn mount(volume: &str, path: &str) -> MountSpec {
    MountSpec {
        volume: volume.to_owned(),
        path: path.to_owned(),
        read_only: false,
        sub_path: None,
    }
}

struct Outcome {
    status: ExecStatus,
    stdout: String,
    stderr: String,
}

async fn finish(mut exec: Exec) -> Outcome {
    let (mut stdout, mut stderr) = (String::new(), String::new());
    let (out, err) = tokio::join!(
        exec.stdout.read_to_string(&mut stdout),
        exec.stderr.read_to_string(&mut stderr)
    );
    out.unwrap();
    err.unwrap();
    Outcome {
        status: exec.wait().await,
        stdout,
        stderr,
    }
}

async fn run(pod: &Pod, script: &str) -> Outcome {
    run_in(pod, "main", script).await
}

async fn run_in(pod: &Pod, container: &str, script: &str) -> Outcome {
    finish(pod.exec(container, shell(script), false).await.unwrap()).await
}

/// The output of a script that must succeed.
async fn output(pod: &Pod, script: &str) -> String {
    let Outcome {
        status,
        stdout,
        stderr,
    } = run(pod, script).await;
    assert_eq!(
        status,
        ExecStatus::Code(0),
        "`{script}` said `{stdout}` and `{stderr}`"
    );
    stdout.trim_end().to_owned()
}

/// Waits until something holds, for ten seconds at most.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !holds().await {
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "{what} did not come to hold"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
