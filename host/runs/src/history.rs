//! What is known of one run afterwards: put together from what the repository keeps and what the
//! state folder of this machine keeps, for a report.
//!
//! Reads and never writes, and never guesses: what neither of the two says is absent here. Texts of
//! modules, pods and archives are handed on as they are; whoever shows them must escape them.

mod since;

use cofferdam_policy::name::ApplicationName;
use cofferdam_policy::request::RunKind;
use cofferdam_repository::Snapshot;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::application::External;
use crate::audit::{self, Entry, Head};
use crate::journal::{self, Line, Record};
use crate::leases::describe;
use crate::run::KeptRun;
use crate::skew::Taken;
use crate::state::{RunFolder, RunId};

pub use since::{DataSetChange, Difference, Since};

/// What is known of one run.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct History {
    /// Its id.
    pub run: String,
    /// What it did.
    pub kind: RunKind,
    /// The application.
    pub application: String,
    /// Its namespace, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The cluster it worked on, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The run whose snapshots it read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// When it began.
    pub started: Timestamp,
    /// When it ended; of a run without a journal when its last snapshot was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished: Option<Timestamp>,
    /// How it ended.
    pub outcome: Outcome,
    /// Whether its journal is on this machine.
    pub journal: Found,
    /// Whether its audit log is on this machine, and as it was written.
    pub audit: Found,
    /// When a later run found it interrupted and put things in order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settled: Option<Timestamp>,
    /// Its data sets, in the order in which they began.
    pub data_sets: Vec<DataSetHistory>,
    /// Over what time the snapshots that it wrote or read were taken, where the repository knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taken: Option<Taken>,
    /// What belongs to the application and is covered by nobody.
    pub external: Vec<External>,
    /// The temporary changes that it made, in order.
    pub leases: Vec<LeaseHistory>,
    /// What a person should look at.
    pub warnings: Vec<Warning>,
    /// Requests that policy refused.
    pub denied: Vec<DeniedRequest>,
    /// What is other than in the backup before, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Since>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Every data set did what was asked.
    Succeeded,
    /// At least one data set did not.
    Failed,
    /// The journal has no end: the run is under way, or it was killed and nothing has run since.
    Unfinished,
    /// It was killed, and a later run wrote its end.
    Interrupted,
    /// No journal is here: only what was kept is known, and it is whole.
    KeptWhole,
    /// No journal is here, and the repository lacks data sets of the run.
    KeptInPart,
}

/// Whether a file of the run was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "state", content = "reason")]
pub enum Found {
    /// It is here and as it was written.
    Whole,
    /// It is not on this machine.
    Missing,
    /// It is here and cannot be believed.
    Damaged(String),
}

/// What became of one data set.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DataSetHistory {
    /// Its name.
    pub name: String,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub begun: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Its named steps, in order.
    pub steps: Vec<StepHistory>,
    /// The snapshot that was written or read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Snapshot>,
}

/// One named step of a module.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StepHistory {
    /// The module's name for it.
    pub name: String,
    /// When it began.
    pub begun: Timestamp,
    /// When it ended well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
}

/// One temporary change.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LeaseHistory {
    /// Its number within the run.
    pub lease: u64,
    /// For which data set.
    pub data_set: String,
    /// The data sets that needed the same change while it was made.
    pub shared_with: Vec<String>,
    /// The change, without the values that it set.
    pub change: String,
    /// When it was made.
    pub taken: Timestamp,
    /// When it was put back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub released: Option<Timestamp>,
    /// What was found then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
}

/// Something that a person should look at.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Warning {
    /// Of which data set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_set: Option<String>,
    /// A sentence.
    pub text: String,
}

/// A request that policy refused.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeniedRequest {
    /// For which data set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_set: Option<String>,
    /// What was asked for.
    pub capability: String,
    /// Of what.
    pub subject: String,
    /// The rule that decided.
    pub rule: String,
}

