//! Who holds which change now: the pure part of the desk.
//!
//! One change may be held by several data sets, as long as it is the same for all of them. Must
//! never let a change be put back while one of them still needs it.

use std::collections::BTreeMap;

use cofferdam_cluster::{Original, PutBackOutcome};
use cofferdam_engine::host::LeaseId;
use cofferdam_policy::name::{DataKey, DataSetName, Namespace, ObjectName};
use cofferdam_policy::request::{Change, ObjectKind, Scope, Workload};

/// All changes of a run that are not yet put back.
#[derive(Debug, Default)]
pub(super) struct Table(Vec<Lent>);

/// A change, and those who hold it.
#[derive(Debug, Clone)]
pub(super) struct Lent {
    /// Its number in the journal: the lease of who took it first.
    pub(super) number: LeaseId,
    pub(super) scope: Scope,
    pub(super) change: Change,
    /// What was there before; `None` as long as nothing was changed.
    pub(super) original: Option<Original>,
    stage: Stage,
    shares: Vec<Share>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    Making,
    Made,
    /// By the holder of this lease, who was the last to let go.
    PuttingBack(LeaseId),
    /// Put back with this outcome, which some who let go before have not been told yet.
    Back(PutBackOutcome),
}

#[derive(Debug, Clone)]
struct Share {
    id: LeaseId,
    data_set: DataSetName,
    standing: Standing,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    Needs,
    /// Waits until the others let go too.
    LetsGo,
    /// Let go, and was to be told that putting back failed.
    Failed(String),
}

/// What who wants a change has to do.
#[derive(Debug)]
pub(super) enum Take {
    /// Make it.
    Make,
    /// Nothing but look that it is there: another has made it.
    Join(Box<Lent>),
    /// Wait until something changes at the table.
    Wait,
    /// Nothing: it has it.
    HeldAlready,
    /// Nothing: this data set has changed the same thing in another way.
    Conflict(DataSetName),
}

/// What who lets go of a change has to do.
#[derive(Debug)]
pub(super) enum LetGo {
    /// Put it back: nobody needs it any more.
    PutBack(Box<Lent>),
    /// Wait for these, who still need it.
    Wait(Vec<DataSetName>),
    /// Nothing: it is back, with this outcome.
    Back(Box<Lent>, PutBackOutcome),
    /// Nothing: it could not be put back, for this reason.
    Failed(Box<Lent>, String),
    /// Nothing: there is no such lease.
    Unknown,
}

impl Table {
    /// A data set wants a change. `Make` and `Join` have put it on the table.
    pub(super) fn take(
        &mut self,
        id: LeaseId,
        scope: &Scope,
        data_set: &DataSetName,
        change: &Change,
    ) -> Take {
        let touched = |lent: &&mut Lent| {
            !matches!(lent.stage, Stage::Back(_)) && overlap(&lent.change, change)
        };
        let mut join = None;
        for lent in self.0.iter_mut().filter(touched) {
            if lent.shares.iter().any(|share| share.data_set == *data_set) {
                return Take::HeldAlready;
            }
            match lent.stage {
                Stage::PuttingBack(_) | Stage::Back(_) => return Take::Wait,
                Stage::Making | Stage::Made if !is_same(&lent.change, change) => {
                    let holder = lent.shares.first().map(|share| share.data_set.clone());
                    return holder.map_or(Take::Wait, Take::Conflict);
                }
                Stage::Making => return Take::Wait,
                Stage::Made => join = Some(lent),
            }
        }
        let share = Share {
            id,
            data_set: data_set.clone(),
            standing: Standing::Needs,
        };
        if let Some(lent) = join {
            lent.shares.push(share);
            return Take::Join(Box::new(lent.clone()));
        }
        self.0.push(Lent {
            number: id,
            scope: scope.clone(),
            change: change.clone(),
            original: None,
            stage: Stage::Making,
            shares: vec![share],
        });
        Take::Make
    }

    /// The changes that are not back yet.
    pub(super) fn changes(&self) -> impl Iterator<Item = &Change> {
        let lent = self.0.iter();
        lent.filter(|lent| !matches!(lent.stage, Stage::Back(_)))
            .map(|lent| &lent.change)
    }

