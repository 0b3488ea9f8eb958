//! The application file: what a site backs up as one thing, parsed once into types.
//!
//! Must stay the same shape as the custom resource that a controller will read later. Unknown keys
//! are refused, since a misspelt key would silently leave a data set unbound.

use std::collections::{BTreeMap, BTreeSet};

use cofferdam_policy::name::{
    ApplicationName, ContainerName, DataKey, DataSetName, ModuleName, Namespace, ObjectName,
    ParameterName, RoleName, SecretHandle,
};
use cofferdam_policy::request::{Target, Workload, WorkloadKind};
use serde::{Deserialize, Serialize};

use crate::order;
use crate::threescale::Declared;

/// The `apiVersion` that this host reads.
pub const API_VERSION: &str = "cofferdam.dev/v1alpha1";

/// The largest application file that is read, in bytes.
pub const MAXIMUM_BYTES: u64 = 1024 * 1024;

/// Why an application file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ApplicationError {
    /// Not YAML, or not of this shape.
    #[error("failed to read the application file: {0}")]
    Shape(#[from] serde_norway::Error),
    /// Another `apiVersion` or `kind`.
    #[error("the application file is `{found}`; this host reads `{API_VERSION}` `Application`")]
    Version {
        /// What stands there.
        found: String,
    },
    /// Too large.
    #[error("the application file has {bytes} bytes; at most {MAXIMUM_BYTES} are read")]
    TooLarge {
        /// Its size.
        bytes: u64,
    },
    /// No data set.
    #[error("the application `{0}` has no data set")]
    Empty(ApplicationName),
    /// Two data sets of one name.
    #[error("two data sets are called `{0}`")]
    Twice(DataSetName),
    /// An order that names a data set which does not exist.
    #[error(
        "data set `{data_set}` comes after `{missing}` in the {which} order, but there is no data set `{missing}`"
    )]
    Missing {
        /// The data set.
        data_set: DataSetName,
        /// What it names.
        missing: DataSetName,
        /// `backup` or `restore`.
        which: &'static str,
    },
    /// An order that cannot be kept.
    #[error("the {which} order goes round in a circle: {}", cycle.iter().map(DataSetName::as_str).collect::<Vec<_>>().join(" after "))]
    Cycle {
        /// `backup` or `restore`.
        which: &'static str,
        /// The circle; its first name stands at the end again.
        cycle: Vec<DataSetName>,
    },
    /// A data set that names no module and does not say why, or says both.
    #[error("data set `{data_set}` {reason}")]
    Cover {
        /// The data set.
        data_set: DataSetName,
        /// What is wrong.
        reason: &'static str,
    },
    /// A name in `quiesce` that cannot stand there.
    #[error("`quiesce` names `{data_set}`, {reason}")]
    Quiesce {
        /// The name.
        data_set: DataSetName,
        /// What is wrong.
        reason: &'static str,
    },
    /// Nothing but what quiesces.
    #[error("all data sets of the application `{0}` stand in `quiesce`: nothing would be kept")]
    OnlyQuiesced(ApplicationName),
    /// A workload that is not written `kind/name`.
    #[error("data set `{data_set}`, target `{role}`: {reason}")]
    Workload {
        /// The data set.
        data_set: DataSetName,
        /// The role.
        role: RoleName,
        /// What is wrong.
        reason: String,
    },
}

/// What a site backs up as one thing: data sets, in one namespace, in an order.
#[derive(Debug, Clone)]
pub struct Application {
    /// Its name.
    pub name: ApplicationName,
    /// Its namespace; no request leaves it.
    pub namespace: Namespace,
    /// Its data sets, in the order of the file.
    pub data_sets: Vec<DataSet>,
    /// What belongs to it and is backed up by nobody here, so that no run counts as complete.
    pub external: Vec<External>,
    /// Data sets that stop a workload for the time of `backup --quiesce`, in this order; no other
    /// backup runs them.
    pub quiesce: Vec<DataSetName>,
    /// What the file says of 3scale, where the application is one.
    pub threescale: Option<Declared>,
    /// For a restore elsewhere: the namespace whose runs are read. Nothing is asked of it.
    pub origin: Option<Namespace>,
}

/// A data set that no module is bound to: known, named, and not covered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct External {
    /// Its name.
    pub name: DataSetName,
    /// Why, in the site's own words.
    pub why: String,
}

impl External {
    /// What is said of it everywhere.
    pub fn state(&self) -> String {
        format!("external, not covered: {}", self.why)
    }
}

