//! The one door for what a person reads while a command works: one line a step on stderr.
//!
//! On a terminal a running step shows a spinner with its time; elsewhere a step that takes long is
//! announced when it starts, so that a log does not stand still for minutes. Never writes to stdout.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Where steps are told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Progress {
    terminal: bool,
}

/// A step that has begun. Dropped without `done`, it ends without a line: the error says the rest.
#[derive(Debug)]
pub(crate) struct Step {
    name: String,
    started: Instant,
    spinner: Option<ProgressBar>,
}

impl Progress {
    /// Spinner on a terminal, plain lines elsewhere.
    pub(crate) fn for_terminal() -> Self {
        Self {
            terminal: std::io::stderr().is_terminal(),
        }
    }

    /// Plain lines everywhere.
    pub(crate) fn plain() -> Self {
        Self { terminal: false }
    }

    /// Whether a person watches.
    pub(crate) fn is_terminal(self) -> bool {
        self.terminal
    }

    /// Begins a step of unknown length and says what it is doing.
    pub(crate) fn start(self, name: &str, doing: &str) -> Step {
        let spinner = self.terminal.then(|| {
            let spinner = ProgressBar::new_spinner();
            // Ten times a second looks alive and costs nothing.
            spinner.enable_steady_tick(Duration::from_millis(100));
            if let Ok(style) =
                ProgressStyle::with_template("{spinner} {prefix:<20} {msg} ({elapsed})")
            {
                spinner.set_style(style);
            }
            spinner.set_prefix(name.to_owned());
            spinner.set_message(doing.to_owned());
            spinner
        });
        if spinner.is_none() {
            line(&format!("  {name:<20} {doing} ..."));
        }
        Step {
            name: name.to_owned(),
            started: Instant::now(),
            spinner,
        }
    }

    /// One finished line.
    pub(crate) fn say(self, name: &str, what: &str) {
        line(&format!("  {name:<20} {what}"));
    }

    /// A heading over the steps that follow.
    pub(crate) fn heading(self, text: &str) {
        line(text);
    }

    /// Tells why the command failed, cause by cause.
    pub(crate) fn failure(self, error: &anyhow::Error) -> ExitCode {
        line(&format!("error: {error}"));
        for cause in error.chain().skip(1) {
            for (number, text) in cause.to_string().lines().enumerate() {
                line(&format!(
                    "{} {text}",
                    if number == 0 { "  cause:" } else { "        " }
                ));
            }
        }
        ExitCode::FAILURE
    }
}

impl Step {
    /// Ends the step with what came out of it.
    pub(crate) fn done(self, result: &str) {
        let seconds = self.started.elapsed().as_secs_f64();
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
        line(&format!("  {:<20} {result} ({seconds:.1} s)", self.name));
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
    }
}

/// A closed stderr must not end the work, so a failed write is let go.
fn line(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
