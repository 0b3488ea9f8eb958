//! The faults that a test can order, and the board that the server reads them from. A fault does
//! only what its rule says and only as often; with an empty board the server is well behaved.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "fault",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum Fault {
    /// The connection of an exec is dropped without a Close frame after so many bytes of output.
    CutExec {
        /// Bytes of standard output that still arrive.
        after_bytes: u64,
    },
    /// The connection of an exec stays open, and nothing comes after so many bytes of output.
    StallExec {
        /// Bytes of standard output that still arrive.
        after_bytes: u64,
    },
    /// An exec ends with a Close frame and without a status: after so many bytes of output, or
    /// when the command has ended.
    CloseWithoutStatus {
        /// Bytes of standard output that still arrive; all of them if not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after_bytes: Option<u64>,
    },
    /// All output of an exec arrives, then the connection is dropped: no status, no Close.
    OmitStatus,
    /// The status of a failed command has no exit code.
    OmitExitCode,
    /// The server speaks only `v4.channel.k8s.io`.
    V4Only,
    /// The server takes standard input at no more than this rate.
    SlowReader {
        /// The rate.
        bytes_per_second: u64,
    },
    /// The server sends standard output at no more than this rate.
    SlowWriter {
        /// The rate.
        bytes_per_second: u64,
    },
    /// An exec is refused before the upgrade.
    RefuseExec {
        /// The HTTP status, such as 403 or 500.
        code: u16,
        /// The message of the `Status`.
        message: String,
    },
    /// The pod is deleted, and so replaced by its workload, when an exec for it arrives; the exec
    /// then finds no such pod.
    ReplacePod,
    /// The pod is deleted without grace after so many bytes of an exec's output or input.
    DeletePod {
        /// Bytes in either direction.
        after_bytes: u64,
    },
    /// A watch is answered with `410 Expired`.
    ExpireWatch,
    /// A watch is dropped in the middle after its first event.
    CutWatch,
    /// Controllers take notice of a new generation only after this time. `name` narrows it to a
    /// workload.
    SlowRollout {
        /// The time in milliseconds.
        milliseconds: u64,
    },
    /// The bearer token is rejected with 401.
    RejectToken,
    /// Requests are answered with this status, usually 429 or 503.
    Refuse {
        /// The HTTP status.
        code: u16,
        /// The `Retry-After` header, in seconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after: Option<u64>,
    },
    /// Requests are forbidden (403), and a SelfSubjectAccessReview says so.
    Forbid {
        /// Such as `get` or `create`; any if not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        verb: Option<String>,
        /// Such as `secrets` or `pods/exec`; any if not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resource: Option<String>,
    },
    /// Claims that a pod mounts are replaced, when it starts, by an empty volume of this size, so
    /// that a disk gets full. `name` narrows it to a claim.
    LimitVolume {
        /// The size.
        bytes: u64,
    },
}

/// A fault, and when it strikes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// What goes wrong.
    #[serde(flatten)]
    pub fault: Fault,
    /// Only for names with this part: of the pod for exec, of the workload for rollouts, of the
    /// claim for volumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Only for requests whose path and query have this part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Only for requests with this method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// How often it strikes; always if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// How many of those that match pass unharmed before the first strike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip: Option<u32>,
    /// How long the rule holds, in milliseconds from when it is set; until removed if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub milliseconds_left: Option<u64>,
}

impl Rule {
    /// A rule that strikes always and everywhere; narrow it with the other functions.
    #[must_use]
    pub fn new(fault: Fault) -> Self {
        Self {
            fault,
            name: None,
            path: None,
            method: None,
            count: None,
            skip: None,
            milliseconds_left: None,
        }
    }

    /// Strikes only so often.
    #[must_use]
    pub fn times(mut self, count: u32) -> Self {
        self.count = Some(count);
        self
    }

    /// Lets so many pass first.
    #[must_use]
    pub fn after(mut self, skip: u32) -> Self {
        self.skip = Some(skip);
        self
    }

    /// Strikes only names with this part.
    #[must_use]
    pub fn named(mut self, part: impl Into<String>) -> Self {
        self.name = Some(part.into());
        self
    }

    /// Strikes only requests whose path and query have this part.
    #[must_use]
    pub fn on_path(mut self, part: impl Into<String>) -> Self {
        self.path = Some(part.into());
        self
    }

    /// Strikes only requests with this method.
    #[must_use]
    pub fn on_method(mut self, method: impl Into<String>) -> Self {
        self.method = Some(method.into());
        self
    }

    /// Strikes only within this time.
    #[must_use]
    pub fn lasting(mut self, time: Duration) -> Self {
        self.milliseconds_left = Some(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        self
    }
}

/// A rule on the board.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Posted {
    /// Names the rule for removal.
    pub id: u64,
    /// How often it has struck.
    pub struck: u32,
    /// The rule.
    #[serde(flatten)]
    pub rule: Rule,
}

