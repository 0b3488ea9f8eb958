//! A host without a cluster: commands print what the test says, artifacts lie in memory, and
//! everything that was asked is written down.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cofferdam_engine::host::{
    ArtifactSink, FileSink, Host, HostError, Invocation, LeaseId, LeaseRequest, Level, Loaded,
    Metadata, Outcome, PodId, Process, Refusal, Sink, Source, StepState, TargetView, WhenPresent,
};
use cofferdam_policy::name::{ArtifactName, GroupName, ObjectName, PathName, RoleName};
use tokio::sync::Notify;

/// Evidence.
type Pairs = Vec<(String, String)>;

/// A fake host. Clones share everything.
#[derive(Debug, Clone, Default)]
pub(crate) struct World {
    state: Arc<Mutex<State>>,
    cancelled: Arc<Notify>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    /// What was asked, in order.
    pub(crate) calls: Vec<String>,
    /// Log lines and refusals.
    pub(crate) log: Vec<String>,
    pub(crate) progress: usize,
    pub(crate) artifacts: BTreeMap<String, (Vec<u8>, Pairs)>,
    /// What a command prints, in chunks; an error cuts it.
    pub(crate) output: Vec<Result<Bytes, HostError>>,
    /// What cuts an artifact that is read.
    pub(crate) damage: Option<HostError>,
    pub(crate) exit_code: i32,
    /// What was fed to commands, and whether the input was ended properly.
    pub(crate) fed: Vec<u8>,
    pub(crate) closed: bool,
    pub(crate) denies: Option<&'static str>,
    /// Sinks, sources and processes that exist now.
    pub(crate) open: i64,
    pub(crate) leases: Vec<LeaseId>,
    /// How much of what was written to artifacts was dropped; `None` where it is kept.
    pub(crate) discarded: Option<u64>,
}

impl World {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn printing(chunks: impl IntoIterator<Item = Result<Bytes, HostError>>) -> Self {
        let world = Self::default();
        world.state().output = chunks.into_iter().collect();
        world
    }

    pub(crate) fn with_artifact(self, name: &str, content: &[u8]) -> Self {
        self.state()
            .artifacts
            .insert(name.to_owned(), (content.to_vec(), Vec::new()));
        self
    }

    pub(crate) fn calls(&self) -> Vec<String> {
        self.state().calls.clone()
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.state().log.clone()
    }

    pub(crate) fn cancel(&self) {
        self.cancelled.notify_waiters();
    }

    fn asked(&self, what: String) -> Result<(), HostError> {
        let mut state = self.state();
        state.calls.push(what.clone());
        match state.denies {
            Some(word) if what.starts_with(word) => Err(HostError::Denied {
                capability: word.to_owned(),
                rule: "no rule permits it".to_owned(),
                subject: what.clone(),
                message: format!("policy does not allow `{what}`"),
            }),
            _ => Ok(()),
        }
    }

    fn opened(&self) -> Open {
        self.state().open += 1;
        Open(self.clone())
    }
}

/// Counts what is open.
struct Open(World);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.state().open -= 1;
    }
}

pub(crate) fn cut() -> HostError {
    HostError::Failed {
        code: "stream-cut",
        message: "the stream was cut".to_owned(),
    }
}

struct Chunks {
    chunks: VecDeque<Result<Bytes, HostError>>,
    _open: Open,
}

#[async_trait]
impl Source for Chunks {
    async fn next(&mut self) -> Result<Option<Bytes>, HostError> {
        tokio::task::yield_now().await;
        self.chunks.pop_front().transpose()
    }
}

struct Artifact {
    name: String,
    content: Vec<u8>,
    open: Open,
}

#[async_trait]
impl Sink for Artifact {
    async fn write(&mut self, bytes: Bytes) -> Result<(), HostError> {
        if let Some(discarded) = &mut self.open.0.state().discarded {
            *discarded += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            return Ok(());
        }
        self.content.extend_from_slice(&bytes);
        Ok(())
    }
}

#[async_trait]
impl ArtifactSink for Artifact {
    async fn commit(self: Box<Self>, evidence: Vec<(String, String)>) -> Result<(), HostError> {
        self.open.0.asked(format!("commit {}", self.name))?;
        let mut state = self.open.0.state();
        state
            .artifacts
            .insert(self.name.clone(), (self.content, evidence));
        drop(state);
        Ok(())
    }
}

struct Fed(Open);

