//! Pods that are nothing but folders: main processes are only pretended, commands of an exec are
//! plain processes of the host. Nothing is isolated, so tests run harmless commands only.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use local_cluster::pods::{ContainerSpec, ExecStatus, PodSpec};
use local_cluster::runtime::{ContainerRuntime, RunningCommand, RunningPod};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

#[derive(Debug)]
pub(crate) struct StandIn {
    folder: PathBuf,
    last: AtomicU8,
}

impl StandIn {
    pub(crate) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.join("pods"),
            last: AtomicU8::new(1),
        }
    }
}

#[async_trait]
impl ContainerRuntime for StandIn {
    async fn start(&self, spec: PodSpec) -> anyhow::Result<Arc<dyn RunningPod>> {
        let folder = self.folder.join(&spec.uid);
        std::fs::create_dir_all(&folder)?;
        let last = self.last.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(PretendedPod {
            folder,
            address: Ipv4Addr::new(10, 0, 0, last).into(),
            env: Mutex::default(),
            stopped: CancellationToken::new(),
        }))
    }

    fn set_hosts(&self, _namespace: &str, _entries: Vec<(String, IpAddr)>) {}

    async fn shutdown(&self) {}
}

struct PretendedPod {
    folder: PathBuf,
    address: IpAddr,
    env: Mutex<BTreeMap<String, Vec<(String, String)>>>,
    stopped: CancellationToken,
}

#[async_trait]
impl RunningPod for PretendedPod {
    fn ip(&self) -> IpAddr {
        self.address
    }

    async fn start_container(&self, spec: ContainerSpec) -> anyhow::Result<()> {
        std::fs::write(self.logs(&spec.name), spec.command.join(" ") + "\n")?;
        self.env.lock().unwrap().insert(spec.name, spec.env);
        Ok(())
    }

    async fn exec(
        &self,
        container: &str,
        command: Vec<String>,
        stdin: bool,
    ) -> anyhow::Result<RunningCommand> {
        let env = self
            .env
            .lock()
            .unwrap()
            .get(container)
            .cloned()
            .unwrap_or_default();
        let child = Command::new(&command[0])
            .args(&command[1..])
            .envs(env)
            .current_dir(&self.folder)
            .process_group(0)
            .stdin(if stdin { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut child) = child else {
            let message = format!(
                "failed to exec in container: failed to start exec \"0\": OCI runtime exec \
                 failed: exec failed: unable to start container process: exec: \"{}\": \
                 executable file not found in $PATH: unknown",
                command[0]
            );
            return Ok(RunningCommand {
                stdin: None,
                stdout: Box::new(tokio::io::empty()),
                stderr: Box::new(tokio::io::empty()),
                status: Box::pin(async move { ExecStatus::NotFound(message) }),
            });
        };
        let stdin = child.stdin.take();
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let stopped = self.stopped.clone();
        let waiting = tokio::spawn(async move {
            tokio::select! {
                status = child.wait() => {
                    let status = status.unwrap();
                    let signal = status.signal().map(|signal| 128 + signal);
                    ExecStatus::Code(status.code().or(signal).unwrap())
                }
                () = stopped.cancelled() => {
                    // A pod ends with all of its processes, also those that a shell has begun.
                    let group = Pid::from_raw(child.id().unwrap().try_into().unwrap());
                    killpg(group, Signal::SIGKILL).unwrap();
                    child.wait().await.unwrap();
                    ExecStatus::Code(137)
                }
            }
        });
        Ok(RunningCommand {
            stdin: stdin.map(|stdin| Box::new(stdin) as _),
            stdout: Box::new(stdout),
            stderr: Box::new(stderr),
            status: Box::pin(async move { waiting.await.unwrap() }),
        })
    }

    async fn stop(&self, _grace: Duration) {
        self.stopped.cancel();
    }

    fn logs(&self, container: &str) -> PathBuf {
        self.folder.join(format!("{container}.log"))
    }

    async fn exited(&self, _container: &str) -> i32 {
        self.stopped.cancelled().await;
        143
    }
}
