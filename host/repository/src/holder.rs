//! Who holds a lock, and whether that process still runs.
//!
//! Only a process of the same machine, the same start of it and the same process namespace can be judged; of all others
//! nothing is known but when they last renewed their lock. It must never signal a process.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Who holds a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockOwner {
    /// The name of the machine, or of the pod.
    pub host: String,
    /// The process on that machine.
    pub process_id: u32,
    /// What it does, for people.
    pub purpose: String,
    /// Since when.
    pub taken: Timestamp,
}

impl fmt::Display for LockOwner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "process {} on `{}` ({}, since {:.0})",
            self.process_id, self.host, self.purpose, self.taken
        )
    }
}

/// The holder of a lock, as it stands in the lock object.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Holder {
    #[serde(flatten)]
    pub(crate) owner: LockOwner,
    /// The machine, this start of it, and the process namespace: only there does a process id mean anything.
    pub(crate) realm: String,
    /// When the process started, in the kernel's ticks, so that a reused id is not taken for the holder.
    pub(crate) started: String,
}

impl Holder {
    /// This process.
    pub(crate) fn me(purpose: &str) -> Self {
        let process_id = std::process::id();
        Self {
            owner: LockOwner {
                host: host(),
                process_id,
                purpose: purpose.to_owned(),
                taken: Timestamp::now(),
            },
            realm: realm(),
            started: process_started(process_id).unwrap_or_default(),
        }
    }

    /// Whether the process runs no more, as far as this machine can tell.
    pub(crate) fn is_dead(&self) -> bool {
        !self.realm.is_empty()
            && self.realm == realm()
            && !self.started.is_empty()
            && process_started(self.owner.process_id).is_none_or(|started| started != self.started)
    }
}

fn read(file: &str) -> String {
    fs_err::read_to_string(file)
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// The host's name.
pub(crate) fn host() -> String {
    let name = read("/proc/sys/kernel/hostname");
    if name.is_empty() {
        "unknown".to_owned()
    } else {
        name
    }
}

/// Where process ids are comparable; empty if that cannot be known.
fn realm() -> String {
    let start = read("/proc/sys/kernel/random/boot_id");
    let namespace = fs_err::read_link("/proc/self/ns/pid")
        .map(|link| link.display().to_string())
        .unwrap_or_default();
    if start.is_empty() || namespace.is_empty() {
        return String::new();
    }
    format!("{start} {namespace} {}", host())
}

/// When a process started; `None` if it does not run or is a zombie.
fn process_started(process_id: u32) -> Option<String> {
    let stat = fs_err::read_to_string(format!("/proc/{process_id}/stat")).ok()?;
    // The second field is the name in parentheses and may contain anything; the state is the first after it.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?;
    // The start is field 22 of the line, the 20th from the state on.
    let started = fields.nth(18)?;
    (!matches!(state, "Z" | "X")).then(|| started.to_owned())
}

/// Whether a process runs on this machine; `None` if the host is another one.
pub(crate) fn runs_here(host_name: &str, process_id: u32) -> Option<bool> {
    (host_name == host()).then(|| process_started(process_id).is_some())
}
