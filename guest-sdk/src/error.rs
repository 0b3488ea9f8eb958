//! What can go wrong, as the host says it, with `?` and a context.
//!
//! Must never lose the difference between *denied* (asking again never helps), *unavailable* (it
//! may) and *failed*: people and retries act on it.

use std::fmt::Display;

/// The result of everything that asks the host.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The policy of this site does not allow the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The capability that was asked for, such as `run-command`.
    pub capability: String,
    /// The rule that decided.
    pub rule: String,
    /// What it was asked for.
    pub subject: Option<String>,
    /// The whole sentence, for people.
    pub message: String,
}

/// Something outside the module failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// A stable slug, such as `stream-cut`.
    pub code: String,
    /// The sentence, for people.
    pub message: String,
    /// Whether the same call may succeed later.
    pub retryable: bool,
    /// More, as pairs.
    pub details: Vec<(String, String)>,
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Policy does not allow it. Asking again will not help.
    #[error("{}", .0.message)]
    Denied(Denial),
    /// The named thing does not exist.
    #[error("{0}")]
    NotFound(String),
    /// The thing is there already, or was changed meanwhile.
    #[error("{0}")]
    Conflict(String),
    /// The request makes no sense: the module's or the site's fault.
    #[error("{0}")]
    Invalid(String),
    /// It took too long.
    #[error("{0}")]
    TimedOut(String),
    /// The run is being cancelled.
    #[error("the run is cancelled")]
    Cancelled,
    /// Something is not there now; the same call may succeed later.
    #[error("{}", .0.message)]
    Unavailable(Failure),
    /// Something failed.
    #[error("{}", .0.message)]
    Failed(Failure),
    /// A case that is younger than this SDK.
    #[error("{}", .0.message)]
    Other(Failure),
}

impl Error {
    /// A failure that trying again does not mend. `code` is a stable slug, such as `no-trailer`.
    pub fn failed(code: &str, message: impl Into<String>) -> Self {
        Self::Failed(Failure {
            code: code.to_owned(),
            message: message.into(),
            retryable: false,
            details: Vec::new(),
        })
    }

    /// A failure that may be gone when the same is tried later.
    pub fn unavailable(code: &str, message: impl Into<String>) -> Self {
        Self::Unavailable(Failure {
            code: code.to_owned(),
            message: message.into(),
            retryable: true,
            details: Vec::new(),
        })
    }

    /// What was asked makes no sense, such as a parameter that is no number.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid(message.into())
    }

    /// The stable slug of a failure, for decisions; `None` for the cases that need none.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Unavailable(failure) | Self::Failed(failure) | Self::Other(failure) => {
                Some(&failure.code)
            }
            Self::Denied(_)
            | Self::NotFound(_)
            | Self::Conflict(_)
            | Self::Invalid(_)
            | Self::TimedOut(_)
            | Self::Cancelled => None,
        }
    }

    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unavailable(_) => true,
            Self::Failed(failure) | Self::Other(failure) => failure.retryable,
            Self::Denied(_)
            | Self::NotFound(_)
            | Self::Conflict(_)
            | Self::Invalid(_)
            | Self::TimedOut(_)
            | Self::Cancelled => false,
        }
    }

    /// The same error with what was attempted in front of its sentence.
    ///
    /// A denial stays as policy worded it, and a cancelled run is only that.
    #[must_use]
    pub fn context(self, attempted: impl Display) -> Self {
        let with = |message: String| format!("{attempted}: {message}");
        let wrap = |failure: Failure| Failure {
            message: with(failure.message),
            ..failure
        };
        match self {
            Self::Denied(denial) => Self::Denied(denial),
            Self::Cancelled => Self::Cancelled,
            Self::NotFound(message) => Self::NotFound(with(message)),
            Self::Conflict(message) => Self::Conflict(with(message)),
            Self::Invalid(message) => Self::Invalid(with(message)),
            Self::TimedOut(message) => Self::TimedOut(with(message)),
            Self::Unavailable(failure) => Self::Unavailable(wrap(failure)),
            Self::Failed(failure) => Self::Failed(wrap(failure)),
            Self::Other(failure) => Self::Other(wrap(failure)),
        }
    }
}

/// `.context("failed to ...")` on results.
pub trait Context<T> {
    /// Says what was attempted when it went wrong.
    ///
    /// # Errors
    /// The error of `self`, with the words in front.
    fn context(self, attempted: impl Display) -> Result<T>;
}

impl<T> Context<T> for Result<T> {
    fn context(self, attempted: impl Display) -> Self {
        self.map_err(|error| error.context(attempted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_keeps_the_kind_and_the_code() {
        let error = Error::unavailable("api-unavailable", "no answer").context("failed to look");
        assert_eq!(error.to_string(), "failed to look: no answer");
        assert_eq!(error.code(), Some("api-unavailable"));
        assert!(error.is_retryable());
    }

    #[test]
    fn a_denial_stays_as_policy_worded_it() {
        let denial = Denial {
            capability: "run-command".to_owned(),
            rule: "default".to_owned(),
            subject: None,
            message: "policy does not allow `run-command`".to_owned(),
        };
        let error = Error::Denied(denial.clone()).context("failed to dump");
        assert_eq!(error, Error::Denied(denial));
        assert!(!error.is_retryable());
    }
}
