//! Process 1 of a container, and the commands that join it later.
//!
//! Runs in children of the helper. The helper is process 1 of a pid namespace around all of them,
//! so the kernel ends every container, and with it its mounts, when the helper ends.

use std::os::fd::{AsFd, OwnedFd};

use anyhow::Context;
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, dup2_stderr, sethostname, setsid, write};

use super::command::{Streams, become_program};
use super::kernel;
use super::root;
use super::wire::{ContainerPlan, Ground};

/// The exit code of a container whose program could not be started; as engines have it.
pub(crate) const NOT_STARTED: i32 = 128;
/// The exit code of a process of which only the end is known: as if killed.
const UNKNOWN: i32 = 137;
/// Signals that process 1 passes on to the main program.
const FORWARDED: [Signal; 6] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
];

/// What process 1 gets from the helper besides the plan.
#[derive(Debug)]
pub(crate) struct Belongings {
    /// The network namespace of the pod.
    pub(crate) network: OwnedFd,
    /// Where the main program writes to.
    pub(crate) log: OwnedFd,
    /// Takes one sentence if the main program cannot be started; closes when it runs.
    pub(crate) failure: OwnedFd,
}

/// The namespaces that every container has for itself.
pub(crate) fn namespaces() -> CloneFlags {
    CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS
}

/// Signals that the helper blocks before it starts anything, so that none is lost on the way.
pub(crate) fn awaited_signals() -> SigSet {
    let mut signals = SigSet::empty();
    for signal in FORWARDED {
        signals.add(signal);
    }
    signals.add(Signal::SIGCHLD);
    signals
}

/// The life of process 1: builds the container, starts the main program, reaps, passes signals on.
pub(crate) fn live(
    ground: &Ground,
    plan: &ContainerPlan,
    belongings: Belongings,
    rootless: bool,
) -> i32 {
    match set_up(ground, plan, &belongings, rootless) {
        Err(error) => {
            report(
                &belongings.failure,
                &format!("failed to create containerd task: {error:#}"),
            );
            NOT_STARTED
        }
        Ok(main) => {
            // The log and the failure pipe are the main program's alone now.
            drop(belongings);
            supervise(main).unwrap_or(UNKNOWN)
        }
    }
}

fn set_up(
    ground: &Ground,
    plan: &ContainerPlan,
    belongings: &Belongings,
    rootless: bool,
) -> anyhow::Result<Pid> {
    let Belongings {
        network,
        log,
        failure,
    } = belongings;
    kernel::close_all_but(&[network, log, failure].map(AsFd::as_fd))
        .context("failed to close the helper's files")?;
    dup2_stderr(null()?).context("failed to let go of the helper's stderr")?;
    setns(network, CloneFlags::CLONE_NEWNET).context("failed to join the pod's network")?;
    root::enter(ground, plan, rootless)?;
    sethostname(&plan.host_name).context("failed to set the host name")?;
    let devices = Streams {
        stdin: null()?,
        stdout: log.try_clone()?,
        stderr: log.try_clone()?,
    };
    let main = kernel::clone_process(CloneFlags::empty(), || {
        let _own_session = setsid();
        report(
            failure,
            &become_program(plan, &plan.command, devices, rootless),
        );
        NOT_STARTED
    })
    .context("failed to start a process")?;
    Ok(main.0)
}

/// Waits until the main program ends and gives its exit code, 128+n for signal n.
fn supervise(main: Pid) -> anyhow::Result<i32> {
    let signals = SignalFd::with_flags(&awaited_signals(), SfdFlags::SFD_CLOEXEC)?;
    loop {
        let Some(signal) = signals.read_signal()? else {
            continue;
        };
        let number = i32::try_from(signal.ssi_signo).context("a signal has no number")?;
        match Signal::try_from(number)? {
            Signal::SIGCHLD => {
                if let Some(code) = reap(main) {
                    return Ok(code);
                }
            }
            // Until it is reaped the number is the main program's, so this hits nobody else.
            signal => drop(kill(main, signal)),
        }
    }
}

/// Buries all children that have ended; gives the exit code if the main program is among them.
fn reap(main: Pid) -> Option<i32> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) | Err(_) => return None,
            Ok(status) if status.pid() == Some(main) => return Some(exit_code(Ok(status))),
            Ok(_) => {}
        }
    }
}

/// What a command run in a container gets from the helper.
#[derive(Debug)]
pub(crate) struct Visit<'a> {
    /// A descriptor of process 1 of the container.
    pub(crate) container: &'a OwnedFd,
    /// Takes one sentence if the command cannot be started.
    pub(crate) failure: &'a OwnedFd,
    pub(crate) streams: Streams,
}

/// Joins the container from a process that is in its pid namespace already, and runs the command.
pub(crate) fn visit(
    plan: &ContainerPlan,
    command: &[String],
    visit: Visit<'_>,
    rootless: bool,
) -> i32 {
    let Visit {
        container,
        failure,
        streams,
    } = visit;
    let joined = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    let _own_session = setsid();
    let sentence = match setns(container, joined) {
        Err(error) => format!(
            "failed to join the container: {}",
            error.desc().to_lowercase()
        ),
        Ok(()) => become_program(plan, command, streams, rootless),
    };
    report(failure, &sentence);
    NOT_STARTED
}

/// The exit code of a process as shells and Kubernetes tell it.
pub(crate) fn exit_code(status: nix::Result<WaitStatus>) -> i32 {
    match status {
        Ok(WaitStatus::Exited(_, code)) => code,
        Ok(WaitStatus::Signaled(_, signal, _)) => 128 + signal as i32,
        // Real-time signals have no name in nix; nothing else can end a process.
        Ok(_) | Err(_) => UNKNOWN,
    }
}

/// An open `/dev/null`.
pub(crate) fn null() -> anyhow::Result<OwnedFd> {
    let file = fs_err::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    Ok(file.into_parts().0.into())
}

fn report(failure: &OwnedFd, sentence: &str) {
    // A pipe takes a sentence whole, and if the helper is gone nobody wants to know.
    let _nobody_listens = write(failure, sentence.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_counts_from_128() {
        let killed = WaitStatus::Signaled(Pid::from_raw(1), Signal::SIGKILL, false);
        assert_eq!(exit_code(Ok(killed)), 137);
        assert_eq!(exit_code(Ok(WaitStatus::Exited(Pid::from_raw(1), 7))), 7);
    }
}
