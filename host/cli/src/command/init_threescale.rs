//! `cofferdam init threescale`: the application file and the smallest policy for a 3scale, by looking
//! at its namespace.
//!
//! Writes both files or none, and says what neither covers.

use std::sync::Arc;

use anyhow::Result;
use cofferdam_engine::Manifest;
use cofferdam_policy::name::Namespace;
use cofferdam_policy::request::WorkloadKind;
use cofferdam_policy::{Pin, Policy, smallest_policy};
use cofferdam_runs::application::Application;
use cofferdam_runs::plan::{Quiescing, prepare};
use cofferdam_runs::threescale::{Era, EraError, Found, Heading, NotCovered, draft, find, look};
use serde::Serialize;

use crate::arguments::InitThreescale;
use crate::output::{clean, show};
use crate::report::{Exit, Usage};
use crate::settings::Settings;
use crate::site;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    file: std::path::PathBuf,
    policy: std::path::PathBuf,
    namespace: Namespace,
    era: Era,
    asserted: bool,
    not_covered: Vec<NotCovered>,
}

pub(super) async fn run(settings: &Settings, init: &InitThreescale) -> Result<Exit> {
    let Some(policy_path) = settings.policy.first() else {
        return Err(Usage::hint(
            anyhow::anyhow!("no policy file was named"),
            "name it with `--policy`",
        ));
    };
    if !init.force {
        site::is_free(&settings.file)?;
        site::is_free(policy_path)?;
    }
    let cluster = site::cluster(settings).await?;
    let namespace = match &init.namespace {
        Some(namespace) => namespace.clone(),
        None => cluster.default_namespace().parse()?,
    };
    let found = found(&cluster, init, &namespace).await?;

    let modules = site::modules(settings)?;
    let mut manifests: Vec<Arc<Manifest>> = Vec::new();
    for (path, loaded) in modules.all()? {
        match loaded {
            Ok(module) => manifests.push(module.manifest().clone()),
            Err(error) => tracing::error!("passed over `{}`: {error}", path.display()),
        }
    }
    let heading = Heading {
        name: init.name.clone(),
        namespace: namespace.clone(),
        asserted: init.era.is_some(),
    };
    let draft = draft(&found, &heading, &manifests);
    let application = Application::parse(&draft.text)?;
    let prepared = tokio::task::spawn_blocking(move || {
        prepare(application, &modules, &[], Quiescing::AsOthers)
    })
    .await??;
    let policy = smallest_policy(&prepared.grants(), Pin::Version);
    site::write_new(&settings.file, &draft.text, init.force)?;
    site::write_new(policy_path, &policy, init.force)?;

    let written = Written {
        file: settings.file.clone(),
        policy: policy_path.clone(),
        namespace,
        era: found.era,
        asserted: heading.asserted,
        not_covered: draft.not_covered,
    };
    show(settings.format, &written, |written| {
        let how = if written.asserted {
            "as `--era` says"
        } else {
            "found by looking"
        };
        let mut text = format!("3scale of era {}, {how}\n", written.era);
        for one in &written.not_covered {
            text.push_str(&clean(&format!("not covered: {}: {}", one.name, one.why)));
            text.push('\n');
        }
        format!(
            "{text}wrote `{}` and `{}`: read them, then run `cofferdam check`",
            written.file.display(),
            written.policy.display()
        )
    })?;
    Ok(Exit::Done)
}

async fn found(
    cluster: &cofferdam_cluster::Cluster,
    init: &InitThreescale,
    namespace: &Namespace,
) -> Result<Found> {
    // The policy of the site is not written yet: the base lets the host look, and no more.
    let policy = Policy::parse(&[])?;
    let asserted = init.era.map(Era::from);
    let kinds = match asserted {
        // What is not asked for is not looked at: the account may not be allowed to.
        Some(era) => vec![era.kind()],
        None => vec![WorkloadKind::DeploymentConfig, WorkloadKind::Deployment],
    };
    let seen = look(cluster, &policy, &init.name, namespace, &kinds).await?;
    let found = match asserted {
        Some(era) => seen.of(era),
        None => find(&seen),
    };
    Ok(found.map_err(|undecided| EraError::Undecided {
        namespace: namespace.clone(),
        undecided,
    })?)
}
