//! Why a call of a guest did not do what was asked: a refusal that the guest is told, or a trap.
//!
//! Must never tell a guest more than its own scope holds.

use cofferdam_policy::name::InvalidName;
use wasmtime::component::ResourceTableError;

use crate::bindings::cofferdam::module::types;
use crate::host::HostError;
use crate::limits;
use crate::text::clean;

/// The outcome of one call of a guest that went wrong.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The manifest, or the host behind it, said no or could not.
    Host(HostError),
    /// Like a failure of the host, with a cause beside it.
    Caused {
        /// Stable slug for the module.
        code: &'static str,
        /// The sentence.
        message: String,
        /// The host's own code.
        cause: &'static str,
    },
    /// The guest cannot go on.
    Trap(wasmtime::Error),
}

/// What the interfaces return.
pub(crate) type Answer<T> = Result<T, Fault>;

impl Fault {
    /// The request makes no sense.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::Host(HostError::Invalid(message.into()))
    }
}

impl From<HostError> for Fault {
    fn from(error: HostError) -> Self {
        Self::Host(error)
    }
}

impl From<InvalidName> for Fault {
    fn from(error: InvalidName) -> Self {
        Self::invalid(error.to_string())
    }
}

/// The table of handles is full.
#[derive(Debug, thiserror::Error)]
#[error("more than {limit} handles are open", limit = limits::HANDLES)]
pub(crate) struct HandlesExhausted;

impl From<ResourceTableError> for Fault {
    fn from(error: ResourceTableError) -> Self {
        Self::Trap(match error {
            ResourceTableError::Full => wasmtime::Error::new(HandlesExhausted),
            other => wasmtime::Error::new(other),
        })
    }
}

impl From<wasmtime::Error> for Fault {
    fn from(error: wasmtime::Error) -> Self {
        Self::Trap(error)
    }
}

/// What the guest is told, or the trap.
pub(crate) fn told(fault: Fault) -> wasmtime::Result<types::Error> {
    let text = |message: String| clean(&message, limits::MESSAGE_BYTES);
    let failure = |code: &str, message: String, retryable: bool| types::Failure {
        code: code.to_owned(),
        message: text(message),
        retryable,
        details: Vec::new(),
    };
    Ok(match fault {
        Fault::Trap(error) => return Err(error),
        Fault::Caused {
            code,
            message,
            cause,
        } => types::Error::Failed(types::Failure {
            details: vec![("cause".to_owned(), cause.to_owned())],
            ..failure(code, message, false)
        }),
        Fault::Host(HostError::Denied {
            capability,
            rule,
            subject,
            message,
        }) => types::Error::Denied(types::Denial {
            capability,
            rule: text(rule),
            subject: Some(text(subject)),
            message: text(message),
        }),
        Fault::Host(HostError::NotFound(message)) => types::Error::NotFound(text(message)),
        Fault::Host(HostError::Conflict(message)) => types::Error::Conflict(text(message)),
        Fault::Host(HostError::Invalid(message)) => types::Error::Invalid(text(message)),
        Fault::Host(HostError::TimedOut(message)) => types::Error::TimedOut(text(message)),
        Fault::Host(HostError::Cancelled) => types::Error::Cancelled,
        Fault::Host(HostError::Unavailable { code, message }) => {
            types::Error::Unavailable(failure(code, message, true))
        }
        Fault::Host(HostError::Failed { code, message }) => {
            types::Error::Failed(failure(code, message, false))
        }
    })
}
