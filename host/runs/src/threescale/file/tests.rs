//! Files for each era, written with the manifests of the stock modules and read back.

use cofferdam_policy::request::WorkloadKind;

use super::*;
use crate::application::Application;
use crate::threescale::Era;
use crate::threescale::seen::{Component, Seen, find};

const STOCK: [&str; 3] = [
    include_str!("../../../../../modules/kube-objects/module.toml"),
    include_str!("../../../../../modules/mysql/module.toml"),
    include_str!("../../../../../modules/redis/module.toml"),
];

const RAKE: &str = "
[module]
name = \"rake\"
version = \"0.1.0\"
summary = \"a task\"
[targets.rails]
summary = \"the application\"
[parameters.task]
type = \"text\"
summary = \"which\"
[commands.run]
target = \"rails\"
argv = [\"rake\", \"{task}\"]
stdin = \"none\"
stdout = \"capture(1KiB)\"
timeout = \"1m\"
";

const ROLLOUT: &str = "
[module]
name = \"rollout\"
version = \"0.1.0\"
summary = \"a workload without data\"
[targets.workload]
summary = \"which\"
[rollouts]
workload = [\"restart\", \"wait\"]
";

fn manifests(texts: &[&str]) -> Vec<Arc<Manifest>> {
    texts
        .iter()
        .map(|text| Arc::new(Manifest::parse(text).expect("a manifest")))
        .collect()
}

fn found(kind: WorkloadKind, names: &[&str]) -> Found {
    let mut seen = Seen::default();
    for name in names {
        let component = Component::named(name).expect("a component");
        let mut containers = vec![component.container.to_owned()];
        if *name == "system-app" {
            containers = ["system-provider", "system-master", "system-developer"]
                .map(str::to_owned)
                .to_vec();
        }
        seen.add(component, kind, containers);
    }
    find(&seen).expect("an era")
}

fn heading(asserted: bool) -> Heading {
    Heading {
        name: "threescale".parse().expect("a name"),
        namespace: "3scale".parse().expect("a name"),
        asserted,
    }
}

const INTERNAL: [&str; 10] = [
    "system-mysql",
    "backend-redis",
    "system-redis",
    "zync-database",
    "system-app",
    "system-sidekiq",
    "system-searchd",
    "backend-worker",
    "zync",
    "zync-que",
];

/// `name module workload/container after ...` of each data set.
fn lines(application: &Application) -> Vec<String> {
    let line = |data_set: &DataSet| {
        let targets: Vec<String> = data_set
            .targets
            .values()
            .map(|target| format!(" {}/{}", target.workload, target.container))
            .collect();
        let after: Vec<&str> = data_set
            .restore_after
            .iter()
            .map(DataSetName::as_str)
            .collect();
        format!(
            "{} {}{} after [{}]",
            data_set.name,
            data_set.module.name,
            targets.concat(),
            after.join(" ")
        )
    };
    application.data_sets.iter().map(line).collect()
}

#[test]
fn the_stock_modules_are_bound_in_the_order_of_a_restore() {
    for (kind, word) in [
        (WorkloadKind::DeploymentConfig, "deploymentconfig"),
        (WorkloadKind::Deployment, "deployment"),
    ] {
        let draft = draft(&found(kind, &INTERNAL), &heading(false), &manifests(&STOCK));
        let application = Application::parse(&draft.text).expect("its own file is read");
        assert_eq!(
            lines(&application),
            [
                "objects kube-objects after []".to_owned(),
                format!("system-database mysql {word}/system-mysql/system-mysql after [objects]"),
                format!("backend-redis redis {word}/backend-redis/backend-redis after [objects]"),
                format!("system-redis redis {word}/system-redis/system-redis after [objects]"),
            ]
        );
        assert!(application.external.is_empty());
        let missing = NotCovered {
            name: "zync-database".into(),
            why: "the module `postgresql` is not installed".into(),
        };
        assert!(
            draft.not_covered.contains(&missing),
            "{:?}",
            draft.not_covered
        );
        assert!(
            draft
                .text
                .contains("#   zync-database: the module `postgresql` is not installed"),
            "{}",
            draft.text
        );
    }
}

#[test]
fn databases_that_are_elsewhere_are_named_and_not_covered() {
    let names = ["system-app", "system-sidekiq", "zync", "zync-database"];
    let draft = draft(
        &found(WorkloadKind::Deployment, &names),
        &heading(false),
        &manifests(&STOCK),
    );
    let application = Application::parse(&draft.text).expect("read");
    let external: Vec<&str> = application
        .external
        .iter()
        .map(|external| external.name.as_str())
        .collect();
    assert_eq!(
        external,
        ["system-database", "backend-redis", "system-redis"]
    );
    assert_eq!(lines(&application), ["objects kube-objects after []"]);
    let declared = application.threescale.expect("said");
    assert_eq!((declared.era, declared.asserted), (Era::C, false));
}

#[test]
fn rollouts_and_tasks_follow_the_data_and_routes_come_last() {
    let mut texts = STOCK.to_vec();
    texts.extend([RAKE, ROLLOUT]);
    let draft = draft(
        &found(WorkloadKind::Deployment, &INTERNAL),
        &heading(true),
        &manifests(&texts),
    );
    let application = Application::parse(&draft.text).expect("read");
    assert_eq!(
        lines(&application)[3..],
        [
            "system-redis redis deployment/system-redis/system-redis after [objects]",
            "storage-rewrite rake deployment/system-sidekiq/system-sidekiq after [backend-redis system-database system-redis]",
            "rollout-backend-worker rollout deployment/backend-worker/backend-worker after [storage-rewrite]",
            "rollout-system-app rollout deployment/system-app/system-master after [rollout-backend-worker]",
            "rollout-system-searchd rollout deployment/system-searchd/system-searchd after [rollout-system-app]",
            "rollout-system-sidekiq rollout deployment/system-sidekiq/system-sidekiq after [rollout-system-searchd]",
            "rollout-zync rollout deployment/zync/zync after [rollout-system-sidekiq]",
            "rollout-zync-que rollout deployment/zync-que/que after [rollout-system-sidekiq]",
            "search-index rake deployment/system-sidekiq/system-sidekiq after [rollout-zync rollout-zync-que]",
            "zync-resync rake deployment/system-sidekiq/system-sidekiq after [search-index]",
        ]
    );
    assert!(application.threescale.expect("said").asserted);
}

/// `name workload/container ... {parameters} after ...` of each data set that stops a workload.
fn stops(application: &Application) -> Vec<String> {
    let line = |name: &DataSetName| {
        let data_set = application.data_set(name).expect("bound");
        let targets = data_set.targets.values();
        let targets: Vec<String> = targets
            .map(|target| format!("{}/{}", target.workload, target.container))
            .collect();
        let parameters = data_set.parameters.iter();
        let parameters: Vec<String> = parameters
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let after = data_set.backup_after.iter();
        let after: Vec<&str> = after.map(DataSetName::as_str).collect();
        assert!(data_set.restore_after.is_empty(), "{name}");
        format!(
            "{name} {} [{}] after [{}]",
            targets.join(" "),
            parameters.join(" "),
            after.join(" ")
        )
    };
    application.quiesce.iter().map(line).collect()
}

#[test]
fn what_lets_requests_in_stops_first_and_workers_when_their_queues_are_empty() {
    let mut texts = STOCK.to_vec();
    texts.extend([
        include_str!("../../../../../modules/files/module.toml"),
        include_str!("../../../../../modules/quiesce/module.toml"),
    ]);
    let mut names = INTERNAL.to_vec();
    names.extend(["apicast-production", "backend-listener", "backend-cron"]);
    let found = found(WorkloadKind::Deployment, &names);
    let quiet = draft(&found, &heading(false), &manifests(&texts));
    let application = Application::parse(&quiet.text).expect("its own file is read");
    assert_eq!(
        stops(&application),
        [
            "quiesce-apicast-production deployment/apicast-production/apicast-production [] after [system-storage]",
            "quiesce-system-app deployment/system-app/system-master [] after []",
            "quiesce-system-sidekiq deployment/system-redis/system-redis deployment/system-sidekiq/system-sidekiq [database=1 prefix=\"\"] after []",
            "quiesce-zync deployment/zync/zync [] after []",
            "quiesce-zync-que deployment/zync-que/que [] after []",
            "quiesce-backend-listener deployment/backend-listener/backend-listener [] after []",
            "quiesce-backend-cron deployment/backend-cron/backend-cron [] after []",
            "quiesce-backend-worker deployment/backend-redis/backend-redis deployment/backend-worker/backend-worker [database=1 prefix=\"resque:\"] after []",
        ]
    );
    let said = |draft: &Draft| {
        let mut covered = draft.not_covered.iter();
        covered.any(|one| one.name == "backup --quiesce")
    };
    assert!(!said(&quiet));

    let without = draft(&found, &heading(false), &manifests(&STOCK));
    let application = Application::parse(&without.text).expect("read");
    assert!(application.quiesce.is_empty());
    assert!(said(&without), "{:?}", without.not_covered);
}

#[test]
fn workers_whose_redis_is_elsewhere_stop_without_a_look_at_their_queues() {
    let mut texts = STOCK.to_vec();
    texts.push(include_str!("../../../../../modules/quiesce/module.toml"));
    let mut seen = Seen::default();
    for name in ["system-app", "system-sidekiq"] {
        let component = Component::named(name).expect("a component");
        let containers = vec![component.container.to_owned()];
        seen.add(component, WorkloadKind::Deployment, containers);
    }
    seen.operate();
    let found = find(&seen).expect("an era");
    let draft = draft(&found, &heading(false), &manifests(&texts));
    let application = Application::parse(&draft.text).expect("read");
    assert_eq!(
        stops(&application),
        [
            "quiesce-operator deployment/threescale-operator-controller-manager-v2/manager [] after []",
            "quiesce-system-app deployment/system-app/system-master [] after []",
            "quiesce-system-sidekiq deployment/system-sidekiq/system-sidekiq [] after []",
        ]
    );
}

#[test]
fn a_module_that_cannot_do_it_is_not_bound() {
    let old = RAKE.replace("task", "which-one");
    let mut texts = STOCK.to_vec();
    texts.push(&old);
    let draft = draft(
        &found(WorkloadKind::Deployment, &INTERNAL),
        &heading(false),
        &manifests(&texts),
    );
    let why = draft
        .not_covered
        .iter()
        .find(|one| one.name == "zync-resync")
        .expect("said");
    assert_eq!(
        why.why,
        "the module `rake` 0.1.0 does not fit: it has no parameter `task`"
    );
}

#[test]
fn two_system_databases_are_not_chosen_between() {
    let names = [
        "system-mysql",
        "system-postgresql",
        "backend-redis",
        "system-redis",
    ];
    let draft = draft(
        &found(WorkloadKind::Deployment, &names),
        &heading(false),
        &manifests(&STOCK),
    );
    let application = Application::parse(&draft.text).expect("read");
    assert_eq!(application.external.len(), 1);
    assert!(
        application.external[0]
            .why
            .contains("MySQL and a PostgreSQL")
    );
}

#[test]
fn what_yaml_would_read_as_something_else_is_quoted() {
    for (text, wanted) in [
        ("system-mysql", "system-mysql"),
        (
            "apps.3scale.net/v1alpha1/APIManager",
            "apps.3scale.net/v1alpha1/APIManager",
        ),
        ("3scale", "\"3scale\""),
        ("null", "\"null\""),
        ("yes", "\"yes\""),
        ("a: b", "\"a: b\""),
    ] {
        assert_eq!(scalar(&Value::from(text)), wanted);
    }
}
