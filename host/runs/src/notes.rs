//! What stops whoever has to write down what it does: the state folder, the journal, the audit log.
//!
//! One place for what a run and an import say of them; it does nothing itself.

use crate::audit::AuditError;
use crate::journal::JournalError;
use crate::report::Blame;
use crate::state::StateError;

/// Why something could not be written down or looked up on this machine.
#[derive(Debug, thiserror::Error)]
pub enum NotesError {
    /// The state folder.
    #[error(transparent)]
    State(#[from] StateError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The audit log.
    #[error(transparent)]
    Audit(#[from] AuditError),
}

impl NotesError {
    /// Whose move it is.
    pub fn blame(&self) -> Blame {
        match self {
            Self::State(StateError::Busy(_)) => Blame::User,
            Self::State(_) | Self::Journal(_) | Self::Audit(_) => Blame::World,
        }
    }

    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::State(StateError::Busy(_)) => {
                Some("wait until it ends, or end it with Ctrl-C".into())
            }
            Self::State(_) | Self::Journal(_) | Self::Audit(_) => None,
        }
    }
}
