//! The codes with which Oracle's programs say what went wrong, out of everything that they print.
//!
//! A code is an error unless its list says that it passes: what is unknown never counts as success.
//! Must never repeat a text that may hold a piece of what was typed, such as a password.

use cofferdam_guest_sdk::Error;
use cofferdam_guest_sdk::error::Failure;

/// The facilities of RMAN, the server, SQL*Plus, Data Pump, its parameters and the network.
const FACILITIES: [&str; 9] = [
    "RMAN-", "ORA-", "SP2-", "UDE-", "UDI-", "LRM-", "TNS-", "OSD-", "PLS-",
];

/// The frame around RMAN's error stack: no errors themselves, and never alone.
const FRAME: [&str; 2] = ["RMAN-00569", "RMAN-00571"];

/// Texts that quote what the program did not understand.
const QUOTE_INPUT: [&str; 8] = [
    "RMAN-01006",
    "RMAN-01008",
    "RMAN-01009",
    "SP2-0306",
    "SP2-0734",
    "LRM-00101",
    "LRM-00112",
    "LRM-00116",
];

/// What RMAN may say and still have done all of its work.
///
/// 06908 and 06909: Standard Edition uses one of the channels that were asked for.
pub(crate) const RMAN_PASSES: &[&str] = &["RMAN-06908", "RMAN-06909"];

/// What an import may say: objects other than tables that are there already are left as they are.
///
/// 31684 and 39111: left alone with what hangs on it. 39082: created, and does not compile, which
/// may have been so before.
pub(crate) const IMPORT_PASSES: &[&str] = &["ORA-31684", "ORA-39111", "ORA-39082"];

/// Nothing passes.
pub(crate) const NONE_PASS: &[&str] = &[];

/// How many messages an error repeats; the first and the last say most.
const SHOWN: usize = 8;
/// How long one of them may be: the host cuts an error at 2 KiB.
const SHOWN_BYTES: usize = 180;

/// One code and what was said with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    /// Such as `ORA-01034`.
    pub(crate) code: String,
    /// What stood behind it in its line.
    pub(crate) text: String,
}

impl Said {
    fn shown(&self) -> String {
        if QUOTE_INPUT.contains(&self.code.as_str()) {
            return format!(
                "{} (its text is left out: it quotes what was typed)",
                self.code
            );
        }
        if self.text.is_empty() {
            return self.code.clone();
        }
        let text: String = self.text.chars().take(SHOWN_BYTES).collect();
        format!("{}: {text}", self.code)
    }
}

/// What a program said, sorted.
#[derive(Debug, Default)]
pub(crate) struct Judgement {
    /// Codes that pass, in order.
    pub(crate) warnings: Vec<Said>,
    /// All others, in order.
    pub(crate) errors: Vec<Said>,
}

impl Judgement {
    /// Looks through everything that was said.
    pub(crate) fn of(text: &str, passes: &[&str]) -> Self {
        let mut judgement = Self::default();
        let mut frame = None;
        for said in codes(text) {
            if FRAME.contains(&said.code.as_str()) {
                frame = Some(said);
            } else if passes.contains(&said.code.as_str()) {
                judgement.warnings.push(said);
            } else {
                judgement.errors.push(said);
            }
        }
        // A stack that was announced and never came is an error all the same.
        if judgement.errors.is_empty() {
            judgement.errors.extend(frame);
        }
        judgement
    }

    /// The codes that passed with how often, `ORA-31684=3`, for evidence.
    pub(crate) fn passed(&self) -> String {
        counted(&self.warnings)
    }

    /// Whether one of the errors has this code.
    pub(crate) fn has(&self, code: &str) -> bool {
        self.errors.iter().any(|said| said.code == code)
    }

    /// The errors as one error; `attempted` such as ``command `restore-database` ``.
    pub(crate) fn error(&self, attempted: &str) -> Error {
        let mut shown: Vec<String> = self.errors.iter().map(Said::shown).collect();
        shown.dedup();
        let left = shown.len().saturating_sub(SHOWN);
        if left > 0 {
            shown.splice(SHOWN / 2..SHOWN / 2 + left, [format!("({left} more)")]);
        }
        let mut message = format!("{attempted} reported {}", shown.join("; "));
        if let Some(hint) = self.errors.iter().find_map(|said| hint(&said.code)) {
            message.push_str(". ");
            message.push_str(hint);
        }
        let mut details: Vec<(String, String)> = Vec::new();
        for said in &self.errors {
            if details.len() < 16 && !details.iter().any(|(_, code)| *code == said.code) {
                details.push((format!("code-{}", details.len() + 1), said.code.clone()));
            }
        }
        Error::Failed(Failure {
            code: "oracle".to_owned(),
            message,
            retryable: false,
            details,
        })
    }
}

/// Each code once with how often it was said, `ORA-31684=3 ORA-39082=1`.
pub(crate) fn counted(all: &[Said]) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for said in all {
        match counts.iter_mut().find(|(code, _)| *code == said.code) {
            Some((_, count)) => *count += 1,
            None => counts.push((&said.code, 1)),
        }
    }
    let shown: Vec<String> = counts
        .iter()
        .map(|(code, count)| format!("{code}={count}"))
        .collect();
    shown.join(" ")
}

