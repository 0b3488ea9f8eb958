//! What a scripted command is asked, and what it answers.

use std::collections::BTreeMap;

use crate::error::Error;

/// A command as the module ran it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Call {
    /// Its name in the manifest.
    pub command: String,
    /// The role in whose pod it runs.
    pub target: String,
    /// The command line, holes filled.
    pub argv: Vec<String>,
    /// The values of the holes.
    pub holes: BTreeMap<String, String>,
    /// What it read: an artifact, or the script of the manifest with its holes filled.
    pub stdin: Vec<u8>,
}

/// How a scripted command ends.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: String,
    pub(super) exit_code: i32,
    pub(super) cut_after: Option<usize>,
    pub(super) error: Option<Error>,
}

impl Answer {
    /// Writes this and ends with 0.
    pub fn prints(stdout: impl Into<Vec<u8>>) -> Self {
        Self {
            stdout: stdout.into(),
            ..Self::default()
        }
    }

    /// Says this on stderr and ends with `exit_code`.
    pub fn fails(exit_code: i32, stderr: &str) -> Self {
        Self {
            exit_code,
            stderr: stderr.to_owned(),
            ..Self::default()
        }
    }

    /// The program is not in the container.
    pub fn missing_program() -> Self {
        Self::fails(127, "not found")
    }

    /// There is no answer: the call itself fails.
    pub fn error(error: Error) -> Self {
        Self {
            error: Some(error),
            ..Self::default()
        }
    }

    /// The same, but complaining on stderr and ending with `exit_code` after all is written.
    #[must_use]
    pub fn then_fails(mut self, exit_code: i32, stderr: &str) -> Self {
        self.exit_code = exit_code;
        stderr.clone_into(&mut self.stderr);
        self
    }

    /// The same, with the stream of stdout cut after so many bytes.
    #[must_use]
    pub fn cut_after(mut self, bytes: usize) -> Self {
        self.cut_after = Some(bytes);
        self
    }
}
