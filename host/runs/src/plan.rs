//! What a run would do: data sets bound to modules, in order, with everything that each module
//! could ask for and what policy says to it.
//!
//! Must find every fault that needs no cluster before anything is touched.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cofferdam_engine::manifest::RolloutVerb;
use cofferdam_engine::{Binding, BindingError, Manifest, Module};
use cofferdam_policy::Policy;
use cofferdam_policy::grant::OwnedRequest;
use cofferdam_policy::name::{ApplicationName, DataSetName, Namespace, PathName, PodPath};
use cofferdam_policy::request::{RunKind, Workload};
use serde::Serialize;

use crate::application::{Application, DataSet, External};
use crate::modules::{Modules, ModulesError};
use crate::report::{DataSetReport, Failure};
use crate::threescale::KnownEra;

/// Why an application cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A name given with `--only` is no data set.
    #[error("the application has no data set `{name}`; it has {}", known.join(", "))]
    Unknown {
        /// The name.
        name: DataSetName,
        /// The names there are.
        known: Vec<String>,
    },
    /// A name given with `--only` is known, and covered by nobody.
    #[error("data set `{}` is {}", .0.name, .0.state())]
    External(External),
    /// A name given with `--only` takes part in a backup with `--quiesce` alone.
    #[error("data set `{0}` stands in `quiesce`: a backup runs it only with `--quiesce`")]
    Quiesces(DataSetName),
    /// `--quiesce` where nothing is to be stopped.
    #[error("the application `{0}` says nothing of what `--quiesce` is to stop")]
    NothingToQuiesce(ApplicationName),
    /// The module is not there.
    #[error("data set `{data_set}`")]
    Module {
        /// The data set.
        data_set: DataSetName,
        /// Why.
        source: ModulesError,
    },
    /// The site's parameters do not fit the manifest.
    #[error("data set `{data_set}`")]
    Binding {
        /// The data set.
        data_set: DataSetName,
        /// Why.
        source: BindingError,
    },
    /// Roles or secrets that do not fit.
    #[error("data set `{data_set}`: {}", problems.join("; "))]
    Bound {
        /// The data set.
        data_set: DataSetName,
        /// Everything that is wrong.
        problems: Vec<String>,
    },
}

/// What becomes of the data sets that stand in `quiesce`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quiescing {
    /// They are data sets like others: in a restore, a verify, a look at the policy.
    AsOthers,
    /// They are left out: a backup without `--quiesce`.
    Without,
    /// They all take part, whatever else is chosen: a backup with `--quiesce`.
    With,
}

/// An application whose data sets are bound to modules.
#[derive(Debug)]
pub struct Prepared {
    /// The application.
    pub application: Application,
    /// The data sets that take part, in the order of the file.
    pub data_sets: Vec<PreparedDataSet>,
    /// Whether they are all that a run of this kind could have.
    pub whole: bool,
    /// Those that stop a workload for the time of this backup, in this order.
    pub quiesce: Vec<DataSetName>,
    /// Those that only a backup with `--quiesce` runs, and that this one leaves out.
    pub left_out: Vec<DataSetName>,
    /// What belongs to it and is covered by nobody here.
    pub external: Vec<External>,
    /// The era of 3scale, once it was looked at.
    pub era: Option<KnownEra>,
    /// What a person should know before the run, and find in its report.
    pub warnings: Vec<String>,
}

/// A data set bound to its module.
#[derive(Debug, Clone)]
pub struct PreparedDataSet {
    /// The data set.
    pub data_set: DataSet,
    /// Its module.
    pub module: Module,
    /// The module's manifest with this site's parameters.
    pub binding: Arc<Binding>,
}

