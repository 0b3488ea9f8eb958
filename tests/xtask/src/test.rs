//! Every test of the workspace, with what the tests need set up and named in their environment.
//! This crate is the only one that knows where those things are; a test only reads the variables.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::build::{self, Profile, Workspace};
use crate::modules;
use crate::process;
use crate::progress::Progress;
use crate::settings::Settings;
use crate::setup;
use crate::volumes;

/// What is handed on to `cargo test`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// A filter and options, as `cargo test` takes them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// `cargo xtask test`.
pub(crate) fn command(
    arguments: &Arguments,
    settings: &Settings,
    progress: &Progress,
) -> anyhow::Result<ExitCode> {
    let ground = setup::prepare(settings, *progress)?;
    progress.heading("build");
    let workspace = Workspace::find(settings)?;
    let binaries = build::binaries(settings, Profile::Development, *progress)?;
    let components = modules::components(
        settings,
        &workspace,
        &ground.guest,
        &binaries.cofferdam,
        *progress,
    )?;
    let volumes = volumes::prepare(settings, &workspace, &ground, &binaries, *progress)?;
    progress.heading("test");
    let mut cargo = settings.cargo();
    cargo.arg("test");
    if !names_packages(&arguments.arguments) {
        cargo.arg("--workspace");
    }
    cargo
        .args(&arguments.arguments)
        .env("COFFERDAM_TEST_KUBECTL", &ground.kubectl)
        .env("COFFERDAM_TEST_RESTIC", &ground.restic)
        .env("COFFERDAM_TEST_MOTO_SERVER", &ground.moto)
        .env("COFFERDAM_TEST_CHROMIUM", &ground.chromium)
        .env("COFFERDAM_TEST_LAYER", &ground.layer)
        .env("COFFERDAM_TEST_VOLUMES", &volumes)
        .env("COFFERDAM_TEST_BINARY", &binaries.cofferdam)
        .env("COFFERDAM_TEST_LOCAL_CLUSTER", &binaries.local_cluster)
        .env("COFFERDAM_MODULES", &components.stock)
        .env("COFFERDAM_TEST_GUESTS", &components.guests);
    let passed = process::openly(&mut cargo)?;
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn names_packages(arguments: &[OsString]) -> bool {
    let options = arguments.iter().take_while(|argument| *argument != "--");
    options
        .filter_map(|argument| argument.to_str())
        .any(|argument| {
            argument.starts_with("-p")
                || argument == "--workspace"
                || argument == "--all"
                || argument.starts_with("--package")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(arguments: &[&str], expected: bool) {
        let arguments: Vec<OsString> = arguments.iter().map(Into::into).collect();
        assert_eq!(names_packages(&arguments), expected, "{arguments:?}");
    }

    #[test]
    fn the_whole_workspace_is_tested_unless_packages_are_named() {
        check(&[], false);
        check(&["a_filter"], false);
        check(&["-p", "tidy"], true);
        check(&["--package=tidy", "filter"], true);
        check(&["filter", "--", "-p"], false);
    }
}
