//! The repository's password: from a file, a command or the environment, never from the command line.

use anyhow::{Context, Result};
use cofferdam_repository::Password;

use crate::report::Usage;
use crate::settings::{PasswordSource, Settings};

/// A password file longer than this is some other file.
const MAXIMUM_BYTES: u64 = 4096;

/// The password that the settings name.
///
/// # Errors
/// When there is none, when the file or the command cannot be read, or when it is empty.
pub(crate) fn get(settings: &Settings) -> Result<Password> {
    match &settings.password {
        PasswordSource::Environment(password) => Ok(Password::new(password.clone())?),
        PasswordSource::File(path) => from_file(path),
        PasswordSource::Command(command) => from_command(command),
        PasswordSource::None => Err(Usage::hint(
            anyhow::anyhow!("the repository has a password, and none was given"),
            "name a file with `--password-file`, or set `COFFERDAM_PASSWORD_FILE`, `COFFERDAM_PASSWORD_COMMAND` or `COFFERDAM_PASSWORD`",
        )),
    }
}

/// The password in a file; one line break at its end does not count.
pub(crate) fn from_file(path: &std::path::Path) -> Result<Password> {
    let hint = "name another file with `--password-file`, or set `COFFERDAM_PASSWORD_FILE`";
    let text = read(path).map_err(|error| Usage::hint(error, hint))?;
    Ok(Password::new(text)?)
}

fn read(path: &std::path::Path) -> Result<String> {
    use std::io::Read;
    let mut text = String::new();
    let mut file = fs_err::File::open(path)?.take(MAXIMUM_BYTES + 1);
    file.read_to_string(&mut text)
        .with_context(|| format!("failed to read the password file `{}`", path.display()))?;
    anyhow::ensure!(
        text.len() as u64 <= MAXIMUM_BYTES,
        "the password file `{}` is longer than {MAXIMUM_BYTES} bytes",
        path.display()
    );
    Ok(text)
}

fn from_command(command: &str) -> Result<Password> {
    let hint =
        "run the command by hand: it prints the password, and nothing else, to standard output";
    let text = printed_by(command).map_err(|error| Usage::hint(error, hint))?;
    Ok(Password::new(text)?)
}

fn printed_by(command: &str) -> Result<String> {
    let output = std::process::Command::new("sh")
        .args(["-c", command])
        .stdin(std::process::Stdio::inherit())
        .stderr(std::process::Stdio::inherit())
        .output()
        .context("failed to start the password command")?;
    anyhow::ensure!(
        output.status.success(),
        "the password command ended with {}",
        output.status
    );
    String::from_utf8(output.stdout).context("the password command printed no UTF-8")
}
