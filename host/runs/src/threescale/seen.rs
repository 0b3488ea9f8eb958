//! What was seen of 3scale in a namespace, and the era that it tells.
//!
//! Pure. Must never choose between two workloads of one name.

use std::collections::{BTreeMap, BTreeSet};

use cofferdam_cluster::Owner;
use cofferdam_policy::request::WorkloadKind;

use super::Era;

/// A part of 3scale: a workload and the container in it that matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Component {
    /// The name of its workload in every era.
    pub name: &'static str,
    /// The container, which is not always called as the workload.
    pub container: &'static str,
}

const fn component(name: &'static str, container: &'static str) -> Component {
    Component { name, container }
}

const COMPONENTS: [Component; 18] = [
    component("system-mysql", "system-mysql"),
    component("system-postgresql", "system-postgresql"),
    // What the manual calls the PostgreSQL of system.
    component("system-database", "system-postgresql"),
    component("backend-redis", "backend-redis"),
    component("system-redis", "system-redis"),
    component("zync-database", "postgresql"),
    component("system-app", "system-master"),
    component("system-sidekiq", "system-sidekiq"),
    component("system-searchd", "system-searchd"),
    component("system-sphinx", "system-sphinx"),
    component("system-memcache", "memcache"),
    component("backend-listener", "backend-listener"),
    component("backend-worker", "backend-worker"),
    component("backend-cron", "backend-cron"),
    component("apicast-staging", "apicast-staging"),
    component("apicast-production", "apicast-production"),
    component("zync", "zync"),
    component("zync-que", "que"),
];

/// What makes and keeps the others, where it runs in the same namespace: a Deployment in every era.
pub(super) const OPERATOR: Component =
    component("threescale-operator-controller-manager-v2", "manager");

/// The workloads that hold 3scale's own databases in eras A and B; in C all of them are elsewhere.
const INTERNAL: [&str; 5] = [
    "system-mysql",
    "system-postgresql",
    "system-database",
    "backend-redis",
    "system-redis",
];

impl Component {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        COMPONENTS.into_iter()
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|component| component.name == name)
    }
}

/// Everything that was seen.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    workloads: BTreeMap<(&'static str, WorkloadKind), Vec<String>>,
    forbidden: BTreeSet<WorkloadKind>,
    owner: Option<Owner>,
    operator: bool,
}

impl Seen {
    /// A workload of a kind, with the containers of its template.
    pub(crate) fn add(
        &mut self,
        component: Component,
        kind: WorkloadKind,
        containers: Vec<String>,
    ) {
        self.workloads.insert((component.name, kind), containers);
    }

    /// The custom resource that a workload says it was made for.
    pub(crate) fn own(&mut self, owners: Vec<Owner>) {
        let resource = owners.into_iter().find(|owner| owner.kind == "APIManager");
        self.owner = self.owner.take().or(resource);
    }

    /// The operator runs here.
    pub(crate) fn operate(&mut self) {
        self.operator = true;
    }

    /// A kind that the account may not read.
    pub(crate) fn forbid(&mut self, kind: WorkloadKind) {
        self.forbidden.insert(kind);
    }

    fn names(&self, kind: WorkloadKind) -> BTreeSet<&'static str> {
        let of_kind = self.workloads.keys().filter(|(_, other)| *other == kind);
        of_kind.map(|(name, _)| *name).collect()
    }

    /// What was found, for someone who says which era it is.
    ///
    /// # Errors
    /// [`Undecided::NoneOf`] when there is nothing of that era.
    pub fn of(&self, era: Era) -> Result<Found, Undecided> {
        let kind = era.kind();
        let of_kind = self
            .workloads
            .iter()
            .filter(|((_, other), _)| *other == kind);
        let workloads: BTreeMap<&'static str, Vec<String>> = of_kind
            .map(|((name, _), containers)| (*name, containers.clone()))
            .collect();
        if workloads.is_empty() {
            return Err(Undecided::NoneOf { era });
        }
        Ok(Found {
            era,
            workloads,
            owner: self.owner.clone(),
            operator: self.operator,
        })
    }
}

/// The installation: its era and its workloads.
#[derive(Debug, Clone)]
pub struct Found {
    /// The era.
    pub era: Era,
    /// The workloads that are there, with the containers of their templates.
    pub(super) workloads: BTreeMap<&'static str, Vec<String>>,
    /// The custom resource that they were made for.
    pub(super) owner: Option<Owner>,
    /// Whether the operator runs in the same namespace.
    pub(super) operator: bool,
}

/// Why the era cannot be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Undecided {
    /// No component at all.
    #[error("no workload of 3scale is there")]
    Nothing,
    /// No component of the era that was asserted.
    #[error("no workload of 3scale era {era} is there")]
    NoneOf {
        /// The era.
        era: Era,
    },
    /// Two workloads of one name.
    #[error(
        "there both as a DeploymentConfig and as a Deployment: {}; the upgrade from 2.14 to 2.15 is under way",
        quoted(names)
    )]
    Both {
        /// The names.
        names: Vec<String>,
    },
    /// Some of one kind, some of the other.
    #[error(
        "still DeploymentConfigs: {}; Deployments already: {}; the upgrade from 2.14 to 2.15 is under way",
        quoted(configs),
        quoted(deployments)
    )]
    Mixed {
        /// Those of the one kind.
        configs: Vec<String>,
        /// Those of the other.
        deployments: Vec<String>,
    },
    /// One kind may not be read, and the other does not tell.
    #[error("the account may not read its {}s", kind.as_str())]
    Forbidden {
        /// The kind.
        kind: WorkloadKind,
    },
}

