//! The ways of whole streams: command to artifact, artifact to command, file to artifact and back.
//!
//! Each knows the one order in which success is proven: moved to the end, exit status read, checked
//! by the module, committed. None keeps a byte of the stream.

use crate::error::{Context, Error, Result};
use crate::evidence::Evidence;
use crate::host::{Holes, Host, Outcome, Pod, Sink, Transferred};

/// An artifact that does not exist yet. Dropped, it never existed.
#[derive(Debug)]
#[must_use = "an artifact that is not committed never existed"]
pub struct NewArtifact {
    name: String,
    sink: Box<dyn Sink>,
}

impl NewArtifact {
    /// Where its bytes go.
    pub fn sink(&mut self) -> &mut dyn Sink {
        &mut *self.sink
    }

    /// Makes it exist.
    ///
    /// # Errors
    /// What the repository fails with.
    pub fn commit(self, evidence: &Evidence) -> Result<()> {
        let Self { name, sink } = self;
        sink.commit(evidence)
            .context(format!("failed to keep artifact `{name}`"))
    }
}

/// A command's whole output on its way into an artifact: the command ended with 0, and nothing
/// exists yet.
#[derive(Debug)]
#[must_use = "a dump that is not committed never existed"]
pub struct Dumped {
    /// What was moved.
    pub moved: Transferred,
    /// How the command ended; its exit code is 0.
    pub outcome: Outcome,
    artifact: NewArtifact,
}

impl Dumped {
    /// Insists on a trailer: the last line that is not empty begins with `beginning`.
    ///
    /// # Errors
    /// `Failed` with `no-trailer`.
    pub fn require_last_line(&self, beginning: &str) -> Result<String> {
        let last = last_line(&self.moved.tail);
        if last.starts_with(beginning) {
            return Ok(last);
        }
        Err(Error::failed(
            "no-trailer",
            format!(
                "the command ended with 0 after {} bytes, but its output does not end with `{beginning}`: it is not whole",
                self.moved.bytes
            ),
        ))
    }

    /// Makes the artifact exist. `bytes`, `sha256` and `exit-code` are added to the evidence.
    ///
    /// # Errors
    /// What the repository fails with.
    pub fn commit(self, evidence: Evidence) -> Result<()> {
        let evidence = evidence
            .with_transfer(&self.moved)
            .with("exit-code", self.outcome.exit_code);
        self.artifact.commit(&evidence)
    }
}

/// A command that was fed an artifact and has ended.
#[derive(Debug)]
#[must_use = "the exit status says whether the command took what it was fed"]
pub struct Fed {
    /// How the command ended, with any exit code.
    pub outcome: Outcome,
    command: String,
    artifact: String,
    evidence: Evidence,
    moved: Result<Transferred>,
}

impl Fed {
    /// Insists on exit code 0, on the whole artifact having been read, and on its evidence.
    ///
    /// # Errors
    /// `Failed` with `command-failed`, `sink-closed` or `not-the-same`.
    pub fn success(self) -> Result<Transferred> {
        self.outcome.success(&self.command)?;
        let moved = self.moved?;
        self.evidence.check_transfer(&self.artifact, &moved)?;
        Ok(moved)
    }
}

/// The last line of `tail` that is not empty, without what is no text.
pub fn last_line(tail: &[u8]) -> String {
    let text = String::from_utf8_lossy(tail);
    text.lines()
        .map(str::trim)
        .rfind(|line| !line.is_empty())
        .unwrap_or_default()
        .to_owned()
}

impl Outcome {
    /// Insists on exit code 0.
    ///
    /// # Errors
    /// `Failed` with `command-failed` and the last of stderr.
    pub fn success(self, command: &str) -> Result<Self> {
        if self.exit_code == 0 {
            return Ok(self);
        }
        let said = self.stderr.trim();
        let said = if said.is_empty() {
            "it said nothing"
        } else {
            said
        };
        Err(Error::failed(
            "command-failed",
            format!("command `{command}` ended with {}: {said}", self.exit_code),
        ))
    }
}

