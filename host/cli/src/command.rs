//! The commands, one file each: what was typed goes in, a result or an error comes out.

mod backup;
mod check;
mod export;
mod import;
mod init;
mod init_threescale;
mod list;
mod modules;
mod policy;
mod prune;
mod repository;
mod restore;
mod show;
mod verify;

use std::io::Write as _;

use anyhow::Result;
use clap::CommandFactory;
use cofferdam_policy::name::DataSetName;
use cofferdam_runs::plan::Plan;
use cofferdam_runs::report::RunReport;
use cofferdam_runs::run::Choice;
use cofferdam_runs::skew::Taken;
use jiff::Timestamp;

use crate::arguments::{Arguments, Command, Format, InitOf};
use crate::output::{bytes, clean, milliseconds, show, table};
use crate::report::{Exit, Usage, of_run};
use crate::settings::Settings;

/// Carries out what was typed.
///
/// # Errors
/// Whatever the command could not do.
pub(crate) async fn carry_out(command: Command, settings: &Settings) -> Result<Exit> {
    match command {
        Command::Init(init) => match &init.of {
            Some(InitOf::Threescale(threescale)) => {
                init_threescale::run(settings, threescale).await
            }
            None => init::run(settings, &init),
        },
        Command::Check(selection) => check::run(settings, &selection.only).await,
        Command::Backup(backup) => backup::run(settings, &backup).await,
        Command::Restore(restore) => restore::run(settings, &restore).await,
        Command::Verify(verify) => verify::run(settings, &verify).await,
        Command::List => list::run(settings).await,
        Command::Show(show) => show::run(settings, &show).await,
        Command::Import(import) => import::run(settings, &import).await,
        Command::Export(export) => export::run(settings, &export).await,
        Command::Prune(prune) => prune::run(settings, &prune).await,
        Command::Modules(modules) => modules::run(settings, &modules),
        Command::Policy(policy) => policy::run(settings, &policy).await,
        Command::Repository(repository) => repository::run(settings, &repository).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "cofferdam", &mut script);
            // Who stops reading has what it wants.
            let _closed = std::io::stdout().write_all(&script);
            Ok(Exit::Done)
        }
    }
}

/// `latest`, or a run id.
fn choice(text: &str) -> Result<Choice> {
    match text {
        "latest" => Ok(Choice::Latest),
        id => match id.parse() {
            Ok(id) => Ok(Choice::Run(id)),
            Err(error) => Err(Usage::hint(
                anyhow::Error::new(error),
                "run `cofferdam list` to see the ids, or say `latest`",
            )),
        },
    }
}

/// Writes the report of a run; its failures have been said already, as they came.
fn finish(format: Format, report: &RunReport) -> Result<Exit> {
    show(format, report, |report| {
        let rows = report.data_sets.iter().map(|data_set| {
            let digest = match data_set.artifacts.as_slice() {
                [] => String::new(),
                [only] => only.sha256.chars().take(12).collect(),
                several => format!("{} artifacts", several.len()),
            };
            let state = if data_set.failure.is_some() {
                "failed"
            } else {
                "ok"
            };
            vec![
                data_set.name.to_string(),
                data_set.module.to_string(),
                bytes(data_set.bytes),
                bytes(data_set.stored_bytes),
                milliseconds(data_set.milliseconds),
                digest,
                state.to_owned(),
            ]
        });
        let external = report.external.iter().map(|external| {
            let mut row = vec![String::new(); 7];
            if let Some(name) = row.first_mut() {
                *name = external.name.to_string();
            }
            if let Some(state) = row.last_mut() {
                *state = "external, not covered".to_owned();
            }
            row
        });
        let mut text = table(
            &[
                "DATA SET", "MODULE", "BYTES", "STORED", "TIME", "SHA-256", "STATE",
            ],
            rows.chain(external),
            &[2, 3, 4],
        );
        for external in &report.external {
            text.push_str(&format!("\n{}: {}", external.name, external.state()));
        }
        if let Some(taken) = &report.taken {
            text.push_str(&format!(
                "\ntaken {}",
                taken_text(taken, |at| at.to_string())
            ));
        }
        if !report.left_out.is_empty() {
            text.push_str(&format!("\n{}", left_out_text(&report.left_out)));
        }
        for warning in &report.warnings {
            text.push_str(&format!("\nwarning: {}", clean(warning)));
        }
        if let Some(era) = &report.era {
            text.push_str(&format!("\n{era}"));
        }
        format!("{text}\n{} {}", report.kind, report.run)
    })?;
    Ok(of_run(report))
}

/// Over what time a backup was taken, with times as `at` writes them, and how still the application
/// stood.
fn taken_text(taken: &Taken, at: fn(Timestamp) -> String) -> String {
    let span = taken.to.duration_since(taken.from).as_millis();
    let span = milliseconds(u64::try_from(span).unwrap_or(0));
    let (from, to) = (at(taken.from), at(taken.to));
    let mut text = if from == to {
        format!("over {span}, at {from}")
    } else {
        format!("over {span}, from {from} to {to}")
    };
    if taken.quiesced.is_empty() {
        text.push_str(", while the application went on");
    } else {
        let stopped = taken.quiesced.join(", ");
        text.push_str(&format!(", while the application stood still ({stopped})"));
    }
    if !taken.outside.is_empty() {
        let outside = taken.outside.join(", ");
        text.push_str(&format!("; taken before it did: {outside}"));
    }
    clean(&text)
}

fn left_out_text(names: &[DataSetName]) -> String {
    let names: Vec<&str> = names.iter().map(DataSetName::as_str).collect();
    format!("left out without `--quiesce`: {}", names.join(", "))
}

/// Writes a plan.
fn show_plan(format: Format, plan: &Plan) -> Result<Exit> {
    show(format, plan, |plan| {
        let mut text = format!("{} in namespace {}\n", plan.kind, plan.namespace);
        if let Some(era) = &plan.era {
            text.push_str(&format!("{era}\n"));
        }
        for warning in &plan.warnings {
            text.push_str(&format!("warning: {}\n", clean(warning)));
        }
        if !plan.quiesce.is_empty() {
            let names: Vec<&str> = plan.quiesce.iter().map(DataSetName::as_str).collect();
            text.push_str(&format!(
                "stopped until the backup has ended, and put back in reverse: {}\n",
                names.join(", ")
            ));
        }
        if !plan.left_out.is_empty() {
            text.push_str(&format!("{}\n", left_out_text(&plan.left_out)));
        }
        for (index, data_set) in plan.data_sets.iter().enumerate() {
            let after: Vec<&str> = data_set.after.iter().map(DataSetName::as_str).collect();
            let after = if after.is_empty() {
                String::new()
            } else {
                format!(", after {}", after.join(", "))
            };
            text.push_str(&format!(
                "{}. {} {} by {}{after}\n",
                index + 1,
                plan.kind,
                data_set.name,
                data_set.module
            ));
            for line in &data_set.allowed {
                text.push_str(&format!("   may  {line}\n"));
            }
            for line in &data_set.denied {
                text.push_str(&format!("   DENY {line}\n"));
            }
        }
        for external in &plan.external {
            text.push_str(&format!("-  {} is {}\n", external.name, external.state()));
        }
        text
    })?;
    Ok(Exit::Done)
}
