//! What a module can ask of its host, as object-safe traits.
//!
//! They mirror `wit/` one to one and know no implementer: a guest gets the real host, a unit test
//! the fakes of [`testing`](crate::testing). No function takes a free namespace, path or command
//! line: names are those of the module's manifest.

use std::any::Any;
use std::fmt;
use std::time::Duration;

use crate::error::Result;
use crate::evidence::Evidence;

/// Values for the holes of a command. A hole that is left out takes the parameter of its name.
pub type Holes<'a> = &'a [(&'a str, &'a str)];

/// Everything that a module can reach.
pub trait Host: fmt::Debug {
    /// The workload that the site bound to `role`. For a role that is `optional` in the manifest
    /// see [`target_if_bound`](trait.Host.html#method.target_if_bound).
    ///
    /// # Errors
    /// `NotFound` when the workload does not exist, `Failed` with `not-bound` for an optional role
    /// that the site left out, `Denied`, `Unavailable`.
    fn target(&self, role: &str) -> Result<Box<dyn Target>>;

    /// Begins an artifact. It exists only after [`Sink::commit`]; dropping it is giving it up.
    ///
    /// # Errors
    /// `Conflict` when this call committed one of that name, `Failed` when the repository is full.
    fn create_artifact(&self, name: &str, media_type: &str) -> Result<Box<dyn Sink>>;
    /// Reads an artifact of the snapshot that is restored or verified.
    ///
    /// # Errors
    /// `NotFound` when the snapshot has none of that name.
    fn open_artifact(&self, name: &str) -> Result<Box<dyn Source>>;
    /// The names of the artifacts of the snapshot that is restored or verified.
    ///
    /// # Errors
    /// `Failed` when the repository cannot be read.
    fn artifacts(&self) -> Result<Vec<String>>;
    /// The evidence that was committed with an artifact.
    ///
    /// # Errors
    /// `NotFound` when the snapshot has no artifact of that name.
    fn evidence(&self, name: &str) -> Result<Evidence>;

    /// Saves the objects of a group, scrubbed, past the module. Returns `Kind/name` of each, and
    /// of each that the cluster does not have, with ` (missing)` behind it.
    ///
    /// # Errors
    /// `Denied`, `Unavailable`, and whatever stops the repository.
    fn save_objects(&self, group: &str, artifact: &str) -> Result<Vec<String>>;
    /// Brings the objects of an artifact back, past the module, and says what became of each.
    ///
    /// # Errors
    /// `NotFound` when there is no such artifact, `Denied`, `Unavailable`.
    fn load_objects(&self, artifact: &str, present: WhenPresent) -> Result<Vec<Loaded>>;
    /// Fills a template of the manifest from Secrets and ConfigMaps, lets the cluster process the
    /// Template that `artifact` holds, and brings its objects into the cluster, past the module.
    ///
    /// # Errors
    /// `Failed` with `no-value` or `kind-not-declared`: nothing was changed then. `Denied`,
    /// `Unavailable`.
    fn process_template(
        &self,
        template: &str,
        artifact: &str,
        present: WhenPresent,
    ) -> Result<Processed>;
    /// One object as JSON. Never a Secret.
    ///
    /// # Errors
    /// `NotFound` when the cluster does not have it, `Denied`.
    fn object(&self, group: &str, name: &str) -> Result<String>;
    /// Applies an object that the group names. Never a Secret.
    ///
    /// # Errors
    /// `Conflict` when somebody else owns a field, `Denied`, `Invalid`.
    fn apply_object(&self, group: &str, manifest: &str) -> Result<()>;
    /// Waits for a condition of an object, such as `Available`.
    ///
    /// # Errors
    /// `TimedOut` after `timeout`.
    fn wait_for_object(
        &self,
        group: &str,
        name: &str,
        condition: &str,
        timeout: Duration,
    ) -> Result<()>;
    /// Gives keys of a ConfigMap other values for a time. The host puts them back whatever happens.
    ///
    /// # Errors
    /// `Denied`, `Conflict` when another run holds the object.
    fn edit_object(&self, group: &str, name: &str, changes: &[(&str, &str)]) -> Result<Lease>;

