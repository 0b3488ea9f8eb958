//! What the page says, as lines and cells: texts that are cleaned, and places of bars.
//!
//! Must never make markup: that is for the page, which escapes what it gets from here.

use cofferdam_policy::request::RunKind;
use cofferdam_repository::{ArtifactSummary, Proof};
use cofferdam_runs::application::External;
use cofferdam_runs::history::{
    DataSetChange, DataSetHistory, Difference, Found, History, LeaseHistory, StepHistory,
};
use jiff::{SignedDuration, Timestamp};

use crate::command::taken_text;
use crate::output::{bytes, clean, milliseconds};

/// A table of thousands of rows is no report; what is left out is counted.
const MAXIMUM_DIFFERENCES: usize = 200;

pub(super) struct Concern {
    pub(super) class: &'static str,
    pub(super) word: &'static str,
    pub(super) of: String,
    pub(super) text: String,
}

pub(super) struct Lane {
    pub(super) name: String,
    pub(super) is_lease: bool,
    pub(super) failed: bool,
    pub(super) left: f64,
    pub(super) width: f64,
    pub(super) when: String,
}

pub(super) struct Row {
    pub(super) name: String,
    pub(super) class: &'static str,
    pub(super) state: &'static str,
    pub(super) module: String,
    pub(super) bytes: String,
    pub(super) stored: String,
    pub(super) time: String,
    pub(super) rate: String,
    pub(super) proof: String,
}

pub(super) struct Change {
    pub(super) name: String,
    pub(super) summary: String,
    pub(super) rows: Vec<(String, String, String)>,
}

pub(super) struct Lease {
    pub(super) change: String,
    pub(super) data_set: String,
    pub(super) taken: String,
    pub(super) class: &'static str,
    pub(super) released: String,
    pub(super) outcome: String,
}

pub(super) struct Evidence {
    pub(super) name: String,
    pub(super) about: String,
    pub(super) steps: String,
    pub(super) proofs: Vec<String>,
    pub(super) artifacts: Vec<Artifact>,
}

pub(super) struct Artifact {
    pub(super) name: String,
    pub(super) about: String,
    pub(super) pairs: Vec<(String, String)>,
}

/// From the first beginning to the last end that is known. What a later run did to a killed one comes behind it.
pub(super) struct Span {
    pub(super) begin: Timestamp,
    pub(super) end: Timestamp,
}

impl Span {
    pub(super) fn of(history: &History) -> Self {
        let data_sets = history.data_sets.iter();
        let leases = history.leases.iter();
        let times = data_sets
            .flat_map(|one| [one.begun, one.ended])
            .chain(leases.flat_map(|one| [Some(one.taken), one.released]))
            .flatten()
            .chain([history.started])
            .chain(history.finished);
        let last = history.settled.and(history.finished);
        let all: Vec<Timestamp> = times
            .filter(|at| last.is_none_or(|last| *at <= last))
            .collect();
        Self {
            begin: all.iter().min().copied().unwrap_or(history.started),
            end: all.iter().max().copied().unwrap_or(history.started),
        }
    }

    /// How long it is.
    pub(super) fn took(&self) -> String {
        took(self.end.duration_since(self.begin))
    }

    /// A time within the span, with the day where a time alone could be of two, and as exact as its length asks for.
    pub(super) fn clock(&self, at: Timestamp) -> String {
        let day = |at: Timestamp| at.strftime("%Y-%m-%d").to_string();
        let is_short = self.end.duration_since(self.begin) < SignedDuration::from_mins(1);
        let form = if day(self.begin) != day(self.end) || day(at) != day(self.begin) {
            "%Y-%m-%d %H:%M:%S"
        } else if is_short {
            "%H:%M:%S%.3f"
        } else {
            "%H:%M:%S"
        };
        at.strftime(form).to_string()
    }

