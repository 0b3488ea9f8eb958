//! What the controllers need of whatever runs the pods, so that the API can be tried with another
//! runtime than Linux namespaces. The trait knows nothing of Kubernetes objects.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::pods::{ContainerSpec, ExecStatus, Pod, PodSpec, Runtime};

/// Starts pods.
#[async_trait]
pub trait ContainerRuntime: fmt::Debug + Send + Sync {
    /// Starts a pod; returns when the main processes of its containers run.
    async fn start(&self, spec: PodSpec) -> anyhow::Result<Arc<dyn RunningPod>>;
    /// Replaces the names that pods of a namespace resolve.
    fn set_hosts(&self, namespace: &str, entries: Vec<(String, IpAddr)>);
    /// Ends every pod.
    async fn shutdown(&self);
}

/// A pod that was started.
#[async_trait]
pub trait RunningPod: Send + Sync {
    /// Its address.
    fn ip(&self) -> IpAddr;
    /// Starts a container again, or an init container.
    async fn start_container(&self, spec: ContainerSpec) -> anyhow::Result<()>;
    /// Starts a command beside a container's main process.
    async fn exec(
        &self,
        container: &str,
        command: Vec<String>,
        stdin: bool,
    ) -> anyhow::Result<RunningCommand>;
    /// Ends the pod: TERM, and after the grace KILL.
    async fn stop(&self, grace: Duration);
    /// The file that a container's main process writes to.
    fn logs(&self, container: &str) -> PathBuf;
    /// The exit code of a container's main process, when it has ended.
    async fn exited(&self, container: &str) -> i32;
}

/// A command of an exec. It lives on when this is dropped.
pub struct RunningCommand {
    /// Standard input; dropping it is end of file.
    pub stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    /// Standard output.
    pub stdout: Box<dyn AsyncRead + Send + Unpin>,
    /// Standard error.
    pub stderr: Box<dyn AsyncRead + Send + Unpin>,
    /// Resolves when the command has ended.
    pub status: BoxFuture<'static, ExecStatus>,
}

impl fmt::Debug for RunningCommand {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RunningCommand")
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl ContainerRuntime for Runtime {
    async fn start(&self, spec: PodSpec) -> anyhow::Result<Arc<dyn RunningPod>> {
        Ok(Arc::new(Self::start(self, spec).await?))
    }

    fn set_hosts(&self, namespace: &str, entries: Vec<(String, IpAddr)>) {
        Self::set_hosts(self, namespace, entries);
    }

    async fn shutdown(&self) {
        Self::shutdown(self).await;
    }
}

#[async_trait]
impl RunningPod for Pod {
    fn ip(&self) -> IpAddr {
        Self::ip(self)
    }

    async fn start_container(&self, spec: ContainerSpec) -> anyhow::Result<()> {
        Self::start_container(self, spec).await
    }

    async fn exec(
        &self,
        container: &str,
        command: Vec<String>,
        stdin: bool,
    ) -> anyhow::Result<RunningCommand> {
        let mut exec = Self::exec(self, container, command, stdin).await?;
        let waiter = exec.status_handle();
        let stdin = exec.stdin.take();
        Ok(RunningCommand {
            stdin: stdin.map(|stdin| Box::new(stdin) as Box<dyn AsyncWrite + Send + Unpin>),
            stdout: Box::new(exec.stdout),
            stderr: Box::new(exec.stderr),
            status: Box::pin(async move { waiter.wait().await }),
        })
    }

    async fn stop(&self, grace: Duration) {
        Self::stop(self, grace).await;
    }

    fn logs(&self, container: &str) -> PathBuf {
        Self::logs(self, container)
    }

    async fn exited(&self, container: &str) -> i32 {
        Self::exited(self, container).await
    }
}
