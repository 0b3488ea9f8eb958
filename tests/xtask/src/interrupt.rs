//! Ctrl-C and SIGTERM: handed on to the children that work for us, so that they end in order, and
//! remembered, so that the command cleans up and fails instead of going on. Never ends this process
//! itself: the way out runs every destructor.

use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
static CHILDREN: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// Keeps a child on the list of those that are told of an interruption.
#[derive(Debug)]
pub(crate) struct Listed(Pid);

impl Drop for Listed {
    fn drop(&mut self) {
        children().retain(|pid| *pid != self.0);
    }
}

/// Starts to listen, once, at the start of the program.
pub(crate) fn listen() -> anyhow::Result<()> {
    let mut signals =
        Signals::new([SIGINT, SIGTERM, SIGHUP]).context("failed to listen for Ctrl-C")?;
    std::thread::Builder::new()
        .name("interrupt".to_owned())
        .spawn(move || {
            for signal in signals.forever() {
                INTERRUPTED.store(true, Ordering::SeqCst);
                // Ctrl-C on a terminal has reached them too, and a second signal means "at once".
                if signal == SIGINT && std::io::stdin().is_terminal() {
                    continue;
                }
                for pid in children().iter() {
                    // A child that has just ended is no failure.
                    let _ = kill(*pid, Signal::SIGTERM);
                }
            }
        })
        .context("failed to listen for Ctrl-C")?;
    Ok(())
}

/// Lists a running child until the guard is dropped.
pub(crate) fn list(pid: u32) -> Listed {
    let pid = Pid::from_raw(i32::try_from(pid).expect("a process id fits a pid_t"));
    children().push(pid);
    Listed(pid)
}

/// Fails when an interruption has come.
pub(crate) fn check() -> anyhow::Result<()> {
    if INTERRUPTED.load(Ordering::SeqCst) {
        bail!("interrupted");
    }
    Ok(())
}

fn children() -> MutexGuard<'static, Vec<Pid>> {
    CHILDREN.lock().unwrap_or_else(PoisonError::into_inner)
}