impl dyn Pod + '_ {
    /// Runs a command whose program the container may not have: `None` then.
    ///
    /// # Errors
    /// What running fails with.
    pub fn run_if_there(&self, command: &str, holes: Holes<'_>) -> Result<Option<Outcome>> {
        match self.run(command, holes) {
            // What shells answer, and some container runtimes.
            Ok(outcome) if matches!(outcome.exit_code, 126 | 127) => Ok(None),
            Ok(outcome) => Ok(Some(outcome)),
            // What the other container runtimes answer.
            Err(error) if error.code() == Some("not-started") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Runs a command and gives its output as text. The exit code must be 0 and nothing cut off.
    ///
    /// # Errors
    /// `Failed` with `command-failed`, `output-too-long` or `not-text`, and what running fails with.
    pub fn capture(&self, command: &str, holes: Holes<'_>) -> Result<String> {
        let outcome = self.run(command, holes)?.success(command)?;
        if outcome.stdout_cut {
            return Err(Error::failed(
                "output-too-long",
                format!("command `{command}` wrote more than the manifest lets it"),
            ));
        }
        String::from_utf8(outcome.stdout).map_err(|_| {
            Error::failed(
                "not-text",
                format!("command `{command}` wrote what is no UTF-8"),
            )
        })
    }
}

impl dyn Host + '_ {
    /// Begins an artifact.
    ///
    /// # Errors
    /// What the repository fails with.
    pub fn new_artifact(&self, name: &str, media_type: &str) -> Result<NewArtifact> {
        let sink = self
            .create_artifact(name, media_type)
            .context(format!("failed to begin artifact `{name}`"))?;
        Ok(NewArtifact {
            name: name.to_owned(),
            sink,
        })
    }

    /// Moves all that a command writes into an artifact and reads its exit status, which must be 0.
    /// The artifact exists only after [`Dumped::commit`].
    ///
    /// # Errors
    /// `Failed` with `command-failed` or `stream-cut`, and what the pod or the repository fail with.
    pub fn dump(
        &self,
        pod: &dyn Pod,
        command: &str,
        holes: Holes<'_>,
        artifact: &str,
        media_type: &str,
    ) -> Result<Dumped> {
        let mut artifact = self.new_artifact(artifact, media_type)?;
        let process = pod.start(command, holes)?;
        let moved = process
            .stdout()?
            .transfer(artifact.sink())
            .context(format!("failed to read the output of command `{command}`"))?;
        let outcome = process.wait()?.success(command)?;
        Ok(Dumped {
            moved,
            outcome,
            artifact,
        })
    }

    /// Feeds a whole artifact to a command and reads its exit status, which must be 0. What was
    /// fed is held against the artifact's evidence.
    ///
    /// A command whose input breaks off is killed, so that it never takes the cut for the end. It
    /// may have acted on what came before.
    ///
    /// # Errors
    /// `Failed` with `command-failed`, `stream-cut` or `not-the-same`, and what the pod or the
    /// repository fail with.
    pub fn load(
        &self,
        artifact: &str,
        pod: &dyn Pod,
        command: &str,
        holes: Holes<'_>,
    ) -> Result<Transferred> {
        self.feed(artifact, pod, command, holes)?.success()
    }

    /// Feeds a whole artifact to a command, as [`load`](trait.Host.html#method.load) does, and leaves
    /// it to the module what the exit status and the words of the command mean.
    ///
    /// # Errors
    /// What the pod or the repository fail with; a command whose input breaks off is killed.
    pub fn feed(
        &self,
        artifact: &str,
        pod: &dyn Pod,
        command: &str,
        holes: Holes<'_>,
    ) -> Result<Fed> {
        let evidence = self.evidence(artifact)?;
        let source = self.open_artifact(artifact)?;
        let process = pod.start(command, holes)?;
        let mut stdin = process.stdin()?;
        let moved = match source.transfer(&mut *stdin) {
            Ok(moved) => Ok(moved),
            // The command ended before its input did: its own words say why.
            Err(error) if error.code() == Some("sink-closed") => Err(error.context(format!(
                "command `{command}` did not read all of `{artifact}`"
            ))),
            Err(error) => {
                process.kill()?;
                return Err(error.context(format!(
                    "failed to feed `{artifact}` to command `{command}`"
                )));
            }
        };
        drop(stdin);
        Ok(Fed {
            outcome: process.wait()?,
            command: command.to_owned(),
            artifact: artifact.to_owned(),
            evidence,
            moved,
        })
    }

    /// Copies a file of a pod into an artifact, which exists only after its commit.
    ///
    /// # Errors
    /// What the pod or the repository fail with.
    pub fn copy_out(
        &self,
        pod: &dyn Pod,
        path: &str,
        artifact: &str,
        media_type: &str,
    ) -> Result<(NewArtifact, Transferred)> {
        let mut artifact = self.new_artifact(artifact, media_type)?;
        let moved = pod
            .read(path)?
            .transfer(artifact.sink())
            .context(format!("failed to read file `{path}`"))?;
        Ok((artifact, moved))
    }

    /// Writes an artifact as a file of a pod: beside its place, held against the evidence, then
    /// renamed into it.
    ///
    /// # Errors
    /// `Failed` with `not-the-same`, and what the pod or the repository fail with. The place is
    /// untouched then.
    pub fn copy_in(&self, artifact: &str, pod: &dyn Pod, path: &str) -> Result<Transferred> {
        let evidence = self.evidence(artifact)?;
        let source = self.open_artifact(artifact)?;
        let mut file = pod.write(path)?;
        let moved = source
            .transfer(&mut *file)
            .context(format!("failed to write file `{path}`"))?;
        evidence.check_transfer(artifact, &moved)?;
        file.finish()
            .context(format!("failed to put file `{path}` in its place"))?;
        Ok(moved)
    }
}
