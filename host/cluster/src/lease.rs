//! Temporary changes: the original is read, journalled by the caller, changed, and put back.
//!
//! Must never overwrite what somebody else changed meanwhile: what is neither the original nor our
//! change is left alone and reported. Every step can be repeated after a crash at any point.

use std::collections::BTreeMap;

use cofferdam_policy::Permit;
use cofferdam_policy::name::{DataKey, Namespace, ObjectName};
use cofferdam_policy::request::{Change, PutBack, TakeLease, Workload};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::call::Call;
use crate::cluster::Cluster;
use crate::error::Error;
use crate::objects::MANAGER;
use crate::workload::path_of;

/// How often an object that somebody else keeps changing is tried.
const CONFLICTS: usize = 8;

/// What was there before a temporary change. Written to the journal before the change is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "original")]
pub enum Original {
    /// The number of replicas.
    Replicas {
        /// The number.
        replicas: u32,
    },
    /// Keys of a ConfigMap's data; `None` for one that was not there.
    Data {
        /// Each key and its value.
        values: BTreeMap<DataKey, Option<String>>,
    },
}

/// What putting back found and did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutBackOutcome {
    /// Our change was there and is undone.
    Restored,
    /// The original was there already: the change was never made, or was undone before.
    AlreadyOriginal,
    /// Somebody else changed it; that was left alone. What was still ours is undone.
    Drifted {
        /// What was found: keys of data without their values, numbers of replicas.
        details: Vec<String>,
    },
    /// The object does not exist any more.
    Gone,
}

/// Where a leased thing is now, compared with before and with our change.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Standing {
    /// Parts that have our change.
    changed: Vec<Part>,
    /// How many parts are as they were.
    original: usize,
    /// Parts that somebody else changed.
    foreign: Vec<String>,
}

/// One leased value: what it is to be for the lease, and what it was.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    name: String,
    leased: Value,
    original: Value,
}

impl Cluster {
    /// Reads what a lease would change. Write it to the journal before [`make_change`](Self::make_change).
    ///
    /// # Errors
    /// [`Error::NotLeasable`] when the object does not exist or cannot be changed.
    pub async fn read_original(&self, permit: &Permit<TakeLease>) -> Result<Original, Error> {
        let change = &permit.request().change;
        let place = self.lease_place(change).await?;
        let not_leasable = |what: &str| Error::NotLeasable {
            object: place.display.clone(),
            what: what.to_owned(),
        };
        let object = self.leased(&place).await?;
        let object = object.ok_or_else(|| not_leasable("it does not exist"))?;
        match change {
            Change::Scale { .. } => Ok(Original::Replicas {
                replicas: replicas(&object),
            }),
            Change::EditObject { changes, .. } => {
                if object.get("immutable") == Some(&Value::Bool(true)) {
                    return Err(not_leasable("it is immutable"));
                }
                let mut values = BTreeMap::new();
                for key in changes.keys() {
                    let binary = object
                        .get("binaryData")
                        .and_then(|data| data.get(key.as_str()));
                    if binary.is_some() {
                        return Err(not_leasable(&format!("its `{key}` is binary")));
                    }
                    let value = object.get("data").and_then(|data| data.get(key.as_str()));
                    values.insert(
                        key.clone(),
                        value.and_then(Value::as_str).map(str::to_owned),
                    );
                }
                Ok(Original::Data { values })
            }
        }
    }

    /// Makes the change of a lease whose original is in the journal. Doing it again is no harm.
    ///
    /// # Errors
    /// [`Error::Drifted`] when the object is neither as it was read nor as it is to be: nothing was
    /// changed then.
    pub async fn make_change(
        &self,
        permit: &Permit<TakeLease>,
        original: &Original,
    ) -> Result<(), Error> {
        let change = &permit.request().change;
        let place = self.lease_place(change).await?;
        let parts = parts(change, original)?;
        let mut conflicts = 0;
        loop {
            let Some(mut object) = self.leased(&place).await? else {
                return Err(Error::NotLeasable {
                    object: place.display.clone(),
                    what: "it does not exist".into(),
                });
            };
            let standing = stand(&place, &object, &parts);
            if !standing.foreign.is_empty() {
                return Err(Error::Drifted {
                    object: place.display.clone(),
                    details: standing.foreign.join(", "),
                });
            }
            if standing.original == 0
                || !self.edit(&place, &mut object, &parts, |part| &part.leased)
            {
                return Ok(());
            }
            match self.replace(&place, &object).await {
                Err(error) if error.is_conflict() && conflicts < CONFLICTS => conflicts += 1,
                result => return result,
            }
        }
    }

    /// Puts back what a lease changed, whether or not the change was made. Doing it again, or after
    /// a crash at any point, is no harm.
    ///
    /// # Errors
    /// The refusals of the API: then nothing is known to be put back, and it has to be tried again.
    pub async fn put_back(
        &self,
        permit: &Permit<PutBack>,
        original: &Original,
    ) -> Result<PutBackOutcome, Error> {
        let change = &permit.request().change;
        let place = self.lease_place(change).await?;
        let parts = parts(change, original)?;
        let mut conflicts = 0;
        loop {
            let Some(mut object) = self.leased(&place).await? else {
                return Ok(PutBackOutcome::Gone);
            };
            let standing = stand(&place, &object, &parts);
            let drifted = |restored| match standing.foreign.is_empty() {
                true => restored,
                false => PutBackOutcome::Drifted {
                    details: standing.foreign.clone(),
                },
            };
            if standing.changed.is_empty() {
                return Ok(drifted(PutBackOutcome::AlreadyOriginal));
            }
            if !self.edit(&place, &mut object, &standing.changed, |part| {
                &part.original
            }) {
                return Ok(drifted(PutBackOutcome::AlreadyOriginal));
            }
            match self.replace(&place, &object).await {
                Ok(()) => return Ok(drifted(PutBackOutcome::Restored)),
                Err(error) if error.is_conflict() && conflicts < CONFLICTS => conflicts += 1,
                Err(error) if error.is_not_found() => return Ok(PutBackOutcome::Gone),
                Err(error) => return Err(error),
            }
        }
    }

