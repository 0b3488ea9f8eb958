//! The state folder: a folder an application, in it a folder a run with journal and audit log.
//!
//! Holds no data of the application. One run of an application at a time: two would take each
//! other's leases for remains of a crash.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use cofferdam_policy::name::ApplicationName;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The name of a run: when it began in seconds, and six hex digits: the milliseconds, and three that keep
/// two machines apart.
///
/// `20261122T101859Z-1f3a9c`; ids of one application sort by time, since its runs do not overlap.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(String);

/// A text that is no run id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no run id: ids look like `20261122T101859Z-1f3a9c`")]
pub struct InvalidRunId(String);

impl RunId {
    /// An id for a run that begins now.
    pub fn now() -> Self {
        use std::hash::{BuildHasher, RandomState};
        // `RandomState` is seeded by the operating system; this is a name and no secret.
        let noise = RandomState::new().hash_one(std::process::id()) & 0xfff;
        Self::at(Timestamp::now(), noise)
    }

    fn at(time: Timestamp, noise: u64) -> Self {
        let milliseconds = time.subsec_millisecond();
        Self(format!(
            "{}-{milliseconds:03x}{noise:03x}",
            time.strftime("%Y%m%dT%H%M%SZ")
        ))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RunId {
    type Err = InvalidRunId;
    fn from_str(text: &str) -> Result<Self, InvalidRunId> {
        let shape = |(index, byte): (usize, u8)| match index {
            8 => byte == b'T',
            15 => byte == b'Z',
            16 => byte == b'-',
            17.. => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
            _ => byte.is_ascii_digit(),
        };
        if text.len() == 23 && text.bytes().enumerate().all(shape) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidRunId(
                text.chars()
                    .take(60)
                    .flat_map(char::escape_default)
                    .collect(),
            ))
        }
    }
}

impl TryFrom<String> for RunId {
    type Error = InvalidRunId;
    fn try_from(text: String) -> Result<Self, InvalidRunId> {
        text.parse()
    }
}

