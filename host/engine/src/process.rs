//! Commands that a module started: their streams, their captured output, their end.
//!
//! Must never close the input of a command properly after that input was cut: the command would
//! take half for a whole. Must never leave a command without a reader that it waits for.

use cofferdam_policy::name::CommandName;
use tokio_util::task::AbortOnDropHandle;

use crate::fault::{Answer, Fault};
use crate::host::{HostError, Outcome, Process, Source};
use crate::limits;
use crate::manifest::{DeclaredStdin, DeclaredStdout};
use crate::state::{Gone, OpenSink, OpenSource, Origin, SinkEntry, SinkKind, Slot, SourceEntry};

/// A process of the guest.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct ProcessEntry {
    pub(crate) number: u64,
    command: CommandName,
    stdin: Wanted,
    stdout: DeclaredStdout,
    running: Option<Running>,
}

/// What the manifest says may be fed to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Nothing,
    Artifact,
    Script,
    Anything,
}

struct Running {
    process: Box<dyn Process>,
    stdin: Option<Slot<OpenSink>>,
    stdout: Option<Slot<OpenSource>>,
    capture: Option<AbortOnDropHandle<Result<Captured, HostError>>>,
}

/// What was kept of a command's output.
#[derive(Debug, Default)]
pub(crate) struct Captured {
    pub(crate) bytes: Vec<u8>,
    pub(crate) cut: bool,
}

/// How a process ended, with what was kept of its output.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) outcome: Outcome,
    pub(crate) captured: Captured,
}

impl ProcessEntry {
    /// Takes a process that the host has started. Where output is to be captured, reading begins
    /// now, so that the command never waits for a reader while the module feeds it.
    pub(crate) fn new(
        number: u64,
        command: CommandName,
        stdin: &DeclaredStdin,
        stdout: DeclaredStdout,
        mut process: Box<dyn Process>,
    ) -> Self {
        let capture = match stdout {
            DeclaredStdout::Stream => None,
            DeclaredStdout::Capture(limit) => process.take_stdout().map(|source| {
                let limit = usize::try_from(limit).unwrap_or(usize::MAX);
                AbortOnDropHandle::new(tokio::spawn(capture(source, limit)))
            }),
        };
        let wanted = match stdin {
            DeclaredStdin::None => Wanted::Nothing,
            DeclaredStdin::Artifact => Wanted::Artifact,
            DeclaredStdin::Template(_) => Wanted::Script,
            DeclaredStdin::Free => Wanted::Anything,
        };
        Self {
            number,
            command,
            stdin: wanted,
            stdout,
            running: Some(Running {
                process,
                stdin: None,
                stdout: None,
                capture,
            }),
        }
    }

    fn running(&mut self) -> Answer<&mut Running> {
        let command = &self.command;
        self.running.as_mut().ok_or_else(|| {
            Fault::invalid(format!(
                "command `{command}` was waited for or killed already"
            ))
        })
    }

    /// The way in, once.
    pub(crate) fn stdin(&mut self) -> Answer<SinkEntry> {
        let command = self.command.clone();
        let only_artifacts = match self.stdin {
            Wanted::Nothing => {
                return Err(Fault::invalid(format!(
                    "command `{command}` declares stdin = \"none\""
                )));
            }
            Wanted::Script => {
                return Err(Fault::invalid(format!(
                    "the host writes the script of command `{command}`"
                )));
            }
            Wanted::Artifact => true,
            Wanted::Anything => false,
        };
        let process = self.number;
        let running = self.running()?;
        let sink = running.process.take_stdin().ok_or_else(|| {
            Fault::invalid(format!("stdin of command `{command}` was taken already"))
        })?;
        let slot = Slot::new(OpenSink::Stdin(sink));
        running.stdin = Some(slot.clone());
        Ok(SinkEntry {
            kind: SinkKind::Stdin {
                command,
                process,
                only_artifacts,
            },
            slot,
            fed_by: std::collections::BTreeSet::new(),
        })
    }

