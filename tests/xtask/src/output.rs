//! The one door for data: what a script or a person reads as the result goes to stdout, whole, and
//! nothing else ever does.

use std::io::Write as _;

use anyhow::Context as _;

/// Prints a result and a line end.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{text}")
        .and_then(|()| stdout.flush())
        .context("failed to write the result")
}
