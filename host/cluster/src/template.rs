//! OpenShift Templates: filled from Secrets and ConfigMaps, processed by the cluster, brought in.
//!
//! Must never show a value of a parameter, in an error or elsewhere, and never change anything
//! before every needed value is found and every object is of a kind that the permit names. The
//! Template comes from a backup: it is not trusted to make what it should.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cofferdam_policy::Permit;
use cofferdam_policy::name::{ObjectName, VariableName};
use cofferdam_policy::request::{
    AccessObject, ObjectKind, ObjectOperation, ParameterSource, ProcessTemplate, TemplateParameter,
    ValuePart,
};
use serde_json::{Map, Value, json};

use crate::call::{Call, Repeat};
use crate::cluster::Cluster;
use crate::error::Error;
use crate::objects::{Loaded, WhenPresent};
use crate::secret::Secret;
use crate::text;

/// How a parameter was filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filled {
    /// From its source.
    Filled,
    /// Its source is missing and may be: the Template's own value counts.
    Missing,
    /// The permit does not name it: the Template's own value counts.
    Unnamed,
    /// Likewise, and the cluster makes a value up.
    Generated,
    /// The permit names it, and the Template does not have it.
    Unknown,
}

/// What became of a Template. No value of a parameter is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Processed {
    /// Each object, as `Kind/name`, and what became of it.
    pub objects: Vec<(String, Loaded)>,
    /// Each parameter and how it was filled.
    pub parameters: Vec<(String, Filled)>,
}

impl Cluster {
    /// Fills the parameters of `template`, lets the cluster process it, and brings every object that
    /// comes of it into the namespace, as [`load_object`](Cluster::load_object) does.
    ///
    /// # Errors
    /// [`Error::NoValue`] with what is missing, [`Error::UndeclaredObjects`] with what the permit
    /// does not name, [`Error::NoKind`] on a cluster without templates or without a kind of object:
    /// nothing was changed then. After another error some objects may be there.
    pub async fn process_template(
        &self,
        permit: &Permit<ProcessTemplate>,
        template: &Value,
        present: WhenPresent,
    ) -> Result<Processed, Error> {
        let request = permit.request();
        let mut template = fitting(request, template)?;
        let parameters = self.fill(request, &mut template).await?;
        let objects = self.processed(request, &template).await?;
        drop(template);
        let objects = declared(request, objects)?;
        for (access, _) in &objects {
            self.place(&access.kind).await?;
        }
        let mut loaded = Vec::with_capacity(objects.len());
        for (access, object) in &objects {
            let result = self.load(access, object, present, true).await?;
            let label = format!("{}/{}", access.kind.kind, access.name);
            loaded.push((label, result));
        }
        Ok(Processed {
            objects: loaded,
            parameters,
        })
    }

    /// Puts the values into the Template's parameters and says how each was filled.
    async fn fill(
        &self,
        request: &ProcessTemplate,
        template: &mut Value,
    ) -> Result<Vec<(String, Filled)>, Error> {
        let mut sources = Sources {
            cluster: self,
            request,
            read: BTreeMap::new(),
        };
        let mut states: Vec<(String, Filled)> = Vec::new();
        let mut missing = Vec::new();
        let parameters = template.get_mut("parameters").and_then(Value::as_array_mut);
        for parameter in parameters
            .into_iter()
            .flatten()
            .filter_map(Value::as_object_mut)
        {
            let Some(name) = parameter.get("name").and_then(Value::as_str) else {
                continue;
            };
            let shown = text::sentence(name);
            let named = VariableName::parse(name)
                .ok()
                .and_then(|name| request.parameters.get(&name));
            let Some(named) = named else {
                let generated = has(parameter, "generate") && !has(parameter, "value");
                let state = if generated {
                    Filled::Generated
                } else {
                    Filled::Unnamed
                };
                states.push((shown, state));
                continue;
            };
            match sources.value(named).await? {
                Ok(value) => {
                    // An empty value is none: the cluster makes one up.
                    let generated = value.is_empty() && has(parameter, "generate");
                    parameter.insert("value".to_owned(), Value::String(value));
                    let state = if generated {
                        Filled::Generated
                    } else {
                        Filled::Filled
                    };
                    states.push((shown, state));
                }
                Err(_) if named.optional => states.push((shown, Filled::Missing)),
                Err(why) => missing.push(format!("`{shown}` from {named} ({why})")),
            }
        }
        if !missing.is_empty() {
            return Err(Error::NoValue {
                template: request.name.to_string(),
                missing: missing.join(", "),
            });
        }
        for name in request.parameters.keys() {
            if !states.iter().any(|(known, _)| known == name.as_str()) {
                states.push((name.to_string(), Filled::Unknown));
            }
        }
        Ok(states)
    }

