//! Runs other programs: with their output captured or passed on, and with errors that carry what the
//! program said. A command line is always a list of words; no shell reads it here.

use std::ffi::OsStr;
use std::io::{Read, Write as _};
use std::process::{Child, Command, Output, Stdio};

use anyhow::{Context as _, bail};

use crate::interrupt;

/// How many of a failed program's last lines an error carries.
const TAIL: usize = 25;

/// Runs a program and returns its stdout. Its stderr is shown only in the error.
pub(crate) fn capture(command: &mut Command) -> anyhow::Result<String> {
    let output = finish(command.stdin(Stdio::null()))?;
    let text = String::from_utf8(output.stdout);
    text.with_context(|| format!("`{}` did not print UTF-8", shown(command)))
}

/// Runs a program for its effect. All it prints is shown only in the error.
pub(crate) fn quietly(command: &mut Command) -> anyhow::Result<()> {
    finish(command.stdin(Stdio::null())).map(drop)
}

/// Runs a program that talks to the person itself and returns whether it succeeded.
pub(crate) fn openly(command: &mut Command) -> anyhow::Result<bool> {
    interrupt::check()?;
    let mut child = spawn(command)?;
    let listed = interrupt::list(child.id());
    let status = child
        .wait()
        .with_context(|| format!("failed to wait for `{}`", shown(command)))?;
    drop(listed);
    interrupt::check()?;
    Ok(status.success())
}

/// Runs a program whose stderr the person sees and returns its stdout and whether it succeeded.
pub(crate) fn watched(command: &mut Command) -> anyhow::Result<(String, bool)> {
    interrupt::check()?;
    let child = spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()))?;
    let listed = interrupt::list(child.id());
    let output = wait(child, command)?;
    drop(listed);
    interrupt::check()?;
    let text = String::from_utf8(output.stdout)
        .with_context(|| format!("`{}` did not print UTF-8", shown(command)))?;
    Ok((text, output.status.success()))
}

/// Runs a program with `input` as its stdin and returns its stdout as bytes.
pub(crate) fn feed(command: &mut Command, input: &[u8]) -> anyhow::Result<Vec<u8>> {
    interrupt::check()?;
    let mut child = spawn(
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped()),
    )?;
    let listed = interrupt::list(child.id());
    let mut stdin = child.stdin.take().context("the child has no stdin")?;
    let output = std::thread::scope(|scope| {
        // The writer runs beside the reader, or both would wait on full pipes. A program that ends
        // before it has read all is judged by its exit status.
        scope.spawn(move || stdin.write_all(input));
        wait(child, command)
    })?;
    drop(listed);
    judge(command, &output)?;
    Ok(output.stdout)
}

/// The command as a person would type it, for messages.
pub(crate) fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let mut line = words
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ");
    // A message names a command; it is no place for a whole script.
    if let Some((end, _)) = line.char_indices().nth(240) {
        line.truncate(end);
        line.push_str(" ...");
    }
    line
}

fn finish(command: &mut Command) -> anyhow::Result<Output> {
    interrupt::check()?;
    let child = spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    let listed = interrupt::list(child.id());
    let output = wait(child, command)?;
    drop(listed);
    judge(command, &output)?;
    Ok(output)
}

fn spawn(command: &mut Command) -> anyhow::Result<Child> {
    command
        .spawn()
        .with_context(|| format!("failed to start `{}`", shown(command)))
}

fn wait(child: Child, command: &Command) -> anyhow::Result<Output> {
    child
        .wait_with_output()
        .with_context(|| format!("failed to wait for `{}`", shown(command)))
}

fn judge(command: &Command, output: &Output) -> anyhow::Result<()> {
    interrupt::check()?;
    if output.status.success() {
        return Ok(());
    }
    let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.push_str(&String::from_utf8_lossy(&output.stderr));
    let lines: Vec<&str> = said
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let tail = lines
        .get(lines.len().saturating_sub(TAIL)..)
        .unwrap_or_default()
        .join("\n");
    let failed = format!("`{}` failed with {}", shown(command), output.status);
    if tail.is_empty() {
        bail!(failed);
    }
    Err(anyhow::anyhow!(tail).context(failed))
}

/// Reads a whole stream and returns its SHA-256 in hexadecimal and its length in bytes.
pub(crate) fn digest(mut stream: impl Read) -> anyhow::Result<(String, u64)> {
    use sha2::Digest as _;
    let mut hasher = sha2::Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    let mut length = 0;
    loop {
        let count = stream
            .read(&mut buffer)
            .context("failed to read the stream")?;
        if count == 0 {
            return Ok((hex::encode(hasher.finalize()), length));
        }
        hasher.update(buffer.get(..count).unwrap_or_default());
        length += u64::try_from(count).expect("a count of bytes fits 64 bits");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_program_is_named_with_its_status_and_its_last_words() {
        let error = quietly(Command::new("sh").args(["-c", "echo first; echo last >&2; exit 3"]))
            .unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("exit status: 3"), "{text}");
        assert!(text.ends_with("first\nlast"), "{text}");
    }

    #[test]
    fn more_input_than_a_pipe_holds_comes_back_whole() {
        let input = vec![b'x'; 1 << 20];
        assert_eq!(feed(&mut Command::new("cat"), &input).unwrap(), input);
    }

    #[test]
    fn the_digest_is_the_one_of_sha256sum() {
        let (digest, length) = digest(&b"abc"[..]).unwrap();
        assert_eq!(
            digest,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(length, 3);
    }
}
