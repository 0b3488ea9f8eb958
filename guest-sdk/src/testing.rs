//! Fakes, so that a module's logic runs as an ordinary unit test, without a guest or a cluster.
//!
//! A [`World`] is a host whose commands are scripted, whose files, objects and artifacts are in
//! memory and whose clock moves only when the module sleeps. It holds the module to its manifest:
//! what is not declared there is refused here as it is in production. It never judges policy, and
//! a test against it proves nothing about a real server.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;

use crate::error::{Error, Result};
use crate::evidence::Evidence;
use crate::host::{Level, Processed};

mod answer;
mod fake_host;
mod fake_pod;
mod fake_streams;
mod fake_trees;
mod manifest;

pub use answer::{Answer, Call};

type Handler = Rc<RefCell<dyn FnMut(&Call, &World) -> Answer>>;
type OnRestart = Rc<RefCell<dyn FnMut(&World)>>;

/// A host for tests. Clones are the same world.
#[derive(Clone)]
pub struct World(Rc<State>);

#[derive(Default)]
struct State {
    manifest: manifest::Manifest,
    parameters: RefCell<BTreeMap<String, String>>,
    bound: RefCell<BTreeSet<String>>,
    commands: RefCell<BTreeMap<String, Handler>>,
    stdin_limits: RefCell<BTreeMap<String, usize>>,
    on_restart: RefCell<BTreeMap<String, OnRestart>>,
    files: RefCell<BTreeMap<String, Vec<u8>>>,
    objects: RefCell<BTreeMap<(String, String), serde_json::Value>>,
    artifacts: RefCell<BTreeMap<String, (Vec<u8>, Evidence)>>,
    cuts: RefCell<BTreeMap<String, usize>>,
    sealed: RefCell<BTreeSet<String>>,
    interrupted_steps: RefCell<Vec<String>>,
    leases_held: Cell<usize>,
    kinds: RefCell<BTreeMap<String, String>>,
    replicas: RefCell<BTreeMap<String, u32>>,
    guards: RefCell<BTreeMap<String, String>>,
    processed: RefCell<Option<Result<Processed>>>,
    calls: RefCell<Vec<String>>,
    logs: RefCell<Vec<(Level, String)>>,
    faults: RefCell<Vec<Fault>>,
    now: Cell<u64>,
}

struct Fault {
    beginning: String,
    error: Error,
    for_ever: bool,
}

impl World {
    /// A world for the module with this manifest: the text of its `module.toml`. Parameters have
    /// their defaults, every role has one ready pod, nothing else is there. Optional roles are
    /// unbound until [`bind`](Self::bind).
    ///
    /// # Panics
    /// When the manifest cannot be read: a test cannot go on.
    pub fn new(manifest: &str) -> Self {
        let manifest = manifest::Manifest::parse(manifest).expect("the manifest can be read");
        let parameters = manifest.defaults();
        Self(Rc::new(State {
            manifest,
            parameters: RefCell::new(parameters),
            // Any moment will do, as long as no test takes it for today.
            now: Cell::new(1_700_000_000_000),
            ..State::default()
        }))
    }

    /// Sets a parameter, as the application file would. Durations are given in seconds.
    ///
    /// # Panics
    /// When the manifest declares no such parameter.
    pub fn parameter(&self, name: &str, value: &str) -> &Self {
        assert!(
            self.0.manifest.parameters.contains_key(name),
            "the manifest declares no parameter `{name}`"
        );
        self.0
            .parameters
            .borrow_mut()
            .insert(name.to_owned(), value.to_owned());
        self
    }

    /// Binds an optional role to a workload.
    ///
    /// # Panics
    /// When the manifest declares no such optional role.
    pub fn bind(&self, role: &str) -> &Self {
        assert!(
            self.0.manifest.is_optional(role),
            "the manifest declares no optional role `{role}`"
        );
        self.0.bound.borrow_mut().insert(role.to_owned());
        self
    }

