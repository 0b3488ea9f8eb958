//! The one door for failures: what was attempted, why it failed, whose move it is, what to do next.

use std::io::Write;

use cofferdam_policy::PolicyErrors;
use cofferdam_runs::application::ApplicationError;
use cofferdam_runs::elsewhere::ElsewhereError;
use cofferdam_runs::manual::ManualError;
use cofferdam_runs::modules::ModulesError;
use cofferdam_runs::plan::PlanError;
use cofferdam_runs::report::{Blame, RunReport};
use cofferdam_runs::run::RunError;
use cofferdam_runs::threescale::EraError;
use serde_json::json;

use crate::arguments::Format;

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done,
    /// The world refused: cluster, repository, network, disk, or a module.
    World,
    /// Wrong use: an option, a file, a name.
    Usage,
    /// The policy of the site refused.
    Policy,
    /// Done, but not proven.
    Unproven,
}

impl Exit {
    /// The exit code, as the README promises it.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::World => 1,
            Self::Usage => 2,
            Self::Policy => 3,
            Self::Unproven => 4,
        }
    }
}

impl From<Blame> for Exit {
    fn from(blame: Blame) -> Self {
        match blame {
            Blame::User => Self::Usage,
            Blame::Policy => Self::Policy,
            Blame::World | Blame::Module | Blame::Us => Self::World,
        }
    }
}

/// How a run ends the process: a refusal by policy says more than a failure of the world.
pub(crate) fn of_run(report: &RunReport) -> Exit {
    let failures = report
        .data_sets
        .iter()
        .filter_map(|data_set| data_set.failure.as_ref());
    let exits: Vec<Exit> = failures.map(|failure| Exit::from(failure.blame)).collect();
    let first = [Exit::Policy, Exit::World, Exit::Usage]
        .into_iter()
        .find(|exit| exits.contains(exit));
    // What nobody covers is not proven by the success of the others.
    let unproven =
        report.data_sets.iter().any(|data_set| data_set.refused > 0) || !report.external.is_empty();
    first.unwrap_or(if unproven { Exit::Unproven } else { Exit::Done })
}

/// A wrong use, with the next step.
#[derive(Debug)]
pub(crate) struct Usage {
    error: anyhow::Error,
    /// What to do next.
    pub(crate) next: Option<String>,
}

impl Usage {
    /// A wrong use and what to do instead.
    pub(crate) fn hint(error: anyhow::Error, next: &str) -> anyhow::Error {
        anyhow::Error::new(Self {
            error,
            next: Some(next.to_owned()),
        })
    }
}

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for Usage {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

/// Says that a command failed, on standard error, and for scripts on standard output.
pub(crate) fn failed(error: &anyhow::Error, format: Format) -> Exit {
    let (exit, hint) = classify(error);
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        // Some libraries repeat their cause in their own message.
        if !text.ends_with(&cause) {
            text = if text.is_empty() {
                cause
            } else {
                format!("{text}: {cause}")
            };
        }
    }
    failure(&text, hint.as_deref());
    if format == Format::Json {
        let document =
            json!({ "error": { "message": text, "hint": hint, "exitCode": exit.code() } });
        let _closed = writeln!(anstream::stdout(), "{document:#}");
    }
    exit
}

/// Writes one failure and, apart from it, its hint.
pub(crate) fn failure(text: &str, hint: Option<&str>) {
    let red = anstyle::AnsiColor::Red.on_default().bold();
    let mut out = anstream::stderr().lock();
    // Nothing can be said where standard error is closed.
    let _closed = writeln!(out, "{red}error{red:#}: {text}");
    if let Some(hint) = hint {
        let cyan = anstyle::AnsiColor::Cyan.on_default();
        let _closed = writeln!(out, "{cyan}hint{cyan:#}: {hint}");
    }
}

/// Says something that is no failure and that a person should know, on standard error.
pub(crate) fn notice(text: &str) {
    let yellow = anstyle::AnsiColor::Yellow.on_default();
    // Nothing can be said where standard error is closed.
    let _closed = writeln!(anstream::stderr(), "{yellow}note{yellow:#}: {text}");
}

