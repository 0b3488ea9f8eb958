//! What a command answered, and asking it questions that fail with everything that was said.

use std::process::Output;

use serde_json::Value;

/// What a command answered.
#[derive(Debug)]
pub struct Answer {
    shown: String,
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Answer {
    pub(crate) fn new(shown: String, output: &Output) -> Self {
        Self {
            shown,
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Demands this exit code.
    #[track_caller]
    #[must_use]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// Demands that standard error has this text.
    #[track_caller]
    #[must_use]
    pub fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "`{text}` was not said\n{self}");
        self
    }

    /// Demands that nothing that was printed has this text.
    #[track_caller]
    #[must_use]
    pub fn never_says(self, text: &str) -> Self {
        assert!(
            !self.stderr.contains(text) && !self.stdout.contains(text),
            "`{text}` was said\n{self}"
        );
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("no JSON: {error}\n{self}"))
    }

    /// Standard output.
    pub fn stdout(&self) -> &str {
        &self.stdout
    }

    /// Standard error.
    pub fn stderr(&self) -> &str {
        &self.stderr
    }

    /// The entry of a data set in the report of a run.
    #[track_caller]
    pub fn data_set(&self, name: &str) -> Value {
        let report = self.json();
        let list = report["dataSets"].as_array().cloned().unwrap_or_default();
        list.into_iter()
            .find(|one| one["name"] == name)
            .unwrap_or_else(|| panic!("nothing about `{name}`\n{self}"))
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            shown,
            code,
            stdout,
            stderr,
        } = self;
        write!(
            f,
            "`{shown}` ended with {code:?}\n---- stdout\n{stdout}\n---- stderr\n{stderr}"
        )
    }
}
