//! As much of a manifest as the fakes hold a module to. The host reads the whole of it.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::error::{Error, Result};

#[derive(Debug, Default, Deserialize)]
pub(super) struct Manifest {
    #[serde(default)]
    pub(super) targets: BTreeMap<String, toml::Value>,
    #[serde(default)]
    pub(super) parameters: BTreeMap<String, Parameter>,
    #[serde(default)]
    pub(super) commands: BTreeMap<String, Command>,
    #[serde(default)]
    pub(super) paths: BTreeMap<String, DeclaredPath>,
    #[serde(default)]
    pub(super) objects: BTreeMap<String, ObjectGroup>,
    #[serde(default)]
    pub(super) templates: BTreeMap<String, toml::Value>,
    #[serde(default)]
    pub(super) rollouts: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Parameter {
    #[serde(rename = "type")]
    kind: String,
    default: Option<toml::Value>,
    #[serde(default)]
    words: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Command {
    pub(super) target: String,
    pub(super) argv: Vec<String>,
    stdin: Option<String>,
    script: Option<String>,
    stdout: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct DeclaredPath {
    target: String,
    path: String,
    access: String,
    #[serde(default)]
    tree: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct ObjectGroup {
    kind: String,
    names: Vec<String>,
    verbs: Vec<String>,
    #[serde(default)]
    keys: Vec<String>,
}

impl Manifest {
    pub(super) fn parse(text: &str) -> std::result::Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    /// The defaults, as `settings.parameter` gives them: durations in seconds, lists joined.
    pub(super) fn defaults(&self) -> BTreeMap<String, String> {
        let text = |parameter: &Parameter| {
            let text = match parameter.default.as_ref()? {
                toml::Value::String(text) if parameter.kind == "duration" => seconds(text),
                toml::Value::String(text) => text.clone(),
                toml::Value::Array(list) => {
                    let words: Vec<&str> = list.iter().filter_map(toml::Value::as_str).collect();
                    words.join(",")
                }
                other => other.to_string(),
            };
            Some(text)
        };
        self.parameters
            .iter()
            .filter_map(|(name, parameter)| Some((name.clone(), text(parameter)?)))
            .collect()
    }

    /// Whether a site may leave a role unbound.
    pub(super) fn is_optional(&self, role: &str) -> bool {
        let optional = self.targets.get(role).and_then(|role| role.get("optional"));
        optional.and_then(toml::Value::as_bool).unwrap_or(false)
    }

    /// The words of a command, with those that the site chose in the place of a hole of type
    /// `words`.
    pub(super) fn words(
        &self,
        command: &Command,
        parameters: &BTreeMap<String, String>,
    ) -> Vec<String> {
        let chosen = |word: &String| {
            let name = word.strip_prefix('{')?.strip_suffix('}')?;
            let choices = &self.parameters.get(name)?.words;
            choices.get(parameters.get(name)?).cloned()
        };
        let words = command.argv.iter();
        words
            .flat_map(|word| chosen(word).unwrap_or_else(|| vec![word.clone()]))
            .collect()
    }

    pub(super) fn command(&self, name: &str) -> Result<&Command> {
        self.commands
            .get(name)
            .ok_or_else(|| undeclared("command", name))
    }

    /// The place of a path of `role`, its holes filled from the parameters.
    pub(super) fn place(
        &self,
        name: &str,
        role: &str,
        write: bool,
        parameters: &BTreeMap<String, String>,
    ) -> Result<String> {
        let declared = self.paths.get(name).filter(|path| path.target == role);
        let declared = declared.ok_or_else(|| undeclared("path", name))?;
        if write && declared.access != "write" {
            return Err(Error::invalid(format!(
                "the manifest declares path `{name}` for reading only"
            )));
        }
        fill(&declared.path, parameters)
    }

    /// As [`place`](Self::place), of a path that is declared as a tree.
    pub(super) fn tree(
        &self,
        name: &str,
        role: &str,
        write: bool,
        parameters: &BTreeMap<String, String>,
    ) -> Result<String> {
        if self.paths.get(name).is_some_and(|path| !path.tree) {
            return Err(Error::invalid(format!(
                "the manifest declares path `{name}` as no tree"
            )));
        }
        self.place(name, role, write, parameters)
    }

    /// A group that declares `verb`.
    pub(super) fn group(&self, name: &str, verb: &str) -> Result<&ObjectGroup> {
        let group = self
            .objects
            .get(name)
            .ok_or_else(|| undeclared("object group", name))?;
        if group.verbs.iter().any(|declared| declared == verb) {
            Ok(group)
        } else {
            Err(undeclared("object verb", &format!("{name} {verb}")))
        }
    }

    pub(super) fn rollout(&self, role: &str, verb: &str) -> Result<()> {
        let verbs = self
            .rollouts
            .get(role)
            .ok_or_else(|| undeclared("rollout", role))?;
        if verbs.iter().any(|declared| declared == verb) {
            Ok(())
        } else {
            Err(undeclared("rollout verb", &format!("{role} {verb}")))
        }
    }
}

impl Command {
    /// The names of the holes of its words and its script.
    pub(super) fn holes(&self) -> Vec<String> {
        let mut names: Vec<String> = self.argv.iter().flat_map(|word| holes_of(word)).collect();
        names.extend(self.script().iter().flat_map(|script| holes_of(script)));
        names
    }

    /// The script that is fed to it, for `stdin = "template"`.
    pub(super) fn script(&self) -> Option<String> {
        let is_template = self.stdin.as_deref() == Some("template");
        self.script.clone().filter(|_| is_template)
    }

    /// Whether the module can feed it.
    pub(super) fn reads_a_stream(&self) -> bool {
        matches!(self.stdin.as_deref(), Some("artifact" | "free"))
    }

    /// How many bytes of stdout are kept; `None` for a stream.
    pub(super) fn capture(&self) -> Option<usize> {
        let inside = self.stdout.strip_prefix("capture(")?.strip_suffix(')')?;
        let digits = inside.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = match inside.get(digits.len()..) {
            Some("KiB") => 1024,
            Some("MiB") => 1024 * 1024,
            _ => 1,
        };
        digits.parse::<usize>().ok().map(|number| number * unit)
    }
}

impl ObjectGroup {
    /// The kind, such as `ConfigMap`; of a parameter such as `apps/v1/Deployment` its last part.
    pub(super) fn kind(&self, parameters: &BTreeMap<String, String>) -> Result<String> {
        let filled = fill(&self.kind, parameters)?;
        let kind = filled.rsplit_once('/').map(|(_, kind)| kind.to_owned());
        Ok(kind.unwrap_or(filled))
    }

    /// The names of its objects, holes filled; a list parameter gives all of its words.
    pub(super) fn names(&self, parameters: &BTreeMap<String, String>) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for name in &self.names {
            let filled = fill(name, parameters)?;
            names.extend(
                filled
                    .split(',')
                    .filter(|one| !one.is_empty())
                    .map(str::to_owned),
            );
        }
        Ok(names)
    }
}

impl ObjectGroup {
    /// The keys that a lease may change, holes filled.
    pub(super) fn keys(&self, parameters: &BTreeMap<String, String>) -> Result<Vec<String>> {
        self.keys.iter().map(|key| fill(key, parameters)).collect()
    }
}

/// Fills the holes of a template. Only what is between braces is a hole; `{{` and `}}` stand for
/// the braces themselves.
pub(super) fn fill(template: &str, values: &BTreeMap<String, String>) -> Result<String> {
    let mut filled = String::new();
    for part in parts(template) {
        match part {
            Part::Text(text) => filled.push_str(text),
            Part::Hole(hole) => {
                let value = values
                    .get(hole)
                    .ok_or_else(|| Error::invalid(format!("hole `{hole}` has no value")))?;
                filled.push_str(value);
            }
        }
    }
    Ok(filled)
}

fn holes_of(template: &str) -> Vec<String> {
    parts(template)
        .filter_map(|part| match part {
            Part::Hole(hole) => Some(hole.to_owned()),
            Part::Text(_) => None,
        })
        .collect()
}

enum Part<'a> {
    Text(&'a str),
    Hole(&'a str),
}

fn parts(template: &str) -> impl Iterator<Item = Part<'_>> {
    let mut rest = template;
    std::iter::from_fn(move || {
        let at = match rest.find(['{', '}']) {
            _ if rest.is_empty() => return None,
            None => rest.len(),
            Some(at) => at,
        };
        let (text, braces) = rest.split_at(at);
        if !text.is_empty() {
            rest = braces;
            return Some(Part::Text(text));
        }
        for brace in ["{", "}"] {
            let both = braces
                .strip_prefix(brace)
                .and_then(|rest| rest.strip_prefix(brace));
            if let Some(after) = both {
                rest = after;
                return Some(Part::Text(brace));
            }
        }
        match braces
            .strip_prefix('{')
            .and_then(|inside| inside.split_once('}'))
        {
            Some((hole, after)) => {
                rest = after;
                Some(Part::Hole(hole))
            }
            // A lone brace: the host refuses such a manifest.
            None => {
                rest = "";
                Some(Part::Text(braces))
            }
        }
    })
}

fn seconds(text: &str) -> String {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match text.get(digits.len()..) {
        Some("m") => 60,
        Some("h") => 3600,
        _ => 1,
    };
    digits
        .parse::<u64>()
        .map_or_else(|_| text.to_owned(), |number| (number * factor).to_string())
}

fn undeclared(what: &str, name: &str) -> Error {
    Error::invalid(format!("the manifest declares no {what} `{name}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubled_braces_stand_for_themselves() {
        let values = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
        let filled = fill("run {{ x {a}; }} {a}{a}", &values).expect("filled");
        assert_eq!(filled, "run { x 1; } 11");
        assert_eq!(holes_of("{{a}} {a}"), ["a"]);
        assert!(fill("{b}", &values).is_err());
    }

    #[test]
    fn the_words_that_the_site_chose_stand_in_the_command_line() {
        let manifest = Manifest::parse(
            "[parameters.tls]\ntype = \"words\"\nwords = { off = [], on = [\"--tls\", \"{ca}\"] }\n[commands.ask]\ntarget = \"server\"\nargv = [\"ask\", \"{tls}\", \"all\"]\nstdout = \"stream\"\n",
        )
        .expect("a manifest");
        let ask = manifest.command("ask").expect("declared");
        let with = |choice: &str| {
            let chosen = BTreeMap::from([("tls".to_owned(), choice.to_owned())]);
            manifest.words(ask, &chosen).join(" ")
        };
        assert_eq!(with("off"), "ask all");
        assert_eq!(with("on"), "ask --tls {ca} all");
    }

    #[test]
    fn a_script_is_read_as_the_host_reads_it() {
        let manifest = Manifest::parse(
            "[commands.ask]\ntarget = \"client\"\nargv = [\"sh\"]\nstdin = \"template\"\nscript = \"list {a}\"\nstdout = \"capture(1KiB)\"\n",
        )
        .expect("a manifest");
        let ask = manifest.command("ask").expect("declared");
        assert_eq!(ask.script().as_deref(), Some("list {a}"));
        assert_eq!(ask.holes(), ["a"]);
        assert!(!ask.reads_a_stream());
    }
}
