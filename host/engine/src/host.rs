//! What the engine asks of its owner: the trait [`Host`] and the handles that cross it.
//!
//! The engine knows nothing of Kubernetes or disks. Every call here has already been checked
//! against the module's manifest (names exist, holes are filled and typed); whether *policy* allows
//! it is for the implementer to decide, call by call.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cofferdam_policy::name::{
    ArtifactName, DataKey, GroupName, ObjectName, PathName, RoleName, TemplateName,
};
use cofferdam_policy::request::Value;

use crate::manifest::Command;

/// Why the host did not do what a module asked: what the guest is told.
///
/// The texts reach an untrusted guest: they name no secret and nothing beyond the guest's scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// Policy does not allow it.
    #[error("{message}")]
    Denied {
        /// The action of the policy, such as `run-command`.
        capability: String,
        /// The rule that decided.
        rule: String,
        /// What it was asked for.
        subject: String,
        /// The whole sentence.
        message: String,
    },
    /// The named thing does not exist.
    #[error("{0}")]
    NotFound(String),
    /// The thing is there already, or was changed meanwhile.
    #[error("{0}")]
    Conflict(String),
    /// The request makes no sense: the module's or the site's fault.
    #[error("{0}")]
    Invalid(String),
    /// It took too long.
    #[error("{0}")]
    TimedOut(String),
    /// The run is being cancelled.
    #[error("the run is cancelled")]
    Cancelled,
    /// Something outside is not there now; the same call may succeed later.
    #[error("{message}")]
    Unavailable {
        /// Stable slug, such as `api-unavailable`.
        code: &'static str,
        /// The sentence.
        message: String,
    },
    /// Something outside failed.
    #[error("{message}")]
    Failed {
        /// Stable slug, such as `stream-cut`.
        code: &'static str,
        /// The sentence.
        message: String,
    },
}

/// Bytes coming in.
#[async_trait]
pub trait Source: Send {
    /// The next bytes, never empty. `None` is the *proven* end; a cut stream is an error.
    async fn next(&mut self) -> Result<Option<Bytes>, HostError>;
}

/// Bytes going out.
#[async_trait]
pub trait Sink: Send {
    /// Writes all of `bytes`, waiting where the other side is slow.
    async fn write(&mut self, bytes: Bytes) -> Result<(), HostError>;

    /// Ends it properly: all has been written.
    ///
    /// The stdin of a command that is dropped without this was cut, and the command must be given
    /// up: half an input must never be taken for a whole one. Artifacts and files end by
    /// [`ArtifactSink::commit`] and [`FileSink::finish`] instead and never see this call.
    async fn close(self: Box<Self>) -> Result<(), HostError> {
        Ok(())
    }
}

/// An artifact being written. Dropped without [`commit`](Self::commit) it never existed.
#[async_trait]
pub trait ArtifactSink: Sink {
    /// Makes the artifact exist, with its evidence beside it.
    async fn commit(self: Box<Self>, evidence: Vec<(String, String)>) -> Result<(), HostError>;
}

/// A file being written beside its place.
#[async_trait]
pub trait FileSink: Sink {
    /// Renames it into place.
    async fn finish(self: Box<Self>) -> Result<(), HostError>;
}

/// A command that runs in a pod. Dropping it gives it up.
#[async_trait]
pub trait Process: Send {
    /// The way in, once; `None` when taken or when the manifest says `stdin = "none"`.
    fn take_stdin(&mut self) -> Option<Box<dyn Sink>>;
    /// The way out, once. Its end is proven by the exit status.
    fn take_stdout(&mut self) -> Option<Box<dyn Source>>;
    /// Closes stdin if it was never taken, drains what was not read, waits for the exit status.
    async fn wait(self: Box<Self>) -> Result<Outcome, HostError>;
    /// Gives the command up.
    async fn kill(self: Box<Self>) -> Result<(), HostError>;
}

/// How a command ended. A non-zero exit code is data, not an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The exit code; 128 + n for signal n.
    pub exit_code: i32,
    /// Captured standard error: the last bytes of it, control characters removed.
    pub stderr: String,
    /// Whether standard error was longer than what is kept.
    pub stderr_cut: bool,
}

/// A target as a module may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetView {
    /// Such as `Deployment`.
    pub kind: String,
    /// The workload's name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
}

/// One pod of a target, found by the host. Names the pod; the role says whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PodId {
    /// The role of the manifest.
    pub role: RoleName,
    /// The pod's name.
    pub name: String,
    /// The pod's uid, so that a namesake is never taken for it.
    pub uid: String,
}

/// A command of the manifest with its holes filled.
#[derive(Debug, Clone)]
pub struct Invocation<'a> {
    /// The command as declared: environment, stdin, stdout, timeout.
    pub command: &'a Command,
    /// The filled command line.
    pub argv: Vec<String>,
    /// The filled script where `stdin = "template"`.
    pub script: Option<String>,
    /// The values of the holes.
    pub holes: BTreeMap<String, Value>,
}

