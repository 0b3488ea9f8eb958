//! What an earlier run left behind when it was killed: found in its journal, put back first.
//!
//! Must never touch another cluster than the one that the journal names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use cofferdam_cluster::{Cluster, Original, Progress};
use cofferdam_engine::host::StepState;
use cofferdam_policy::Policy;
use cofferdam_policy::name::{DataSetName, Namespace};
use cofferdam_policy::request::{Change, Principal, PutBack, RunKind, Scope};
use tokio_util::sync::CancellationToken;

use crate::comeback::ComeBack;
use crate::event::{Event, Observer};
use crate::journal::{self, Journal, OpenLease, Record, Remains};
use crate::leases::{describe, outcome_text, subject};
use crate::run::RunError;
use crate::state::{ApplicationState, RunFolder, RunId};

/// How long a workload that was put back may take until its pods are there. The run begins all the same
/// after that: it may not need them.
const COMES_BACK: Duration = Duration::from_secs(120);

/// How many runs are looked back over for steps of an interrupted restore.
const LOOK_BACK: usize = 100;

/// Steps that earlier runs left, by data set and name.
pub(crate) type Carried = BTreeMap<DataSetName, BTreeMap<String, StepState>>;

/// What is needed to put things in order.
pub(crate) struct Recovery<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) policy: &'a Policy,
    pub(crate) observer: &'a Arc<dyn Observer>,
    pub(crate) scope: &'a Scope,
    /// Nobody has to wait for pods who wants the run to end.
    pub(crate) cancel: &'a CancellationToken,
}

impl Recovery<'_> {
    /// Puts back what unfinished runs left, the newest run first. Returns a sentence for each
    /// thing that was found.
    pub(crate) async fn all(&self, state: &ApplicationState) -> Result<Vec<String>, RunError> {
        let mut said = Vec::new();
        let mut runs = state.runs()?;
        runs.reverse();
        for (id, folder) in runs {
            if !folder.journal().exists() {
                continue;
            }
            let remains = journal::remains(&journal::read(&folder.journal())?);
            if !remains.finished {
                self.one(&id, &folder, &remains, &mut said).await?;
            }
        }
        Ok(said)
    }

    async fn one(
        &self,
        id: &RunId,
        folder: &RunFolder,
        remains: &Remains,
        said: &mut Vec<String>,
    ) -> Result<(), RunError> {
        let elsewhere = remains
            .cluster
            .as_deref()
            .is_some_and(|cluster| cluster != self.cluster.url());
        if elsewhere {
            if !remains.leases.is_empty() {
                let cluster = remains.cluster.clone().unwrap_or_default();
                self.say(id, said, format!("run {id} left {} changes on the cluster {cluster}, which is not this one: they were not touched", remains.leases.len()));
            }
            return Ok(());
        }
        let kind = remains
            .kind
            .map_or_else(|| "run".to_owned(), |kind| kind.to_string());
        let steps = remains
            .steps
            .iter()
            .map(|(data_set, step)| format!("`{step}` of {data_set}"))
            .collect::<Vec<_>>();
        let place = if steps.is_empty() {
            String::new()
        } else {
            format!(" in step {}", steps.join(", "))
        };
        self.say(id, said, format!("{kind} {id} was interrupted{place}"));
        let journal = Journal::open(&folder.journal())?;
        for lease in &remains.leases {
            let outcome = self.put_back(id, lease).await?;
            journal.write(Record::LeaseReleased {
                lease: lease.lease,
                outcome: outcome.clone(),
            })?;
            self.say(
                id,
                said,
                format!("run {id} had left {}: {outcome}", describe(&lease.change)),
            );
        }
        // What the run reads through a pod of a workload that was scaled to 0 wants that pod to be back.
        let come_back = ComeBack {
            cluster: self.cluster,
            policy: self.policy,
            scope: self.scope,
            audit: None,
            cancel: self.cancel,
        };
        for lease in &remains.leases {
            let (data_set, change) = (&lease.data_set, &lease.change);
            let mut told = |_: &Progress| {};
            let late = come_back.wait(data_set, change, COMES_BACK, &mut told);
            if let Some(text) = late.await {
                self.observer.event(&Event::Warning { text });
            }
        }
        journal.write(Record::RunFinished { succeeded: false })?;
        Ok(())
    }

    async fn put_back(&self, id: &RunId, lease: &OpenLease) -> Result<String, RunError> {
        let failed = |reason: String| RunError::Recovery {
            run: id.clone(),
            subject: subject(&lease.change),
            reason,
        };
        let original: Original = serde_json::from_value(lease.original.clone())
            .map_err(|error| failed(error.to_string()))?;
        // Where the change was made: an earlier run may have restored into another namespace.
        let namespace = match &lease.change {
            Change::Scale { namespace, .. } | Change::EditObject { namespace, .. } => namespace,
        };
        let scope = Scope {
            principal: Principal::Host,
            namespace: namespace.clone(),
            data_set: Some(DataSetName::clone(&lease.data_set)),
            ..self.scope.clone()
        };
        let permit = self
            .policy
            .permit(
                &scope,
                PutBack {
                    change: lease.change.clone(),
                },
            )
            .map_err(|denied| failed(denied.to_string()))?;
        let outcome = self
            .cluster
            .put_back(&permit, &original)
            .await
            .map_err(|error| failed(error.to_string()))?;
        Ok(outcome_text(&outcome))
    }

    fn say(&self, run: &RunId, said: &mut Vec<String>, text: String) {
        self.observer.event(&Event::Recovered {
            run: run.clone(),
            text: text.clone(),
        });
        said.push(text);
    }
}

