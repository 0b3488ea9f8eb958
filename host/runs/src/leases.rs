//! The desk where temporary changes are lent out and taken back.
//!
//! A lease is in the journal before it is made, and is put back in reverse order at the end of its
//! data set: after success, failure, a trap, a timeout or a cancel. What a kill leaves is put back
//! by [`crate::recovery`].
//!
//! Data sets that want the same change at the same time share one: it is made once, and put back
//! once, when the last of them lets go. Who lets go earlier waits for that, since what it does next
//! counts on it. Two that want different changes of one thing are told so: neither waits for the
//! other, so no two can wait for each other.

mod changeable;
mod table;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cofferdam_cluster::{Original, PutBackOutcome};
use cofferdam_engine::host::{LeaseId, Level};
use cofferdam_policy::name::{DataKey, DataSetName, Namespace, ObjectName};
use cofferdam_policy::request::{
    Change, ObjectKind, Principal, PutBack, Scope, TakeLease, Target, Workload,
};
use cofferdam_policy::{Permit, Policy};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::audit::Audit;
use crate::event::{Event, Observer};
use crate::journal::{Journal, JournalError, Record};
use changeable::Changeable;
use table::{Lent, LetGo, Table, Take};

/// What went wrong with a lease.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LeaseError {
    /// It could not be written down, so it was not made.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The cluster refused.
    #[error(transparent)]
    Cluster(#[from] cofferdam_cluster::Error),
    /// What was there before cannot be written down.
    #[error("failed to write down what `{subject}` was before")]
    Original {
        /// The object or workload.
        subject: String,
        /// Why.
        source: serde_json::Error,
    },
    /// The same data set holds it already.
    #[error("this data set holds a lease on {0} already")]
    Held(String),
    /// Another data set has changed it in another way.
    #[error(
        "data set `{holder}` has changed {subject} in another way for as long as it needs: restore the one after the other (`restore: {{ after: [{holder}] }}`)"
    )]
    Conflict {
        /// The object or workload.
        subject: String,
        /// Who holds it.
        holder: DataSetName,
    },
    /// Its pods have something that new ones would not have.
    #[error(
        "the pods of {subject} must stay for the rest of this run, says data set `{by}`: {reason}"
    )]
    Guarded {
        /// The workload.
        subject: String,
        /// Who says so.
        by: DataSetName,
        /// Why.
        reason: String,
    },
    /// Its pods cannot be kept: they go when the lease is put back.
    #[error("a lease on {0} is held in this run, and putting it back replaces its pods")]
    Changing(String),
    /// Another data set, the last to let go, failed to put it back.
    #[error("failed to put back {subject}: {reason}")]
    NotBack {
        /// The object or workload.
        subject: String,
        /// Why.
        reason: String,
    },
    /// No such lease.
    #[error("there is no such lease, or it was put back already")]
    Unknown,
    /// The run ends.
    #[error("the run is cancelled")]
    Cancelled,
    /// Policy does not let the host put it back.
    #[error(transparent)]
    Denied(#[from] cofferdam_policy::Denied),
}

/// What all leases of a run share.
#[derive(Debug)]
pub(crate) struct LeaseDesk {
    cluster: Arc<dyn Changeable>,
    policy: Arc<Policy>,
    journal: Arc<Journal>,
    audit: Arc<Audit>,
    observer: Arc<dyn Observer>,
    cancel: CancellationToken,
    table: Mutex<Table>,
    /// Workloads whose pods must stay. Looked at and changed only while `table` is locked.
    guards: Mutex<Vec<Guard>>,
    moved: Notify,
    next: AtomicU64,
}

/// A workload whose pods must stay for the rest of the run.
#[derive(Debug)]
struct Guard {
    namespace: Namespace,
    workload: Workload,
    by: DataSetName,
    reason: String,
}

/// What became of all that a data set held.
#[derive(Debug, Default)]
pub(crate) struct Released {
    /// What is as it was before.
    pub(crate) back: Vec<Change>,
    /// A sentence for each change that somebody else has undone or changed while it was held.
    pub(crate) drifted: Vec<String>,
    /// A sentence for each that could not be put back, and stays in the journal for the next run.
    pub(crate) left: Vec<String>,
}