impl Undecided {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Nothing => "name the namespace of 3scale with `--namespace`",
            Self::NoneOf { .. } => "leave `--era` out to have it looked for",
            Self::Both { .. } | Self::Mixed { .. } => {
                "wait until the operator has removed the DeploymentConfigs, then run this again; `init threescale --era a|b` says which of them hold the data"
            }
            Self::Forbidden { .. } => {
                "grant `get` on deployments.apps and deploymentconfigs.apps.openshift.io in the namespace, or say the era with `init threescale --era a|b|c`"
            }
        }
    }
}

fn quoted(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

/// Tells the era from the kinds of the workloads.
///
/// # Errors
/// [`Undecided`] when they do not tell.
pub fn find(seen: &Seen) -> Result<Found, Undecided> {
    let configs = seen.names(WorkloadKind::DeploymentConfig);
    let deployments = seen.names(WorkloadKind::Deployment);
    let texts = |names: &mut dyn Iterator<Item = &&'static str>| -> Vec<String> {
        names.map(|name| (*name).to_owned()).collect()
    };
    let both = texts(&mut configs.intersection(&deployments));
    if !both.is_empty() {
        return Err(Undecided::Both { names: both });
    }
    if !configs.is_empty() && !deployments.is_empty() {
        return Err(Undecided::Mixed {
            configs: texts(&mut configs.iter()),
            deployments: texts(&mut deployments.iter()),
        });
    }
    // What may not be read may be there.
    if let Some(&kind) = seen.forbidden.first() {
        return Err(Undecided::Forbidden { kind });
    }
    let era = match (configs.is_empty(), deployments.is_empty()) {
        (true, true) => return Err(Undecided::Nothing),
        (false, _) => Era::A,
        (true, false) if INTERNAL.iter().any(|name| deployments.contains(name)) => Era::B,
        (true, false) => Era::C,
    };
    seen.of(era)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: WorkloadKind = WorkloadKind::DeploymentConfig;
    const DEPLOYMENT: WorkloadKind = WorkloadKind::Deployment;

    fn seen(workloads: &[(&str, WorkloadKind)]) -> Seen {
        let mut seen = Seen::default();
        for (name, kind) in workloads {
            let component = Component::named(name).expect("a component");
            seen.add(component, *kind, vec![component.container.to_owned()]);
        }
        seen
    }

    #[track_caller]
    fn check(workloads: &[(&str, WorkloadKind)], wanted: Result<Era, &str>) {
        let told = find(&seen(workloads)).map(|found| found.era);
        match (told, wanted) {
            (Ok(era), Ok(wanted)) => assert_eq!(era, wanted),
            (Err(undecided), Err(wanted)) => assert_eq!(undecided.to_string(), wanted),
            (told, wanted) => panic!("{told:?} instead of {wanted:?}"),
        }
    }

    #[test]
    fn the_kinds_of_the_workloads_tell_the_era() {
        check(
            &[("system-mysql", CONFIG), ("backend-redis", CONFIG)],
            Ok(Era::A),
        );
        // All databases outside: the kind still tells.
        check(&[("system-app", CONFIG)], Ok(Era::A));
        check(
            &[("system-app", DEPLOYMENT), ("backend-redis", DEPLOYMENT)],
            Ok(Era::B),
        );
        check(
            &[("system-app", DEPLOYMENT), ("zync-database", DEPLOYMENT)],
            Ok(Era::C),
        );
    }

    #[test]
    fn two_of_one_name_are_not_chosen_between() {
        check(
            &[
                ("system-mysql", CONFIG),
                ("system-mysql", DEPLOYMENT),
                ("backend-redis", CONFIG),
            ],
            Err(
                "there both as a DeploymentConfig and as a Deployment: `system-mysql`; the upgrade from 2.14 to 2.15 is under way",
            ),
        );
    }

    #[test]
    fn half_an_upgrade_is_no_era() {
        check(
            &[
                ("system-mysql", CONFIG),
                ("system-redis", CONFIG),
                ("backend-redis", DEPLOYMENT),
            ],
            Err(
                "still DeploymentConfigs: `system-mysql`, `system-redis`; Deployments already: `backend-redis`; the upgrade from 2.14 to 2.15 is under way",
            ),
        );
    }

    #[test]
    fn what_may_not_be_read_is_not_taken_for_absent() {
        let mut seen = seen(&[("system-mysql", DEPLOYMENT)]);
        seen.forbid(CONFIG);
        let undecided = find(&seen).expect_err("undecided");
        assert_eq!(
            undecided.to_string(),
            "the account may not read its DeploymentConfigs"
        );
        let found = seen.of(Era::B).expect("said by a person");
        assert_eq!(found.workloads.len(), 1);
    }

    #[test]
    fn an_empty_namespace_is_said_to_be_empty() {
        check(&[], Err("no workload of 3scale is there"));
        assert_eq!(
            Seen::default().of(Era::A).expect_err("nothing").to_string(),
            "no workload of 3scale era A (2.10 to 2.14: DeploymentConfigs) is there"
        );
    }

    #[test]
    fn containers_are_known_by_name() {
        for (workload, container) in [
            ("system-app", "system-master"),
            ("zync-database", "postgresql"),
            ("zync-que", "que"),
            ("system-memcache", "memcache"),
        ] {
            let component = Component::named(workload).expect("a component");
            assert_eq!(component.container, container);
        }
    }
}
