//! `cargo xtask demo`: a small 3scale-like application on a local cluster is backed up, destroyed and
//! restored with the product's own commands, and shown to be what it was by plain clients.
//!
//! It must never say equal of what it has not seen before and after, and leaves nothing running.

pub(crate) mod application;
pub(crate) mod files;
mod mysql;
pub(crate) mod objects;
mod outcome;
pub(crate) mod postgresql;
pub(crate) mod product;
pub(crate) mod redis;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use fs_err as fs;

use crate::build::Profile;
use crate::interrupt;
use crate::kubectl::Kubectl;
use crate::local_cluster::{Lifetime, LocalCluster};
use crate::output;
use crate::progress::Progress;
use crate::settings::Settings;
use crate::stage::{Databases, Stage, Wanted};
use application::{DataSet, NAMESPACE};
use outcome::{Outcome, Row};
use product::Product;

/// How the demo ends.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Form of the result
    #[arg(long, value_enum, default_value_t = Form::Text)]
    output: Form,
    /// Leave the cluster up, to try `kubectl` and `cofferdam` by hand
    #[arg(long)]
    keep: bool,
}

/// Form of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// A table for people.
    Text,
    /// Data for scripts.
    Json,
}

/// `cargo xtask demo`.
pub(crate) fn command(
    arguments: &Arguments,
    settings: &Settings,
    progress: &Progress,
) -> anyhow::Result<ExitCode> {
    let stage = Stage::set_up(
        settings,
        Wanted {
            purpose: "demo",
            profile: Profile::Development,
            lifetime: if arguments.keep {
                Lifetime::MayStay
            } else {
                Lifetime::Bound
            },
            databases: Databases::Initialised,
            namespace: NAMESPACE,
        },
        *progress,
    )?;
    let step = progress.start(
        "application",
        "starting 3scale: its databases, and stand-ins",
    );
    let files = application::whole(&stage.workspace.root)?;
    let objects = application::apply(&stage.kubectl, &files, &settings.image)?;
    application::wait(&stage.kubectl)?;
    step.done("is up");

    let product = prepare_product(
        stage.state.path(),
        stage.binaries.cofferdam,
        &stage.cluster.kubeconfig,
        stage.components.stock,
    )?;
    let outcome = show(&product, &stage.kubectl, &objects, *progress)?;
    output::print(&match arguments.output {
        Form::Text => outcome.table(),
        Form::Json => outcome.json()?,
    })?;
    if arguments.keep {
        keep(&product, stage.cluster, stage.state, *progress);
    } else {
        stage.cluster.stop()?;
    }
    Ok(if outcome.is_equal() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The whole way once.
fn show(
    product: &Product,
    kubectl: &Kubectl,
    objects: &[String],
    progress: Progress,
) -> anyhow::Result<Outcome> {
    progress.heading("backup");
    let step = progress.start("init", "cofferdam init threescale, repository init");
    product.run(&["init", "threescale", "--namespace", NAMESPACE])?;
    product.run(&["repository", "init"])?;
    step.done("application file, policy and repository written");
    let application = fs::read_to_string(product.folder.join(application::FILE))?;
    let data_sets = application::data_sets(&application, objects)?;

    let step = progress.start("data", "writing it with plain clients");
    for data_set in &data_sets {
        interrupt::check()?;
        data_set.seed(kubectl)?;
    }
    step.done("written with plain clients");
    let before = proofs(&data_sets, kubectl, "proof before", progress)?;

    let step = progress.start("check", "cofferdam check");
    product.run(&["check"])?;
    step.done("cluster, rights, targets, tools, repository and policy are in order");
    let step = progress.start("backup", "cofferdam backup");
    let backup = product.report(&["backup"])?;
    step.done(&format!("run {}", backup.run));

    progress.heading("disaster");
    let step = progress.start(
        "destroy",
        "DROP DATABASE, DROP SCHEMA, FLUSHALL, find -delete, kubectl delete",
    );
    for data_set in &data_sets {
        interrupt::check()?;
        data_set.destroy(kubectl)?;
        if data_set.proof(kubectl)? != "empty" {
            bail!("`{}` was to be destroyed and is still there", data_set.name);
        }
    }
    step.done("all of it is gone");

    progress.heading("restore");
    let step = progress.start("restore", "cofferdam restore latest");
    let restore = product.report(&["restore", "latest", "--yes"])?;
    step.done(&format!("run {}", restore.run));
    application::wait(kubectl)?;
    let after = proofs(&data_sets, kubectl, "proof after", progress)?;

    let mut rows = Vec::new();
    for data_set in &data_sets {
        let name = &data_set.name;
        let backed_up = backup.data_sets.iter().find(|run| run.name == *name);
        let backed_up =
            backed_up.with_context(|| format!("the backup says nothing of `{name}`"))?;
        let restored = restore.data_sets.iter().find(|run| run.name == *name);
        let restored = restored.with_context(|| format!("the restore says nothing of `{name}`"))?;
        let proof =
            |proofs: &BTreeMap<String, String>| proofs.get(name).cloned().unwrap_or_default();
        rows.push(Row::new(
            backed_up,
            restored,
            &proof(&before),
            &proof(&after),
        ));
    }
    Ok(Outcome {
        backup: backup.run,
        restore: restore.run,
        data_sets: rows,
    })
}

fn proofs(
    data_sets: &[DataSet],
    kubectl: &Kubectl,
    name: &str,
    progress: Progress,
) -> anyhow::Result<BTreeMap<String, String>> {
    let step = progress.start(name, "reading everything with plain clients");
    let mut proofs = BTreeMap::new();
    for data_set in data_sets {
        interrupt::check()?;
        let proof = data_set
            .proof(kubectl)
            .with_context(|| format!("failed to read `{}`", data_set.name))?;
        proofs.insert(data_set.name.clone(), proof);
    }
    step.done("taken with plain clients");
    Ok(proofs)
}

pub(crate) fn prepare_product(
    state: &Path,
    program: PathBuf,
    kubeconfig: &Path,
    modules: PathBuf,
) -> anyhow::Result<Product> {
    let folder = state.join("site");
    fs::create_dir(&folder)?;
    let password = state.join("repository-password");
    // The repository is as short-lived as the demo; a user's password comes from elsewhere.
    let random = fs::read("/proc/sys/kernel/random/uuid").context("failed to make a password")?;
    fs::write(&password, random)?;
    let environment = vec![
        ("KUBECONFIG", kubeconfig.to_owned()),
        ("COFFERDAM_MODULES", modules),
        ("COFFERDAM_REPOSITORY", state.join("repository")),
        ("COFFERDAM_PASSWORD_FILE", password),
        ("COFFERDAM_STATE", state.join("state")),
    ];
    Ok(Product {
        program,
        folder,
        environment,
    })
}

/// Leaves everything as it is and says how to use it and how to end it.
fn keep(product: &Product, cluster: LocalCluster, state: tempfile::TempDir, progress: Progress) {
    let process = cluster.leave();
    let state = state.keep();
    progress.heading("the cluster stays up; to try it by hand:");
    progress.heading(&format!("cd {}", product.folder.display()));
    for (name, value) in &product.environment {
        progress.heading(&format!("export {name}={}", value.display()));
    }
    progress.heading(&format!("alias cofferdam={}", product.program.display()));
    if let Some(process) = process {
        progress.heading(&format!(
            "to end it: kill {process}; rm -r {}",
            state.display()
        ));
    }
}