/// What a change is made to, as people name it.
pub(crate) fn subject(change: &Change) -> String {
    match change {
        Change::Scale { workload, .. } => workload.to_string(),
        Change::EditObject { kind, name, .. } => format!("{}/{name}", kind.kind),
    }
}

/// A change in one line, without the values that it sets.
pub(crate) fn describe(change: &Change) -> String {
    match change {
        Change::Scale {
            workload, replicas, ..
        } => format!("{workload} scaled to {replicas}"),
        Change::EditObject {
            kind,
            name,
            changes,
            ..
        } => {
            let keys: Vec<&str> = changes.keys().map(DataKey::as_str).collect();
            format!("{}/{name} edited ({})", kind.kind, keys.join(", "))
        }
    }
}

/// What was found when a change was put back, in one line.
pub(crate) fn outcome_text(outcome: &PutBackOutcome) -> String {
    match outcome {
        PutBackOutcome::Restored => "restored".into(),
        PutBackOutcome::AlreadyOriginal => "already as before".into(),
        PutBackOutcome::Drifted { details } => {
            format!(
                "changed by somebody else meanwhile and left alone: {}",
                details.join("; ")
            )
        }
        PutBackOutcome::Gone => "no longer there".into(),
    }
}

impl LeaseDesk {
    pub(crate) fn new(
        cluster: impl Changeable + 'static,
        policy: Arc<Policy>,
        journal: Arc<Journal>,
        audit: Arc<Audit>,
        observer: Arc<dyn Observer>,
        cancel: CancellationToken,
    ) -> Self {
        Self {
            cluster: Arc::new(cluster),
            policy,
            journal,
            audit,
            observer,
            cancel,
            table: Mutex::default(),
            guards: Mutex::default(),
            moved: Notify::new(),
            next: AtomicU64::new(1),
        }
    }

    /// Whether a data set of this run holds a lease on this subject.
    pub(crate) fn holds(&self, wanted: &str) -> bool {
        self.table()
            .changes()
            .any(|change| subject(change) == wanted)
    }

    /// Lets the pods of a workload stay for the rest of the run. The first reason stands.
    pub(crate) fn guard(
        &self,
        data_set: &DataSetName,
        target: &Target,
        reason: &str,
    ) -> Result<(), LeaseError> {
        let table = self.table();
        if let Some(refusal) = table.changes().find_map(|change| match change {
            Change::Scale {
                namespace,
                workload,
                ..
            } if *namespace == target.namespace && *workload == target.workload => {
                Some(LeaseError::Changing(workload.to_string()))
            }
            Change::Scale { .. } | Change::EditObject { .. } => None,
        }) {
            return Err(refusal);
        }
        if self.refused(&target.namespace, &target.workload).is_none() {
            self.guards().push(Guard {
                namespace: target.namespace.clone(),
                workload: target.workload.clone(),
                by: data_set.clone(),
                reason: reason.to_owned(),
            });
        }
        Ok(())
    }

    /// Refuses a change of the pods of a workload that are to stay.
    pub(crate) fn check_guards(&self, target: &Target) -> Result<(), LeaseError> {
        let _table = self.table();
        self.refused(&target.namespace, &target.workload)
            .map_or(Ok(()), Err)
    }

    fn refused(&self, namespace: &Namespace, workload: &Workload) -> Option<LeaseError> {
        let guards = self.guards();
        let mut guards = guards.iter();
        let guard =
            guards.find(|guard| guard.namespace == *namespace && guard.workload == *workload)?;
        Some(LeaseError::Guarded {
            subject: workload.to_string(),
            by: guard.by.clone(),
            reason: guard.reason.clone(),
        })
    }