    /// Begins a named step of the journal.
    ///
    /// # Errors
    /// `Failed` when the journal cannot be written: then nothing may be done.
    fn begin_step(&self, name: &str) -> Result<StepState>;
    /// Ends it.
    ///
    /// # Errors
    /// `Failed` when the journal cannot be written.
    fn finish_step(&self, name: &str) -> Result<()>;

    /// A line for the log.
    fn log(&self, level: Level, message: &str);
    /// How far a step is. `total` where it is known, `unit` such as `bytes`.
    fn progress(&self, step: &str, done: u64, total: Option<u64>, unit: &str);

    /// What the site set, or the manifest's default; `None` for what has neither.
    fn parameter(&self, name: &str) -> Option<String>;

    /// Milliseconds since 1970.
    fn now(&self) -> u64;
    /// Waits. For a condition use [`wait_until`](trait.Host.html#method.wait_until).
    ///
    /// # Errors
    /// `Cancelled` at once when the run is cancelled.
    fn sleep(&self, duration: Duration) -> Result<()>;
}

/// A workload of the cluster that plays a role of the manifest.
pub trait Target: fmt::Debug {
    /// Such as `Deployment`.
    fn kind(&self) -> String;
    /// The workload's name.
    fn name(&self) -> String;
    /// Its namespace.
    fn namespace(&self) -> String;
    /// The one ready pod.
    ///
    /// # Errors
    /// `NotFound` for none, `Conflict` for several.
    fn pod(&self) -> Result<Box<dyn Pod>>;
    /// All ready pods.
    ///
    /// # Errors
    /// `Unavailable` when the cluster does not answer.
    fn pods(&self) -> Result<Vec<Box<dyn Pod>>>;
    /// Replaces the pods. Handles of the old ones are of no use afterwards.
    ///
    /// # Errors
    /// `Denied`, `Unavailable`.
    fn restart(&self) -> Result<()>;
    /// Waits until the newest generation is rolled out and ready.
    ///
    /// # Errors
    /// `TimedOut` after `timeout`.
    fn wait_rollout(&self, timeout: Duration) -> Result<()>;
    /// The wanted number of replicas; while a lease of this run changes it, the one from before.
    ///
    /// # Errors
    /// `Unavailable` when the cluster does not answer.
    fn replicas(&self) -> Result<u32>;
    /// Sets the wanted number of replicas for good: nobody puts it back.
    ///
    /// # Errors
    /// `Denied`, `Conflict` while a lease on them is held.
    fn set_replicas(&self, replicas: u32) -> Result<()>;
    /// Lets the pods stay for the rest of the run: what would replace them is refused to every data set,
    /// with this reason. For data that a new pod would not have.
    ///
    /// # Errors
    /// `Denied`, `Conflict` while a lease on the workload is held, `Invalid` without a reason.
    fn guard(&self, reason: &str) -> Result<()>;
    /// Another number of replicas for a time. The host puts it back whatever happens.
    ///
    /// # Errors
    /// `Denied`, `Conflict` when another run holds the workload.
    fn scale_to(&self, replicas: u32) -> Result<Lease>;
}

