//! A command run in a container: three pipes and the way it ended.
//!
//! The pipes lead straight to the command, so its output is as fast as a pipe and a reader that
//! stops reading holds the command back.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use anyhow::Context;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::pipe2;
use tokio::net::unix::pipe::{Receiver, Sender};

use super::container::null;
use super::link::Watcher;
use super::runtime::Inner;
use super::wire::{Ending, Order, borrow};

/// What one pipe holds: the most that Linux gives to an ordinary user, since fewer and larger
/// turns are faster.
const PIPE_BYTES: i32 = 1 << 20;

/// A command that runs in a container.
#[derive(Debug)]
pub struct Exec {
    /// The command's input, if it was asked for. Dropping it is the end of the input.
    pub stdin: Option<Sender>,
    /// The command's output. It ends when the command and all its children have closed it.
    pub stdout: Receiver,
    /// The command's error output.
    pub stderr: Receiver,
    waiter: ExecWaiter,
}

/// Waits for a command's end, independently of its pipes.
#[derive(Debug, Clone)]
pub struct ExecWaiter {
    runtime: Arc<Inner>,
    process: u64,
    watcher: Watcher,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecStatus {
    /// It ran and ended with this code; 128+n if signal n ended it.
    Code(i32),
    /// It could not be run, in the words of a container runtime.
    NotFound(String),
    /// The helper process ended before it said how the command did.
    Lost(String),
}

impl Exec {
    pub(crate) async fn start(
        runtime: Arc<Inner>,
        container: u64,
        command: Vec<String>,
        with_stdin: bool,
    ) -> anyhow::Result<Self> {
        let (stdin, their_stdin) = if with_stdin {
            let (theirs, ours) = wide_pipe()?;
            (
                Some(Sender::from_owned_fd(nonblocking(ours)?).context("failed to watch a pipe")?),
                theirs,
            )
        } else {
            (None, null()?)
        };
        let (stdout, their_stdout) = outward_pipe()?;
        let (stderr, their_stderr) = outward_pipe()?;
        let process = runtime.link.number();
        let watcher = runtime.link.watch(process);
        let order = Order::Execute {
            container,
            process,
            command,
        };
        let theirs = [their_stdin, their_stdout, their_stderr];
        if let Err(error) = runtime.link.order(order, &borrow(&theirs)).await {
            runtime.link.forget(process);
            return Err(error);
        }
        Ok(Self {
            stdin,
            stdout,
            stderr,
            waiter: ExecWaiter {
                runtime,
                process,
                watcher,
            },
        })
    }

    /// Waits until the command ends; its children may live on. May be called again.
    pub async fn wait(&mut self) -> ExecStatus {
        self.waiter.wait().await
    }

    /// A handle that waits for the same command while the pipes are elsewhere.
    #[must_use]
    pub fn status_handle(&self) -> ExecWaiter {
        self.waiter.clone()
    }

    /// Kills the command with SIGKILL, but not its children. Does nothing if it has ended.
    pub fn kill(&mut self) {
        self.waiter.kill();
    }
}

impl ExecWaiter {
    /// Waits until the command ends; its children may live on. May be called again.
    pub async fn wait(&self) -> ExecStatus {
        match self.watcher.ending().await {
            Ending::Code(code) => ExecStatus::Code(code),
            Ending::NotStarted(reason) => ExecStatus::NotFound(format!(
                "failed to exec in container: failed to start exec \"{:064x}\": OCI runtime exec failed: \
                 exec failed: unable to start container process: {reason}: unknown",
                self.process
            )),
            Ending::Lost => ExecStatus::Lost("the pod helper has ended".to_owned()),
        }
    }

    /// Kills the command with SIGKILL, but not its children. Does nothing if it has ended.
    pub fn kill(&self) {
        let order = Order::Signal {
            process: self.process,
            signal: libc::SIGKILL,
        };
        // Without a helper the command is gone as well.
        let _nobody_waits = self.runtime.link.post(order, &[]);
    }
}

fn outward_pipe() -> anyhow::Result<(Receiver, OwnedFd)> {
    let (ours, theirs) = wide_pipe()?;
    let ours = Receiver::from_owned_fd(nonblocking(ours)?).context("failed to watch a pipe")?;
    Ok((ours, theirs))
}

/// A pipe: where it is read, and where it is written.
fn wide_pipe() -> anyhow::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = pipe2(OFlag::O_CLOEXEC).context("failed to make a pipe")?;
    // A user with many pipes gets smaller ones, which is slower and no failure.
    let _may_be_refused = fcntl(&write, FcntlArg::F_SETPIPE_SZ(PIPE_BYTES));
    Ok((read, write))
}

/// Our end only: the mode belongs to the end and not to the pipe, so the command's stays blocking.
fn nonblocking(end: OwnedFd) -> anyhow::Result<OwnedFd> {
    fcntl(&end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
        .context("failed to set a pipe to non-blocking")?;
    Ok(end)
}