impl DataSetHistory {
    /// How long it took.
    pub fn took(&self) -> Option<SignedDuration> {
        Some(self.ended?.duration_since(self.begun?))
    }

    /// The bytes of its artifacts.
    pub fn bytes(&self) -> u64 {
        self.sum(|artifact| artifact.bytes)
    }

    /// What its artifacts added to the repository when they were written.
    pub fn stored_bytes(&self) -> u64 {
        self.sum(|artifact| artifact.stored_bytes)
    }

    fn sum(&self, field: fn(&cofferdam_repository::ArtifactSummary) -> u64) -> u64 {
        let artifacts = self
            .snapshot
            .iter()
            .flat_map(|snapshot| &snapshot.artifacts);
        artifacts.map(field).sum()
    }
}

/// What is known of `run` of `application`: from the runs that the repository keeps, newest first,
/// and from the run's folder on this machine. `None` when neither knows it.
pub fn history(
    run: &RunId,
    application: &ApplicationName,
    kept: &[KeptRun],
    folder: &RunFolder,
) -> Option<History> {
    let of = |id: &str| {
        kept.iter()
            .find(|one| one.run == id && one.application == application.as_str())
    };
    let own = of(run.as_str());
    let (lines, journal) = read_journal(folder);
    if own.is_none() && lines.is_empty() {
        return None;
    }
    let mut history = match own {
        Some(own) => of_kept(own, kept),
        None => nothing_kept(run, application, lines.first()?.at),
    };
    history.journal = journal;
    read_lines(&mut history, &lines);
    if let Some(source) = history.from.as_deref().and_then(of) {
        // A restore may go elsewhere; journals from before that was so do not say where they went.
        history
            .namespace
            .get_or_insert_with(|| source.namespace.clone());
        for data_set in &mut history.data_sets {
            data_set.snapshot = source.snapshots.get(&data_set.name).cloned();
        }
        history.external.clone_from(&source.external);
    }
    let snapshots = history.data_sets.iter();
    history.taken = Taken::of_snapshots(snapshots.filter_map(|one| one.snapshot.as_ref()));
    // What nobody covers stands in a place of its own.
    let external = std::mem::take(&mut history.external);
    history.warnings.retain(|warning| {
        !external.iter().any(|one| {
            warning.data_set.as_deref() == Some(one.name.as_str()) && warning.text == one.state()
        })
    });
    history.external = external;
    read_audit(&mut history, folder, own);
    Some(history)
}

fn read_journal(folder: &RunFolder) -> (Vec<Line>, Found) {
    let path = folder.journal();
    if !path.exists() {
        return (Vec::new(), Found::Missing);
    }
    match journal::read(&path) {
        Ok(lines) => (lines, Found::Whole),
        Err(error) => (Vec::new(), Found::Damaged(error.to_string())),
    }
}

fn of_kept(own: &KeptRun, kept: &[KeptRun]) -> History {
    let mut data_sets: Vec<DataSetHistory> = own
        .snapshots
        .iter()
        .map(|(name, snapshot)| DataSetHistory {
            name: name.clone(),
            begun: begun(snapshot),
            ended: Some(snapshot.finished),
            failure: None,
            steps: Vec::new(),
            snapshot: Some(snapshot.clone()),
        })
        .collect();
    data_sets.sort_by_key(|data_set| data_set.begun);
    data_sets.extend(own.missing.iter().map(|name| DataSetHistory {
        failure: Some("this run did not keep it".to_owned()),
        ..unknown(name)
    }));
    let snapshots = own.snapshots.values();
    let detail = |name: &str| {
        snapshots.clone().find_map(|snapshot| {
            let value = snapshot.description.details.get(name)?;
            Some(value.as_str()?.to_owned())
        })
    };
    History {
        run: own.run.clone(),
        kind: RunKind::Backup,
        application: own.application.clone(),
        namespace: Some(own.namespace.clone()),
        cluster: detail("cluster"),
        from: None,
        started: own.started,
        finished: snapshots.clone().map(|snapshot| snapshot.finished).max(),
        outcome: if own.missing.is_empty() {
            Outcome::KeptWhole
        } else {
            Outcome::KeptInPart
        },
        journal: Found::Missing,
        audit: Found::Missing,
        settled: None,
        data_sets,
        taken: None,
        external: own.external.clone(),
        leases: Vec::new(),
        warnings: Vec::new(),
        denied: Vec::new(),
        since: since::since(own, kept),
    }
}

