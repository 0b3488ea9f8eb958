//! The conditions and comments of a rule for a command.
//!
//! A command line is never matched by a pattern that could cross from one word into the next.

use std::collections::{BTreeMap, BTreeSet};

use crate::grant::ValueKind;
use crate::question::environment_words;
use crate::quote::{command_line, comment, pattern_part, set, string};
use crate::request::{EnvironmentSource, RunCommand, Stdin, Value};
use crate::subject::place;

/// All that the gate is told of a command beside its target.
pub(super) fn command_conditions(
    asked: &RunCommand,
    open: &BTreeMap<String, ValueKind>,
) -> Vec<String> {
    // The holes first: Cedar's validator wants a tag proven before a word is compared with it.
    let mut conditions = hole_conditions(asked, open);
    conditions.extend(argv_conditions(asked, open));
    conditions.push(equals_set("context.environment", &environment_words(asked)));
    conditions.extend(stdin_conditions(asked, open));
    conditions
}

/// Cedar refuses an empty set literal.
pub(super) fn equals_set<T: AsRef<str>>(left: &str, texts: &[T]) -> String {
    if texts.is_empty() {
        format!("{left}.isEmpty()")
    } else {
        format!("{left} == {}", set(texts))
    }
}

pub(super) fn command_comments(
    asked: &RunCommand,
    open: &BTreeMap<String, ValueKind>,
) -> Vec<String> {
    let mut comments = vec![
        format!("Command {} in {}", asked.command, place(&asked.target)),
        format!("  {}", comment(&command_line(&asked.argv))),
    ];
    for (variable, source) in &asked.environment {
        comments.push(match source {
            EnvironmentSource::Pod { variable: from } => {
                format!("  with {variable} from {from} of the container")
            }
            EnvironmentSource::Secret {
                handle,
                object,
                key,
            } => format!("  with {variable} from secret {handle} (key {key} of Secret {object})"),
        });
    }
    match &asked.stdin {
        Stdin::None => {}
        Stdin::Artifact => comments.push("  fed with an artifact".to_owned()),
        Stdin::Free => {
            comments.push("  WARNING: fed with whatever the module writes".to_owned());
        }
        Stdin::Template { text } => {
            comments.push("  fed with this script:".to_owned());
            let lines = text.lines().map(|line| format!("    | {}", comment(line)));
            comments.extend(lines);
        }
    }
    for (name, kind) in open {
        comments.push(format!(
            "  not pinned: {{{}}}, any {}",
            comment(name),
            kind.as_str()
        ));
    }
    comments
}

/// The whole line where it is fixed, else word by word.
fn argv_conditions(asked: &RunCommand, open: &BTreeMap<String, ValueKind>) -> Vec<String> {
    let is_open = |text: &str| open.keys().any(|name| text.contains(&braced(name)));
    if !asked.argv.iter().any(|word| is_open(word)) {
        let line = string(&command_line(&asked.argv));
        return vec![format!("context.commandLine == {line}")];
    }
    let mut conditions = vec![format!("context.wordCount == {}", asked.argv.len())];
    for (at, word) in asked.argv.iter().enumerate() {
        let at = format!("\"{at}\"");
        conditions.push(format!("context.words.hasTag({at})"));
        let left = format!("context.words.getTag({at})");
        conditions.push(match open.keys().find(|name| braced(name) == *word) {
            Some(name) => format!("{left} == context.holes.getTag({}).text", string(name)),
            None => matches(&left, word, open),
        });
    }
    conditions
}

fn stdin_conditions(asked: &RunCommand, open: &BTreeMap<String, ValueKind>) -> Vec<String> {
    let mut conditions = vec![format!("context.stdin == {}", string(asked.stdin.as_str()))];
    match &asked.stdin {
        Stdin::None | Stdin::Artifact | Stdin::Free => {}
        Stdin::Template { text } => conditions.extend([
            "context has script".to_owned(),
            matches("context.script", text, open),
        ]),
    }
    conditions
}

/// Equality, or a pattern with a `*` for each open hole.
fn matches(left: &str, template: &str, open: &BTreeMap<String, ValueKind>) -> String {
    let mut pattern = pattern_part(template);
    let mut found = false;
    for name in open.keys() {
        let hole = pattern_part(&braced(name));
        found |= pattern.contains(&hole);
        pattern = pattern.replace(&hole, "*");
    }
    if found {
        format!("{left} like \"{pattern}\"")
    } else {
        format!("{left} == {}", string(template))
    }
}

fn hole_conditions(asked: &RunCommand, open: &BTreeMap<String, ValueKind>) -> Vec<String> {
    let names: BTreeSet<&str> = asked
        .holes
        .keys()
        .chain(open.keys())
        .map(String::as_str)
        .collect();
    let names: Vec<&str> = names.into_iter().collect();
    let mut conditions = vec![equals_set("context.holeNames", &names)];
    for name in &names {
        let tag = string(name);
        conditions.push(format!("context.holes.hasTag({tag})"));
        let hole = format!("context.holes.getTag({tag})");
        let value = asked.holes.get(*name);
        let kind = open.get(*name).copied().or(value.map(Value::kind));
        conditions.extend(kind.map(|kind| format!("{hole}.kind == {}", string(kind.as_str()))));
        if let (Some(value), false) = (value, open.contains_key(*name)) {
            conditions.push(format!("{hole}.text == {}", string(&value.to_string())));
        }
    }
    conditions
}

fn braced(name: &str) -> String {
    format!("{{{name}}}")
}
