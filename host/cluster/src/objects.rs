//! Kubernetes objects: read, apply, load from a saved one, wait.
//!
//! Must never touch an object that the permit does not name, never show the contents of a Secret in
//! an error, and never overwrite a change that came in between.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use cofferdam_policy::Permit;
use cofferdam_policy::request::{AccessObject, ObjectKind, ObjectOperation};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::call::{Call, Repeat};
use crate::cluster::Cluster;
use crate::difference::differences;
use crate::error::{Error, Refusal};
use crate::scrub::scrub;
use crate::text;

/// Who we are to server-side apply.
pub(crate) const MANAGER: &str = "cofferdam";
/// How often an object that somebody else keeps changing is tried.
const CONFLICTS: usize = 5;
/// Between two looks at a condition: what is waited for takes seconds to minutes.
const LOOK: Duration = Duration::from_millis(500);

/// What to do with an object that is there already and differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenPresent {
    /// Leave it.
    Keep,
    /// Make it like the saved one.
    Replace,
    /// Refuse.
    Fail,
}

/// What became of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loaded {
    /// It was not there.
    Created,
    /// It was there and is the same.
    Equal,
    /// It was there and differed.
    Replaced,
    /// It is there, differs, and stays.
    Kept {
        /// The paths of the fields that differ, never values.
        differs: Vec<String>,
    },
    /// The cluster does not accept it, or it differs and was to fail.
    Refused {
        /// Why.
        reason: String,
    },
}

/// What to wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// The object exists.
    Exists,
    /// It does not.
    Gone,
    /// One of `status.conditions` has this status.
    Status {
        /// Its type, such as `Available`.
        condition: String,
        /// Such as `True`.
        status: String,
    },
    /// A field has this value.
    Field {
        /// A JSON pointer, such as `/status/phase`.
        pointer: String,
        /// Its text.
        value: String,
    },
}

/// A text that is no condition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no condition: use `exists`, `gone`, `condition=TYPE`, `condition=TYPE:STATUS` or `field=/POINTER:VALUE`"
)]
pub struct InvalidCondition(String);

impl FromStr for Condition {
    type Err = InvalidCondition;

    fn from_str(text: &str) -> Result<Self, InvalidCondition> {
        let invalid = || InvalidCondition(text::sentence(text));
        match text {
            "exists" => return Ok(Self::Exists),
            "gone" => return Ok(Self::Gone),
            _ => {}
        }
        if let Some(rest) = text.strip_prefix("condition=") {
            let (condition, status) = rest.split_once(':').unwrap_or((rest, "True"));
            if condition.is_empty() || status.is_empty() {
                return Err(invalid());
            }
            return Ok(Self::Status {
                condition: condition.to_owned(),
                status: status.to_owned(),
            });
        }
        let rest = text.strip_prefix("field=").ok_or_else(invalid)?;
        let (pointer, value) = rest.split_once(':').ok_or_else(invalid)?;
        if !pointer.starts_with('/') {
            return Err(invalid());
        }
        Ok(Self::Field {
            pointer: pointer.to_owned(),
            value: value.to_owned(),
        })
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists => f.write_str("existing"),
            Self::Gone => f.write_str("gone"),
            Self::Status { condition, status } => {
                write!(
                    f,
                    "`{}`=`{}`",
                    text::sentence(condition),
                    text::sentence(status)
                )
            }
            Self::Field { pointer, value } => {
                write!(
                    f,
                    "`{}`=`{}`",
                    text::sentence(pointer),
                    text::sentence(value)
                )
            }
        }
    }
}

