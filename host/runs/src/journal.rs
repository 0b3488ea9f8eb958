//! The journal of a run: what was begun, written and synced *before* it is done.
//!
//! JSON lines, one file a run, only ever appended to. A run can be killed anywhere; the next one
//! reads this to learn what is left to put back. A last line that was cut by the kill counts as
//! never written, since what it announces had not been begun.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use cofferdam_policy::name::{DataSetName, Namespace};
use cofferdam_policy::request::{Change, RunKind};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// When it was written.
    pub at: Timestamp,
    /// What it says.
    #[serde(flatten)]
    pub record: Record,
}

/// What a line of the journal says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(
    rename_all = "kebab-case",
    rename_all_fields = "camelCase",
    tag = "record"
)]
pub enum Record {
    /// The run begins.
    RunBegun {
        /// The run's id.
        run: String,
        /// What it does.
        kind: RunKind,
        /// The address of the cluster: what was changed there is put back there and nowhere else.
        cluster: String,
        /// The namespace that it works in. Journals from before this was written have none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        namespace: Option<Namespace>,
        /// The run whose snapshots are read.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<String>,
        /// The data sets that take part.
        data_sets: Vec<DataSetName>,
        /// The process that carries it out.
        process_id: u32,
    },
    /// A data set begins.
    DataSetBegun {
        /// Which.
        data_set: DataSetName,
    },
    /// A named step of a module begins.
    StepBegun {
        /// Whose.
        data_set: DataSetName,
        /// The module's name for it.
        step: String,
    },
    /// A named step ended well.
    StepFinished {
        /// Whose.
        data_set: DataSetName,
        /// The module's name for it.
        step: String,
    },
    /// A temporary change is about to be made.
    LeaseIntended {
        /// Its number within the run.
        lease: u64,
        /// Whose.
        data_set: DataSetName,
        /// The change.
        change: Change,
        /// What was there before, as the cluster crate wrote it.
        original: serde_json::Value,
    },
    /// Another data set needs a change that is made already: it is put back when the last lets go.
    LeaseShared {
        /// The change's number within the run.
        lease: u64,
        /// Whose.
        data_set: DataSetName,
    },
    /// A temporary change was put back, or found to be back.
    LeaseReleased {
        /// Its number within the run.
        lease: u64,
        /// What was found.
        outcome: String,
    },
    /// A data set ended.
    DataSetFinished {
        /// Which.
        data_set: DataSetName,
        /// Why it failed; `None` when it succeeded.
        error: Option<String>,
    },
    /// Something that a person should look at, for the report; nothing hangs on it.
    Warned {
        /// Of which data set, where it is of one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        data_set: Option<DataSetName>,
        /// A sentence.
        text: String,
    },
    /// The run ended and left nothing to be put back.
    RunFinished {
        /// Whether every data set succeeded.
        succeeded: bool,
    },
}

/// A failure to keep the journal. Nothing is done that could not be written down first.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file system refused.
    #[error("failed to write the journal `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file system refused.
    #[error("failed to read the journal `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A line before the last one is damaged.
    #[error("line {line} of the journal `{}` is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// Why.
        source: serde_json::Error,
    },
}

/// A journal that is being written.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: Mutex<std::fs::File>,
}

impl Journal {
    /// Begins the journal `path`, or goes on with it: a last line that was cut by a kill is removed.
    ///
    /// # Errors
    /// [`JournalError::Write`].
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let failed = |source| JournalError::Write {
            path: path.to_owned(),
            source,
        };
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .map_err(failed)?;
        let bytes = std::fs::read(path).map_err(failed)?;
        let whole = bytes
            .iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(0, |last| last + 1);
        file.set_len(whole as u64).map_err(failed)?;
        if let Some(folder) = path.parent() {
            // The name of a new file is only safe once its folder is.
            std::fs::File::open(folder)
                .and_then(|folder| folder.sync_all())
                .map_err(failed)?;
        }
        Ok(Self {
            path: path.to_owned(),
            file: Mutex::new(file),
        })
    }

    /// Appends a record and waits until it is on the disk.
    ///
    /// # Errors
    /// [`JournalError::Write`]: then what the record announces must not be done.
    pub fn write(&self, record: Record) -> Result<(), JournalError> {
        self.append(record, true)
    }

    /// Appends a record that nothing hangs on, and does not wait for the disk.
    ///
    /// # Errors
    /// [`JournalError::Write`].
    pub fn note(&self, record: Record) -> Result<(), JournalError> {
        self.append(record, false)
    }

    fn append(&self, record: Record, sync: bool) -> Result<(), JournalError> {
        let failed = |source| JournalError::Write {
            path: self.path.clone(),
            source,
        };
        let line = Line {
            at: Timestamp::now(),
            record,
        };
        let mut bytes = serde_json::to_vec(&line).map_err(|error| failed(error.into()))?;
        bytes.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&bytes).map_err(failed)?;
        if sync {
            file.sync_data().map_err(failed)?;
        }
        Ok(())
    }
}