    /// The original is known and written down.
    pub(super) fn found(&mut self, id: LeaseId, original: Original) {
        if let Some(lent) = self.of(id) {
            lent.original = Some(original);
        }
    }

    /// The change is made: others may join.
    pub(super) fn made(&mut self, id: LeaseId) {
        if let Some(lent) = self.of(id) {
            lent.stage = Stage::Made;
        }
    }

    /// A holder needs its change no longer, and asks until it is back.
    pub(super) fn let_go(&mut self, id: LeaseId) -> LetGo {
        let Some(lent) = self.of(id) else {
            return LetGo::Unknown;
        };
        if let Stage::Back(outcome) = &lent.stage {
            let (shown, outcome) = (Box::new(lent.clone()), outcome.clone());
            self.remove(id);
            return LetGo::Back(shown, outcome);
        }
        let shown = lent.clone();
        let Some(share) = lent.shares.iter_mut().find(|share| share.id == id) else {
            return LetGo::Unknown;
        };
        if let Standing::Failed(reason) = &share.standing {
            let reason = reason.clone();
            share.standing = Standing::Needs;
            return LetGo::Failed(Box::new(shown), reason);
        }
        share.standing = Standing::LetsGo;
        let others: Vec<DataSetName> = lent
            .shares
            .iter()
            .filter(|share| share.standing != Standing::LetsGo)
            .map(|share| share.data_set.clone())
            .collect();
        if !others.is_empty() || matches!(lent.stage, Stage::PuttingBack(_)) {
            return LetGo::Wait(others);
        }
        lent.stage = Stage::PuttingBack(id);
        LetGo::PutBack(Box::new(lent.clone()))
    }

    /// A holder that let go waits no longer.
    pub(super) fn needs_again(&mut self, id: LeaseId) {
        let share = self
            .of(id)
            .and_then(|lent| lent.shares.iter_mut().find(|share| share.id == id));
        if let Some(share) = share {
            share.standing = Standing::Needs;
        }
    }

    /// A holder leaves without waiting: `PutBack` when it was the last one.
    pub(super) fn leave(&mut self, id: LeaseId) -> LetGo {
        let Some(lent) = self.of(id) else {
            return LetGo::Unknown;
        };
        if let Stage::Back(_) = lent.stage {
            return self.let_go(id);
        }
        if let [_] = lent.shares.as_slice() {
            lent.stage = Stage::PuttingBack(id);
            return LetGo::PutBack(Box::new(lent.clone()));
        }
        // It began to put back and was stopped in the middle: another does it, which is no harm.
        if lent.stage == Stage::PuttingBack(id) {
            lent.stage = Stage::Made;
        }
        let others = lent.shares.iter().filter(|share| share.id != id);
        let others = others.map(|share| share.data_set.clone()).collect();
        self.remove(id);
        LetGo::Wait(others)
    }

    /// How putting back ended.
    pub(super) fn put_back(&mut self, id: LeaseId, result: Result<PutBackOutcome, String>) {
        let Some(lent) = self.of(id) else { return };
        match result {
            Ok(outcome) => {
                lent.stage = Stage::Back(outcome);
                self.remove(id);
            }
            Err(reason) => {
                lent.stage = Stage::Made;
                for share in &mut lent.shares {
                    share.standing = if share.id == id {
                        Standing::Needs
                    } else {
                        Standing::Failed(reason.clone())
                    };
                }
            }
        }
    }

    /// Takes a share off the table, and the change with the last one.
    pub(super) fn remove(&mut self, id: LeaseId) {
        for lent in &mut self.0 {
            lent.shares.retain(|share| share.id != id);
        }
        self.0.retain(|lent| !lent.shares.is_empty());
    }

