//! Readiness probes. `exec` runs as it is; `tcpSocket` and `httpGet` are tried as a connection
//! from inside the pod, because nothing outside can reach a pod's network. Liveness probes are not
//! carried out.

use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncReadExt;

use crate::document;
use crate::pods::ExecStatus;
use crate::runtime::RunningPod;

/// A probe, parsed.
#[derive(Debug, Clone)]
pub(crate) struct Probe {
    command: Vec<String>,
    pub(crate) initial_delay: Duration,
    pub(crate) period: Duration,
    timeout: Duration,
    pub(crate) failure_threshold: u32,
}

impl Probe {
    /// The readiness probe of a container, if it has one that can be carried out.
    pub(crate) fn of(container: &Value) -> Option<Self> {
        let probe = container.get("readinessProbe")?;
        let port = probe
            .pointer("/tcpSocket/port")
            .or_else(|| probe.pointer("/httpGet/port"));
        let mut command = document::texts(probe, "/exec/command");
        if command.is_empty() {
            let port = port_number(container, port?)?;
            let connect = format!("exec 3<>/dev/tcp/127.0.0.1/{port}");
            command = vec!["bash".to_owned(), "-c".to_owned(), connect];
        }
        let seconds = |pointer: &str, default: i64| {
            let seconds = document::number(probe, pointer).unwrap_or(default);
            Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
        };
        let threshold = document::number(probe, "/failureThreshold").unwrap_or(3);
        Some(Self {
            command,
            initial_delay: seconds("/initialDelaySeconds", 0),
            period: seconds("/periodSeconds", 10).max(Duration::from_secs(1)),
            timeout: seconds("/timeoutSeconds", 1).max(Duration::from_secs(1)),
            failure_threshold: u32::try_from(threshold).unwrap_or(3).max(1),
        })
    }

    /// Tries once.
    pub(crate) async fn succeeds(&self, pod: &dyn RunningPod, container: &str) -> bool {
        tokio::time::timeout(self.timeout, self.attempt(pod, container))
            .await
            .unwrap_or(false)
    }

    async fn attempt(&self, pod: &dyn RunningPod, container: &str) -> bool {
        let Ok(mut running) = pod.exec(container, self.command.clone(), false).await else {
            return false;
        };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        // What a probe prints does not matter, but a probe whose output is not read may die of it.
        let (_out, _err, status) = tokio::join!(
            running.stdout.read_to_end(&mut out),
            running.stderr.read_to_end(&mut err),
            running.status,
        );
        matches!(status, ExecStatus::Code(0))
    }
}

fn port_number(container: &Value, port: &Value) -> Option<i64> {
    port.as_i64().or_else(|| {
        document::items(container, "/ports")
            .iter()
            .find(|known| known.get("name") == Some(port))
            .and_then(|known| document::number(known, "/containerPort"))
    })
}
