//! A run: recovery first, then the data sets in their order, as many at once as is allowed, each
//! proven or not there at all.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cofferdam_cluster::{Cluster, Progress};
use cofferdam_policy::Policy;
use cofferdam_policy::name::DataSetName;
use cofferdam_policy::request::{Change, Principal, RunKind, Scope};
use cofferdam_repository::{Repository, Snapshot};
use futures::future::join_all;
use jiff::Timestamp;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::application::DataSet;
use crate::audit::{Audit, Entry};
use crate::comeback::ComeBack;
use crate::event::{Event, Observer};
use crate::journal::{Journal, Record};
use crate::leases::{LeaseDesk, subject};
use crate::notes::NotesError;
use crate::order::{Edges, Schedule, sequence};
use crate::plan::{Prepared, PreparedDataSet};
use crate::recovery::{self, Carried, Recovery};
use crate::report::{Blame, DataSetReport, Failure, RunReport};
use crate::session::Shared;
use crate::skew::Taken;
use crate::state::{ApplicationState, RunId};

mod data_set;
mod kept;

pub use kept::{Choice, KeptRun, NoSnapshot, choose, kept_runs};

/// Why a run could not be carried out at all.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// What it does cannot be written down.
    #[error(transparent)]
    Notes(NotesError),
    /// The repository.
    #[error(transparent)]
    Repository(#[from] cofferdam_repository::Error),
    /// The snapshots that are to be read.
    #[error(transparent)]
    NoSnapshot(#[from] NoSnapshot),
    /// Something that a killed run left could not be put back.
    #[error("failed to put back `{subject}`, which run {run} left changed: {reason}")]
    Recovery {
        /// The killed run.
        run: RunId,
        /// The object or workload.
        subject: String,
        /// Why.
        reason: String,
    },
}

impl<E> From<E> for RunError
where
    NotesError: From<E>,
{
    fn from(error: E) -> Self {
        Self::Notes(error.into())
    }
}

impl RunError {
    /// Whose move it is.
    pub fn blame(&self) -> Blame {
        match self {
            Self::NoSnapshot(_) => Blame::User,
            Self::Notes(error) => error.blame(),
            Self::Repository(error) => crate::blame::whose(error),
            Self::Recovery { .. } => Blame::World,
        }
    }

    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Notes(error) => error.hint(),
            Self::Repository(error) => error.hint(),
            Self::NoSnapshot(_) => {
                Some("run `cofferdam list` to see the runs that are kept".into())
            }
            Self::Recovery { .. } => {
                Some("nothing else was touched; put it right and run again".into())
            }
        }
    }
}

/// How long the pods of what a backup stopped may take until they are there again: a Rails application
/// with a cold disk takes some minutes. The backup is whole by then.
const COMES_BACK: Duration = Duration::from_secs(300);

/// All that a run works with.
#[derive(Debug, Clone)]
pub struct Runner {
    /// The cluster.
    pub cluster: Cluster,
    /// The repository.
    pub repository: Repository,
    /// The policy of the site.
    pub policy: Arc<Policy>,
    /// The state folder: journals and audit logs.
    pub state: PathBuf,
    /// Whoever wants to know.
    pub observer: Arc<dyn Observer>,
    /// Cancels the run: leases are put back first.
    pub cancel: CancellationToken,
    /// How many data sets go at the same time, at least 1.
    pub parallel: usize,
    /// After this long a data set is given up; `None` leaves it to the engine's own limit.
    pub timeout: Option<Duration>,
}

impl Runner {
    /// Backs up the prepared data sets.
    ///
    /// # Errors
    /// [`RunError`] when the run could not begin; what befell a data set is in the report.
    pub async fn backup(&self, prepared: &Prepared) -> Result<RunReport, RunError> {
        self.carry_out(RunKind::Backup, prepared, BTreeMap::new(), None)
            .await
    }

    /// Restores the prepared data sets from the chosen run.
    ///
    /// # Errors
    /// As [`Runner::backup`], and when the chosen run does not hold all of them.
    pub async fn restore(
        &self,
        prepared: &Prepared,
        choice: &Choice,
    ) -> Result<RunReport, RunError> {
        let (from, snapshots) = self.chosen(prepared, choice).await?;
        self.carry_out(RunKind::Restore, prepared, snapshots, Some(from))
            .await
    }

