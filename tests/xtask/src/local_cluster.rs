//! A running local cluster, as a user would have one: a process of its own and a kubeconfig. It ends
//! with its owner, also when the command fails or is interrupted, unless it was told to stay.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use fs_err as fs;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde::Deserialize;

use crate::build::Binaries;

/// Eight pods end in a fraction of a second; a minute allows for a database that writes out its pages.
const PATIENCE: Duration = Duration::from_secs(60);

/// The cluster's process.
#[derive(Debug)]
pub(crate) struct LocalCluster {
    child: Option<Child>,
    state: PathBuf,
    /// The file that tells clients of it.
    pub(crate) kubeconfig: PathBuf,
}

/// How long a cluster lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lifetime {
    /// Never longer than this process.
    Bound,
    /// Until it is told to end, if it is left.
    MayStay,
}

/// What is in the volumes of a cluster when its claims are bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Volumes<'a> {
    /// Nothing.
    Empty,
    /// What this folder has for the claim.
    From(&'a Path),
    /// Nothing; and when the cluster ends, they are kept in this folder.
    Keep(&'a Path),
}

/// What the cluster says when it is ready.
#[derive(Debug, Deserialize)]
struct Ready {
    kubeconfig: PathBuf,
}

impl LocalCluster {
    /// Starts a cluster whose files live in `state`, and waits until it answers.
    ///
    /// One that is bound ends even when we are killed; another may be left running.
    pub(crate) fn start(
        binaries: &Binaries,
        layer: &Path,
        state: &Path,
        lifetime: Lifetime,
        volumes: Volumes<'_>,
    ) -> anyhow::Result<Self> {
        fs::create_dir_all(state)?;
        let log = fs::File::create(state.join("local-cluster.log"))?;
        let mut command = Command::new(&binaries.local_cluster);
        command
            .arg("serve")
            .arg("--state")
            .arg(state.join("cluster"))
            .arg("--layer")
            .arg(layer);
        match volumes {
            Volumes::Empty => {}
            Volumes::From(folder) => {
                command.arg("--templates").arg(folder);
            }
            Volumes::Keep(folder) => {
                command.arg("--save-templates").arg(folder);
            }
        }
        // In a group of its own: Ctrl-C reaches us first, and we end it when its pods may go.
        // A bound one sees the end of its stdin when we are gone, however we went.
        let stdin = match lifetime {
            Lifetime::Bound => {
                command.arg("--lifeline");
                Stdio::piped()
            }
            Lifetime::MayStay => Stdio::null(),
        };
        command
            .process_group(0)
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(log.into_parts().0);
        let mut child = command
            .spawn()
            .context("failed to start the local cluster")?;
        let stdout = child.stdout.take().context("the child has no stdout")?;
        // From here on a failure ends the process.
        let mut cluster = Self {
            child: Some(child),
            state: state.to_owned(),
            kubeconfig: PathBuf::new(),
        };
        let mut line = String::new();
        BufReader::new(stdout)
            .read_line(&mut line)
            .context("failed to hear from the local cluster")?;
        let ready: Ready = serde_json::from_str(&line).with_context(|| cluster.why_not_ready())?;
        cluster.kubeconfig = ready.kubeconfig;
        Ok(cluster)
    }

    /// Leaves the cluster running and says the number of its process.
    pub(crate) fn leave(mut self) -> Option<u32> {
        self.child.take().map(|child| child.id())
    }

    /// Ends the cluster and its pods.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        self.end()
    }

    fn end(&mut self) -> anyhow::Result<()> {
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        let pid = Pid::from_raw(i32::try_from(child.id()).context("a process id fits a pid_t")?);
        // It may have ended by itself; waiting tells.
        let _ = kill(pid, Signal::SIGTERM);
        let (ended, wait) = mpsc::channel();
        std::thread::spawn(move || ended.send(child.wait()));
        match wait.recv_timeout(PATIENCE) {
            Ok(status) => {
                let status = status.context("failed to wait for the local cluster")?;
                if !status.success() {
                    bail!(
                        "the local cluster ended with {status}: {}",
                        self.last_words()
                    );
                }
                Ok(())
            }
            Err(_) => {
                let _ = killpg(pid, Signal::SIGKILL);
                bail!(
                    "the local cluster did not end within {} s and was killed",
                    PATIENCE.as_secs()
                )
            }
        }
    }

    fn why_not_ready(&self) -> String {
        format!("the local cluster did not start: {}", self.last_words())
    }

    fn last_words(&self) -> String {
        let log = fs::read_to_string(self.state.join("local-cluster.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        // The end of the log is where it says why.
        lines
            .get(lines.len().saturating_sub(15)..)
            .unwrap_or_default()
            .join("\n")
    }
}

impl Drop for LocalCluster {
    fn drop(&mut self) {
        // The way out after another failure, which is the one to be told.
        let _ = self.end();
    }
}
