//! All objects of the cluster with one version counter, and the history that watches read. Every
//! change is one step under one lock; nothing here knows what an object means.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::sync::watch;

use crate::document;

/// Changes that watches can still read. Enough for a whole test, small enough that a history that
/// runs out is met in one.
const HISTORY: usize = 20_000;

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Added,
    Modified,
    Deleted,
}

/// One change.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) version: u64,
    pub(crate) change: Change,
    pub(crate) collection: Arc<str>,
    /// The object after the change; for a deletion its last state with the version of the deletion.
    pub(crate) object: Arc<Value>,
    /// The object before the change.
    pub(crate) previous: Option<Arc<Value>>,
}

/// Why a change was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There is no such object.
    Missing,
    /// There is one already.
    Exists,
}

/// The versions asked for are no longer kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Expired {
    /// The oldest version that a watch can start from.
    pub(crate) oldest: u64,
}

type Objects = BTreeMap<(String, String), Arc<Value>>;

#[derive(Debug, Default)]
struct Inner {
    version: u64,
    collections: BTreeMap<Arc<str>, Objects>,
    history: VecDeque<Event>,
    forgotten: u64,
}

/// The store. Share it with `Arc`.
#[derive(Debug)]
pub(crate) struct Store {
    inner: Mutex<Inner>,
    versions: watch::Sender<u64>,
}

impl Store {
    /// An empty store.
    pub(crate) fn new() -> Self {
        Self {
            inner: Mutex::default(),
            versions: watch::channel(0).0,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The version of the last change.
    pub(crate) fn version(&self) -> u64 {
        self.lock().version
    }

    /// Told whenever anything changes.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.versions.subscribe()
    }

    /// One object.
    pub(crate) fn get(&self, collection: &str, namespace: &str, name: &str) -> Option<Arc<Value>> {
        let inner = self.lock();
        inner
            .collections
            .get(collection)?
            .get(&key(namespace, name))
            .cloned()
    }

    /// The objects of a collection by namespace and name, with the version of the list.
    pub(crate) fn list(&self, collection: &str, namespace: Option<&str>) -> (u64, Vec<Arc<Value>>) {
        let inner = self.lock();
        let objects = inner.collections.get(collection).into_iter().flatten();
        let objects = objects
            .filter(|((place, _), _)| namespace.is_none_or(|wanted| wanted == place))
            .map(|(_, object)| Arc::clone(object))
            .collect();
        (inner.version, objects)
    }

    /// Every collection that holds an object in a namespace, with those objects.
    pub(crate) fn in_namespace(&self, namespace: &str) -> Vec<(Arc<str>, Arc<Value>)> {
        let inner = self.lock();
        let mut found = Vec::new();
        for (collection, objects) in &inner.collections {
            for ((place, _), object) in objects {
                if place == namespace {
                    found.push((Arc::clone(collection), Arc::clone(object)));
                }
            }
        }
        found
    }

    /// Every object that names an owner with this uid.
    pub(crate) fn owned_by(&self, uid: &str) -> Vec<(Arc<str>, Arc<Value>)> {
        let inner = self.lock();
        let mut found = Vec::new();
        for (collection, objects) in &inner.collections {
            for object in objects.values() {
                let owners = document::items(object, "/metadata/ownerReferences");
                if owners
                    .iter()
                    .any(|owner| document::text(owner, "/uid") == uid)
                {
                    found.push((Arc::clone(collection), Arc::clone(object)));
                }
            }
        }
        found
    }

    /// Stores a new object under its own namespace and name.
    pub(crate) fn create(&self, collection: &str, object: Value) -> Result<Arc<Value>, Refusal> {
        let mut inner = self.lock();
        let key = key(document::namespace(&object), document::name(&object));
        if inner
            .collections
            .get(collection)
            .is_some_and(|objects| objects.contains_key(&key))
        {
            return Err(Refusal::Exists);
        }
        let stored = inner.put(collection, key, object, None);
        self.versions.send_replace(inner.version);
        Ok(stored)
    }

    /// Reads, changes and writes one object in one step. If the closure returns the object
    /// unchanged, nothing happens and no watch is told.
    pub(crate) fn update<E: From<Refusal>>(
        &self,
        collection: &str,
        namespace: &str,
        name: &str,
        change: impl FnOnce(&Value) -> Result<Value, E>,
    ) -> Result<Arc<Value>, E> {
        let mut inner = self.lock();
        let key = key(namespace, name);
        let current = inner
            .collections
            .get(collection)
            .and_then(|objects| objects.get(&key));
        let Some(current) = current.cloned() else {
            return Err(Refusal::Missing.into());
        };
        let changed = change(&current)?;
        if changed == *current {
            return Ok(current);
        }
        let stored = inner.put(collection, key, changed, Some(current));
        self.versions.send_replace(inner.version);
        Ok(stored)
    }

    /// Changes an object in place if it is still there; the shape that controllers use.
    pub(crate) fn amend(
        &self,
        collection: &str,
        namespace: &str,
        name: &str,
        change: impl FnOnce(&mut Value),
    ) -> Option<Arc<Value>> {
        self.update(collection, namespace, name, |current| {
            let mut changed = current.clone();
            change(&mut changed);
            Ok::<_, Refusal>(changed)
        })
        .ok()
    }

    /// Takes an object out and returns its last state. With a uid, only if it is that very object.
    pub(crate) fn remove(
        &self,
        collection: &str,
        namespace: &str,
        name: &str,
        uid: Option<&str>,
    ) -> Option<Arc<Value>> {
        let mut inner = self.lock();
        let objects = inner.collections.get_mut(collection)?;
        let key = key(namespace, name);
        let current = objects.get(&key)?;
        if uid.is_some_and(|uid| uid != document::uid(current)) {
            return None;
        }
        let last = objects.remove(&key)?;
        inner.version += 1;
        let version = inner.version;
        let mut object = (*last).clone();
        document::set(
            &mut object,
            "/metadata/resourceVersion",
            json!(version.to_string()),
        );
        let object = Arc::new(object);
        inner.record(Event {
            version,
            change: Change::Deleted,
            collection: collection.into(),
            object: Arc::clone(&object),
            previous: Some(last),
        });
        self.versions.send_replace(version);
        Some(object)
    }

    /// The changes of a collection after a version, and the version they reach to.
    pub(crate) fn since(
        &self,
        collection: &str,
        namespace: Option<&str>,
        version: u64,
    ) -> Result<(u64, Vec<Event>), Expired> {
        let inner = self.lock();
        if version < inner.forgotten {
            return Err(Expired {
                oldest: inner.forgotten,
            });
        }
        let start = inner
            .history
            .partition_point(|event| event.version <= version);
        let events = inner
            .history
            .range(start..)
            .filter(|event| &*event.collection == collection)
            .filter(|event| {
                namespace.is_none_or(|wanted| wanted == document::namespace(&event.object))
            })
            .cloned()
            .collect();
        Ok((inner.version, events))
    }

    /// Forgets the history up to now, as compaction does.
    pub(crate) fn forget_history(&self) {
        let mut inner = self.lock();
        inner.history.clear();
        inner.forgotten = inner.version;
    }
}

impl Inner {
    fn put(
        &mut self,
        collection: &str,
        key: (String, String),
        mut object: Value,
        previous: Option<Arc<Value>>,
    ) -> Arc<Value> {
        self.version += 1;
        let version = self.version;
        document::set(
            &mut object,
            "/metadata/resourceVersion",
            json!(version.to_string()),
        );
        let object = Arc::new(object);
        let collection: Arc<str> = collection.into();
        self.collections
            .entry(Arc::clone(&collection))
            .or_default()
            .insert(key, Arc::clone(&object));
        let change = if previous.is_some() {
            Change::Modified
        } else {
            Change::Added
        };
        self.record(Event {
            version,
            change,
            collection,
            object: Arc::clone(&object),
            previous,
        });
        object
    }