    /// Verifies what the chosen run kept of the prepared data sets.
    ///
    /// # Errors
    /// As [`Runner::restore`].
    pub async fn verify(
        &self,
        prepared: &Prepared,
        choice: &Choice,
    ) -> Result<RunReport, RunError> {
        let (from, snapshots) = self.chosen(prepared, choice).await?;
        self.carry_out(RunKind::Verify, prepared, snapshots, Some(from))
            .await
    }

    async fn chosen(
        &self,
        prepared: &Prepared,
        choice: &Choice,
    ) -> Result<(String, BTreeMap<DataSetName, Snapshot>), RunError> {
        let kept = self.repository.list().await?;
        let wanted: Vec<DataSetName> = prepared
            .data_sets
            .iter()
            .map(|one| one.data_set.name.clone())
            .collect();
        Ok(choose(
            kept,
            &prepared.application,
            &wanted,
            prepared.whole,
            choice,
        )?)
    }

    async fn carry_out(
        &self,
        kind: RunKind,
        prepared: &Prepared,
        snapshots: BTreeMap<DataSetName, Snapshot>,
        from: Option<String>,
    ) -> Result<RunReport, RunError> {
        let application = &prepared.application;
        let state = ApplicationState::open(&self.state, &application.name)?;
        let _lock = state.lock()?;
        let started = Timestamp::now();
        let scope = Scope {
            principal: Principal::Host,
            application: application.name.clone(),
            namespace: application.namespace.clone(),
            data_set: None,
            run: kind,
        };
        let recovery = Recovery {
            cluster: &self.cluster,
            policy: &self.policy,
            observer: &self.observer,
            scope: &scope,
            cancel: &self.cancel,
        };
        let mut warnings = prepared.warnings.clone();
        warnings.extend(recovery.all(&state).await?);

        let place = &application.namespace;
        let steps = recovery::carried_steps(&state, kind, place, from.as_deref())?;
        let run = RunId::now();
        let folder = state.begin(&run)?;
        let journal = Arc::new(Journal::open(&folder.journal())?);
        let audit = Arc::new(Audit::begin(&folder.audit(), run.as_str())?);
        let (edges, mut order) = ordered(kind, prepared);
        // A backup without `--quiesce` kept nothing of what that stops.
        order.retain(|name| kind == RunKind::Backup || snapshots.contains_key(name));
        journal.write(Record::RunBegun {
            run: run.to_string(),
            kind,
            cluster: self.cluster.url().to_owned(),
            namespace: Some(place.clone()),
            from: from.clone(),
            data_sets: order.clone(),
            process_id: std::process::id(),
        })?;
        self.observer.event(&Event::RunBegun {
            run: run.clone(),
            kind,
            data_sets: order.clone(),
        });
        let leases = LeaseDesk::new(
            self.cluster.clone(),
            self.policy.clone(),
            journal.clone(),
            audit.clone(),
            self.observer.clone(),
            self.cancel.clone(),
        );
        let shared = Arc::new(Shared {
            run: run.clone(),
            cluster: self.cluster.clone(),
            repository: self.repository.clone(),
            policy: self.policy.clone(),
            journal: journal.clone(),
            audit: audit.clone(),
            leases,
            observer: self.observer.clone(),
            cancel: self.cancel.clone(),
            quiesce: prepared.quiesce.iter().cloned().collect(),
        });
        let timeout = self.timeout;
        let calls = Calls {
            kind,
            scope,
            started,
            shared,
            prepared,
            snapshots,
            steps,
            timeout,
            awaited: prepared.quiesce.iter().cloned().collect(),
        };
        let data_sets = calls
            .all(&edges, &order, self.parallel.max(1), &mut warnings)
            .await;
        let quiesce = names(&prepared.quiesce);
        let taken = (kind == RunKind::Backup).then(|| Taken::of_reports(&data_sets, &quiesce));

        for external in &prepared.external {
            let (data_set, text) = (Some(external.name.clone()), external.state());
            journal.note(Record::Warned { data_set, text })?;
        }
        for text in &warnings {
            let (data_set, text) = (None, text.clone());
            journal.note(Record::Warned { data_set, text })?;
        }
        let succeeded = data_sets.iter().all(|report| report.failure.is_none());
        audit.write("host", None, Entry::RunFinished { succeeded })?;
        // A lease that could not be put back keeps the journal open, for the next run to find.
        if crate::journal::remains(&crate::journal::read(&folder.journal())?)
            .leases
            .is_empty()
        {
            journal.write(Record::RunFinished { succeeded })?;
        }
        Ok(RunReport {
            run,
            kind,
            application: application.name.clone(),
            namespace: application.namespace.clone(),
            from,
            started,
            finished: Timestamp::now(),
            era: prepared.era.clone(),
            data_sets,
            taken: taken.flatten(),
            left_out: prepared.left_out.clone(),
            external: prepared.external.clone(),
            warnings,
        })
    }
}

