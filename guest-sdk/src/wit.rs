//! The real host: the traits of [`host`](crate::host) over the bindings of `wit/`.
//!
//! Pure translation. Must never decide, retry or keep anything; whatever goes wrong crosses
//! unchanged in kind, code and message.

use std::any::Any;
use std::panic;
use std::time::Duration;

use crate::bindings::cofferdam::module as raw;
use crate::error::{Denial, Error, Failure, Result};
use crate::evidence::Evidence;
use crate::host::{
    HeldLease, Holes, Host, Lease, Level, LoadOptions, Loaded, Metadata, Outcome, Pod, Process,
    Processed, Sink, Source, StepState, Target, Transferred, TreeSummary, WhenPresent,
};

pub use crate::bindings::exports::cofferdam::module::data_set::Guest;
pub use raw::types::Error as GuestError;

/// Runs one entry of a component: panics go to the host's log before they trap, and errors leave
/// as the contract has them.
///
/// # Errors
/// The error of `operation`.
pub fn enter(operation: fn(&dyn Host) -> Result<()>) -> Result<(), GuestError> {
    panic::set_hook(Box::new(|panic| {
        raw::report::log(
            raw::report::Level::Error,
            &format!("the module panicked: {panic}"),
        );
    }));
    operation(&WitHost).map_err(to_raw)
}

#[derive(Debug)]
struct WitHost;
#[derive(Debug)]
struct WitTarget(raw::targets::Target);
#[derive(Debug)]
struct WitPod(raw::targets::Pod);
#[derive(Debug)]
struct WitProcess(raw::commands::Process);
#[derive(Debug)]
struct WitSource(raw::streams::Source);
#[derive(Debug)]
struct WitSink(raw::streams::Sink);
#[derive(Debug)]
struct WitLease(raw::leases::Lease);

impl Host for WitHost {
    fn target(&self, role: &str) -> Result<Box<dyn Target>> {
        let target = raw::targets::get(role).map_err(from_raw)?;
        Ok(Box::new(WitTarget(target)))
    }

    fn create_artifact(&self, name: &str, media_type: &str) -> Result<Box<dyn Sink>> {
        let sink = raw::artifacts::create(name, media_type).map_err(from_raw)?;
        Ok(Box::new(WitSink(sink)))
    }

    fn open_artifact(&self, name: &str) -> Result<Box<dyn Source>> {
        let source = raw::artifacts::open(name).map_err(from_raw)?;
        Ok(Box::new(WitSource(source)))
    }

    fn artifacts(&self) -> Result<Vec<String>> {
        raw::artifacts::list().map_err(from_raw)
    }

    fn evidence(&self, name: &str) -> Result<Evidence> {
        raw::artifacts::evidence(name)
            .map(Evidence::from)
            .map_err(from_raw)
    }

    fn save_objects(&self, group: &str, artifact: &str) -> Result<Vec<String>> {
        raw::objects::save(group, artifact).map_err(from_raw)
    }

    fn load_objects(&self, artifact: &str, present: WhenPresent) -> Result<Vec<Loaded>> {
        raw::objects::load(artifact, when_present(present))
            .map(became)
            .map_err(from_raw)
    }

    fn process_template(
        &self,
        template: &str,
        artifact: &str,
        present: WhenPresent,
    ) -> Result<Processed> {
        let processed = raw::objects::process_template(template, artifact, when_present(present))
            .map_err(from_raw)?;
        let parameters = processed.parameters.into_iter();
        Ok(Processed {
            objects: became(processed.objects),
            parameters: parameters.map(|one| (one.name, one.state)).collect(),
            details: processed.details,
        })
    }

    fn object(&self, group: &str, name: &str) -> Result<String> {
        raw::objects::get(group, name).map_err(from_raw)
    }

    fn apply_object(&self, group: &str, manifest: &str) -> Result<()> {
        raw::objects::apply(group, manifest).map_err(from_raw)
    }

