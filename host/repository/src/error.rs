//! What can go wrong with a repository, in one line each.
//!
//! No message carries a password, a key or an access key. The cause stays in `source` and is not repeated here.

use crate::holder::LockOwner;
use crate::names::{ArtifactName, SnapshotId};

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Whose move it is after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The user can put it right: another password, name, option, or waiting for another process.
    User,
    /// Disk, network or object store refused, or something damaged what lies there.
    World,
    /// A mistake in this program.
    Us,
}

/// Why a repository could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no repository at the location.
    #[error("there is no repository at `{location}`")]
    NotFound {
        /// Where it was looked for.
        location: String,
    },
    /// There already is a repository at the location, and it was not touched.
    #[error("there already is a repository at `{location}`")]
    AlreadyExists {
        /// Where it was found.
        location: String,
    },
    /// No key of the repository opens with the password.
    #[error("the password does not open the repository at `{location}`")]
    WrongPassword {
        /// The repository.
        location: String,
    },
    /// The repository is of the format's first version, which knows no compression.
    #[error("the repository at `{location}` has format version 1, and version 2 is needed")]
    OldFormat {
        /// The repository.
        location: String,
    },
    /// A password that cannot be one.
    #[error("a password must not be empty")]
    EmptyPassword,
    /// A location that cannot be understood.
    #[error("`{text}` is no location of a repository: {reason}")]
    Location {
        /// What was given, cut short and escaped.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A name, id or description field that is refused.
    #[error("`{text}` is no {what}: {reason}")]
    Name {
        /// What it should have been.
        what: &'static str,
        /// What was given, cut short and escaped.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Another process holds a lock that excludes ours.
    #[error("the repository is locked by {owner}")]
    Locked {
        /// Who holds it.
        owner: Box<LockOwner>,
    },
    /// Our lock vanished or was not renewed in time, so another process may have changed the repository.
    #[error("the lock on the repository was lost: {reason}")]
    LockLost {
        /// How it was lost.
        reason: &'static str,
    },
    /// An artifact of this name was already begun in this snapshot.
    #[error("the snapshot already has an artifact `{name}`")]
    ArtifactExists {
        /// The name.
        name: ArtifactName,
    },
    /// An artifact was not committed, so there is no snapshot.
    #[error("artifact `{name}` {reason}, so no snapshot was written")]
    Unfinished {
        /// The artifact.
        name: ArtifactName,
        /// What happened to it.
        reason: String,
    },
    /// A snapshot of nothing is not written.
    #[error("no artifact was committed, so no snapshot was written")]
    NoArtifacts,
    /// An earlier failure in the same snapshot makes going on pointless.
    #[error("the snapshot already failed: {reason}")]
    AlreadyFailed {
        /// The first failure.
        reason: String,
    },
    /// There is no such snapshot of ours.
    #[error("there is no snapshot `{id}`")]
    NoSuchSnapshot {
        /// The snapshot.
        id: SnapshotId,
    },
    /// The snapshot has no such artifact.
    #[error("snapshot `{snapshot}` has no artifact `{name}`", snapshot = .snapshot.short())]
    NoSuchArtifact {
        /// The snapshot.
        snapshot: SnapshotId,
        /// The artifact.
        name: ArtifactName,
    },
    /// What was read is not what was written.
    #[error("artifact `{name}` of snapshot `{snapshot}` is damaged: {reason}", snapshot = .snapshot.short())]
    Damaged {
        /// The snapshot.
        snapshot: SnapshotId,
        /// The artifact.
        name: ArtifactName,
        /// How it differs.
        reason: String,
    },
    /// A listing or an archive that no folder tree has.
    #[error("the tree does not hold together: {reason}")]
    Tree {
        /// What is wrong with it.
        reason: String,
    },
    /// Files that were never the same twice, or never came.
    #[error(
        "{count} files of the tree were changed each time they were read, or could not be read, in {rounds} attempts: `{names}`"
    )]
    TreeChanging {
        /// Some of them.
        names: String,
        /// How many.
        count: u64,
        /// How often it was tried.
        rounds: u32,
    },
    /// The folder has something else in the place of entries of the tree, and nothing was changed.
    #[error("{count} entries of the folder stand in the way, and nothing was changed: {names}")]
    TreeConflict {
        /// Some of them, and why.
        names: String,
        /// How many.
        count: u64,
    },
    /// The artifact is a tree where a stream is needed, or the other way round.
    #[error("artifact `{name}` is {what}")]
    WrongKind {
        /// The artifact.
        name: ArtifactName,
        /// What it is.
        what: &'static str,
    },
    /// The tree has no such entry.
    #[error("the tree `{name}` has no `{path}`")]
    NoSuchEntry {
        /// The artifact.
        name: ArtifactName,
        /// What was looked for.
        path: String,
    },
    /// A retention rule that would keep nothing.
    #[error("the retention rule keeps nothing")]
    EmptyRetention,
    /// The key is in use or the last one.
    #[error("key `{id}` is not removed: {reason}", id = .id.short())]
    KeyInUse {
        /// The key.
        id: crate::names::KeyId,
        /// Why.
        reason: &'static str,
    },
    /// There is no such key.
    #[error("there is no key `{id}`", id = .id.short())]
    NoSuchKey {
        /// The key.
        id: crate::names::KeyId,
    },
    /// The store refused.
    #[error("failed to {attempt}")]
    Store {
        /// What was attempted, and on what.
        attempt: String,
        /// What the store said.
        source: object_store::Error,
    },
    /// A file of the local folder could not be handled.
    #[error("failed to {attempt}")]
    File {
        /// What was attempted, and on what.
        attempt: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The repository could not be read or changed.
    #[error("failed to {attempt}")]
    Format {
        /// What was attempted, and on what.
        attempt: String,
        /// What the library said, in one line.
        source: Cause,
    },
    /// What should be ours could not be understood.
    #[error("failed to {attempt}: the content is not what this program writes")]
    Content {
        /// What was attempted, and on what.
        attempt: String,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// A task of this crate ended without a result.
    #[error("failed to {attempt}: the task was cancelled or panicked")]
    Task {
        /// What was attempted.
        attempt: String,
        /// How the task ended.
        source: tokio::task::JoinError,
    },
    /// A number that the format cannot hold, or a cipher that refuses.
    #[error("failed to {attempt}: {reason}")]
    Limit {
        /// What was attempted.
        attempt: &'static str,
        /// Why it is impossible.
        reason: &'static str,
    },
}

/// The next step where bytes are not those that were written.
const SEE_DAMAGE: &str = "run `cofferdam repository check --read-data` to see all that is damaged";

/// What `rustic_core` said, brought into one line.
///
/// Its own text spans a dozen lines and invites to report bugs to others.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct Cause {
    text: String,
    incorrect_password: bool,
    damage: bool,
}