/// The order of this kind of run, and the prepared data sets in it.
pub(crate) fn ordered(kind: RunKind, prepared: &Prepared) -> (Edges, Vec<DataSetName>) {
    let application = &prepared.application;
    let after = |after: fn(&DataSet) -> BTreeSet<DataSetName>| -> Edges {
        let data_sets = application.data_sets.iter();
        data_sets
            .map(|data_set| (data_set.name.clone(), after(data_set)))
            .collect()
    };
    let edges = match kind {
        RunKind::Backup => application.backup_edges(!prepared.quiesce.is_empty()),
        RunKind::Restore => after(|data_set| data_set.restore_after.clone()),
        RunKind::Verify => after(|_| BTreeSet::new()),
    };
    let wanted: Vec<DataSetName> = prepared
        .data_sets
        .iter()
        .map(|one| one.data_set.name.clone())
        .collect();
    let order = sequence(&edges, &wanted);
    (edges, order)
}

fn names(names: &[DataSetName]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

/// The calls into the modules of one run.
struct Calls<'a> {
    kind: RunKind,
    scope: Scope,
    started: Timestamp,
    shared: Arc<Shared>,
    prepared: &'a Prepared,
    snapshots: BTreeMap<DataSetName, Snapshot>,
    steps: Carried,
    timeout: Option<Duration>,
    /// The data sets that have still to stop their workloads.
    awaited: BTreeSet<DataSetName>,
}

