//! All of 3scale: the product's one command against the manual procedure, typed by a script.
//!
//! Both work on the same installation, in turns; what either restores is held against what was there,
//! and a faster restore of something else is a failure.

mod installation;

use anyhow::bail;

use super::Arguments;
use super::measurement::{Measurement, median, seconds};
use crate::progress::Progress;
use crate::settings::Settings;
use installation::Installation;

/// `cargo xtask bench threescale`.
pub(super) fn measure(
    arguments: &Arguments,
    settings: &Settings,
    progress: Progress,
) -> anyhow::Result<Vec<Measurement>> {
    let site = Installation::prepare(settings, arguments.size, progress)?;
    progress.heading("measure");
    let rounds = arguments.rounds;
    let step = progress.start(
        "backup",
        &format!("{rounds} rounds of cofferdam and by hand"),
    );
    let (mut ours, mut by_hand) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        site.new_repository()?;
        ours.push(seconds(|| site.product.run(&["backup"]))?);
        by_hand.push(seconds(|| site.back_up_by_hand())?);
    }
    step.done("measured");
    let mut table = vec![Measurement::new(
        &format!("backup of 3scale: {}", site.told),
        "the manual procedure, one command after another",
        median(ours),
        median(by_hand),
        0.35,
        "s",
    )];

    let step = progress.start(
        "restore",
        &format!("{rounds} rounds of cofferdam and by hand"),
    );
    let (mut ours, mut by_hand) = (Vec::new(), Vec::new());
    let before = site.proof()?;
    for _ in 0..rounds {
        site.destroy()?;
        ours.push(seconds(|| {
            site.product.run(&["restore", "latest", "--yes"])
        })?);
        check_same(&site, &before, "cofferdam")?;
        site.destroy()?;
        by_hand.push(seconds(|| site.restore_by_hand())?);
        check_same(&site, &before, "the manual procedure")?;
    }
    step.done("measured, and the same each time");
    table.push(Measurement::new(
        "restore of it",
        "the manual procedure, one command after another",
        median(ours),
        median(by_hand),
        0.6,
        "s",
    ));

    let step = progress.start("second", "backup after a change of 1 % of files and rows");
    site.new_repository()?;
    site.product.run(&["backup"])?;
    let first = site.repository_bytes()?;
    site.change()?;
    let took = seconds(|| site.product.run(&["backup"]))?;
    let added = site.repository_bytes()? - first;
    step.done(&format!("measured; it took {took:.1} s"));
    table.push(Measurement::new(
        "what a second backup adds, after 1 % of files changed and 1 % of rows were appended",
        "what the first one stored",
        added / MEBIBYTE,
        first / MEBIBYTE,
        0.05,
        "MiB",
    ));
    site.stop()?;
    Ok(table)
}

const MEBIBYTE: f64 = 1_048_576.0;

fn check_same(site: &Installation, before: &str, who: &str) -> anyhow::Result<()> {
    let after = site.proof()?;
    if after != before {
        bail!("what {who} restored is not what was there:\n{after}\nand there was\n{before}");
    }
    Ok(())
}