    /// The leases of a data set, the newest first, each with its change and whether that changed
    /// anything.
    pub(super) fn held_by(&self, data_set: &DataSetName) -> Vec<(LeaseId, Change, bool)> {
        let mut held: Vec<(LeaseId, Change, bool)> = self
            .0
            .iter()
            .flat_map(|lent| lent.shares.iter().map(move |share| (lent, share)))
            .filter(|(_, share)| share.data_set == *data_set)
            .map(|(lent, share)| (share.id, lent.change.clone(), lent.changes_anything()))
            .collect();
        held.sort_by_key(|(id, ..)| std::cmp::Reverse(id.0));
        held
    }

    /// What others than `data_set` have changed in an object for a time, as it was before.
    pub(super) fn before_others(
        &self,
        data_set: &DataSetName,
        kind: &ObjectKind,
        name: &ObjectName,
    ) -> BTreeMap<DataKey, Option<String>> {
        let of_others = self.0.iter().filter(|lent| {
            !matches!(lent.stage, Stage::Back(_))
                && lent.shares.iter().all(|share| share.data_set != *data_set)
        });
        let mut before = BTreeMap::new();
        for lent in of_others {
            match (&lent.change, &lent.original) {
                (
                    Change::EditObject {
                        kind: its_kind,
                        name: its_name,
                        ..
                    },
                    Some(Original::Data { values }),
                ) if its_kind == kind && its_name == name => before.extend(values.clone()),
                (Change::EditObject { .. } | Change::Scale { .. }, _) => {}
            }
        }
        before
    }

    /// The number of replicas of a workload before it was changed, while it is.
    pub(super) fn replicas_before(&self, place: &Namespace, what: &Workload) -> Option<u32> {
        let standing = |lent: &&Lent| !matches!(lent.stage, Stage::Back(_));
        self.0
            .iter()
            .filter(standing)
            .find_map(|lent| match (&lent.change, &lent.original) {
                (
                    Change::Scale {
                        namespace,
                        workload,
                        ..
                    },
                    Some(Original::Replicas { replicas }),
                ) if namespace == place && workload == what => Some(*replicas),
                (Change::Scale { .. } | Change::EditObject { .. }, _) => None,
            })
    }

    fn of(&mut self, id: LeaseId) -> Option<&mut Lent> {
        self.0
            .iter_mut()
            .find(|lent| lent.shares.iter().any(|share| share.id == id))
    }
}

impl Lent {
    /// A workload that was scaled to 0 already is as it was.
    fn changes_anything(&self) -> bool {
        match (&self.change, &self.original) {
            (Change::Scale { replicas, .. }, Some(Original::Replicas { replicas: before })) => {
                replicas != before
            }
            (Change::Scale { .. } | Change::EditObject { .. }, original) => original.is_some(),
        }
    }
}

/// Whether two changes touch the same thing. Different keys of one object do not: each is read,
/// changed and put back by itself.
fn overlap(one: &Change, other: &Change) -> bool {
    match (one, other) {
        (
            Change::Scale {
                namespace,
                workload,
                ..
            },
            Change::Scale {
                namespace: other_namespace,
                workload: other_workload,
                ..
            },
        ) => namespace == other_namespace && workload == other_workload,
        (
            Change::EditObject {
                namespace,
                kind,
                name,
                changes,
                ..
            },
            Change::EditObject {
                namespace: other_namespace,
                kind: other_kind,
                name: other_name,
                changes: other_changes,
                ..
            },
        ) => {
            namespace == other_namespace
                && kind == other_kind
                && name == other_name
                && changes.keys().any(|key| other_changes.contains_key(key))
        }
        (Change::Scale { .. }, Change::EditObject { .. })
        | (Change::EditObject { .. }, Change::Scale { .. }) => false,
    }
}

/// Whether two changes that touch the same thing make the same of it. Each module has its own
/// name for the group of the object.
fn is_same(one: &Change, other: &Change) -> bool {
    match (one, other) {
        (
            Change::Scale { replicas, .. },
            Change::Scale {
                replicas: other, ..
            },
        ) => replicas == other,
        (Change::EditObject { changes, .. }, Change::EditObject { changes: other, .. }) => {
            changes == other
        }
        (Change::Scale { .. }, Change::EditObject { .. })
        | (Change::EditObject { .. }, Change::Scale { .. }) => false,
    }
}
