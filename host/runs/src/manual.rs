//! The files of the manual procedure: taken over into snapshots, and written from them.
//!
//! The one place of the host that knows how the stock modules' artifacts are called; it reads and
//! writes what those modules read and write, so that a restore or a verify sees no difference.
//! Must never touch the cluster, and never leave a snapshot or a folder that is half there.

mod beneath;
mod dump;
mod export;
mod folder;
mod guide;
mod import;
mod names;
mod objects;
mod rdb;
mod sink;
mod sources;
mod tree;
mod unpack;

use std::path::PathBuf;

use crate::notes::NotesError;
use crate::report::Blame;

pub use export::{Destination, Export, Exported, ExportedFile, LeftOut};
pub use import::{Import, Imported};

/// Why files were not taken over or not written.
#[derive(Debug, thiserror::Error)]
pub enum ManualError {
    /// What it does cannot be written down.
    #[error(transparent)]
    Notes(NotesError),
    /// The repository.
    #[error(transparent)]
    Repository(#[from] cofferdam_repository::Error),
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
    /// The stream that is written was closed or refused.
    #[error("failed to write `{name}` of the archive")]
    Stream {
        /// The file within the archive.
        name: String,
        /// Why.
        source: std::io::Error,
    },
    /// The folder has none of the files that the application's data sets would have.
    #[error("`{}` has none of the files of this application: looked for {}", folder.display(), expected.join(", "))]
    NothingThere {
        /// The folder.
        folder: PathBuf,
        /// The files.
        expected: Vec<String>,
    },
    /// Two data sets would have the same file.
    #[error("data sets `{first}` and `{second}` would both be `{file}`")]
    SameFile {
        /// The file.
        file: String,
        /// A data set.
        first: String,
        /// Another.
        second: String,
    },
    /// Files that are not what their names say, or not whole. None was taken over.
    #[error("nothing was imported: {}", problems.join("; "))]
    Refused {
        /// A sentence for each file.
        problems: Vec<String>,
    },
    /// The place to write to is not free.
    #[error("`{}` is there and is not an empty folder", path.display())]
    Occupied {
        /// The place.
        path: PathBuf,
    },
    /// What a snapshot holds cannot be written as files.
    #[error("failed to export artifact `{artifact}` of data set `{data_set}`: {reason}")]
    Unfit {
        /// The data set.
        data_set: String,
        /// The artifact.
        artifact: String,
        /// Why.
        reason: String,
    },
    /// Nothing of the run has a file in the manual procedure.
    #[error("run {run} has nothing that the manual procedure has a file for")]
    NothingToExport {
        /// The run.
        run: String,
    },
    /// The person wants no more.
    #[error("cancelled: nothing was kept of it")]
    Cancelled,
    /// A thread ended without an answer.
    #[error("failed to {attempt}")]
    Task {
        /// What was attempted.
        attempt: &'static str,
        /// Why.
        source: tokio::task::JoinError,
    },
}

impl<E> From<E> for ManualError
where
    NotesError: From<E>,
{
    fn from(error: E) -> Self {
        Self::Notes(error.into())
    }
}

impl ManualError {
    /// Whose move it is.
    pub fn blame(&self) -> Blame {
        match self {
            Self::NothingThere { .. }
            | Self::SameFile { .. }
            | Self::Refused { .. }
            | Self::Occupied { .. }
            | Self::NothingToExport { .. }
            | Self::Cancelled => Blame::User,
            Self::Notes(error) => error.blame(),
            Self::Repository(error) => crate::blame::of_repository(error).blame,
            Self::Disk { .. } | Self::Stream { .. } | Self::Unfit { .. } => Blame::World,
            Self::Task { .. } => Blame::Us,
        }
    }

    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Notes(error) => error.hint(),
            Self::Repository(error) => error.hint(),
            Self::Refused { .. } => Some(
                "put the files right, or take over the others alone with `--only DATA-SET`".into(),
            ),
            Self::NothingThere { .. } => Some(
                "name the folder with the files of the manual procedure, and the application file with `--file`".into(),
            ),
            Self::SameFile { .. } => Some("export them one at a time with `--only`".into()),
            Self::Occupied { .. } => Some("name a folder that is not there yet, or empty it".into()),
            Self::Disk { source, .. } | Self::Stream { source, .. }
                if source.kind() == std::io::ErrorKind::StorageFull =>
            {
                Some("make room or write elsewhere; nothing was kept of this attempt".into())
            }
            Self::NothingToExport { .. } => {
                Some("`cofferdam show` says what the run kept; `restic dump` takes any of it out".into())
            }
            Self::Disk { .. }
            | Self::Stream { .. }
            | Self::Unfit { .. }
            | Self::Cancelled
            | Self::Task { .. } => None,
        }
    }
}