    /// Where a part of the span begins and how much of it it is, in hundredths; the whole of a span
    /// that has no length.
    fn place(&self, begin: Timestamp, end: Timestamp) -> (f64, f64) {
        let whole = self.end.duration_since(self.begin).as_secs_f64();
        let part = |duration: SignedDuration| {
            if whole > 0.0 {
                (duration.as_secs_f64() / whole * 100.0).clamp(0.0, 100.0)
            } else {
                0.0
            }
        };
        // The thinnest bar has to have room before the right edge.
        let left = part(begin.duration_since(self.begin)).min(99.5);
        let width = if whole > 0.0 {
            part(end.duration_since(begin)).min(100.0 - left)
        } else {
            100.0
        };
        (left, width)
    }
}

pub(super) fn facts(history: &History) -> Vec<(&'static str, String)> {
    let total: u64 = history.data_sets.iter().map(DataSetHistory::bytes).sum();
    let stored: u64 = history
        .data_sets
        .iter()
        .map(DataSetHistory::stored_bytes)
        .sum();
    let mut facts = vec![("Run", clean(&history.run))];
    if let Some(from) = &history.from {
        facts.push(("Reads run", clean(from)));
    }
    if let Some(taken) = &history.taken {
        facts.push(("Data taken", taken_text(taken, moment)));
    }
    facts.extend(
        [
            ("Namespace", &history.namespace),
            ("Cluster", &history.cluster),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, clean(value.as_ref()?)))),
    );
    facts.push(("Began", moment(history.started)));
    match history.finished {
        Some(finished) => {
            facts.push(("Ended", moment(finished)));
            facts.push(("Took", took(finished.duration_since(history.started))));
        }
        None => facts.push(("Ended", "not written down".to_owned())),
    }
    if let Some(settled) = history.settled {
        facts.push((
            "Put in order",
            format!("{} by a later run", moment(settled)),
        ));
    }
    facts.push(("Size", bytes(total)));
    if history.kind == RunKind::Backup {
        facts.push(("Added to the repository", bytes(stored)));
    }
    facts
}

pub(super) fn concerns(history: &History) -> Vec<Concern> {
    let concern = |class, word, of: Option<&str>, text: &str| Concern {
        class,
        word,
        of: clean(of.unwrap_or_default()),
        text: clean(text),
    };
    let failures = history.data_sets.iter().filter_map(|data_set| {
        let text = data_set.failure.as_ref()?;
        Some(concern("bad", "Failure", Some(&data_set.name), text))
    });
    let left = history.leases.iter().filter(|one| one.released.is_none()).map(|one| {
        let text = format!(
            "{} was not put back, as far as the journal says; the next run of this application puts it back first",
            one.change
        );
        concern("bad", "Left changed", Some(&one.data_set), &text)
    });
    let uncovered = history.external.iter().map(|external| {
        let text = format!("nobody backs it up here: {}", external.why);
        concern("care", "Not covered", Some(external.name.as_str()), &text)
    });
    let damaged = [("journal", &history.journal), ("audit log", &history.audit)]
        .into_iter()
        .filter_map(|(what, found)| match found {
            Found::Damaged(reason) => Some(concern(
                "bad",
                "Not to be believed",
                None,
                &format!("the {what} of this run: {reason}"),
            )),
            Found::Whole | Found::Missing => None,
        });
    let denied = history.denied.iter().map(|denied| {
        let text = format!(
            "{} {} by rule {}",
            denied.capability, denied.subject, denied.rule
        );
        concern("bad", "Refused", denied.data_set.as_deref(), &text)
    });
    let warnings = history.warnings.iter().map(|warning| {
        concern(
            "care",
            "Warning",
            warning.data_set.as_deref(),
            &warning.text,
        )
    });
    failures
        .chain(left)
        .chain(damaged)
        .chain(denied)
        .chain(uncovered)
        .chain(warnings)
        .collect()
}

pub(super) fn lanes(history: &History, span: &Span) -> Vec<Lane> {
    let mut lanes = Vec::new();
    for data_set in &history.data_sets {
        if let Some(begun) = data_set.begun {
            let failed = data_set.failure.is_some() || data_set.ended.is_none();
            let rate = match rate(data_set) {
                Some(rate) => format!(", {} at {rate}", bytes(data_set.bytes())),
                None => String::new(),
            };
            let state = if data_set.failure.is_some() {
                ", failed"
            } else {
                ""
            };
            lanes.push(lane(
                span,
                (&data_set.name, false, failed),
                (begun, data_set.ended),
                &format!("{state}{rate}"),
            ));
        }
        for lease in history
            .leases
            .iter()
            .filter(|one| one.data_set == data_set.name)
        {
            let failed = lease.released.is_none();
            lanes.push(lane(
                span,
                (&lease.change, true, failed),
                (lease.taken, lease.released),
                "",
            ));
        }
    }
    lanes
}

