//! What there is to keep of a 3scale, step by step in the order of a restore.
//!
//! Pure. Knows 3scale's names and order; must never know what a module does with them.

use cofferdam_policy::request::WorkloadKind;
use serde_json::{Value, json};

use super::seen::{Component, Found, OPERATOR};

/// The Secrets that the operator makes, and that the manual saves.
const SECRETS: [&str; 13] = [
    "system-smtp",
    "system-seed",
    "system-database",
    "backend-internal-api",
    "backend-redis",
    "backend-listener",
    "system-events-hook",
    "system-app",
    "system-recaptcha",
    "system-redis",
    "system-memcache",
    "zync",
    "system-master-apicast",
];

const CONFIG_MAPS: [&str; 7] = [
    "system-environment",
    "apicast-environment",
    "backend-environment",
    "mysql-extra-conf",
    "mysql-main-conf",
    "redis-config",
    "system",
];

/// Whatever keeps connections or a cache of what was restored, in the order of the manual; those of one
/// row side by side. Never `zync-database`: its emptyDir would be wiped.
const ROLLOUTS: [&[&str]; 6] = [
    &["backend-worker"],
    &["system-app"],
    &["system-sphinx", "system-searchd"],
    &["apicast-production", "apicast-staging"],
    &["system-sidekiq"],
    &["zync", "zync-que"],
];

/// Where the files of the developer portal are in the pods of system-app.
const STORAGE: &str = "/opt/system/public/system";

/// What is read through a pod of system-app, so that it is backed up before that stops.
pub(super) const STORAGE_FILES: &str = "system-storage";

const OBJECTS: u32 = 0;
const RESOURCE: u32 = 1;
/// Before a PostgreSQL, which is restored with system-app scaled to 0: the files are reached through it.
const FILES: u32 = 2;
/// None of them reads another; what is derived from them comes later.
const DATA: u32 = 3;
const DERIVED: u32 = 4;
/// The first of the rollouts; each row is a stage of its own.
const ROLLOUT: u32 = 5;
const SEARCH: u32 = 100;
const ROUTES: u32 = 101;

/// One thing to keep, or to do in a restore.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) stage: u32,
    pub(super) name: String,
    pub(super) comments: Vec<String>,
    pub(super) body: Body,
}

/// How a step is covered.
#[derive(Debug)]
pub(super) enum Body {
    /// By a module.
    Bound(Bound),
    /// By nobody here.
    External { why: String },
    /// Not at all, and what is missing is no data.
    Absent { why: String },
}

#[derive(Debug)]
pub(super) struct Bound {
    pub(super) module: &'static str,
    /// Roles that a module may have; the first is the main one.
    pub(super) targets: Vec<(&'static str, Place)>,
    pub(super) parameters: Vec<Parameter>,
}

#[derive(Debug)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) value: Value,
    /// Whether a module without it cannot do this step.
    pub(super) essential: bool,
}

/// A workload and a container of it.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) kind: WorkloadKind,
    pub(super) name: &'static str,
    /// As kubectl writes it.
    pub(super) workload: String,
    pub(super) container: String,
}

/// All steps, in the order of a restore.
pub(super) fn steps(found: &Found) -> Vec<Step> {
    let mut steps = vec![objects()];
    steps.push(custom_resource(found));
    steps.push(storage(found));
    steps.push(system_database(found));
    steps.extend(zync_database(found));
    steps.push(redis(found, "backend-redis"));
    steps.push(redis(found, "system-redis"));
    steps.extend(rake(
        found,
        DERIVED,
        "storage-rewrite",
        "backend:storage:rewrite",
        "Writes the configuration in backend-redis anew from the system database, which is the truth.",
    ));
    for (stage, row) in (ROLLOUT..).zip(ROLLOUTS) {
        steps.extend(row.iter().filter_map(|name| rollout(found, stage, name)));
    }
    if found.place("system-searchd").is_some() {
        steps.extend(rake(
            found,
            SEARCH,
            "search-index",
            "searchd:optimal_index",
            "Builds the search index anew; it is not kept.",
        ));
    }
    steps.extend(rake(
        found,
        ROUTES,
        "zync-resync",
        "zync:resync:domains",
        "Lets zync make the routes anew: last, when all that it asks is up.",
    ));
    steps
}