/// What is known of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metadata {
    /// Bytes.
    pub size: u64,
    /// Mode bits as `stat` gives them.
    pub mode: u32,
    /// Seconds since 1970.
    pub modified: u64,
}

/// What was saved or loaded of a tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TreeSummary {
    /// Regular files.
    pub files: u64,
    /// Folders.
    pub folders: u64,
    /// Symbolic links.
    pub links: u64,
    /// Bytes of the files.
    pub bytes: u64,
    /// Files that were there already and the same.
    pub unchanged: u64,
    /// Entries that were removed.
    pub removed: u64,
    /// Room to grow.
    pub details: Vec<(String, String)>,
}

/// How a tree is loaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// Remove what the artifact does not have.
    pub delete_extraneous: bool,
    /// Leave files that are newer in the pod.
    pub keep_newer: bool,
    /// Set owner and group as saved.
    pub keep_owner: bool,
}

/// What the manifest of a module did not allow: nothing happened. For the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The action of the policy, such as `run-command`.
    pub capability: &'static str,
    /// What it was asked for, without control characters and at most 300 bytes.
    pub subject: String,
    /// The sentence that the module was told.
    pub message: String,
}

/// What to do with an object that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenPresent {
    /// Leave it.
    Keep,
    /// Make it like the saved one.
    Replace,
    /// Fail when it differs.
    Fail,
}

/// What became of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// `Kind/name`.
    pub name: String,
    /// `created`, `equal`, `replaced`, `kept` or `refused`.
    pub result: &'static str,
    /// Why, where that helps.
    pub details: Vec<(String, String)>,
}

/// What became of a template. Never a value of a parameter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Processed {
    /// What became of each object that it made.
    pub objects: Vec<Loaded>,
    /// The names of its parameters and how each was filled: `filled`, `missing`, `unnamed`,
    /// `generated` or `unknown`.
    pub parameters: Vec<(String, &'static str)>,
}

/// A lease that is held. The number is the host's; it means nothing elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LeaseId(pub u64);

/// What a module asks to be changed for a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseRequest {
    /// Another number of replicas for a target's workload.
    Scale {
        /// The role.
        role: RoleName,
        /// The number.
        replicas: u32,
    },
    /// Other values for keys of a ConfigMap of a group.
    EditObject {
        /// The group of the manifest.
        group: GroupName,
        /// The object.
        name: ObjectName,
        /// Keys and values.
        changes: BTreeMap<DataKey, String>,
    },
}

/// What an earlier run left of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepState {
    /// Never begun.
    Fresh,
    /// Begun and not finished.
    Interrupted,
    /// Finished.
    Done,
}

/// How loud a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For the author of the module.
    Debug,
    /// What happens.
    Info,
    /// Something a person should look at.
    Warn,
    /// Something failed.
    Error,
}

/// The key of evidence that seals an artifact: its contents never enter a guest, a command or
/// another artifact; the module may have it examined, and objects loaded from it.
///
/// A host commits what [`Host::save_objects`] makes with this key and the value `objects`, because
/// Secrets may be in it. Modules cannot give it.
pub const SEALED: &str = "sealed";

/// Everything a module can reach, implemented by the owner of the engine.
///
/// One value serves one call of one module (`backup`, `restore` or `verify`) for one data set.
#[async_trait]
pub trait Host: Send + Sync + fmt::Debug {
    /// The workload bound to `role`. For an optional role without one: code `not-bound`.
    async fn target(&self, role: &RoleName) -> Result<TargetView, HostError>;
    /// The one ready pod of the role. None or several is an error.
    async fn ready_pod(&self, role: &RoleName) -> Result<PodId, HostError>;
    /// All pods of the role that are ready.
    async fn pods(&self, role: &RoleName) -> Result<Vec<PodId>, HostError>;

    /// Starts a command in a pod.
    async fn start(
        &self,
        pod: &PodId,
        invocation: Invocation<'_>,
    ) -> Result<Box<dyn Process>, HostError>;

    /// Size, mode and time of a declared path; `None` when nothing is there.
    async fn stat(&self, pod: &PodId, path: &PathName) -> Result<Option<Metadata>, HostError>;
    /// Reads a declared file.
    async fn read_file(&self, pod: &PodId, path: &PathName) -> Result<Box<dyn Source>, HostError>;
    /// Writes a declared file, beside its place until `finish`.
    async fn write_file(
        &self,
        pod: &PodId,
        path: &PathName,
    ) -> Result<Box<dyn FileSink>, HostError>;
    /// Renames one declared path to another.
    async fn rename(&self, pod: &PodId, path: &PathName, to: &PathName) -> Result<(), HostError>;
    /// Removes a declared path; no error when nothing is there.
    async fn remove(&self, pod: &PodId, path: &PathName) -> Result<(), HostError>;
    /// Saves a declared folder as one artifact.
    async fn save_tree(
        &self,
        _pod: &PodId,
        _path: &PathName,
        _artifact: &ArtifactName,
    ) -> Result<TreeSummary, HostError> {
        Err(no_trees())
    }
    /// Loads an artifact that [`save_tree`](Self::save_tree) made into a declared folder. `only` are relative paths that
    /// were not looked at; empty means all.
    async fn load_tree(
        &self,
        _pod: &PodId,
        _artifact: &ArtifactName,
        _path: &PathName,
        _options: LoadOptions,
        _only: &[String],
    ) -> Result<TreeSummary, HostError> {
        Err(no_trees())
    }

