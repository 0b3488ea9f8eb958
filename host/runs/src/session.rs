//! One call of one module for one data set: [`Host`] over cluster, repository, journal and leases.
//!
//! Every method makes a request, passes the gate, writes the decision to the audit log, and only
//! then acts. Must never hand a name to the cluster that does not come from the manifest or from
//! the site's binding.

mod artifacts;
mod commands;
mod files;
mod objects;
mod rollouts;
mod targets;
mod templates;
mod trees;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use cofferdam_cluster::PutBackOutcome;
use cofferdam_engine::Binding;
use cofferdam_engine::host::{
    ArtifactSink, FileSink, Host, HostError, Invocation, LeaseId, LeaseRequest, Level, LoadOptions,
    Loaded, Metadata, PodId, Process, Processed, Refusal, Source, StepState, TargetView,
    TreeSummary, WhenPresent,
};
use cofferdam_policy::name::{
    ArtifactName, DataSetName, GroupName, ObjectName, PathName, RoleName, TemplateName,
};
use cofferdam_policy::request::{
    Change, ObjectKind, Request, ResolveTarget, Scope, TakeLease, Target,
};
use cofferdam_policy::{Denied, Permit, Policy};
use cofferdam_repository::{ArtifactSummary, Repository, Snapshot, SnapshotWriter};
use tokio::sync::RwLock;
use tokio_util::sync::CancellationToken;

use crate::application::{DataSet, SecretReference};
use crate::audit::{Audit, Ending, Entry};
use crate::blame;
use crate::event::{Event, Observer};
use crate::journal::{Journal, Record};
use crate::leases::{LeaseDesk, LeaseError, outcome_text};
use crate::state::RunId;

/// What all sessions of a run share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) run: RunId,
    pub(crate) cluster: cofferdam_cluster::Cluster,
    pub(crate) repository: Repository,
    pub(crate) policy: Arc<Policy>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) audit: Arc<Audit>,
    pub(crate) leases: LeaseDesk,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) cancel: CancellationToken,
    /// Data sets whose leases the run holds on to until its last data set has ended.
    pub(crate) quiesce: BTreeSet<DataSetName>,
}

/// Where a session's artifacts go to or come from.
#[derive(Debug)]
pub(crate) enum Store {
    /// A backup writes them.
    Writing(SnapshotWriter),
    /// A restore or a verify reads them.
    Reading(Box<Snapshot>),
    /// The call is over.
    Closed,
}

/// One call of one module for one data set.
#[derive(Debug)]
pub(crate) struct Session {
    shared: Arc<Shared>,
    scope: Scope,
    who: String,
    data_set: DataSet,
    binding: Arc<Binding>,
    store: Arc<RwLock<Store>>,
    pods: Mutex<HashMap<PodId, cofferdam_cluster::Pod>>,
    committed: Arc<Mutex<Vec<ArtifactSummary>>>,
    denied: Mutex<Option<Denied>>,
    trouble: blame::Trouble,
    steps: BTreeMap<String, StepState>,
}

/// A permit and the line of the audit log that says so.
#[derive(Debug)]
struct Granted<R> {
    permit: Permit<R>,
    record: Pending,
}

/// Something permitted that has not ended yet.
#[derive(Debug, Clone)]
struct Pending {
    shared: Arc<Shared>,
    who: String,
    data_set: DataSetName,
    line: u64,
    begun: Instant,
    trouble: blame::Trouble,
}

impl Pending {
    /// Writes how it ended.
    fn end(&self, ending: Ending) {
        let entry = Entry::Done {
            permitted: self.line,
            result: ending.error.unwrap_or_else(|| "ok".into()),
            bytes: ending.bytes,
            sha256: ending.sha256,
            milliseconds: u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        };
        if let Err(error) = self
            .shared
            .audit
            .write(&self.who, Some(&self.data_set), entry)
        {
            self.shared.observer.event(&Event::Warning {
                text: error.to_string(),
            });
        }
    }

    /// Writes how it ended and hands the result on.
    fn close<T>(&self, result: Result<T, cofferdam_cluster::Error>) -> Result<T, HostError> {
        self.end(Ending {
            error: result.as_ref().err().map(ToString::to_string),
            ..Ending::default()
        });
        result.map_err(|error| self.trouble.cluster(error))
    }
}