    fn wait_for_object(
        &self,
        group: &str,
        name: &str,
        condition: &str,
        timeout: Duration,
    ) -> Result<()> {
        raw::objects::wait_for(group, name, condition, milliseconds(timeout)).map_err(from_raw)
    }

    fn edit_object(&self, group: &str, name: &str, changes: &[(&str, &str)]) -> Result<Lease> {
        let lease = raw::leases::edit_object(group, name, &pairs(changes)).map_err(from_raw)?;
        Ok(Lease::new(Box::new(WitLease(lease))))
    }

    fn begin_step(&self, name: &str) -> Result<StepState> {
        Ok(match raw::steps::begin(name).map_err(from_raw)? {
            raw::steps::State::Fresh => StepState::Fresh,
            raw::steps::State::Interrupted => StepState::Interrupted,
            raw::steps::State::Done => StepState::Done,
        })
    }

    fn finish_step(&self, name: &str) -> Result<()> {
        raw::steps::finish(name).map_err(from_raw)
    }

    fn log(&self, level: Level, message: &str) {
        let level = match level {
            Level::Debug => raw::report::Level::Debug,
            Level::Info => raw::report::Level::Info,
            Level::Warn => raw::report::Level::Warn,
            Level::Error => raw::report::Level::Error,
        };
        raw::report::log(level, message);
    }

    fn progress(&self, step: &str, done: u64, total: Option<u64>, unit: &str) {
        raw::report::progress(step, done, total, unit);
    }

    fn parameter(&self, name: &str) -> Option<String> {
        raw::settings::parameter(name)
    }

    fn now(&self) -> u64 {
        raw::clock::now()
    }

    fn sleep(&self, duration: Duration) -> Result<()> {
        raw::clock::sleep(milliseconds(duration)).map_err(from_raw)
    }
}

impl Target for WitTarget {
    fn kind(&self) -> String {
        self.0.kind()
    }

    fn name(&self) -> String {
        self.0.name()
    }

    fn namespace(&self) -> String {
        self.0.namespace()
    }

    fn pod(&self) -> Result<Box<dyn Pod>> {
        let pod = self.0.pod().map_err(from_raw)?;
        Ok(Box::new(WitPod(pod)))
    }

    fn pods(&self) -> Result<Vec<Box<dyn Pod>>> {
        let pods = self.0.pods().map_err(from_raw)?;
        Ok(pods
            .into_iter()
            .map(|pod| Box::new(WitPod(pod)) as Box<dyn Pod>)
            .collect())
    }

    fn restart(&self) -> Result<()> {
        raw::rollouts::restart(&self.0).map_err(from_raw)
    }

    fn wait_rollout(&self, timeout: Duration) -> Result<()> {
        raw::rollouts::wait(&self.0, milliseconds(timeout)).map_err(from_raw)
    }

    fn replicas(&self) -> Result<u32> {
        raw::rollouts::replicas(&self.0).map_err(from_raw)
    }

    fn set_replicas(&self, replicas: u32) -> Result<()> {
        raw::rollouts::set_replicas(&self.0, replicas).map_err(from_raw)
    }

    fn guard(&self, reason: &str) -> Result<()> {
        raw::rollouts::guard(&self.0, reason).map_err(from_raw)
    }

    fn scale_to(&self, replicas: u32) -> Result<Lease> {
        let lease = raw::leases::scale_to(&self.0, replicas).map_err(from_raw)?;
        Ok(Lease::new(Box::new(WitLease(lease))))
    }
}

fn flags(options: LoadOptions) -> raw::files::LoadOptions {
    let LoadOptions {
        delete_extraneous,
        keep_newer,
        keep_owner,
    } = options;
    let mut flags = raw::files::LoadOptions::empty();
    flags.set(
        raw::files::LoadOptions::DELETE_EXTRANEOUS,
        delete_extraneous,
    );
    flags.set(raw::files::LoadOptions::KEEP_NEWER, keep_newer);
    flags.set(raw::files::LoadOptions::KEEP_OWNER, keep_owner);
    flags
}