    async fn leased(&self, place: &Leased) -> Result<Option<Value>, Error> {
        let attempt = format!("read {}", place.display);
        self.caller
            .find(Call::get(place.path.clone(), attempt))
            .await
    }

    /// Replaces the object, which carries the `resourceVersion` that was read.
    async fn replace(&self, place: &Leased, object: &Value) -> Result<(), Error> {
        let path = format!("{}?fieldManager={MANAGER}", place.path);
        let call = Call::put(path, format!("change {}", place.display), object);
        self.caller.answer::<serde::de::IgnoredAny>(call).await?;
        Ok(())
    }

    /// Sets each part; says whether that changes anything.
    fn edit(
        &self,
        place: &Leased,
        object: &mut Value,
        parts: &[Part],
        value: fn(&Part) -> &Value,
    ) -> bool {
        let before = object.clone();
        let Some(map) = section(object, place.section) else {
            return false;
        };
        for part in parts {
            match value(part) {
                Value::Null => {
                    map.shift_remove(&part.name);
                }
                value => {
                    map.insert(part.name.clone(), value.clone());
                }
            }
        }
        *object != before
    }

    async fn lease_place(&self, change: &Change) -> Result<Leased, Error> {
        match change {
            Change::Scale {
                namespace,
                workload,
                ..
            } => Ok(Leased::scale(namespace, workload)),
            Change::EditObject {
                namespace,
                kind,
                name,
                ..
            } => {
                if kind.api_version != "v1" || kind.kind != "ConfigMap" {
                    return Err(Error::WrongPermit {
                        what: "only a ConfigMap can be edited for a time".into(),
                    });
                }
                Ok(Leased::config_map(namespace, name))
            }
        }
    }
}

/// The object of a lease.
#[derive(Debug)]
struct Leased {
    path: String,
    /// The map in the object that holds the parts.
    section: &'static str,
    display: String,
}

impl Leased {
    fn scale(namespace: &Namespace, workload: &Workload) -> Self {
        Self {
            path: format!("{}/scale", path_of(namespace, workload)),
            section: "spec",
            display: format!("the scale of `{workload}` in `{namespace}`"),
        }
    }

    fn config_map(namespace: &Namespace, name: &ObjectName) -> Self {
        Self {
            path: format!("/api/v1/namespaces/{namespace}/configmaps/{name}"),
            section: "data",
            display: format!("ConfigMap `{name}` in `{namespace}`"),
        }
    }
}

fn section<'a>(
    object: &'a mut Value,
    name: &str,
) -> Option<&'a mut serde_json::Map<String, Value>> {
    let object = object.as_object_mut()?;
    let section = object.entry(name).or_insert_with(|| json!({}));
    if section.is_null() {
        *section = json!({});
    }
    section.as_object_mut()
}

/// A scale without a number means none: the API leaves out zero.
fn replicas(scale: &Value) -> u32 {
    let replicas = scale.pointer("/spec/replicas").and_then(Value::as_u64);
    replicas.map_or(0, |replicas| u32::try_from(replicas).unwrap_or(u32::MAX))
}

fn parts(change: &Change, original: &Original) -> Result<Vec<Part>, Error> {
    match (change, original) {
        (
            Change::Scale {
                replicas: leased, ..
            },
            Original::Replicas { replicas },
        ) => Ok(vec![Part {
            name: "replicas".into(),
            leased: json!(leased),
            original: json!(replicas),
        }]),
        (Change::EditObject { changes, .. }, Original::Data { values }) => {
            let keys = changes.keys().eq(values.keys());
            let both = changes.iter().zip(values.values());
            let parts = both.map(|((key, leased), original)| Part {
                name: key.to_string(),
                leased: json!(leased),
                original: json!(original),
            });
            if keys {
                Ok(parts.collect())
            } else {
                Err(other_lease())
            }
        }
        _ => Err(other_lease()),
    }
}

fn other_lease() -> Error {
    Error::WrongPermit {
        what: "the original in the journal is of another change".into(),
    }
}

fn stand(place: &Leased, object: &Value, parts: &[Part]) -> Standing {
    let mut standing = Standing {
        changed: Vec::new(),
        original: 0,
        foreign: Vec::new(),
    };
    for part in parts {
        let current = match place.section {
            "spec" => json!(replicas(object)),
            section => {
                let data = object.get(section).and_then(|data| data.get(&part.name));
                data.cloned().unwrap_or(Value::Null)
            }
        };
        // Where the lease changes nothing, it is the original that is there.
        if current == part.original {
            standing.original += 1;
        } else if current == part.leased {
            standing.changed.push(part.clone());
        } else if place.section == "spec" {
            standing.foreign.push(format!("`replicas` is {current}"));
        } else if current.is_null() {
            standing.foreign.push(format!("`{}` is removed", part.name));
        } else {
            standing
                .foreign
                .push(format!("`{}` has another value", part.name));
        }
    }
    standing
}

#[cfg(test)]
mod tests;
