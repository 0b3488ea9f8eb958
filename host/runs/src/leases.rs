//! The desk where temporary changes are lent out and taken back.
//!
//! A lease is in the journal before it is made, and is put back in reverse order at the end of its
//! data set: after success, failure, a trap, a timeout or a cancel. What a kill leaves is put back
//! by [`crate::recovery`]. Two data sets never hold the same object or workload at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cofferdam_cluster::{Cluster, Original, PutBackOutcome};
use cofferdam_engine::host::LeaseId;
use cofferdam_policy::name::DataSetName;
use cofferdam_policy::request::{Change, Principal, PutBack, Scope, TakeLease};
use cofferdam_policy::{Permit, Policy};
use tokio::sync::{Mutex, Notify};
use tokio_util::sync::CancellationToken;

use crate::audit::Audit;
use crate::event::{Event, Observer};
use crate::journal::{Journal, JournalError, Record};

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
    pub(crate) cluster: Cluster,
    pub(crate) policy: Arc<Policy>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) audit: Arc<Audit>,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) cancel: CancellationToken,
    held: Mutex<Vec<Held>>,
    returned: Notify,
    next: AtomicU64,
}

#[derive(Debug, Clone)]
struct Held {
    id: LeaseId,
    data_set: DataSetName,
    scope: Scope,
    change: Change,
    original: Option<Original>,
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
            let keys: Vec<&str> = changes
                .keys()
                .map(cofferdam_policy::name::DataKey::as_str)
                .collect();
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
        cluster: Cluster,
        policy: Arc<Policy>,
        journal: Arc<Journal>,
        audit: Arc<Audit>,
        observer: Arc<dyn Observer>,
        cancel: CancellationToken,
    ) -> Self {
        Self {
            cluster,
            policy,
            journal,
            audit,
            observer,
            cancel,
            held: Mutex::default(),
            returned: Notify::new(),
            next: AtomicU64::new(1),
        }
    }

    /// Whether a data set of this run holds a lease on this subject.
    pub(crate) async fn holds(&self, wanted: &str) -> bool {
        let held = self.held.lock().await;
        held.iter().any(|lease| subject(&lease.change) == wanted)
    }

    /// Waits until nobody else holds the subject, writes the lease down, makes the change.
    pub(crate) async fn take(
        &self,
        scope: &Scope,
        data_set: &DataSetName,
        permit: &Permit<TakeLease>,
    ) -> Result<LeaseId, LeaseError> {
        let change = permit.request().change.clone();
        let id = LeaseId(self.next.fetch_add(1, Ordering::Relaxed));
        self.reserve(Held {
            id,
            data_set: data_set.clone(),
            scope: scope.clone(),
            change: change.clone(),
            original: None,
        })
        .await?;
        match self.make(id, data_set, &change, permit).await {
            Ok(()) => {
                self.observer.event(&Event::LeaseTaken {
                    data_set: data_set.clone(),
                    change: describe(&change),
                });
                Ok(id)
            }
            Err(error) => {
                // The change may have been made half or whole: putting back is safe either way.
                if let Err(left) = self.release(id).await {
                    tracing::warn!("failed to put back {}: {left}", subject(&change));
                }
                Err(error)
            }
        }
    }

    async fn reserve(&self, lease: Held) -> Result<(), LeaseError> {
        let wanted = subject(&lease.change);
        loop {
            let returned = self.returned.notified();
            {
                let mut held = self.held.lock().await;
                match held.iter().find(|other| subject(&other.change) == wanted) {
                    None => {
                        held.push(lease);
                        return Ok(());
                    }
                    Some(other) if other.data_set == lease.data_set => {
                        return Err(LeaseError::Held(wanted));
                    }
                    Some(_) => {}
                }
            }
            tokio::select! {
                () = returned => {}
                () = self.cancel.cancelled() => return Err(LeaseError::Cancelled),
            }
        }
    }

    async fn make(
        &self,
        id: LeaseId,
        data_set: &DataSetName,
        change: &Change,
        permit: &Permit<TakeLease>,
    ) -> Result<(), LeaseError> {
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
        if let Some(lease) = self.held.lock().await.iter_mut().find(|held| held.id == id) {
            lease.original = Some(original.clone());
        }
        Ok(self.cluster.make_change(permit, &original).await?)
    }

    /// Puts one lease back now.
    pub(crate) async fn release(&self, id: LeaseId) -> Result<String, LeaseError> {
        let lease = self
            .held
            .lock()
            .await
            .iter()
            .find(|held| held.id == id)
            .cloned()
            .ok_or(LeaseError::Unknown)?;
        let outcome = match &lease.original {
            None => "never made".to_owned(),
            Some(original) => {
                let scope = Scope {
                    principal: Principal::Host,
                    ..lease.scope.clone()
                };
                let permit = self.policy.permit(
                    &scope,
                    PutBack {
                        change: lease.change.clone(),
                    },
                )?;
                let outcome = outcome_text(&self.cluster.put_back(&permit, original).await?);
                self.journal.write(Record::LeaseReleased {
                    lease: id.0,
                    outcome: outcome.clone(),
                })?;
                let entry = crate::audit::Entry::Permitted {
                    capability: "put-back".into(),
                    subject: format!("{}: {outcome}", describe(&lease.change)),
                    rules: permit.decision().rules.clone(),
                };
                if let Err(error) = self.audit.write("host", Some(&lease.data_set), entry) {
                    tracing::warn!("{error}");
                }
                self.observer.event(&Event::LeaseReleased {
                    data_set: lease.data_set.clone(),
                    change: describe(&lease.change),
                    outcome: outcome.clone(),
                });
                outcome
            }
        };
        self.held.lock().await.retain(|held| held.id != id);
        self.returned.notify_waiters();
        Ok(outcome)
    }

    /// Puts back everything that a data set still holds, the newest first. What cannot be put back
    /// is returned as sentences, and stays in the journal for the next run.
    pub(crate) async fn release_all(&self, data_set: &DataSetName) -> Vec<String> {
        let ids: Vec<(LeaseId, Change)> = {
            let held = self.held.lock().await;
            held.iter()
                .rev()
                .filter(|lease| lease.data_set == *data_set)
                .map(|lease| (lease.id, lease.change.clone()))
                .collect()
        };
        let mut left = Vec::new();
        for (id, change) in ids {
            if let Err(error) = self.release(id).await {
                left.push(format!(
                    "failed to put back {}: {error}; the next run tries again first",
                    subject(&change)
                ));
                self.held.lock().await.retain(|held| held.id != id);
                self.returned.notify_waiters();
            }
        }
        left
    }
}