#[async_trait]
impl Sink for Fed {
    async fn write(&mut self, bytes: Bytes) -> Result<(), HostError> {
        self.0.0.state().fed.extend_from_slice(&bytes);
        Ok(())
    }

    async fn close(self: Box<Self>) -> Result<(), HostError> {
        self.0.0.state().closed = true;
        Ok(())
    }
}

struct Running {
    world: World,
    feeds: bool,
    prints: bool,
    _open: Open,
}

#[async_trait]
impl Process for Running {
    fn take_stdin(&mut self) -> Option<Box<dyn Sink>> {
        std::mem::take(&mut self.feeds).then(|| Box::new(Fed(self.world.opened())) as Box<dyn Sink>)
    }

    fn take_stdout(&mut self) -> Option<Box<dyn Source>> {
        let chunks = self.world.state().output.clone().into();
        std::mem::take(&mut self.prints).then(|| {
            Box::new(Chunks {
                chunks,
                _open: self.world.opened(),
            }) as Box<dyn Source>
        })
    }

    async fn wait(self: Box<Self>) -> Result<Outcome, HostError> {
        self.world.asked("wait".to_owned())?;
        let exit_code = self.world.state().exit_code;
        Ok(Outcome {
            exit_code,
            stderr: "what it said".to_owned(),
            stderr_cut: false,
        })
    }

    async fn kill(self: Box<Self>) -> Result<(), HostError> {
        self.world.asked("kill".to_owned())
    }
}

#[async_trait]
impl Host for World {
    async fn target(&self, role: &RoleName) -> Result<TargetView, HostError> {
        self.asked(format!("target {role}"))?;
        Ok(TargetView {
            kind: "Deployment".to_owned(),
            name: "db".to_owned(),
            namespace: "ns".to_owned(),
        })
    }

    async fn ready_pod(&self, role: &RoleName) -> Result<PodId, HostError> {
        Ok(PodId {
            role: role.clone(),
            name: "db-0".to_owned(),
            uid: "1".to_owned(),
        })
    }

    async fn pods(&self, role: &RoleName) -> Result<Vec<PodId>, HostError> {
        Ok(vec![self.ready_pod(role).await?])
    }

    async fn start(
        &self,
        _pod: &PodId,
        invocation: Invocation<'_>,
    ) -> Result<Box<dyn Process>, HostError> {
        self.asked(format!("start {}", invocation.argv.join(" ")))?;
        Ok(Box::new(Running {
            world: self.clone(),
            feeds: true,
            prints: true,
            _open: self.opened(),
        }))
    }

    async fn stat(&self, _pod: &PodId, path: &PathName) -> Result<Option<Metadata>, HostError> {
        self.asked(format!("stat {path}")).map(|()| None)
    }

    async fn read_file(&self, _pod: &PodId, path: &PathName) -> Result<Box<dyn Source>, HostError> {
        self.asked(format!("read {path}"))?;
        Ok(Box::new(Chunks {
            chunks: VecDeque::new(),
            _open: self.opened(),
        }))
    }

    async fn write_file(
        &self,
        _pod: &PodId,
        path: &PathName,
    ) -> Result<Box<dyn FileSink>, HostError> {
        self.asked(format!("write {path}"))?;
        Err(cut())
    }

    async fn rename(&self, _pod: &PodId, path: &PathName, to: &PathName) -> Result<(), HostError> {
        self.asked(format!("rename {path} {to}"))
    }

    async fn remove(&self, _pod: &PodId, path: &PathName) -> Result<(), HostError> {
        self.asked(format!("remove {path}"))
    }

    async fn save_objects(
        &self,
        group: &GroupName,
        artifact: &ArtifactName,
    ) -> Result<Vec<String>, HostError> {
        self.asked(format!("save {group} {artifact}"))
            .map(|()| Vec::new())
    }

    async fn load_objects(
        &self,
        artifact: &ArtifactName,
        _present: WhenPresent,
    ) -> Result<Vec<Loaded>, HostError> {
        self.asked(format!("load {artifact}")).map(|()| Vec::new())
    }

    async fn get_object(&self, group: &GroupName, name: &ObjectName) -> Result<String, HostError> {
        self.asked(format!("get {group} {name}"))
            .map(|()| "{}".to_owned())
    }

    async fn apply_object(&self, group: &GroupName, _manifest: &str) -> Result<(), HostError> {
        self.asked(format!("apply {group}"))
    }

