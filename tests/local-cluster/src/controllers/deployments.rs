//! Deployments: one ReplicaSet for each template, the old ones emptied as the strategy says. With
//! `Recreate` no new pod is made before the last old one has gone.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Ground, notice::Notices, pods, replicas};
use crate::document::{self, set};

const COLLECTION: &str = "apps/deployments";
const SETS: &str = "apps/replicasets";
const REVISION: &str = "/metadata/annotations/deployment.kubernetes.io~1revision";
const HASH: &str = "pod-template-hash";

/// Brings every Deployment nearer to what it wants.
pub(crate) fn reconcile(ground: &Ground, notices: &mut Notices) {
    for deployment in ground.store.list(COLLECTION, None).1 {
        if !document::is_terminating(&deployment) && notices.taken(&ground.faults, &deployment) {
            Rollout::of(ground, &deployment).advance();
        }
    }
}

struct Rollout<'a> {
    ground: &'a Ground,
    deployment: &'a Value,
    hash: String,
    wanted: i64,
    new: Option<Arc<Value>>,
    old: Vec<Arc<Value>>,
}

impl<'a> Rollout<'a> {
    fn of(ground: &'a Ground, deployment: &'a Value) -> Self {
        let template = deployment
            .pointer("/spec/template")
            .cloned()
            .unwrap_or_default();
        let hash = document::content_hash(&template);
        let (_, sets) = ground
            .store
            .list(SETS, Some(document::namespace(deployment)));
        let (mut new, mut old) = (None, Vec::new());
        for set in sets {
            if document::controller_uid(&set) != Some(document::uid(deployment)) {
                continue;
            }
            let label = format!("/metadata/labels/{HASH}");
            if document::text(&set, &label) == hash {
                new = Some(set);
            } else {
                old.push(set);
            }
        }
        let wanted = document::number(deployment, "/spec/replicas").unwrap_or(1);
        Self {
            ground,
            deployment,
            hash,
            wanted,
            new,
            old,
        }
    }

    fn advance(mut self) {
        let recreate = document::text(self.deployment, "/spec/strategy/type") == "Recreate";
        if document::flag(self.deployment, "/spec/paused") {
            if let Some(new) = &self.new {
                replicas::scale(self.ground, SETS, new, self.wanted);
            }
        } else if recreate {
            self.recreate();
        } else {
            self.roll();
        }
        self.forget_oldest();
        self.reload();
        self.write_status();
    }

    fn recreate(&mut self) {
        for old in &self.old {
            replicas::scale(self.ground, SETS, old, 0);
        }
        let old_pods = self
            .old
            .iter()
            .map(|old| pods::owned(&self.ground.store, old).len());
        if old_pods.sum::<usize>() == 0 {
            self.fill_new(self.wanted);
        }
    }

    fn roll(&mut self) {
        let share = |field: &str, up: bool| {
            let pointer = format!("/spec/strategy/rollingUpdate/{field}");
            fraction(self.deployment.pointer(&pointer), self.wanted, up)
        };
        let unavailable = share("maxUnavailable", false);
        let mut surge = share("maxSurge", true);
        if surge == 0 && unavailable == 0 {
            surge = 1;
        }
        let old_total: i64 = self.old.iter().map(|set| size(set)).sum();
        let now = self.new.as_ref().map_or(0, |set| size(set));
        let room = (self.wanted + surge - old_total).max(0);
        let target = if old_total == 0 {
            self.wanted
        } else {
            self.wanted.min(room).max(now)
        };
        self.fill_new(target.min(self.wanted));
        let ready = |set: &Arc<Value>| {
            let pods = pods::owned(&self.ground.store, set);
            let ready = pods
                .iter()
                .filter(|pod| pods::is_active(pod) && pods::is_ready(pod));
            i64::try_from(ready.count()).unwrap_or(i64::MAX)
        };
        let available: i64 = self.old.iter().chain(&self.new).map(&ready).sum();
        let mut spare = available - (self.wanted - unavailable);
        for old in &self.old {
            // What is not ready serves nobody and can go at once.
            let useless = size(old) - ready(old);
            let gone = useless.max(0) + spare.clamp(0, ready(old));
            spare -= gone - useless.max(0);
            if gone > 0 {
                replicas::scale(self.ground, SETS, old, (size(old) - gone).max(0));
            }
        }
    }

