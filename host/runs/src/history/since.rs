//! What is other in a backup than in the one before it: sizes, evidence, modules, what is gone.
//!
//! Compares only what both snapshots say about themselves; it reads no data.

use std::collections::{BTreeMap, BTreeSet};

use cofferdam_repository::{ArtifactSummary, Snapshot};
use jiff::Timestamp;
use serde::Serialize;

use crate::run::KeptRun;

/// Evidence that differs whenever the bytes do: the digest says that once for all of it.
const SAID_ELSEWHERE: [&str; 2] = ["sha256", "bytes"];

/// What is other than in the backup before.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Since {
    /// The backup before.
    pub run: String,
    /// When it began.
    pub started: Timestamp,
    /// The data sets of either.
    pub data_sets: Vec<DataSetChange>,
}

/// What is other in one data set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DataSetChange {
    /// Its name.
    pub name: String,
    /// Whether both runs kept the same bytes.
    pub same_bytes: bool,
    /// What differs.
    pub differences: Vec<Difference>,
}

/// One thing that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// Of what.
    pub what: String,
    /// As it was; `None` where there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// As it is; `None` where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub now: Option<String>,
}

impl Difference {
    fn between(what: &str, before: Option<&str>, now: Option<&str>) -> Option<Self> {
        (before != now).then(|| Self {
            what: what.to_owned(),
            before: before.map(str::to_owned),
            now: now.map(str::to_owned),
        })
    }
}

/// Compares a run with the newest earlier one of its application and namespace.
pub(super) fn since(own: &KeptRun, kept: &[KeptRun]) -> Option<Since> {
    let before = kept
        .iter()
        .filter(|other| {
            other.application == own.application
                && other.namespace == own.namespace
                && other.started < own.started
        })
        .max_by_key(|other| other.started)?;
    let names: BTreeSet<&String> = own
        .snapshots
        .keys()
        .chain(before.snapshots.keys())
        .collect();
    let data_sets = names
        .into_iter()
        .map(|name| compare(name, before.snapshots.get(name), own.snapshots.get(name)))
        .collect();
    Some(Since {
        run: before.run.clone(),
        started: before.started,
        data_sets,
    })
}

fn compare(name: &str, before: Option<&Snapshot>, now: Option<&Snapshot>) -> DataSetChange {
    let kept = |snapshot: Option<&Snapshot>| snapshot.map(|_| "kept");
    let mut differences: Vec<Difference> = Difference::between("data set", kept(before), kept(now))
        .into_iter()
        .collect();
    if let (Some(before), Some(now)) = (before, now) {
        let module = |snapshot: &Snapshot| {
            let module = &snapshot.description.module;
            format!("{} {} {}", module.name, module.version, module.digest)
        };
        differences.extend(Difference::between(
            "module",
            Some(&module(before)),
            Some(&module(now)),
        ));
    }
    let (old, new) = (artifacts(before), artifacts(now));
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for artifact in names {
        let (old, new) = (old.get(artifact).copied(), new.get(artifact).copied());
        compare_artifact(artifact, old, new, &mut differences);
    }
    let digests = |artifacts: &BTreeMap<String, &ArtifactSummary>| {
        artifacts
            .iter()
            .map(|(name, artifact)| (name.clone(), artifact.sha256.clone()))
            .collect::<Vec<_>>()
    };
    DataSetChange {
        name: name.to_owned(),
        same_bytes: before.is_some() && digests(&old) == digests(&new),
        differences,
    }
}

fn artifacts(snapshot: Option<&Snapshot>) -> BTreeMap<String, &ArtifactSummary> {
    snapshot
        .into_iter()
        .flat_map(|snapshot| &snapshot.artifacts)
        .map(|artifact| (artifact.name.to_string(), artifact))
        .collect()
}

fn compare_artifact(
    name: &str,
    before: Option<&ArtifactSummary>,
    now: Option<&ArtifactSummary>,
    differences: &mut Vec<Difference>,
) {
    let size = |artifact: Option<&ArtifactSummary>| {
        artifact.map(|artifact| format!("{} bytes", artifact.bytes))
    };
    differences.extend(Difference::between(
        name,
        size(before).as_deref(),
        size(now).as_deref(),
    ));
    let (Some(before), Some(now)) = (before, now) else {
        return;
    };
    let (old, new) = (pairs(before), pairs(now));
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for key in keys {
        let what = format!("{name}, {key}");
        let (old, new) = (
            old.get(key).map(String::as_str),
            new.get(key).map(String::as_str),
        );
        differences.extend(Difference::between(&what, old, new));
    }
}

/// The pairs of evidence. A value that is itself a list of `name=value` is taken apart, so that one
/// table of a thousand shows as one difference.
fn pairs(artifact: &ArtifactSummary) -> BTreeMap<String, String> {
    let mut pairs = BTreeMap::new();
    for (key, value) in &artifact.evidence {
        if SAID_ELSEWHERE.contains(&key.as_str()) {
            continue;
        }
        let inner: Option<Vec<(&str, &str)>> =
            value.split(' ').map(|item| item.split_once('=')).collect();
        match inner {
            Some(inner) => {
                // Lists that were cut to fit are numbered; where the cut falls means nothing.
                let list =
                    key.trim_end_matches(|letter: char| letter.is_ascii_digit() || letter == '-');
                pairs.extend(
                    inner
                        .into_iter()
                        .map(|(name, value)| (format!("{list} {name}"), value.to_owned())),
                );
            }
            None => {
                pairs.insert(key.clone(), value.clone());
            }
        }
    }
    pairs
}