    /// Lets the cluster process the filled Template. Nothing is stored by that.
    async fn processed(
        &self,
        request: &ProcessTemplate,
        template: &Value,
    ) -> Result<Vec<Value>, Error> {
        let kind = ProcessTemplate::kind();
        let path = format!(
            "/apis/{}/namespaces/{}/processedtemplates",
            kind.api_version, request.namespace
        );
        let attempt = format!(
            "process Template `{}` in `{}`",
            request.name, request.namespace
        );
        let call = Call::post(path, attempt.clone(), template, Repeat::Safe).about_secret(true);
        let answer: Option<Value> = self.caller.find(call).await?;
        let mut answer = answer.ok_or(Error::NoKind {
            kind: kind.kind,
            api_version: kind.api_version,
        })?;
        match answer.get_mut("objects").map(Value::take) {
            Some(Value::Array(objects)) => Ok(objects),
            _ => Err(Error::Garbled {
                attempt,
                what: "the processed Template has no list of objects".into(),
            }),
        }
    }
}

/// The Secrets and ConfigMaps that were read so far.
struct Sources<'a> {
    cluster: &'a Cluster,
    request: &'a ProcessTemplate,
    read: BTreeMap<(bool, ObjectName), Option<Value>>,
}

impl Sources<'_> {
    /// The value of a parameter, or why there is none.
    async fn value(
        &mut self,
        named: &TemplateParameter,
    ) -> Result<Result<String, &'static str>, Error> {
        let (object, is_secret) = match &named.source {
            ParameterSource::Secret { object, .. } => (object, true),
            ParameterSource::ConfigMap { object, .. } | ParameterSource::Label { object, .. } => {
                (object, false)
            }
        };
        let key = (is_secret, object.clone());
        if !self.read.contains_key(&key) {
            let found = self.find(object, is_secret).await?;
            self.read.insert(key.clone(), found);
        }
        let Some(found) = self.read.get(&key).and_then(Option::as_ref) else {
            return Ok(Err("it does not exist"));
        };
        let field = |map: &str, key: &str| found.pointer(map)?.get(key)?.as_str();
        Ok(match &named.source {
            ParameterSource::Secret { key, .. } => match field("/data", key.as_str()) {
                Some(encoded) => decoded(encoded).and_then(|value| part(value, named.part)),
                None => Err("it has no such key"),
            },
            ParameterSource::ConfigMap { key, .. } => match field("/data", key.as_str()) {
                Some(value) => part(value.to_owned(), named.part),
                None => Err("it has no such key"),
            },
            ParameterSource::Label { label, .. } => {
                match field("/metadata/labels", label.as_str()) {
                    Some(value) => part(value.to_owned(), named.part),
                    None => Err("it has no such label"),
                }
            }
        })
    }

    async fn find(&self, object: &ObjectName, is_secret: bool) -> Result<Option<Value>, Error> {
        let (plural, kind) = match is_secret {
            true => ("secrets", "Secret"),
            false => ("configmaps", "ConfigMap"),
        };
        let namespace = &self.request.namespace;
        let path = format!("/api/v1/namespaces/{namespace}/{plural}/{object}");
        let attempt = format!("read {kind} `{object}` in `{namespace}`");
        let call = Call::get(path, attempt).about_secret(is_secret);
        self.cluster.caller.find(call).await
    }
}

fn decoded(encoded: &str) -> Result<String, &'static str> {
    let bytes = STANDARD.decode(encoded).map_err(|_| "it is no base64")?;
    let bytes = Secret::new(bytes);
    let text = std::str::from_utf8(bytes.expose()).map_err(|_| "it is no text")?;
    Ok(text.to_owned())
}

