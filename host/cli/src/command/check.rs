//! `cofferdam check`: everything that a run needs, looked at before it is needed.
//!
//! Ends as a run would that finds what it needs: with 4 where something is external and not covered.

use anyhow::Result;
use cofferdam_policy::name::DataSetName;
use cofferdam_runs::preflight::{Finding, State, look};
use serde::Serialize;

use crate::output::{clean, show};
use crate::report::{Exit, hint_of};
use crate::settings::Settings;
use crate::site;

#[derive(Serialize)]
struct Checked {
    findings: Vec<Finding>,
}

pub(super) async fn run(settings: &Settings, only: &[DataSetName]) -> Result<Exit> {
    let mut prepared = site::bound(settings, site::application(settings)?, only).await?;
    let names: Vec<String> = prepared
        .data_sets
        .iter()
        .map(|one| one.data_set.name.to_string())
        .collect();
    let mut findings = vec![Finding::ok(
        "application",
        format!("`{}` with {}", prepared.application.name, names.join(", ")),
    )];
    for external in &prepared.external {
        findings.push(Finding::warning(
            external.name.to_string(),
            external.state(),
            "bind a module to it, or know that this check and every run end with exit code 4",
        ));
    }
    match site::know_era(settings, &mut prepared).await {
        Ok(()) => {
            let era = prepared.era.as_ref();
            findings.extend(era.map(|era| Finding::ok("era", era.to_string())));
            for warning in &prepared.warnings {
                let hint = "see `cofferdam init threescale --help`";
                findings.push(Finding::warning("era", warning.clone(), hint));
            }
        }
        Err(error) => findings.push(failed("era", &error)),
    }
    findings.push(match site::repository(settings).await {
        Ok(repository) => Finding::ok("repository", format!("{} opens", repository.location())),
        Err(error) => failed("repository", &error),
    });
    match (site::policy(settings), site::cluster(settings).await) {
        (Ok(policy), Ok(cluster)) => findings.extend(look(&prepared, &cluster, &policy).await),
        (policy, cluster) => {
            findings.extend(policy.err().map(|error| failed("policy", &error)));
            findings.extend(cluster.err().map(|error| failed("cluster", &error)));
        }
    }
    let checked = Checked { findings };
    show(settings.format, &checked, text)?;
    let refused = checked
        .findings
        .iter()
        .any(|finding| finding.state == State::Failed);
    // As a run ends that does all it can: nothing is wrong, and not all of it is covered.
    Ok(match (refused, prepared.external.is_empty()) {
        (true, _) => Exit::World,
        (false, false) => Exit::Unproven,
        (false, true) => Exit::Done,
    })
}

fn failed(subject: &str, error: &anyhow::Error) -> Finding {
    Finding::failed(subject, format!("{error:#}"), hint_of(error))
}

fn text(checked: &Checked) -> String {
    let mut text = String::new();
    for finding in &checked.findings {
        let word = match finding.state {
            State::Ok => "ok     ",
            State::Warning => "warning",
            State::Failed => "FAILED ",
        };
        text.push_str(&format!(
            "{word}  {}: {}\n",
            clean(&finding.subject),
            clean(&finding.message)
        ));
        if let Some(hint) = &finding.hint {
            text.push_str(&format!("         hint: {}\n", clean(hint)));
        }
    }
    text
}
