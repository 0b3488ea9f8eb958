//! A command that runs in a pod: its input, its output, and the proof of its end.
//!
//! Must never call a stream whole before the exit status has come, and never close the input of a
//! command whose input was given up: half a dump must not look like a dump.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::error::Error;
use crate::prelude::{NO_SECRET, NO_VARIABLE};
use crate::text;

/// How much of standard error is kept: enough for the last words of a chatty tool.
const STDERR_KEPT: usize = 64 << 10;
/// Input goes out in frames of at most this size, which every known server takes.
pub(crate) const PIECE: usize = 64 << 10;

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The exit code; 128 + n for signal n. Not zero is data, not an error.
    pub exit_code: i32,
    /// The last 64 KiB of standard error; control characters but newline and tab are escaped.
    pub stderr: String,
    /// Whether standard error was longer than that.
    pub stderr_cut: bool,
    /// Bytes of standard output that came.
    pub stdout_bytes: u64,
    /// Bytes of input that were handed to the connection.
    pub stdin_bytes: u64,
    /// From the start of the command to its status.
    pub duration: Duration,
}

/// What the connection found at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// The status came: the command ended with this code, and all output before it is here.
    Exited(i32),
    /// The status came: the command never ran.
    NotStarted(String),
    /// No status came.
    Cut(String),
    /// The command took too long, in seconds.
    TimedOut(u64),
    /// This side gave up.
    GivenUp,
}

/// For the one who writes to the connection.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// Input for the command.
    Data(Bytes),
    /// There is no more.
    Close,
}

/// What the handles and the connection of one command share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// For people: ``command `dump` ``.
    pub(crate) command: String,
    pub(crate) pod: String,
    pub(crate) stdout_bytes: AtomicU64,
    pub(crate) stdin_bytes: AtomicU64,
    stderr: Mutex<Tail>,
    end: watch::Sender<Option<(End, Duration)>>,
    started: Instant,
}

impl Shared {
    pub(crate) fn new(command: String, pod: String) -> Arc<Self> {
        Arc::new(Self {
            command,
            pod,
            stdout_bytes: AtomicU64::new(0),
            stdin_bytes: AtomicU64::new(0),
            stderr: Mutex::default(),
            end: watch::channel(None).0,
            started: Instant::now(),
        })
    }

    /// Keeps the tail of standard error.
    pub(crate) fn stderr(&self, bytes: &[u8]) {
        if let Ok(mut tail) = self.stderr.lock() {
            tail.push(bytes);
        }
    }

    /// Says how it ended, once: the first word counts.
    pub(crate) fn finish(&self, end: End) {
        let duration = self.started.elapsed();
        self.end.send_if_modified(|known| {
            let first = known.is_none();
            if first {
                *known = Some((end, duration));
            }
            first
        });
    }

    async fn ended(&self) -> (End, Duration) {
        let mut receiver = self.end.subscribe();
        match receiver.wait_for(Option::is_some).await {
            Ok(known) => known.clone().unwrap_or((End::GivenUp, Duration::ZERO)),
            // The sender lives in `self`.
            Err(_) => (End::GivenUp, Duration::ZERO),
        }
    }

    fn error(&self, end: End) -> Error {
        let (command, pod) = (self.command.clone(), self.pod.clone());
        let bytes = self.stdout_bytes.load(Ordering::Relaxed);
        match end {
            End::NotStarted(message) => Error::NotStarted {
                command,
                pod,
                message,
            },
            End::Cut(how) => Error::NoStatus {
                command,
                pod,
                bytes,
                how,
            },
            End::TimedOut(seconds) => Error::CommandTimedOut {
                command,
                pod,
                seconds,
                bytes,
            },
            End::GivenUp | End::Exited(_) => Error::GivenUp {
                command,
                pod,
                bytes,
            },
        }
    }
}

/// Ends the connection when the last handle that needs it goes.
#[derive(Debug)]
pub(crate) struct Connection {
    shared: Arc<Shared>,
    task: AbortHandle,
}

impl Connection {
    pub(crate) fn new(shared: Arc<Shared>, task: AbortHandle) -> Self {
        Self { shared, task }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.finish(End::GivenUp);
        self.task.abort();
    }
}

/// A command that runs in a pod. Dropping it gives the command up: the connection is closed, but
/// children of the command may live on in the pod, because Kubernetes has no way to end them.
pub struct Process {
    connection: Connection,
    stdin: Option<Stdin>,
    stdout: Option<Stdout>,
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shared = &self.connection.shared;
        write!(f, "Process({} in {})", shared.command, shared.pod)
    }
}

impl Process {
    pub(crate) fn new(connection: Connection, stdin: Option<Stdin>, stdout: Stdout) -> Self {
        Self {
            connection,
            stdin,
            stdout: Some(stdout),
        }
    }

    /// The way in, once; `None` where the manifest allows no input or the host feeds it itself.
    pub fn take_stdin(&mut self) -> Option<Stdin> {
        self.stdin.take()
    }

    /// The way out, once. Keep the `Process` while reading: dropping it cuts the stream.
    pub fn take_stdout(&mut self) -> Option<Stdout> {
        self.stdout.take()
    }

