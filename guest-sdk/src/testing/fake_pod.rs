//! Workloads, pods and commands that are only scripted.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use super::fake_streams::{FakeSink, FakeSource, Place};
use super::{Answer, Call, World, fake_trees, manifest};
use crate::error::{Error, Result};
use crate::host::{
    HeldLease, Holes, Lease, LoadOptions, Metadata, Outcome, Pod, Process, Sink, Source, Target,
    TreeSummary,
};

/// The workload of a role: a Deployment of that name with one ready pod.
#[derive(Debug)]
pub(super) struct FakeTarget {
    pub(super) world: World,
    pub(super) role: String,
}

impl Target for FakeTarget {
    fn kind(&self) -> String {
        let kinds = self.world.0.kinds.borrow();
        kinds
            .get(&self.role)
            .map_or("Deployment", String::as_str)
            .to_owned()
    }

    fn name(&self) -> String {
        self.role.clone()
    }

    fn namespace(&self) -> String {
        "test".to_owned()
    }

    fn pod(&self) -> Result<Box<dyn Pod>> {
        self.world.record(format!("pod {}", self.role))?;
        Ok(Box::new(FakePod {
            world: self.world.clone(),
            role: self.role.clone(),
        }))
    }

    fn pods(&self) -> Result<Vec<Box<dyn Pod>>> {
        if self.world.replicas_of(&self.role) == 0 {
            return Ok(Vec::new());
        }
        Ok(vec![self.pod()?])
    }

    fn restart(&self) -> Result<()> {
        self.world.0.manifest.rollout(&self.role, "restart")?;
        self.world.record(format!("restart {}", self.role))?;
        self.check_guard()?;
        let react = self.world.0.on_restart.borrow().get(&self.role).cloned();
        if let Some(react) = react {
            (react.borrow_mut())(&self.world);
        }
        Ok(())
    }

    fn wait_rollout(&self, _timeout: Duration) -> Result<()> {
        self.world.0.manifest.rollout(&self.role, "wait")?;
        self.world.record(format!("wait {}", self.role))
    }

    fn replicas(&self) -> Result<u32> {
        self.world.0.manifest.rollout(&self.role, "replicas")?;
        self.world.record(format!("replicas {}", self.role))?;
        Ok(self.world.replicas_of(&self.role))
    }

    fn set_replicas(&self, replicas: u32) -> Result<()> {
        self.world.0.manifest.rollout(&self.role, "set-replicas")?;
        self.world
            .record(format!("set-replicas {} {replicas}", self.role))?;
        self.check_guard()?;
        self.world.put_replicas(&self.role, replicas);
        Ok(())
    }

    fn guard(&self, reason: &str) -> Result<()> {
        self.world.0.manifest.rollout(&self.role, "guard")?;
        self.world.record(format!("guard {}", self.role))?;
        let mut guards = self.world.0.guards.borrow_mut();
        guards
            .entry(self.role.clone())
            .or_insert_with(|| reason.to_owned());
        Ok(())
    }

    fn scale_to(&self, replicas: u32) -> Result<Lease> {
        self.world.0.manifest.rollout(&self.role, "scale")?;
        self.world
            .record(format!("scale {} {replicas}", self.role))?;
        self.check_guard()?;
        let before = self.world.replicas_of(&self.role);
        self.world.put_replicas(&self.role, replicas);
        let role = self.role.clone();
        Ok(FakeLease::take(
            &self.world,
            format!("scale {}", self.role),
            move |world| {
                world.put_replicas(&role, before);
            },
        ))
    }
}

impl FakeTarget {
    fn check_guard(&self) -> Result<()> {
        match self.world.0.guards.borrow().get(&self.role) {
            Some(reason) => Err(Error::Conflict(format!("the pods must stay: {reason}"))),
            None => Ok(()),
        }
    }
}

type PutBack = Box<dyn Fn(&World)>;

/// A temporary change of the world.
pub(super) struct FakeLease {
    world: World,
    what: String,
    put_back: PutBack,
    held: Cell<bool>,
}

impl fmt::Debug for FakeLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeLease")
            .field("what", &self.what)
            .finish_non_exhaustive()
    }
}

impl FakeLease {
    pub(super) fn take(world: &World, what: String, put_back: impl Fn(&World) + 'static) -> Lease {
        world.0.leases_held.set(world.0.leases_held.get() + 1);
        Lease::new(Box::new(Self {
            world: world.clone(),
            what,
            put_back: Box::new(put_back),
            held: Cell::new(true),
        }))
    }
}

