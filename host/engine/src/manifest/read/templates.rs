//! The `[templates]` of a manifest.
//!
//! Must never let a value be more than what a person can look up: a key of a named Secret or
//! ConfigMap, whole or one part of a URL.

use std::collections::{BTreeMap, BTreeSet};

use cofferdam_policy::name::{GroupName, ObjectName, TemplateName, VariableName};
use cofferdam_policy::request::{
    ObjectKind, ParameterSource, ProcessTemplate, TemplateParameter, ValuePart,
};
use serde::Deserialize;

use super::super::parameter::{is_api_version, is_kind};
use super::super::{DeclaredTemplate, KindTemplate, ManifestError, ObjectGroup, ObjectVerb};
use super::{Table, at, bounded, name};
use crate::limits;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTemplate {
    group: String,
    kinds: Vec<String>,
    parameters: Table<RawSource>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawSource {
    secret: Option<String>,
    config_map: Option<String>,
    key: Option<String>,
    label: Option<String>,
    part: Option<String>,
    #[serde(default)]
    optional: bool,
}

pub(super) fn templates(
    raw: &Table<RawTemplate>,
    objects: &BTreeMap<GroupName, ObjectGroup>,
) -> Result<BTreeMap<TemplateName, DeclaredTemplate>, ManifestError> {
    bounded("templates", raw.len(), limits::TEMPLATES)?;
    raw.iter()
        .map(|(key, value)| {
            let place = format!("templates.{key}");
            let name: TemplateName = name(&place, key)?;
            Ok((name.clone(), template(&place, name, value, objects)?))
        })
        .collect()
}

fn template(
    place: &str,
    template_name: TemplateName,
    raw: &RawTemplate,
    objects: &BTreeMap<GroupName, ObjectGroup>,
) -> Result<DeclaredTemplate, ManifestError> {
    let group_key = format!("{place}.group");
    let group: GroupName = name(&group_key, &raw.group)?;
    let kind = KindTemplate::Literal(ProcessTemplate::kind());
    let fits = |group: &ObjectGroup| group.kind == kind && group.verbs.contains(&ObjectVerb::Save);
    if !objects.get(&group).is_some_and(fits) {
        return Err(at(
            &group_key,
            format!(
                "`objects` has no group `{group}` of kind `{}` with the verb `save`",
                ProcessTemplate::kind()
            ),
        ));
    }
    let kinds_key = format!("{place}.kinds");
    bounded(&kinds_key, raw.kinds.len(), limits::TEMPLATE_PARAMETERS)?;
    let mut kinds = BTreeSet::new();
    for word in &raw.kinds {
        if !kinds.insert(kind_of(&kinds_key, word)?) {
            return Err(at(&kinds_key, format!("names `{word}` twice")));
        }
    }
    if kinds.is_empty() {
        return Err(at(&kinds_key, "is empty"));
    }
    let table = format!("{place}.parameters");
    bounded(&table, raw.parameters.len(), limits::TEMPLATE_PARAMETERS)?;
    let parameters = raw.parameters.iter().map(|(key, value)| {
        let place = format!("{table}.{key}");
        let name: VariableName = name(&place, key)?;
        Ok((name, parameter(&place, value)?))
    });
    Ok(DeclaredTemplate {
        name: template_name,
        group,
        parameters: parameters.collect::<Result<_, ManifestError>>()?,
        kinds,
    })
}

/// Reads `v1/Secret`, `apps/v1/Deployment`.
fn kind_of(key: &str, word: &str) -> Result<ObjectKind, ManifestError> {
    word.rsplit_once('/')
        .filter(|(api_version, kind)| is_kind(kind) && is_api_version(api_version))
        .map(|(api_version, kind)| ObjectKind {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
        })
        .ok_or_else(|| {
            let shown = word.escape_default();
            at(
                key,
                format!("`{shown}` is no kind such as `v1/Secret` or `apps/v1/Deployment`"),
            )
        })
}

fn parameter(place: &str, raw: &RawSource) -> Result<TemplateParameter, ManifestError> {
    let object = |key: &str, text: &str| name::<ObjectName>(&format!("{place}.{key}"), text);
    let data_key = |text: &str| name(&format!("{place}.key"), text);
    let source = match (&raw.secret, &raw.config_map, &raw.key, &raw.label) {
        (Some(secret), None, Some(key), None) => ParameterSource::Secret {
            object: object("secret", secret)?,
            key: data_key(key)?,
        },
        (None, Some(map), Some(key), None) => ParameterSource::ConfigMap {
            object: object("config-map", map)?,
            key: data_key(key)?,
        },
        (None, Some(map), None, Some(label)) => ParameterSource::Label {
            object: object("config-map", map)?,
            label: name(&format!("{place}.label"), label)?,
        },
        _ => {
            return Err(at(
                place,
                "names `secret` and `key`, `config-map` and `key`, or `config-map` and `label`",
            ));
        }
    };
    let part = match raw.part.as_deref() {
        None => ValuePart::Whole,
        Some("url-password") => ValuePart::UrlPassword,
        Some("url-database") => ValuePart::UrlDatabase,
        Some(other) => {
            let problem = format!(
                "`{}` is no part: use url-password or url-database",
                other.escape_default()
            );
            return Err(at(&format!("{place}.part"), problem));
        }
    };
    Ok(TemplateParameter {
        source,
        part,
        optional: raw.optional,
    })
}