/// Reads a journal; a cut last line is left out.
///
/// # Errors
/// [`JournalError::Read`], and [`JournalError::Damaged`] for any other line that is no record.
pub fn read(path: &Path) -> Result<Vec<Line>, JournalError> {
    let bytes = std::fs::read(path).map_err(|source| JournalError::Read {
        path: path.to_owned(),
        source,
    })?;
    let mut lines = Vec::new();
    for (index, part) in bytes.split_inclusive(|&byte| byte == b'\n').enumerate() {
        let Some(text) = part.strip_suffix(b"\n") else {
            break;
        };
        let line = serde_json::from_slice(text).map_err(|source| JournalError::Damaged {
            path: path.to_owned(),
            line: index + 1,
            source,
        })?;
        lines.push(line);
    }
    Ok(lines)
}

/// A change that a journal announced and never put back.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenLease {
    /// Its number within the run.
    pub lease: u64,
    /// Whose.
    pub data_set: DataSetName,
    /// The change.
    pub change: Change,
    /// What was there before.
    pub original: serde_json::Value,
}

/// What a journal says of how its run ended.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Remains {
    /// The cluster that the run worked on.
    pub cluster: Option<String>,
    /// What the run did.
    pub kind: Option<RunKind>,
    /// Whether the run said that it finished.
    pub finished: bool,
    /// The leases that are still open, in the order in which they must be put back.
    pub leases: Vec<OpenLease>,
    /// Steps that were begun and not finished.
    pub steps: Vec<(DataSetName, String)>,
}

/// Reads from the lines of a journal what is left to do.
pub fn remains(lines: &[Line]) -> Remains {
    let mut remains = Remains::default();
    for Line { record, .. } in lines {
        match record {
            Record::RunFinished { .. } => remains.finished = true,
            Record::LeaseIntended {
                lease,
                data_set,
                change,
                original,
            } => {
                let open = OpenLease {
                    lease: *lease,
                    data_set: data_set.clone(),
                    change: change.clone(),
                    original: original.clone(),
                };
                remains.leases.insert(0, open);
            }
            Record::LeaseReleased { lease, .. } => {
                remains.leases.retain(|open| open.lease != *lease);
            }
            Record::StepBegun { data_set, step } => {
                remains.steps.push((data_set.clone(), step.clone()));
            }
            Record::StepFinished { data_set, step } => {
                remains
                    .steps
                    .retain(|(whose, which)| whose != data_set || which != step);
            }
            Record::RunBegun { cluster, kind, .. } => {
                remains.cluster = Some(cluster.clone());
                remains.kind = Some(*kind);
            }
            // It is in the journal once, by the one who made it, and is put back once.
            Record::LeaseShared { .. }
            | Record::DataSetBegun { .. }
            | Record::DataSetFinished { .. }
            | Record::Warned { .. } => {}
        }
    }
    remains
}

