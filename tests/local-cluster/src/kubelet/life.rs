//! The life of one pod, from the object to the last process. The object goes only when the
//! processes have gone, so that no successor meets them.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinSet;

use super::assembly::{Obstacle, Sources};
use super::probes::Probe;
use super::status::{self, Container, Known, State};
use super::{Kubelet, current};
use crate::document;
use crate::pods::PodSpec;
use crate::runtime::RunningPod;

/// Between two tries to start what lacks something.
const RETRY: Duration = Duration::from_millis(300);
/// Between two probes until a container is ready for the first time; a real kubelet is lazier.
const EAGER: Duration = Duration::from_millis(100);
/// The longest pause before a container that keeps ending is started again.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

struct Life {
    kubelet: Arc<Kubelet>,
    pod: Arc<Value>,
    known: Mutex<Known>,
}

/// Lives a pod from start to end.
pub(super) async fn live(kubelet: Arc<Kubelet>, pod: Arc<Value>) {
    let uid = document::uid(&pod).to_owned();
    let known = Known {
        started: document::now(),
        ..Known::default()
    };
    let life = Arc::new(Life {
        kubelet,
        pod,
        known: Mutex::new(known),
    });
    life.change(|_| ());
    let begun = life.begin().await;
    if let Some(running) = begun {
        let mut work = JoinSet::new();
        work.spawn(Arc::clone(&life).look_after(Arc::clone(&running)));
        let grace = life.wait_for_deletion(None).await;
        work.shutdown().await;
        life.end(&running, grace).await;
        life.kubelet.lock().remove(&uid);
    }
    let (namespace, name) = (document::namespace(&life.pod), document::name(&life.pod));
    life.kubelet
        .store
        .remove("pods", namespace, name, Some(&uid));
}

