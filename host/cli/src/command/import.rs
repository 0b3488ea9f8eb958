//! `cofferdam import`: what was backed up by hand becomes a run like any other.

use anyhow::Result;
use cofferdam_runs::manual::Import;
use cofferdam_runs::plan::Quiescing;

use crate::arguments;
use crate::report::{Exit, failure, notice};
use crate::settings::Settings;
use crate::site;

pub(super) async fn run(settings: &Settings, import: &arguments::Import) -> Result<Exit> {
    let prepared = site::prepared(settings, &import.selection.only, Quiescing::AsOthers).await?;
    let repository = site::repository(settings).await?;
    let cancel = site::cancellation();
    let import = Import {
        repository: &repository,
        state: &settings.state,
        prepared: &prepared,
        folder: &import.folder,
        cancel: &cancel,
    };
    let imported = import.carry_out().await?;
    for data_set in &imported.report.data_sets {
        if let Some(failed) = &data_set.failure {
            failure(
                &format!("{}: {}", data_set.name, failed.message),
                failed.hint.as_deref(),
            );
        }
    }
    let exit = super::finish(settings.format, &imported.report)?;
    let run = &imported.report.run;
    notice(&format!(
        "`latest` now means this import, however old its files are: `cofferdam verify {run}` has the modules read it"
    ));
    Ok(match exit {
        Exit::Done if !imported.missing.is_empty() => Exit::Unproven,
        exit => exit,
    })
}
