//! What `psql` said while it loaded a cluster, and which errors are no faults.
//!
//! Read by SQLSTATE and by the server's own function name (`VERBOSITY=verbose`), never by words,
//! which a server may say in any language. Must never let an error pass that is not on the list.

use std::collections::BTreeMap;

use cofferdam_guest_sdk::{Error, Outcome, Result};

/// Errors that a load of a cluster passes over: SQLSTATE, the server's function, what it means.
///
/// All three come from the part of a dump that drops and makes roles. What follows there (`ALTER
/// ROLE`) makes an existing role what the backup says.
const PASSED: [(&str, &str, &str); 3] = [
    ("55006", "DropRole", "the role that loads cannot be dropped"),
    (
        "2BP01",
        "DropRole",
        "a role that owns something cannot be dropped",
    ),
    ("42710", "CreateRole", "a role exists already"),
];

/// Classes of SQLSTATE that are no errors: success, warning, no data.
const NO_ERRORS: [&str; 3] = ["00", "01", "02"];

/// How much of an error is told.
const TOLD: usize = 400;
/// How many errors are told.
const ERRORS_TOLD: usize = 3;

/// One message of `psql` with the lines behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Message {
    text: String,
    /// `None` for what does not come from a server.
    state: Option<String>,
    function: String,
}

/// The errors that were passed over, by what they mean, with how often each came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Passed(BTreeMap<&'static str, u64>);

impl Passed {
    /// As a phrase; `None` when there was none.
    pub(crate) fn phrase(&self) -> Option<String> {
        let one = |(what, count): (&&str, &u64)| format!("{count} of `{what}`");
        let all: Vec<String> = self.0.iter().map(one).collect();
        (!all.is_empty()).then(|| all.join(", "))
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.values().sum()
    }
}

/// Holds all that a load said against the list.
pub(crate) fn judge(outcome: &Outcome) -> Result<Passed> {
    let mut passed = Passed::default();
    let mut faults = Vec::new();
    for message in parse(&outcome.stderr) {
        match verdict(&message) {
            Verdict::NoError => {}
            Verdict::Passed(what) => *passed.0.entry(what).or_default() += 1,
            Verdict::Fault => faults.push(message.text),
        }
    }
    if !faults.is_empty() {
        let shown: Vec<String> = faults
            .iter()
            .take(ERRORS_TOLD)
            .map(|one| told(one))
            .collect();
        let more = faults.len().saturating_sub(ERRORS_TOLD);
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        return Err(Error::failed(
            "load-failed",
            format!(
                "`psql` ended with {} and reported {}{more}",
                outcome.exit_code,
                shown.join(" / ")
            ),
        ));
    }
    if outcome.stderr_cut {
        return Err(Error::failed(
            "not-proven",
            format!(
                "`psql` ended with {} and said more than is kept, so its errors cannot be held against the list",
                outcome.exit_code
            ),
        ));
    }
    if outcome.exit_code != 0 {
        let said = told(outcome.stderr.trim());
        return Err(Error::failed(
            "load-failed",
            format!("`psql` ended with {}: {said}", outcome.exit_code),
        ));
    }
    Ok(passed)
}

fn told(text: &str) -> String {
    let short: String = text.chars().take(TOLD).collect();
    short.split_whitespace().collect::<Vec<_>>().join(" ")
}

enum Verdict {
    NoError,
    Passed(&'static str),
    Fault,
}

fn verdict(message: &Message) -> Verdict {
    let Some(state) = &message.state else {
        return Verdict::Fault;
    };
    if NO_ERRORS.iter().any(|class| state.starts_with(class)) {
        return Verdict::NoError;
    }
    PASSED
        .iter()
        .find(|(known, function, _)| known == state && *function == message.function)
        .map_or(Verdict::Fault, |(_, _, what)| Verdict::Passed(what))
}

/// The messages of a text. Lines before the first are one of their own: nothing is left unread.
fn parse(said: &str) -> Vec<Message> {
    let mut messages: Vec<Message> = Vec::new();
    for line in said.lines().filter(|line| !line.trim().is_empty()) {
        match messages.last_mut() {
            Some(last) if !line.starts_with("psql:") => {
                if let Some(function) = function(line) {
                    function.clone_into(&mut last.function);
                } else {
                    last.text.push(' ');
                    last.text.push_str(line.trim());
                }
            }
            _ => messages.push(Message {
                text: line.to_owned(),
                state: state(line),
                function: String::new(),
            }),
        }
    }
    messages
}

/// The SQLSTATE of `psql:<stdin>:26: ERROR:  55006: current user cannot be dropped`.
fn state(line: &str) -> Option<String> {
    let mut parts = line.strip_prefix("psql:")?.splitn(4, ": ");
    let (_place, _severity, state) = (parts.next()?, parts.next()?, parts.next()?);
    // Two blanks follow the severity.
    let state = state.strip_prefix(' ')?;
    let is_state = state.len() == 5
        && state
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase());
    (is_state && parts.next().is_some()).then(|| state.to_owned())
}

