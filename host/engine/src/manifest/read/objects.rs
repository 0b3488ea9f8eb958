//! The `[objects]` and `[rollouts]` of a manifest.
//!
//! Must never let a Secret's contents reach a module, or a name be a pattern.

use std::collections::{BTreeMap, BTreeSet};

use cofferdam_policy::name::{GroupName, RoleName};
use cofferdam_policy::request::ObjectKind;
use serde::Deserialize;

use super::super::parameter::{ParameterType, is_api_version, is_kind};
use super::super::{
    KeyTemplate, KindTemplate, ManifestError, NameTemplate, ObjectGroup, ObjectVerb, Part,
    RolloutVerb, Template,
};
use super::{Scope, Table, at, bounded, name};
use crate::limits;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawGroup {
    kind: String,
    api_version: Option<String>,
    names: Vec<String>,
    verbs: Vec<String>,
    #[serde(default)]
    keys: Vec<String>,
}

pub(super) fn groups(
    raw: &Table<RawGroup>,
    scope: &Scope<'_>,
) -> Result<BTreeMap<GroupName, ObjectGroup>, ManifestError> {
    bounded("objects", raw.len(), limits::GROUPS)?;
    raw.iter()
        .map(|(key, value)| {
            let place = format!("objects.{key}");
            let name: GroupName = name(&place, key)?;
            Ok((name.clone(), group(&place, name, value, scope)?))
        })
        .collect()
}

fn group(
    place: &str,
    name: GroupName,
    raw: &RawGroup,
    scope: &Scope<'_>,
) -> Result<ObjectGroup, ManifestError> {
    let kind = kind(place, raw, scope)?;
    let names_key = format!("{place}.names");
    bounded(&names_key, raw.names.len(), limits::OBJECTS_PER_GROUP)?;
    let names = raw
        .names
        .iter()
        .map(|text| object_name(&names_key, text, scope))
        .collect::<Result<Vec<_>, _>>()?;
    if names.is_empty() {
        return Err(at(&names_key, "is empty"));
    }
    let verbs_key = format!("{place}.verbs");
    let mut verbs = BTreeSet::new();
    for word in &raw.verbs {
        let verb = verb(&verbs_key, word)?;
        let reads_or_writes = matches!(
            verb,
            ObjectVerb::Get | ObjectVerb::Apply | ObjectVerb::Lease
        );
        if kind.is_secret() && reads_or_writes {
            return Err(at(
                &verbs_key,
                format!("`{word}` is not for Secrets: their contents never reach a module"),
            ));
        }
        if verb == ObjectVerb::Lease && !kind.is_config_map() {
            return Err(at(&verbs_key, "`lease` is for ConfigMaps only"));
        }
        if !verbs.insert(verb) {
            return Err(at(&verbs_key, format!("names `{word}` twice")));
        }
    }
    if verbs.is_empty() {
        return Err(at(&verbs_key, "is empty"));
    }
    let keys_key = format!("{place}.keys");
    bounded(&keys_key, raw.keys.len(), limits::PAIRS)?;
    if raw.keys.is_empty() == verbs.contains(&ObjectVerb::Lease) {
        return Err(at(
            &keys_key,
            "names the keys that a lease may change: needed with the verb `lease`, and only then",
        ));
    }
    let keys = raw
        .keys
        .iter()
        .map(|text| data_key(&keys_key, text, scope))
        .collect::<Result<_, _>>()?;
    Ok(ObjectGroup {
        name,
        kind,
        names,
        verbs,
        keys,
    })
}

fn data_key(key: &str, text: &str, scope: &Scope<'_>) -> Result<KeyTemplate, ManifestError> {
    let template = Template::parse(text).map_err(|error| at(key, error.to_string()))?;
    match template.parts() {
        [Part::Hole(hole)] => match scope.parameters.get(hole).map(|parameter| &parameter.kind) {
            Some(ParameterType::DataKey) => Ok(KeyTemplate::Parameter(hole.clone())),
            Some(_) => Err(at(key, format!("`{{{hole}}}` must be of type data-key"))),
            None => Err(at(key, format!("`{{{hole}}}` is no parameter"))),
        },
        _ => name(key, text).map(KeyTemplate::Literal),
    }
}

impl KindTemplate {
    fn is_secret(&self) -> bool {
        match self {
            Self::Literal(kind) => kind.is_secret(),
            // The type of the parameter has no kind of the core group.
            Self::Parameter(_) => false,
        }
    }