impl Condition {
    /// Whether it holds, and what was seen instead.
    fn holds(&self, object: Option<&Value>) -> Result<(), String> {
        let Some(object) = object else {
            return match self {
                Self::Gone => Ok(()),
                _ => Err("it does not exist".into()),
            };
        };
        match self {
            Self::Exists => Ok(()),
            Self::Gone => Err("it exists".into()),
            Self::Status { condition, status } => {
                let conditions = object
                    .pointer("/status/conditions")
                    .and_then(Value::as_array);
                let text = |value: &Value, key: &str| {
                    value.get(key).and_then(Value::as_str).map(str::to_owned)
                };
                let found = conditions
                    .into_iter()
                    .flatten()
                    .find(|found| text(found, "type").as_ref() == Some(condition));
                let Some(found) = found else {
                    return Err("it has no such condition".into());
                };
                let seen = text(found, "status").unwrap_or_default();
                if &seen == status {
                    return Ok(());
                }
                let why = [text(found, "reason"), text(found, "message")];
                let why: Vec<String> = why.into_iter().flatten().collect();
                Err(text::sentence(&format!("it is {seen}: {}", why.join(": "))))
            }
            Self::Field { pointer, value } => {
                let seen = match object.pointer(pointer) {
                    Some(Value::String(text)) => text.clone(),
                    Some(other) => other.to_string(),
                    None => return Err("it has no such field".into()),
                };
                if &seen == value {
                    Ok(())
                } else {
                    Err("it has another value".into())
                }
            }
        }
    }
}

impl Cluster {
    /// Reads an object; `None` when there is none. A permit to `Get` gives it as it is and never a
    /// Secret; one to `Save` gives it scrubbed, for an artifact.
    ///
    /// # Errors
    /// [`Error::NoKind`], [`Error::WrongPermit`] and the refusals of the API.
    pub async fn get_object(&self, permit: &Permit<AccessObject>) -> Result<Option<Value>, Error> {
        let request = permit.request();
        match request.operation {
            ObjectOperation::Get if request.kind.is_secret() => Err(Error::WrongPermit {
                what: "the contents of a Secret never reach a module".into(),
            }),
            ObjectOperation::Get => self.find_object(request).await,
            ObjectOperation::Save => {
                let mut object = self.find_object(request).await?;
                object.iter_mut().for_each(scrub);
                Ok(object)
            }
            ObjectOperation::Load | ObjectOperation::Apply | ObjectOperation::Wait => {
                Err(wrong(request, "read"))
            }
        }
    }

    /// Applies an object server-side as field manager `cofferdam`, without force.
    ///
    /// # Errors
    /// [`Error::Api`] with [`Refusal::Conflict`] when another manager owns a field, with
    /// [`Refusal::Invalid`] when the cluster does not accept it.
    pub async fn apply_object(
        &self,
        permit: &Permit<AccessObject>,
        mut object: Value,
    ) -> Result<Value, Error> {
        let request = permit.request();
        if request.operation != ObjectOperation::Apply || request.kind.is_secret() {
            return Err(wrong(request, "apply"));
        }
        fit(request, &mut object)?;
        let path = self.path(request).await?;
        let path = format!("{path}?fieldManager={MANAGER}&force=false");
        let attempt = format!("apply {}", display(request));
        let call = Call::patch(path, attempt, "application/apply-patch+yaml", &object);
        self.caller.answer(call).await
    }

    /// Makes an object like a saved one, scrubbed, past every module.
    ///
    /// What the cluster adds by itself to fields other than `data` is no difference. A replaced
    /// object keeps its owner. A change by somebody else in between is looked at again.
    ///
    /// # Errors
    /// [`Error::WrongPermit`] when it is another object than the permit's, and refusals of the API
    /// other than that the object is not acceptable, which is [`Loaded::Refused`].
    pub async fn load_object(
        &self,
        permit: &Permit<AccessObject>,
        object: &Value,
        present: WhenPresent,
    ) -> Result<Loaded, Error> {
        let request = permit.request();
        if request.operation != ObjectOperation::Load {
            return Err(wrong(request, "load"));
        }
        self.load(request, object, present, request.kind.is_secret())
            .await
    }

