//! A running pod and the commands run in it, as the rest of the cluster sees them.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use fs_err::os::unix::fs::OpenOptionsExt;

use super::exec::Exec;
use super::link::Watcher;
use super::runtime::Inner;
use super::spec::{ContainerSpec, PodSpec};
use super::volumes::{Volumes, check_word};
use super::wire::{ContainerPlan, Ending, Order, PodNetwork};

/// A pod of a runtime. Clones are the same pod; it is killed when the last one is dropped.
#[derive(Debug, Clone)]
pub struct Pod {
    inner: Arc<PodInner>,
}

#[derive(Debug)]
struct PodInner {
    runtime: Arc<Inner>,
    number: u64,
    namespace: String,
    name: String,
    address: Ipv4Addr,
    folder: PathBuf,
    volumes: Volumes,
    containers: Mutex<HashMap<String, Container>>,
}

#[derive(Debug, Clone)]
struct Container {
    process: u64,
    watcher: Watcher,
}

impl Pod {
    /// Makes the pod's network and volumes, and no container yet.
    pub(crate) async fn create(runtime: Arc<Inner>, spec: PodSpec) -> anyhow::Result<Self> {
        let PodSpec {
            namespace,
            name,
            uid,
            volumes,
            ..
        } = spec;
        for word in [&namespace, &name, &uid] {
            check_word(word)?;
        }
        let folder = runtime.state.join("pods").join(&uid);
        fs_err::create_dir_all(folder.join("logs"))?;
        let volumes = Volumes::prepare(&folder.join("volumes"), &volumes)?;
        let address = runtime.addresses().take()?;
        let number = runtime.link.number();
        // From here on dropping the pod gives back what it has.
        let containers = Mutex::new(HashMap::new());
        let inner = PodInner {
            runtime,
            number,
            namespace,
            name,
            address,
            folder,
            volumes,
            containers,
        };
        inner
            .runtime
            .names()
            .add_pod(&inner.namespace, &inner.name, address)?;
        let order = Order::CreatePod {
            pod: number,
            network: PodNetwork { address },
            sized_folders: inner.volumes.sized_folders(),
        };
        inner
            .runtime
            .link
            .order(order, &[])
            .await
            .context("failed to create pod sandbox")?;
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// The address of the pod in the private network; the host itself cannot reach it.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        IpAddr::V4(self.inner.address)
    }

    /// Starts a container that the pod does not have, or one that has ended, once more.
    ///
    /// A restarted container has the same address and volumes and goes on with the same log.
    ///
    /// # Errors
    /// In the words of a container runtime, if the program does not exist or a mount fails.
    pub async fn start_container(&self, spec: ContainerSpec) -> anyhow::Result<()> {
        let PodInner {
            runtime,
            number,
            folder,
            volumes,
            ..
        } = &*self.inner;
        check_word(&spec.name)?;
        let plan = ContainerPlan {
            host_name: self.inner.name.clone(),
            mounts: volumes.plan(&spec)?,
            names: runtime.names().folder(&self.inner.namespace),
            command: spec.command,
            environment: spec.env,
            working_folder: spec.working_dir.unwrap_or_else(|| "/".to_owned()),
            user: spec.run_as_user.unwrap_or(0),
        };
        let log = open_log(&log_path(folder, &spec.name))?;
        let process = runtime.link.number();
        let watcher = runtime.link.watch(process);
        let order = Order::StartContainer {
            pod: *number,
            process,
            container: Box::new(plan),
        };
        let started = runtime.link.order(order, &[log.as_fd()]).await;
        if started.is_err() {
            runtime.link.forget(process);
        }
        started?;
        self.inner
            .containers()
            .insert(spec.name, Container { process, watcher });
        Ok(())
    }

    /// Runs a command in a container; without `stdin` it reads from `/dev/null`.
    ///
    /// Dropping the `Exec` closes its pipes and does not end the command, as with Kubernetes.
    ///
    /// # Errors
    /// The container does not exist or has ended. A program that does not exist is no error here;
    /// `Exec::wait` tells it.
    pub async fn exec(
        &self,
        container: &str,
        command: Vec<String>,
        stdin: bool,
    ) -> anyhow::Result<Exec> {
        let host = self.container(container)?.process;
        Exec::start(Arc::clone(&self.inner.runtime), host, command, stdin).await
    }