fn nothing_kept(run: &RunId, application: &ApplicationName, started: Timestamp) -> History {
    History {
        run: run.to_string(),
        kind: RunKind::Backup,
        application: application.to_string(),
        namespace: None,
        cluster: None,
        from: None,
        started,
        finished: None,
        outcome: Outcome::Unfinished,
        journal: Found::Missing,
        audit: Found::Missing,
        settled: None,
        data_sets: Vec::new(),
        taken: None,
        external: Vec::new(),
        leases: Vec::new(),
        warnings: Vec::new(),
        denied: Vec::new(),
        since: None,
    }
}

fn unknown(name: &str) -> DataSetHistory {
    DataSetHistory {
        name: name.to_owned(),
        begun: None,
        ended: None,
        failure: None,
        steps: Vec::new(),
        snapshot: None,
    }
}

/// When the data set of a snapshot began. Snapshots of older hosts say only how long the call took.
fn begun(snapshot: &Snapshot) -> Option<Timestamp> {
    let metadata = &snapshot.metadata;
    if let Some(said) = metadata.get("begun").and_then(|text| text.as_str()) {
        return said.parse().ok();
    }
    let took = i64::try_from(metadata.get("callMilliseconds")?.as_u64()?).ok()?;
    snapshot
        .finished
        .checked_sub(SignedDuration::from_millis(took))
        .ok()
}

/// Lays what the journal says over what the repository says: it knows failures, steps and leases.
fn read_lines(history: &mut History, lines: &[Line]) {
    if lines.is_empty() {
        return;
    }
    history.outcome = Outcome::Unfinished;
    history.finished = None;
    let mut order: Vec<String> = Vec::new();
    for Line { at, record } in lines {
        match record {
            Record::RunBegun {
                kind,
                cluster,
                namespace,
                from,
                data_sets,
                ..
            } => {
                history.kind = *kind;
                history.cluster = Some(cluster.clone());
                history.from.clone_from(from);
                if let Some(namespace) = namespace {
                    history.namespace = Some(namespace.to_string());
                }
                history.started = *at;
                for name in data_sets {
                    find(&mut history.data_sets, name.as_str());
                }
            }
            Record::DataSetBegun { data_set } => {
                order.push(data_set.to_string());
                let found = find(&mut history.data_sets, data_set.as_str());
                (found.begun, found.ended, found.failure) = (Some(*at), None, None);
            }
            Record::StepBegun { data_set, step } => {
                let step = StepHistory {
                    name: step.clone(),
                    begun: *at,
                    ended: None,
                };
                find(&mut history.data_sets, data_set.as_str())
                    .steps
                    .push(step);
            }
            Record::StepFinished { data_set, step } => {
                let steps = &mut find(&mut history.data_sets, data_set.as_str()).steps;
                if let Some(found) = steps.iter_mut().rfind(|one| one.name == *step) {
                    found.ended = Some(*at);
                }
            }
            Record::DataSetFinished { data_set, error } => {
                let found = find(&mut history.data_sets, data_set.as_str());
                found.ended = Some(*at);
                found.failure.clone_from(error);
            }
            Record::LeaseIntended {
                lease,
                data_set,
                change,
                ..
            } => history.leases.push(LeaseHistory {
                lease: *lease,
                data_set: data_set.to_string(),
                shared_with: Vec::new(),
                change: describe(change),
                taken: *at,
                released: None,
                outcome: None,
            }),
            Record::LeaseShared { lease, data_set } => {
                if let Some(found) = history.leases.iter_mut().find(|one| one.lease == *lease) {
                    found.shared_with.push(data_set.to_string());
                }
            }
            Record::LeaseReleased { lease, outcome } => {
                if let Some(found) = history.leases.iter_mut().find(|one| one.lease == *lease) {
                    found.released = Some(*at);
                    found.outcome = Some(outcome.clone());
                }
            }
            Record::Warned { data_set, text } => history.warnings.push(Warning {
                data_set: data_set.as_ref().map(ToString::to_string),
                text: text.clone(),
            }),
            Record::RunFinished { succeeded } => {
                history.finished = Some(*at);
                history.outcome = if *succeeded {
                    Outcome::Succeeded
                } else {
                    Outcome::Failed
                };
            }
        }
    }
    let place = |data_set: &DataSetHistory| {
        order
            .iter()
            .position(|name| *name == data_set.name)
            .unwrap_or(usize::MAX)
    };
    history.data_sets.sort_by_key(place);
    settle(history, lines);
    if history.outcome != Outcome::Unfinished {
        for data_set in &mut history.data_sets {
            if data_set.begun.is_none() && data_set.failure.is_none() {
                data_set.failure = Some("it was not begun".to_owned());
            }
        }
    }
}