pub(super) fn step(stage: u32, name: &str, comments: &[&str], body: Body) -> Step {
    Step {
        stage,
        name: name.to_owned(),
        comments: comments.iter().map(|&line| line.to_owned()).collect(),
        body,
    }
}

pub(super) fn essential(name: &'static str, value: impl Into<Value>) -> Parameter {
    Parameter {
        name,
        value: value.into(),
        essential: true,
    }
}

fn objects() -> Step {
    let bound = Bound {
        module: "kube-objects",
        targets: Vec::new(),
        parameters: vec![
            essential("when-present", "fail"),
            essential("secrets", json!(SECRETS)),
            essential("configmaps", json!(CONFIG_MAPS)),
        ],
    };
    step(
        OBJECTS,
        "objects",
        &[
            "Secrets and ConfigMaps by name; one that is not there is said and is no failure.",
            "when-present: what a restore does with one that is there with other content:",
            "fail (say so and stop), keep, or replace. Secrets of your own (S3, TLS, policies): add their names.",
        ],
        Body::Bound(bound),
    )
}

fn custom_resource(found: &Found) -> Step {
    let name = "apimanager";
    let Some(owner) = &found.owner else {
        let why = "no APIManager owns the workloads; where they come from a Template, bind the module `openshift-template`".to_owned();
        return step(RESOURCE, name, &[], Body::Absent { why });
    };
    let operator = found.operator.then(|| {
        let place = Place {
            kind: WorkloadKind::Deployment,
            name: OPERATOR.name,
            workload: format!("deployment/{}", OPERATOR.name),
            container: OPERATOR.container.to_owned(),
        };
        ("operator", place)
    });
    let bound = Bound {
        module: "custom-resource",
        targets: operator.into_iter().collect(),
        parameters: vec![
            essential("kind", format!("{}/{}", owner.api_version, owner.kind)),
            essential("names", json!([owner.name])),
        ],
    };
    step(
        RESOURCE,
        name,
        &["The custom resource from which the operator makes everything else."],
        Body::Bound(bound),
    )
}

fn system_database(found: &Found) -> Step {
    let name = "system-database";
    let mysql = found.place("system-mysql");
    let (module, place) = match (mysql, postgresql(found)) {
        (Some(place), None) => ("mysql", place),
        (None, Some(place)) => ("postgresql", place),
        (Some(_), Some(_)) => {
            let why = "there are a MySQL and a PostgreSQL: bind the one that `URL` in Secret system-database names".to_owned();
            return step(DATA, name, &[], Body::External { why });
        }
        (None, None) => {
            return external(
                DATA,
                name,
                "neither system-mysql nor system-postgresql is in the namespace",
                "mysql",
            );
        }
    };
    let mut targets = vec![("server", place)];
    let mut parameters = Vec::new();
    if module == "mysql" {
        parameters.push(essential("database", "system"));
    }
    // Who is connected keeps a PostgreSQL from dropping a database; MySQL does not mind.
    targets.extend(found.place("system-app").map(|place| ("writer", place)));
    let sidekiq = found.place("system-sidekiq");
    targets.extend(sidekiq.map(|place| ("second-writer", place)));
    let searchd = found.place("system-searchd");
    targets.extend(searchd.map(|place| ("third-writer", place)));
    let bound = Bound {
        module,
        targets,
        parameters,
    };
    step(
        DATA,
        name,
        &["Accounts, APIs, plans: the truth of 3scale."],
        Body::Bound(bound),
    )
}

fn zync_database(found: &Found) -> Vec<Step> {
    let name = "zync-database";
    let Some(place) = found.place(name) else {
        if found.place("zync").is_none() && found.place("zync-que").is_none() {
            return Vec::new();
        }
        let missing = "there is no zync-database in the namespace";
        return vec![external(DATA, name, missing, "postgresql")];
    };
    let mut targets = vec![("server", place)];
    targets.extend(found.place("zync").map(|place| ("writer", place)));
    let que = found.place("zync-que");
    targets.extend(que.map(|place| ("second-writer", place)));
    let bound = Bound {
        module: "postgresql",
        targets,
        parameters: vec![
            essential("scope", "database"),
            essential("database", "zync_production"),
        ],
    };
    let comments = [
        "Jobs of zync. Its volume is an emptyDir: the next rollout of zync-database wipes what was restored.",
    ];
    vec![step(DATA, name, &comments, Body::Bound(bound))]
}

