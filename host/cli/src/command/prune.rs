//! `cofferdam prune`: forgets by rule, then removes what nothing needs any more.

use anyhow::Result;
use cofferdam_repository::{ForgetReport, PruneReport, Retention};
use serde::Serialize;

use crate::arguments::Prune;
use crate::output::{bytes, show, table};
use crate::report::Exit;
use crate::settings::Settings;
use crate::site;

#[derive(Serialize)]
struct Pruned {
    forget: ForgetReport,
    prune: PruneReport,
}

pub(super) async fn run(settings: &Settings, arguments: &Prune) -> Result<Exit> {
    let repository = site::repository(settings).await?;
    let keep = Retention {
        last: arguments.keep_last,
        hourly: arguments.keep_hourly,
        daily: arguments.keep_daily,
        weekly: arguments.keep_weekly,
        monthly: arguments.keep_monthly,
        yearly: arguments.keep_yearly,
        within: arguments.keep_within,
        keep_proven: !arguments.without_proven,
    };
    let forget = repository.forget(&keep, arguments.dry_run).await?;
    let prune = repository.prune(arguments.dry_run).await?;
    show(settings.format, &Pruned { forget, prune }, |pruned| {
        let rows = pruned.forget.decisions.iter().map(|decision| {
            let verdict = if decision.keep { "keep" } else { "forget" };
            vec![
                verdict.to_owned(),
                decision.run.clone(),
                decision.data_set.clone(),
                decision.reasons.join(", "),
            ]
        });
        let table = table(&["", "RUN", "DATA SET", "WHY"], rows, &[]);
        let prune = &pruned.prune;
        let word = if prune.dry_run { "would be" } else { "were" };
        format!(
            "{table}\n{} {word} marked for removal, {} {word} removed, {} are in use",
            bytes(prune.bytes_marked),
            bytes(prune.bytes_removed),
            bytes(prune.bytes_used)
        )
    })?;
    Ok(Exit::Done)
}