impl Calls<'_> {
    async fn all(
        mut self,
        edges: &Edges,
        order: &[DataSetName],
        parallel: usize,
        warnings: &mut Vec<String>,
    ) -> Vec<DataSetReport> {
        let mut schedule = Schedule::new(edges, order);
        let mut running = JoinSet::new();
        let (mut reports, mut woken) = (Vec::new(), Vec::new());
        loop {
            while running.len() < parallel && !self.shared.cancel.is_cancelled() {
                let Some(name) = schedule.start() else { break };
                if let Some(call) = self.call(&name) {
                    running.spawn(call.carry_out());
                }
            }
            let Some(ended) = running.join_next().await else {
                break;
            };
            let ended = match ended {
                Ok(ended) => ended,
                Err(error) => {
                    warnings.push(format!("a data set ended without a report: {error}"));
                    continue;
                }
            };
            warnings.extend(ended.warnings);
            let succeeded = ended.report.failure.is_none();
            let quiesces = self.prepared.quiesce.contains(&ended.report.name);
            if succeeded {
                self.awaited.remove(&ended.report.name);
            }
            let skipped = schedule.finished(&ended.report.name, succeeded);
            self.shared
                .observer
                .event(&Event::DataSetFinished(ended.report.clone()));
            reports.push(ended.report);
            for (name, cause) in skipped {
                let reason = self.reason(&name, &cause);
                self.skip(&name, &reason, &mut reports);
            }
            // Nothing that the others stand still for will come.
            if quiesces && !succeeded {
                woken.extend(self.wake(&mut reports, warnings).await);
            }
        }
        woken.extend(self.wake(&mut reports, warnings).await);
        for name in order {
            if !reports.iter().any(|report| report.name == *name) {
                self.skip(name, "the run was cancelled before it began", &mut reports);
            }
        }
        let late = join_all(
            woken
                .iter()
                .map(|(name, change)| self.come_back(name, change)),
        );
        warnings.extend(late.await.into_iter().flatten());
        reports
    }

    /// Why a data set is not begun after `cause` has failed.
    fn reason(&self, name: &DataSetName, cause: &DataSetName) -> String {
        let quiesce = &self.prepared.quiesce;
        if quiesce.contains(cause) && !quiesce.contains(name) {
            return "the application was not brought to a standstill, and without that the data sets would be further apart than `--quiesce` asks for".to_owned();
        }
        format!("`{cause}`, which comes before it, did not succeed")
    }

    /// Puts back what was stopped for the time of this backup, the last one first.
    /// Returns what is as before.
    async fn wake(
        &self,
        reports: &mut [DataSetReport],
        warnings: &mut Vec<String>,
    ) -> Vec<(DataSetName, Change)> {
        let mut back = Vec::new();
        for name in self.prepared.quiesce.iter().rev() {
            let released = self.shared.leases.release_all(name).await;
            back.extend(
                released
                    .back
                    .into_iter()
                    .map(|change| (name.clone(), change)),
            );
            warnings.extend(
                released.drifted.iter().map(|said| {
                    format!("{said}: what was taken meanwhile may not have stood still")
                }),
            );
            if released.left.is_empty() {
                continue;
            }
            let message = released.left.join("; ");
            self.shared.observer.event(&Event::Warning {
                text: message.clone(),
            });
            let mut report = reports.iter_mut().filter(|report| report.name == *name);
            match report.next() {
                Some(report) if report.failure.is_none() => {
                    report.failure = Some(Failure {
                        blame: Blame::World,
                        message,
                        hint: None,
                    });
                }
                _ => warnings.push(message),
            }
        }
        back
    }

    /// Waits for the pods of what was put back. That they are late is no fault of the backup.
    async fn come_back(&self, name: &DataSetName, change: &Change) -> Option<String> {
        let shared = &self.shared;
        let come_back = ComeBack {
            cluster: &shared.cluster,
            policy: &shared.policy,
            scope: &self.scope,
            audit: Some(&shared.audit),
            cancel: &shared.cancel,
        };
        let step = format!("pods of {}", subject(change));
        let mut told = |progress: &Progress| {
            shared.observer.event(&Event::Progress {
                data_set: name.clone(),
                step: step.clone(),
                done: progress.available.into(),
                total: Some(progress.desired.into()),
                unit: "replicas".into(),
            });
        };
        come_back.wait(name, change, COMES_BACK, &mut told).await
    }

    fn prepared(&self, name: &DataSetName) -> Option<&PreparedDataSet> {
        self.prepared
            .data_sets
            .iter()
            .find(|one| one.data_set.name == *name)
    }

    fn call(&mut self, name: &DataSetName) -> Option<data_set::Call> {
        let snapshot = self.snapshots.remove(name);
        let steps = self.steps.remove(name).unwrap_or_default();
        let prepared = self.prepared(name)?.clone();
        let data_sets = self.prepared.application.data_sets.iter();
        let expected = data_sets
            .map(|data_set| &data_set.name)
            .filter(|name| !self.prepared.left_out.contains(name))
            .map(ToString::to_string)
            .collect();
        let quiesce = &self.prepared.quiesce;
        let counts = !quiesce.is_empty() && !quiesce.contains(name);
        let quiet = counts.then_some(self.awaited.is_empty());
        Some(data_set::Call {
            kind: self.kind,
            scope: self.scope.clone(),
            run_started: self.started,
            shared: self.shared.clone(),
            expected,
            details: self.details(),
            quiet,
            prepared,
            snapshot,
            steps,
            timeout: self.timeout,
        })
    }

    /// What each snapshot says of the run beside the data sets.
    fn details(&self) -> serde_json::Value {
        let mut details = serde_json::json!({
            "cluster": self.shared.cluster.url(),
            "era": self.prepared.era,
            "external": self.prepared.application.external,
        });
        if let (Some(details), false) = (details.as_object_mut(), self.prepared.quiesce.is_empty())
        {
            let quiesce = names(&self.prepared.quiesce);
            details.insert("quiesce".to_owned(), quiesce.into());
        }
        details
    }

    fn skip(&self, name: &DataSetName, reason: &str, reports: &mut Vec<DataSetReport>) {
        let Some(prepared) = self.prepared(name) else {
            return;
        };
        let failure = Failure {
            blame: Blame::World,
            message: format!("not begun: {reason}"),
            hint: None,
        };
        let report = prepared.report(Some(failure));
        self.shared
            .observer
            .event(&Event::DataSetFinished(report.clone()));
        reports.push(report);
    }
}
