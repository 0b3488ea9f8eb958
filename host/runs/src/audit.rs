//! The audit log of a run: who asked for what, and what came of it.
//!
//! JSON lines; each carries the SHA-256 of the line before it, so that an edited, removed or
//! swapped line shows. The hash of the newest line is kept in each snapshot (encrypted, elsewhere),
//! so that a log that was cut or written anew shows too. Must never hold a secret's value.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use cofferdam_policy::name::DataSetName;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The `previous` of the first line.
const BEGINNING: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// One line of the audit log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// The number of the line, from 1.
    pub sequence: u64,
    /// SHA-256 of the line before, without its newline, as 64 hex digits.
    pub previous: String,
    /// When it was written.
    pub at: Timestamp,
    /// The run.
    pub run: String,
    /// Who: `module NAME VERSION DIGEST`, or `host`.
    pub who: String,
    /// For which data set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_set: Option<DataSetName>,
    /// What it says.
    #[serde(flatten)]
    pub entry: Entry,
}

/// What a line of the audit log says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(
    rename_all = "kebab-case",
    rename_all_fields = "camelCase",
    tag = "event"
)]
pub enum Entry {
    /// A request was allowed.
    Permitted {
        /// What was asked for, such as `run-command`.
        capability: String,
        /// Of what.
        subject: String,
        /// The ids of the rules that allowed it.
        rules: Vec<String>,
    },
    /// A request was refused; nothing happened.
    Denied {
        /// What was asked for.
        capability: String,
        /// Of what.
        subject: String,
        /// The rule that decided.
        rule: String,
    },
    /// Something that was permitted ended.
    Done {
        /// The line that permitted it.
        permitted: u64,
        /// `ok`, or what went wrong.
        result: String,
        /// Bytes moved, where bytes were moved.
        #[serde(skip_serializing_if = "Option::is_none")]
        bytes: Option<u64>,
        /// Their SHA-256 as 64 hex digits.
        #[serde(skip_serializing_if = "Option::is_none")]
        sha256: Option<String>,
        /// How long it took.
        milliseconds: u64,
    },
    /// A file from outside was taken over as an artifact.
    Imported {
        /// The file, or files.
        file: String,
        /// The artifact.
        artifact: String,
        /// Its bytes.
        bytes: u64,
        /// Their SHA-256 as 64 hex digits.
        sha256: String,
    },
    /// The run ended; the last line of a log that was not cut.
    RunFinished {
        /// Whether every data set succeeded.
        succeeded: bool,
    },
}

/// How something that was permitted ended.
#[derive(Debug, Clone, Default)]
pub struct Ending {
    /// What went wrong; `None` when it went well.
    pub error: Option<String>,
    /// Bytes moved.
    pub bytes: Option<u64>,
    /// Their SHA-256.
    pub sha256: Option<String>,
}

/// A failure to keep the audit log. Nothing is done that cannot be written down.
#[derive(Debug, thiserror::Error)]
#[error("failed to write the audit log `{}`", path.display())]
pub struct AuditError {
    path: PathBuf,
    source: std::io::Error,
}

/// An audit log that is being written.
#[derive(Debug)]
pub struct Audit {
    path: PathBuf,
    run: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: std::fs::File,
    sequence: u64,
    previous: String,
}

/// Where the log stands: the number of its newest line and that line's hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    /// The number of the newest line.
    pub sequence: u64,
    /// Its SHA-256 as 64 hex digits.
    pub sha256: String,
}

impl Audit {
    /// Begins the log `path`, which must not exist.
    ///
    /// # Errors
    /// [`AuditError`].
    pub fn begin(path: &Path, run: &str) -> Result<Self, AuditError> {
        let file = std::fs::OpenOptions::new()
            .create_new(true)
            .append(true)
            .open(path)
            .map_err(|source| AuditError {
                path: path.to_owned(),
                source,
            })?;
        let state = State {
            file,
            sequence: 0,
            previous: BEGINNING.to_owned(),
        };
        Ok(Self {
            path: path.to_owned(),
            run: run.to_owned(),
            state: Mutex::new(state),
        })
    }