    /// Makes the new set if it is missing, and lets it want so many.
    fn fill_new(&mut self, wanted: i64) {
        let highest = self.old.iter().map(|set| revision(set)).max().unwrap_or(0);
        let next = match &self.new {
            Some(new) if revision(new) > highest => revision(new),
            _ => highest + 1,
        };
        self.mark_revision(COLLECTION, self.deployment, next);
        if let Some(new) = &self.new {
            self.mark_revision(SETS, new, next);
            replicas::scale(self.ground, SETS, new, wanted);
            return;
        }
        let set = self.new_set(wanted, next);
        let namespace = document::namespace(self.deployment);
        pods::make(&self.ground.store, "apps", "replicasets", namespace, set);
        self.reload();
    }

    fn new_set(&self, wanted: i64, revision: i64) -> Value {
        let mut template = self
            .deployment
            .pointer("/spec/template")
            .cloned()
            .unwrap_or_default();
        set(
            &mut template,
            &format!("/metadata/labels/{HASH}"),
            json!(self.hash),
        );
        let mut selector = self
            .deployment
            .pointer("/spec/selector")
            .cloned()
            .unwrap_or_default();
        set(
            &mut selector,
            &format!("/matchLabels/{HASH}"),
            json!(self.hash),
        );
        json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {
                "name": format!("{}-{}", document::name(self.deployment), self.hash),
                "labels": template.pointer("/metadata/labels"),
                "annotations": {
                    "deployment.kubernetes.io/desired-replicas": self.wanted.to_string(),
                    "deployment.kubernetes.io/max-replicas": self.wanted.to_string(),
                    "deployment.kubernetes.io/revision": revision.to_string(),
                },
                "ownerReferences": pods::reference(self.deployment),
            },
            "spec": {"replicas": wanted, "selector": selector, "template": template},
        })
    }

    fn mark_revision(&self, collection: &str, object: &Value, revision: i64) {
        let (namespace, name) = (document::namespace(object), document::name(object));
        self.ground
            .store
            .amend(collection, namespace, name, |object| {
                set(object, REVISION, json!(revision.to_string()));
            });
    }

    /// Sets without pods beyond the limit of the history go.
    fn forget_oldest(&self) {
        let limit = document::number(self.deployment, "/spec/revisionHistoryLimit").unwrap_or(10);
        let limit = usize::try_from(limit).unwrap_or(0);
        let mut empty: Vec<&Arc<Value>> = self
            .old
            .iter()
            .filter(|set| size(set) == 0 && pods::owned(&self.ground.store, set).is_empty())
            .collect();
        empty.sort_by_key(|set| revision(set));
        for set in empty.iter().take(empty.len().saturating_sub(limit)) {
            let (namespace, name) = (document::namespace(set), document::name(set));
            self.ground
                .store
                .remove(SETS, namespace, name, Some(document::uid(set)));
        }
    }

    fn reload(&mut self) {
        let fresh = Self::of(self.ground, self.deployment);
        self.new = fresh.new;
        self.old = fresh.old;
    }

    fn write_status(&self) {
        let store = &self.ground.store;
        let active = |set: &Arc<Value>| -> Vec<Arc<Value>> {
            pods::owned(store, set)
                .into_iter()
                .filter(|pod| pods::is_active(pod))
                .collect()
        };
        let updated: Vec<Arc<Value>> = self.new.iter().flat_map(active).collect();
        let all: Vec<Arc<Value>> = self
            .old
            .iter()
            .flat_map(active)
            .chain(updated.iter().cloned())
            .collect();
        let count = |pods: &[Arc<Value>]| i64::try_from(pods.len()).unwrap_or(i64::MAX);
        let ready = all.iter().filter(|pod| pods::is_ready(pod)).count();
        let ready = i64::try_from(ready).unwrap_or(i64::MAX);
        let total = count(&all);
        let missing = (self.wanted - ready).max(total - ready).max(0);
        let complete = count(&updated) == self.wanted && total == self.wanted && missing == 0;
        let generation = document::number(self.deployment, "/metadata/generation").unwrap_or(1);
        let numbers = pods::compact(json!({
            "observedGeneration": generation, "replicas": total, "updatedReplicas": updated.len(),
            "readyReplicas": ready, "availableReplicas": ready, "unavailableReplicas": missing,
        }));
        let unavailable = fraction(
            self.deployment
                .pointer("/spec/strategy/rollingUpdate/maxUnavailable"),
            self.wanted,
            false,
        );
        let available = ready >= self.wanted - unavailable && (ready > 0 || self.wanted == 0);
        let (namespace, name) = (
            document::namespace(self.deployment),
            document::name(self.deployment),
        );
        store.amend(COLLECTION, namespace, name, |object| {
            if document::uid(object) != document::uid(self.deployment) {
                return;
            }
            let previous = object.get("status").cloned().unwrap_or_default();
            let mut status = numbers;
            let conditions = self.conditions(&previous, &status, available, complete);
            set(&mut status, "/conditions", conditions);
            set(object, "/status", status);
        });
    }

    fn conditions(
        &self,
        previous: &Value,
        status: &Value,
        available: bool,
        complete: bool,
    ) -> Value {
        let available = if available {
            (
                "Available",
                "True",
                "MinimumReplicasAvailable",
                "Deployment has minimum availability.".to_owned(),
            )
        } else {
            (
                "Available",
                "False",
                "MinimumReplicasUnavailable",
                "Deployment does not have minimum availability.".to_owned(),
            )
        };
        let set_name = format!("{}-{}", document::name(self.deployment), self.hash);
        let moved = [
            "updatedReplicas",
            "readyReplicas",
            "replicas",
            "observedGeneration",
        ]
        .iter()
        .any(|field| previous.get(*field) != status.get(*field));
        let progressing = if complete {
            (
                "Progressing",
                "True",
                "NewReplicaSetAvailable",
                format!("ReplicaSet \"{set_name}\" has successfully progressed."),
            )
        } else if !moved && self.is_late(previous) {
            (
                "Progressing",
                "False",
                "ProgressDeadlineExceeded",
                format!("ReplicaSet \"{set_name}\" has timed out progressing."),
            )
        } else {
            (
                "Progressing",
                "True",
                "ReplicaSetUpdated",
                format!("ReplicaSet \"{set_name}\" is progressing."),
            )
        };
        json!([
            condition(previous, available, false),
            condition(previous, progressing, moved)
        ])
    }

    fn is_late(&self, previous: &Value) -> bool {
        let deadline =
            document::number(self.deployment, "/spec/progressDeadlineSeconds").unwrap_or(600);
        let last = document::items(previous, "/conditions")
            .iter()
            .find(|condition| document::text(condition, "/type") == "Progressing")
            .and_then(|condition| {
                document::text(condition, "/lastUpdateTime")
                    .parse::<jiff::Timestamp>()
                    .ok()
            });
        last.is_some_and(|last| jiff::Timestamp::now().duration_since(last).as_secs() > deadline)
    }
}

