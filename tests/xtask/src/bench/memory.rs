//! How much memory a run takes, and that it does not grow with what it moves: four data sets at the same
//! time, small and sixteen times as large. The figure is the kernel's own, of the whole process.

use std::ffi::OsString;
use std::process::{Command, ExitCode};

use anyhow::Context as _;
use nix::sys::resource::{UsageWho, getrusage};

use super::ground::{DATA_SETS, Ground};
use super::measurement::Measurement;
use crate::output;
use crate::process;
use crate::progress::Progress;

/// A command to be measured.
#[derive(Debug, clap::Args)]
pub(crate) struct MeasureArguments {
    /// The program and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    words: Vec<OsString>,
}

/// Runs one program as the only child of this process and prints the most memory it held, in KiB.
pub(crate) fn measure(arguments: &MeasureArguments) -> anyhow::Result<ExitCode> {
    let (program, words) = arguments
        .words
        .split_first()
        .context("a program to measure")?;
    process::quietly(Command::new(program).args(words))?;
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)
        .context("failed to ask for the memory of the program")?;
    output::print(&usage.max_rss().to_string())?;
    Ok(ExitCode::SUCCESS)
}

/// The growth and the whole, for all data sets together.
pub(super) fn compare(
    ground: &Ground,
    mebibytes: u64,
    progress: Progress,
) -> anyhow::Result<Vec<Measurement>> {
    let step = progress.start(
        "memory",
        &format!(
            "{} and {mebibytes} MiB in four data sets at the same time",
            mebibytes / 16
        ),
    );
    let sets = u64::try_from(DATA_SETS.len()).expect("four fits");
    let small = peak(ground, (mebibytes / 16 / sets).max(1))?;
    let large = peak(ground, (mebibytes / sets).max(1))?;
    step.done("measured");
    let growth = format!(
        "growth of the peak from {} to {mebibytes} MiB, four data sets",
        mebibytes / 16
    );
    Ok(vec![
        Measurement {
            measured: format!("{small:.1} MiB, then {large:.1} MiB"),
            ..Measurement::new(
                &growth,
                "16 MiB",
                (large - small).max(0.0),
                16.0,
                1.0,
                "MiB",
            )
        },
        Measurement::new(
            "peak memory, four data sets",
            "256 MiB",
            large.max(small),
            256.0,
            1.0,
            "MiB",
        ),
    ])
}

/// The peak of one backup in MiB.
fn peak(ground: &Ground, mebibytes_each: u64) -> anyhow::Result<f64> {
    for data_set in DATA_SETS {
        ground.write_dump(data_set, mebibytes_each)?;
    }
    let scratch = ground.scratch()?;
    let repository = scratch.path().join("ours");
    process::quietly(ground.product(&repository).args(["repository", "init"]))?;
    let this = std::env::current_exe().context("this program has a path")?;
    let mut command = Command::new(this);
    command
        .arg("measure")
        .arg(&ground.cofferdam)
        .args(["backup", "--parallel", "4"]);
    ground.surround(&mut command, &repository);
    let kibibytes: f64 = process::capture(&mut command)?
        .trim()
        .parse()
        .context("the memory is a number")?;
    Ok(kibibytes / 1024.0)
}
