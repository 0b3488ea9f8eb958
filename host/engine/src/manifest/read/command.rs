//! The `[commands]` of a manifest.
//!
//! Must never let a hole name a program, name an option, or be read as a program by a shell.

use std::collections::BTreeMap;
use std::time::Duration;

use cofferdam_policy::name::{CommandName, ParameterName, SecretHandle, VariableName};
use serde::Deserialize;

use super::super::parameter::{self, Parameter, ParameterType};
use super::super::{
    Command, DeclaredSource, DeclaredStdin, DeclaredStdout, ManifestError, Template,
};
use super::{RawParameter, Scope, Table, at, bounded, line, name, parameters};
use crate::limits;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCommand {
    target: String,
    #[serde(default)]
    summary: String,
    argv: Vec<String>,
    #[serde(default)]
    holes: Table<RawParameter>,
    #[serde(default)]
    environment: toml::Table,
    stdin: Option<String>,
    script: Option<String>,
    stdout: String,
    timeout: String,
}

/// Programs whose `-c` argument is a program itself.
const SHELLS: &[&str] = &["sh", "bash", "dash", "ash", "ksh", "zsh", "busybox"];

pub(super) fn commands(
    raw: &Table<RawCommand>,
    scope: &Scope<'_>,
) -> Result<BTreeMap<CommandName, Command>, ManifestError> {
    bounded("commands", raw.len(), limits::COMMANDS)?;
    raw.iter()
        .map(|(key, value)| {
            let place = format!("commands.{key}");
            let name: CommandName = name(&place, key)?;
            Ok((name.clone(), command(&place, name, value, scope)?))
        })
        .collect()
}

fn command(
    place: &str,
    name: CommandName,
    raw: &RawCommand,
    scope: &Scope<'_>,
) -> Result<Command, ManifestError> {
    let command = Command {
        name,
        target: scope.target(&format!("{place}.target"), &raw.target)?,
        summary: line(&format!("{place}.summary"), &raw.summary)?,
        argv: argv(&format!("{place}.argv"), &raw.argv)?,
        holes: parameters(&format!("{place}.holes"), &raw.holes)?,
        environment: environment(&format!("{place}.environment"), &raw.environment, scope)?,
        stdin: stdin(place, raw)?,
        stdout: stdout(&format!("{place}.stdout"), &raw.stdout)?,
        timeout: timeout(&format!("{place}.timeout"), &raw.timeout)?,
    };
    holes(place, &command, scope)?;
    Ok(command)
}

fn argv(key: &str, raw: &[String]) -> Result<Vec<Template>, ManifestError> {
    bounded(key, raw.len(), limits::WORDS)?;
    let mut words = Vec::with_capacity(raw.len());
    for text in raw {
        if text.len() > limits::SCRIPT_BYTES {
            return Err(at(
                key,
                format!("a word is longer than {} bytes", limits::SCRIPT_BYTES),
            ));
        }
        let word = Template::parse(text).map_err(|error| at(key, error.to_string()))?;
        if word.lets_a_hole_name_an_option() {
            return Err(at(
                key,
                format!("`{word}`: a hole after nothing but dashes would name an option"),
            ));
        }
        words.push(word);
    }
    let program = words
        .first()
        .and_then(Template::literal)
        .unwrap_or_default();
    if program.is_empty() || program.starts_with('-') {
        return Err(at(
            key,
            "the first word names the program: it has no hole and no `-` in front",
        ));
    }
    let base = program.rsplit('/').next().unwrap_or_default();
    if SHELLS.contains(&base) {
        let mut previous = "";
        for (word, text) in words.iter().zip(raw) {
            let runs_next =
                previous.starts_with('-') && !previous.starts_with("--") && previous.ends_with('c');
            if runs_next && word.holes().next().is_some() {
                return Err(at(
                    key,
                    format!(
                        "a hole in a script of `{base}` would be a program: give it as a word after the script and write \"$1\""
                    ),
                ));
            }
            previous = text;
        }
    }
    Ok(words)
}

fn environment(
    key: &str,
    raw: &toml::Table,
    scope: &Scope<'_>,
) -> Result<Vec<(VariableName, DeclaredSource)>, ManifestError> {
    bounded(key, raw.len(), limits::VARIABLES)?;
    raw.iter()
        .map(|(variable, value)| {
            let key = format!("{key}.{variable}");
            let wanted = || {
                at(
                    &key,
                    "write `{ pod = \"VARIABLE\" }`, `{ secret = \"handle\" }` or `{ secret = \"handle\", pod = \"VARIABLE\" }`",
                )
            };
            let raw = value.as_table().ok_or_else(wanted)?;
            if raw.keys().any(|word| word != "pod" && word != "secret") {
                return Err(wanted());
            }
            let text = |word: &str| match raw.get(word) {
                Some(value) => value.as_str().map(Some).ok_or_else(wanted),
                None => Ok(None),
            };
            let handle = |text: &str| -> Result<SecretHandle, ManifestError> {
                let handle: SecretHandle = name(&key, text)?;
                if !scope.secrets.contains_key(&handle) {
                    return Err(at(&key, format!("`secrets` has no `{handle}`")));
                }
                Ok(handle)
            };
            let source = match (text("secret")?, text("pod")?) {
                (None, None) => return Err(wanted()),
                (None, Some(pod)) => DeclaredSource::Pod(name(&key, pod)?),
                (Some(secret), None) => DeclaredSource::Secret(handle(secret)?),
                (Some(secret), Some(pod)) => {
                    let handle = handle(secret)?;
                    if !scope.optional_secrets.contains(&handle) {
                        return Err(at(
                            &key,
                            format!("`{handle}` is always bound: `pod` is for optional secrets"),
                        ));
                    }
                    DeclaredSource::SecretOrPod(handle, name(&key, pod)?)
                }
            };
            Ok((name(&key, variable)?, source))
        })
        .collect()
}