impl From<Box<rustic_core::RusticError>> for Cause {
    fn from(error: Box<rustic_core::RusticError>) -> Self {
        let text = error.display_log();
        let text = text.strip_prefix("Error: ").unwrap_or(&text);
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        Self {
            // Bytes that do not carry their seal are not the ones that were written.
            damage: line.contains("MAC check failed"),
            text: without_tail(&line).to_owned(),
            incorrect_password: error.is_incorrect_password(),
        }
    }
}

/// The library's sentence without what follows it: links to its pages, nonces, backtraces.
fn without_tail(line: &str) -> &str {
    let ends = [
        " For more information",
        " Some additional details",
        " Context:",
        " Backtrace:",
    ];
    let end = ends.iter().filter_map(|end| line.find(end)).min();
    let kept = end.and_then(|end| line.get(..end)).unwrap_or(line);
    kept.trim_end_matches('.')
}

impl Cause {
    /// Whether the cause is a password that opens no key.
    pub(crate) fn is_incorrect_password(&self) -> bool {
        self.incorrect_password
    }
}

impl Error {
    /// Wraps what `rustic_core` said about an attempt.
    pub(crate) fn format(
        attempt: impl Into<String>,
    ) -> impl FnOnce(Box<rustic_core::RusticError>) -> Self {
        |error| Self::Format {
            attempt: attempt.into(),
            source: error.into(),
        }
    }