    /// The way out, once.
    pub(crate) fn stdout(&mut self) -> Answer<SourceEntry> {
        let command = self.command.clone();
        if let DeclaredStdout::Capture(_) = self.stdout {
            return Err(Fault::invalid(format!(
                "the output of command `{command}` is captured: `wait` returns it"
            )));
        }
        let origin = Origin::Process(self.number);
        let running = self.running()?;
        let source = running.process.take_stdout().ok_or_else(|| {
            Fault::invalid(format!("stdout of command `{command}` was taken already"))
        })?;
        let slot = Slot::new(OpenSource::new(source));
        running.stdout = Some(slot.clone());
        Ok(SourceEntry {
            origin,
            slot,
            sealed: false,
        })
    }

    /// Ends the input, reads the rest of the output, waits for the exit status. Once.
    pub(crate) async fn wait(&mut self) -> Answer<Ended> {
        self.running()?;
        let Some(Running {
            process,
            stdin,
            stdout,
            capture,
        }) = self.running.take()
        else {
            return Err(Fault::invalid("the command has ended"));
        };
        match stdin.map(|slot| (slot.take(), slot)) {
            Some((Ok(OpenSink::Stdin(sink)), slot)) => {
                slot.end(Gone::Closed);
                // A command that ends early closes its input: its exit status says more.
                if let Err(error) = sink.close().await {
                    tracing::debug!(%error, "the input of a command was closed already");
                }
            }
            Some((Err(Gone::Cut), _)) => {
                process.kill().await?;
                return Err(Fault::Caused {
                    code: "input-cut",
                    message: format!(
                        "the input of command `{}` was cut, so it was given up",
                        self.command
                    ),
                    cause: "stream-cut",
                });
            }
            Some((
                Ok(OpenSink::Artifact(_) | OpenSink::File(_)) | Err(Gone::Closed | Gone::Failed),
                _,
            ))
            | None => {}
        }
        let drain = async {
            let Some((Ok(mut source), slot)) = stdout.map(|slot| (slot.take(), slot)) else {
                return;
            };
            slot.end(Gone::Closed);
            // A cut is the process's to report: it knows whether there was a status.
            while let Ok(Some(_)) = source.next().await {}
        };
        let captured = async {
            match capture {
                Some(task) => task.await.map_err(|_| HostError::Failed {
                    code: "capture-lost",
                    message: "the output of the command was lost".to_owned(),
                })?,
                None => Ok(Captured::default()),
            }
        };
        let ((), captured, outcome) = tokio::join!(drain, captured, process.wait());
        let outcome = outcome?;
        Ok(Ended {
            outcome,
            captured: captured?,
        })
    }

    /// Gives the command up. Killing what has ended is no error.
    pub(crate) async fn kill(&mut self) -> Answer<()> {
        match self.running.take() {
            Some(running) => Ok(running.process.kill().await?),
            None => Ok(()),
        }
    }
}

/// Keeps the first `limit` bytes and reads the rest.
async fn capture(mut source: Box<dyn Source>, limit: usize) -> Result<Captured, HostError> {
    let mut captured = Captured::default();
    while let Some(chunk) = source.next().await? {
        let room = limit - captured.bytes.len();
        captured
            .bytes
            .extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
        captured.cut |= chunk.len() > room;
    }
    Ok(captured)
}

/// What the guest gets of standard error: already cleaned by the host, and bounded here again.
pub(crate) fn stderr_for_guest(stderr: String) -> (String, bool) {
    let limit = usize::try_from(limits::CAPTURE_BYTES).unwrap_or(usize::MAX);
    if stderr.len() <= limit {
        return (stderr, false);
    }
    let end = stderr.floor_char_boundary(limit);
    (stderr.get(..end).unwrap_or_default().to_owned(), true)
}