/// One pod of a target, in the container that the site named.
pub trait Pod: fmt::Debug {
    /// The pod's name.
    fn name(&self) -> String;
    /// Runs a command whose output is captured. A non-zero exit code is data, not an error.
    ///
    /// # Errors
    /// `Denied`, `Failed` when the pod is gone or no exit status came, `TimedOut`.
    fn run(&self, command: &str, holes: Holes<'_>) -> Result<Outcome>;
    /// Starts a command whose input or output is a stream.
    ///
    /// # Errors
    /// `Denied`, `Failed` when the pod is gone.
    fn start(&self, command: &str, holes: Holes<'_>) -> Result<Box<dyn Process>>;
    /// Saves a folder as an artifact.
    ///
    /// # Errors
    /// `NotFound` when the folder is not there, `Failed` when the copy is not whole.
    fn save_tree(&self, path: &str, artifact: &str) -> Result<TreeSummary>;
    /// Loads a folder from an artifact.
    ///
    /// # Errors
    /// `NotFound` when there is no such artifact, `Failed` when the pod's disk is full, `Conflict`
    /// when something of another kind stands in the way: then nothing was changed.
    fn load_tree(&self, artifact: &str, path: &str, options: LoadOptions) -> Result<TreeSummary>;
    /// Loads only these files and folders of an artifact, by their paths within the folder.
    ///
    /// # Errors
    /// `NotFound` when the artifact has no such path, `Invalid` for none, and as [`load_tree`](Self::load_tree).
    fn load_part(
        &self,
        artifact: &str,
        path: &str,
        options: LoadOptions,
        only: &[&str],
    ) -> Result<TreeSummary>;
    /// What is known of a file or folder; `None` when nothing is there.
    ///
    /// # Errors
    /// `Denied`, `Failed` when the pod is gone.
    fn stat(&self, path: &str) -> Result<Option<Metadata>>;
    /// Reads a file. One that is replaced by renaming meanwhile is still read to its own end.
    ///
    /// # Errors
    /// `NotFound` when it is not there.
    fn read(&self, path: &str) -> Result<Box<dyn Source>>;
    /// Writes a file beside its place; it is there only after [`Sink::finish`].
    ///
    /// # Errors
    /// `Denied`, `Failed` when the pod's disk is full.
    fn write(&self, path: &str) -> Result<Box<dyn Sink>>;
    /// Renames one declared path to another.
    ///
    /// # Errors
    /// `NotFound` when nothing is there.
    fn rename(&self, path: &str, to: &str) -> Result<()>;
    /// Removes a file or tree. No error when nothing is there.
    ///
    /// # Errors
    /// `Denied`, `Failed`.
    fn remove(&self, path: &str) -> Result<()>;
}

/// A command that runs.
pub trait Process: fmt::Debug {
    /// The way in, once.
    ///
    /// # Errors
    /// `Invalid` when the manifest says `stdin = "none"` or it was taken before.
    fn stdin(&self) -> Result<Box<dyn Sink>>;
    /// The way out, once. Its end is proven by the exit status.
    ///
    /// # Errors
    /// `Invalid` when it was taken before.
    fn stdout(&self) -> Result<Box<dyn Source>>;
    /// Closes the way in and waits for the exit status.
    ///
    /// # Errors
    /// `Failed` when no exit status came, `TimedOut`.
    fn wait(self: Box<Self>) -> Result<Outcome>;
    /// Gives the command up.
    ///
    /// # Errors
    /// `Failed` when the pod cannot be reached.
    fn kill(self: Box<Self>) -> Result<()>;
}

/// Bytes coming in.
pub trait Source: fmt::Debug {
    /// At most `max` bytes. An empty answer is the proven end; a cut stream is an error.
    ///
    /// # Errors
    /// `Failed` with `stream-cut` when the end is not proven.
    fn read(&mut self, max: u32) -> Result<Vec<u8>>;
    /// Moves everything to `to` without bringing it through the module. `to` stays open for more.
    ///
    /// # Errors
    /// `Failed` with `sink-closed` when the other side takes no more, else what broke the source.
    fn transfer(self: Box<Self>, to: &mut dyn Sink) -> Result<Transferred>;
    /// Reads everything to the proven end and keeps nothing: to verify what is stored.
    ///
    /// # Errors
    /// What broke the source.
    fn examine(self: Box<Self>) -> Result<Transferred>;
}

/// Bytes going out: into an artifact, a file or a command.
pub trait Sink: fmt::Debug {
    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// `Invalid` where only a transfer from the repository may write.
    fn write(&mut self, bytes: &[u8]) -> Result<()>;
    /// Makes an artifact exist, with its evidence beside it.
    ///
    /// # Errors
    /// `Invalid` for a sink that is no artifact, `Failed` when the repository cannot take it.
    fn commit(self: Box<Self>, evidence: &Evidence) -> Result<()>;
    /// Renames a file that was written beside its place into it.
    ///
    /// # Errors
    /// `Invalid` for a sink that is no file, `Failed` when the pod cannot.
    fn finish(self: Box<Self>) -> Result<()>;
    /// For the implementer of [`Source::transfer`].
    fn as_any(&mut self) -> &mut dyn Any;
}

/// A temporary change as the implementer holds it; modules hold a [`Lease`].
pub trait HeldLease: fmt::Debug {
    /// Puts the change back now.
    ///
    /// # Errors
    /// `Unavailable`: the host tries again at the end of the run and at the next start.
    fn release(&self) -> Result<()>;
}

/// A temporary change, put back when this is dropped, and by the host whatever happens.
#[derive(Debug)]
#[must_use = "the change is put back as soon as this is dropped"]
pub struct Lease(Option<Box<dyn HeldLease>>);

impl Lease {
    /// Takes over what an implementer holds.
    pub fn new(held: Box<dyn HeldLease>) -> Self {
        Self(Some(held))
    }

    /// Puts the change back now and says how that went, which dropping cannot.
    ///
    /// # Errors
    /// `Unavailable`: the host tries again at the end of the run and at the next start.
    pub fn release(mut self) -> Result<()> {
        self.0.take().map_or(Ok(()), |held| held.release())
    }

    /// Leaves the change in place when this goes: the host puts it back when the data set has ended or,
    /// for one that the application file lists in `quiesce`, when the whole backup has.
    pub fn leave_to_host(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(held) = self.0.take() {
            // Nobody is left to tell: the host knows, and puts it back at the end of the run.
            let _ = held.release();
        }
    }
}

/// How a command ended. A non-zero exit code is data.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// The exit code; 128 + n for signal n, 126 or 127 for a program that is not there.
    pub exit_code: i32,
    /// What was captured of stdout; empty where stdout was a stream.
    pub stdout: Vec<u8>,
    /// Whether stdout was longer than the manifest lets it be.
    pub stdout_cut: bool,
    /// The last of stderr, without control characters.
    pub stderr: String,
    /// Whether stderr was longer than what is kept.
    pub stderr_cut: bool,
}

/// What a transfer moved.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transferred {
    /// How many bytes.
    pub bytes: u64,
    /// Their SHA-256, 64 hex digits.
    pub sha256: String,
    /// The first 4 KiB.
    pub head: Vec<u8>,
    /// The last 4 KiB.
    pub tail: Vec<u8>,
    /// More, as pairs.
    pub details: Vec<(String, String)>,
}