    /// Waits for the exit status. Closes stdin that was never taken; discards output that was never
    /// taken. Output that was taken has to be read, or the command never ends.
    ///
    /// # Errors
    /// [`Error::NoStatus`], [`Error::NotStarted`], [`Error::CommandTimedOut`], [`Error::GivenUp`]
    /// when a [`Stdin`] was dropped before it was closed, and [`Error::Environment`] when a variable
    /// that the container should have is missing. A non-zero exit code is no error.
    pub async fn wait(mut self) -> Result<Outcome, Error> {
        drop(self.stdout.take());
        if let Some(stdin) = self.stdin.take() {
            stdin.close().await?;
        }
        let shared = &self.connection.shared;
        let (end, duration) = shared.ended().await;
        let End::Exited(exit_code) = end else {
            return Err(shared.error(end));
        };
        let (stderr, stderr_cut) = match shared.stderr.lock() {
            Ok(tail) => (tail.text(), tail.cut),
            Err(_) => (String::new(), true),
        };
        if matches!(exit_code, NO_VARIABLE | NO_SECRET)
            && let Some(what) = stderr
                .lines()
                .find_map(|line| line.strip_prefix("cofferdam: "))
        {
            return Err(Error::Environment {
                command: shared.command.clone(),
                what: what.to_owned(),
            });
        }
        Ok(Outcome {
            exit_code,
            stderr,
            stderr_cut,
            stdout_bytes: shared.stdout_bytes.load(Ordering::Relaxed),
            stdin_bytes: shared.stdin_bytes.load(Ordering::Relaxed),
            duration,
        })
    }

    /// Gives the command up, as dropping does.
    pub async fn kill(self) {
        drop(self);
        // Lets the connection's task end before the caller goes on.
        tokio::task::yield_now().await;
    }
}

/// Standard output of a command.
#[derive(Debug)]
pub struct Stdout {
    shared: Arc<Shared>,
    receiver: mpsc::Receiver<Bytes>,
    bytes: u64,
}

impl Stdout {
    pub(crate) fn new(shared: Arc<Shared>, receiver: mpsc::Receiver<Bytes>) -> Self {
        Self {
            shared,
            receiver,
            bytes: 0,
        }
    }

    /// The next bytes, never empty. `Ok(None)` only when the exit status has come and all that came
    /// before it was given out; whether the command succeeded is for [`Process::wait`] to say.
    ///
    /// # Errors
    /// The same as [`Process::wait`]: then nothing of the stream can be trusted.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        if let Some(bytes) = self.receiver.recv().await {
            self.bytes += bytes.len() as u64;
            return Ok(Some(bytes));
        }
        match self.shared.ended().await.0 {
            End::Exited(_) => Ok(None),
            end => Err(self.shared.error(end)),
        }
    }

    /// How many bytes were given out.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// Standard input of a command. Dropping it without [`close`](Self::close) gives the command up.
#[derive(Debug)]
pub struct Stdin {
    shared: Arc<Shared>,
    sender: mpsc::Sender<Outgoing>,
    announced: Option<u64>,
    written: u64,
}

impl Stdin {
    pub(crate) fn new(
        shared: Arc<Shared>,
        sender: mpsc::Sender<Outgoing>,
        announced: Option<u64>,
    ) -> Self {
        Self {
            shared,
            sender,
            announced,
            written: 0,
        }
    }

    /// Writes all of `bytes`, waiting where the command is slow.
    ///
    /// # Errors
    /// [`Error::StdinRefused`] when the command ended: ask [`Process::wait`] why.
    /// [`Error::StdinLength`] for more than was announced.
    pub async fn write(&mut self, mut bytes: Bytes) -> Result<(), Error> {
        self.check(self.written + bytes.len() as u64, |written, announced| {
            written <= announced
        })?;
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(PIECE));
            let length = piece.len() as u64;
            self.send(Outgoing::Data(piece)).await?;
            self.written += length;
            self.shared
                .stdin_bytes
                .store(self.written, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Says that there is no more.
    ///
    /// # Errors
    /// [`Error::StdinLength`] for less than was announced: the command is given up then.
    pub async fn close(self) -> Result<(), Error> {
        self.check(self.written, |written, announced| written == announced)?;
        // A command that has ended already needs no end of its input.
        let _ = self.send(Outgoing::Close).await;
        Ok(())
    }

    fn check(&self, written: u64, fits: fn(u64, u64) -> bool) -> Result<(), Error> {
        match self.announced {
            Some(announced) if !fits(written, announced) => Err(Error::StdinLength {
                command: self.shared.command.clone(),
                announced,
                written,
            }),
            _ => Ok(()),
        }
    }

    async fn send(&self, outgoing: Outgoing) -> Result<(), Error> {
        let sent = tokio::select! {
            biased;
            _ = self.shared.ended() => false,
            sent = self.sender.send(outgoing) => sent.is_ok(),
        };
        if sent {
            return Ok(());
        }
        Err(Error::StdinRefused {
            command: self.shared.command.clone(),
            pod: self.shared.pod.clone(),
        })
    }
}

/// The last bytes of standard error.
#[derive(Debug, Default)]
struct Tail {
    bytes: VecDeque<u8>,
    cut: bool,
}

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        let kept = bytes.get(bytes.len().saturating_sub(STDERR_KEPT)..);
        let kept = kept.unwrap_or_default();
        let overflow = (self.bytes.len() + kept.len()).saturating_sub(STDERR_KEPT);
        self.cut |= overflow > 0 || kept.len() < bytes.len();
        self.bytes.drain(..overflow.min(self.bytes.len()));
        self.bytes.extend(kept);
    }

    fn text(&self) -> String {
        let (first, second) = self.bytes.as_slices();
        text::lines(&[first, second].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_keeps_the_last_bytes() {
        let mut tail = Tail::default();
        tail.push(&[b'a'; STDERR_KEPT]);
        assert!(!tail.cut);
        tail.push(b"end");
        assert!(tail.cut);
        assert_eq!(tail.bytes.len(), STDERR_KEPT);
        assert!(tail.text().ends_with("aend"));
        tail.push(&[b'b'; 2 * STDERR_KEPT]);
        assert_eq!(tail.text(), "b".repeat(STDERR_KEPT));
    }
}
