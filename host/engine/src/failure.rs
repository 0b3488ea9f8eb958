//! Why a call of a module did not do its work, in words for people and codes for programs.
//!
//! Must never pass on a module's words unbounded or uncleaned: a module is not trusted with a
//! terminal.

use std::time::Duration;

use wasmtime::Trap;

use crate::bindings::cofferdam::module::types;
use crate::fault::HandlesExhausted;
use crate::limits::{self, Limits};
use crate::meter::MemoryExhausted;
use crate::text::clean;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The module said so itself.
    #[error("{0}")]
    Module(ModuleFailure),
    /// A backup returned without one artifact committed.
    #[error("the module said that the backup is done and kept nothing")]
    NothingKept,
    /// It asked for more memory than it may have.
    #[error("the module used up its memory of {} MiB", .limit >> 20)]
    MemoryExhausted {
        /// Bytes.
        limit: u64,
    },
    /// It computed for longer than it may.
    #[error("the module computed for more than {} without coming to an end", seconds(.limit))]
    ComputeExhausted {
        /// The limit.
        limit: Duration,
    },
    /// It took longer than it may, waiting included.
    #[error("the module was not done after {}", seconds(.limit))]
    TimeExhausted {
        /// The limit.
        limit: Duration,
    },
    /// It called itself too deeply.
    #[error("the module used up its stack of {} KiB", limits::STACK_BYTES >> 10)]
    StackOverflow,
    /// It left too many handles open.
    #[error("the module has more than {limit} handles open", limit = limits::HANDLES)]
    HandlesExhausted,
    /// It gave up. Rust modules log why before they do.
    #[error("the module panicked{}", words(.message))]
    Panicked {
        /// The last error that it logged.
        message: Option<String>,
    },
    /// It did something that WebAssembly forbids.
    #[error("the module crashed: {reason}")]
    Trapped {
        /// What, in WebAssembly's words.
        reason: String,
    },
    /// The run was cancelled.
    #[error("the call was cancelled")]
    Cancelled,
    /// The binding was made from the manifest of another module: our fault.
    #[error("the binding belongs to another module")]
    ForeignBinding,
}

impl CallError {
    /// A stable slug, such as `memory-exhausted`. The module's own code where it gave one.
    pub fn code(&self) -> &str {
        match self {
            Self::Module(failure) => failure.code.as_deref().unwrap_or(failure.kind.as_str()),
            Self::NothingKept => "nothing-kept",
            Self::MemoryExhausted { .. } => "memory-exhausted",
            Self::ComputeExhausted { .. } => "compute-exhausted",
            Self::TimeExhausted { .. } => "time-exhausted",
            Self::StackOverflow => "stack-overflow",
            Self::HandlesExhausted => "handles-exhausted",
            Self::Panicked { .. } => "panicked",
            Self::Trapped { .. } => "crashed",
            Self::Cancelled => "cancelled",
            Self::ForeignBinding => "foreign-binding",
        }
    }

    /// What to do about it, where that is not plain from the message.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::MemoryExhausted { .. }
            | Self::ComputeExhausted { .. }
            | Self::StackOverflow
            | Self::HandlesExhausted
            | Self::Panicked { .. }
            | Self::Trapped { .. }
            | Self::NothingKept => "this is a fault of the module: report it to its author",
            Self::Module(_)
            | Self::TimeExhausted { .. }
            | Self::Cancelled
            | Self::ForeignBinding => return None,
        };
        Some(hint.to_owned())
    }

    /// What a trap was, told apart by its cause.
    pub(crate) fn from_trap(
        error: wasmtime::Error,
        last_words: Option<String>,
        bounds: &Limits,
    ) -> Self {
        if error.downcast_ref::<MemoryExhausted>().is_some() {
            return Self::MemoryExhausted {
                limit: bounds.memory,
            };
        }
        if error.downcast_ref::<HandlesExhausted>().is_some() {
            return Self::HandlesExhausted;
        }
        match error.downcast_ref::<Trap>() {
            Some(Trap::StackOverflow) => Self::StackOverflow,
            Some(Trap::Interrupt) => Self::ComputeExhausted {
                limit: bounds.compute,
            },
            Some(Trap::UnreachableCodeReached) => Self::Panicked {
                message: last_words,
            },
            // Compilers keep a second stack in memory, whose end cannot be told from a wild pointer.
            Some(Trap::MemoryOutOfBounds) => Self::Trapped {
                reason: "out of bounds memory access, as when its stack is used up".to_owned(),
            },
            Some(trap) => Self::Trapped {
                reason: reason(&trap.to_string()),
            },
            None => Self::Trapped {
                reason: reason(&error.root_cause().to_string()),
            },
        }
    }
}

