//! The module against a scripted `bundle`.

use cofferdam_guest_sdk::testing::{Answer, World};
use cofferdam_guest_sdk::{DataSet, Error, Evidence, Level};

use crate::Rake;

const NOT_YET: &str =
    "rake aborted!\nErrno::ECONNREFUSED: Connection refused - connect(2) for 10.0.0.7:3306\n";

fn world() -> World {
    let world = World::new(include_str!("../module.toml"));
    world
        .parameter("task", "zync:resync:domains")
        .answers("run", [Answer::prints("resynced 3 domains\n")])
        .answers("run-by-shell", [Answer::default()]);
    world
}

fn with_backup() -> World {
    let world = world();
    Rake::backup(&world).expect("the backup");
    world
}

#[track_caller]
fn check_refused(result: Result<(), Error>, words: &str) {
    let error = result.expect_err("refused");
    assert!(error.to_string().contains(words), "{error}");
}

/// How often a command was run.
fn runs(world: &World, command: &str) -> usize {
    let line = format!("run rails {command}");
    world.calls().iter().filter(|call| **call == line).count()
}

#[test]
fn a_backup_notes_the_task_and_runs_nothing() {
    let world = with_backup();
    let note = world.artifact("task.txt").expect("an artifact");
    assert_eq!(note, b"zync:resync:domains\n");
    let evidence = world.evidence_of("task.txt").expect("evidence");
    assert_eq!(evidence.get("task"), Some("zync:resync:domains"));
    assert_eq!(evidence.get("workload"), Some("Deployment rails"));
    assert!(!world.was_asked("run"), "{:?}", world.calls());
    Rake::verify(&world).expect("whole");
}

#[test]
fn the_command_is_the_one_that_the_manifest_shows() {
    let world = with_backup();
    world.on("run", |call, _| {
        let line = ["bundle", "exec", "rake", "zync:resync:domains"];
        assert_eq!(call.argv, line);
        Answer::default()
    });
    Rake::restore(&world).expect("the restore");
    assert_eq!(runs(&world, "run"), 1);
}

#[test]
fn a_task_that_fails_while_the_application_comes_up_is_tried_again() {
    let world = with_backup();
    let answers = [
        Answer::fails(1, NOT_YET),
        Answer::fails(1, NOT_YET),
        Answer::prints("resynced 3 domains\n"),
    ];
    world.answers("run", answers);
    Rake::restore(&world).expect("the restore");
    assert_eq!(runs(&world, "run"), 3);
    assert!(world.logged(Level::Warn, "attempt 2 of 10"));
    assert!(world.logged(Level::Warn, "Errno::ECONNREFUSED"));
    assert!(world.logged(Level::Info, "ended with 0 at attempt 3"));
    let pauses = world
        .calls()
        .iter()
        .filter(|call| *call == "sleep 15000")
        .count();
    assert_eq!(pauses, 2);
}

#[test]
fn a_task_that_never_succeeds_fails_with_its_last_words() {
    let world = with_backup();
    world
        .parameter("attempts", "3")
        .answers("run", [Answer::fails(1, NOT_YET)]);
    let result = Rake::restore(&world);
    check_refused(result.clone(), "failed 3 times");
    check_refused(result.clone(), "Errno::ECONNREFUSED");
    check_refused(result, "`--only`");
    assert_eq!(runs(&world, "run"), 3);
}

#[test]
fn a_pod_that_is_not_ready_yet_is_waited_for() {
    let world = with_backup();
    let none = || Error::unavailable("no-ready-pod", "no pod of `system-sidekiq` is ready");
    world.fail_once("pod rails", none());
    Rake::restore(&world).expect("the restore");
    let world = with_backup();
    world.fail_always("pod rails", none());
    check_refused(Rake::restore(&world), "a ready pod of `rails`");
    assert_eq!(runs(&world, "run"), 0);
}

#[test]
fn a_command_that_went_with_its_pod_is_run_again() {
    let world = with_backup();
    let gone = Error::failed("pod-gone", "pod `rails-1` is gone");
    world.answers("run", [Answer::error(gone), Answer::default()]);
    Rake::restore(&world).expect("the restore");
    assert_eq!(runs(&world, "run"), 2);
}

#[test]
fn a_command_that_may_be_running_is_not_started_beside_itself() {
    let world = with_backup();
    let cut = Error::failed("stream-cut", "the stream was cut");
    world.answers("run", [Answer::error(cut), Answer::default()]);
    check_refused(Rake::restore(&world), "it may be running in pod `rails-1`");
    assert_eq!(runs(&world, "run"), 1);
}

#[test]
fn a_shell_that_sets_the_path_is_asked_where_bundle_is_not_found() {
    let world = with_backup();
    world
        .answers("run", [Answer::missing_program()])
        .on("run-by-shell", |call, _| {
            assert_eq!(call.argv.first().map(String::as_str), Some("bash"));
            assert_eq!(call.argv.get(2).map(String::as_str), Some("exec \"$@\""));
            let last = call.argv.last().map(String::as_str);
            assert_eq!(last, Some("zync:resync:domains"));
            Answer::default()
        });
    Rake::restore(&world).expect("the restore");
    world.answers("run-by-shell", [Answer::missing_program()]);
    check_refused(Rake::restore(&world), "has no `bundle`");
}

#[test]
fn another_task_than_the_noted_one_is_said() {
    let world = with_backup();
    world.parameter("task", "searchd:optimal_index");
    world.on("run", |call, _| {
        let last = call.argv.last().map(String::as_str);
        assert_eq!(last, Some("searchd:optimal_index"));
        Answer::default()
    });
    Rake::restore(&world).expect("the restore");
    assert!(world.logged(Level::Warn, "the backup noted task `zync:resync:domains`"));
}

#[test]
fn a_note_that_is_not_what_its_evidence_says_does_not_verify() {
    let world = with_backup();
    let evidence = Evidence::new().with("task", "searchd:optimal_index");
    world.put_artifact("task.txt", "zync:resync:domains\n", evidence);
    check_refused(Rake::verify(&world), "its evidence names");
    check_refused(Rake::restore(&world), "its evidence names");
    assert_eq!(runs(&world, "run"), 0);
    world.put_artifact("task.txt", "", Evidence::new());
    check_refused(Rake::verify(&world), "its evidence names");
}
