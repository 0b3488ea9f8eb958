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
    #[cfg(target_env = "gnu")]
    give_back_large_buffers();
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

/// Chunks of a megabyte come and go on many threads, and glibc learns to keep what each of them freed: the peak
/// grew by 50 MiB from 256 MiB of data to 4 GiB. With a threshold that stays where it begins it does not grow
/// (`cargo xtask bench`).
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "no crate wraps this call of the C library")]
fn give_back_large_buffers() {
    // SAFETY: it sets a number of the allocator, and no other thread runs yet.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 128 << 10);
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