    /// Says how a command answers, each time anew.
    ///
    /// # Panics
    /// When the manifest declares no such command.
    pub fn on(&self, command: &str, answer: impl FnMut(&Call, &Self) -> Answer + 'static) -> &Self {
        assert!(
            self.0.manifest.commands.contains_key(command),
            "the manifest declares no command `{command}`"
        );
        let answer: Handler = Rc::new(RefCell::new(answer));
        self.0
            .commands
            .borrow_mut()
            .insert(command.to_owned(), answer);
        self
    }

    /// Says what a command answers, call after call; the last answer stays.
    ///
    /// # Panics
    /// When the manifest declares no such command.
    pub fn answers<const N: usize>(&self, command: &str, answers: [Answer; N]) -> &Self {
        let mut answers = answers.into_iter();
        let mut last = Answer::default();
        self.on(command, move |_, _| {
            if let Some(next) = answers.next() {
                last = next;
            }
            last.clone()
        })
    }

    /// Lets a command end after it read so many bytes of its input.
    pub fn closes_stdin_after(&self, command: &str, bytes: usize) -> &Self {
        self.0
            .stdin_limits
            .borrow_mut()
            .insert(command.to_owned(), bytes);
        self
    }

    /// Does something whenever the workload of a role is restarted, as its server would.
    pub fn on_restart(&self, role: &str, react: impl FnMut(&Self) + 'static) -> &Self {
        self.0
            .on_restart
            .borrow_mut()
            .insert(role.to_owned(), Rc::new(RefCell::new(react)));
        self
    }

    /// Gives the workload of a role another kind than `Deployment`.
    pub fn put_kind(&self, role: &str, kind: &str) -> &Self {
        let kind = kind.to_owned();
        self.0.kinds.borrow_mut().insert(role.to_owned(), kind);
        self
    }

    /// Gives the workload of a role this wanted number of replicas; without it, it has one.
    pub fn put_replicas(&self, role: &str, replicas: u32) -> &Self {
        self.0
            .replicas
            .borrow_mut()
            .insert(role.to_owned(), replicas);
        self
    }

    /// The wanted number of replicas of the workload of a role.
    pub fn replicas_of(&self, role: &str) -> u32 {
        self.0.replicas.borrow().get(role).copied().unwrap_or(1)
    }

    /// Why the pods of a role must stay, where the module has said so.
    pub fn guard_of(&self, role: &str) -> Option<String> {
        self.0.guards.borrow().get(role).cloned()
    }

    /// Says what becomes of a template. The fakes have no cluster that could process one.
    pub fn processes(&self, processed: Result<Processed>) -> &Self {
        *self.0.processed.borrow_mut() = Some(processed);
        self
    }

    /// Puts a file into the pods, by its place there.
    pub fn put_file(&self, place: &str, bytes: impl Into<Vec<u8>>) -> &Self {
        self.0
            .files
            .borrow_mut()
            .insert(place.to_owned(), bytes.into());
        self
    }

    /// A file of the pods.
    pub fn file(&self, place: &str) -> Option<Vec<u8>> {
        self.0.files.borrow().get(place).cloned()
    }

    /// Removes a file or a folder of the pods.
    pub fn remove_file(&self, place: &str) -> &Self {
        let below = format!("{place}/");
        self.0
            .files
            .borrow_mut()
            .retain(|known, _| known != place && !known.starts_with(&below));
        self
    }

    /// The places of all files of the pods.
    pub fn files(&self) -> Vec<String> {
        self.0.files.borrow().keys().cloned().collect()
    }

    /// Puts an object into the cluster, in a group of the manifest.
    pub fn put_object(&self, group: &str, name: &str, object: serde_json::Value) -> &Self {
        self.0
            .objects
            .borrow_mut()
            .insert((group.to_owned(), name.to_owned()), object);
        self
    }