    /// [`load_object`](Self::load_object) once it is allowed. `secret` keeps the server's sentences
    /// out of errors.
    pub(crate) async fn load(
        &self,
        request: &AccessObject,
        object: &Value,
        present: WhenPresent,
        secret: bool,
    ) -> Result<Loaded, Error> {
        let mut wanted = object.clone();
        scrub(&mut wanted);
        fit(request, &mut wanted)?;
        let mut conflicts = 0;
        loop {
            let live = self.find_object(request).await?;
            let result = match live {
                None => self
                    .create(request, &wanted, secret)
                    .await
                    .map(|()| Loaded::Created),
                Some(live) => self.settle(request, &wanted, live, present, secret).await,
            };
            match result {
                Err(error) if error.is_conflict() && conflicts < CONFLICTS => conflicts += 1,
                Err(Error::Api {
                    refusal: Refusal::Invalid,
                    message,
                    ..
                }) => {
                    return Ok(Loaded::Refused { reason: message });
                }
                result => return result,
            }
        }
    }

    /// Waits until a condition holds.
    ///
    /// # Errors
    /// [`Error::WaitTimedOut`] with what was seen last. That the API does not answer for a while is
    /// waited for too.
    pub async fn wait_for(
        &self,
        permit: &Permit<AccessObject>,
        condition: &Condition,
        timeout: Duration,
    ) -> Result<(), Error> {
        let request = permit.request();
        if request.operation != ObjectOperation::Wait {
            return Err(wrong(request, "wait for"));
        }
        let deadline = Instant::now() + timeout;
        loop {
            let seen = match self.find_object(request).await {
                Ok(object) => condition.holds(object.as_ref()),
                Err(error) if error.retryable() => Err(error.to_string()),
                Err(error) => return Err(error),
            };
            let Err(seen) = seen else { return Ok(()) };
            if Instant::now() + LOOK > deadline {
                return Err(Error::WaitTimedOut {
                    object: display(request),
                    condition: condition.to_string(),
                    seconds: timeout.as_secs(),
                    seen,
                });
            }
            sleep(LOOK).await;
        }
    }

    async fn find_object(&self, request: &AccessObject) -> Result<Option<Value>, Error> {
        let path = self.path(request).await?;
        let attempt = format!("read {}", display(request));
        let call = Call::get(path, attempt).about_secret(request.kind.is_secret());
        self.caller.find(call).await
    }

    async fn create(
        &self,
        request: &AccessObject,
        wanted: &Value,
        secret: bool,
    ) -> Result<(), Error> {
        let path = self.path(request).await?;
        let path = path
            .rsplit_once('/')
            .map_or(path.as_str(), |(folder, _)| folder);
        let path = format!("{path}?fieldManager={MANAGER}");
        // A second one finds the first: a conflict, after which the object is looked at again.
        let call = Call::post(
            path,
            format!("create {}", display(request)),
            wanted,
            Repeat::Safe,
        );
        let call = call.about_secret(secret);
        self.caller.answer::<serde::de::IgnoredAny>(call).await?;
        Ok(())
    }