impl Pod for WitPod {
    fn name(&self) -> String {
        self.0.name()
    }

    fn run(&self, command: &str, holes: Holes<'_>) -> Result<Outcome> {
        let outcome = raw::commands::run(&self.0, command, &pairs(holes)).map_err(from_raw)?;
        Ok(ended(outcome))
    }

    fn start(&self, command: &str, holes: Holes<'_>) -> Result<Box<dyn Process>> {
        let process = raw::commands::start(&self.0, command, &pairs(holes)).map_err(from_raw)?;
        Ok(Box::new(WitProcess(process)))
    }

    fn save_tree(&self, path: &str, artifact: &str) -> Result<TreeSummary> {
        raw::files::save(&self.0, path, artifact)
            .map(tree)
            .map_err(from_raw)
    }

    fn load_tree(&self, artifact: &str, path: &str, options: LoadOptions) -> Result<TreeSummary> {
        raw::files::load(&self.0, artifact, path, flags(options))
            .map(tree)
            .map_err(from_raw)
    }

    fn load_part(
        &self,
        artifact: &str,
        path: &str,
        options: LoadOptions,
        only: &[&str],
    ) -> Result<TreeSummary> {
        let only: Vec<String> = only.iter().map(|&one| one.to_owned()).collect();
        raw::files::load_part(&self.0, artifact, path, flags(options), &only)
            .map(tree)
            .map_err(from_raw)
    }

    fn stat(&self, path: &str) -> Result<Option<Metadata>> {
        let found = raw::files::stat(&self.0, path).map_err(from_raw)?;
        Ok(found.map(|one| Metadata {
            size: one.size,
            mode: one.mode,
            modified: one.modified,
        }))
    }

    fn read(&self, path: &str) -> Result<Box<dyn Source>> {
        let source = raw::files::read(&self.0, path).map_err(from_raw)?;
        Ok(Box::new(WitSource(source)))
    }

    fn write(&self, path: &str) -> Result<Box<dyn Sink>> {
        let sink = raw::files::write(&self.0, path).map_err(from_raw)?;
        Ok(Box::new(WitSink(sink)))
    }

    fn rename(&self, path: &str, to: &str) -> Result<()> {
        raw::files::rename(&self.0, path, to).map_err(from_raw)
    }

    fn remove(&self, path: &str) -> Result<()> {
        raw::files::remove(&self.0, path).map_err(from_raw)
    }
}

impl Process for WitProcess {
    fn stdin(&self) -> Result<Box<dyn Sink>> {
        let sink = self.0.stdin().map_err(from_raw)?;
        Ok(Box::new(WitSink(sink)))
    }

    fn stdout(&self) -> Result<Box<dyn Source>> {
        let source = self.0.stdout().map_err(from_raw)?;
        Ok(Box::new(WitSource(source)))
    }

    fn wait(self: Box<Self>) -> Result<Outcome> {
        self.0.wait().map(ended).map_err(from_raw)
    }

    fn kill(self: Box<Self>) -> Result<()> {
        self.0.kill().map_err(from_raw)
    }
}

impl Source for WitSource {
    fn read(&mut self, max: u32) -> Result<Vec<u8>> {
        self.0.read(max).map_err(from_raw)
    }

    fn transfer(self: Box<Self>, to: &mut dyn Sink) -> Result<Transferred> {
        let Some(WitSink(sink)) = to.as_any().downcast_ref::<WitSink>() else {
            return Err(Error::invalid(
                "a sink of another host cannot be written to",
            ));
        };
        raw::streams::transfer(self.0, sink)
            .map(moved)
            .map_err(from_raw)
    }

    fn examine(self: Box<Self>) -> Result<Transferred> {
        raw::streams::examine(self.0).map(moved).map_err(from_raw)
    }
}

