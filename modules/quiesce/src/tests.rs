//! The module against a workload and a Redis in memory.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use cofferdam_guest_sdk::testing::{Answer, Call, World};
use cofferdam_guest_sdk::{DataSet, Error, Level};

use crate::Quiesce;

/// Jobs by key, and what happens to them at each look.
type Jobs = Rc<RefCell<BTreeMap<String, u64>>>;

fn world() -> World {
    let world = World::new(include_str!("../module.toml"));
    world.put_replicas("workload", 3);
    world
}

/// A workload whose queues are in a Redis with these keys; `works` is called at every look.
fn with_queues(keys: &[(&str, u64)], works: fn(&World, &mut BTreeMap<String, u64>)) -> World {
    let world = world();
    world.bind("queues");
    let jobs: Jobs = Rc::new(RefCell::new(
        keys.iter()
            .map(|(key, count)| ((*key).to_owned(), *count))
            .collect(),
    ));
    let of = Rc::clone(&jobs);
    world.on("queue-names", move |call, world| {
        works(world, &mut of.borrow_mut());
        let prefix = format!("{}queue:", prefix(call));
        let names = of.borrow();
        let names = names.keys().filter_map(|key| key.strip_prefix(&prefix));
        let names: Vec<&str> = names.collect();
        Answer::prints(format!("{}\n", names.join("\n")))
    });
    for command in ["queue-length", "later-length", "failed-length"] {
        let of = Rc::clone(&jobs);
        world.on(command, move |call, _| {
            let key = call.argv.last().expect("a key");
            Answer::prints(format!("{}\n", of.borrow().get(key).copied().unwrap_or(0)))
        });
    }
    world
}

fn prefix(call: &Call) -> String {
    let key = call.argv.last().expect("a key");
    key.strip_suffix("queues").expect("the set").to_owned()
}

fn nobody(_: &World, _: &mut BTreeMap<String, u64>) {}

fn one_job_a_look(_: &World, jobs: &mut BTreeMap<String, u64>) {
    for count in jobs.values_mut() {
        *count = count.saturating_sub(1);
    }
}

fn note(world: &World) -> String {
    String::from_utf8(world.artifact("quiesce.txt").expect("an artifact")).expect("text")
}

#[track_caller]
fn check_refused(result: Result<(), Error>, words: &str) {
    let error = result.expect_err("refused");
    assert!(error.to_string().contains(words), "{error}");
}

#[test]
fn a_workload_is_stopped_and_stays_so_when_the_module_has_ended() {
    let world = world();
    Quiesce::backup(&world).expect("stopped");
    assert_eq!(world.replicas_of("workload"), 0);
    assert_eq!(world.leases_held(), 1, "the host puts it back");
    assert_eq!(note(&world), "workload Deployment workload\nreplicas 3\n");
    let evidence = world.evidence_of("quiesce.txt").expect("evidence");
    assert_eq!(evidence.number("replicas"), Some(3));
    assert_eq!(evidence.get("drained"), Some("not looked at"));
    Quiesce::verify(&world).expect("whole");
}

#[test]
fn the_queues_are_waited_for_before_it_is_stopped() {
    let keys = [("queue:default", 3), ("queue:mailers", 1)];
    let world = with_queues(&keys, one_job_a_look);
    Quiesce::backup(&world).expect("stopped");
    let calls = world.calls();
    let place = |beginning: &str| {
        let found = calls.iter().position(|call| call.starts_with(beginning));
        found.unwrap_or_else(|| panic!("no {beginning} in {calls:?}"))
    };
    assert!(place("sleep") < place("scale workload 0"), "{calls:?}");
    let asked_after = calls.iter().skip(place("wait workload"));
    assert!(
        asked_after
            .into_iter()
            .any(|call| call == "run queues queue-names"),
        "the depth is looked at again: {calls:?}"
    );
    let sleeps: Vec<&String> = calls
        .iter()
        .filter(|call| call.starts_with("sleep"))
        .collect();
    assert_eq!(sleeps, ["sleep 250", "sleep 500"], "less and less often");
    assert!(!world.logged(Level::Warn, ""));
    assert_eq!(
        note(&world),
        "workload Deployment workload\nreplicas 3\ndrained yes\nqueue 0 default\nqueue 0 mailers\nlater 0 failed\nlater 0 retry\nlater 0 schedule\n"
    );
}

#[test]
fn jobs_that_do_not_drain_are_told_with_their_number_and_kept() {
    let keys = [("queue:default", 12), ("queue:odd one", 0), ("retry", 2)];
    let world = with_queues(&keys, nobody);
    world.parameter("drain-deadline", "20");
    let begun = world.milliseconds();
    Quiesce::backup(&world).expect("stopped all the same");
    assert_eq!(world.milliseconds() - begun, 20_000);
    assert!(world.logged(
        Level::Warn,
        "did not drain within 20 s: it has 12 jobs queued (`default` 12) and 2 for later (`retry` 2)"
    ));
    let note = note(&world);
    assert!(
        note.contains("drained no\nqueue 12 default\nqueue 0 odd one\n"),
        "{note}"
    );
    let evidence = world.evidence_of("quiesce.txt").expect("evidence");
    assert_eq!(evidence.number("jobs"), Some(12));
    assert_eq!(evidence.number("jobs-for-later"), Some(2));

    Quiesce::verify(&world).expect("whole");
    let held = world.leases_held();
    Quiesce::restore(&world).expect("said");
    assert!(world.logged(
        Level::Warn,
        "they are done again, also those that were done since"
    ));
    assert_eq!(world.leases_held(), held, "a restore changes nothing");
}

