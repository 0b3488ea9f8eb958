//! What the fixed SQL of the manifest answers: lines of `cofferdam|key|value`, and an end.
//!
//! Must never take an answer without its end for a whole one.

use cofferdam_guest_sdk::{Error, Result};

use crate::codes::{Judgement, NONE_PASS};

/// The answers of one command, in order.
#[derive(Debug)]
pub(crate) struct Answers {
    command: String,
    pairs: Vec<(String, String)>,
}

impl Answers {
    /// Reads what `command` printed before it ended with `exit_code`.
    pub(crate) fn read(command: &str, text: &str, exit_code: i32) -> Result<Self> {
        let judgement = Judgement::of(text, NONE_PASS);
        if !judgement.errors.is_empty() {
            return Err(judgement.error(&format!("command `{command}`")));
        }
        if exit_code != 0 {
            return Err(Error::failed(
                "command-failed",
                format!("command `{command}` ended with {exit_code} and no error of its own"),
            ));
        }
        let mut has_end = false;
        let mut pairs = Vec::new();
        for line in text.lines() {
            let Some(answer) = line.trim().strip_prefix("cofferdam|") else {
                continue;
            };
            match answer.split_once('|') {
                Some((key, value)) => pairs.push((key.to_owned(), value.trim().to_owned())),
                None => has_end = answer == "end",
            }
        }
        if !has_end {
            return Err(Error::failed(
                "no-trailer",
                format!("command `{command}` ended with 0, but its answer has no end: it was cut"),
            ));
        }
        Ok(Self {
            command: command.to_owned(),
            pairs,
        })
    }

    /// All values of a key.
    pub(crate) fn all(&self, key: &str) -> Vec<&str> {
        self.pairs
            .iter()
            .filter(|(known, _)| known == key)
            .map(|(_, value)| value.as_str())
            .collect()
    }

    /// The one value of a key.
    pub(crate) fn one(&self, key: &str) -> Result<&str> {
        match self.all(key).as_slice() {
            [value] => Ok(value),
            _ => Err(Error::failed(
                "unknown-answer",
                format!("command `{}` did not answer `{key}` once", self.command),
            )),
        }
    }

    /// The one value of a key, a number.
    pub(crate) fn number(&self, key: &str) -> Result<u64> {
        let value = self.one(key)?;
        number(value, key)
    }
}

/// A number that the server gave for `key`.
pub(crate) fn number(value: &str, key: &str) -> Result<u64> {
    value.parse().map_err(|_| {
        Error::failed(
            "unknown-answer",
            format!("the server answered `{value}` for `{key}`, which is no number"),
        )
    })
}

/// What a database says of itself.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    pub(crate) version: String,
    pub(crate) name: String,
    pub(crate) unique_name: String,
    pub(crate) id: u64,
    pub(crate) log_mode: String,
    pub(crate) open_mode: String,
    pub(crate) role: String,
    pub(crate) is_container: bool,
    /// The newest change; 0 where the database is not open.
    pub(crate) scn: u64,
    pub(crate) data_files: u64,
    /// The incarnations that the control file knows.
    pub(crate) incarnations: Vec<Incarnation>,
}

/// One life of a database between two `RESETLOGS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Incarnation {
    /// Its number in the control file.
    pub(crate) number: u64,
    /// The change at which it began.
    pub(crate) began: u64,
    /// The change at which the one before it began.
    pub(crate) prior_began: u64,
    pub(crate) is_current: bool,
}

impl Database {
    pub(crate) fn of(answers: &Answers) -> Result<Self> {
        let incarnations = answers
            .all("incarnation")
            .into_iter()
            .map(|packed| {
                let words: Vec<&str> = packed.split('|').collect();
                let [incarnation, began, prior_began, status] = words.as_slice() else {
                    return Err(Error::failed(
                        "unknown-answer",
                        format!("the server described an incarnation as `{packed}`"),
                    ));
                };
                Ok(Incarnation {
                    number: number(incarnation, "incarnation")?,
                    began: number(began, "resetlogs_change#")?,
                    // The first incarnation has none before it.
                    prior_began: prior_began.parse().unwrap_or(0),
                    is_current: *status == "CURRENT",
                })
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Self {
            version: answers.one("version")?.to_owned(),
            name: answers.one("db-name")?.to_owned(),
            unique_name: answers.one("db-unique-name")?.to_owned(),
            id: answers.number("dbid")?,
            log_mode: answers.one("log-mode")?.to_owned(),
            open_mode: answers.one("open-mode")?.to_owned(),
            role: answers.one("role")?.to_owned(),
            is_container: answers.one("cdb")? == "YES",
            scn: answers.number("scn")?,
            data_files: answers.number("data-files")?,
            incarnations,
        })
    }

    /// The incarnation that lives now.
    pub(crate) fn current(&self) -> Result<&Incarnation> {
        let mut current = self.incarnations.iter().filter(|one| one.is_current);
        match (current.next(), current.next()) {
            (Some(one), None) => Ok(one),
            _ => Err(Error::failed(
                "unknown-answer",
                "the control file does not name one current incarnation",
            )),
        }
    }
}