fn redis(found: &Found, name: &'static str) -> Step {
    let Some(place) = found.place(name) else {
        let missing = format!("there is no {name} in the namespace");
        return external(DATA, name, &missing, "redis");
    };
    let bound = Bound {
        module: "redis",
        targets: vec![("server", place)],
        parameters: vec![Parameter {
            name: "configuration",
            value: "redis-config".into(),
            essential: false,
        }],
    };
    let comment = if name == "backend-redis" {
        "Counters of usage and keys of applications."
    } else {
        "Queues of system. A restore edits the ConfigMap redis-config once for both."
    };
    step(DATA, name, &[comment], Body::Bound(bound))
}

fn storage(found: &Found) -> Step {
    let name = STORAGE_FILES;
    let Some(place) = found.place("system-app") else {
        let why = "there is no system-app, through which its files are reached".to_owned();
        return step(FILES, name, &[], Body::Absent { why });
    };
    let bound = Bound {
        module: "files",
        targets: vec![("server", place)],
        parameters: vec![essential("folder", STORAGE)],
    };
    let comment = "Files of the developer portal. Leave it out where 3scale keeps them in S3.";
    let stage = match postgresql(found) {
        Some(_) => FILES,
        None => DATA,
    };
    step(stage, name, &[comment], Body::Bound(bound))
}

/// The system database where it is a PostgreSQL.
fn postgresql(found: &Found) -> Option<Place> {
    let place = found.place("system-postgresql");
    place.or_else(|| found.place("system-database"))
}

fn rollout(found: &Found, stage: u32, name: &'static str) -> Option<Step> {
    let place = found.place(name)?;
    let bound = Bound {
        module: "rollout",
        targets: vec![("workload", place)],
        parameters: Vec::new(),
    };
    let comments = ["Holds no data: rolled when what it reads is back."];
    let name = format!("rollout-{name}");
    Some(step(stage, &name, &comments, Body::Bound(bound)))
}

fn rake(found: &Found, stage: u32, name: &str, task: &str, comment: &str) -> Option<Step> {
    let place = found
        .place("system-sidekiq")
        .or_else(|| found.place("system-app"))?;
    let bound = Bound {
        module: "rake",
        targets: vec![("rails", place)],
        parameters: vec![essential("task", task)],
    };
    Some(step(stage, name, &[comment], Body::Bound(bound)))
}

/// A database that is elsewhere, with what a person would write to have it covered.
fn external(stage: u32, name: &str, missing: &str, module: &str) -> Step {
    let comments = [
        "Not covered. To cover it, put these lines in the place of `external`, with the names of a workload",
        "that has the client programs, and with the host of the database among the module's parameters:",
        &format!("  module: {{ name: {module} }}"),
        "  targets: { server: { workload: deployment/NAME, container: NAME } }",
        "`cofferdam modules list` shows which there are; the module's README says how it gets host and",
        "credentials.",
    ];
    let why = format!("{missing}; it is backed up elsewhere or not at all");
    step(stage, name, &comments, Body::External { why })
}

impl Found {
    /// The workload of this name with the container that matters: the one that 3scale calls so, or
    /// the only one.
    pub(super) fn place(&self, name: &'static str) -> Option<Place> {
        let containers = self.workloads.get(name)?;
        let component = Component::named(name)?;
        let container = match containers.as_slice() {
            [only] => only.as_str(),
            // Where it is not among them, `check` says which there are.
            _ => component.container,
        };
        let kind = self.era.kind();
        Some(Place {
            kind,
            name,
            workload: format!("{}/{name}", kind.as_str().to_ascii_lowercase()),
            container: container.to_owned(),
        })
    }
}