impl Life {
    fn sources<'a>(&'a self, address: String) -> Sources<'a> {
        Sources {
            store: &self.kubelet.store,
            faults: &self.kubelet.faults,
            volumes: &self.kubelet.volumes,
            pod: &self.pod,
            address,
        }
    }

    fn change(&self, change: impl FnOnce(&mut Known)) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut known);
        // Under the lock: else who changed last may be overwritten by who is last to write.
        self.publish(&known);
    }

    fn change_container(&self, name: &str, change: impl FnOnce(&mut Container)) {
        self.change(|known| {
            let entry = known.containers.entry(name.to_owned());
            change(entry.or_insert_with(Container::creating));
        });
    }

    /// Writes the status to the object, if it is still this pod's.
    fn publish(&self, known: &Known) {
        let (namespace, name) = (document::namespace(&self.pod), document::name(&self.pod));
        self.kubelet.store.amend("pods", namespace, name, |pod| {
            if document::uid(pod) != document::uid(&self.pod) {
                return;
            }
            let previous = pod.get("status").cloned().unwrap_or_default();
            let status = status::object(pod, known, &previous);
            document::set(pod, "/status", status);
            document::set_default(pod, "/spec/nodeName", serde_json::json!("local-cluster"));
        });
    }

    fn wait_all(&self, reason: &str, message: &str) {
        for container in document::items(&self.pod, "/spec/containers") {
            self.change_container(document::text(container, "/name"), |container| {
                let (reason, message) = (reason.to_owned(), message.to_owned());
                container.state = State::Waiting { reason, message };
            });
        }
    }

    /// Makes the pod as soon as everything is there; `None` if it was deleted before. A start is
    /// never given up half-way, because nobody could end it then.
    async fn begin(&self) -> Option<Arc<dyn RunningPod>> {
        let deleted = self.wait_for_deletion(None);
        tokio::pin!(deleted);
        loop {
            // A pod that was deleted without grace may still be dying on the same volumes.
            let pause = if self.kubelet.has_orphans() {
                EAGER / 10
            } else {
                match self.start_empty().await {
                    Ok(running) => return Some(running),
                    Err(obstacle) => {
                        self.wait_all("CreateContainerConfigError", &obstacle);
                        RETRY
                    }
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = &mut deleted => return None,
            }
        }
    }

    /// Starts the containers and looks after them until it is shut down.
    async fn look_after(self: Arc<Self>, running: Arc<dyn RunningPod>) {
        let address = running.ip().to_string();
        self.change(|known| known.address = Some(address.clone()));
        for container in document::items(&self.pod, "/spec/initContainers") {
            self.run_init(&running, container, &address).await;
        }
        self.change(|known| known.initialized = true);
        let mut containers = JoinSet::new();
        for container in document::items(&self.pod, "/spec/containers") {
            let (life, running) = (Arc::clone(&self), Arc::clone(&running));
            containers.spawn(life.keep(running, container.clone(), address.clone()));
        }
        containers.join_all().await;
    }

    /// Makes the pod without any container, and registers it.
    async fn start_empty(&self) -> Result<Arc<dyn RunningPod>, Obstacle> {
        let sources = self.sources(String::new());
        for list in ["/spec/initContainers", "/spec/containers"] {
            for container in document::items(&self.pod, list) {
                sources.container(container)?;
            }
        }
        let spec = PodSpec {
            namespace: document::namespace(&self.pod).to_owned(),
            name: document::name(&self.pod).to_owned(),
            uid: document::uid(&self.pod).to_owned(),
            containers: Vec::new(),
            volumes: sources.volumes()?,
        };
        let started = self.kubelet.runtime.start(spec).await;
        let running = started.map_err(|error| format!("{error:#}"))?;
        let uid = document::uid(&self.pod).to_owned();
        self.kubelet.lock().insert(uid, Arc::clone(&running));
        Ok(running)
    }

    async fn run_init(&self, running: &Arc<dyn RunningPod>, container: &Value, address: &str) {
        let name = document::text(container, "/name");
        let mut failures = 0;
        loop {
            let started = self.start_container(running, container, address).await;
            if started.is_ok() && running.exited(name).await == 0 {
                return;
            }
            failures += 1;
            self.wait_all(
                "PodInitializing",
                &format!("init container \"{name}\" failed"),
            );
            tokio::time::sleep(pause(failures)).await;
        }
    }

    async fn start_container(
        &self,
        running: &Arc<dyn RunningPod>,
        container: &Value,
        address: &str,
    ) -> Result<(), Obstacle> {
        let spec = self.sources(address.to_owned()).container(container)?;
        running
            .start_container(spec)
            .await
            .map_err(|error| format!("{error:#}"))
    }

    /// Starts a container, watches it, and starts it again as the policy says.
    async fn keep(
        self: Arc<Self>,
        running: Arc<dyn RunningPod>,
        container: Value,
        address: String,
    ) {
        let name = document::text(&container, "/name");
        let policy = document::text(&self.pod, "/spec/restartPolicy").to_owned();
        let mut failures = 0_u32;
        loop {
            if let Err(message) = self.start_container(&running, &container, &address).await {
                failures += 1;
                self.change_container(name, |container| {
                    let reason = "RunContainerError".to_owned();
                    container.state = State::Waiting { reason, message };
                    container.restarts += 1;
                });
                tokio::time::sleep(pause(failures)).await;
                continue;
            }
            let since = document::now();
            let unprobed = Probe::of(&container).is_none();
            self.change_container(name, |container| {
                container.state = State::Running {
                    since: since.clone(),
                };
                container.ready = unprobed;
            });
            let code = tokio::select! {
                code = running.exited(name) => code,
                never = self.probe(&running, &container) => match never {},
            };
            let again = policy == "Always" || (policy == "OnFailure" && code != 0);
            let ended = State::Terminated {
                code,
                since,
                until: document::now(),
            };
            self.change_container(name, |container| {
                container.state = ended.clone();
                container.ready = false;
                container.final_end = !again;
            });
            if !again {
                return;
            }
            failures += 1;
            self.change_container(name, |container| {
                let reason = "CrashLoopBackOff".to_owned();
                container.state = State::Waiting {
                    reason,
                    message: String::new(),
                };
                container.last = Some(ended);
                container.restarts += 1;
            });
            tokio::time::sleep(pause(failures)).await;
        }
    }

    /// Probes for ever, and writes down when readiness changes.
    async fn probe(&self, running: &Arc<dyn RunningPod>, container: &Value) -> Infallible {
        let Some(probe) = Probe::of(container) else {
            return std::future::pending().await;
        };
        let name = document::text(container, "/name");
        tokio::time::sleep(probe.initial_delay).await;
        let (mut ready, mut failures) = (false, 0);
        loop {
            if probe.succeeds(running.as_ref(), name).await {
                failures = 0;
                if !ready {
                    ready = true;
                    self.change_container(name, |container| container.ready = true);
                }
            } else {
                failures += 1;
                if ready && failures >= probe.failure_threshold {
                    ready = false;
                    self.change_container(name, |container| container.ready = false);
                }
            }
            tokio::time::sleep(if ready { probe.period } else { EAGER }).await;
        }
    }

    /// Resolves with the grace when the object is marked for deletion or gone; with a known grace,
    /// only when there is less of it.
    async fn wait_for_deletion(&self, known: Option<i64>) -> i64 {
        let mut versions = self.kubelet.store.subscribe();
        loop {
            versions.borrow_and_update();
            let Some(pod) = current(&self.kubelet.store, &self.pod) else {
                return 0;
            };
            if document::is_terminating(&pod) {
                let pointer = "/metadata/deletionGracePeriodSeconds";
                let grace = document::number(&pod, pointer).unwrap_or(30);
                if known.is_none_or(|known| grace < known) {
                    return grace;
                }
            }
            if versions.changed().await.is_err() {
                return 0;
            }
        }
    }

    /// Ends the processes within the grace, or sooner if somebody loses patience.
    async fn end(&self, running: &Arc<dyn RunningPod>, grace: i64) {
        tokio::select! {
            () = running.stop(seconds(grace)) => {}
            shorter = self.wait_for_deletion(Some(grace)), if grace > 0 => {
                running.stop(seconds(shorter)).await;
            }
        }
    }
}

fn seconds(grace: i64) -> Duration {
    Duration::from_secs(u64::try_from(grace).unwrap_or(0))
}

fn pause(failures: u32) -> Duration {
    Duration::from_millis(250 << failures.min(6)).min(LONGEST_PAUSE)
}
