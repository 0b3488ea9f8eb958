//! The module against a workload in memory.

use cofferdam_guest_sdk::testing::World;
use cofferdam_guest_sdk::{DataSet, Error, Evidence, Level};

use crate::Rollout;

fn world() -> World {
    let world = World::new(include_str!("../module.toml"));
    world.put_replicas("workload", 3);
    world
}

fn with_backup() -> World {
    let world = world();
    Rollout::backup(&world).expect("the backup");
    world
}

#[track_caller]
fn check_refused(result: Result<(), Error>, words: &str) {
    let error = result.expect_err("refused");
    assert!(error.to_string().contains(words), "{error}");
}

/// The calls that change or await something, in order.
fn changes(world: &World) -> Vec<String> {
    let verbs = ["set-replicas", "restart", "wait "];
    let mut calls = world.calls();
    calls.retain(|call| verbs.iter().any(|verb| call.starts_with(verb)));
    calls
}

#[test]
fn a_backup_notes_the_replicas_and_changes_nothing() {
    let world = with_backup();
    assert_eq!(
        world.artifact("workload.json").as_deref(),
        Some(&b"{\"kind\":\"Deployment\",\"name\":\"workload\",\"replicas\":3}\n"[..])
    );
    let evidence = world.evidence_of("workload.json").expect("evidence");
    assert_eq!(evidence.number("replicas"), Some(3));
    assert!(changes(&world).is_empty());
    Rollout::verify(&world).expect("whole");
}

#[test]
fn a_restore_restarts_and_waits() {
    let world = with_backup();
    Rollout::restore(&world).expect("the restore");
    assert_eq!(changes(&world), ["restart workload", "wait workload"]);
    assert!(world.logged(Level::Info, "`workload` is back with 3 replicas"));
    assert!(!world.logged(Level::Warn, ""));
}

#[test]
fn the_noted_number_is_put_back_before_the_restart() {
    let world = with_backup();
    world.put_replicas("workload", 0);
    Rollout::restore(&world).expect("the restore");
    assert_eq!(
        changes(&world),
        [
            "set-replicas workload 3",
            "restart workload",
            "wait workload"
        ]
    );
    assert_eq!(world.replicas_of("workload"), 3);
}

#[test]
fn a_restore_after_one_that_was_killed_ends_the_same() {
    let world = with_backup();
    world.put_replicas("workload", 1);
    let down = Error::unavailable("api-unavailable", "no answer");
    world.fail_once("restart", down);
    check_refused(Rollout::restore(&world), "failed to restart `workload`");
    Rollout::restore(&world).expect("the second restore");
    assert_eq!(world.replicas_of("workload"), 3);
}

#[test]
fn a_number_that_the_site_leaves_to_others_is_not_set() {
    let world = with_backup();
    world
        .parameter("replicas", "as-found")
        .put_replicas("workload", 2);
    Rollout::restore(&world).expect("the restore");
    assert_eq!(changes(&world), ["restart workload", "wait workload"]);
    assert_eq!(world.replicas_of("workload"), 2);
}

#[test]
fn a_running_workload_is_never_stopped_by_a_restore() {
    let world = world();
    world.put_replicas("workload", 0);
    Rollout::backup(&world).expect("the backup");
    assert!(world.logged(Level::Warn, "`workload` is scaled to 0"));
    world.put_replicas("workload", 2);
    Rollout::restore(&world).expect("the restore");
    assert_eq!(world.replicas_of("workload"), 2);
    assert!(world.logged(Level::Warn, "it is not stopped"));
}

#[test]
fn a_stopped_workload_is_not_restarted() {
    let world = with_backup();
    world
        .parameter("replicas", "as-found")
        .put_replicas("workload", 0);
    Rollout::restore(&world).expect("the restore");
    assert!(changes(&world).is_empty());
    assert!(world.logged(Level::Warn, "nothing to restart"));
}

#[test]
fn a_number_that_somebody_sets_meanwhile_is_not_taken_for_ours() {
    let world = with_backup();
    world.put_replicas("workload", 1);
    world.on_restart("workload", |world| {
        world.put_replicas("workload", 1);
    });
    check_refused(Rollout::restore(&world), "`as-found`");
}

#[test]
fn a_rollout_that_does_not_end_fails_with_what_was_awaited() {
    let world = with_backup();
    world.fail_once("wait", Error::TimedOut("waited 900 s".to_owned()));
    check_refused(
        Rollout::restore(&world),
        "`workload` did not come back: waited 900 s",
    );
}

#[test]
fn another_kind_than_the_noted_one_is_said() {
    let world = world();
    world.put_kind("workload", "DeploymentConfig");
    Rollout::backup(&world).expect("the backup");
    world.put_kind("workload", "Deployment");
    Rollout::restore(&world).expect("the restore");
    assert!(world.logged(Level::Warn, "made of DeploymentConfig `workload`"));
}

#[test]
fn a_note_that_is_not_what_its_evidence_says_is_refused() {
    let world = with_backup();
    let note = world.artifact("workload.json").expect("an artifact");
    let evidence = |replicas: &str| {
        Evidence::new()
            .with("kind", "Deployment")
            .with("name", "workload")
            .with("replicas", replicas)
    };
    for replicas in ["4", "-1", "99999999999"] {
        world.put_artifact("workload.json", note.clone(), evidence(replicas));
        check_refused(Rollout::verify(&world), "not what its evidence says");
        check_refused(Rollout::restore(&world), "not what its evidence says");
    }
    assert!(changes(&world).is_empty());
}