    /// Appends a line; returns its number.
    ///
    /// # Errors
    /// [`AuditError`].
    pub fn write(
        &self,
        who: &str,
        data_set: Option<&DataSetName>,
        entry: Entry,
    ) -> Result<u64, AuditError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let line = Line {
            sequence: state.sequence + 1,
            previous: state.previous.clone(),
            at: Timestamp::now(),
            run: self.run.clone(),
            who: who.to_owned(),
            data_set: data_set.cloned(),
            entry,
        };
        let failed = |source| AuditError {
            path: self.path.clone(),
            source,
        };
        let mut bytes = serde_json::to_vec(&line).map_err(|error| failed(error.into()))?;
        let hash = hex::encode(Sha256::digest(&bytes));
        bytes.push(b'\n');
        state.file.write_all(&bytes).map_err(failed)?;
        state.sequence = line.sequence;
        state.previous = hash;
        Ok(line.sequence)
    }

    /// Where the log stands now.
    pub fn head(&self) -> Head {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        Head {
            sequence: state.sequence,
            sha256: state.previous.clone(),
        }
    }
}

/// Why an audit log is not what was written.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Tampered {
    /// A line is no line of an audit log.
    #[error("line {0} of the audit log cannot be read")]
    Unreadable(usize),
    /// A line does not follow from the one before it.
    #[error(
        "line {0} of the audit log does not follow from the line before: a line was edited, removed or inserted"
    )]
    Broken(usize),
    /// The log ends before the line that a snapshot vouches for.
    #[error("the audit log ends before line {0}, which a snapshot vouches for")]
    Cut(u64),
    /// The log holds another line than the one that a snapshot vouches for.
    #[error("line {0} of the audit log is not the one that a snapshot vouches for")]
    Rewritten(u64),
}

/// Checks the chain of a log, and the places in it that snapshots vouch for.
///
/// # Errors
/// [`Tampered`], which names the first line that is wrong.
pub fn check(text: &str, vouched: &[Head]) -> Result<Vec<Line>, Tampered> {
    let mut previous = BEGINNING.to_owned();
    let mut lines: Vec<Line> = Vec::new();
    for (index, text) in text.lines().enumerate() {
        let number = index + 1;
        let line: Line = serde_json::from_str(text).map_err(|_| Tampered::Unreadable(number))?;
        if line.previous != previous || line.sequence != number as u64 {
            return Err(Tampered::Broken(number));
        }
        previous = hex::encode(Sha256::digest(text.as_bytes()));
        if vouched
            .iter()
            .any(|head| head.sequence == line.sequence && head.sha256 != previous)
        {
            return Err(Tampered::Rewritten(line.sequence));
        }
        lines.push(line);
    }
    match vouched
        .iter()
        .find(|head| head.sequence > lines.len() as u64)
    {
        Some(head) => Err(Tampered::Cut(head.sequence)),
        None => Ok(lines),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> (String, Head) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit.jsonl");
        let audit = Audit::begin(&path, "r").expect("begun");
        for rule in ["one", "two", "three"] {
            let entry = Entry::Denied {
                capability: "run-command".into(),
                subject: "x".into(),
                rule: rule.into(),
            };
            audit.write("host", None, entry).expect("written");
        }
        (
            String::from_utf8(std::fs::read(&path).expect("read")).expect("text"),
            audit.head(),
        )
    }

    #[test]
    fn a_log_as_written_is_whole() {
        let (text, head) = log();
        assert_eq!(check(&text, &[head]).expect("whole").len(), 3);
    }

    #[test]
    fn an_edited_line_shows() {
        let (text, head) = log();
        assert_eq!(
            check(&text.replace("\"two\"", "\"2\""), &[]),
            Err(Tampered::Broken(3))
        );
        assert_eq!(
            check(&text.replace("\"three\"", "\"3\""), &[head]),
            Err(Tampered::Rewritten(3))
        );
    }

    #[test]
    fn a_removed_line_shows() {
        let (text, head) = log();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            check(&[lines[0], lines[2]].join("\n"), &[]),
            Err(Tampered::Broken(2))
        );
        assert_eq!(
            check(&lines[..2].join("\n"), &[head]),
            Err(Tampered::Cut(3))
        );
    }

    #[test]
    fn a_swapped_line_shows() {
        let (text, _) = log();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            check(&[lines[1], lines[0], lines[2]].join("\n"), &[]),
            Err(Tampered::Broken(1))
        );
    }
}