/// What a tree has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TreeSummary {
    /// Regular files.
    pub files: u64,
    /// Folders.
    pub folders: u64,
    /// Links.
    pub links: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Files that were as they should be already.
    pub unchanged: u64,
    /// Files that were removed because the artifact does not have them.
    pub removed: u64,
    /// More, as pairs.
    pub details: Vec<(String, String)>,
}

/// How a tree is loaded. The default deletes nothing, overwrites all, keeps the pod's owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LoadOptions {
    /// Remove what the artifact does not have.
    pub delete_extraneous: bool,
    /// Leave files that are newer than the artifact's.
    pub keep_newer: bool,
    /// Set owner and group as they were.
    pub keep_owner: bool,
}

/// What is known of a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metadata {
    /// Bytes.
    pub size: u64,
    /// Mode bits as `stat` gives them.
    pub mode: u32,
    /// Seconds since 1970.
    pub modified: u64,
}

/// What to do with an object that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenPresent {
    /// Leave it.
    Keep,
    /// Make it like the saved one.
    Replace,
    /// Refuse when it differs.
    Fail,
}

/// What became of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// `Kind/name`.
    pub name: String,
    /// `created`, `equal`, `replaced`, `kept` or `refused`.
    pub result: String,
    /// Why, where that helps.
    pub details: Vec<(String, String)>,
}

/// What became of a template.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Processed {
    /// What became of each object that it made.
    pub objects: Vec<Loaded>,
    /// The names of its parameters, and how each was filled: `filled`, `missing`, `unnamed`,
    /// `generated` or `unknown`. Never a value.
    pub parameters: Vec<(String, String)>,
    /// More, as pairs.
    pub details: Vec<(String, String)>,
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
