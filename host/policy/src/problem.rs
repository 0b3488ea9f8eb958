//! What is wrong with a policy file, and where.
//!
//! Must never lose the place: whoever writes a policy needs file, line and column.

use std::fmt;

use miette::Diagnostic;

/// One thing that is wrong with a policy file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, as it was named to [`Policy::parse`](crate::Policy::parse).
    pub file: String,
    /// The line, from 1, where it is known.
    pub line: Option<usize>,
    /// The column in characters, from 1, where it is known.
    pub column: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// What to do about it, where that is known.
    pub help: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
            if let Some(column) = self.column {
                write!(f, ":{column}")?;
            }
        }
        write!(f, ": {}", self.message)?;
        match &self.help {
            Some(help) => write!(f, " (help: {help})"),
            None => Ok(()),
        }
    }
}

/// All that is wrong with the files of a policy; at least one problem.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the policy is not valid: {}", list(.problems))]
pub struct PolicyErrors {
    /// The problems, file by file.
    pub problems: Vec<Problem>,
}

fn list(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    lines.join("; ")
}

/// A file of policies while it is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) name: &'a str,
    pub(crate) text: &'a str,
}

impl Source<'_> {
    /// Line and column, both from 1, of a byte offset.
    pub(crate) fn position(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = before.matches('\n').count() + 1;
        let column = before
            .get(line_start..)
            .map_or(0, |rest| rest.chars().count())
            + 1;
        (line, column)
    }

    pub(crate) fn problem_at(&self, offset: Option<usize>, message: String) -> Problem {
        let position = offset.map(|offset| self.position(offset));
        Problem {
            file: self.name.to_owned(),
            line: position.map(|(line, _)| line),
            column: position.map(|(_, column)| column),
            message,
            help: None,
        }
    }

    /// A problem that Cedar found.
    pub(crate) fn diagnosed(&self, diagnostic: &dyn Diagnostic) -> Problem {
        let label = diagnostic.labels().and_then(|mut labels| labels.next());
        let mut message = diagnostic.to_string();
        if let Some(text) = label.as_ref().and_then(|label| label.label()) {
            message = format!("{message}: {text}");
        }
        Problem {
            help: diagnostic.help().map(|help| help.to_string()),
            ..self.problem_at(label.map(|label| label.offset()), message)
        }
    }
}