/// The function of `LOCATION:  DropRole, user.c:1081`, whatever the first word is.
fn function(line: &str) -> Option<&str> {
    let (label, place) = line.split_once(":  ")?;
    let (function, file) = place.rsplit_once(", ")?;
    let (file, number) = file.rsplit_once(':')?;
    let is_place = file.ends_with(".c") && number.bytes().all(|byte| byte.is_ascii_digit());
    let is_word = |word: &str| !word.is_empty() && !word.contains(char::is_whitespace);
    (is_place && is_word(label) && is_word(function)).then_some(function)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HARMLESS: &str =
        "psql:<stdin>:16: NOTICE:  00000: database \"shop\" does not exist, skipping
LOCATION:  dropdb, dbcommands.c:1636
psql:<stdin>:26: ERROR:  55006: current user cannot be dropped
LOCATION:  DropRole, user.c:1081
psql:<stdin>:27: FEHLER:  2BP01: kann Rolle »zync« nicht löschen, weil andere Objekte davon abhängen
DETAIL:  Eigentümer von Datenbank other
LOCATION:  DropRole, user.c:1200
psql:<stdin>:34: ERROR:  42710: role \"postgres\" already exists
LOCATION:  CreateRole, user.c:336
psql:<stdin>:36: ERROR:  42710: role \"zync\" already exists
LOCATION:  CreateRole, user.c:336
";

    fn outcome(exit_code: i32, stderr: &str) -> Outcome {
        Outcome {
            exit_code,
            stderr: stderr.to_owned(),
            ..Outcome::default()
        }
    }

    #[track_caller]
    fn check_fault(exit_code: i32, stderr: &str, words: &str) {
        let error = judge(&outcome(exit_code, stderr)).expect_err("a fault");
        assert!(error.to_string().contains(words), "{error}");
    }

    #[test]
    fn errors_on_the_list_are_counted_in_any_language() {
        let passed = judge(&outcome(0, HARMLESS)).expect("no fault");
        assert_eq!(passed.count(), 4);
        let phrase = passed.phrase().expect("some");
        assert!(phrase.contains("2 of `a role exists already`"), "{phrase}");
        assert_eq!(judge(&outcome(0, "")).expect("none").phrase(), None);
    }

    #[test]
    fn an_error_that_is_not_on_the_list_is_a_fault_even_with_exit_code_0() {
        let in_use =
            "psql:<stdin>:17: ERROR:  55006: database \"shop\" is being accessed by other users
DETAIL:  There is 1 other session using the database.
LOCATION:  dropdb, dbcommands.c:1700
";
        check_fault(0, in_use, "is being accessed by other users DETAIL");
        check_fault(
            3,
            &format!(
                "{HARMLESS}psql:<stdin>:400: ERROR:  22P02: invalid input syntax for type integer: \"x\"\nCONTEXT:  COPY t, line 3\nLOCATION:  pg_strtoint32, numutils.c:323\n"
            ),
            "ended with 3 and reported psql:<stdin>:400: ERROR: 22P02: invalid input",
        );
    }

    #[test]
    fn the_list_is_by_function_and_not_by_state_alone() {
        let other = "psql:<stdin>:9: ERROR:  42710: extension \"hstore\" already exists
LOCATION:  CreateExtension, extension.c:1712
";
        check_fault(0, other, "extension \"hstore\" already exists");
        // A name of an object cannot pretend to be a place in the server.
        let forged =
            "psql:<stdin>:9: ERROR:  42710: type \"CreateRole, user.c:1\" already exists\n";
        check_fault(0, forged, "already exists");
    }

    #[test]
    fn words_of_the_client_itself_are_faults() {
        check_fault(
            2,
            "psql: error: connection to server on socket failed: No such file",
            "connection to server",
        );
        check_fault(
            0,
            "psql:<stdin>:5: error: invalid command \\restrict",
            "invalid command",
        );
        check_fault(137, "Killed", "Killed");
        check_fault(137, "", "ended with 137");
    }

    #[test]
    fn more_words_than_are_kept_prove_nothing() {
        let outcome = Outcome {
            stderr_cut: true,
            ..outcome(0, HARMLESS)
        };
        assert_eq!(
            judge(&outcome).expect_err("a fault").code(),
            Some("not-proven")
        );
    }
}
