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
}

#[derive(Debug, Deserialize)]
pub(super) struct Command {
    pub(super) target: String,
    pub(super) argv: Vec<String>,
    stdin: toml::Value,
    stdout: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct DeclaredPath {
    target: String,
    path: String,
    access: String,
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

    /// Whether a site may leave a role without a workload.
    pub(super) fn is_optional(&self, role: &str) -> bool {
        let optional = self.targets.get(role).and_then(|role| role.get("optional"));
        optional.and_then(toml::Value::as_bool) == Some(true)
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
        let template = self.stdin.get("template")?;
        Some(template.as_str()?.to_owned())
    }

    /// Whether the module can feed it.
    pub(super) fn reads_a_stream(&self) -> bool {
        matches!(self.stdin.as_str(), Some("artifact" | "free"))
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

/// Fills the holes of a template. Only what is between braces is a hole.
pub(super) fn fill(template: &str, values: &BTreeMap<String, String>) -> Result<String> {
    let mut filled = template.to_owned();
    for hole in holes_of(template) {
        let value = values
            .get(&hole)
            .ok_or_else(|| Error::invalid(format!("hole `{hole}` has no value")))?;
        filled = filled.replace(&format!("{{{hole}}}"), value);
    }
    Ok(filled)
}

fn holes_of(template: &str) -> Vec<String> {
    template
        .split('{')
        .skip(1)
        .filter_map(|rest| rest.split_once('}'))
        .map(|(name, _)| name.to_owned())
        .collect()
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
