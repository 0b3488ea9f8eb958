//! From the errors below to what a module is told, and to what people are told: whose move it is,
//! why, and what next.
//!
//! Must never tell a module more than one sentence: causes name paths of the host.

use std::sync::{Arc, Mutex, PoisonError};

use cofferdam_cluster as cluster;
use cofferdam_engine::host::HostError;
use cofferdam_policy::Denied;
use cofferdam_repository as repository;

use crate::report::{Blame, Failure};

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

/// What cluster and repository refused to a data set. Its module hears one sentence each time; who
/// reads the report needs the cause and the next step as well.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trouble(Arc<Mutex<Vec<Met>>>);

/// A module that asks in vain again and again is told from the first times.
const REMEMBERED: usize = 64;

#[derive(Debug, Clone)]
struct Met {
    told: String,
    explained: String,
    hint: Option<String>,
    /// Nobody keeps anything after the repository failed, whatever the module says of it.
    repository: Option<Blame>,
}

impl Trouble {
    fn remember(&self, met: Met) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() < REMEMBERED {
            all.push(met);
        }
    }

    /// What a module is told of a failure of the repository.
    pub(crate) fn repository(&self, error: &repository::Error) -> HostError {
        let message = error.to_string();
        let failure = of_repository(error);
        self.remember(Met {
            told: message.clone(),
            explained: failure.message,
            hint: failure.hint,
            repository: Some(failure.blame),
        });
        match error {
            repository::Error::TreeConflict { .. } => HostError::Conflict(message),
            repository::Error::NoSuchEntry { .. } => HostError::NotFound(message),
            repository::Error::TreeChanging { .. } => HostError::Failed {
                code: "files-changing",
                message,
            },
            repository::Error::Tree { .. } => HostError::Failed {
                code: "tree-broken",
                message,
            },
            _ => HostError::Failed {
                code: "repository",
                message,
            },
        }
    }

    /// What a module is told of a failure of the cluster.
    pub(crate) fn cluster(&self, error: cluster::Error) -> HostError {
        if let Some(hint) = error.hint() {
            let message = error.to_string();
            self.remember(Met {
                told: message.clone(),
                explained: message,
                hint: Some(hint.to_owned()),
                repository: None,
            });
        }
        told(error)
    }

    /// A module's failure with the cause and the next step, where they are known.
    pub(crate) fn explain(&self, failure: Failure) -> Failure {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A module may go on after one failure and give up after another: its own words tell which.
        let passed_on = all
            .iter()
            .rev()
            .find(|met| failure.message.contains(&met.told));
        let Some(met) = passed_on.or_else(|| all.iter().find(|met| met.repository.is_some()))
        else {
            return failure;
        };
        let message = if failure.message.contains(&met.told) {
            failure.message.replacen(&met.told, &met.explained, 1)
        } else {
            format!("{}: {}", failure.message, met.explained)
        };
        Failure {
            blame: met.repository.unwrap_or(failure.blame),
            message,
            hint: met.hint.clone().or(failure.hint),
        }
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

/// A failure of the repository, for people.
pub(crate) fn of_repository(error: &repository::Error) -> Failure {
    Failure {
        blame: whose(error),
        message: with_causes(error),
        hint: error.hint(),
    }
}

/// Whose move it is after a failure of the repository.
pub(crate) fn whose(error: &repository::Error) -> Blame {
    match error.blame() {
        repository::Blame::User => Blame::User,
        repository::Blame::World => Blame::World,
        repository::Blame::Us => Blame::Us,
    }
}

/// An error and its causes in one line.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        // Some libraries repeat their cause in their own message.
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> repository::Error {
        repository::Error::File {
            attempt: "write a pack".into(),
            source: std::io::Error::from(std::io::ErrorKind::StorageFull),
        }
    }

    fn failed(message: &str) -> Failure {
        Failure {
            blame: Blame::Module,
            message: message.into(),
            hint: None,
        }
    }

    #[test]
    fn a_module_hears_a_sentence_and_people_hear_the_cause_and_the_next_step() {
        let trouble = Trouble::default();
        let HostError::Failed { message, .. } = trouble.repository(&full()) else {
            panic!("another error");
        };
        assert_eq!(message, "failed to write a pack");
        let explained = trouble.explain(failed("artifact `a`: failed to write a pack"));
        assert_eq!(
            explained.message,
            "artifact `a`: failed to write a pack: no storage space"
        );
        assert_eq!(explained.blame, Blame::World);
        assert!(explained.hint.expect("a hint").contains("make room"));
    }

    #[test]
    fn a_module_that_keeps_the_cause_to_itself_does_not_hide_it() {
        let trouble = Trouble::default();
        let _told = trouble.repository(&full());
        assert_eq!(
            trouble.explain(failed("it went wrong")).message,
            "it went wrong: failed to write a pack: no storage space"
        );
    }

    #[test]
    fn a_failure_of_the_cluster_that_was_got_over_is_not_named() {
        let trouble = Trouble::default();
        let workload = |name: &str| cluster::Error::NoWorkload {
            workload: name.into(),
            namespace: "n".into(),
        };
        for name in ["one", "two"] {
            let _told = trouble.cluster(workload(name));
        }
        assert_eq!(trouble.explain(failed("no trailer")).hint, None);
        let message = workload("one").to_string();
        assert_eq!(
            trouble.explain(failed(&message)).hint.as_deref(),
            workload("one").hint()
        );
    }

    #[test]
    fn without_trouble_a_failure_stays_as_it_is() {
        let explained = Trouble::default().explain(failed("no trailer"));
        assert_eq!(explained.message, "no trailer");
        assert_eq!(explained.blame, Blame::Module);
    }
}
