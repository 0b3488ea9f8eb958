//! The cluster process's end of the conversation with its pod helper.
//!
//! Starts the helper, matches its reports to whoever waits for them, and ends it. Nothing here
//! knows what a pod is.

use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context, bail};
use nix::sys::socket::{AddressFamily, Shutdown, SockFlag, SockType, shutdown, socketpair};
use tokio::sync::{oneshot, watch};

use super::HELPER_COMMAND;
use super::wire::{Ending, Event, Ground, Order, Request, receive, send};

/// A running helper. Dropping it ends the helper, and with it every pod, before it returns.
#[derive(Debug)]
pub(crate) struct Link {
    socket: Arc<OwnedFd>,
    ledger: Arc<Mutex<Ledger>>,
    numbers: AtomicU64,
    helper: Mutex<Option<Helper>>,
}

#[derive(Debug)]
struct Helper {
    process: Child,
    reader: JoinHandle<()>,
}

/// Who waits for what.
#[derive(Debug, Default)]
struct Ledger {
    answers: HashMap<u64, oneshot::Sender<Result<(), String>>>,
    endings: HashMap<u64, watch::Sender<Option<Ending>>>,
    closed: bool,
}

/// Tells when and how a process ends.
#[derive(Debug, Clone)]
pub(crate) struct Watcher(watch::Receiver<Option<Ending>>);

impl Watcher {
    /// Waits for the end of the process.
    pub(crate) async fn ending(&self) -> Ending {
        let mut receiver = self.0.clone();
        let ending = receiver.wait_for(Option::is_some).await;
        ending
            .ok()
            .and_then(|ending| ending.clone())
            .unwrap_or(Ending::Lost)
    }
}

impl Link {
    /// Starts the helper and waits until it has made its namespaces, or says why it cannot.
    pub(crate) fn open(helper: &Path, ground: Ground) -> anyhow::Result<Self> {
        let (ours, theirs) = socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC,
        )
        .context("failed to make the pod helper's socket")?;
        let mut process = Command::new(helper)
            .arg(HELPER_COMMAND)
            .env_clear()
            .stdin(theirs)
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("failed to start the pod helper `{}`", helper.display()))?;
        send(
            ours.as_fd(),
            &Request {
                ticket: 0,
                order: Order::Prepare(ground),
            },
            &[],
        )?;
        match receive::<Event>(ours.as_fd())? {
            Some((Event::Answered { refusal: None, .. }, _)) => {}
            Some((
                Event::Answered {
                    refusal: Some(reason),
                    ..
                },
                _,
            )) => {
                let _already_ending = process.wait();
                bail!("this machine cannot run pods: {reason}");
            }
            Some((Event::Ended { .. }, _)) | None => {
                let _already_ending = process.wait();
                bail!(
                    "`{}` does not answer as a pod helper: it must call `helper_main` first",
                    helper.display()
                );
            }
        }
        let socket = Arc::new(ours);
        let ledger = Arc::new(Mutex::new(Ledger::default()));
        let reader = std::thread::Builder::new()
            .name("pod-reports".to_owned())
            .spawn({
                let (socket, ledger) = (Arc::clone(&socket), Arc::clone(&ledger));
                move || listen(socket.as_fd(), &ledger)
            })?;
        let helper = Mutex::new(Some(Helper { process, reader }));
        Ok(Self {
            socket,
            ledger,
            numbers: AtomicU64::new(1),
            helper,
        })
    }

    /// A number that no pod, process or request of this runtime has had.
    pub(crate) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Registers for the end of a process; to be called before the order that starts it.
    pub(crate) fn watch(&self, process: u64) -> Watcher {
        let (sender, receiver) = watch::channel(None);
        let mut ledger = lock(&self.ledger);
        // Once closed the sender is dropped here, which the watcher reads as lost.
        if !ledger.closed {
            ledger.endings.insert(process, sender);
        }
        Watcher(receiver)
    }

    /// Takes back a registration whose process never came to be.
    pub(crate) fn forget(&self, process: u64) {
        lock(&self.ledger).endings.remove(&process);
    }

    /// Gives an order and waits for the answer.
    pub(crate) async fn order(
        &self,
        order: Order,
        descriptors: &[BorrowedFd<'_>],
    ) -> anyhow::Result<()> {
        let answer = self.post(order, descriptors)?;
        match answer.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(reason)) => Err(anyhow::Error::msg(reason)),
            Err(_) => bail!("the pod helper has ended"),
        }
    }

    /// Gives an order; the answer comes later, and may be ignored.
    pub(crate) fn post(
        &self,
        order: Order,
        descriptors: &[BorrowedFd<'_>],
    ) -> anyhow::Result<oneshot::Receiver<Result<(), String>>> {
        let ticket = self.number();
        let (sender, receiver) = oneshot::channel();
        {
            let mut ledger = lock(&self.ledger);
            if ledger.closed {
                bail!("the pod helper has ended");
            }
            ledger.answers.insert(ticket, sender);
        }
        let sent = send(self.socket.as_fd(), &Request { ticket, order }, descriptors);
        if sent.is_err() {
            lock(&self.ledger).answers.remove(&ticket);
        }
        sent.map(|()| receiver)
    }

    /// Ends the helper and waits until it and everything in it is gone. Blocks for a moment.
    pub(crate) fn close(&self) {
        let Some(Helper {
            mut process,
            reader,
        }) = lock(&self.helper).take()
        else {
            return;
        };
        let _already_closed = shutdown(self.socket.as_raw_fd(), Shutdown::Both);
        let _reaped = process.wait();
        let _ended = reader.join();
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.close();
    }
}

/// Hands each report to whoever waits for it, until the helper is gone.
fn listen(socket: BorrowedFd<'_>, ledger: &Mutex<Ledger>) {
    while let Ok(Some((event, _))) = receive::<Event>(socket) {
        let mut ledger = lock(ledger);
        match event {
            Event::Answered { ticket, refusal } => {
                if let Some(waiting) = ledger.answers.remove(&ticket) {
                    let _nobody_waits = waiting.send(refusal.map_or(Ok(()), Err));
                }
            }
            Event::Ended { process, ending } => {
                if let Some(waiting) = ledger.endings.remove(&process) {
                    waiting.send_replace(Some(ending));
                }
            }
        }
    }
    let mut ledger = lock(ledger);
    ledger.closed = true;
    ledger.answers.clear();
    ledger.endings.clear();
}

/// A panic in between leaves no half-written entry, so a poisoned ledger is as good as another.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
