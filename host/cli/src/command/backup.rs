//! `cofferdam backup`

use anyhow::Result;
use cofferdam_policy::request::RunKind;
use cofferdam_runs::plan::{Plan, Quiescing};

use crate::arguments::Backup;
use crate::report::Exit;
use crate::settings::Settings;
use crate::site;

pub(super) async fn run(settings: &Settings, backup: &Backup) -> Result<Exit> {
    let quiescing = if backup.quiesce {
        Quiescing::With
    } else {
        Quiescing::Without
    };
    let prepared = site::prepared(settings, &backup.selection.only, quiescing).await?;
    if backup.dry_run {
        let plan = Plan::new(RunKind::Backup, &prepared, &site::policy(settings)?, None);
        return super::show_plan(settings.format, &plan);
    }
    let runner = site::runner(settings, &backup.pace).await?;
    let report = runner.backup(&prepared).await?;
    super::finish(settings.format, &report)
}
