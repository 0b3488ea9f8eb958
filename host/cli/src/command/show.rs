//! `cofferdam show`: what a run kept, what proves it whole, and what its modules did.

mod page;

use std::path::Path;

use anyhow::{Context, Result};
use cofferdam_policy::name::ApplicationName;
use cofferdam_repository::Snapshot;
use cofferdam_runs::application::External;
use cofferdam_runs::audit::{self, Entry, Head, Line};
use cofferdam_runs::history::history;
use cofferdam_runs::run::{Choice, KeptRun, NoSnapshot, RunError, kept_runs};
use cofferdam_runs::skew::Taken;
use cofferdam_runs::state::{ApplicationState, RunId};
use serde::Serialize;
use serde_json::json;

use crate::arguments::Show;
use crate::output::{bytes, clean, show};
use crate::report::{Exit, Usage};
use crate::settings::Settings;
use crate::site;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    run: String,
    application: String,
    namespace: String,
    started: jiff::Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    era: Option<serde_json::Value>,
    missing: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    taken: Option<Taken>,
    external: Vec<External>,
    snapshots: Vec<Snapshot>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audit: Option<Vec<Line>>,
}

pub(super) async fn run(settings: &Settings, arguments: &Show) -> Result<Exit> {
    let choice = super::choice(&arguments.run)?;
    let repository = site::repository(settings).await?;
    let runs = kept_runs(repository.list().await?);
    if let Some(path) = &arguments.html {
        let (run, application) = known(settings, &runs, &choice)?;
        let place = repository.location();
        return write_page(
            settings,
            (&run, &application),
            &runs,
            &place,
            path,
            arguments,
        );
    }
    let run = find(settings, &runs, &choice)?.clone();
    let audit = if arguments.audit {
        Some(audit_of(settings, &run)?)
    } else {
        None
    };
    let shown = Shown {
        taken: run.taken(),
        run: run.run,
        application: run.application,
        namespace: run.namespace,
        started: run.started,
        era: run.era,
        missing: run.missing,
        external: run.external,
        snapshots: run.snapshots.into_values().collect(),
        audit,
    };
    show(settings.format, &shown, text)?;
    Ok(Exit::Done)
}

/// The run that is named; for `latest` the newest of the application file, where there is one.
pub(super) fn find<'a>(
    settings: &Settings,
    runs: &'a [KeptRun],
    choice: &Choice,
) -> Result<&'a KeptRun> {
    let ours = site::application(settings).ok();
    let wanted = |run: &KeptRun| match choice {
        Choice::Run(id) => run.run == id.as_str(),
        Choice::Latest => ours.as_ref().is_none_or(|application| {
            run.application == application.name.as_str()
                && run.namespace == application.namespace.as_str()
        }),
    };
    if let Some(run) = runs.iter().find(|run| wanted(run)) {
        return Ok(run);
    }
    if let Choice::Run(id) = choice
        && ApplicationState::of_run(&settings.state, id).is_some()
    {
        return Err(Usage::hint(
            anyhow::anyhow!("run `{id}` kept nothing: it was a restore, a verify, or it failed"),
            "see what it did with `--html FILE`",
        ));
    }
    let missing = match choice {
        Choice::Run(id) => RunError::from(NoSnapshot::Unknown(id.clone())).into(),
        Choice::Latest => anyhow::anyhow!("the repository holds no run"),
    };
    Err(Usage::hint(
        missing,
        "run `cofferdam list` to see the runs that are kept",
    ))
}

/// The run that is named and its application: one that the repository keeps, or one that this machine
/// made and that kept nothing, such as a restore.
fn known(
    settings: &Settings,
    runs: &[KeptRun],
    choice: &Choice,
) -> Result<(RunId, ApplicationName)> {
    if let Choice::Run(id) = choice
        && !runs.iter().any(|run| run.run == id.as_str())
        && let Some(application) = ApplicationState::of_run(&settings.state, id)
    {
        return Ok((id.clone(), application));
    }
    let run = find(settings, runs, choice)?;
    Ok((run.run.parse()?, run.application.parse()?))
}

fn write_page(
    settings: &Settings,
    (run, application): (&RunId, &ApplicationName),
    runs: &[KeptRun],
    repository: &str,
    path: &Path,
    arguments: &Show,
) -> Result<Exit> {
    let folder = ApplicationState::open(&settings.state, application)?.run(run);
    let history = history(run, application, runs, &folder)
        .with_context(|| format!("neither repository nor state folder knows run `{run}`"))?;
    let text = page::page(&history, repository, jiff::Timestamp::now());
    site::write_new(path, &text, arguments.force)?;
    show(
        settings.format,
        &json!({ "run": run, "html": path }),
        |_| format!("wrote `{}`", path.display()),
    )?;
    Ok(Exit::Done)
}