fn classify(error: &anyhow::Error) -> (Exit, Option<String>) {
    for cause in error.chain() {
        if let Some(usage) = cause.downcast_ref::<Usage>() {
            return (Exit::Usage, usage.next.clone());
        }
        if let Some(run) = cause.downcast_ref::<RunError>() {
            return (run.blame().into(), run.hint());
        }
        if let Some(manual) = cause.downcast_ref::<ManualError>() {
            return (manual.blame().into(), manual.hint());
        }
        if cause.is::<ApplicationError>() {
            return (
                Exit::Usage,
                Some(
                    "see the README for an application file, or write one with `cofferdam init`"
                        .into(),
                ),
            );
        }
        if let Some(modules) = cause.downcast_ref::<ModulesError>() {
            let hint = match modules {
                ModulesError::Missing { .. } => Some("name the folder with `--modules`, or set `COFFERDAM_MODULES`".into()),
                ModulesError::Unfit { .. } => Some("change version or digest in the application file, or install the module that it names".into()),
                ModulesError::Load(load) => load.hint(),
                ModulesError::List { .. } => None,
            };
            return (Exit::Usage, hint);
        }
        if let Some(PlanError::Binding { source, .. }) = cause.downcast_ref::<PlanError>() {
            return (Exit::Usage, source.hint());
        }
        if let Some(PlanError::External(_)) = cause.downcast_ref::<PlanError>() {
            return (
                Exit::Usage,
                Some("bind a module to it in the application file".into()),
            );
        }
        match cause.downcast_ref::<PlanError>() {
            Some(PlanError::NothingToQuiesce(_)) => {
                let hint = "name data sets of module `quiesce` below `spec.quiesce` in the application file, in the order in which they are to stop";
                return (Exit::Usage, Some(hint.into()));
            }
            Some(PlanError::Quiesces(_)) => {
                let hint = "say `--quiesce`; it runs all of `quiesce` beside what `--only` names";
                return (Exit::Usage, Some(hint.into()));
            }
            _ => {}
        }
        if let Some(era) = cause.downcast_ref::<EraError>() {
            let exit = match era {
                EraError::Cluster(error) => of_cluster(error),
                EraError::Denied(_) => Exit::Policy,
                EraError::Undecided { .. } | EraError::Another { .. } => Exit::Usage,
            };
            return (exit, era.hint());
        }
        if let Some(elsewhere) = cause.downcast_ref::<ElsewhereError>() {
            return of_elsewhere(elsewhere);
        }
        if matches!(
            cause.downcast_ref::<PlanError>(),
            Some(PlanError::Unknown { .. } | PlanError::Bound { .. })
        ) {
            return (
                Exit::Usage,
                Some("see what a module wants with `cofferdam modules inspect NAME`".into()),
            );
        }
        if cause.is::<PolicyErrors>() {
            return (
                Exit::Usage,
                Some("correct the policy and look at it with `cofferdam policy check`".into()),
            );
        }
        if let Some(repository) = cause.downcast_ref::<cofferdam_repository::Error>() {
            return (of_repository(repository), repository.hint());
        }
        if let Some(cluster) = cause.downcast_ref::<cofferdam_cluster::Error>() {
            return (of_cluster(cluster), cluster.hint().map(str::to_owned));
        }
    }
    (Exit::World, None)
}

fn of_repository(error: &cofferdam_repository::Error) -> Exit {
    match error.blame() {
        cofferdam_repository::Blame::User => Exit::Usage,
        cofferdam_repository::Blame::World | cofferdam_repository::Blame::Us => Exit::World,
    }
}

fn of_cluster(error: &cofferdam_cluster::Error) -> Exit {
    match error.whose_move() {
        cofferdam_cluster::Move::User => Exit::Usage,
        cofferdam_cluster::Move::World | cofferdam_cluster::Move::Us => Exit::World,
    }
}

fn of_elsewhere(error: &ElsewhereError) -> (Exit, Option<String>) {
    match error {
        ElsewhereError::Same(_) => (
            Exit::Usage,
            Some("leave `--to-namespace` out to restore in place".into()),
        ),
        ElsewhereError::Unknown(_) => (
            Exit::Usage,
            Some("map a workload that the application file names".into()),
        ),
        ElsewhereError::Parameter { .. } => (
            Exit::Usage,
            Some("restore with an application file whose parameters name the new hosts".into()),
        ),
        ElsewhereError::Leads { .. } => (
            Exit::Usage,
            Some("leave the objects out with `--only` and make them by hand, or say `--accept-source-hosts` and correct them before anything starts".into()),
        ),
        ElsewhereError::Unreadable { .. } => (Exit::World, None),
        ElsewhereError::Repository(error) => (of_repository(error), error.hint()),
    }
}

/// Sends what libraries trace to standard error: warnings of ours, and more when it is asked for.
pub(crate) fn listen(verbose: u8) {
    let filter = match verbose {
        0 => {
            "error,cofferdam_cluster=warn,cofferdam_runs=warn,cofferdam_repository=warn,rustic_core=off"
        }
        1 => {
            "warn,cofferdam_cluster=debug,cofferdam_engine=debug,cofferdam_runs=debug,cofferdam_repository=debug"
        }
        _ => "debug",
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .without_time()
        // It would say on standard error that standard error is closed, and panic.
        .log_internal_errors(false)
        .init();
}

/// The next step after a failure, where one is known.
pub(crate) fn hint_of(error: &anyhow::Error) -> Option<String> {
    classify(error).1
}