/// The last words of a module that gave up.
fn words(message: &Option<String>) -> String {
    message
        .as_ref()
        .map(|words| format!(": {words}"))
        .unwrap_or_default()
}

fn reason(text: &str) -> String {
    clean(
        text.trim_start_matches("wasm trap: "),
        limits::SUMMARY_BYTES,
    )
}

/// A duration in the unit that people would use.
fn seconds(duration: &Duration) -> String {
    match duration.as_secs() {
        0 => format!("{} ms", duration.as_millis()),
        hours if hours.is_multiple_of(3600) => format!("{} h", hours / 3600),
        seconds => format!("{seconds} s"),
    }
}

/// What a module returned instead of success. Cleaned and bounded, and still a stranger's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleFailure {
    /// The case.
    pub kind: ModuleFailureKind,
    /// A slug, where the module or the host gave one.
    pub code: Option<String>,
    /// The sentence.
    pub message: String,
    /// More about it. For a denial `capability`, `rule` and `subject`.
    pub details: Vec<(String, String)>,
}

/// The cases of the contract's `error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ModuleFailureKind {
    /// Manifest or policy did not allow it.
    Denied,
    /// Something named does not exist.
    NotFound,
    /// Something is there already, or was changed meanwhile.
    Conflict,
    /// A request made no sense.
    Invalid,
    /// Something took too long.
    TimedOut,
    /// The run is being cancelled.
    Cancelled,
    /// Something outside is not there now.
    Unavailable,
    /// Something outside failed.
    Failed,
    /// A case that this version of the contract does not have.
    Other,
}

impl ModuleFailureKind {
    /// The word of the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::NotFound => "not-found",
            Self::Conflict => "conflict",
            Self::Invalid => "invalid",
            Self::TimedOut => "timed-out",
            Self::Cancelled => "cancelled",
            Self::Unavailable => "unavailable",
            Self::Failed => "failed",
            Self::Other => "other",
        }
    }
}

impl std::fmt::Display for ModuleFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.message.is_empty() {
            f.write_str(self.kind.as_str())
        } else {
            f.write_str(&self.message)
        }
    }
}

impl ModuleFailure {
    pub(crate) fn new(error: types::Error) -> Self {
        match error {
            types::Error::Denied(denial) => Self {
                kind: ModuleFailureKind::Denied,
                code: None,
                message: message(&denial.message),
                details: [
                    Some(("capability", denial.capability)),
                    Some(("rule", denial.rule)),
                    denial.subject.map(|subject| ("subject", subject)),
                ]
                .into_iter()
                .flatten()
                .map(|(key, value)| (key.to_owned(), message(&value)))
                .collect(),
            },
            types::Error::NotFound(text) => Self::plain(ModuleFailureKind::NotFound, &text),
            types::Error::Conflict(text) => Self::plain(ModuleFailureKind::Conflict, &text),
            types::Error::Invalid(text) => Self::plain(ModuleFailureKind::Invalid, &text),
            types::Error::TimedOut(text) => Self::plain(ModuleFailureKind::TimedOut, &text),
            types::Error::Cancelled => {
                Self::plain(ModuleFailureKind::Cancelled, "the module was cancelled")
            }
            types::Error::Unavailable(failure) => {
                Self::coded(ModuleFailureKind::Unavailable, failure)
            }
            types::Error::Failed(failure) => Self::coded(ModuleFailureKind::Failed, failure),
            types::Error::Other(failure) => Self::coded(ModuleFailureKind::Other, failure),
        }
    }

    fn plain(kind: ModuleFailureKind, text: &str) -> Self {
        Self {
            kind,
            code: None,
            message: message(text),
            details: Vec::new(),
        }
    }

    fn coded(kind: ModuleFailureKind, failure: types::Failure) -> Self {
        let slug = clean(&failure.code, limits::NAME_BYTES);
        Self {
            kind,
            code: (!slug.is_empty()).then_some(slug),
            message: message(&failure.message),
            details: failure
                .details
                .into_iter()
                .take(limits::PAIRS)
                .map(|(key, value)| (clean(&key, limits::NAME_BYTES), message(&value)))
                .collect(),
        }
    }
}

fn message(text: &str) -> String {
    clean(text, limits::MESSAGE_BYTES)
}