impl Session {
    pub(crate) fn new(
        shared: Arc<Shared>,
        scope: Scope,
        who: String,
        data_set: DataSet,
        binding: Arc<Binding>,
        store: Store,
        steps: BTreeMap<String, StepState>,
    ) -> Self {
        Self {
            shared,
            scope,
            who,
            data_set,
            binding,
            store: Arc::new(RwLock::new(store)),
            pods: Mutex::default(),
            committed: Arc::default(),
            denied: Mutex::default(),
            trouble: blame::Trouble::default(),
            steps,
        }
    }

    /// The first denial of this session, for the exit code.
    pub(crate) fn denial(&self) -> Option<Denied> {
        self.denied
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// What cluster and repository refused to this session, for the report.
    pub(crate) fn trouble(&self) -> &blame::Trouble {
        &self.trouble
    }

    /// Ends the session: puts leases back, unless the run holds on to them, and gives the store back.
    /// Returns what could not be put back, as sentences.
    pub(crate) async fn close(&self) -> (Store, Vec<String>) {
        let left = if self.shared.quiesce.contains(&self.data_set.name) {
            Vec::new()
        } else {
            self.shared
                .leases
                .release_all(&self.data_set.name)
                .await
                .left
        };
        let store = std::mem::replace(&mut *self.store.write().await, Store::Closed);
        (store, left)
    }

    /// The gate: decides, and writes the decision down before anything happens.
    fn permit<R: Request>(&self, request: R) -> Result<Granted<R>, HostError> {
        if self.shared.cancel.is_cancelled() {
            return Err(HostError::Cancelled);
        }
        let capability = cofferdam_policy::capability(request.any()).to_owned();
        let subject = cofferdam_policy::subject(request.any());
        let decided = self.shared.policy.permit(&self.scope, request);
        let entry = match &decided {
            Ok(permit) => Entry::Permitted {
                capability,
                subject,
                rules: permit.decision().rules.clone(),
            },
            Err(denied) => Entry::Denied {
                capability,
                subject,
                rule: denied.rule.clone(),
            },
        };
        let line = self
            .shared
            .audit
            .write(&self.who, Some(&self.data_set.name), entry)
            .map_err(|error| HostError::Failed {
                code: "audit-log",
                message: error.to_string(),
            })?;
        match decided {
            Ok(permit) => {
                let record = Pending {
                    shared: self.shared.clone(),
                    who: self.who.clone(),
                    data_set: self.data_set.name.clone(),
                    line,
                    begun: Instant::now(),
                    trouble: self.trouble.clone(),
                };
                Ok(Granted { permit, record })
            }
            Err(denied) => {
                let told = blame::denied(&denied);
                self.denied
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .get_or_insert(denied);
                Err(told)
            }
        }
    }

    fn bound(&self, role: &RoleName) -> Result<Target, HostError> {
        self.data_set
            .targets
            .get(role)
            .cloned()
            .ok_or_else(|| HostError::Failed {
                code: "not-bound",
                message: format!("the application binds no workload to the role `{role}`"),
            })
    }

    fn secret(
        &self,
        handle: &cofferdam_policy::name::SecretHandle,
    ) -> Result<SecretReference, HostError> {
        self.data_set.secrets.get(handle).cloned().ok_or_else(|| {
            HostError::Invalid(format!(
                "the application binds no Secret to the handle `{handle}`"
            ))
        })
    }

    /// Whether the site has not bound a secret, and need not.
    fn may_lack(&self, handle: &cofferdam_policy::name::SecretHandle) -> bool {
        !self.data_set.secrets.contains_key(handle)
            && self.binding.manifest().optional_secrets.contains(handle)
    }

    fn object_kind(&self, group: &GroupName) -> Result<ObjectKind, HostError> {
        let kind = self.binding.object_kind(group);
        kind.cloned().ok_or_else(|| {
            HostError::Invalid(format!("the manifest has no object group `{group}`"))
        })
    }

    fn event(&self, event: &Event) {
        self.shared.observer.event(event);
    }
}

#[async_trait]
impl Host for Session {
    async fn target(&self, role: &RoleName) -> Result<TargetView, HostError> {
        let Granted { permit, record } = self.permit(ResolveTarget {
            target: self.bound(role)?,
        })?;
        let state = record.close(self.shared.cluster.target(&permit).await)?;
        Ok(TargetView {
            kind: state.workload.kind.as_str().to_owned(),
            name: state.workload.name.to_string(),
            namespace: self.scope.namespace.to_string(),
        })
    }