    fn record(&mut self, event: Event) {
        self.history.push_back(event);
        while self.history.len() > HISTORY {
            if let Some(event) = self.history.pop_front() {
                self.forgotten = event.version;
            }
        }
    }
}

fn key(namespace: &str, name: &str) -> (String, String) {
    (namespace.to_owned(), name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str, value: i64) -> Value {
        json!({"metadata": {"name": name, "namespace": "a", "uid": name}, "data": value})
    }

    #[test]
    fn an_unchanged_update_makes_no_version() {
        let store = Store::new();
        store.create("things", object("one", 1)).unwrap();
        let before = store.version();
        store.amend("things", "a", "one", |_| {});
        assert_eq!(store.version(), before);
        store.amend("things", "a", "one", |thing| {
            document::set(thing, "/data", json!(2));
        });
        assert_eq!(store.version(), before + 1);
    }

    #[test]
    fn a_watch_sees_every_change_once_and_learns_when_history_is_gone() {
        let store = Store::new();
        store.create("things", object("one", 1)).unwrap();
        let (start, _) = store.list("things", None);
        store.create("things", object("two", 1)).unwrap();
        store.create("others", object("three", 1)).unwrap();
        store.remove("things", "a", "one", None).unwrap();
        let (version, events) = store.since("things", Some("a"), start).unwrap();
        let changes: Vec<Change> = events.iter().map(|event| event.change).collect();
        assert_eq!(changes, [Change::Added, Change::Deleted]);
        assert_eq!(store.since("things", None, version).unwrap().1.len(), 0);
        store.forget_history();
        assert_eq!(
            store.since("things", None, start).unwrap_err(),
            Expired { oldest: 4 }
        );
    }

    #[test]
    fn a_removal_by_uid_spares_a_successor_of_the_same_name() {
        let store = Store::new();
        store.create("things", object("one", 1)).unwrap();
        assert!(store.remove("things", "a", "one", Some("other")).is_none());
        assert!(store.get("things", "a", "one").is_some());
    }
}
