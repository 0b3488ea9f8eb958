//! One data set of a run: the call into its module, and what must hold before it counts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cofferdam_engine::host::StepState;
use cofferdam_engine::{Action, CallError, CallOptions, CallReport, ModuleFailureKind};
use cofferdam_policy::request::{Principal, RunKind, Scope};
use cofferdam_repository::{ModuleReference, Proof, Snapshot, SnapshotDescription};
use jiff::Timestamp;
use serde_json::json;

use crate::blame;
use crate::event::Event;
use crate::journal::Record;
use crate::plan::PreparedDataSet;
use crate::report::{ArtifactReport, Blame, DataSetReport, Failure};
use crate::session::{Session, Shared, Store};

/// One call to be made.
pub(super) struct Call {
    pub(super) kind: RunKind,
    pub(super) scope: Scope,
    pub(super) run_started: Timestamp,
    pub(super) shared: Arc<Shared>,
    /// All data sets of the application, so that a run that lacks some can be told.
    pub(super) expected: Vec<String>,
    /// What the snapshot says of the run beside them.
    pub(super) details: serde_json::Value,
    /// In a backup that stops workloads, for what it keeps: whether all of them stand still.
    pub(super) quiet: Option<bool>,
    pub(super) prepared: PreparedDataSet,
    pub(super) snapshot: Option<Snapshot>,
    /// What an earlier restore of the same snapshot left of its steps.
    pub(super) steps: BTreeMap<String, StepState>,
    pub(super) timeout: Option<Duration>,
}

/// How a call ended.
pub(super) struct Ended {
    pub(super) report: DataSetReport,
    pub(super) warnings: Vec<String>,
}

impl Call {
    /// Makes the call; never fails, since what befell it is the report.
    pub(super) async fn carry_out(self) -> Ended {
        let begun = Instant::now();
        let began = Timestamp::now();
        let mut warnings = Vec::new();
        let name = self.prepared.data_set.name.clone();
        self.shared.observer.event(&Event::DataSetBegun {
            data_set: name.clone(),
        });
        let result = self.attempt(began, &mut warnings).await;
        let failed = result.as_ref().err().map(|failure| failure.message.clone());
        let mut report = match result {
            Ok((snapshot, refused)) => {
                let mut report = self.prepared.report(None);
                report.describe(&snapshot);
                report.refused = refused;
                report
            }
            Err(failure) => self.prepared.report(Some(failure)),
        };
        report.begun = Some(began);
        report.ended = Some(Timestamp::now());
        report.quiet = self.quiet;
        report.milliseconds = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        if let Err(error) = self.shared.journal.write(Record::DataSetFinished {
            data_set: name,
            error: failed,
        }) {
            warnings.push(error.to_string());
        }
        Ended { report, warnings }
    }

    async fn attempt(
        &self,
        began: Timestamp,
        warnings: &mut Vec<String>,
    ) -> Result<(Snapshot, u64), Failure> {
        let data_set = &self.prepared.data_set;
        let begun = Record::DataSetBegun {
            data_set: data_set.name.clone(),
        };
        self.shared
            .journal
            .write(begun)
            .map_err(|error| world(&error))?;
        let store = self.open_store(warnings).await?;
        let identity = self.prepared.module.identity();
        let who = format!(
            "module {} {} {}",
            identity.name, identity.version, identity.digest
        );
        let scope = Scope {
            principal: Principal::Module(identity),
            data_set: Some(data_set.name.clone()),
            ..self.scope.clone()
        };
        let session = Arc::new(Session::new(
            self.shared.clone(),
            scope,
            who,
            data_set.clone(),
            self.prepared.binding.clone(),
            store,
            self.steps.clone(),
        ));
        let options = CallOptions {
            wall: self.timeout,
            cancel: self.shared.cancel.clone(),
        };
        let action = Action::from(self.kind);
        let called = self
            .prepared
            .module
            .call(action, session.clone(), &self.prepared.binding, options)
            .await;
        let (store, left) = session.close().await;
        let kept = match called {
            Ok(report) => {
                let refused = report.denied + report.refused;
                if refused > 0 {
                    let name = &data_set.name;
                    warnings.push(format!(
                        "`{name}` went on after {refused} of its requests were refused"
                    ));
                }
                self.keep(store, &report, began)
                    .await
                    .map(|snapshot| (snapshot, refused))
            }
            Err(error) => Err(self.failure(&session, &error)),
        };
        match (kept, left.is_empty()) {
            (kept, true) => kept,
            (Ok(_), false) => Err(Failure {
                blame: Blame::World,
                message: left.join("; "),
                hint: None,
            }),
            (Err(failure), false) => {
                warnings.extend(left);
                Err(failure)
            }
        }
    }

