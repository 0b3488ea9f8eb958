//! The runtime of one cluster: what starts pods and what they share.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};

use super::link::Link;
use super::names::{Addresses, Names};
use super::pod::Pod;
use super::spec::PodSpec;
use super::wire::Ground;

/// Where a runtime works and what its pods are made of.
#[derive(Debug, Clone)]
pub struct RuntimeOptions {
    /// A folder for this cluster alone, made if missing: logs, service names, volumes that end
    /// with their pod.
    pub state: PathBuf,
    /// The unpacked server packages, laid over the host's: `usr`, and `etc` and `var` if any.
    pub layer: PathBuf,
    /// The program that calls `helper_main` first; the running program if not given.
    pub helper: Option<PathBuf>,
}

/// Starts and ends pods as Linux namespaces. One for each cluster; clones are the same runtime.
///
/// When the last clone and the last pod are dropped, or the process ends in whatever way, every
/// pod ends and no process and no mount is left.
#[derive(Debug, Clone)]
pub struct Runtime {
    inner: Arc<Inner>,
}

/// What pods need from their runtime.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) link: Link,
    pub(crate) state: PathBuf,
    addresses: Mutex<Addresses>,
    names: Mutex<Names>,
}

impl Runtime {
    /// Starts the helper process, which makes a private network that no way leads out of.
    ///
    /// # Errors
    /// The machine allows neither root's way nor user namespaces, the layer has no `usr`, or the
    /// helper program is none. Blocks for some milliseconds.
    pub fn new(options: RuntimeOptions) -> anyhow::Result<Self> {
        fs_err::create_dir_all(&options.state)?;
        let state = fs_err::canonicalize(&options.state)?;
        let layer = fs_err::canonicalize(&options.layer)
            .context("failed to find the layer of server packages")?;
        ensure!(
            layer.join("usr").is_dir(),
            "the layer `{}` has no folder `usr`",
            layer.display()
        );
        check_overlay_path(&state)?;
        check_overlay_path(&layer)?;
        let helper = match options.helper {
            Some(helper) => helper,
            None => std::env::current_exe().context("failed to find the running program")?,
        };
        let stage = state.join("stage");
        fs_err::create_dir_all(&stage)?;
        fs_err::create_dir_all(state.join("pods"))?;
        let names = Mutex::new(Names::new(state.join("names")));
        let link = Link::open(&helper, Ground { layer, stage })?;
        let addresses = Mutex::new(Addresses::new());
        Ok(Self {
            inner: Arc::new(Inner {
                link,
                state,
                addresses,
                names,
            }),
        })
    }

    /// Starts a pod; returns when the main programs of its containers run.
    ///
    /// # Errors
    /// In the words of a container runtime, if a program does not exist or a volume cannot be
    /// mounted. Nothing of the pod is left then but its logs.
    pub async fn start(&self, spec: PodSpec) -> anyhow::Result<Pod> {
        let containers = spec.containers.clone();
        let pod = Pod::create(Arc::clone(&self.inner), spec).await?;
        for container in containers {
            let name = container.name.clone();
            if let Err(error) = pod.start_container(container).await {
                pod.stop(Duration::ZERO).await;
                return Err(error.context(format!("failed to start container `{name}`")));
            }
        }
        Ok(pod)
    }

    /// Says which names the pods of a Kubernetes namespace resolve, besides their own.
    ///
    /// Replaces what was said before; running pods see it at once.
    pub fn set_hosts(&self, namespace: &str, entries: Vec<(String, IpAddr)>) {
        if let Err(error) = self.inner.names().set_services(namespace, entries) {
            tracing::warn!(
                namespace,
                error = format!("{error:#}"),
                "failed to write the names of the services"
            );
        }
    }

    /// Ends all pods at once and waits until every process of theirs is gone.
    pub async fn shutdown(&self) {
        let inner = Arc::clone(&self.inner);
        // Joining a thread and a process blocks, though only for a moment.
        if let Err(error) = tokio::task::spawn_blocking(move || inner.link.close()).await {
            tracing::warn!(%error, "failed to wait for the end of the pods");
        }
    }
}

impl Inner {
    pub(crate) fn addresses(&self) -> MutexGuard<'_, Addresses> {
        self.addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The options of an overlay are one text in which these have a meaning of their own.
fn check_overlay_path(path: &Path) -> anyhow::Result<()> {
    let text = path
        .to_str()
        .with_context(|| format!("the path `{}` is not UTF-8", path.display()))?;
    ensure!(
        !text.contains([':', ',', '\\']),
        "the path `{text}` has a `:`, `,` or `\\` in it"
    );
    Ok(())
}
