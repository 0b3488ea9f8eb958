//! From the errors below to what a module is told, and to whose move it is.

use cofferdam_cluster as cluster;
use cofferdam_engine::host::HostError;
use cofferdam_policy::Denied;
use cofferdam_repository as repository;

use crate::report::Blame;

/// What a module is told of a failure of the cluster.
pub(crate) fn told(error: cluster::Error) -> HostError {
    let code = error.code();
    let message = error.to_string();
    match code {
        "timed-out" => HostError::TimedOut(message),
        "conflict" => HostError::Conflict(message),
        "not-found" | "no-file" => HostError::NotFound(message),
        _ if error.retryable() => HostError::Unavailable { code, message },
        _ => HostError::Failed { code, message },
    }
}

/// What a module is told of a failure of the repository.
pub(crate) fn kept(error: &repository::Error) -> HostError {
    let hint = error
        .hint()
        .map_or(String::new(), |hint| format!("; {hint}"));
    match error {
        repository::Error::TreeConflict { .. } => HostError::Conflict(format!("{error}{hint}")),
        repository::Error::NoSuchEntry { .. } => HostError::NotFound(error.to_string()),
        repository::Error::TreeChanging { .. } => HostError::Failed {
            code: "files-changing",
            message: format!("{error}{hint}"),
        },
        repository::Error::Tree { .. } => HostError::Failed {
            code: "tree-broken",
            message: error.to_string(),
        },
        _ => HostError::Failed {
            code: "repository",
            message: error.to_string(),
        },
    }
}

/// What a module is told of a denial.
pub(crate) fn denied(denied: &Denied) -> HostError {
    HostError::Denied {
        capability: denied.capability.clone(),
        rule: denied.rule.clone(),
        subject: denied.subject.clone(),
        message: denied.to_string(),
    }
}

/// Whose move it is after a failure of the repository.
pub(crate) fn of_repository(error: &repository::Error) -> Blame {
    match error.blame() {
        repository::Blame::User => Blame::User,
        repository::Blame::World => Blame::World,
        repository::Blame::Us => Blame::Us,
    }
}
