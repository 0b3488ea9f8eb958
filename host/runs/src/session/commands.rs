//! Commands: from a filled template to a process in a pod.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use cofferdam_engine::host::{HostError, Invocation, Outcome, PodId, Process, Sink, Source};
use cofferdam_engine::manifest::{DeclaredSource, DeclaredStdin};
use cofferdam_policy::request::{EnvironmentSource, RunCommand, Stdin};

use super::{Granted, Pending, Session};
use crate::audit::Ending;
use crate::blame;

impl Session {
    pub(super) async fn start_command(
        &self,
        pod: &PodId,
        invocation: Invocation<'_>,
    ) -> Result<Box<dyn Process>, HostError> {
        let command = invocation.command;
        let in_pod = self.pod(pod)?;
        let mut environment = Vec::new();
        for (variable, source) in &command.environment {
            let source = match source {
                DeclaredSource::Pod(inner) => EnvironmentSource::Pod {
                    variable: inner.clone(),
                },
                DeclaredSource::Secret(handle) if self.may_lack(handle) => continue,
                DeclaredSource::SecretOrPod(handle, inner) if self.may_lack(handle) => {
                    EnvironmentSource::Pod {
                        variable: inner.clone(),
                    }
                }
                DeclaredSource::Secret(handle) | DeclaredSource::SecretOrPod(handle, _) => {
                    let bound = self.secret(handle)?;
                    EnvironmentSource::Secret {
                        handle: handle.clone(),
                        object: bound.secret,
                        key: bound.key,
                    }
                }
            };
            environment.push((variable.clone(), source));
        }
        let stdin = match (&command.stdin, invocation.script) {
            (DeclaredStdin::None, _) => Stdin::None,
            (DeclaredStdin::Artifact, _) => Stdin::Artifact,
            (DeclaredStdin::Template(_), script) => Stdin::Template {
                text: script.unwrap_or_default(),
            },
            (DeclaredStdin::Free, _) => Stdin::Free,
        };
        let length = if stdin == Stdin::Artifact {
            self.sole_artifact_length().await
        } else {
            None
        };
        let request = RunCommand {
            target: self.bound(&command.target)?,
            command: command.name.clone(),
            argv: invocation.argv,
            holes: invocation.holes,
            environment,
            stdin,
            timeout: command.timeout,
        };
        let Granted { permit, record } = self.permit(request)?;
        match self.shared.cluster.exec(permit, &in_pod, length).await {
            Ok(process) => Ok(Box::new(PodProcess {
                process,
                bytes: Arc::default(),
                record,
            })),
            Err(error) => record.close(Err(error)),
        }
    }
}

/// A command that runs in a pod.
struct PodProcess {
    process: cofferdam_cluster::Process,
    bytes: Arc<AtomicU64>,
    record: Pending,
}

#[async_trait]
impl Process for PodProcess {
    fn take_stdin(&mut self) -> Option<Box<dyn Sink>> {
        let stdin = self.process.take_stdin()?;
        Some(Box::new(StdinSink {
            stdin,
            bytes: self.bytes.clone(),
        }))
    }

    fn take_stdout(&mut self) -> Option<Box<dyn Source>> {
        Some(Box::new(StdoutSource(self.process.take_stdout()?)))
    }

    async fn wait(self: Box<Self>) -> Result<Outcome, HostError> {
        let Self {
            process,
            bytes,
            record,
        } = *self;
        match process.wait().await {
            Ok(outcome) => {
                let error =
                    (outcome.exit_code != 0).then(|| format!("exit code {}", outcome.exit_code));
                let moved = outcome.stdout_bytes.max(bytes.load(Ordering::Relaxed));
                record.end(Ending {
                    error,
                    bytes: Some(moved),
                    ..Ending::default()
                });
                Ok(Outcome {
                    exit_code: outcome.exit_code,
                    stderr: outcome.stderr,
                    stderr_cut: outcome.stderr_cut,
                })
            }
            Err(error) => record.close(Err(error)),
        }
    }

    async fn kill(self: Box<Self>) -> Result<(), HostError> {
        let Self {
            process, record, ..
        } = *self;
        process.kill().await;
        record.end(Ending {
            error: Some("given up by the module".into()),
            ..Ending::default()
        });
        Ok(())
    }
}

struct StdinSink {
    stdin: cofferdam_cluster::Stdin,
    bytes: Arc<AtomicU64>,
}

#[async_trait]
impl Sink for StdinSink {
    async fn write(&mut self, bytes: Bytes) -> Result<(), HostError> {
        let length = bytes.len() as u64;
        self.stdin.write(bytes).await.map_err(blame::told)?;
        self.bytes.fetch_add(length, Ordering::Relaxed);
        Ok(())
    }

    async fn close(self: Box<Self>) -> Result<(), HostError> {
        self.stdin.close().await.map_err(blame::told)
    }
}

struct StdoutSource(cofferdam_cluster::Stdout);

#[async_trait]
impl Source for StdoutSource {
    async fn next(&mut self) -> Result<Option<Bytes>, HostError> {
        self.0.next().await.map_err(blame::told)
    }
}
