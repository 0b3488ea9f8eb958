//! Which runs the repository holds, and the one that a restore or a verify reads.

use std::collections::BTreeMap;

use cofferdam_policy::name::DataSetName;
use cofferdam_repository::Snapshot;
use jiff::Timestamp;

use crate::application::{Application, External};
use crate::skew::Taken;
use crate::state::RunId;

/// Which run is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// The newest that holds all that is wanted.
    Latest,
    /// This one.
    Run(RunId),
}

/// A backup run as the repository holds it.
#[derive(Debug, Clone)]
pub struct KeptRun {
    /// Its id.
    pub run: String,
    /// The application.
    pub application: String,
    /// Its namespace.
    pub namespace: String,
    /// When its first data set began.
    pub started: Timestamp,
    /// Its snapshots, each whole, by data set.
    pub snapshots: BTreeMap<String, Snapshot>,
    /// Data sets of the application that this run did not keep.
    pub missing: Vec<String>,
    /// What belonged to the application and was covered by nobody.
    pub external: Vec<External>,
    /// The era of 3scale, as the run knew it.
    pub era: Option<serde_json::Value>,
}

impl KeptRun {
    /// Over what time its data sets were taken, where the repository knows.
    pub fn taken(&self) -> Option<Taken> {
        Taken::of_snapshots(self.snapshots.values())
    }
}

/// Why there is nothing to read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoSnapshot {
    /// No run at all.
    #[error("the repository holds no run of `{application}` in namespace `{namespace}`")]
    None {
        /// The application.
        application: String,
        /// The namespace.
        namespace: String,
    },
    /// No run of that id.
    #[error("the repository holds no run `{0}` of this application")]
    Unknown(RunId),
    /// The run lacks data sets.
    #[error("run {run} did not keep {}", missing.join(", "))]
    Missing {
        /// The run.
        run: String,
        /// The data sets.
        missing: Vec<String>,
    },
    /// No run has them all.
    #[error("no run kept all that is wanted: the newest, {run}, did not keep {}", missing.join(", "))]
    NoneWhole {
        /// The newest run.
        run: String,
        /// The data sets that it lacks.
        missing: Vec<String>,
    },
}

/// Groups snapshots by run, the newest run first.
pub fn kept_runs(snapshots: Vec<Snapshot>) -> Vec<KeptRun> {
    let mut runs: BTreeMap<(String, String, String), KeptRun> = BTreeMap::new();
    for snapshot in snapshots {
        let said = &snapshot.description;
        let key = (
            said.application.clone(),
            said.namespace.clone(),
            said.run.clone(),
        );
        let run = runs.entry(key).or_insert_with(|| KeptRun {
            run: said.run.clone(),
            application: said.application.clone(),
            namespace: said.namespace.clone(),
            started: said.started,
            snapshots: BTreeMap::new(),
            missing: said.expected_data_sets.clone(),
            external: said
                .details
                .get("external")
                .and_then(|list| serde_json::from_value(list.clone()).ok())
                .unwrap_or_default(),
            era: said
                .details
                .get("era")
                .filter(|era| !era.is_null())
                .cloned(),
        });
        run.started = run.started.min(said.started);
        run.missing.retain(|name| *name != said.data_set);
        run.snapshots.insert(said.data_set.clone(), snapshot);
    }
    let mut runs: Vec<KeptRun> = runs.into_values().collect();
    runs.sort_by(|one, other| {
        other
            .started
            .cmp(&one.started)
            .then_with(|| other.run.cmp(&one.run))
    });
    runs
}

/// The snapshots to read: of the run that is named, or of the newest that holds all of `asked`
/// (and, where the whole application is wanted, all that it expected itself).
///
/// # Errors
/// [`NoSnapshot`], which says what is missing.
pub fn choose(
    snapshots: Vec<Snapshot>,
    application: &Application,
    asked: &[DataSetName],
    whole: bool,
    choice: &Choice,
) -> Result<(String, BTreeMap<DataSetName, Snapshot>), NoSnapshot> {
    // What is restored elsewhere was backed up where the application came from.
    let namespace = application
        .origin
        .as_ref()
        .unwrap_or(&application.namespace);
    let ours = |run: &KeptRun| {
        run.application == application.name.as_str() && run.namespace == namespace.as_str()
    };
    let runs: Vec<KeptRun> = kept_runs(snapshots).into_iter().filter(ours).collect();
    // What stops a workload is kept by some backups and not by others: where it was not asked for by
    // name, a run is whole without it.
    let wanted: Vec<&DataSetName> = asked
        .iter()
        .filter(|name| !whole || !application.quiesce.contains(name))
        .collect();
    let lacking = |run: &KeptRun| {
        let mut missing: Vec<String> = if whole {
            run.missing.clone()
        } else {
            Vec::new()
        };
        for name in &wanted {
            if !run.snapshots.contains_key(name.as_str()) && !missing.contains(&name.to_string()) {
                missing.push(name.to_string());
            }
        }
        missing
    };
    let Some(newest) = runs.first() else {
        return Err(NoSnapshot::None {
            application: application.name.to_string(),
            namespace: namespace.to_string(),
        });
    };
    let run = match choice {
        Choice::Run(id) => {
            let run = runs
                .iter()
                .find(|run| run.run == id.as_str())
                .ok_or_else(|| NoSnapshot::Unknown(id.clone()))?;
            let missing: Vec<String> = wanted
                .iter()
                .map(ToString::to_string)
                .filter(|name| !run.snapshots.contains_key(name))
                .collect();
            if !missing.is_empty() {
                return Err(NoSnapshot::Missing {
                    run: run.run.clone(),
                    missing,
                });
            }
            run
        }
        Choice::Latest => runs
            .iter()
            .find(|run| lacking(run).is_empty())
            .ok_or_else(|| NoSnapshot::NoneWhole {
                run: newest.run.clone(),
                missing: lacking(newest),
            })?,
    };
    let pick = |name: &DataSetName| Some((name.clone(), run.snapshots.get(name.as_str())?.clone()));
    Ok((run.run.clone(), asked.iter().filter_map(pick).collect()))
}