    /// Writes the lease down and makes the change, or joins those who hold the same one.
    pub(crate) async fn take(
        &self,
        scope: &Scope,
        data_set: &DataSetName,
        permit: &Permit<TakeLease>,
    ) -> Result<LeaseId, LeaseError> {
        let change = &permit.request().change;
        let id = LeaseId(self.next.fetch_add(1, Ordering::Relaxed));
        let (made, how) = loop {
            let moved = self.moved.notified();
            let turn = self.turn(id, scope, data_set, change)?;
            match turn {
                Take::Make => break (self.make(id, data_set, permit).await, ""),
                Take::Join(lent) => {
                    let joined = self.join(&lent, data_set, permit).await;
                    break (joined, ", as another data set has done already");
                }
                Take::Wait => {}
                Take::HeldAlready => return Err(LeaseError::Held(subject(change))),
                Take::Conflict(holder) => {
                    return Err(LeaseError::Conflict {
                        subject: subject(change),
                        holder,
                    });
                }
            }
            tokio::select! {
                () = moved => {}
                () = self.cancel.cancelled() => return Err(LeaseError::Cancelled),
            }
        };
        self.moved.notify_waiters();
        match made {
            Ok(()) => {
                self.observer.event(&Event::LeaseTaken {
                    data_set: data_set.clone(),
                    change: format!("{}{how}", describe(change)),
                });
                Ok(id)
            }
            Err(error) => {
                // The change may have been made half or whole: putting back is safe either way.
                if let Err(left) = self.leave(id, data_set).await {
                    tracing::warn!("failed to put back {}: {left}", subject(change));
                }
                Err(error)
            }
        }
    }

    fn turn(
        &self,
        id: LeaseId,
        scope: &Scope,
        data_set: &DataSetName,
        change: &Change,
    ) -> Result<Take, LeaseError> {
        let mut table = self.table();
        if let Change::Scale {
            namespace,
            workload,
            ..
        } = change
            && let Some(refusal) = self.refused(namespace, workload)
        {
            return Err(refusal);
        }
        Ok(table.take(id, scope, data_set, change))
    }

    async fn make(
        &self,
        id: LeaseId,
        data_set: &DataSetName,
        permit: &Permit<TakeLease>,
    ) -> Result<(), LeaseError> {
        let change = &permit.request().change;
        let original = self.cluster.read_original(permit).await?;
        let written = serde_json::to_value(&original).map_err(|source| LeaseError::Original {
            subject: subject(change),
            source,
        })?;
        self.journal.write(Record::LeaseIntended {
            lease: id.0,
            data_set: data_set.clone(),
            change: change.clone(),
            original: written,
        })?;
        self.table().found(id, original.clone());
        self.cluster.make_change(permit, &original).await?;
        self.table().made(id);
        Ok(())
    }

    /// The change is in the journal already, and made; that it still is is looked at.
    async fn join(
        &self,
        lent: &Lent,
        data_set: &DataSetName,
        permit: &Permit<TakeLease>,
    ) -> Result<(), LeaseError> {
        self.journal.write(Record::LeaseShared {
            lease: lent.number.0,
            data_set: data_set.clone(),
        })?;
        match &lent.original {
            Some(original) => Ok(self.cluster.make_change(permit, original).await?),
            None => Err(LeaseError::Unknown),
        }
    }

    /// Puts one lease back. When others hold it too, it is the last of them who does, and this
    /// waits until it is done.
    pub(crate) async fn release(
        &self,
        id: LeaseId,
        data_set: &DataSetName,
    ) -> Result<PutBackOutcome, LeaseError> {
        let mut has_said = false;
        loop {
            let moved = self.moved.notified();
            let turn = self.table().let_go(id);
            match turn {
                LetGo::PutBack(lent) => return self.put_back(id, data_set, &lent).await,
                LetGo::Back(lent, outcome) => {
                    self.tell_released(data_set, &lent.change, &outcome_text(&outcome));
                    return Ok(outcome);
                }
                LetGo::Failed(lent, reason) => {
                    return Err(LeaseError::NotBack {
                        subject: subject(&lent.change),
                        reason,
                    });
                }
                LetGo::Unknown => return Err(LeaseError::Unknown),
                LetGo::Wait(others) if !others.is_empty() && !has_said => {
                    has_said = true;
                    self.observer.event(&Event::Log {
                        data_set: data_set.clone(),
                        level: Level::Info,
                        message: format!(
                            "waiting for {}, which still needs the same change",
                            names(&others)
                        ),
                    });
                }
                LetGo::Wait(_) => {}
            }
            tokio::select! {
                () = moved => {}
                () = self.cancel.cancelled() => {
                    self.table().needs_again(id);
                    return Err(LeaseError::Cancelled);
                }
            }
        }
    }

