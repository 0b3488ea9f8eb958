//! The module against a cluster in memory.

use cofferdam_guest_sdk::testing::World;
use cofferdam_guest_sdk::{DataSet, Error, Evidence, Level};

use crate::KubeObjects;

fn secret(name: &str, value: &str) -> serde_json::Value {
    serde_json::json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name }, "data": { "key": value } })
}

fn world() -> World {
    let world = World::new(include_str!("../module.toml"));
    world
        .parameter("secrets", "system-seed,system-smtp")
        .parameter("configmaps", "system-environment")
        .put_object("secrets", "system-seed", secret("system-seed", "c2VlZA=="))
        .put_object("secrets", "system-smtp", secret("system-smtp", "c210cA=="))
        .put_config_map(
            "configmaps",
            "system-environment",
            "RAILS_ENV",
            "production",
        );
    world
}

fn with_backup() -> World {
    let world = world();
    KubeObjects::backup(&world).expect("the backup");
    world
}

#[track_caller]
fn check_refused(result: Result<(), Error>, words: &str) {
    let error = result.expect_err("refused");
    assert!(error.to_string().contains(words), "{error}");
}

#[test]
fn a_backup_has_one_artifact_for_each_kind() {
    let world = with_backup();
    assert!(world.artifact("secrets.json").is_some());
    assert!(world.artifact("configmaps.json").is_some());
    assert!(world.logged(Level::Info, "kept 2 Secrets, 0 missing"));
    KubeObjects::verify(&world).expect("whole");
}

#[test]
fn no_content_of_an_object_is_ever_asked_for_or_logged() {
    let world = with_backup();
    KubeObjects::restore(&world).expect("the restore");
    KubeObjects::verify(&world).expect("whole");
    assert!(!world.was_asked("get"));
    let logs = format!("{:?}", world.logs());
    assert!(
        !logs.contains("c2VlZA") && !logs.contains("production"),
        "{logs}"
    );
}

#[test]
fn a_missing_object_is_said() {
    let world = world();
    world.parameter("secrets", "system-seed,system-recaptcha");
    KubeObjects::backup(&world).expect("the backup");
    assert!(world.logged(
        Level::Warn,
        "`Secret/system-recaptcha` is not in the cluster"
    ));
    KubeObjects::restore(&world).expect("the restore");
    assert!(world.logged(
        Level::Warn,
        "`Secret/system-recaptcha` is not in the backup"
    ));
}

#[test]
fn nothing_found_is_no_backup() {
    let world = world();
    world.parameter("secrets", "a,b");
    check_refused(KubeObjects::backup(&world), "none of the 2 Secrets");
}

#[test]
fn nothing_asked_for_is_no_backup() {
    let world = world();
    world.parameter("secrets", "").parameter("configmaps", "");
    check_refused(KubeObjects::backup(&world), "nothing to keep");
}

#[test]
fn a_kind_that_is_not_asked_for_leaves_no_artifact() {
    let world = world();
    world.parameter("configmaps", "");
    KubeObjects::backup(&world).expect("the backup");
    assert_eq!(world.artifact("configmaps.json"), None);
    KubeObjects::restore(&world).expect("the restore");
    KubeObjects::verify(&world).expect("whole");
}

#[test]
fn equal_objects_are_equal() {
    let world = with_backup();
    KubeObjects::restore(&world).expect("the restore");
    assert!(world.logged(Level::Info, "`Secret/system-seed`: equal"));
    assert!(!world.logged(Level::Warn, "Secret/system-seed"));
}

#[test]
fn a_secret_with_other_content_is_never_silently_skipped() {
    let world = with_backup();
    let other = secret("system-seed", "b3RoZXI=");
    world.put_object("secrets", "system-seed", other.clone());
    let result = KubeObjects::restore(&world);
    check_refused(result.clone(), "`Secret/system-seed`");
    check_refused(result, "set parameter `when-present`");
    assert_eq!(world.cluster_object("secrets", "system-seed"), Some(other));
    // The others are restored and said all the same.
    assert!(world.logged(Level::Info, "`ConfigMap/system-environment`: equal"));
}

#[test]
fn replace_replaces_and_says_so() {
    let world = with_backup();
    world.parameter("when-present", "replace");
    world.put_object("secrets", "system-seed", secret("system-seed", "b3RoZXI="));
    KubeObjects::restore(&world).expect("the restore");
    assert!(world.logged(Level::Warn, "`Secret/system-seed`: replaced"));
    assert_eq!(
        world.cluster_object("secrets", "system-seed"),
        Some(secret("system-seed", "c2VlZA=="))
    );
}

#[test]
fn keep_keeps_and_says_so() {
    let world = with_backup();
    world.parameter("when-present", "keep");
    let other = secret("system-seed", "b3RoZXI=");
    world.put_object("secrets", "system-seed", other.clone());
    KubeObjects::restore(&world).expect("the restore");
    assert!(world.logged(Level::Warn, "`Secret/system-seed`: kept"));
    assert_eq!(world.cluster_object("secrets", "system-seed"), Some(other));
}

#[test]
fn a_cut_or_empty_artifact_does_not_verify() {
    let world = with_backup();
    let whole = world.artifact("secrets.json").expect("an artifact");
    let evidence = Evidence::new()
        .with("objects", 2)
        .with("bytes", whole.len());
    world.put_artifact("secrets.json", &whole[..whole.len() - 1], evidence);
    check_refused(KubeObjects::verify(&world), "its evidence says");
    world.put_artifact(
        "secrets.json",
        Vec::new(),
        Evidence::new().with("objects", 2),
    );
    check_refused(KubeObjects::verify(&world), "holds no objects");
    world.put_artifact("secrets.json", whole, Evidence::new().with("objects", 0));
    check_refused(KubeObjects::verify(&world), "holds no objects");
    let world = with_backup();
    world.cut_artifact("secrets.json", 10);
    check_refused(KubeObjects::verify(&world), "cut");
}

#[test]
fn a_snapshot_with_nothing_is_no_restore() {
    check_refused(
        KubeObjects::restore(&world()),
        "neither Secrets nor ConfigMaps",
    );
}

#[test]
fn a_failure_of_the_host_says_what_was_attempted() {
    let world = with_backup();
    world.fail_once(
        "load configmaps.json",
        Error::unavailable("api-unavailable", "no answer"),
    );
    check_refused(
        KubeObjects::restore(&world),
        "failed to restore the ConfigMaps: no answer",
    );
}