#[test]
fn where_draining_is_required_a_full_queue_stops_nothing() {
    let world = with_queues(&[("queue:default", 1)], nobody);
    world.parameter("drain", "required");
    check_refused(Quiesce::backup(&world), "it was not stopped");
    assert_eq!(world.replicas_of("workload"), 3);
    assert!(!world.was_asked("scale"));
    assert!(world.artifact("quiesce.txt").is_none());
}

/// A worker that is told to end in the middle of a job puts it back.
fn gives_back_when_it_ends(world: &World, jobs: &mut BTreeMap<String, u64>) {
    let stopped = world.replicas_of("workload") == 0;
    jobs.insert("queue:default".to_owned(), u64::from(stopped));
}

#[test]
fn what_a_worker_gives_back_when_it_ends_counts() {
    let world = with_queues(&[], gives_back_when_it_ends);
    Quiesce::backup(&world).expect("stopped");
    assert!(world.logged(Level::Warn, "is stopped and has 1 job queued"));
    assert!(note(&world).contains("drained no\nqueue 1 default\n"));

    let world = with_queues(&[], gives_back_when_it_ends);
    world.parameter("drain", "required");
    check_refused(Quiesce::backup(&world), "parameter `drain` is `required`");
    assert_eq!(world.replicas_of("workload"), 3, "nothing stays stopped");
    assert_eq!(world.leases_held(), 0);
}

#[test]
fn queues_of_resque_are_found_by_their_prefix() {
    let keys = [
        ("resque:queue:priority", 2),
        ("resque:failed", 5),
        ("queue:other", 9),
    ];
    let world = with_queues(&keys, nobody);
    world
        .parameter("prefix", "resque:")
        .parameter("drain-deadline", "1");
    Quiesce::backup(&world).expect("stopped");
    let note = note(&world);
    assert!(
        note.contains("queue 2 priority\nlater 5 failed\n"),
        "{note}"
    );
    assert!(!note.contains("other"), "{note}");
}

#[test]
fn nobody_is_waited_for_where_nobody_works() {
    let world = with_queues(&[("queue:default", 4)], nobody);
    world.put_replicas("workload", 0);
    Quiesce::backup(&world).expect("stopped");
    assert!(!world.was_asked("sleep"));
    assert!(note(&world).contains("replicas 0\ndrained no\nqueue 4 default\n"));
}

/// An operator that sets the number again.
fn somebody_scales_back(world: &World, _: &mut BTreeMap<String, u64>) {
    if world.replicas_of("workload") == 0 {
        world.put_replicas("workload", 3);
    }
}

#[test]
fn a_workload_that_somebody_scales_back_does_not_count_as_stopped() {
    let world = with_queues(&[], somebody_scales_back);
    check_refused(Quiesce::backup(&world), "somebody scaled it back");
    assert!(world.artifact("quiesce.txt").is_none());
}

#[test]
fn an_error_of_the_server_is_no_empty_queue() {
    for (command, said, words) in [
        (
            "failed-length",
            "NOAUTH Authentication required.\n",
            "bind the secret `password`",
        ),
        (
            "queue-names",
            "NOPERM this user has no permissions\n",
            "needs SMEMBERS",
        ),
        (
            "queue-names",
            "WRONGTYPE Operation against a key\n",
            "`database` and `prefix`",
        ),
        (
            "queue-length",
            "ERR unknown command\n",
            "`database` and `prefix`",
        ),
        ("later-length", "\n", "the server answered ``"),
    ] {
        let world = with_queues(&[("queue:default", 0)], nobody);
        world.answers(command, [Answer::prints(said)]);
        check_refused(Quiesce::backup(&world), words);
        assert!(!world.was_asked("scale"), "{command}");
    }
}

#[test]
fn a_server_that_is_away_for_a_moment_is_asked_again() {
    let world = with_queues(&[], nobody);
    world.fail_once(
        "pod queues",
        Error::unavailable("no-ready-pod", "no ready pod"),
    );
    Quiesce::backup(&world).expect("stopped");
    let world = with_queues(&[], nobody);
    world.fail_always(
        "pod queues",
        Error::unavailable("no-ready-pod", "no ready pod"),
    );
    check_refused(Quiesce::backup(&world), "no ready pod");
    assert!(!world.was_asked("scale"));
}

#[test]
fn a_note_that_is_not_what_its_evidence_says_is_refused() {
    let world = with_queues(&[("queue:default", 0)], nobody);
    Quiesce::backup(&world).expect("stopped");
    let evidence = world.evidence_of("quiesce.txt").expect("evidence");
    let text = note(&world);
    for other in [
        text.replace("replicas 3", "replicas 2"),
        text.replace("queue 0", "queue 1"),
        text.replace("drained yes", "drained no"),
        text.replace("queue 0", "sorted 0"),
        String::new(),
    ] {
        world.put_artifact("quiesce.txt", other, evidence.clone());
        check_refused(Quiesce::verify(&world), "not what its evidence says");
        check_refused(Quiesce::restore(&world), "not what its evidence says");
    }
    world.put_artifact("quiesce.txt", text.repeat(100_000), evidence);
    check_refused(Quiesce::verify(&world), "longer than any note");
}
