//! `cargo xtask`: set-up, modules, tests, demo and bench of the project, one command each.
//!
//! It only prepares and calls; what the product does is proven by the product's own binary. It must
//! never link a host crate, install anything on the machine, or leave a process running.

mod bench;
mod build;
mod demo;
mod interrupt;
mod kubectl;
mod local_cluster;
mod modules;
mod output;
mod process;
mod progress;
mod settings;
mod setup;
mod stage;
mod test;
mod volumes;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::progress::Progress;
use crate::settings::Settings;

/// Set up, build, try, test and measure Cofferdam
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Fetch what building and testing need into the cache
    Setup(setup::Arguments),
    /// Build the stock modules and the test guests as components
    Modules,
    /// Back up, destroy and restore a small application on a local cluster
    Demo(demo::Arguments),
    /// Run every test; what follows is handed to `cargo test`
    Test(test::Arguments),
    /// Measure against what people use today
    Bench(bench::Arguments),
    /// Print the most memory that a program held, in KiB
    #[command(hide = true)]
    Measure(bench::MeasureArguments),
}

fn main() -> ExitCode {
    let settings = match Settings::from_environment() {
        Ok(settings) => settings,
        Err(error) => return Progress::plain().failure(&error),
    };
    let progress = Progress::for_terminal();
    let outcome = interrupt::listen().and_then(|()| match Arguments::parse().command {
        Command::Setup(arguments) => setup::command(&arguments, &settings, &progress),
        Command::Modules => modules::command(&settings, &progress),
        Command::Demo(arguments) => demo::command(&arguments, &settings, &progress),
        Command::Test(arguments) => test::command(&arguments, &settings, &progress),
        Command::Bench(arguments) => bench::command(&arguments, &settings, &progress),
        Command::Measure(arguments) => bench::measure(&arguments),
    });
    match outcome {
        Ok(code) => code,
        Err(error) => progress.failure(&error),
    }
}