    async fn ready_pod(&self, role: &RoleName) -> Result<PodId, HostError> {
        self.find_pod(role).await
    }

    async fn pods(&self, role: &RoleName) -> Result<Vec<PodId>, HostError> {
        self.find_pods(role).await
    }

    async fn start(
        &self,
        pod: &PodId,
        invocation: Invocation<'_>,
    ) -> Result<Box<dyn Process>, HostError> {
        self.start_command(pod, invocation).await
    }

    async fn stat(&self, pod: &PodId, path: &PathName) -> Result<Option<Metadata>, HostError> {
        self.stat_file(pod, path).await
    }

    async fn read_file(&self, pod: &PodId, path: &PathName) -> Result<Box<dyn Source>, HostError> {
        self.open_file(pod, path).await
    }

    async fn write_file(
        &self,
        pod: &PodId,
        path: &PathName,
    ) -> Result<Box<dyn FileSink>, HostError> {
        self.create_file(pod, path).await
    }

    async fn rename(&self, pod: &PodId, path: &PathName, to: &PathName) -> Result<(), HostError> {
        self.rename_file(pod, path, to).await
    }

    async fn remove(&self, pod: &PodId, path: &PathName) -> Result<(), HostError> {
        self.remove_file(pod, path).await
    }

    async fn save_tree(
        &self,
        pod: &PodId,
        path: &PathName,
        artifact: &ArtifactName,
    ) -> Result<TreeSummary, HostError> {
        self.save_folder(pod, path, artifact).await
    }

    async fn load_tree(
        &self,
        pod: &PodId,
        artifact: &ArtifactName,
        path: &PathName,
        options: LoadOptions,
        only: &[String],
    ) -> Result<TreeSummary, HostError> {
        self.load_folder(pod, artifact, path, options, only).await
    }

    async fn save_objects(
        &self,
        group: &GroupName,
        artifact: &ArtifactName,
    ) -> Result<Vec<String>, HostError> {
        self.save_group(group, artifact).await
    }

    async fn load_objects(
        &self,
        artifact: &ArtifactName,
        present: WhenPresent,
    ) -> Result<Vec<Loaded>, HostError> {
        self.load_list(artifact, present).await
    }

    async fn process_template(
        &self,
        template: &TemplateName,
        artifact: &ArtifactName,
        present: WhenPresent,
    ) -> Result<Processed, HostError> {
        self.process(template, artifact, present).await
    }

    async fn get_object(&self, group: &GroupName, name: &ObjectName) -> Result<String, HostError> {
        self.read_object(group, name).await
    }

    async fn apply_object(&self, group: &GroupName, manifest: &str) -> Result<(), HostError> {
        self.apply_manifest(group, manifest).await
    }

    async fn wait_for_object(
        &self,
        group: &GroupName,
        name: &ObjectName,
        condition: &str,
        timeout: Duration,
    ) -> Result<(), HostError> {
        self.wait_object(group, name, condition, timeout).await
    }

    async fn restart(&self, role: &RoleName) -> Result<(), HostError> {
        self.restart_workload(role).await
    }

    async fn wait_rollout(&self, role: &RoleName, timeout: Duration) -> Result<(), HostError> {
        self.await_rollout(role, timeout).await
    }

    async fn replicas(&self, role: &RoleName) -> Result<u32, HostError> {
        self.wanted_replicas(role).await
    }

    async fn set_replicas(&self, role: &RoleName, replicas: u32) -> Result<(), HostError> {
        self.set_wanted_replicas(role, replicas).await
    }

    async fn guard(&self, role: &RoleName, reason: &str) -> Result<(), HostError> {
        self.guard_pods(role, reason)
    }

    async fn take_lease(&self, request: LeaseRequest) -> Result<LeaseId, HostError> {
        let namespace = self.scope.namespace.clone();
        let change = match request {
            LeaseRequest::Scale { role, replicas } => Change::Scale {
                namespace,
                workload: self.bound(&role)?.workload,
                replicas,
            },
            LeaseRequest::EditObject {
                group,
                name,
                changes,
            } => {
                let kind = self.object_kind(&group)?;
                Change::EditObject {
                    namespace,
                    group,
                    kind,
                    name,
                    changes,
                }
            }
        };
        let Granted { permit, record } = self.permit(TakeLease { change })?;
        let result = self
            .shared
            .leases
            .take(&self.scope, &self.data_set.name, &permit)
            .await;
        record.end(Ending {
            error: result.as_ref().err().map(ToString::to_string),
            ..Ending::default()
        });
        result.map_err(told_lease)
    }