impl HeldLease for FakeLease {
    fn release(&self) -> Result<()> {
        self.world.record(format!("release {}", self.what))?;
        if self.held.replace(false) {
            (self.put_back)(&self.world);
            self.world
                .0
                .leases_held
                .set(self.world.0.leases_held.get().saturating_sub(1));
        }
        Ok(())
    }
}

#[derive(Debug)]
struct FakePod {
    world: World,
    role: String,
}

impl FakePod {
    /// The call with its holes filled, as the host would fill them.
    fn call(&self, command: &str, holes: Holes<'_>) -> Result<Call> {
        let declared = self.world.0.manifest.command(command)?;
        if declared.target != self.role {
            let message = format!("command `{command}` is declared for `{}`", declared.target);
            return Err(Error::invalid(message));
        }
        let known = declared.holes();
        if let Some((hole, _)) = holes
            .iter()
            .find(|(hole, _)| !known.iter().any(|one| one == hole))
        {
            return Err(Error::invalid(format!(
                "command `{command}` has no hole `{hole}`"
            )));
        }
        let mut values: BTreeMap<String, String> = self.world.0.parameters.borrow().clone();
        values.extend(
            holes
                .iter()
                .map(|&(hole, value)| (hole.to_owned(), value.to_owned())),
        );
        let words = self.world.0.manifest.words(declared, &values);
        let argv = words
            .iter()
            .map(|word| manifest::fill(word, &values))
            .collect::<Result<_>>()?;
        let stdin = match declared.script() {
            Some(script) => manifest::fill(&script, &values)?.into_bytes(),
            None => Vec::new(),
        };
        values.retain(|name, _| known.iter().any(|one| one == name));
        Ok(Call {
            command: command.to_owned(),
            target: self.role.clone(),
            argv,
            holes: values,
            stdin,
        })
    }

    fn place(&self, path: &str, write: bool) -> Result<String> {
        self.world
            .0
            .manifest
            .place(path, &self.role, write, &self.world.0.parameters.borrow())
    }

    fn tree(&self, path: &str, write: bool) -> Result<String> {
        self.world
            .0
            .manifest
            .tree(path, &self.role, write, &self.world.0.parameters.borrow())
    }

    fn record_command(&self, verb: &str, command: &str, holes: Holes<'_>) -> Result<()> {
        let holes: String = holes
            .iter()
            .map(|(name, value)| format!(" {name}={value}"))
            .collect();
        self.world
            .record(format!("{verb} {} {command}{holes}", self.role))
    }
}

fn answer(world: &World, call: &Call) -> Result<Answer> {
    let handler = world.0.commands.borrow().get(&call.command).cloned();
    let handler = handler.ok_or_else(|| {
        let message = format!("the test scripts no answer for command `{}`", call.command);
        Error::failed("not-scripted", message)
    })?;
    let answer = (handler.borrow_mut())(call, world);
    match answer.error {
        Some(error) => Err(error),
        None => Ok(answer),
    }
}

fn outcome(answer: Answer, capture: Option<usize>) -> Outcome {
    let mut stdout = answer.stdout;
    let limit = capture.unwrap_or(0);
    let stdout_cut = capture.is_some() && stdout.len() > limit;
    stdout.truncate(limit);
    Outcome {
        exit_code: answer.exit_code,
        stdout,
        stdout_cut,
        stderr: answer.stderr,
        stderr_cut: false,
    }
}

impl Pod for FakePod {
    fn name(&self) -> String {
        format!("{}-1", self.role)
    }

    fn run(&self, command: &str, holes: Holes<'_>) -> Result<Outcome> {
        let call = self.call(command, holes)?;
        let declared = self.world.0.manifest.command(command)?;
        if declared.capture().is_none() || declared.reads_a_stream() {
            return Err(Error::invalid(format!(
                "command `{command}` is declared as a stream: start it"
            )));
        }
        self.record_command("run", command, holes)?;
        Ok(outcome(answer(&self.world, &call)?, declared.capture()))
    }

    fn start(&self, command: &str, holes: Holes<'_>) -> Result<Box<dyn Process>> {
        let call = self.call(command, holes)?;
        self.record_command("start", command, holes)?;
        Ok(Box::new(FakeProcess {
            world: self.world.clone(),
            call,
            stdin: Rc::default(),
            answer: RefCell::default(),
        }))
    }

    fn save_tree(&self, path: &str, artifact: &str) -> Result<TreeSummary> {
        let place = self.tree(path, false)?;
        self.world.record(format!("save-tree {path} {artifact}"))?;
        fake_trees::save(&self.world, &place, artifact)
    }

    fn load_tree(&self, artifact: &str, path: &str, options: LoadOptions) -> Result<TreeSummary> {
        self.load_part(artifact, path, options, &[])
    }

