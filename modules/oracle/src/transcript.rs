//! What RMAN prints: whether it did all of its work, and which pieces it wrote.
//!
//! Exit code 0 alone proves nothing here, and neither does the last line: RMAN says `Recovery
//! Manager complete.` after errors too. Must never take a transcript that was cut for a whole one.

use cofferdam_guest_sdk::{Error, Result};

use crate::codes::{Judgement, RMAN_PASSES};

/// What RMAN prints last.
pub(crate) const TRAILER: &str = "Recovery Manager complete.";

/// One file that RMAN wrote on the server's side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Its name there.
    pub(crate) handle: String,
    /// Its tag; control file autobackups have none.
    pub(crate) tag: Option<String>,
}

/// A transcript that was looked through and found good.
#[derive(Debug)]
pub(crate) struct Transcript {
    pub(crate) text: String,
}

impl Transcript {
    /// Looks through what `command` printed before it ended with `exit_code`.
    pub(crate) fn read(command: &str, text: String, exit_code: i32) -> Result<Self> {
        let judgement = Judgement::of(&text, RMAN_PASSES);
        let attempted = format!("command `{command}`");
        if !judgement.errors.is_empty() {
            return Err(judgement.error(&attempted));
        }
        if exit_code != 0 {
            return Err(Error::failed(
                "command-failed",
                format!("{attempted} ended with {exit_code} and no error of its own"),
            ));
        }
        let last = text.lines().map(str::trim).rfind(|line| !line.is_empty());
        if last != Some(TRAILER) {
            return Err(Error::failed(
                "no-trailer",
                format!(
                    "{attempted} ended with 0, but its transcript does not end with `{TRAILER}`: it was cut"
                ),
            ));
        }
        if !text.contains("connected to target database") {
            return Err(Error::failed(
                "not-connected",
                format!("{attempted} never said that it is connected to the database"),
            ));
        }
        check_pairs(&attempted, &text)?;
        Ok(Self { text })
    }

    /// The pieces that were written.
    pub(crate) fn pieces(&self) -> Vec<Piece> {
        pieces(&self.text)
    }

    /// Insists on a line that begins like this.
    pub(crate) fn require(&self, command: &str, beginning: &str) -> Result<()> {
        if self
            .text
            .lines()
            .any(|line| said(line).starts_with(beginning))
        {
            return Ok(());
        }
        Err(Error::failed(
            "not-done",
            format!("command `{command}` reported no error, but never said `{beginning}`"),
        ))
    }
}

/// Every `Starting backup at ...` has its `Finished backup at ...`.
fn check_pairs(attempted: &str, text: &str) -> Result<()> {
    let count = |beginning: &str, work: &str| {
        text.lines()
            .filter_map(|line| said(line).strip_prefix(beginning))
            .filter(|rest| rest.starts_with(work))
            .count()
    };
    for work in [
        "backup at",
        "restore at",
        "recover at",
        "Control File and SPFILE Autobackup at",
    ] {
        let (started, finished) = (count("Starting ", work), count("Finished ", work));
        if started != finished {
            return Err(Error::failed(
                "not-finished",
                format!(
                    "{attempted} said {started} times `Starting {work}` and {finished} times `Finished {work}`"
                ),
            ));
        }
    }
    Ok(())
}

/// A line without the prompts that RMAN puts before its answers: `RMAN> 2> 3> Starting ...`.
fn said(line: &str) -> &str {
    let mut rest = line.trim_start();
    loop {
        let Some((prompt, behind)) = rest.split_once('>') else {
            return rest;
        };
        let is_prompt =
            prompt == "RMAN" || (!prompt.is_empty() && prompt.bytes().all(|b| b.is_ascii_digit()));
        if !is_prompt {
            return rest;
        }
        rest = behind.trim_start();
    }
}

/// `piece handle=/b/x_1_1 tag=TAG comment=NONE`; long ones are broken before `tag=`.
pub(crate) fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut lines = text.lines().map(said).peekable();
    while let Some(line) = lines.next() {
        let Some(rest) = line.strip_prefix("piece handle=") else {
            continue;
        };
        let mut rest = rest.to_owned();
        if let Some(next) = lines.peek()
            && (next.starts_with("tag=") || next.starts_with("comment="))
        {
            rest = format!("{rest} {next}");
        }
        let end = [" tag=", " comment="]
            .iter()
            .filter_map(|word| rest.find(word))
            .min()
            .unwrap_or(rest.len());
        let tag = rest
            .split_once(" tag=")
            .and_then(|(_, behind)| behind.split_whitespace().next())
            .map(str::to_owned);
        let handle = rest.get(..end).unwrap_or_default().trim().to_owned();
        pieces.push(Piece { handle, tag });
    }
    pieces
}

/// The states that a crosscheck found, with the pieces: `AVAILABLE`, `EXPIRED`.
pub(crate) fn crosschecked(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut state: Option<String> = None;
    for line in text.lines().map(said) {
        if let Some(rest) = line.strip_prefix("crosschecked backup piece: found to be ") {
            state = Some(rest.trim().trim_matches('\'').to_owned());
        } else if let Some(rest) = line.strip_prefix("backup piece handle=")
            && let Some(state) = state.take()
        {
            let handle = rest.split(" RECID=").next().unwrap_or_default();
            found.push((handle.trim().to_owned(), state));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_are_no_part_of_what_is_said() {
        assert_eq!(
            said("RMAN> 2> 3> Starting backup at x"),
            "Starting backup at x"
        );
        assert_eq!(said("a > b"), "a > b");
        assert_eq!(said("RMAN> "), "");
    }

    #[test]
    fn pieces_are_read_with_and_without_a_tag_and_broken_over_lines() {
        let text = "piece handle=/b/a_1_1 tag=T1 comment=NONE\npiece handle=+FRA/x/y.256\ntag=T1 comment=NONE\npiece handle=/b/c-1-20170625-01 comment=NONE\n";
        let found = pieces(text);
        let shown: Vec<(&str, Option<&str>)> = found
            .iter()
            .map(|piece| (piece.handle.as_str(), piece.tag.as_deref()))
            .collect();
        assert_eq!(
            shown,
            [
                ("/b/a_1_1", Some("T1")),
                ("+FRA/x/y.256", Some("T1")),
                ("/b/c-1-20170625-01", None)
            ]
        );
    }
}