    /// Puts a ConfigMap with one key into the cluster.
    pub fn put_config_map(&self, group: &str, name: &str, key: &str, text: &str) -> &Self {
        let object = serde_json::json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": { "name": name },
            "data": { key: text },
        });
        self.put_object(group, name, object)
    }

    /// An object of the cluster.
    pub fn cluster_object(&self, group: &str, name: &str) -> Option<serde_json::Value> {
        let key = (group.to_owned(), name.to_owned());
        self.0.objects.borrow().get(&key).cloned()
    }

    /// The text of a key of a ConfigMap of the cluster.
    pub fn config_map_text(&self, group: &str, name: &str, key: &str) -> Option<String> {
        let object = self.cluster_object(group, name)?;
        Some(object.get("data")?.get(key)?.as_str()?.to_owned())
    }

    /// Puts an artifact into the snapshot that is restored or verified.
    pub fn put_artifact(&self, name: &str, bytes: impl Into<Vec<u8>>, evidence: Evidence) -> &Self {
        let kept = (bytes.into(), evidence);
        self.0.artifacts.borrow_mut().insert(name.to_owned(), kept);
        self
    }

    /// The bytes of an artifact that exists.
    pub fn artifact(&self, name: &str) -> Option<Vec<u8>> {
        let artifacts = self.0.artifacts.borrow();
        artifacts.get(name).map(|(bytes, _)| bytes.clone())
    }

    /// The evidence of an artifact that exists.
    pub fn evidence_of(&self, name: &str) -> Option<Evidence> {
        let artifacts = self.0.artifacts.borrow();
        artifacts.get(name).map(|(_, evidence)| evidence.clone())
    }

    /// Lets the reading of an artifact break off after so many bytes.
    pub fn cut_artifact(&self, name: &str, after: usize) -> &Self {
        self.0.cuts.borrow_mut().insert(name.to_owned(), after);
        self
    }

    /// Lets a step look as if an earlier run had left it half done.
    pub fn interrupt_step(&self, name: &str) -> &Self {
        self.0.interrupted_steps.borrow_mut().push(name.to_owned());
        self
    }

    /// Lets the next call whose line in [`calls`](Self::calls) begins like this fail.
    pub fn fail_once(&self, beginning: &str, error: Error) -> &Self {
        self.fault(beginning, error, false)
    }

    /// Lets every call whose line in [`calls`](Self::calls) begins like this fail.
    pub fn fail_always(&self, beginning: &str, error: Error) -> &Self {
        self.fault(beginning, error, true)
    }

    fn fault(&self, beginning: &str, error: Error, for_ever: bool) -> &Self {
        let beginning = beginning.to_owned();
        self.0.faults.borrow_mut().push(Fault {
            beginning,
            error,
            for_ever,
        });
        self
    }

    /// What was asked, a line each: the function, then its words, such as `run server dump
    /// database=system`, `restart server`, `commit dump.sql`.
    pub fn calls(&self) -> Vec<String> {
        self.0.calls.borrow().clone()
    }

    /// Whether a line of [`calls`](Self::calls) begins like this.
    pub fn was_asked(&self, beginning: &str) -> bool {
        self.0
            .calls
            .borrow()
            .iter()
            .any(|call| call.starts_with(beginning))
    }

    /// All log lines.
    pub fn logs(&self) -> Vec<(Level, String)> {
        self.0.logs.borrow().clone()
    }

    /// Whether a log line of this level or a louder one has these words.
    pub fn logged(&self, level: Level, words: &str) -> bool {
        let logs = self.0.logs.borrow();
        logs.iter()
            .any(|(at, line)| *at >= level && line.contains(words))
    }

    /// How many leases are held now.
    pub fn leases_held(&self) -> usize {
        self.0.leases_held.get()
    }

    /// Milliseconds since 1970, as the module sees them.
    pub fn milliseconds(&self) -> u64 {
        self.0.now.get()
    }

    /// Records a call and fails it where a fault says so.
    fn record(&self, call: String) -> Result<()> {
        let fault = {
            let mut faults = self.0.faults.borrow_mut();
            let hit = faults
                .iter()
                .position(|fault| call.starts_with(&fault.beginning));
            hit.and_then(|at| match faults.get(at) {
                Some(fault) if fault.for_ever => Some(fault.error.clone()),
                Some(_) => Some(faults.remove(at).error),
                None => None,
            })
        };
        self.0.calls.borrow_mut().push(call);
        fault.map_or(Ok(()), Err)
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("calls", &self.0.calls.borrow())
            .finish_non_exhaustive()
    }
}