/// Every code of a text. One line may have several: `RMAN-10031: RPC Error: ORA-19583`.
fn codes(text: &str) -> Vec<Said> {
    let mut found = Vec::new();
    for line in text.lines() {
        let mut from = 0;
        while let Some((start, end)) = next_code(line, from) {
            let code = line.get(start..end).unwrap_or_default().to_owned();
            let behind = line.get(end..).unwrap_or_default();
            let text = behind.trim_start_matches(':').trim().to_owned();
            found.push(Said { code, text });
            from = end;
        }
    }
    found
}

/// Where the next code of a line begins and ends: a facility, `-` and three to five digits that
/// are not a part of a longer word.
fn next_code(line: &str, from: usize) -> Option<(usize, usize)> {
    let rest = line.get(from..)?;
    let mut best: Option<(usize, usize)> = None;
    for facility in FACILITIES {
        for (at, _) in rest.match_indices(facility) {
            let before = rest.get(..at).unwrap_or_default().chars().next_back();
            let digits = rest
                .get(at + facility.len()..)
                .unwrap_or_default()
                .bytes()
                .take_while(u8::is_ascii_digit)
                .count();
            let is_code = !before.is_some_and(char::is_alphanumeric) && (3..=5).contains(&digits);
            let end = at + facility.len() + digits;
            if is_code && best.is_none_or(|(known, _)| at < known) {
                best = Some((at, end));
            }
        }
    }
    best.map(|(start, end)| (from + start, from + end))
}

/// What to do about a code, where that is known.
fn hint(code: &str) -> Option<&'static str> {
    Some(match code {
        "ORA-19502" | "ORA-19504" | "ORA-27072" | "ORA-19809" | "ORA-19804" | "ORA-19815" => {
            "Look at the disk or the recovery area on the server's side: it is full or cannot be written to"
        }
        "ORA-01034" | "ORA-27101" => "The instance is not running: have it started, or restore",
        "ORA-01017" | "ORA-28000" | "ORA-28001" | "ORA-01031" => {
            "Look at the Secret behind `user` and `password` and at the privileges of that user"
        }
        "ORA-12154" | "ORA-12514" | "ORA-12541" | "ORA-12170" | "ORA-12528" | "ORA-12545" => {
            "Look at parameter `connect`: it needs a service that the listener knows, statically where the instance is to be stopped and started"
        }
        "ORA-39070" | "ORA-39087" | "ORA-29283" | "ORA-31640" | "ORA-31641" => {
            "Look at the directory object: the server must have its folder, and the user must be allowed to read and write it"
        }
        "RMAN-20208" => "The moment belongs to another incarnation of the database",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        codes(text).into_iter().map(|said| said.code).collect()
    }

    #[test]
    fn every_code_of_a_line_is_found_and_nothing_else() {
        assert_eq!(
            found("RMAN-10031: RPC Error: ORA-19583"),
            ["RMAN-10031", "ORA-19583"]
        );
        assert_eq!(
            found("RMAN> 2> ORA-01507: database not mounted"),
            ["ORA-01507"]
        );
        for none in [
            "piece handle=/b/AURORA-01034_1 tag=X",
            "ORA-12",
            "ORA-123456",
            "RMAN> ",
            "tag=RMAN-",
        ] {
            assert!(found(none).is_empty(), "{none}");
        }
    }

    #[test]
    fn an_unknown_code_is_an_error() {
        let judgement = Judgement::of("ORA-99998: never heard of", RMAN_PASSES);
        assert!(judgement.has("ORA-99998"));
    }

    #[test]
    fn a_stack_without_a_code_is_an_error() {
        let frame = "RMAN-00571: =====\nRMAN-00569: === ERROR MESSAGE STACK FOLLOWS ===\nRMAN-00571: =====\n";
        assert_eq!(Judgement::of(frame, RMAN_PASSES).errors.len(), 1);
        let whole = format!("{frame}RMAN-06059: expected archived log not found\n");
        assert_eq!(Judgement::of(&whole, RMAN_PASSES).errors.len(), 1);
    }

    #[test]
    fn a_text_that_quotes_the_input_is_left_out() {
        let judgement = Judgement::of(
            "RMAN-01008: the bad identifier was: tiger\nRMAN-01009: syntax error: found \"tiger\"\n",
            RMAN_PASSES,
        );
        let message = judgement.error("command `x`").to_string();
        assert!(!message.contains("tiger"), "{message}");
        assert!(message.contains("RMAN-01008"), "{message}");
    }

    #[test]
    fn a_flood_of_codes_is_shortened_in_the_middle() {
        let flood: String = (100..200)
            .map(|n| format!("ORA-00{n}: text {n}\n"))
            .collect();
        let message = Judgement::of(&flood, NONE_PASS).error("x").to_string();
        assert!(
            message.contains("ORA-00100") && message.contains("ORA-00199"),
            "{message}"
        );
        assert!(
            message.contains("(92 more)") && message.len() < 2000,
            "{message}"
        );
    }
}