/// Binds `only` (all, when empty) of the application's data sets to modules. Blocks while modules
/// compile.
///
/// # Errors
/// [`PlanError`], which names the data set and all that is wrong with it.
pub fn prepare(
    application: Application,
    modules: &Modules,
    only: &[DataSetName],
    quiescing: Quiescing,
) -> Result<Prepared, PlanError> {
    let quiesce = application.quiesce.clone();
    match quiescing {
        Quiescing::With if quiesce.is_empty() => {
            return Err(PlanError::NothingToQuiesce(application.name));
        }
        Quiescing::Without => {
            if let Some(name) = only.iter().find(|name| quiesce.contains(name)) {
                return Err(PlanError::Quiesces(name.clone()));
            }
        }
        Quiescing::AsOthers | Quiescing::With => {}
    }
    if let Some(external) = only.iter().find_map(|name| application.external(name)) {
        return Err(PlanError::External(external.clone()));
    }
    if let Some(name) = only
        .iter()
        .find(|name| application.data_set(name).is_none())
    {
        let known = application
            .data_sets
            .iter()
            .map(|data_set| data_set.name.to_string())
            .collect();
        return Err(PlanError::Unknown {
            name: name.clone(),
            known,
        });
    }
    let mut data_sets = Vec::new();
    for data_set in &application.data_sets {
        let chosen = only.is_empty() || only.contains(&data_set.name);
        let takes_part = match quiescing {
            Quiescing::AsOthers => chosen,
            Quiescing::Without => chosen && !quiesce.contains(&data_set.name),
            Quiescing::With => chosen || quiesce.contains(&data_set.name),
        };
        if !takes_part {
            continue;
        }
        let name = || data_set.name.clone();
        let module = modules
            .find(&data_set.module)
            .map_err(|source| PlanError::Module {
                data_set: name(),
                source,
            })?;
        let problems = problems(data_set, module.manifest());
        if !problems.is_empty() {
            return Err(PlanError::Bound {
                data_set: name(),
                problems,
            });
        }
        let binding = Binding::new(module.manifest().clone(), data_set.parameters.clone())
            .map_err(|source| PlanError::Binding {
                data_set: name(),
                source,
            })?;
        data_sets.push(PreparedDataSet {
            data_set: data_set.clone(),
            module,
            binding: Arc::new(binding),
        });
    }
    let (quiesce, left_out) = match quiescing {
        Quiescing::AsOthers => (Vec::new(), Vec::new()),
        Quiescing::Without => (Vec::new(), quiesce),
        Quiescing::With => (quiesce, Vec::new()),
    };
    let whole = data_sets.len() + left_out.len() == application.data_sets.len();
    // Who names data sets does not mean the others.
    let external = if only.is_empty() {
        application.external.clone()
    } else {
        Vec::new()
    };
    Ok(Prepared {
        application,
        data_sets,
        whole,
        quiesce,
        left_out,
        external,
        era: None,
        warnings: Vec::new(),
    })
}

pub(crate) fn problems(data_set: &DataSet, manifest: &Manifest) -> Vec<String> {
    let mut problems = Vec::new();
    for (role, summary) in &manifest.targets {
        let may_lack = manifest.optional_targets.contains(role);
        if !may_lack && !data_set.targets.contains_key(role) {
            problems.push(format!(
                "no workload is bound to the role `{role}` ({summary})"
            ));
        }
    }
    for role in data_set
        .targets
        .keys()
        .filter(|role| !manifest.targets.contains_key(*role))
    {
        problems.push(format!("the module has no role `{role}`"));
    }
    for (handle, summary) in &manifest.secrets {
        let may_lack = manifest.optional_secrets.contains(handle);
        if !may_lack && !data_set.secrets.contains_key(handle) {
            problems.push(format!(
                "no Secret is bound to the handle `{handle}` ({summary})"
            ));
        }
    }
    for handle in data_set
        .secrets
        .keys()
        .filter(|handle| !manifest.secrets.contains_key(*handle))
    {
        problems.push(format!("the module has no secret handle `{handle}`"));
    }
    problems
}

impl PreparedDataSet {
    /// A report in which nothing has happened but, perhaps, a failure.
    /// The places in the pods that the manifest's paths stand for: where what was kept came from.
    pub(crate) fn paths(&self) -> BTreeMap<&PathName, &PodPath> {
        let declared = self.module.manifest().paths.keys();
        let placed = declared.filter_map(|name| {
            let (_, place) = self.binding.path(name)?;
            Some((name, place))
        });
        placed.collect()
    }

    pub(crate) fn report(&self, failure: Option<Failure>) -> DataSetReport {
        let manifest = self.module.manifest();
        DataSetReport {
            name: self.data_set.name.clone(),
            module: manifest.name.clone(),
            version: manifest.version.clone(),
            snapshot: None,
            artifacts: Vec::new(),
            bytes: 0,
            stored_bytes: 0,
            begun: None,
            ended: None,
            quiet: None,
            milliseconds: 0,
            refused: 0,
            failure,
        }
    }
}