/// What a rule is held against.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Circumstance<'a> {
    pub(crate) name: &'a str,
    pub(crate) path: &'a str,
    pub(crate) method: &'a str,
}

#[derive(Debug)]
struct Active {
    posted: Posted,
    passed: u32,
    until: Option<Instant>,
}

#[derive(Debug, Default)]
struct Rules {
    last_id: u64,
    active: Vec<Active>,
}

/// All rules that hold.
#[derive(Debug, Default)]
pub(crate) struct Board {
    rules: Mutex<Rules>,
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, Rules> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a rule and returns its id.
    pub(crate) fn post(&self, rule: Rule) -> u64 {
        let mut rules = self.lock();
        rules.last_id += 1;
        let id = rules.last_id;
        let until = rule
            .milliseconds_left
            .and_then(|left| Instant::now().checked_add(Duration::from_millis(left)));
        rules.active.push(Active {
            posted: Posted {
                id,
                struck: 0,
                rule,
            },
            passed: 0,
            until,
        });
        id
    }

    /// The rules, also those that have struck for the last time.
    pub(crate) fn posted(&self) -> Vec<Posted> {
        self.lock()
            .active
            .iter()
            .map(|active| active.posted.clone())
            .collect()
    }

    /// Removes one rule, or all.
    pub(crate) fn remove(&self, id: Option<u64>) {
        self.lock()
            .active
            .retain(|active| id.is_some_and(|id| id != active.posted.id));
    }

    /// The first fault of the wanted sort that strikes here and now, counted as a strike.
    pub(crate) fn strike<T>(
        &self,
        circumstance: Circumstance<'_>,
        wanted: impl Fn(&Fault) -> Option<T>,
    ) -> Option<T> {
        self.find(circumstance, wanted, true)
    }

    /// As `strike`, without counting.
    pub(crate) fn look<T>(
        &self,
        circumstance: Circumstance<'_>,
        wanted: impl Fn(&Fault) -> Option<T>,
    ) -> Option<T> {
        self.find(circumstance, wanted, false)
    }

    fn find<T>(
        &self,
        circumstance: Circumstance<'_>,
        wanted: impl Fn(&Fault) -> Option<T>,
        counted: bool,
    ) -> Option<T> {
        let mut rules = self.lock();
        for active in &mut rules.active {
            let rule = &active.posted.rule;
            let over = rule
                .count
                .is_some_and(|count| active.posted.struck >= count)
                || active.until.is_some_and(|until| Instant::now() > until);
            if over || !rule.covers(circumstance) {
                continue;
            }
            let Some(found) = wanted(&rule.fault) else {
                continue;
            };
            if rule.skip.is_some_and(|skip| active.passed < skip) {
                active.passed += u32::from(counted);
                continue;
            }
            active.posted.struck += u32::from(counted);
            return Some(found);
        }
        None
    }
}

impl Rule {
    fn covers(&self, circumstance: Circumstance<'_>) -> bool {
        let part = |wanted: &Option<String>, text: &str| {
            wanted
                .as_ref()
                .is_none_or(|wanted| text.contains(wanted.as_str()))
        };
        part(&self.name, circumstance.name)
            && part(&self.path, circumstance.path)
            && self
                .method
                .as_ref()
                .is_none_or(|method| method == circumstance.method)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strikes(board: &Board, name: &str) -> bool {
        let circumstance = Circumstance {
            name,
            ..Circumstance::default()
        };
        board
            .strike(circumstance, |fault| {
                (*fault == Fault::V4Only).then_some(())
            })
            .is_some()
    }

    #[test]
    fn a_rule_strikes_only_its_names_and_only_so_often() {
        let board = Board::default();
        board.post(Rule::new(Fault::V4Only).named("mysql").after(1).times(2));
        assert!(!strikes(&board, "system-redis-1"));
        let results: Vec<bool> = (0..4).map(|_| strikes(&board, "system-mysql-1")).collect();
        assert_eq!(results, [false, true, true, false]);
        assert_eq!(board.posted().first().map(|posted| posted.struck), Some(2));
    }

    #[test]
    fn rules_read_as_flat_json() {
        let text = r#"{"fault": "cutExec", "afterBytes": 7, "name": "mysql", "count": 1}"#;
        let rule: Rule = serde_json::from_str(text).unwrap();
        assert_eq!(
            rule,
            Rule::new(Fault::CutExec { after_bytes: 7 })
                .named("mysql")
                .times(1)
        );
        assert!(serde_json::from_str::<Rule>(r#"{"fault": "nonsense"}"#).is_err());
    }
}