    fn is_config_map(&self) -> bool {
        match self {
            Self::Literal(kind) => kind.api_version == "v1" && kind.kind == "ConfigMap",
            Self::Parameter(_) => false,
        }
    }
}

fn kind(place: &str, raw: &RawGroup, scope: &Scope<'_>) -> Result<KindTemplate, ManifestError> {
    let kind_key = format!("{place}.kind");
    let template = Template::parse(&raw.kind).map_err(|error| at(&kind_key, error.to_string()))?;
    if let [Part::Hole(hole)] = template.parts() {
        if raw.api_version.is_some() {
            return Err(at(
                &format!("{place}.api-version"),
                format!("is part of `{{{hole}}}`"),
            ));
        }
        return match scope.parameters.get(hole).map(|parameter| &parameter.kind) {
            Some(ParameterType::ObjectKind) => Ok(KindTemplate::Parameter(hole.clone())),
            Some(_) => Err(at(
                &kind_key,
                format!("`{{{hole}}}` must be of type object-kind"),
            )),
            None => Err(at(&kind_key, format!("`{{{hole}}}` is no parameter"))),
        };
    }
    if !is_kind(&raw.kind) {
        return Err(at(
            &kind_key,
            format!(
                "`{}` is no kind such as `ConfigMap`",
                raw.kind.escape_default()
            ),
        ));
    }
    let api_version = raw.api_version.as_deref().unwrap_or("v1");
    if !is_api_version(api_version) {
        return Err(at(
            &format!("{place}.api-version"),
            format!(
                "`{}` is no version such as `v1` or `apps/v1`",
                api_version.escape_default()
            ),
        ));
    }
    Ok(KindTemplate::Literal(ObjectKind {
        api_version: api_version.to_owned(),
        kind: raw.kind.clone(),
    }))
}

fn object_name(key: &str, text: &str, scope: &Scope<'_>) -> Result<NameTemplate, ManifestError> {
    let template = Template::parse(text).map_err(|error| at(key, error.to_string()))?;
    match template.parts() {
        [Part::Hole(hole)] => match scope.parameters.get(hole).map(|parameter| &parameter.kind) {
            Some(ParameterType::ObjectName | ParameterType::ObjectNames) => {
                Ok(NameTemplate::Parameter(hole.clone()))
            }
            Some(_) => Err(at(
                key,
                format!("`{{{hole}}}` must be of type object-name or object-names"),
            )),
            None => Err(at(key, format!("`{{{hole}}}` is no parameter"))),
        },
        _ => name(key, text).map(NameTemplate::Literal),
    }
}

fn verb(key: &str, word: &str) -> Result<ObjectVerb, ManifestError> {
    Ok(match word {
        "get" => ObjectVerb::Get,
        "save" => ObjectVerb::Save,
        "load" => ObjectVerb::Load,
        "apply" => ObjectVerb::Apply,
        "wait" => ObjectVerb::Wait,
        "lease" => ObjectVerb::Lease,
        other => {
            let problem = format!(
                "`{}`: use get, save, load, apply, wait or lease",
                other.escape_default()
            );
            return Err(at(key, problem));
        }
    })
}

pub(super) fn rollouts(
    raw: &Table<Vec<String>>,
    scope: &Scope<'_>,
) -> Result<BTreeMap<RoleName, Vec<RolloutVerb>>, ManifestError> {
    raw.iter()
        .map(|(key, words)| {
            let place = format!("rollouts.{key}");
            let mut verbs = Vec::new();
            for word in words {
                let verb = match word.as_str() {
                    "restart" => RolloutVerb::Restart,
                    "wait" => RolloutVerb::Wait,
                    "replicas" => RolloutVerb::Replicas,
                    "scale" => RolloutVerb::Scale,
                    "set-replicas" => RolloutVerb::SetReplicas,
                    "guard" => RolloutVerb::Guard,
                    other => {
                        let problem = format!(
                            "`{}`: use restart, wait, replicas, scale, set-replicas or guard",
                            other.escape_default()
                        );
                        return Err(at(&place, problem));
                    }
                };
                if verbs.contains(&verb) {
                    return Err(at(&place, format!("names `{word}` twice")));
                }
                verbs.push(verb);
            }
            Ok((scope.target(&place, key)?, verbs))
        })
        .collect()
}
