//! Which snapshots are kept, and the forgetting of the others.
//!
//! Each data set of an application is counted by itself, by the start of the run in UTC, so all snapshots of a run fall
//! into the same hour, day and week. Snapshots that this program did not write are never touched. Forgetting removes
//! snapshot files only; the data go with a prune.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use rustic_core::repofile::SnapshotFile;
use rustic_core::{Id, KeepOptions};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::evidence::Snapshot;
use crate::holder::LockOwner;
use crate::names::SnapshotId;
use crate::prune::Exclusive;
use crate::repository::{Repository, blocking};

/// What is kept of each data set. A snapshot is kept if any rule keeps it.
///
/// `hourly` to `yearly` keep the last snapshot of that many hours to years that have one; the oldest snapshot stands for
/// its period until enough others are there.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Retention {
    /// The last so many.
    pub last: Option<u32>,
    /// The last of each of so many hours.
    pub hourly: Option<u32>,
    /// The last of each of so many days.
    pub daily: Option<u32>,
    /// The last of each of so many ISO weeks.
    pub weekly: Option<u32>,
    /// The last of each of so many months.
    pub monthly: Option<u32>,
    /// The last of each of so many years.
    pub yearly: Option<u32>,
    /// All that are younger than this, counted from the newest.
    pub within: Option<Span>,
    /// The newest that was proven restorable, whatever the other rules say.
    pub keep_proven: bool,
}

/// What becomes of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ForgetDecision {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// Its application.
    pub application: String,
    /// Its namespace.
    pub namespace: String,
    /// Its data set.
    pub data_set: String,
    /// Its run.
    pub run: String,
    /// When its run started.
    pub started: Timestamp,
    /// Whether it stays.
    pub keep: bool,
    /// The rules that keep it; empty if it goes.
    pub reasons: Vec<String>,
}

/// What forgetting did or would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ForgetReport {
    /// A decision for each snapshot of this program.
    pub decisions: Vec<ForgetDecision>,
    /// Whether nothing was removed.
    pub dry_run: bool,
    /// Holders of stale locks that were broken.
    pub broken_locks: Vec<LockOwner>,
}

impl Retention {
    fn keeps_something(&self) -> bool {
        let counts = [
            self.last,
            self.hourly,
            self.daily,
            self.weekly,
            self.monthly,
            self.yearly,
        ];
        counts.into_iter().flatten().any(|count| count > 0)
            || self.within.is_some_and(Span::is_positive)
    }

    fn options(&self) -> KeepOptions {
        let count =
            |count: Option<u32>| count.map(|count| i32::try_from(count).unwrap_or(i32::MAX));
        let mut options = KeepOptions::default();
        options.keep_last = count(self.last);
        options.keep_hourly = count(self.hourly);
        options.keep_daily = count(self.daily);
        options.keep_weekly = count(self.weekly);
        options.keep_monthly = count(self.monthly);
        options.keep_yearly = count(self.yearly);
        options.keep_within = self.within;
        options
    }

    /// Decides for each snapshot. It does no I/O and looks at no clock.
    pub(crate) fn decide(&self, snapshots: &[Snapshot]) -> Result<Vec<ForgetDecision>> {
        if !self.keeps_something() {
            return Err(Error::EmptyRetention);
        }
        let mut groups = BTreeMap::<_, Vec<&Snapshot>>::new();
        for snapshot in snapshots {
            let of = &snapshot.description;
            groups
                .entry((&of.namespace, &of.application, &of.data_set))
                .or_default()
                .push(snapshot);
        }
        let mut decisions = Vec::new();
        for group in groups.into_values() {
            decisions.extend(self.decide_group(&group)?);
        }
        decisions.sort_by(|one, other| {
            other
                .started
                .cmp(&one.started)
                .then_with(|| one.snapshot.cmp(&other.snapshot))
        });
        Ok(decisions)
    }

    fn decide_group(&self, group: &[&Snapshot]) -> Result<Vec<ForgetDecision>> {
        let attempt = "apply the retention rule";
        let mut by_id = BTreeMap::new();
        let mut files = Vec::new();
        for snapshot in group {
            let id: Id = snapshot
                .id
                .as_ref()
                .parse()
                .map_err(Error::format(attempt))?;
            by_id.insert(id, *snapshot);
            files.push(SnapshotFile {
                id: id.into(),
                time: snapshot.description.started.to_zoned(TimeZone::UTC),
                ..SnapshotFile::default()
            });
        }
        // Only snapshots that expire by themselves, which ours never do, make the library ask for the time.
        let now = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
        let judged = self
            .options()
            .apply(files, &now)
            .map_err(Error::format(attempt))?;
        let newest_proven = group
            .iter()
            .filter(|snapshot| self.keep_proven && !snapshot.proofs.is_empty())
            .max_by_key(|snapshot| (snapshot.description.started, snapshot.finished))
            .map(|snapshot| &snapshot.id);
        let decisions = judged.into_iter().filter_map(|judged| {
            let snapshot = by_id.get(&*judged.snapshot.id)?;
            let mut reasons = judged.reasons;
            if newest_proven == Some(&snapshot.id) {
                reasons.push("newest proven".to_owned());
            }
            let of = &snapshot.description;
            Some(ForgetDecision {
                snapshot: snapshot.id.clone(),
                application: of.application.clone(),
                namespace: of.namespace.clone(),
                data_set: of.data_set.clone(),
                run: of.run.clone(),
                started: of.started,
                keep: !reasons.is_empty(),
                reasons,
            })
        });
        Ok(decisions.collect())
    }
}

impl Repository {
    /// Forgets the snapshots that no rule keeps. Takes the exclusive lock, also for a dry run.
    ///
    /// # Errors
    /// [`Error::EmptyRetention`] if the rule keeps nothing, [`Error::Locked`] beside a backup.
    pub async fn forget(&self, keep: &Retention, dry_run: bool) -> Result<ForgetReport> {
        if !keep.keeps_something() {
            return Err(Error::EmptyRetention);
        }
        let exclusive = Exclusive::take(&self.inner, "forget").await?;
        let result = self.forget_locked(keep, dry_run, &exclusive).await;
        let broken_locks = exclusive.release().await;
        Ok(ForgetReport {
            decisions: result?,
            dry_run,
            broken_locks,
        })
    }

    async fn forget_locked(
        &self,
        keep: &Retention,
        dry_run: bool,
        exclusive: &Exclusive,
    ) -> Result<Vec<ForgetDecision>> {
        let decisions = keep.decide(&self.list().await?)?;
        let gone: BTreeSet<&SnapshotId> = decisions
            .iter()
            .filter(|decision| !decision.keep)
            .map(|decision| &decision.snapshot)
            .collect();
        if dry_run || gone.is_empty() {
            return Ok(decisions);
        }
        let attempt = "forget snapshots";
        let mut ids = Vec::new();
        for id in &gone {
            let id: Id = id.as_ref().parse().map_err(Error::format(attempt))?;
            ids.push(id.into());
        }
        let (inner, backend) = (Arc::clone(&self.inner), exclusive.backend());
        blocking(attempt, move || {
            inner
                .reopen(backend)?
                .delete_snapshots(&ids)
                .map_err(Error::format(attempt))
        })
        .await?;
        for id in gone {
            self.inner.forget_proofs(id).await?;
        }
        Ok(decisions)
    }
}
