//! The job queues of Sidekiq and Resque, read through the server's own client program.
//!
//! Must never take an error of the server for an empty queue: client programs end with 0 all the
//! same and print it as if it were an answer.

use std::collections::BTreeMap;
use std::time::Duration;

use cofferdam_guest_sdk::{Context, Error, Host, Result, Target};

/// The pause after the first look, and the longest one: a look is a command in the pod for each queue.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// 3scale has a dozen; with more the key is some other one.
const MOST_QUEUES: usize = 500;

/// The server that a site bound to the role `queues`.
#[derive(Debug)]
pub(crate) struct Queues(Box<dyn Target>);

/// How many jobs wait, by queue.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Depth {
    /// What workers take from.
    pub(crate) queues: BTreeMap<String, u64>,
    /// What is put back into the queues later: `retry`, `schedule`, `failed`.
    pub(crate) later: BTreeMap<String, u64>,
}

impl Depth {
    /// All jobs in queues.
    pub(crate) fn jobs(&self) -> u64 {
        self.queues.values().sum()
    }

    /// All jobs for later.
    pub(crate) fn later(&self) -> u64 {
        self.later.values().sum()
    }

    /// In a sentence, with the queues that are not empty.
    pub(crate) fn words(&self) -> String {
        let list = |of: &BTreeMap<String, u64>| -> String {
            let filled = of.iter().filter(|(_, count)| **count > 0);
            let words: Vec<String> = filled
                .map(|(name, count)| format!("`{name}` {count}"))
                .collect();
            words.join(", ")
        };
        let mut text = match self.jobs() {
            0 => "no jobs queued".to_owned(),
            1 => format!("1 job queued ({})", list(&self.queues)),
            jobs => format!("{jobs} jobs queued ({})", list(&self.queues)),
        };
        if self.later() > 0 {
            text.push_str(&format!(
                " and {} for later ({})",
                self.later(),
                list(&self.later)
            ));
        }
        text
    }
}

impl Queues {
    /// The server, where the site bound one.
    pub(crate) fn bound(host: &dyn Host) -> Result<Option<Self>> {
        Ok(host.target_if_bound("queues")?.map(Self))
    }

    /// Looks again and again, less and less often, until nothing is queued. `Some` with what is left
    /// when the deadline is over.
    pub(crate) fn drained(&self, host: &dyn Host, deadline: Duration) -> Result<Option<Depth>> {
        let begun = host.now();
        let mut pause = FIRST_PAUSE;
        loop {
            let looked = self.depth();
            if let Ok(depth) = &looked {
                host.progress("drain", depth.jobs(), None, "jobs");
                if depth.jobs() == 0 {
                    return Ok(None);
                }
            }
            let waited = Duration::from_millis(host.now().saturating_sub(begun));
            let left = deadline.checked_sub(waited).filter(|left| !left.is_zero());
            match (left, looked) {
                (Some(left), Ok(_)) => host.sleep(pause.min(left))?,
                (Some(left), Err(error)) if error.is_retryable() => host.sleep(pause.min(left))?,
                (_, looked) => return looked.map(Some),
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// How many jobs wait now.
    pub(crate) fn depth(&self) -> Result<Depth> {
        self.look().context(format!(
            "failed to look at the job queues in `{}`",
            self.0.name()
        ))
    }

    fn look(&self) -> Result<Depth> {
        let pod = self.0.pod()?;
        let mut depth = Depth::default();
        // A number first: what the server refuses shows here.
        let failed = number(&pod.capture("failed-length", &[])?)?;
        depth.later.insert("failed".to_owned(), failed);
        for later in ["retry", "schedule"] {
            let said = pod.capture("later-length", &[("later", later)])?;
            depth.later.insert(later.to_owned(), number(&said)?);
        }
        for queue in names(&pod.capture("queue-names", &[])?)? {
            let said = pod.capture("queue-length", &[("queue", &queue)])?;
            depth.queues.insert(queue, number(&said)?);
        }
        Ok(depth)
    }
}

/// The members of a set, one a line.
fn names(said: &str) -> Result<Vec<String>> {
    let lines = said.lines().map(|line| line.trim_end_matches('\r'));
    let names: Vec<String> = lines
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect();
    match names.first() {
        Some(first) if is_error(first) => Err(refused(first)),
        _ if names.len() > MOST_QUEUES => Err(Error::failed(
            "unknown-answer",
            format!(
                "the set `queues` has {} members, more than {MOST_QUEUES}: look at the parameters `database` and `prefix`",
                names.len()
            ),
        )),
        _ => Ok(names),
    }
}

fn number(said: &str) -> Result<u64> {
    let said = said.trim();
    said.parse().map_err(|_| refused(said))
}

/// Errors of the server begin with a word in capitals, such as `NOPERM` and `WRONGTYPE`.
fn is_error(line: &str) -> bool {
    let word = line.split(' ').next().unwrap_or_default();
    word.len() > 2 && word.bytes().all(|byte| byte.is_ascii_uppercase())
}

fn refused(said: &str) -> Error {
    let said = said.lines().next().unwrap_or_default();
    let (code, next) = if said.starts_with("NOAUTH") {
        ("no-password", "bind the secret `password`")
    } else if said.starts_with("WRONGPASS") {
        (
            "wrong-password",
            "look at the secret `password`, and at the parameters `login` and `user`",
        )
    } else if said.starts_with("NOPERM") {
        (
            "not-permitted",
            "the user needs SMEMBERS, LLEN and ZCARD on the keys of the queues",
        )
    } else if said.starts_with("LOADING") {
        let message = format!("the server answered `{said}`");
        return Error::unavailable("loading", message);
    } else {
        (
            "unknown-answer",
            "look at the parameters `database` and `prefix`",
        )
    };
    Error::failed(code, format!("the server answered `{said}`: {next}"))
}
