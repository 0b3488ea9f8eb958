//! The controllers: from what is wanted to objects that say so. They read and write the store
//! only; processes belong to the kubelet.

mod claims;
mod deployment_configs;
mod deployments;
mod garbage;
mod namespaces;
mod notice;
mod pods;
mod replicas;
mod services;
mod stateful_sets;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::faults::Board;
use crate::runtime::ContainerRuntime;
use crate::store::Store;

/// Changes that come close together are looked at together.
const SETTLE: Duration = Duration::from_millis(3);
/// The controllers look again after this time even if nothing changed, for what depends on time.
const ROUND: Duration = Duration::from_secs(1);

/// What controllers work with.
pub(crate) struct Ground {
    pub(crate) store: Arc<Store>,
    pub(crate) faults: Arc<Board>,
    pub(crate) runtime: Arc<dyn ContainerRuntime>,
    /// The folder of all persistent volumes.
    pub(crate) volumes: std::path::PathBuf,
    /// Volumes that are already initialised, by the names of claims.
    pub(crate) templates: Option<std::path::PathBuf>,
    /// The certificate that every namespace has in a ConfigMap.
    pub(crate) authority: String,
}

/// Runs all controllers until cancelled.
pub(crate) async fn run(ground: Ground, cancelled: CancellationToken) {
    let mut versions = ground.store.subscribe();
    let mut notices = notice::Notices::default();
    let mut services = services::Services::default();
    loop {
        versions.borrow_and_update();
        namespaces::reconcile(&ground);
        garbage::reconcile(&ground);
        claims::reconcile(&ground);
        deployment_configs::reconcile(&ground, &mut notices);
        deployments::reconcile(&ground, &mut notices);
        stateful_sets::reconcile(&ground, &mut notices);
        replicas::reconcile(&ground);
        services.reconcile(&ground);
        let wake = notices
            .next_wake()
            .unwrap_or_else(|| Instant::now() + ROUND);
        tokio::select! {
            changed = versions.changed() => if changed.is_err() {
                return;
            },
            () = sleep_until(wake) => {}
            () = cancelled.cancelled() => return,
        }
        tokio::time::sleep(SETTLE).await;
    }
}