fn stdin(place: &str, raw: &RawCommand) -> Result<DeclaredStdin, ManifestError> {
    let key = format!("{place}.script");
    match (raw.stdin.as_deref().unwrap_or("none"), &raw.script) {
        ("template", Some(text)) if text.len() > limits::SCRIPT_BYTES => Err(at(
            &key,
            format!("is longer than {} bytes", limits::SCRIPT_BYTES),
        )),
        ("template", Some(text)) => Template::parse(text)
            .map(DeclaredStdin::Template)
            .map_err(|error| at(&key, error.to_string())),
        ("template", None) => Err(at(
            &key,
            "is missing: `stdin = \"template\"` feeds it to the command",
        )),
        (_, Some(_)) => Err(at(&key, "needs `stdin = \"template\"`")),
        ("none", None) => Ok(DeclaredStdin::None),
        ("artifact", None) => Ok(DeclaredStdin::Artifact),
        ("free", None) => Ok(DeclaredStdin::Free),
        (other, None) => Err(at(
            &format!("{place}.stdin"),
            format!(
                "`{}`: use none, artifact, template or free",
                other.escape_default()
            ),
        )),
    }
}

fn stdout(key: &str, text: &str) -> Result<DeclaredStdout, ManifestError> {
    if text == "stream" {
        return Ok(DeclaredStdout::Stream);
    }
    let limit = text
        .strip_prefix("capture(")
        .and_then(|rest| rest.strip_suffix(')'))
        .and_then(|size| parameter::bytes(size).ok())
        .ok_or_else(|| {
            at(
                key,
                format!("`{}`: use stream or capture(64KiB)", text.escape_default()),
            )
        })?;
    match u32::try_from(limit) {
        Ok(bytes) if bytes <= limits::CAPTURE_BYTES => Ok(DeclaredStdout::Capture(bytes)),
        _ => Err(at(
            key,
            format!("captures {limit} bytes, {} at most", limits::CAPTURE_BYTES),
        )),
    }
}

fn timeout(key: &str, text: &str) -> Result<Duration, ManifestError> {
    parameter::duration(text)
        .ok()
        .filter(|duration| (limits::SHORTEST_TIMEOUT..=limits::LONGEST_TIMEOUT).contains(duration))
        .ok_or_else(|| {
            at(
                key,
                format!("`{}`: use `1s` to `7d`", text.escape_default()),
            )
        })
}

/// A hole of type `words` is a parameter and stands for whole words of a command line, whose program
/// reads none of them as a program.
fn whole_words(
    place: &str,
    command: &Command,
    template: &Template,
    hole: &ParameterName,
) -> Result<(), ManifestError> {
    let refuse = |why: &str| Err(at(place, format!("`{{{hole}}}` {why}")));
    if command.holes.contains_key(hole) {
        return refuse("of type `words` is for parameters: the site chooses, not the module");
    }
    let is_a_word = template.sole_hole().is_some()
        && command.argv.iter().any(|word| std::ptr::eq(word, template));
    if !is_a_word {
        return refuse("stands for whole words: write it as a word of `argv` of its own");
    }
    let program = command
        .argv
        .first()
        .and_then(Template::literal)
        .unwrap_or_default();
    if SHELLS.contains(&program.rsplit('/').next().unwrap_or_default()) {
        return refuse("may be an option of a shell: name the program itself");
    }
    Ok(())
}

/// Every hole has a type, every declared hole is used, and none can hold a program.
fn holes(place: &str, command: &Command, scope: &Scope<'_>) -> Result<(), ManifestError> {
    let kind_of = |hole: &ParameterName| -> Option<&Parameter> {
        command
            .holes
            .get(hole)
            .or_else(|| scope.parameters.get(hole))
    };
    for template in command.templates() {
        for hole in template.holes() {
            match kind_of(hole).map(|parameter| &parameter.kind) {
                None => {
                    return Err(at(
                        place,
                        format!("`{{{hole}}}` is neither in its `holes` nor a parameter"),
                    ));
                }
                Some(ParameterType::ObjectNames) => {
                    return Err(at(
                        place,
                        format!("`{{{hole}}}` is a list: a hole takes one value"),
                    ));
                }
                Some(ParameterType::Words(_)) => {
                    whole_words(place, command, template, hole)?;
                }
                Some(_) => {}
            }
        }
    }
    if let DeclaredStdin::Template(script) = &command.stdin {
        for hole in script.holes() {
            if kind_of(hole).is_some_and(|parameter| parameter.kind.may_hold_code()) {
                return Err(at(
                    &format!("{place}.script"),
                    format!("`{{{hole}}}`: text and paths in a script would be a program"),
                ));
            }
        }
    }
    for hole in command.holes.keys() {
        if scope.parameters.contains_key(hole) {
            return Err(at(
                &format!("{place}.holes.{hole}"),
                "is a parameter too: one name for one thing",
            ));
        }
        if !command
            .templates()
            .any(|template| template.holes().any(|used| used == hole))
        {
            return Err(at(&format!("{place}.holes.{hole}"), "is used nowhere"));
        }
    }
    Ok(())
}