fn lane(
    span: &Span,
    (name, is_lease, failed): (&str, bool, bool),
    (begin, end): (Timestamp, Option<Timestamp>),
    more: &str,
) -> Lane {
    let (left, width) = span.place(begin, end.unwrap_or(span.end));
    let when = match end {
        Some(end) => format!(
            "{} to {}, {}{more}",
            span.clock(begin),
            span.clock(end),
            took(end.duration_since(begin))
        ),
        None => format!(
            "{} to an end that was not written down{more}",
            span.clock(begin)
        ),
    };
    Lane {
        name: clean(name),
        is_lease,
        failed,
        left,
        width,
        when,
    }
}

pub(super) fn row(history: &History, data_set: &DataSetHistory) -> Row {
    let (state, class) = match (&data_set.failure, data_set.ended, history.kind) {
        (Some(_), _, _) => ("✗ failed", "bad"),
        (None, None, _) => ("… without an end", "care"),
        (None, Some(_), RunKind::Backup) => ("✓ kept", "good"),
        (None, Some(_), RunKind::Restore) => ("✓ restored", "good"),
        (None, Some(_), RunKind::Verify) => ("✓ verified", "good"),
    };
    let snapshot = data_set.snapshot.as_ref();
    let sized = |count: u64| snapshot.map_or_else(|| "–".to_owned(), |_| bytes(count));
    let proofs = snapshot.map_or(&[][..], |snapshot| &snapshot.proofs);
    Row {
        name: clean(&data_set.name),
        class,
        state,
        module: snapshot.map_or_else(
            || "–".to_owned(),
            |snapshot| {
                let module = &snapshot.description.module;
                clean(&format!("{} {}", module.name, module.version))
            },
        ),
        bytes: sized(data_set.bytes()),
        stored: sized(data_set.stored_bytes()),
        time: data_set.took().map_or_else(|| "–".to_owned(), took),
        rate: rate(data_set).unwrap_or_else(|| "–".to_owned()),
        proof: match proofs.last() {
            Some(last) => clean(&format!("{} {}", last.kind, moment(last.at))),
            None => "not proven yet".to_owned(),
        },
    }
}

/// What belongs to the application and stands in no snapshot.
pub(super) fn uncovered(external: &External) -> Row {
    let nothing = || "–".to_owned();
    Row {
        name: clean(external.name.as_str()),
        class: "care",
        state: "! not covered",
        module: "none: external".to_owned(),
        bytes: nothing(),
        stored: nothing(),
        time: nothing(),
        rate: nothing(),
        proof: nothing(),
    }
}

/// Fewer bytes are notes, such as a replica count or the name of a task: their rate is that of something else.
const WORTH_A_RATE: u64 = 4096;