/// What a run would do, for people to read before it runs.
///
/// Written from manifests, bindings and policy: nothing in the cluster is touched, and nothing is
/// looked at but the era of 3scale, before.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// What the run would do.
    pub kind: RunKind,
    /// The run whose snapshots would be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The namespace that it would work in.
    pub namespace: Namespace,
    /// The era of 3scale and how it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub era: Option<KnownEra>,
    /// The data sets, in the order in which they would begin.
    pub data_sets: Vec<PlannedDataSet>,
    /// What belongs to the application and is covered by nobody here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub external: Vec<External>,
    /// The data sets that would stop a workload until the backup has ended, in this order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub quiesce: Vec<DataSetName>,
    /// Those that only a backup with `--quiesce` would run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<DataSetName>,
    /// What a person should know before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// One data set of a plan.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedDataSet {
    /// Its name.
    pub name: DataSetName,
    /// Its module, version and digest.
    pub module: String,
    /// The data sets that must have succeeded before.
    pub after: BTreeSet<DataSetName>,
    /// What the module may do in this run, one line each.
    pub allowed: Vec<String>,
    /// What its manifest declares and policy denies, one line each.
    pub denied: Vec<String>,
}

impl Plan {
    /// What a run of `kind` over the prepared data sets would do under `policy`.
    pub fn new(kind: RunKind, prepared: &Prepared, policy: &Policy, from: Option<String>) -> Self {
        let grants = prepared.grants();
        let (edges, order) = crate::run::ordered(kind, prepared);
        let planned = |name: &DataSetName| {
            let of = prepared
                .data_sets
                .iter()
                .find(|one| one.data_set.name == *name)?;
            let mut planned = PlannedDataSet {
                name: name.clone(),
                module: format!(
                    "{} {} {}",
                    of.module.manifest().name,
                    of.module.manifest().version,
                    of.module.digest()
                ),
                after: edges.get(name).cloned().unwrap_or_default(),
                allowed: Vec::new(),
                denied: Vec::new(),
            };
            for grant in grants.iter().filter(|grant| {
                grant.scope.run == kind && grant.scope.data_set.as_ref() == Some(name)
            }) {
                let sample = grant.sample();
                // Which artifacts there will be only the module knows.
                let subject = if matches!(sample, OwnedRequest::UseArtifact(_)) {
                    "its artifacts".to_owned()
                } else {
                    cofferdam_policy::subject(sample.any())
                };
                let capability = cofferdam_policy::capability(sample.any());
                let line = format!("{capability} {subject}");
                if policy.inspect(std::slice::from_ref(grant)).allowed == 1 {
                    planned.allowed.push(line);
                } else {
                    planned.denied.push(line);
                }
            }
            Some(planned)
        };
        let mut warnings = prepared.warnings.clone();
        if kind == RunKind::Restore {
            warnings.extend(guarded(prepared, &order));
        }
        Self {
            kind,
            from,
            namespace: prepared.application.namespace.clone(),
            era: prepared.era.clone(),
            data_sets: order.iter().filter_map(planned).collect(),
            external: prepared.external.clone(),
            quiesce: prepared.quiesce.clone(),
            left_out: prepared.left_out.clone(),
            warnings,
        }
    }
}

/// A sentence for each data set that may be refused to replace pods, since one before it may want them
/// to stay. Whether it does is known only once it has looked.
fn guarded(prepared: &Prepared, order: &[DataSetName]) -> Vec<String> {
    let workloads = |name: &DataSetName, wanted: &dyn Fn(&RolloutVerb) -> bool| {
        let mut data_sets = prepared.data_sets.iter();
        let found = data_sets.find(|one| one.data_set.name == *name);
        let rollouts = found
            .into_iter()
            .flat_map(|found| &found.module.manifest().rollouts);
        let wanted = rollouts.filter(|(_, verbs)| verbs.iter().any(wanted));
        let bound = wanted
            .filter_map(|(role, _)| Some(found?.data_set.targets.get(role)?.workload.clone()));
        bound.collect::<Vec<Workload>>()
    };
    let replaces = |verb: &RolloutVerb| match verb {
        RolloutVerb::Restart | RolloutVerb::Scale | RolloutVerb::SetReplicas => true,
        RolloutVerb::Wait | RolloutVerb::Replicas | RolloutVerb::Guard => false,
    };
    let mut sentences = Vec::new();
    for (index, later) in order.iter().enumerate() {
        let rolled = workloads(later, &replaces);
        for earlier in order.iter().take(index) {
            let kept = workloads(earlier, &|verb| *verb == RolloutVerb::Guard);
            for workload in rolled.iter().filter(|workload| kept.contains(workload)) {
                sentences.push(format!(
                    "`{later}` replaces the pods of {workload}, and is refused where `{earlier}`, which comes before it, has restored what a new pod would not have: put `{later}` before it"
                ));
            }
        }
    }
    sentences
}