/// How far earlier restores of the same snapshots into the same namespace came, data set by data set: what the newest one
/// that touched a data set left, unless it succeeded.
pub(crate) fn carried_steps(
    state: &ApplicationState,
    kind: RunKind,
    place: &Namespace,
    from: Option<&str>,
) -> Result<Carried, RunError> {
    let mut carried = Carried::new();
    let mut settled = BTreeSet::new();
    for (_, folder) in state.runs()?.into_iter().rev().take(LOOK_BACK) {
        if kind != RunKind::Restore || !folder.journal().exists() {
            continue;
        }
        let lines = journal::read(&folder.journal())?;
        let same = lines.iter().any(|line| match &line.record {
            Record::RunBegun {
                kind: RunKind::Restore,
                from: earlier,
                namespace,
                ..
            } => {
                earlier.as_deref() == from
                    && namespace
                        .as_ref()
                        .is_none_or(|namespace| namespace == place)
            }
            _ => false,
        });
        if !same {
            continue;
        }
        let mut unfinished = journal::unfinished_steps(&lines);
        for line in &lines {
            let Record::DataSetBegun { data_set } = &line.record else {
                continue;
            };
            if settled.insert(data_set.clone())
                && let Some(steps) = unfinished.remove(data_set)
            {
                let state = |finished: bool| {
                    if finished {
                        StepState::Done
                    } else {
                        StepState::Interrupted
                    }
                };
                let steps = steps
                    .into_iter()
                    .map(|(step, finished)| (step, state(finished)));
                carried.insert(data_set.clone(), steps.collect());
            }
        }
    }
    Ok(carried)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_of_a_restore_elsewhere_are_not_carried_into_another_namespace() {
        let root = tempfile::tempdir().expect("a folder");
        let application = "threescale".parse().expect("a name");
        let state = ApplicationState::open(root.path(), &application).expect("opened");
        let run: RunId = "20261122T101859Z-1f3a9c".parse().expect("an id");
        let folder = state.begin(&run).expect("begun");
        let journal = Journal::open(&folder.journal()).expect("opened");
        let data_set: DataSetName = "backend-redis".parse().expect("a name");
        let copy: Namespace = "copy".parse().expect("a name");
        for record in [
            Record::RunBegun {
                run: run.to_string(),
                kind: RunKind::Restore,
                cluster: "https://cluster".into(),
                namespace: Some(copy.clone()),
                from: Some("earlier".into()),
                data_sets: vec![data_set.clone()],
                process_id: 1,
            },
            Record::DataSetBegun {
                data_set: data_set.clone(),
            },
            Record::StepBegun {
                data_set: data_set.clone(),
                step: "set aside".into(),
            },
        ] {
            journal.write(record).expect("written");
        }
        let carried = |place: &Namespace| {
            carried_steps(&state, RunKind::Restore, place, Some("earlier")).expect("read")
        };
        assert!(carried(&copy).contains_key(&data_set));
        assert!(carried(&"3scale".parse().expect("a name")).is_empty());
    }
}