    /// Lets go without waiting for others, who put it back when they let go. Says what putting back
    /// found, where it was for this one to do.
    async fn leave(
        &self,
        id: LeaseId,
        data_set: &DataSetName,
    ) -> Result<Option<PutBackOutcome>, LeaseError> {
        let turn = self.table().leave(id);
        self.moved.notify_waiters();
        match turn {
            LetGo::PutBack(lent) => self.put_back(id, data_set, &lent).await.map(Some),
            LetGo::Back(..) | LetGo::Wait(_) => Ok(None),
            LetGo::Failed(..) | LetGo::Unknown => Err(LeaseError::Unknown),
        }
    }

    async fn put_back(
        &self,
        id: LeaseId,
        data_set: &DataSetName,
        lent: &Lent,
    ) -> Result<PutBackOutcome, LeaseError> {
        let result = match &lent.original {
            // Nothing was changed yet.
            None => Ok(PutBackOutcome::AlreadyOriginal),
            Some(original) => self.restore(data_set, lent, original).await,
        };
        let told = result.as_ref().map(PutBackOutcome::clone);
        self.table().put_back(id, told.map_err(ToString::to_string));
        self.moved.notify_waiters();
        if let (Ok(outcome), Some(_)) = (&result, &lent.original) {
            self.tell_released(data_set, &lent.change, &outcome_text(outcome));
        }
        result
    }

    async fn restore(
        &self,
        data_set: &DataSetName,
        lent: &Lent,
        original: &Original,
    ) -> Result<PutBackOutcome, LeaseError> {
        let scope = Scope {
            principal: Principal::Host,
            ..lent.scope.clone()
        };
        let change = lent.change.clone();
        let permit = self.policy.permit(&scope, PutBack { change })?;
        let outcome = self.cluster.put_back(&permit, original).await?;
        let text = outcome_text(&outcome);
        self.journal.write(Record::LeaseReleased {
            lease: lent.number.0,
            outcome: text.clone(),
        })?;
        let entry = crate::audit::Entry::Permitted {
            capability: "put-back".into(),
            subject: format!("{}: {text}", describe(&lent.change)),
            rules: permit.decision().rules.clone(),
        };
        if let Err(error) = self.audit.write("host", Some(data_set), entry) {
            tracing::warn!("{error}");
        }
        Ok(outcome)
    }

    /// Lets go of everything that a data set still holds, the newest first.
    pub(crate) async fn release_all(&self, data_set: &DataSetName) -> Released {
        let held = self.table().held_by(data_set);
        let mut released = Released::default();
        for (id, change, was_changed) in held {
            match self.leave(id, data_set).await {
                Ok(None) => {}
                Ok(Some(PutBackOutcome::Restored)) => released.back.push(change),
                Ok(Some(outcome)) if was_changed => released.drifted.push(format!(
                    "{} did not stay as it was to be: {}",
                    subject(&change),
                    outcome_text(&outcome)
                )),
                Ok(Some(_)) => {}
                Err(error) => {
                    released.left.push(format!(
                        "failed to put back {}: {error}; the next run tries again first",
                        subject(&change)
                    ));
                    self.table().remove(id);
                    self.moved.notify_waiters();
                }
            }
        }
        released
    }

    /// What other data sets have changed in an object for a time, as it was before and will be
    /// again: what `data_set` reads of it must not be that.
    pub(crate) fn before_others(
        &self,
        data_set: &DataSetName,
        kind: &ObjectKind,
        name: &ObjectName,
    ) -> BTreeMap<DataKey, Option<String>> {
        self.table().before_others(data_set, kind, name)
    }

    /// The number of replicas of a workload before a lease of this run changed it, where one has.
    pub(crate) fn replicas_before(&self, of: &Target) -> Option<u32> {
        self.table().replicas_before(&of.namespace, &of.workload)
    }

    fn tell_released(&self, data_set: &DataSetName, change: &Change, outcome: &str) {
        self.observer.event(&Event::LeaseReleased {
            data_set: data_set.clone(),
            change: describe(change),
            outcome: outcome.to_owned(),
        });
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn guards(&self) -> MutexGuard<'_, Vec<Guard>> {
        self.guards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Data sets in a sentence.
fn names(data_sets: &[DataSetName]) -> String {
    let quoted: Vec<String> = data_sets.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

#[cfg(test)]
mod tests;