    async fn wait_for_object(
        &self,
        group: &GroupName,
        name: &ObjectName,
        _: &str,
        _: Duration,
    ) -> Result<(), HostError> {
        self.asked(format!("wait {group} {name}"))
    }

    async fn restart(&self, role: &RoleName) -> Result<(), HostError> {
        self.asked(format!("restart {role}"))
    }

    async fn wait_rollout(&self, role: &RoleName, _: Duration) -> Result<(), HostError> {
        self.asked(format!("wait-rollout {role}"))
    }

    async fn replicas(&self, role: &RoleName) -> Result<u32, HostError> {
        self.asked(format!("replicas {role}")).map(|()| 1)
    }

    async fn set_replicas(&self, role: &RoleName, replicas: u32) -> Result<(), HostError> {
        self.asked(format!("set-replicas {role} {replicas}"))
    }

    async fn guard(&self, role: &RoleName, reason: &str) -> Result<(), HostError> {
        self.asked(format!("guard {role} {reason}"))
    }

    async fn take_lease(&self, request: LeaseRequest) -> Result<LeaseId, HostError> {
        let what = match request {
            LeaseRequest::Scale { role, replicas } => format!("lease {role} {replicas}"),
            LeaseRequest::EditObject {
                group,
                name,
                changes,
            } => format!("lease {group} {name} {changes:?}"),
        };
        self.asked(what)?;
        let mut state = self.state();
        let lease = LeaseId(u64::try_from(state.leases.len()).unwrap_or(u64::MAX) + 7);
        state.leases.push(lease);
        Ok(lease)
    }

    async fn release_lease(&self, lease: LeaseId) -> Result<(), HostError> {
        self.asked(format!("release {}", lease.0))?;
        self.state().leases.retain(|held| *held != lease);
        Ok(())
    }

    async fn create_artifact(
        &self,
        name: &ArtifactName,
        media_type: &str,
    ) -> Result<Box<dyn ArtifactSink>, HostError> {
        self.asked(format!("create {name} {media_type}"))?;
        Ok(Box::new(Artifact {
            name: name.to_string(),
            content: Vec::new(),
            open: self.opened(),
        }))
    }

    async fn open_artifact(&self, name: &ArtifactName) -> Result<Box<dyn Source>, HostError> {
        self.asked(format!("open {name}"))?;
        let state = self.state();
        let (content, _) = state
            .artifacts
            .get(name.as_str())
            .ok_or_else(|| HostError::NotFound(format!("there is no artifact `{name}`")))?;
        let mut chunks: VecDeque<_> = content
            .chunks(10)
            .map(|chunk| Ok(Bytes::copy_from_slice(chunk)))
            .collect();
        if let Some(damage) = &state.damage {
            chunks.push_back(Err(damage.clone()));
        }
        drop(state);
        Ok(Box::new(Chunks {
            chunks,
            _open: self.opened(),
        }))
    }

    async fn list_artifacts(&self) -> Result<Vec<ArtifactName>, HostError> {
        Ok(self
            .state()
            .artifacts
            .keys()
            .filter_map(|name| ArtifactName::parse(name).ok())
            .collect())
    }

    async fn evidence(&self, name: &ArtifactName) -> Result<Vec<(String, String)>, HostError> {
        let state = self.state();
        let found = state
            .artifacts
            .get(name.as_str())
            .map(|(_, evidence)| evidence.clone());
        found.ok_or_else(|| HostError::NotFound(format!("there is no artifact `{name}`")))
    }

    async fn begin_step(&self, name: &str) -> Result<StepState, HostError> {
        self.asked(format!("begin {name}"))
            .map(|()| StepState::Fresh)
    }

    async fn finish_step(&self, name: &str) -> Result<(), HostError> {
        self.asked(format!("finish {name}"))
    }

    fn refused(&self, refusal: &Refusal) {
        self.state().log.push(format!(
            "refused {} {}: {}",
            refusal.capability, refusal.subject, refusal.message
        ));
    }

    fn log(&self, level: Level, message: &str) {
        self.state().log.push(format!("{level:?} {message}"));
    }

    fn progress(&self, _step: &str, _done: u64, _total: Option<u64>, _unit: &str) {
        self.state().progress += 1;
    }

    fn now(&self) -> u64 {
        0
    }

    async fn sleep(&self, duration: Duration) -> Result<(), HostError> {
        let cancelled = self.cancelled.notified();
        match tokio::time::timeout(duration, cancelled).await {
            Ok(()) => Err(HostError::Cancelled),
            Err(_) => Ok(()),
        }
    }
}