impl From<RunId> for String {
    fn from(id: RunId) -> Self {
        id.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why the state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file system refused.
    #[error("failed to {action} `{}`", path.display())]
    Disk {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another process carries out a run of this application.
    #[error("another run of `{0}` is under way on this machine")]
    Busy(ApplicationName),
}

/// What is kept of one application on this machine.
#[derive(Debug, Clone)]
pub struct ApplicationState {
    name: ApplicationName,
    folder: PathBuf,
}

/// The right to run; given back when dropped, also by a kill.
#[derive(Debug)]
pub struct RunLock {
    _file: std::fs::File,
}

impl ApplicationState {
    /// The application of this machine that made a run, without making any folder. Ids of two
    /// applications that are equal do not happen: they carry time and noise.
    pub fn of_run(root: &Path, run: &RunId) -> Option<ApplicationName> {
        let entries = std::fs::read_dir(root).ok()?;
        let mut names: Vec<ApplicationName> = entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|name: &ApplicationName| {
                let folder = root.join(name.as_str()).join("runs").join(run.as_str());
                RunFolder(folder).journal().exists()
            })
            .collect();
        names.sort();
        names.into_iter().next()
    }

    /// The folder of `application` below `root`, made private where it is missing.
    ///
    /// # Errors
    /// [`StateError::Disk`].
    pub fn open(root: &Path, application: &ApplicationName) -> Result<Self, StateError> {
        let folder = root.join(application.as_str());
        private_folder(&folder.join("runs"))?;
        Ok(Self {
            name: application.clone(),
            folder,
        })
    }

    /// Takes the right to run.
    ///
    /// # Errors
    /// [`StateError::Busy`] when another process has it.
    pub fn lock(&self) -> Result<RunLock, StateError> {
        let path = self.folder.join("lock");
        let failed = |source| StateError::Disk {
            action: "lock",
            path: path.clone(),
            source,
        };
        let file = std::fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(RunLock { _file: file }),
            Err(std::fs::TryLockError::WouldBlock) => Err(StateError::Busy(self.name.clone())),
            Err(std::fs::TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// Makes the folder of a new run.
    ///
    /// # Errors
    /// [`StateError::Disk`].
    pub fn begin(&self, run: &RunId) -> Result<RunFolder, StateError> {
        let folder = RunFolder(self.folder.join("runs").join(run.as_str()));
        private_folder(&folder.0)?;
        Ok(folder)
    }

    /// The folder of a run that was carried out on this machine.
    pub fn run(&self, run: &RunId) -> RunFolder {
        RunFolder(self.folder.join("runs").join(run.as_str()))
    }

    /// The runs of this machine, oldest first. Anything else in the folder is passed over.
    ///
    /// # Errors
    /// [`StateError::Disk`].
    pub fn runs(&self) -> Result<Vec<(RunId, RunFolder)>, StateError> {
        let path = self.folder.join("runs");
        let failed = |source| StateError::Disk {
            action: "list",
            path: path.clone(),
            source,
        };
        let mut runs: Vec<(RunId, RunFolder)> = Vec::new();
        for entry in std::fs::read_dir(&path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if let Some(id) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok())
            {
                runs.push((id, RunFolder(entry.path())));
            }
        }
        runs.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(runs)
    }
}

/// The folder of one run.
#[derive(Debug, Clone)]
pub struct RunFolder(PathBuf);

impl RunFolder {
    /// Its journal.
    pub fn journal(&self) -> PathBuf {
        self.0.join("journal.jsonl")
    }

    /// Its audit log.
    pub fn audit(&self) -> PathBuf {
        self.0.join("audit.jsonl")
    }
}

fn private_folder(path: &Path) -> Result<(), StateError> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| StateError::Disk {
            action: "make the folder",
            path: path.to_owned(),
            source,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_and_nothing_else_is_one() {
        let id = RunId::now();
        assert_eq!(id.as_str().parse::<RunId>().expect("an id"), id);
        for bad in [
            "",
            "latest",
            "../../etc/passwd",
            "20261122T101859Z-1F3A9C",
            "20261122T101859Z-1f3a9c0",
            "20261122T101859Z-1f3a9\u{1b}",
        ] {
            assert!(bad.parse::<RunId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn ids_of_one_second_sort_by_time() {
        let id = |time: &str, noise| RunId::at(time.parse().expect("a time"), noise);
        let earlier = id("2026-11-22T10:18:59.009Z", 0xfff);
        let later = id("2026-11-22T10:18:59.010Z", 0);
        assert!(earlier < later, "{earlier} {later}");
        assert_eq!(earlier.as_str(), "20261122T101859Z-009fff");
        let last = id("2026-11-22T10:18:59.999Z", 1);
        assert_eq!(last.as_str(), "20261122T101859Z-3e7001");
        assert_eq!(last.as_str().parse::<RunId>().expect("an id"), last);
    }

    #[test]
    fn two_runs_of_one_application_do_not_meet() {
        let root = tempfile::tempdir().expect("a folder");
        let name = ApplicationName::parse("a").expect("a name");
        let state = ApplicationState::open(root.path(), &name).expect("opened");
        let lock = state.lock().expect("free");
        assert!(matches!(state.lock(), Err(StateError::Busy(_))));
        drop(lock);
        assert!(state.lock().is_ok());
    }

    #[test]
    fn runs_are_listed_oldest_first_and_strangers_passed_over() {
        let root = tempfile::tempdir().expect("a folder");
        let state =
            ApplicationState::open(root.path(), &ApplicationName::parse("a").expect("a name"))
                .expect("opened");
        for id in ["20261122T101859Z-1f3a9c", "20251122T101859Z-1f3a9c"] {
            state.begin(&id.parse().expect("an id")).expect("begun");
        }
        std::fs::write(root.path().join("a/runs/notes.txt"), "x").expect("written");
        let ids: Vec<String> = state
            .runs()
            .expect("listed")
            .into_iter()
            .map(|(id, _)| id.to_string())
            .collect();
        assert_eq!(ids, ["20251122T101859Z-1f3a9c", "20261122T101859Z-1f3a9c"]);
    }
}