fn rate(data_set: &DataSetHistory) -> Option<String> {
    let seconds = data_set.took()?.as_secs_f64();
    let count = data_set.bytes();
    if seconds <= 0.0 || count < WORTH_A_RATE {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mebibytes = count as f64 / seconds / f64::from(1 << 20);
    Some(if mebibytes < 0.1 {
        format!("{:.1} KiB/s", mebibytes * 1024.0)
    } else {
        format!("{mebibytes:.1} MiB/s")
    })
}

pub(super) fn since_note(history: &History) -> String {
    match &history.since {
        Some(since) => format!(
            "Compared with backup {}, {}, by what both say about themselves.",
            clean(&since.run),
            moment(since.started)
        ),
        None if history.kind == RunKind::Backup => {
            "The repository keeps no earlier backup of this application.".to_owned()
        }
        None => "Only backups are compared with the one before.".to_owned(),
    }
}

pub(super) fn change(change: &DataSetChange) -> Change {
    let shown = |value: &Option<String>| clean(value.as_deref().unwrap_or("–"));
    let rows: Vec<_> = change
        .differences
        .iter()
        .take(MAXIMUM_DIFFERENCES)
        .map(|Difference { what, before, now }| (clean(what), shown(before), shown(now)))
        .collect();
    let hidden = change.differences.len() - rows.len();
    let mut summary = match (change.same_bytes, rows.is_empty()) {
        (true, true) => "The same, byte for byte.".to_owned(),
        (true, false) => "The same bytes; what is said about them differs.".to_owned(),
        (false, true) => "Other bytes; everything that is said about them is the same.".to_owned(),
        (false, false) => "Not the same.".to_owned(),
    };
    if hidden > 0 {
        summary.push_str(&format!(" {hidden} more differences are not shown."));
    }
    Change {
        name: clean(&change.name),
        summary,
        rows,
    }
}

pub(super) fn lease(lease: &LeaseHistory) -> Lease {
    let (released, class) = match lease.released {
        Some(released) => (
            format!(
                "{}, after {}",
                moment(released),
                took(released.duration_since(lease.taken))
            ),
            "",
        ),
        None => ("✗ NOT put back".to_owned(), "bad"),
    };
    Lease {
        change: clean(&lease.change),
        data_set: clean(
            &[std::slice::from_ref(&lease.data_set), &lease.shared_with]
                .concat()
                .join(", "),
        ),
        taken: moment(lease.taken),
        class,
        released,
        outcome: clean(lease.outcome.as_deref().unwrap_or("–")),
    }
}

/// What a data set left: of one that failed there are at least the steps that it came to.
pub(super) fn evidence(data_set: &DataSetHistory) -> Option<Evidence> {
    let snapshot = data_set.snapshot.as_ref();
    if snapshot.is_none() && data_set.steps.is_empty() {
        return None;
    }
    let step = |step: &StepHistory| match step.ended {
        Some(ended) => format!("{} {}", step.name, took(ended.duration_since(step.begun))),
        None => format!("{} did not end well", step.name),
    };
    let about = snapshot.map_or_else(
        || "No snapshot.".to_owned(),
        |snapshot| {
            let module = &snapshot.description.module;
            format!(
                "Snapshot {}, by module {} {}, {}",
                snapshot.id, module.name, module.version, module.digest
            )
        },
    );
    let proof = |proof: &Proof| {
        format!(
            "Proven by {} in run {}, {}",
            proof.kind,
            proof.run,
            moment(proof.at)
        )
    };
    let proofs = snapshot.iter().flat_map(|snapshot| &snapshot.proofs);
    let artifacts = snapshot.iter().flat_map(|snapshot| &snapshot.artifacts);
    Some(Evidence {
        name: clean(&data_set.name),
        about: clean(&about),
        steps: clean(
            &data_set
                .steps
                .iter()
                .map(step)
                .collect::<Vec<_>>()
                .join(", "),
        ),
        proofs: proofs.map(|one| clean(&proof(one))).collect(),
        artifacts: artifacts.map(artifact).collect(),
    })
}

fn artifact(artifact: &ArtifactSummary) -> Artifact {
    let mut pairs = vec![("sha256".to_owned(), clean(&artifact.sha256))];
    pairs.extend(
        artifact
            .evidence
            .iter()
            .filter(|(key, value)| key != "sha256" || *value != artifact.sha256)
            .map(|(key, value)| (clean(key), clean(value))),
    );
    Artifact {
        name: clean(artifact.name.as_ref()),
        about: clean(&format!(
            "{}, {} ({} bytes), {} added",
            artifact.media_type,
            bytes(artifact.bytes),
            artifact.bytes,
            bytes(artifact.stored_bytes)
        )),
        pairs,
    }
}

pub(super) fn audit_note(history: &History) -> String {
    match &history.audit {
        Found::Whole => "The audit log of this run is on this machine, unbroken, and agrees with what the snapshots vouch for.".to_owned(),
        Found::Missing => "The audit log of this run is not on this machine, so refusals are not known here.".to_owned(),
        Found::Damaged(reason) => format!("The audit log of this run cannot be believed: {}.", clean(reason)),
    }
}

pub(super) fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn took(duration: SignedDuration) -> String {
    milliseconds(u64::try_from(duration.as_millis()).unwrap_or(0))
}