    async fn settle(
        &self,
        request: &AccessObject,
        wanted: &Value,
        mut live: Value,
        present: WhenPresent,
        secret: bool,
    ) -> Result<Loaded, Error> {
        let metadata = live.get("metadata").cloned().unwrap_or_default();
        scrub(&mut live);
        let mut compared = wanted.clone();
        scrub(&mut compared);
        let differs = differences(&compared, &live);
        if differs.is_empty() {
            return Ok(Loaded::Equal);
        }
        match present {
            WhenPresent::Keep => return Ok(Loaded::Kept { differs }),
            WhenPresent::Fail => {
                let reason = format!("it exists and differs in {}", differs.join(", "));
                return Ok(Loaded::Refused { reason });
            }
            WhenPresent::Replace => {}
        }
        let mut object = wanted.clone();
        if let Some(fields) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            for field in ["resourceVersion", "uid", "ownerReferences", "finalizers"] {
                if let Some(value) = metadata.get(field) {
                    fields.insert(field.to_owned(), value.clone());
                }
            }
        }
        let path = format!("{}?fieldManager={MANAGER}", self.path(request).await?);
        let call = Call::put(path, format!("replace {}", display(request)), &object);
        let call = call.about_secret(secret);
        self.caller.answer::<serde::de::IgnoredAny>(call).await?;
        Ok(Loaded::Replaced)
    }

    async fn path(&self, request: &AccessObject) -> Result<String, Error> {
        let place = self.place(&request.kind).await?;
        let (start, plural) = place;
        Ok(format!(
            "{start}/namespaces/{}/{plural}/{}",
            request.namespace, request.name
        ))
    }

    /// The API's path for a kind, and its plural, from the cluster's own list; remembered.
    pub(crate) async fn place(&self, kind: &ObjectKind) -> Result<(String, String), Error> {
        #[derive(Deserialize)]
        struct List {
            resources: Vec<Resource>,
        }
        #[derive(Deserialize)]
        struct Resource {
            name: String,
            kind: String,
            #[serde(default)]
            namespaced: bool,
            #[serde(default)]
            verbs: Vec<String>,
        }
        // `processedtemplates` are Templates too, which nobody can read.
        let is_kept = |resource: &Resource| {
            resource.verbs.is_empty() || resource.verbs.iter().any(|verb| verb == "get")
        };
        let no_kind = || Error::NoKind {
            kind: text::sentence(&kind.kind),
            api_version: text::sentence(&kind.api_version),
        };
        let start = match kind.api_version.split('/').collect::<Vec<_>>().as_slice() {
            [version] if is_plain(version) => format!("/api/{version}"),
            [group, version] if is_plain(group) && is_plain(version) => {
                format!("/apis/{group}/{version}")
            }
            _ => return Err(no_kind()),
        };
        if let Ok(places) = self.places.lock()
            && let Some(plural) = places.get(kind)
        {
            return Ok((start, plural.clone()));
        }
        let attempt = format!("list the kinds of `{}`", kind.api_version);
        let list: Option<List> = self.caller.find(Call::get(start.clone(), attempt)).await?;
        let list = list.ok_or_else(no_kind)?;
        let found = list.resources.into_iter();
        let found = found.filter(|resource| {
            resource.namespaced && is_plain(&resource.name) && is_kept(resource)
        });
        let plural = found.map(|resource| (resource.kind, resource.name));
        let plural = plural
            .filter(|(name, _)| name == &kind.kind)
            .map(|(_, plural)| plural);
        let plural = plural.reduce(|first, _| first).ok_or_else(no_kind)?;
        if let Ok(mut places) = self.places.lock() {
            places.insert(kind.clone(), plural.clone());
        }
        Ok((start, plural))
    }
}

/// A part of a path that cannot lead elsewhere. Names with `/` are subresources.
fn is_plain(part: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
    !part.is_empty() && part.bytes().all(plain) && part != "." && part != ".."
}

/// Checks that `object` is the one of the request, and sets its namespace.
fn fit(request: &AccessObject, object: &mut Value) -> Result<(), Error> {
    let text = |object: &Value, pointer: &str| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let namespace = text(object, "/metadata/namespace");
    let fits = text(object, "/apiVersion").as_ref() == Some(&request.kind.api_version)
        && text(object, "/kind").as_ref() == Some(&request.kind.kind)
        && text(object, "/metadata/name").as_deref() == Some(request.name.as_str())
        && namespace.is_none_or(|namespace| namespace == request.namespace.as_str());
    let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
    match metadata {
        Some(metadata) if fits => {
            let namespace = Value::String(request.namespace.to_string());
            metadata.insert("namespace".to_owned(), namespace);
            Ok(())
        }
        _ => Err(Error::WrongPermit {
            what: format!("the object is not {}", display(request)),
        }),
    }
}

fn wrong(request: &AccessObject, attempt: &str) -> Error {
    Error::WrongPermit {
        what: format!(
            "it allows something else than to {attempt} {}",
            display(request)
        ),
    }
}

/// As people name an object: ``ConfigMap `redis-config` in `3scale` ``.
pub(crate) fn display(request: &AccessObject) -> String {
    let kind = text::sentence(&request.kind.kind);
    format!("{kind} `{}` in `{}`", request.name, request.namespace)
}

#[cfg(test)]
mod tests;
