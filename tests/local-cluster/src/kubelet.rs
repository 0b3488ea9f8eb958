//! The node: takes each pod object through its life as processes, and writes its status. Which
//! pods there should be is not decided here.

mod assembly;
mod life;
mod probes;
mod status;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::document;
use crate::faults::Board;
use crate::runtime::{ContainerRuntime, RunningPod};
use crate::store::Store;

/// The one node of the cluster.
pub(crate) struct Kubelet {
    store: Arc<Store>,
    faults: Arc<Board>,
    runtime: Arc<dyn ContainerRuntime>,
    volumes: PathBuf,
    running: Mutex<BTreeMap<String, Arc<dyn RunningPod>>>,
}

impl std::fmt::Debug for Kubelet {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Kubelet")
            .field("volumes", &self.volumes)
            .finish_non_exhaustive()
    }
}

impl Kubelet {
    /// A node whose persistent volumes are folders below `volumes`.
    pub(crate) fn new(
        store: Arc<Store>,
        faults: Arc<Board>,
        runtime: Arc<dyn ContainerRuntime>,
        volumes: PathBuf,
    ) -> Self {
        Self {
            store,
            faults,
            runtime,
            volumes,
            running: Mutex::default(),
        }
    }

    /// The processes of a pod, if it has been started and not yet ended.
    pub(crate) fn running(&self, uid: &str) -> Option<Arc<dyn RunningPod>> {
        self.lock().get(uid).cloned()
    }

    /// Whether processes still run whose pod object is gone.
    fn has_orphans(&self) -> bool {
        let (_, pods) = self.store.list("pods", None);
        self.lock()
            .keys()
            .any(|uid| !pods.iter().any(|pod| document::uid(pod) == uid))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<dyn RunningPod>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a life for every pod object, until cancelled.
    pub(crate) async fn run(self: Arc<Self>, cancelled: CancellationToken) {
        let mut versions = self.store.subscribe();
        let mut known = BTreeSet::new();
        let mut lives = JoinSet::new();
        loop {
            versions.borrow_and_update();
            let (_, pods) = self.store.list("pods", None);
            let present: BTreeSet<String> = pods
                .iter()
                .map(|pod| document::uid(pod).to_owned())
                .collect();
            for pod in pods {
                if known.insert(document::uid(&pod).to_owned()) {
                    lives.spawn(life::live(Arc::clone(&self), pod));
                }
            }
            known.retain(|uid| present.contains(uid));
            while lives.try_join_next().is_some() {}
            tokio::select! {
                changed = versions.changed() => if changed.is_err() {
                    return;
                },
                () = cancelled.cancelled() => return,
            }
        }
    }
}

/// The present state of the very pod that was read before, if it still exists.
fn current(store: &Store, pod: &Value) -> Option<Arc<Value>> {
    store
        .get("pods", document::namespace(pod), document::name(pod))
        .filter(|current| document::uid(current) == document::uid(pod))
}
