//! A local cluster as a process of its own, for tests and the demo. Dropping it ends the process,
//! every pod, and the folder that it made; so does the death of the process that started it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::client::Client;
use crate::document;

/// How long the process may take to end its pods before it is killed: their grace is 30 s.
const PATIENCE: Duration = Duration::from_secs(60);

/// What to start.
#[derive(Debug, Clone)]
pub struct Options {
    /// The binary `local-cluster`.
    pub binary: PathBuf,
    /// The unpacked server packages.
    pub layer: PathBuf,
    /// Where volumes and logs live; a temporary folder if not given.
    pub state: Option<PathBuf>,
    /// Folders of initialised volumes, each with the name of the claim that it is for.
    pub templates: Option<PathBuf>,
    /// Where to keep the volumes as templates when the cluster ends. Its workloads are then ended
    /// in good order first.
    pub save_templates: Option<PathBuf>,
    /// The namespace of the kubeconfig's context.
    pub namespace: String,
}

/// Why a local cluster did not start, or could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder for its state could not be made.
    #[error("failed to make a folder for the local cluster")]
    Folder(#[source] std::io::Error),
    /// The binary could not be started.
    #[error("failed to start `{binary}`")]
    Start {
        /// The binary.
        binary: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The process ended before it was ready; its words are on standard error.
    #[error("`{binary}` ended before it was ready")]
    NotReady {
        /// The binary.
        binary: PathBuf,
    },
    /// The kubeconfig that the process wrote cannot be used.
    #[error("failed to use the kubeconfig `{path}` of the local cluster")]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// Why.
        source: anyhow::Error,
    },
}

/// A running local cluster.
#[derive(Debug)]
pub struct Cluster {
    process: Child,
    kubeconfig: PathBuf,
    url: String,
    client: Client,
    state: PathBuf,
    _folder: Option<TempDir>,
}

impl Cluster {
    /// Starts a cluster and waits until it answers. Blocks for well under a second.
    ///
    /// # Errors
    /// If the binary cannot be started or ends early.
    pub fn start(options: Options) -> Result<Self, Error> {
        let (folder, state) = match options.state {
            Some(state) => (None, state),
            None => {
                let folder = tempfile::Builder::new()
                    .prefix("local-cluster-")
                    .tempdir()
                    .map_err(Error::Folder)?;
                let state = folder.path().to_owned();
                (Some(folder), state)
            }
        };
        let binary = options.binary;
        let mut command = Command::new(&binary);
        command.args(["serve", "--lifeline", "--namespace", &options.namespace]);
        command
            .arg("--state")
            .arg(&state)
            .arg("--layer")
            .arg(&options.layer);
        if let Some(templates) = &options.templates {
            command.arg("--templates").arg(templates);
        }
        if let Some(templates) = &options.save_templates {
            command.arg("--save-templates").arg(templates);
        }
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|source| Error::Start {
                binary: binary.clone(),
                source,
            })?;
        let mut line = String::new();
        let read = process
            .stdout
            .take()
            .map(|out| BufReader::new(out).read_line(&mut line));
        let ready: Value = serde_json::from_str(&line).unwrap_or_default();
        let kubeconfig = PathBuf::from(document::text(&ready, "/kubeconfig"));
        if !matches!(read, Some(Ok(_))) || kubeconfig.as_os_str().is_empty() {
            end(&mut process);
            return Err(Error::NotReady { binary });
        }
        match connect(&kubeconfig) {
            Ok(client) => {
                let url = document::text(&ready, "/url").to_owned();
                Ok(Self {
                    process,
                    kubeconfig,
                    url,
                    client,
                    state,
                    _folder: folder,
                })
            }
            Err(source) => {
                end(&mut process);
                Err(Error::Kubeconfig {
                    path: kubeconfig,
                    source,
                })
            }
        }
    }

    /// The kubeconfig file; it goes with the cluster.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The address of the API, such as `https://127.0.0.1:41234`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A client for single requests and for the faults; see [`Client::set_fault`].
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The process id of the server, which is what a test that kills it needs.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// The folder of a bound claim on this machine. A look into it needs the rights of its owner.
    #[must_use]
    pub fn claim_folder(&self, namespace: &str, claim: &str) -> Option<PathBuf> {
        let path = format!("/api/v1/namespaces/{namespace}/persistentvolumeclaims/{claim}");
        let answer = self.client.send("GET", &path, None).ok()?;
        let volume = document::text(&answer.body, "/spec/volumeName");
        (!volume.is_empty()).then(|| self.state.join("volumes").join(volume))
    }

    /// Ends the cluster and waits for it; dropping does the same.
    pub fn stop(self) {}
}

impl Drop for Cluster {
    fn drop(&mut self) {
        end(&mut self.process);
    }
}

fn connect(kubeconfig: &Path) -> anyhow::Result<Client> {
    let config: Value = serde_json::from_slice(&fs_err::read(kubeconfig)?)?;
    let url = document::text(&config, "/clusters/0/cluster/server");
    let address: SocketAddr = url.trim_start_matches("https://").parse()?;
    let authority = document::text(&config, "/clusters/0/cluster/certificate-authority-data");
    let authority = String::from_utf8(STANDARD.decode(authority)?)?;
    Client::new(
        address,
        &authority,
        document::text(&config, "/users/0/user/token"),
    )
}

/// Asks the process to end its pods and itself, and insists after a while.
fn end(process: &mut Child) {
    drop(process.stdin.take());
    let asked = i32::try_from(process.id()).map(|id| kill(Pid::from_raw(id), Signal::SIGTERM));
    let deadline = Instant::now() + PATIENCE;
    while asked.is_ok() && Instant::now() < deadline {
        match process.try_wait() {
            Ok(Some(_)) => return,
            Ok(None) => std::thread::park_timeout(Duration::from_millis(10)),
            Err(_) => break,
        }
    }
    // The pods' first processes hold a lifeline of their own and follow.
    let _killed = process.kill();
    let _reaped = process.wait();
}