/// The audit log of the run on this machine, checked against itself and against what the snapshots
/// vouch for.
fn audit_of(settings: &Settings, run: &KeptRun) -> Result<Vec<Line>> {
    let application = run.application.parse()?;
    let id: RunId = run.run.parse()?;
    let path = ApplicationState::open(&settings.state, &application)?
        .run(&id)
        .audit();
    let vouched: Vec<Head> = run
        .snapshots
        .values()
        .filter_map(|snapshot| serde_json::from_value(snapshot.metadata.get("audit")?.clone()).ok())
        .collect();
    read_audit(&path, &vouched)
}

fn read_audit(path: &Path, vouched: &[Head]) -> Result<Vec<Line>> {
    let text = fs_err::read_to_string(path)
        .map_err(|error| Usage::hint(error.into(), "audit logs stay on the machine that made the run: name its state folder with `--state`"))?;
    Ok(audit::check(&text, vouched)?)
}

fn text(shown: &Shown) -> String {
    let mut text = format!(
        "run {} of {} in {}, {}\n",
        shown.run, shown.application, shown.namespace, shown.started
    );
    if !shown.missing.is_empty() {
        text.push_str(&format!("did not keep {}\n", shown.missing.join(", ")));
    }
    if let Some(taken) = &shown.taken {
        let said = super::taken_text(taken, |at| at.to_string());
        text.push_str(&format!("taken {said}\n"));
    }
    for external in &shown.external {
        text.push_str(&clean(&format!("{}: {}", external.name, external.state())));
        text.push('\n');
    }
    for snapshot in &shown.snapshots {
        let module = &snapshot.description.module;
        let name = clean(&snapshot.description.data_set);
        text.push_str(&format!(
            "\n{name}  snapshot {}\n  module {} {} {}\n",
            snapshot.id,
            clean(&module.name),
            clean(&module.version),
            clean(&module.digest)
        ));
        for artifact in &snapshot.artifacts {
            text.push_str(&format!(
                "  {}  {} ({} stored)  sha256 {}\n",
                artifact.name,
                bytes(artifact.bytes),
                bytes(artifact.stored_bytes),
                artifact.sha256
            ));
            for (key, value) in &artifact.evidence {
                text.push_str(&format!("    {}: {}\n", clean(key), clean(value)));
            }
        }
        for proof in &snapshot.proofs {
            text.push_str(&format!(
                "  proven by {} {} at {}\n",
                clean(&proof.kind),
                clean(&proof.run),
                proof.at
            ));
        }
    }
    if let Some(lines) = &shown.audit {
        text.push_str(&format!(
            "\naudit log: {} lines, as they were written\n",
            lines.len()
        ));
        for line in lines {
            text.push_str(&format!(
                "{:>5} {} {}\n",
                line.sequence,
                line.at,
                audit_text(line)
            ));
        }
    }
    text
}

fn audit_text(line: &Line) -> String {
    let data_set = line
        .data_set
        .as_ref()
        .map(|name| format!("{name}: "))
        .unwrap_or_default();
    let said = match &line.entry {
        Entry::Permitted {
            capability,
            subject,
            rules,
        } => format!("permitted {capability} {subject} by {}", rules.join(", ")),
        Entry::Denied {
            capability,
            subject,
            rule,
        } => format!("DENIED {capability} {subject}: {rule}"),
        Entry::Done {
            permitted,
            result,
            bytes,
            sha256,
            milliseconds,
        } => {
            let bytes = bytes
                .map(|bytes| format!(", {bytes} bytes"))
                .unwrap_or_default();
            let sha256 = sha256
                .as_ref()
                .map(|digest| format!(", sha256 {digest}"))
                .unwrap_or_default();
            format!("ended {permitted}: {result}{bytes}{sha256}, {milliseconds} ms")
        }
        Entry::Imported {
            file,
            artifact,
            bytes,
            sha256,
        } => format!("imported {file} as {artifact}, {bytes} bytes, sha256 {sha256}"),
        Entry::RunFinished { succeeded: true } => "the run succeeded".to_owned(),
        Entry::RunFinished { succeeded: false } => "the run did not succeed".to_owned(),
    };
    clean(&format!("{data_set}{said}"))
}
