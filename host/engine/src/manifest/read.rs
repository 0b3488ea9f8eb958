//! From TOML to [`Manifest`]: every key known, every value checked, every error with its key.
//!
//! Must never accept a key that it does not know, nor a declaration that can mean two things.

mod command;
mod objects;
mod templates;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use cofferdam_policy::name::{InvalidName, ParameterName, RoleName, SecretHandle};
use serde::Deserialize;

use super::parameter::{Parameter, ParameterType};
use super::{Access, DeclaredPath, Manifest, ManifestError, Template};
use crate::limits;

type Table<T> = BTreeMap<String, T>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawManifest {
    module: RawModule,
    #[serde(default)]
    targets: Table<RawLine>,
    #[serde(default)]
    parameters: Table<RawParameter>,
    #[serde(default)]
    secrets: Table<RawLine>,
    #[serde(default)]
    commands: Table<command::RawCommand>,
    #[serde(default)]
    paths: Table<RawPath>,
    #[serde(default)]
    objects: Table<objects::RawGroup>,
    #[serde(default)]
    templates: Table<templates::RawTemplate>,
    #[serde(default)]
    rollouts: Table<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawModule {
    name: String,
    version: String,
    summary: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLine {
    summary: String,
    #[serde(default)]
    optional: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawParameter {
    #[serde(default)]
    summary: String,
    r#type: String,
    values: Option<Vec<String>>,
    words: Option<Table<Vec<String>>>,
    min: Option<i64>,
    max: Option<i64>,
    default: Option<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPath {
    target: String,
    path: String,
    access: String,
    #[serde(default)]
    tree: bool,
}

/// An error at `key`.
fn at(key: &str, problem: impl Into<String>) -> ManifestError {
    ManifestError::Key {
        key: key.to_owned(),
        problem: problem.into(),
    }
}

/// A name at `key`.
fn name<T>(key: &str, text: &str) -> Result<T, ManifestError>
where
    T: TryFrom<String, Error = InvalidName>,
{
    T::try_from(text.to_owned()).map_err(|error| at(key, error.to_string()))
}

/// Refuses a table or list with more entries than make sense.
fn bounded(key: &str, length: usize, limit: usize) -> Result<(), ManifestError> {
    if length > limit {
        return Err(at(key, format!("has {length} entries, {limit} at most")));
    }
    Ok(())
}

/// One line for people.
fn line(key: &str, text: &str) -> Result<String, ManifestError> {
    if text.len() > limits::SUMMARY_BYTES || text.chars().any(char::is_control) {
        return Err(at(
            key,
            format!("use one line of at most {} bytes", limits::SUMMARY_BYTES),
        ));
    }
    Ok(text.to_owned())
}

pub(super) fn manifest(text: &str) -> Result<Manifest, ManifestError> {
    if text.len() > limits::MANIFEST_BYTES {
        return Err(ManifestError::TooLong {
            limit: limits::MANIFEST_BYTES,
        });
    }
    let raw = parse(text)?;
    let targets = lines::<RoleName>("targets", &raw.targets, limits::TARGETS)?;
    let optional_targets = optional(&raw.targets, &targets);
    let secrets = lines::<SecretHandle>("secrets", &raw.secrets, limits::SECRETS)?;
    let optional_secrets = optional(&raw.secrets, &secrets);
    let parameters = parameters("parameters", &raw.parameters)?;
    words::check(&parameters)?;
    let scope = Scope {
        targets: &targets,
        secrets: &secrets,
        optional_secrets: &optional_secrets,
        parameters: &parameters,
    };
    let commands = command::commands(&raw.commands, &scope)?;
    let paths = paths(&raw.paths, &scope)?;
    let objects = objects::groups(&raw.objects, &scope)?;
    let templates = templates::templates(&raw.templates, &objects)?;
    let rollouts = objects::rollouts(&raw.rollouts, &scope)?;
    let version = semver::Version::parse(&raw.module.version).map_err(|_| {
        at(
            "module.version",
            format!(
                "`{}` is no version such as `0.1.0`",
                raw.module.version.escape_default()
            ),
        )
    })?;
    Ok(Manifest {
        name: name("module.name", &raw.module.name)?,
        version: version.to_string(),
        summary: line("module.summary", &raw.module.summary)?,
        targets,
        optional_targets,
        parameters,
        secrets,
        optional_secrets,
        commands,
        paths,
        objects,
        templates,
        rollouts,
    })
}

/// What the other tables may refer to.
struct Scope<'a> {
    targets: &'a BTreeMap<RoleName, String>,
    secrets: &'a BTreeMap<SecretHandle, String>,
    optional_secrets: &'a BTreeSet<SecretHandle>,
    parameters: &'a BTreeMap<ParameterName, Parameter>,
}

impl Scope<'_> {
    fn target(&self, key: &str, text: &str) -> Result<RoleName, ManifestError> {
        let role: RoleName = name(key, text)?;
        if !self.targets.contains_key(&role) {
            return Err(at(key, format!("`targets` has no `{role}`")));
        }
        Ok(role)
    }
}

fn parse(text: &str) -> Result<RawManifest, ManifestError> {
    let syntax = |error: &toml::de::Error| ManifestError::Syntax {
        line: error
            .span()
            .and_then(|span| text.get(..span.start))
            .map_or(1, |before| before.matches('\n').count() + 1),
        problem: crate::text::clean(error.message(), limits::SUMMARY_BYTES),
    };
    let deserializer = toml::Deserializer::parse(text).map_err(|error| syntax(&error))?;
    serde_path_to_error::deserialize(deserializer).map_err(|error| {
        let key = error.path().to_string();
        let problem = crate::text::clean(error.inner().message(), limits::SUMMARY_BYTES);
        ManifestError::Key {
            key: crate::text::clean(&key, limits::SUMMARY_BYTES),
            problem,
        }
    })
}

fn lines<N>(
    table: &str,
    raw: &Table<RawLine>,
    limit: usize,
) -> Result<BTreeMap<N, String>, ManifestError>
where
    N: TryFrom<String, Error = InvalidName> + Ord,
{
    bounded(table, raw.len(), limit)?;
    raw.iter()
        .map(|(key, value)| {
            let place = format!("{table}.{key}");
            Ok((
                name(&place, key)?,
                line(&format!("{place}.summary"), &value.summary)?,
            ))
        })
        .collect()
}

/// The names of those that a site may leave unbound.
fn optional<N: ToString + Clone + Ord>(
    raw: &Table<RawLine>,
    all: &BTreeMap<N, String>,
) -> BTreeSet<N> {
    let may_lack = |name: &&N| raw.get(&name.to_string()).is_some_and(|raw| raw.optional);
    all.keys().filter(may_lack).cloned().collect()
}

fn parameters(
    table: &str,
    raw: &Table<RawParameter>,
) -> Result<BTreeMap<ParameterName, Parameter>, ManifestError> {
    bounded(table, raw.len(), limits::PARAMETERS)?;
    raw.iter()
        .map(|(key, value)| {
            let place = format!("{table}.{key}");
            Ok((name(&place, key)?, parameter(&place, value)?))
        })
        .collect()
}

fn parameter(place: &str, raw: &RawParameter) -> Result<Parameter, ManifestError> {
    let kind_key = format!("{place}.type");
    let kind = match raw.r#type.as_str() {
        "identifier" => ParameterType::Identifier,
        "integer" => ParameterType::Integer {
            minimum: raw.min.unwrap_or(i64::MIN),
            maximum: raw.max.unwrap_or(i64::MAX),
        },
        "enum" => ParameterType::Enum(choices(place, raw.values.as_deref())?),
        "path" => ParameterType::Path,
        "text" => ParameterType::Text,
        "duration" => ParameterType::Duration,
        "bytes" => ParameterType::Bytes,
        "object-name" => ParameterType::ObjectName,
        "data-key" => ParameterType::DataKey,
        "object-names" => ParameterType::ObjectNames,
        "words" => ParameterType::Words(words::read(place, raw.words.as_ref())?),
        "object-kind" => ParameterType::ObjectKind,
        other => {
            return Err(at(
                &kind_key,
                format!(
                    "`{}` is no type: use identifier, integer, enum, path, text, duration, bytes, object-name, data-key, object-names, object-kind or words",
                    other.escape_default()
                ),
            ));
        }
    };
    if raw.values.is_some() && !matches!(kind, ParameterType::Enum(_)) {
        return Err(at(
            &format!("{place}.values"),
            "is for the type `enum` only",
        ));
    }
    if raw.words.is_some() && !matches!(kind, ParameterType::Words(_)) {
        return Err(at(
            &format!("{place}.words"),
            "is for the type `words` only",
        ));
    }
    match kind {
        ParameterType::Integer { minimum, maximum } if minimum > maximum => {
            return Err(at(&format!("{place}.min"), "is above `max`"));
        }
        ParameterType::Integer { .. } => {}
        _ if raw.min.is_some() || raw.max.is_some() => {
            return Err(at(
                &format!("{place}.min"),
                "is for the type `integer` only",
            ));
        }
        _ => {}
    }
    let default = raw
        .default
        .as_ref()
        .map(|value| kind.setting(value))
        .transpose()
        .map_err(|rule| at(&format!("{place}.default"), rule))?;
    Ok(Parameter {
        summary: line(&format!("{place}.summary"), &raw.summary)?,
        kind,
        default,
    })
}

fn choices(place: &str, values: Option<&[String]>) -> Result<Vec<String>, ManifestError> {
    let key = format!("{place}.values");
    let values = values.ok_or_else(|| at(&key, "is missing: an enum lists its words"))?;
    plain_words(&key, values)?;
    Ok(values.to_vec())
}

/// Words that can stand anywhere without being more than words.
fn plain_words(key: &str, values: &[String]) -> Result<(), ManifestError> {
    bounded(key, values.len(), limits::ENUM_WORDS)?;
    let plain = |word: &String| {
        (1..=128).contains(&word.len())
            && word
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_.:/+-".contains(&b))
    };
    match values.iter().find(|word| !plain(word)) {
        Some(word) => Err(at(
            key,
            format!(
                "`{}`: use letters, digits and `_.:/+-`",
                word.escape_default()
            ),
        )),
        None if values.is_empty() => Err(at(key, "is empty")),
        None => Ok(()),
    }
}

fn paths(
    raw: &Table<RawPath>,
    scope: &Scope<'_>,
) -> Result<BTreeMap<cofferdam_policy::name::PathName, DeclaredPath>, ManifestError> {
    bounded("paths", raw.len(), limits::PATHS)?;
    raw.iter()
        .map(|(key, value)| {
            let place = format!("paths.{key}");
            let path_key = format!("{place}.path");
            let path =
                Template::parse(&value.path).map_err(|error| at(&path_key, error.to_string()))?;
            for hole in path.holes() {
                match scope.parameters.get(hole).map(|parameter| &parameter.kind) {
                    None => return Err(at(&path_key, format!("`{{{hole}}}` is no parameter"))),
                    Some(ParameterType::ObjectNames | ParameterType::Words(_)) => {
                        return Err(at(&path_key, format!("`{{{hole}}}` is a list")));
                    }
                    Some(_) => {}
                }
            }
            if let Some(text) = path.literal() {
                name::<cofferdam_policy::name::PodPath>(&path_key, &text)?;
            }
            let access = match value.access.as_str() {
                "read" => Access::Read,
                "write" => Access::Write,
                other => {
                    let problem = format!(
                        "`{}` is no access: use `read` or `write`",
                        other.escape_default()
                    );
                    return Err(at(&format!("{place}.access"), problem));
                }
            };
            let name: cofferdam_policy::name::PathName = name(&place, key)?;
            let declared = DeclaredPath {
                name: name.clone(),
                target: scope.target(&format!("{place}.target"), &value.target)?,
                path,
                access,
                tree: value.tree,
            };
            Ok((name, declared))
        })
        .collect()
}

#[cfg(test)]
mod tests;