/// The steps of each data set that began in this journal and did not succeed: begun ones and, with
/// `true`, those that were finished.
pub fn unfinished_steps(lines: &[Line]) -> BTreeMap<DataSetName, BTreeMap<String, bool>> {
    let mut steps: BTreeMap<DataSetName, BTreeMap<String, bool>> = BTreeMap::new();
    for Line { record, .. } in lines {
        match record {
            Record::DataSetBegun { data_set } => {
                steps.insert(data_set.clone(), BTreeMap::new());
            }
            Record::StepBegun { data_set, step } => {
                steps
                    .entry(data_set.clone())
                    .or_default()
                    .insert(step.clone(), false);
            }
            Record::StepFinished { data_set, step } => {
                steps
                    .entry(data_set.clone())
                    .or_default()
                    .insert(step.clone(), true);
            }
            Record::DataSetFinished {
                data_set,
                error: None,
            } => {
                steps.remove(data_set);
            }
            Record::DataSetFinished { error: Some(_), .. }
            | Record::Warned { .. }
            | Record::RunBegun { .. }
            | Record::RunFinished { .. }
            | Record::LeaseIntended { .. }
            | Record::LeaseShared { .. }
            | Record::LeaseReleased { .. } => {}
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use cofferdam_policy::name::{Namespace, ObjectName};
    use cofferdam_policy::request::{Workload, WorkloadKind};

    use super::*;

    fn lease(number: u64) -> Record {
        Record::LeaseIntended {
            lease: number,
            data_set: DataSetName::parse("a").expect("a name"),
            change: Change::Scale {
                namespace: Namespace::parse("n").expect("a name"),
                workload: Workload {
                    kind: WorkloadKind::Deployment,
                    name: ObjectName::parse("w").expect("a name"),
                },
                replicas: 0,
            },
            original: serde_json::json!({"replicas": 2}),
        }
    }

    fn journal(records: &[Record]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal.jsonl");
        let journal = Journal::open(&path).expect("a journal");
        for record in records {
            journal.write(record.clone()).expect("written");
        }
        (folder, path)
    }

    #[test]
    fn open_leases_come_back_last_first() {
        let released = Record::LeaseReleased {
            lease: 2,
            outcome: "restored".into(),
        };
        let (_folder, path) = journal(&[lease(1), lease(2), lease(3), released]);
        let remains = remains(&read(&path).expect("read"));
        let open: Vec<u64> = remains.leases.iter().map(|open| open.lease).collect();
        assert_eq!(open, [3, 1]);
        assert!(!remains.finished);
    }

    #[test]
    fn a_line_that_was_cut_by_a_kill_was_never_written() {
        let (_folder, path) = journal(&[lease(1), lease(2)]);
        let bytes = std::fs::read(&path).expect("read");
        std::fs::write(&path, &bytes[..bytes.len() - 5]).expect("cut");
        assert_eq!(remains(&read(&path).expect("read")).leases.len(), 1);
        Journal::open(&path)
            .expect("opened")
            .write(lease(3))
            .expect("written");
        assert_eq!(remains(&read(&path).expect("read")).leases.len(), 2);
    }

    #[test]
    fn a_damaged_line_in_the_middle_is_an_error_with_its_number() {
        let (_folder, path) = journal(&[lease(1), lease(2)]);
        let text = String::from_utf8(std::fs::read(&path).expect("read")).expect("text");
        std::fs::write(&path, text.replacen('{', "<", 1)).expect("damaged");
        let error = read(&path).expect_err("damaged");
        assert!(
            error.to_string().starts_with("line 1 of the journal"),
            "{error}"
        );
    }

    #[test]
    fn the_steps_of_a_data_set_that_succeeded_are_forgotten() {
        let data_set = DataSetName::parse("a").expect("a name");
        let begun = |step: &str| Record::StepBegun {
            data_set: data_set.clone(),
            step: step.into(),
        };
        let finished = Record::StepFinished {
            data_set: data_set.clone(),
            step: "one".into(),
        };
        let ended = |error| Record::DataSetFinished {
            data_set: data_set.clone(),
            error,
        };
        let start = Record::DataSetBegun {
            data_set: data_set.clone(),
        };
        let (_folder, path) =
            journal(&[start.clone(), begun("one"), finished.clone(), begun("two")]);
        let steps = unfinished_steps(&read(&path).expect("read"));
        assert_eq!(
            steps[&data_set],
            BTreeMap::from([("one".to_owned(), true), ("two".to_owned(), false)])
        );
        let (_folder, path) = journal(&[start, begun("one"), finished, ended(None)]);
        assert!(unfinished_steps(&read(&path).expect("read")).is_empty());
    }

    #[test]
    fn a_step_that_was_begun_and_not_finished_is_named() {
        let data_set = DataSetName::parse("a").expect("a name");
        let begun = |step: &str| Record::StepBegun {
            data_set: data_set.clone(),
            step: step.into(),
        };
        let finished = Record::StepFinished {
            data_set: data_set.clone(),
            step: "one".into(),
        };
        let (_folder, path) = journal(&[begun("one"), finished, begun("two")]);
        assert_eq!(
            remains(&read(&path).expect("read")).steps,
            [(data_set.clone(), "two".to_owned())]
        );
    }
}