    async fn open_store(&self, warnings: &mut Vec<String>) -> Result<Store, Failure> {
        if let Some(snapshot) = &self.snapshot {
            return Ok(Store::Reading(Box::new(snapshot.clone())));
        }
        let identity = self.prepared.module.identity();
        let description = SnapshotDescription {
            application: self.scope.application.to_string(),
            namespace: self.scope.namespace.to_string(),
            run: self.shared.run.to_string(),
            data_set: self.prepared.data_set.name.to_string(),
            module: ModuleReference {
                name: identity.name.to_string(),
                version: identity.version,
                digest: identity.digest,
            },
            expected_data_sets: self.expected.clone(),
            started: self.run_started,
            host_version: env!("CARGO_PKG_VERSION").to_owned(),
            details: self.details.clone(),
        };
        let writer = self
            .shared
            .repository
            .begin(description)
            .await
            .map_err(|error| blame::of_repository(&error))?;
        for owner in writer.broken_locks() {
            warnings.push(format!("broke a stale lock of the repository: {owner}"));
        }
        Ok(Store::Writing(writer))
    }

    /// What must hold before the call counts: a snapshot with every artifact committed, or a proof.
    async fn keep(
        &self,
        store: Store,
        report: &CallReport,
        began: Timestamp,
    ) -> Result<Snapshot, Failure> {
        match store {
            Store::Writing(writer) => {
                if let Some(name) = report
                    .abandoned
                    .iter()
                    .find(|name| !report.committed.contains(name))
                {
                    let message =
                        format!("the module began the artifact `{name}` and never committed it");
                    return Err(Failure {
                        blame: Blame::Module,
                        message,
                        hint: None,
                    });
                }
                let mut metadata = json!({
                    "audit": self.shared.audit.head(),
                    "targets": self.prepared.data_set.targets,
                    "paths": self.prepared.paths(),
                    "begun": began,
                    "callMilliseconds": u64::try_from(report.elapsed.as_millis()).unwrap_or(u64::MAX),
                });
                if let (Some(metadata), Some(quiet)) = (metadata.as_object_mut(), self.quiet) {
                    metadata.insert("quiet".to_owned(), quiet.into());
                }
                writer
                    .finish(metadata)
                    .await
                    .map_err(|error| blame::of_repository(&error))
            }
            Store::Reading(snapshot) => {
                let proof = Proof {
                    at: Timestamp::now(),
                    run: self.shared.run.to_string(),
                    kind: self.kind.to_string(),
                    details: json!({}),
                };
                self.shared
                    .repository
                    .record_proof(&snapshot.id, proof)
                    .await
                    .map_err(|error| blame::of_repository(&error))?;
                Ok(*snapshot)
            }
            Store::Closed => Err(Failure {
                blame: Blame::Us,
                message: "the session was closed twice".into(),
                hint: None,
            }),
        }
    }

    fn failure(&self, session: &Session, error: &CallError) -> Failure {
        if let Some(denied) = session.denial() {
            let hint = format!(
                "read the rule with `cofferdam policy check`; data set `{}`",
                self.prepared.data_set.name
            );
            return Failure {
                blame: Blame::Policy,
                message: denied.to_string(),
                hint: Some(hint),
            };
        }
        let blame = match error {
            CallError::Module(failure) => match failure.kind {
                ModuleFailureKind::Denied => Blame::Policy,
                ModuleFailureKind::Invalid => Blame::Module,
                _ => Blame::World,
            },
            // Who cancels uses the command as it is meant: nothing typed was wrong.
            CallError::Cancelled => Blame::World,
            CallError::ForeignBinding => Blame::Us,
            _ => Blame::Module,
        };
        session.trouble().explain(Failure {
            blame,
            message: error.to_string(),
            hint: error.hint(),
        })
    }
}

impl DataSetReport {
    pub(crate) fn describe(&mut self, snapshot: &Snapshot) {
        self.snapshot = Some(snapshot.id.to_string());
        self.artifacts = snapshot
            .artifacts
            .iter()
            .map(|kept| ArtifactReport {
                name: kept.name.to_string(),
                bytes: kept.bytes,
                stored_bytes: kept.stored_bytes,
                sha256: kept.sha256.clone(),
                evidence: kept.evidence.clone(),
            })
            .collect();
        self.bytes = self.artifacts.iter().map(|artifact| artifact.bytes).sum();
        self.stored_bytes = self
            .artifacts
            .iter()
            .map(|artifact| artifact.stored_bytes)
            .sum();
    }
}

fn world(error: &dyn std::error::Error) -> Failure {
    Failure {
        blame: Blame::World,
        message: blame::with_causes(error),
        hint: None,
    }
}
