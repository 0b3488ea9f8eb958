//! `cofferdam policy`: write the smallest one, and say what one allows.

use anyhow::Result;
use cofferdam_policy::finding::Finding;
use cofferdam_policy::{Denied, Pin, smallest_policy};
use serde::Serialize;
use serde_json::json;

use crate::arguments::{Elsewhere, PinArgument, Policy};
use crate::output::{clean, show};
use crate::report::{Exit, Usage};
use crate::settings::Settings;
use crate::site;

pub(super) async fn run(settings: &Settings, policy: &Policy) -> Result<Exit> {
    match policy {
        Policy::Init {
            pin,
            force,
            elsewhere,
        } => init(settings, *pin, *force, elsewhere).await,
        Policy::Check => check(settings).await,
    }
}

async fn init(
    settings: &Settings,
    pin: PinArgument,
    force: bool,
    elsewhere: &Elsewhere,
) -> Result<Exit> {
    // The policy of the site is what is about to be written: the base lets the host look.
    let base = cofferdam_policy::Policy::parse(&[])?;
    let application = site::moved(settings, elsewhere, &base).await?;
    let prepared = site::bound(settings, application, &[]).await?;
    let pin = match pin {
        PinArgument::Name => Pin::Name,
        PinArgument::Version => Pin::Version,
        PinArgument::Digest => Pin::Digest,
    };
    let Some(path) = settings.policy.first() else {
        return Err(Usage::hint(
            anyhow::anyhow!("no policy file was named"),
            "name it with `--policy`",
        ));
    };
    site::write_new(path, &smallest_policy(&prepared.grants(), pin), force)?;
    let document = json!({ "policy": path });
    show(settings.format, &document, |_| {
        format!(
            "wrote `{}`: read it, cut it down, commit it",
            path.display()
        )
    })?;
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct Checked {
    allowed: usize,
    denied: Vec<Refusal>,
    findings: Vec<Finding>,
}

#[derive(Serialize)]
struct Refusal {
    capability: String,
    subject: String,
    rule: String,
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        Self {
            capability: denied.capability,
            subject: denied.subject,
            rule: denied.rule,
        }
    }
}

async fn check(settings: &Settings) -> Result<Exit> {
    let policy = site::policy(settings)?;
    let prepared = site::bound(settings, site::application(settings)?, &[]).await?;
    let inspection = policy.inspect(&prepared.grants());
    let mut findings = policy.findings();
    for finding in inspection.findings {
        if !findings.contains(&finding) {
            findings.push(finding);
        }
    }
    let mut denied: Vec<Denied> = Vec::new();
    for one in inspection.denied {
        if !denied.contains(&one) {
            denied.push(one);
        }
    }
    let checked = Checked {
        allowed: inspection.allowed,
        denied: denied.into_iter().map(Refusal::from).collect(),
        findings,
    };
    show(settings.format, &checked, |checked| {
        let mut text = String::new();
        for finding in &checked.findings {
            let place = match (&finding.file, finding.line) {
                (Some(file), Some(line)) => format!("{file}:{line}: "),
                (Some(file), None) => format!("{file}: "),
                (None, _) => String::new(),
            };
            text.push_str(&clean(&format!(
                "look at {place}rule `{}`: {}",
                finding.rule, finding.message
            )));
            text.push('\n');
        }
        for one in &checked.denied {
            text.push_str(&clean(&format!(
                "denied: {} {}: {}",
                one.capability, one.subject, one.rule
            )));
            text.push('\n');
        }
        format!(
            "{text}the policy is valid; of what the modules declare it allows {} requests and denies {}",
            checked.allowed,
            checked.denied.len()
        )
    })?;
    Ok(Exit::Done)
}
