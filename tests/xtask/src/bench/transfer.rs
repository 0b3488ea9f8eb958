//! One dump out of a pod and back into it, against the pipelines that people type. Each round starts
//! from an empty repository, so that nothing is saved by what an earlier round kept.

use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

use super::ground::{DATA_SETS, Ground};
use super::measurement::{Measurement, median, seconds};
use crate::process;
use crate::progress::Progress;

const NAME_BACKUP: &str = "backup of a dump streamed from a pod";
const NAME_RESTORE: &str = "restore of it into the pod";

/// Backup against gzip and against restic.
pub(super) fn backup(
    ground: &Ground,
    rounds: u64,
    progress: Progress,
) -> anyhow::Result<Vec<Measurement>> {
    let step = progress.start(
        "backup",
        &format!("{rounds} rounds of cofferdam, gzip, restic"),
    );
    let (mut ours, mut gzip, mut restic) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let scratch = ground.scratch()?;
        let repository = scratch.path().join("ours");
        process::quietly(ground.product(&repository).args(["repository", "init"]))?;
        ours.push(seconds(|| {
            process::quietly(
                ground
                    .product(&repository)
                    .args(["backup", "--only", first()]),
            )
        })?);

        gzip.push(seconds(|| {
            pipeline(ground, scratch.path(), "gzip > dump.sql.gz")
        })?);

        let mut init = restic_command(ground, scratch.path());
        process::quietly(init.arg("init"))?;
        let program = ground.restic.display();
        let words =
            format!("'{program}' --quiet --no-cache backup --stdin --stdin-filename dump.sql");
        restic.push(seconds(|| pipeline(ground, scratch.path(), &words))?);
    }
    step.done("measured");
    let ours = median(ours);
    Ok(vec![
        Measurement::new(
            NAME_BACKUP,
            "kubectl exec | gzip > file",
            ours,
            median(gzip),
            0.4,
            "s",
        ),
        Measurement::new(
            NAME_BACKUP,
            "kubectl exec | restic backup --stdin",
            ours,
            median(restic),
            1.0,
            "s",
        ),
    ])
}

/// Restore against zcat.
pub(super) fn restore(
    ground: &Ground,
    rounds: u64,
    progress: Progress,
) -> anyhow::Result<Vec<Measurement>> {
    let step = progress.start("restore", &format!("{rounds} rounds of cofferdam, zcat"));
    let scratch = ground.scratch()?;
    let repository = scratch.path().join("ours");
    process::quietly(ground.product(&repository).args(["repository", "init"]))?;
    process::quietly(
        ground
            .product(&repository)
            .args(["backup", "--only", first()]),
    )?;
    pipeline(ground, scratch.path(), "gzip > dump.sql.gz")?;
    let (mut ours, mut zcat) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let words = ["restore", "latest", "--only", first(), "--yes"];
        ours.push(seconds(|| {
            process::quietly(ground.product(&repository).args(words))
        })?);
        zcat.push(seconds(|| unpack_into_pod(ground, scratch.path()))?);
    }
    same_content(ground)?;
    step.done("measured");
    Ok(vec![Measurement::new(
        NAME_RESTORE,
        "zcat | kubectl exec -i",
        median(ours),
        median(zcat),
        0.8,
        "s",
    )])
}

/// A transfer through a module against the same one without: no pod, no repository, one gibibyte from a
/// source to a sink in one process, so that nothing else is in the figure.
pub(super) fn with_and_without_module(
    ground: &Ground,
    rounds: u64,
    progress: Progress,
) -> anyhow::Result<Measurement> {
    let step = progress.start(
        "module",
        &format!("{rounds} rounds with and without a module"),
    );
    let mut bench = ground.settings.cargo();
    bench
        .args(["bench", "--quiet", "--package", "cofferdam-engine"])
        .args(["--bench", "transfer", "--"])
        .arg(&ground.guest)
        .arg(rounds.to_string());
    let figures: Figures = serde_json::from_str(&process::capture(&mut bench)?)
        .context("failed to read the figures of the bench `transfer`")?;
    step.done("measured");
    Ok(Measurement::new(
        "transfer with a module between",
        "the same transfer without",
        median(figures.with),
        median(figures.without),
        1.02,
        "s",
    ))
}

/// What the bench `transfer` of the engine prints: seconds, one a round.
#[derive(Debug, serde::Deserialize)]
struct Figures {
    with: Vec<f64>,
    without: Vec<f64>,
}

fn first() -> &'static str {
    let [first, ..] = DATA_SETS;
    first
}

/// `kubectl exec ... cat dump.sql | words`, in a shell as people type it, with every part's status.
fn pipeline(ground: &Ground, folder: &Path, words: &str) -> anyhow::Result<()> {
    let source = ground
        .kubectl
        .exec_command(&ground.place, &["cat", "/data/one-dump.sql"]);
    let script = format!("set -o pipefail; \"$@\" < /dev/null | {words}");
    shell(folder, &script, &source)
}

fn unpack_into_pod(ground: &Ground, folder: &Path) -> anyhow::Result<()> {
    let sink = ground
        .kubectl
        .exec_command(&ground.place, &["sh", "-c", "cat > /data/by-hand.sql"]);
    shell(folder, "set -o pipefail; zcat dump.sql.gz | \"$@\"", &sink)
}

/// Runs a script of bash with another command's words as its arguments and its environment.
pub(super) fn shell(folder: &Path, script: &str, inner: &Command) -> anyhow::Result<()> {
    let mut command = surroundings(folder, Command::new("bash"));
    for (name, value) in inner.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    command
        .args(["-c", script, "bash"])
        .arg(inner.get_program())
        .args(inner.get_args());
    process::quietly(&mut command)
}

fn restic_command(ground: &Ground, folder: &Path) -> Command {
    surroundings(folder, Command::new(&ground.restic))
}

fn surroundings(folder: &Path, mut command: Command) -> Command {
    command
        .current_dir(folder)
        .env("RESTIC_REPOSITORY", folder.join("restic"))
        .env("RESTIC_PASSWORD", "only for the bench");
    command
}

/// A fast restore of something else would be worth nothing.
fn same_content(ground: &Ground) -> anyhow::Result<()> {
    let restored = format!("/data/{}.sql", first());
    ground.kubectl.exec(
        &ground.place,
        &["cmp", "/data/one-dump.sql", &restored],
        b"",
    )?;
    ground
        .kubectl
        .exec(
            &ground.place,
            &["cmp", "/data/one-dump.sql", "/data/by-hand.sql"],
            b"",
        )
        .map(drop)
}
