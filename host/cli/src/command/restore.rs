//! `cofferdam restore`: replaces data, so it asks first.

use std::io::IsTerminal;

use anyhow::Result;
use cofferdam_policy::request::RunKind;
use cofferdam_runs::plan::{Plan, Prepared};
use cofferdam_runs::run::{RunError, choose};

use crate::arguments::Restore;
use crate::report::{Exit, Usage};
use crate::settings::Settings;
use crate::site;

pub(super) async fn run(settings: &Settings, restore: &Restore) -> Result<Exit> {
    let choice = super::choice(&restore.run)?;
    let prepared = site::prepared(settings, &restore.selection.only).await?;
    let wanted: Vec<_> = prepared
        .data_sets
        .iter()
        .map(|one| one.data_set.name.clone())
        .collect();
    let runner = site::runner(settings, &restore.pace).await?;
    let kept = runner.repository.list().await?;
    let (from, _) = choose(
        kept,
        &prepared.application,
        &wanted,
        prepared.whole,
        &choice,
    )
    .map_err(RunError::from)?;
    if restore.dry_run {
        let plan = Plan::new(RunKind::Restore, &prepared, &runner.policy, Some(from));
        return super::show_plan(settings.format, &plan);
    }
    if !restore.yes {
        ask(&prepared, &from)?;
    }
    let report = runner.restore(&prepared, &choice).await?;
    super::finish(settings.format, &report)
}

/// Asks on a terminal; elsewhere `--yes` must have been said. Whether a database is empty only its
/// module could tell, so it is always asked.
fn ask(prepared: &Prepared, from: &str) -> Result<()> {
    let application = &prepared.application;
    let names: Vec<String> = prepared
        .data_sets
        .iter()
        .map(|one| one.data_set.name.to_string())
        .collect();
    let question = format!(
        "Replace {} of `{}` in namespace `{}` with run {from}?",
        names.join(", "),
        application.name,
        application.namespace
    );
    if !std::io::stdin().is_terminal() {
        return Err(Usage::hint(
            anyhow::anyhow!("a restore replaces data, and nobody is there to be asked"),
            "say `--yes`, after a look at `--dry-run`",
        ));
    }
    if dialoguer::Confirm::new()
        .with_prompt(question)
        .default(false)
        .interact()?
    {
        return Ok(());
    }
    Err(Usage::hint(
        anyhow::anyhow!("not restored"),
        "nothing was touched",
    ))
}