impl Sink for WitSink {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.write(bytes).map_err(from_raw)
    }

    fn commit(self: Box<Self>, evidence: &Evidence) -> Result<()> {
        let evidence = evidence.clone().into_pairs();
        raw::artifacts::commit(self.0, &evidence).map_err(from_raw)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        raw::files::finish(self.0).map_err(from_raw)
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

impl HeldLease for WitLease {
    fn release(&self) -> Result<()> {
        self.0.release().map_err(from_raw)
    }
}

fn when_present(present: WhenPresent) -> raw::objects::WhenPresent {
    match present {
        WhenPresent::Keep => raw::objects::WhenPresent::Keep,
        WhenPresent::Replace => raw::objects::WhenPresent::Replace,
        WhenPresent::Fail => raw::objects::WhenPresent::Fail,
    }
}

fn became(loaded: Vec<raw::objects::Loaded>) -> Vec<Loaded> {
    let ours = |one: raw::objects::Loaded| Loaded {
        name: one.name,
        result: one.result,
        details: one.details,
    };
    loaded.into_iter().map(ours).collect()
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn pairs(given: &[(&str, &str)]) -> Vec<(String, String)> {
    given
        .iter()
        .map(|&(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

fn ended(outcome: raw::commands::Outcome) -> Outcome {
    Outcome {
        exit_code: outcome.exit_code,
        stdout: outcome.stdout,
        stdout_cut: outcome.stdout_cut,
        stderr: outcome.stderr,
        stderr_cut: outcome.stderr_cut,
    }
}

fn moved(transferred: raw::streams::Transferred) -> Transferred {
    Transferred {
        bytes: transferred.bytes,
        sha256: transferred.sha256,
        head: transferred.head,
        tail: transferred.tail,
        details: transferred.details,
    }
}

fn tree(summary: raw::files::TreeSummary) -> TreeSummary {
    TreeSummary {
        files: summary.files,
        folders: summary.folders,
        links: summary.links,
        bytes: summary.bytes,
        unchanged: summary.unchanged,
        removed: summary.removed,
        details: summary.details,
    }
}

fn from_raw(error: GuestError) -> Error {
    let failure = |raw: raw::types::Failure| Failure {
        code: raw.code,
        message: raw.message,
        retryable: raw.retryable,
        details: raw.details,
    };
    match error {
        GuestError::Denied(denial) => Error::Denied(Denial {
            capability: denial.capability,
            rule: denial.rule,
            subject: denial.subject,
            message: denial.message,
        }),
        GuestError::NotFound(message) => Error::NotFound(message),
        GuestError::Conflict(message) => Error::Conflict(message),
        GuestError::Invalid(message) => Error::Invalid(message),
        GuestError::TimedOut(message) => Error::TimedOut(message),
        GuestError::Cancelled => Error::Cancelled,
        GuestError::Unavailable(raw) => Error::Unavailable(failure(raw)),
        GuestError::Failed(raw) => Error::Failed(failure(raw)),
        GuestError::Other(raw) => Error::Other(failure(raw)),
    }
}

fn to_raw(error: Error) -> GuestError {
    let failure = |ours: Failure| raw::types::Failure {
        code: ours.code,
        message: ours.message,
        retryable: ours.retryable,
        details: ours.details,
    };
    match error {
        Error::Denied(denial) => GuestError::Denied(raw::types::Denial {
            capability: denial.capability,
            rule: denial.rule,
            subject: denial.subject,
            message: denial.message,
        }),
        Error::NotFound(message) => GuestError::NotFound(message),
        Error::Conflict(message) => GuestError::Conflict(message),
        Error::Invalid(message) => GuestError::Invalid(message),
        Error::TimedOut(message) => GuestError::TimedOut(message),
        Error::Cancelled => GuestError::Cancelled,
        Error::Unavailable(ours) => GuestError::Unavailable(failure(ours)),
        Error::Failed(ours) => GuestError::Failed(failure(ours)),
        Error::Other(ours) => GuestError::Other(failure(ours)),
    }
}