/// A condition; its times change with its status and reason.
pub(crate) fn condition(
    previous: &Value,
    (kind, status, reason, message): (&str, &str, &str, String),
    moved: bool,
) -> Value {
    let before = document::items(previous, "/conditions")
        .iter()
        .find(|condition| document::text(condition, "/type") == kind);
    let kept = |field: &str, same: bool| {
        let time = before
            .filter(|_| same)
            .map(|condition| document::text(condition, field));
        time.map_or_else(document::now, str::to_owned)
    };
    let same_status =
        before.is_some_and(|condition| document::text(condition, "/status") == status);
    let same_reason = same_status
        && before.is_some_and(|condition| document::text(condition, "/reason") == reason);
    json!({
        "type": kind, "status": status,
        "lastUpdateTime": kept("/lastUpdateTime", same_reason && !moved),
        "lastTransitionTime": kept("/lastTransitionTime", same_status),
        "reason": reason, "message": message,
    })
}

fn size(set: &Value) -> i64 {
    document::number(set, "/spec/replicas").unwrap_or(0)
}

fn revision(set: &Value) -> i64 {
    document::text(set, REVISION).parse().unwrap_or(0)
}

/// A number, or a percentage of the whole, rounded as asked for.
fn fraction(value: Option<&Value>, whole: i64, up: bool) -> i64 {
    match value {
        Some(Value::Number(number)) => number.as_i64().unwrap_or(0),
        Some(Value::String(text)) => {
            let percent: i64 = text.trim_end_matches('%').parse().unwrap_or(0);
            let rounding = if up { 99 } else { 0 };
            (whole * percent + rounding) / 100
        }
        _ => 0,
    }
}
