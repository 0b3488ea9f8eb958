//! `cargo xtask bench`: what the product must reach, measured against what people use today.
//!
//! Both sides of a pair run in the same run, alternating, and their medians are compared. What is not
//! reached is in the table all the same. Nothing is ever rounded into a goal.

mod dump;
mod ground;
mod measurement;
mod memory;
mod start;
mod threescale;
mod transfer;

use std::process::ExitCode;

use clap::ValueEnum;
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{CellAlignment, Table};

use crate::demo::Form;
use crate::output;
use crate::progress::Progress;
use crate::settings::Settings;
use ground::Ground;
use measurement::Measurement;
pub(crate) use memory::{MeasureArguments, measure};

/// What is measured, and how much.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// One dump on its way, unless something else is named
    #[arg(value_enum, default_value_t = What::Stream)]
    what: What,
    /// Form of the result
    #[arg(long, value_enum, default_value_t = Form::Text)]
    output: Form,
    /// Size of the dump; for `threescale` of the rows, and files and keys grow with them
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    size: u64,
    /// Size of all data sets together where memory is measured; a sixteenth of it is the small side
    #[arg(long, value_name = "MIB", default_value_t = 4096)]
    memory_size: u64,
    /// Runs of each side of a pair
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// One dump out of a pod and back, memory, and starts.
    Stream,
    /// A whole 3scale, against the manual procedure.
    Threescale,
}

/// `cargo xtask bench`.
pub(crate) fn command(
    arguments: &Arguments,
    settings: &Settings,
    progress: &Progress,
) -> anyhow::Result<ExitCode> {
    let table = match arguments.what {
        What::Stream => stream(arguments, settings, *progress)?,
        What::Threescale => threescale::measure(arguments, settings, *progress)?,
    };
    output::print(&match arguments.output {
        Form::Text => text(&table),
        Form::Json => serde_json::to_string_pretty(&table)?,
    })?;
    // What is not reached is for people to judge; a bench that could measure has done its work.
    Ok(ExitCode::SUCCESS)
}

fn stream(
    arguments: &Arguments,
    settings: &Settings,
    progress: Progress,
) -> anyhow::Result<Vec<Measurement>> {
    let ground = Ground::prepare(settings, arguments.size, progress)?;
    progress.heading("measure");
    let rounds = arguments.rounds;
    let mut table = start::measure(&ground, progress)?;
    table.extend(transfer::backup(&ground, rounds, progress)?);
    table.extend(transfer::restore(&ground, rounds, progress)?);
    table.push(transfer::with_and_without_module(
        &ground, rounds, progress,
    )?);
    table.extend(memory::compare(&ground, arguments.memory_size, progress)?);
    ground.stop()?;
    Ok(table)
}

fn text(measurements: &[Measurement]) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY);
    table.set_header(["name", "against", "ratio", "goal", "met", "measured"]);
    for one in measurements {
        let met = if one.met { "yes" } else { "NO" };
        table.add_row([
            &one.name,
            &one.against,
            &format!("{:.3}", one.ratio),
            &format!("{:.2}", one.goal),
            met,
            &one.measured,
        ]);
    }
    for number in 2..4 {
        if let Some(column) = table.column_mut(number) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string()
}