/// The part of a value that counts. The parts of a URL are taken as they stand, since the template
/// puts them into a URL again.
fn part(value: String, part: ValuePart) -> Result<String, &'static str> {
    let url = || -> Option<(&str, &str)> {
        let (_, rest) = value.split_once("://")?;
        // What follows the last `@` is the server: a password may hold one.
        Some(rest.rsplit_once('@').unwrap_or(("", rest)))
    };
    let found = match part {
        ValuePart::Whole => Some(value.as_str()),
        ValuePart::UrlPassword => url().and_then(|(user, _)| Some(user.split_once(':')?.1)),
        ValuePart::UrlDatabase => url().and_then(|(_, server)| {
            let (_, path) = server.split_once('/')?;
            path.split(['/', '?', '#']).next()
        }),
    };
    match found {
        Some(found) if part == ValuePart::Whole || !found.is_empty() => Ok(found.to_owned()),
        _ => Err("it is no URL with that part"),
    }
}

fn has(parameter: &Map<String, Value>, field: &str) -> bool {
    let text = parameter.get(field).and_then(Value::as_str);
    text.is_some_and(|text| !text.is_empty())
}

/// The Template, when it is the one of the permit.
fn fitting(request: &ProcessTemplate, template: &Value) -> Result<Value, Error> {
    let text = |pointer: &str| template.pointer(pointer).and_then(Value::as_str);
    let kind = ProcessTemplate::kind();
    if text("/apiVersion") != Some(&kind.api_version)
        || text("/kind") != Some(&kind.kind)
        || text("/metadata/name") != Some(request.name.as_str())
    {
        return Err(Error::WrongPermit {
            what: format!("the object is not Template `{}`", request.name),
        });
    }
    let mut template = template.clone();
    if let Some(metadata) = template.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("namespace".to_owned(), json!(request.namespace.as_str()));
    }
    Ok(template)
}

/// Each object with what is asked of the API for it; refused when one is not of a kind of the
/// permit, or elsewhere.
fn declared(
    request: &ProcessTemplate,
    objects: Vec<Value>,
) -> Result<Vec<(AccessObject, Value)>, Error> {
    let mut known = Vec::with_capacity(objects.len());
    let mut strangers = Vec::new();
    for mut object in objects {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        let kind = ObjectKind {
            api_version: text("/apiVersion").unwrap_or("v1").to_owned(),
            kind: text("/kind").unwrap_or_default().to_owned(),
        };
        let name = ObjectName::parse(text("/metadata/name").unwrap_or_default());
        let is_here =
            text("/metadata/namespace").is_none_or(|place| place == request.namespace.as_str());
        match name {
            Ok(name) if is_here && request.kinds.contains(&kind) => {
                plain_data(&mut object);
                let access = AccessObject {
                    namespace: request.namespace.clone(),
                    group: request.group.clone(),
                    kind,
                    name,
                    operation: ObjectOperation::Load,
                };
                known.push((access, object));
            }
            // The kind only: a name may have been made of a value.
            _ => strangers.push(format!("`{}`", text::sentence(&kind.to_string()))),
        }
    }
    if strangers.is_empty() {
        return Ok(known);
    }
    strangers.sort();
    strangers.dedup();
    Err(Error::UndeclaredObjects {
        template: request.name.to_string(),
        objects: strangers.join(", "),
    })
}

/// Moves `stringData` of a Secret to `data`, as the API does: what is read back has no other.
fn plain_data(object: &mut Value) {
    if object.get("kind").and_then(Value::as_str) != Some("Secret") {
        return;
    }
    let Some(fields) = object.as_object_mut() else {
        return;
    };
    let Some(Value::Object(texts)) = fields.shift_remove("stringData") else {
        return;
    };
    let data = fields.entry("data").or_insert_with(|| json!({}));
    if let Some(data) = data.as_object_mut() {
        for (key, value) in texts {
            let value = value.as_str().unwrap_or_default();
            data.insert(key, Value::String(STANDARD.encode(value)));
        }
    }
}

#[cfg(test)]
mod tests;