    /// Saves the objects of a group, scrubbed, as one artifact with the evidence [`SEALED`]. Returns `Kind/name` of each, and
    /// of each that is missing with ` (missing)` behind it.
    async fn save_objects(
        &self,
        group: &GroupName,
        artifact: &ArtifactName,
    ) -> Result<Vec<String>, HostError>;
    /// Brings the objects of an artifact back.
    async fn load_objects(
        &self,
        artifact: &ArtifactName,
        present: WhenPresent,
    ) -> Result<Vec<Loaded>, HostError>;
    /// Fills the parameters of a declared template from the Secrets and ConfigMaps that the manifest
    /// names, lets the cluster process the Template of an artifact, and brings its objects into the
    /// cluster.
    async fn process_template(
        &self,
        _template: &TemplateName,
        _artifact: &ArtifactName,
        _present: WhenPresent,
    ) -> Result<Processed, HostError> {
        Err(HostError::Failed {
            code: "not-supported",
            message: "this host cannot process templates".to_owned(),
        })
    }
    /// One object as JSON. Refused for Secrets.
    async fn get_object(&self, group: &GroupName, name: &ObjectName) -> Result<String, HostError>;
    /// Applies an object. Refused for Secrets and for anything that the group does not name.
    async fn apply_object(&self, group: &GroupName, manifest: &str) -> Result<(), HostError>;
    /// Waits for a condition of an object, such as `Available`.
    async fn wait_for_object(
        &self,
        group: &GroupName,
        name: &ObjectName,
        condition: &str,
        timeout: Duration,
    ) -> Result<(), HostError>;

    /// Replaces the pods of the role's workload.
    async fn restart(&self, role: &RoleName) -> Result<(), HostError>;
    /// Waits until the newest generation of the role's workload is rolled out.
    async fn wait_rollout(&self, role: &RoleName, timeout: Duration) -> Result<(), HostError>;
    /// The wanted number of replicas.
    async fn replicas(&self, role: &RoleName) -> Result<u32, HostError>;
    /// Sets the wanted number of replicas for good.
    async fn set_replicas(&self, role: &RoleName, replicas: u32) -> Result<(), HostError>;
    /// Refuses every later change of the pods of the role's workload in this run, for this reason.
    async fn guard(&self, role: &RoleName, reason: &str) -> Result<(), HostError>;

    /// Makes a temporary change. The host puts it back whatever happens.
    async fn take_lease(&self, request: LeaseRequest) -> Result<LeaseId, HostError>;
    /// Puts a temporary change back now.
    async fn release_lease(&self, lease: LeaseId) -> Result<(), HostError>;

    /// Begins an artifact of this data set.
    async fn create_artifact(
        &self,
        name: &ArtifactName,
        media_type: &str,
    ) -> Result<Box<dyn ArtifactSink>, HostError>;
    /// Reads an artifact of the snapshot that is restored or verified.
    async fn open_artifact(&self, name: &ArtifactName) -> Result<Box<dyn Source>, HostError>;
    /// The artifacts of the snapshot that is restored or verified.
    async fn list_artifacts(&self) -> Result<Vec<ArtifactName>, HostError>;
    /// The evidence kept beside an artifact.
    async fn evidence(&self, name: &ArtifactName) -> Result<Vec<(String, String)>, HostError>;

    /// Begins a named step of the journal.
    async fn begin_step(&self, name: &str) -> Result<StepState, HostError>;
    /// Ends it.
    async fn finish_step(&self, name: &str) -> Result<(), HostError>;

    /// The manifest did not allow something. Nothing happened; the module was told `denied`.
    fn refused(&self, refusal: &Refusal) {
        tracing::warn!(
            capability = refusal.capability,
            subject = refusal.subject,
            "{}",
            refusal.message
        );
    }

    /// A log line of the module, already bounded and without control characters.
    fn log(&self, level: Level, message: &str);
    /// Progress of a step; `total` where it is known; `unit` such as `bytes`.
    fn progress(&self, step: &str, done: u64, total: Option<u64>, unit: &str);

    /// Milliseconds since 1970.
    fn now(&self) -> u64;
    /// Sleeps; ends early with [`HostError::Cancelled`] when the run is cancelled.
    async fn sleep(&self, duration: Duration) -> Result<(), HostError>;
}

fn no_trees() -> HostError {
    HostError::Failed {
        code: "not-supported",
        message: "this host cannot keep folder trees".to_owned(),
    }
}