    /// Ends the pod: asks its containers to, and forces them after `grace`.
    ///
    /// Returns when their processes, mounts and empty-dir volumes are gone. A second call may
    /// shorten the grace of the first.
    pub async fn stop(&self, grace: Duration) {
        let PodInner {
            runtime,
            number,
            folder,
            ..
        } = &*self.inner;
        let grace_milliseconds = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        let order = Order::StopPod {
            pod: *number,
            grace_milliseconds,
        };
        if let Err(error) = runtime.link.order(order, &[]).await {
            // Without a helper there are no pods, so this one has stopped too.
            tracing::debug!(
                pod = self.inner.name,
                error = format!("{error:#}"),
                "stopped with the helper"
            );
        }
        self.inner.forget_name();
        let volumes = folder.join("volumes");
        match tokio::task::spawn_blocking(move || fs_err::remove_dir_all(volumes)).await {
            Ok(Err(error)) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(pod = self.inner.name, %error, "failed to remove the volumes of a pod");
            }
            Ok(_) | Err(_) => {}
        }
    }

    /// The file with what the main process of a container has written, both streams in one.
    #[must_use]
    pub fn logs(&self, container: &str) -> PathBuf {
        log_path(&self.inner.folder, container)
    }

    /// Waits until the main process of a container ends; 128+n for signal n.
    ///
    /// For a container that was never started, or whose helper is gone, it is 137 at once.
    pub async fn exited(&self, container: &str) -> i32 {
        /// What Kubernetes says of a container that was killed.
        const KILLED: i32 = 137;
        let Ok(container) = self.container(container) else {
            return KILLED;
        };
        match container.watcher.ending().await {
            Ending::Code(code) => code,
            Ending::NotStarted(_) | Ending::Lost => KILLED,
        }
    }

    /// Replaces the files of a ConfigMap or Secret volume in one step, seen by running containers.
    ///
    /// Mounts of a single file (`sub_path`) keep what they had, as in Kubernetes.
    ///
    /// # Errors
    /// The volume does not exist, is not made of files, or the disk refuses.
    pub fn replace_files(
        &self,
        volume: &str,
        files: &BTreeMap<String, Vec<u8>>,
    ) -> anyhow::Result<()> {
        self.inner.volumes.replace(volume, files)
    }

    fn container(&self, name: &str) -> anyhow::Result<Container> {
        let containers = self.inner.containers();
        containers
            .get(name)
            .cloned()
            .with_context(|| format!("container {name} is not running"))
    }
}

impl PodInner {
    fn containers(&self) -> MutexGuard<'_, HashMap<String, Container>> {
        self.containers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn forget_name(&self) {
        if let Err(error) =
            self.runtime
                .names()
                .remove_pod(&self.namespace, &self.name, self.address)
        {
            tracing::warn!(
                pod = self.name,
                error = format!("{error:#}"),
                "failed to forget the name of a pod"
            );
        }
    }
}

impl Drop for PodInner {
    fn drop(&mut self) {
        let order = Order::StopPod {
            pod: self.number,
            grace_milliseconds: 0,
        };
        // If it was stopped already this changes nothing, and without a helper there is no pod.
        let _nobody_waits = self.runtime.link.post(order, &[]);
        self.forget_name();
        self.runtime.addresses().give_back(self.address);
    }
}

fn log_path(folder: &Path, container: &str) -> PathBuf {
    folder.join("logs").join(format!("{container}.log"))
}

/// Everyone may write to a log, since a program may open `/dev/stdout` anew as another user; the
/// folders around it keep others out.
fn open_log(path: &Path) -> anyhow::Result<OwnedFd> {
    use std::os::unix::fs::PermissionsExt;
    let file = fs_err::OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o666)
        .open(path)?;
    file.set_permissions(std::fs::Permissions::from_mode(0o666))?;
    Ok(file.into_parts().0.into())
}
