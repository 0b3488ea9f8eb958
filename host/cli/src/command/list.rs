//! `cofferdam list`

use anyhow::Result;
use cofferdam_runs::application::External;
use cofferdam_runs::run::{KeptRun, kept_runs};
use serde::Serialize;

use crate::output::{bytes, show, table};
use crate::report::Exit;
use crate::settings::Settings;
use crate::site;

#[derive(Serialize)]
struct Listing {
    runs: Vec<Row>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Row {
    run: String,
    application: String,
    namespace: String,
    started: jiff::Timestamp,
    /// Whether every data set of the application is there. Each one that is there is whole.
    whole: bool,
    missing: Vec<String>,
    /// What was covered by nobody.
    external: Vec<External>,
    pub(super) data_sets: Vec<DataSetRow>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DataSetRow {
    pub(super) name: String,
    pub(super) module: String,
    pub(super) snapshot: String,
    pub(super) bytes: u64,
    pub(super) stored_bytes: u64,
    pub(super) proofs: usize,
}

impl From<&KeptRun> for Row {
    fn from(run: &KeptRun) -> Self {
        let data_sets = run.snapshots.iter().map(|(name, snapshot)| DataSetRow {
            name: name.clone(),
            module: format!(
                "{} {}",
                snapshot.description.module.name, snapshot.description.module.version
            ),
            snapshot: snapshot.id.to_string(),
            bytes: snapshot
                .artifacts
                .iter()
                .map(|artifact| artifact.bytes)
                .sum(),
            stored_bytes: snapshot
                .artifacts
                .iter()
                .map(|artifact| artifact.stored_bytes)
                .sum(),
            proofs: snapshot.proofs.len(),
        });
        Self {
            run: run.run.clone(),
            application: run.application.clone(),
            namespace: run.namespace.clone(),
            started: run.started,
            whole: run.missing.is_empty() && run.external.is_empty(),
            missing: run.missing.clone(),
            external: run.external.clone(),
            data_sets: data_sets.collect(),
        }
    }
}

pub(super) async fn run(settings: &Settings) -> Result<Exit> {
    let repository = site::repository(settings).await?;
    let runs = kept_runs(repository.list().await?);
    let listing = Listing {
        runs: runs.iter().map(Row::from).collect(),
    };
    show(settings.format, &listing, |listing| {
        let rows = listing.runs.iter().map(|run| {
            let total =
                |field: fn(&DataSetRow) -> u64| bytes(run.data_sets.iter().map(field).sum());
            let proven = run
                .data_sets
                .iter()
                .filter(|data_set| data_set.proofs > 0)
                .count();
            let external: Vec<&str> = run.external.iter().map(|one| one.name.as_str()).collect();
            let mut missing = Vec::new();
            if !run.missing.is_empty() {
                missing.push(format!("without {}", run.missing.join(", ")));
            }
            if !external.is_empty() {
                missing.push(format!("external, not covered: {}", external.join(", ")));
            }
            vec![
                run.run.clone(),
                run.application.clone(),
                run.namespace.clone(),
                format!(
                    "{} of {}",
                    run.data_sets.len(),
                    run.data_sets.len() + run.missing.len() + run.external.len()
                ),
                format!("{proven} proven"),
                total(|data_set| data_set.bytes),
                total(|data_set| data_set.stored_bytes),
                missing.join("; "),
            ]
        });
        table(
            &[
                "RUN",
                "APPLICATION",
                "NAMESPACE",
                "DATA SETS",
                "PROOF",
                "BYTES",
                "STORED",
                "",
            ],
            rows,
            &[5, 6],
        )
    })?;
    Ok(Exit::Done)
}
