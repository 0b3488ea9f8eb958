//! `cofferdam restore`: replaces data, so it asks first.

use std::io::IsTerminal;

use anyhow::Result;
use cofferdam_policy::name::Namespace;
use cofferdam_policy::request::RunKind;
use cofferdam_runs::elsewhere::{ElsewhereError, Lead, LeadsTo, leads, listed};
use cofferdam_runs::plan::{Plan, Prepared};
use cofferdam_runs::run::{RunError, choose};

use crate::arguments::Restore;
use crate::report::{Exit, Usage};
use crate::settings::Settings;
use crate::site;

pub(super) async fn run(settings: &Settings, restore: &Restore) -> Result<Exit> {
    let choice = super::choice(&restore.run)?;
    let policy = site::policy(settings)?;
    let application = site::moved(settings, &restore.elsewhere, &policy).await?;
    let mut prepared = site::bound(settings, application, &restore.selection.only).await?;
    site::know_era(settings, &mut prepared).await?;
    let wanted: Vec<_> = prepared
        .data_sets
        .iter()
        .map(|one| one.data_set.name.clone())
        .collect();
    let runner = site::runner(settings, &restore.pace).await?;
    let kept = runner.repository.list().await?;
    let (from, snapshots) = choose(
        kept,
        &prepared.application,
        &wanted,
        prepared.whole,
        &choice,
    )
    .map_err(RunError::from)?;
    // A backup without `--quiesce` kept nothing of what that stops.
    prepared
        .data_sets
        .retain(|one| snapshots.contains_key(&one.data_set.name));
    if let Some(origin) = prepared.application.origin.clone() {
        let namespace = prepared.application.namespace.clone();
        let leads = leads(&runner.repository, &snapshots, &origin, &namespace).await?;
        prepared.warnings.push(format!(
            "restored elsewhere: from namespace `{origin}` into `{namespace}`"
        ));
        let accepted = restore.accept_source_hosts || restore.dry_run;
        prepared
            .warnings
            .extend(of_leads(leads, &origin, &namespace, accepted)?);
    }
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

/// What a person should know of hosts that are not in the namespace that is restored into.
fn of_leads(
    leads: Vec<Lead>,
    origin: &Namespace,
    target: &Namespace,
    accepted: bool,
) -> Result<Vec<String>, ElsewhereError> {
    let (back, outside): (Vec<Lead>, Vec<Lead>) = leads
        .into_iter()
        .partition(|lead| lead.to == LeadsTo::Origin);
    let mut warnings = Vec::new();
    if !back.is_empty() {
        let error = ElsewhereError::Leads {
            target: target.clone(),
            origin: origin.clone(),
            leads: back,
        };
        if !accepted {
            return Err(error);
        }
        warnings.push(error.to_string());
    }
    if !outside.is_empty() {
        warnings.push(format!(
            "source and copy share what these name outside of both namespaces: {}",
            listed(&outside)
        ));
    }
    Ok(warnings)
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
