//! The module against a cluster in memory.

use cofferdam_guest_sdk::testing::World;
use cofferdam_guest_sdk::{DataSet, Error, Evidence, Level};

use crate::CustomResource;

fn manager(domain: &str) -> serde_json::Value {
    serde_json::json!({
        "apiVersion": "apps.3scale.net/v1alpha1", "kind": "APIManager",
        "metadata": { "name": "apimanager" }, "spec": { "wildcardDomain": domain },
    })
}

fn without_operator() -> World {
    let world = World::new(include_str!("../module.toml"));
    world
        .parameter("kind", "apps.3scale.net/v1alpha1/APIManager")
        .parameter("names", "apimanager")
        .put_object("resources", "apimanager", manager("example.com"));
    world
}

fn world() -> World {
    let world = without_operator();
    world.bind("operator");
    world
}

fn with_backup() -> World {
    let world = world();
    CustomResource::backup(&world).expect("the backup");
    world
}

#[track_caller]
fn check_refused(result: Result<(), Error>, words: &str) {
    let error = result.expect_err("refused");
    assert!(error.to_string().contains(words), "{error}");
}

/// The calls that change or await something, in order.
fn changes(world: &World) -> Vec<String> {
    let verbs = ["scale", "release", "wait", "load", "sleep"];
    let mut calls = world.calls();
    calls.retain(|call| verbs.iter().any(|verb| call.starts_with(verb)));
    calls
}

#[test]
fn a_backup_keeps_the_resource_past_the_module() {
    let world = with_backup();
    assert!(world.artifact("resources.json").is_some());
    assert!(world.logged(Level::Info, "kept APIManager/apimanager, 0 missing"));
    assert!(!world.was_asked("get"));
    assert!(!format!("{:?}", world.logs()).contains("example.com"));
    assert!(changes(&world).is_empty());
    CustomResource::verify(&world).expect("whole");
}

#[test]
fn the_operator_is_held_back_until_all_is_loaded_and_available_is_awaited() {
    let world = with_backup();
    CustomResource::restore(&world).expect("the restore");
    assert_eq!(
        changes(&world),
        [
            "scale operator 0",
            "wait operator",
            "load resources.json Fail",
            "release scale operator",
            "wait operator",
            "wait-for resources apimanager condition=Available",
        ]
    );
    assert_eq!(world.leases_held(), 0);
    assert_eq!(world.replicas_of("operator"), 1);
}

#[test]
fn a_site_without_an_operator_leaves_it_out() {
    let world = without_operator();
    CustomResource::backup(&world).expect("the backup");
    CustomResource::restore(&world).expect("the restore");
    assert_eq!(
        changes(&world),
        [
            "load resources.json Fail",
            "wait-for resources apimanager condition=Available",
        ]
    );
    assert!(world.logged(Level::Info, "no operator is bound"));
}

#[test]
fn an_operator_that_is_bound_and_missing_is_an_error() {
    let world = with_backup();
    world.fail_always(
        "target operator",
        Error::NotFound("no `operator`".to_owned()),
    );
    check_refused(CustomResource::restore(&world), "no `operator`");
    assert!(changes(&world).is_empty());
}

#[test]
fn the_operator_comes_back_after_a_failed_load() {
    let world = with_backup();
    world.fail_once(
        "load resources.json",
        Error::unavailable("api-unavailable", "no answer"),
    );
    check_refused(
        CustomResource::restore(&world),
        "failed to restore the resources: no answer",
    );
    assert_eq!(world.leases_held(), 0);
    assert_eq!(world.replicas_of("operator"), 1);
}

#[test]
fn an_operator_that_does_not_stop_keeps_everything_as_it_was() {
    let world = with_backup();
    world.fail_once("wait operator", Error::TimedOut("waited 600 s".to_owned()));
    check_refused(CustomResource::restore(&world), "`operator` did not stop");
    assert!(!world.was_asked("load"));
    assert_eq!(world.leases_held(), 0);
}

#[test]
fn a_resource_with_other_content_is_a_decision_of_the_site() {
    let world = with_backup();
    world.put_object("resources", "apimanager", manager("example.org"));
    let result = CustomResource::restore(&world);
    check_refused(result.clone(), "`APIManager/apimanager`");
    check_refused(result, "set parameter `when-present`");
    assert!(!world.was_asked("wait-for"));
    assert_eq!(world.leases_held(), 0);
    assert_eq!(
        world.cluster_object("resources", "apimanager"),
        Some(manager("example.org"))
    );
}

#[test]
fn a_replaced_resource_is_given_time_to_lose_its_old_condition() {
    let world = with_backup();
    world.parameter("when-present", "replace").put_object(
        "resources",
        "apimanager",
        manager("example.org"),
    );
    CustomResource::restore(&world).expect("the restore");
    let changes = changes(&world);
    assert_eq!(
        changes[changes.len() - 2..],
        [
            "sleep 15000",
            "wait-for resources apimanager condition=Available"
        ]
    );
    assert!(world.logged(Level::Warn, "`APIManager/apimanager`: replaced"));
}

#[test]
fn an_operator_that_never_gets_there_is_said_with_what_was_awaited() {
    let world = with_backup();
    world.fail_once(
        "wait-for",
        Error::TimedOut("waited 1800 s, and it is False".to_owned()),
    );
    let result = CustomResource::restore(&world);
    check_refused(result.clone(), "its operator has not done what it asks for");
    check_refused(result, "it is False");
}

#[test]
fn nothing_is_awaited_where_the_site_wants_it() {
    let world = with_backup();
    world.parameter("condition", "");
    CustomResource::restore(&world).expect("the restore");
    assert!(!world.was_asked("wait-for"));
    assert!(world.logged(Level::Info, "nothing is awaited"));
}

#[test]
fn a_missing_resource_is_said_and_none_at_all_is_no_backup() {
    let world = world();
    world.parameter("names", "apimanager,other");
    CustomResource::backup(&world).expect("the backup");
    assert!(world.logged(Level::Warn, "`APIManager/other` is not in the cluster"));
    CustomResource::restore(&world).expect("the restore");
    assert!(world.logged(Level::Warn, "`other` is not in the backup"));
    world.parameter("names", "other");
    check_refused(CustomResource::backup(&world), "none of the 1 resources");
    world.parameter("names", "");
    check_refused(CustomResource::backup(&world), "nothing to keep");
}

#[test]
fn an_empty_artifact_does_not_verify() {
    let world = with_backup();
    let whole = world.artifact("resources.json").expect("an artifact");
    world.put_artifact(
        "resources.json",
        whole.clone(),
        Evidence::new().with("objects", 0),
    );
    check_refused(CustomResource::verify(&world), "holds no objects");
    let evidence = Evidence::new()
        .with("objects", 1)
        .with("bytes", whole.len());
    world.put_artifact("resources.json", &whole[..whole.len() - 1], evidence);
    check_refused(CustomResource::verify(&world), "its evidence says");
}