    fn load_part(
        &self,
        artifact: &str,
        path: &str,
        options: LoadOptions,
        only: &[&str],
    ) -> Result<TreeSummary> {
        let place = self.tree(path, true)?;
        let words: String = only.iter().map(|one| format!(" {one}")).collect();
        self.world
            .record(format!("load-tree {artifact} {path}{words}"))?;
        fake_trees::load(&self.world, artifact, &place, options, only)
    }

    fn stat(&self, path: &str) -> Result<Option<Metadata>> {
        let place = self.place(path, false)?;
        self.world.record(format!("stat {path}"))?;
        let size = |bytes: Vec<u8>| u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if let Some(bytes) = self.world.file(&place) {
            return Ok(Some(Metadata {
                size: size(bytes),
                mode: 0o100_644,
                modified: 0,
            }));
        }
        let below = format!("{place}/");
        let is_folder = self
            .world
            .files()
            .iter()
            .any(|known| known.starts_with(&below));
        Ok(is_folder.then_some(Metadata {
            size: 4096,
            mode: 0o040_755,
            modified: 0,
        }))
    }

    fn read(&self, path: &str) -> Result<Box<dyn Source>> {
        let place = self.place(path, false)?;
        self.world.record(format!("read {path}"))?;
        let bytes = self.world.file(&place);
        let bytes = bytes.ok_or_else(|| Error::NotFound(format!("there is no file `{place}`")))?;
        Ok(Box::new(FakeSource::new(bytes, None)))
    }

    fn write(&self, path: &str) -> Result<Box<dyn Sink>> {
        let place = self.place(path, true)?;
        self.world.record(format!("write {path}"))?;
        Ok(Box::new(FakeSink::new(&self.world, Place::File { place })))
    }

    fn rename(&self, path: &str, to: &str) -> Result<()> {
        let (from, into) = (self.place(path, true)?, self.place(to, true)?);
        self.world.record(format!("rename {path} {to}"))?;
        let below = format!("{from}/");
        let mut moved = 0;
        for known in self.world.files() {
            if (known == from || known.starts_with(&below))
                && let Some(bytes) = self.world.file(&known)
            {
                self.world.remove_file(&known);
                self.world.put_file(&known.replacen(&from, &into, 1), bytes);
                moved += 1;
            }
        }
        if moved == 0 {
            return Err(Error::NotFound(format!("there is no file `{from}`")));
        }
        Ok(())
    }

    fn remove(&self, path: &str) -> Result<()> {
        let place = self.place(path, true)?;
        self.world.record(format!("remove {path}"))?;
        self.world.remove_file(&place);
        Ok(())
    }
}

/// A command whose input or output is a stream. It answers once its input has ended.
#[derive(Debug)]
struct FakeProcess {
    world: World,
    call: Call,
    stdin: Rc<RefCell<Vec<u8>>>,
    answer: RefCell<Option<Answer>>,
}

impl FakeProcess {
    fn settle(&self) -> Result<Answer> {
        let mut settled = self.answer.borrow_mut();
        if let Some(answer) = &*settled {
            return Ok(answer.clone());
        }
        let mut call = self.call.clone();
        if self
            .world
            .0
            .manifest
            .command(&call.command)?
            .reads_a_stream()
        {
            call.stdin = self.stdin.borrow().clone();
        }
        let answer = answer(&self.world, &call)?;
        *settled = Some(answer.clone());
        Ok(answer)
    }
}

impl Process for FakeProcess {
    fn stdin(&self) -> Result<Box<dyn Sink>> {
        let command = &self.call.command;
        if !self.world.0.manifest.command(command)?.reads_a_stream() {
            return Err(Error::invalid(format!(
                "the manifest lets nothing be fed to command `{command}`"
            )));
        }
        let limit = self.world.0.stdin_limits.borrow().get(command).copied();
        let place = Place::Stdin {
            read: Rc::clone(&self.stdin),
            limit,
            only_transfers: true,
        };
        Ok(Box::new(FakeSink::new(&self.world, place)))
    }

    fn stdout(&self) -> Result<Box<dyn Source>> {
        let answer = self.settle()?;
        Ok(Box::new(FakeSource::new(answer.stdout, answer.cut_after)))
    }

    fn wait(self: Box<Self>) -> Result<Outcome> {
        let answer = self.settle()?;
        self.world
            .record(format!("ended {} {}", self.call.command, answer.exit_code))?;
        let capture = self.world.0.manifest.command(&self.call.command)?.capture();
        Ok(outcome(answer, capture))
    }

    fn kill(self: Box<Self>) -> Result<()> {
        self.world.record(format!("kill {}", self.call.command))
    }
}