    /// Wraps what the object store said about an attempt.
    pub(crate) fn store(attempt: impl Into<String>) -> impl FnOnce(object_store::Error) -> Self {
        |source| Self::Store {
            attempt: attempt.into(),
            source,
        }
    }

    /// Whose move it is.
    #[must_use]
    pub fn blame(&self) -> Blame {
        match self {
            Self::NotFound { .. }
            | Self::AlreadyExists { .. }
            | Self::WrongPassword { .. }
            | Self::OldFormat { .. }
            | Self::EmptyPassword
            | Self::Location { .. }
            | Self::Name { .. }
            | Self::Locked { .. }
            | Self::ArtifactExists { .. }
            | Self::NoSuchSnapshot { .. }
            | Self::NoSuchArtifact { .. }
            | Self::EmptyRetention
            | Self::KeyInUse { .. }
            | Self::TreeConflict { .. }
            | Self::WrongKind { .. }
            | Self::NoSuchEntry { .. }
            | Self::NoSuchKey { .. } => Blame::User,
            Self::LockLost { .. }
            | Self::Unfinished { .. }
            | Self::NoArtifacts
            | Self::AlreadyFailed { .. }
            | Self::Damaged { .. }
            | Self::Tree { .. }
            | Self::TreeChanging { .. }
            | Self::Store { .. }
            | Self::File { .. }
            | Self::Format { .. }
            | Self::Content { .. } => Blame::World,
            Self::Task { .. } | Self::Limit { .. } => Blame::Us,
        }
    }

    /// What the user may do next, where there is something; no period, no leading capital.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound { .. } => Some("run `cofferdam repository init` to make one".to_owned()),
            Self::WrongPassword { .. } => Some(
                "look at the file, variable or command that the password comes from".to_owned(),
            ),
            Self::Locked { owner } => Some(format!(
                "wait until process {} on `{}` is done; a lock that is not renewed for {} minutes is broken by itself",
                owner.process_id,
                owner.host,
                crate::lock::EXPIRY.as_secs() / 60,
            )),
            Self::Damaged { .. } => Some(SEE_DAMAGE.to_owned()),
            Self::Format { source, .. } if source.damage => Some(SEE_DAMAGE.to_owned()),
            Self::OldFormat { .. } => Some("run `restic migrate upgrade_repo_v2`".to_owned()),
            Self::TreeChanging { .. } => {
                Some("stop what writes these files, or let it finish, then try again".to_owned())
            }
            Self::TreeConflict { .. } => Some(
                "move them away, or load with `delete-extraneous`, which removes them".to_owned(),
            ),
            Self::NoSuchEntry { .. } => Some(
                "run `restic ls` or read the listing in the snapshot to see its names".to_owned(),
            ),
            Self::LockLost { .. } => Some("start the backup again".to_owned()),
            Self::EmptyRetention => {
                Some("name at least one rule, such as `--keep-last 7`".to_owned())
            }
            other if other.is_storage_full() => {
                Some("the store is full: make room, then run `cofferdam prune`".to_owned())
            }
            _ => None,
        }
    }

    /// Whether the store had no room left.
    #[must_use]
    pub fn is_storage_full(&self) -> bool {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(self);
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<std::io::Error>()
                && matches!(
                    error.kind(),
                    std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
                )
            {
                return true;
            }
            cause = error.source();
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_librarys_backtrace_is_not_for_people() {
        let said = "error processing Pack:7b. Message: Data decryption failed, MAC check failed. For more information, see: https://x Some additional details ... Backtrace: 0: a";
        assert_eq!(
            without_tail(said),
            "error processing Pack:7b. Message: Data decryption failed, MAC check failed"
        );
        assert_eq!(without_tail("plain"), "plain");
    }
}