/// Tells a run that was killed from one that failed: only the first leaves a data set open, or fails without a failure.
/// Its end was written by a later run, so it is not when it ended.
fn settle(history: &mut History, lines: &[Line]) {
    let is_open = |data_set: &DataSetHistory| data_set.begun.is_some() && data_set.ended.is_none();
    let open = history.data_sets.iter().any(is_open);
    let failed = history.data_sets.iter().any(|one| one.failure.is_some());
    if history.outcome != Outcome::Failed || failed && !open {
        return;
    }
    history.outcome = Outcome::Interrupted;
    history.settled = history.finished;
    let own = lines.iter().rfind(|line| {
        !matches!(
            line.record,
            Record::LeaseReleased { .. } | Record::RunFinished { .. }
        )
    });
    history.finished = own.map(|line| line.at);
    for data_set in &mut history.data_sets {
        match &data_set.snapshot {
            // Its snapshot is the last that a backup does for it, and whole.
            Some(kept) if is_open(data_set) => data_set.ended = Some(kept.finished),
            None if is_open(data_set) => {
                data_set.failure =
                    Some("it was interrupted: the run was killed before it ended".into());
            }
            Some(_) | None => {}
        }
    }
}

fn find<'a>(data_sets: &'a mut Vec<DataSetHistory>, name: &str) -> &'a mut DataSetHistory {
    let at = data_sets.iter().position(|one| one.name == name);
    let at = at.unwrap_or_else(|| {
        data_sets.push(unknown(name));
        data_sets.len() - 1
    });
    data_sets.get_mut(at).expect("found or just pushed")
}

fn read_audit(history: &mut History, folder: &RunFolder, own: Option<&KeptRun>) {
    let path = folder.audit();
    if !path.exists() {
        return;
    }
    let vouched: Vec<Head> = own
        .iter()
        .flat_map(|own| own.snapshots.values())
        .filter_map(|snapshot| serde_json::from_value(snapshot.metadata.get("audit")?.clone()).ok())
        .collect();
    let read = fs_err::read_to_string(&path)
        .map_err(|error| error.to_string())
        .and_then(|text| audit::check(&text, &vouched).map_err(|error| error.to_string()));
    let lines = match read {
        Ok(lines) => lines,
        Err(reason) => {
            history.audit = Found::Damaged(reason);
            return;
        }
    };
    history.audit = Found::Whole;
    for line in lines {
        if let Entry::Denied {
            capability,
            subject,
            rule,
        } = line.entry
        {
            history.denied.push(DeniedRequest {
                data_set: line.data_set.map(String::from),
                capability,
                subject,
                rule,
            });
        }
    }
}

#[cfg(test)]
mod tests;