/// One thing to keep.
#[derive(Debug, Clone)]
pub struct DataSet {
    /// Its name.
    pub name: DataSetName,
    /// The module that knows how.
    pub module: ModuleReference,
    /// The workloads behind the module's roles.
    pub targets: BTreeMap<RoleName, Target>,
    /// The Secrets behind the module's secret handles.
    pub secrets: BTreeMap<SecretHandle, SecretReference>,
    /// What the site sets; checked against the manifest later.
    pub parameters: BTreeMap<ParameterName, serde_json::Value>,
    /// The data sets that are backed up before.
    pub backup_after: BTreeSet<DataSetName>,
    /// The data sets that are restored before.
    pub restore_after: BTreeSet<DataSetName>,
}

/// Which module, and how exactly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ModuleReference {
    /// The name in its manifest.
    pub name: ModuleName,
    /// `0.1` takes any `0.1.x`; `None` takes any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// `sha256:` and 64 hex digits; pins the very file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// One key of one Secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretReference {
    /// The Secret.
    pub secret: ObjectName,
    /// The key of its data.
    pub key: DataKey,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    api_version: String,
    kind: String,
    metadata: Metadata,
    spec: Spec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Metadata {
    name: ApplicationName,
    namespace: Namespace,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Spec {
    #[serde(default)]
    threescale: Option<Declared>,
    #[serde(default)]
    quiesce: Vec<DataSetName>,
    data_sets: Vec<DataSetEntry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DataSetEntry {
    name: DataSetName,
    #[serde(default)]
    module: Option<ModuleReference>,
    #[serde(default)]
    external: Option<String>,
    #[serde(default)]
    targets: BTreeMap<RoleName, TargetEntry>,
    #[serde(default)]
    secrets: BTreeMap<SecretHandle, SecretReference>,
    #[serde(default)]
    parameters: BTreeMap<ParameterName, serde_json::Value>,
    #[serde(default)]
    backup: OrderEntry,
    #[serde(default)]
    restore: OrderEntry,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TargetEntry {
    workload: String,
    container: ContainerName,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OrderEntry {
    #[serde(default)]
    after: BTreeSet<DataSetName>,
}

impl Application {
    /// Parses the text of an application file.
    ///
    /// # Errors
    /// [`ApplicationError`], which names the key, the data set or the circle.
    pub fn parse(text: &str) -> Result<Self, ApplicationError> {
        let bytes = text.len() as u64;
        if bytes > MAXIMUM_BYTES {
            return Err(ApplicationError::TooLarge { bytes });
        }
        let file: File = serde_norway::from_str(text)?;
        if file.api_version != API_VERSION || file.kind != "Application" {
            let found = format!("{} {}", file.api_version, file.kind)
                .escape_default()
                .to_string();
            return Err(ApplicationError::Version { found });
        }
        let Metadata { name, namespace } = file.metadata;
        if file.spec.data_sets.is_empty() {
            return Err(ApplicationError::Empty(name));
        }
        let mut application = Self {
            name,
            namespace,
            data_sets: Vec::new(),
            external: Vec::new(),
            quiesce: file.spec.quiesce,
            threescale: file.spec.threescale,
            origin: None,
        };
        for entry in file.spec.data_sets {
            if application.data_set(&entry.name).is_some()
                || application.external(&entry.name).is_some()
            {
                return Err(ApplicationError::Twice(entry.name));
            }
            match entry.resolve(&application.namespace)? {
                Resolved::Bound(data_set) => application.data_sets.push(data_set),
                Resolved::External(external) => application.external.push(external),
            }
        }
        application.order("backup", |data_set| &mut data_set.backup_after)?;
        application.order("restore", |data_set| &mut data_set.restore_after)?;
        application.quiet()?;
        Ok(application)
    }

    /// The order of a backup: `quiet` where it stops what stands in `quiesce`.
    pub(crate) fn backup_edges(&self, quiet: bool) -> order::Edges {
        let edges = self.data_sets.iter();
        let edges = edges.map(|one| (one.name.clone(), one.backup_after.clone()));
        let quiesce: &[DataSetName] = if quiet { &self.quiesce } else { &[] };
        order::quieted(&edges.collect(), quiesce)
    }

    /// The data set of this name.
    pub fn data_set(&self, name: &DataSetName) -> Option<&DataSet> {
        self.data_sets
            .iter()
            .find(|data_set| data_set.name == *name)
    }

    /// The data set of this name that is external.
    pub fn external(&self, name: &DataSetName) -> Option<&External> {
        self.external.iter().find(|external| external.name == *name)
    }

    /// Checks what stands in `quiesce`, and that the others can wait for it.
    fn quiet(&self) -> Result<(), ApplicationError> {
        for (index, name) in self.quiesce.iter().enumerate() {
            let reason = if self.external(name).is_some() {
                "which is external"
            } else if self.data_set(name).is_none() {
                "but there is no such data set"
            } else if self.quiesce.iter().take(index).any(|one| one == name) {
                "twice"
            } else {
                continue;
            };
            let data_set = name.clone();
            return Err(ApplicationError::Quiesce { data_set, reason });
        }
        let quiesced = |one: &DataSet| self.quiesce.contains(&one.name);
        if self.data_sets.iter().all(quiesced) && !self.quiesce.is_empty() {
            return Err(ApplicationError::OnlyQuiesced(self.name.clone()));
        }
        match order::cycle(&self.backup_edges(true)) {
            Some(cycle) => Err(ApplicationError::Cycle {
                which: "backup --quiesce",
                cycle,
            }),
            None => Ok(()),
        }
    }

    /// Checks an order. Who comes after something external waits for nobody here.
    fn order(
        &mut self,
        which: &'static str,
        after: fn(&mut DataSet) -> &mut BTreeSet<DataSetName>,
    ) -> Result<(), ApplicationError> {
        let bound: BTreeSet<DataSetName> = self
            .data_sets
            .iter()
            .map(|data_set| data_set.name.clone())
            .collect();
        let mut edges = order::Edges::new();
        for data_set in &mut self.data_sets {
            let name = data_set.name.clone();
            let external = |name: &DataSetName| self.external.iter().any(|one| one.name == *name);
            let after = after(data_set);
            after.retain(|name| !external(name));
            if let Some(missing) = after.iter().find(|name| !bound.contains(*name)) {
                return Err(ApplicationError::Missing {
                    data_set: name,
                    missing: missing.clone(),
                    which,
                });
            }
            edges.insert(name, after.clone());
        }
        match order::cycle(&edges) {
            Some(cycle) => Err(ApplicationError::Cycle { which, cycle }),
            None => Ok(()),
        }
    }
}

/// What an entry of the file is.
enum Resolved {
    Bound(DataSet),
    External(External),
}

impl DataSetEntry {
    fn resolve(self, namespace: &Namespace) -> Result<Resolved, ApplicationError> {
        let module = match (self.module, self.external) {
            (Some(module), None) => module,
            (None, Some(why)) => {
                let unbound = self.targets.is_empty()
                    && self.secrets.is_empty()
                    && self.parameters.is_empty();
                if !unbound || why.trim().is_empty() || why.chars().any(char::is_control) {
                    return Err(ApplicationError::Cover {
                        data_set: self.name,
                        reason: "is external: it takes one line of text and no targets, secrets or parameters",
                    });
                }
                let name = self.name;
                return Ok(Resolved::External(External { name, why }));
            }
            (Some(_), Some(_)) => {
                return Err(ApplicationError::Cover {
                    data_set: self.name,
                    reason: "has a module and is called `external`: remove one of them",
                });
            }
            (None, None) => {
                return Err(ApplicationError::Cover {
                    data_set: self.name,
                    reason: "has no `module`; what no module covers says `external: WHY`",
                });
            }
        };
        let mut targets = BTreeMap::new();
        for (role, entry) in self.targets {
            let workload =
                parse_workload(&entry.workload).map_err(|reason| ApplicationError::Workload {
                    data_set: self.name.clone(),
                    role: role.clone(),
                    reason,
                })?;
            let target = Target {
                role: role.clone(),
                namespace: namespace.clone(),
                workload,
                container: entry.container,
            };
            targets.insert(role, target);
        }
        Ok(Resolved::Bound(DataSet {
            name: self.name,
            module,
            targets,
            secrets: self.secrets,
            parameters: self.parameters,
            backup_after: self.backup.after,
            restore_after: self.restore.after,
        }))
    }
}

/// Parses `deployment/name` as kubectl writes it, short names included.
pub(crate) fn parse_workload(text: &str) -> Result<Workload, String> {
    let shown = text.escape_default();
    let Some((kind, name)) = text.split_once('/') else {
        return Err(format!(
            "`{shown}` is no workload: write `deployment/NAME`, `deploymentconfig/NAME` or `statefulset/NAME`"
        ));
    };
    let kind = match kind.to_ascii_lowercase().as_str() {
        "deployment" | "deploy" => WorkloadKind::Deployment,
        "deploymentconfig" | "dc" => WorkloadKind::DeploymentConfig,
        "statefulset" | "sts" => WorkloadKind::StatefulSet,
        other => {
            let other = other.escape_default();
            return Err(format!(
                "`{other}` is no kind of workload: use `deployment`, `deploymentconfig` or `statefulset`"
            ));
        }
    };
    let name = ObjectName::parse(name).map_err(|invalid| invalid.to_string())?;
    Ok(Workload { kind, name })
}

#[cfg(test)]
mod tests;