    async fn release_lease(&self, lease: LeaseId) -> Result<(), HostError> {
        let released = self.shared.leases.release(lease, &self.data_set.name).await;
        match released.map_err(told_lease)? {
            outcome @ PutBackOutcome::Drifted { .. } => {
                Err(HostError::Conflict(outcome_text(&outcome)))
            }
            PutBackOutcome::Restored | PutBackOutcome::AlreadyOriginal | PutBackOutcome::Gone => {
                Ok(())
            }
        }
    }

    async fn create_artifact(
        &self,
        name: &ArtifactName,
        media_type: &str,
    ) -> Result<Box<dyn ArtifactSink>, HostError> {
        self.new_artifact(name, media_type).await
    }

    async fn open_artifact(&self, name: &ArtifactName) -> Result<Box<dyn Source>, HostError> {
        self.stored_artifact(name).await
    }

    async fn list_artifacts(&self) -> Result<Vec<ArtifactName>, HostError> {
        self.artifact_names().await
    }

    async fn evidence(&self, name: &ArtifactName) -> Result<Vec<(String, String)>, HostError> {
        self.artifact_evidence(name).await
    }

    async fn begin_step(&self, name: &str) -> Result<StepState, HostError> {
        let state = self.steps.get(name).copied().unwrap_or(StepState::Fresh);
        let record = Record::StepBegun {
            data_set: self.data_set.name.clone(),
            step: name.to_owned(),
        };
        self.shared
            .journal
            .write(record)
            .map_err(|error| told_journal(&error))?;
        Ok(state)
    }

    async fn finish_step(&self, name: &str) -> Result<(), HostError> {
        let record = Record::StepFinished {
            data_set: self.data_set.name.clone(),
            step: name.to_owned(),
        };
        self.shared
            .journal
            .write(record)
            .map_err(|error| told_journal(&error))
    }

    fn refused(&self, refusal: &Refusal) {
        let entry = Entry::Denied {
            capability: refusal.capability.to_owned(),
            subject: refusal.subject.clone(),
            rule: "manifest".into(),
        };
        if let Err(error) = self
            .shared
            .audit
            .write(&self.who, Some(&self.data_set.name), entry)
        {
            self.event(&Event::Warning {
                text: error.to_string(),
            });
        }
    }

    fn log(&self, level: Level, message: &str) {
        if matches!(level, Level::Warn | Level::Error) {
            let warned = Record::Warned {
                data_set: Some(self.data_set.name.clone()),
                text: message.to_owned(),
            };
            if let Err(error) = self.shared.journal.note(warned) {
                tracing::warn!("{error}");
            }
        }
        self.event(&Event::Log {
            data_set: self.data_set.name.clone(),
            level,
            message: message.to_owned(),
        });
    }

    fn progress(&self, step: &str, done: u64, total: Option<u64>, unit: &str) {
        self.event(&Event::Progress {
            data_set: self.data_set.name.clone(),
            step: step.to_owned(),
            done,
            total,
            unit: unit.to_owned(),
        });
    }

    fn now(&self) -> u64 {
        u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0)
    }

    async fn sleep(&self, duration: Duration) -> Result<(), HostError> {
        tokio::select! {
            () = tokio::time::sleep(duration) => Ok(()),
            () = self.shared.cancel.cancelled() => Err(HostError::Cancelled),
        }
    }
}

fn told_journal(error: &crate::journal::JournalError) -> HostError {
    HostError::Failed {
        code: "journal",
        message: error.to_string(),
    }
}

fn told_lease(error: LeaseError) -> HostError {
    match error {
        LeaseError::Cluster(error) => blame::told(error),
        LeaseError::Cancelled => HostError::Cancelled,
        LeaseError::Denied(denied) => blame::denied(&denied),
        LeaseError::Held(_)
        | LeaseError::Conflict { .. }
        | LeaseError::Guarded { .. }
        | LeaseError::Changing(_) => HostError::Conflict(error.to_string()),
        LeaseError::Unknown => HostError::NotFound(error.to_string()),
        LeaseError::Journal(_) | LeaseError::Original { .. } | LeaseError::NotBack { .. } => {
            HostError::Failed {
                code: "lease",
                message: error.to_string(),
            }
        }
    }
}
