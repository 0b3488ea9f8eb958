//! The command `cofferdam`: reads what was typed, calls one command, says how it ended.
//!
//! Must never decide anything about a data set itself: that is for the crates below.

mod arguments;
mod command;
mod output;
mod password;
mod report;
mod screen;
mod settings;
mod site;

use std::process::ExitCode;

use clap::Parser;

use crate::arguments::Arguments;
use crate::report::Exit;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let format = arguments.common.output;
    let settings = match settings::read(arguments.common.clone()) {
        Ok(settings) => settings,
        Err(error) => return report::failed(&error, format).into(),
    };
    report::listen(settings.verbose);
    // Restores block inside libraries that are synchronous; the default pool of threads serves them.
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            return report::failed(
                &anyhow::Error::new(error).context("failed to start"),
                format,
            )
            .into();
        }
    };
    let ended = runtime.block_on(command::carry_out(arguments.command, &settings));
    // A thread that is stuck in a library must not keep the process alive after the answer.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    match ended {
        Ok(exit) => exit.into(),
        Err(error) => report::failed(&error, format).into(),
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
