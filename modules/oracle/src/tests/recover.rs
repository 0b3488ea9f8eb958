//! Restores by RMAN: validated first, and at every failure the state is said.

use super::*;
use cofferdam_guest_sdk::Level;

const BEFORE_RESETLOGS: &str = include_str!("../../fixtures/rman-before-resetlogs.txt");
const DOWN: &str = include_str!("../../fixtures/sqlplus-down.txt");

const MEDIA: &str = "RMAN-03002: failure of restore command\nORA-19870: error while restoring backup piece /fra/x\n";

/// After `open resetlogs`: a third incarnation that comes from the second.
fn opened() -> Answer {
    Answer::prints(opened_text())
}

fn opened_text() -> String {
    DATABASE.replace("@SCN@", "2195020").replace(
        "|1920977|1|CURRENT",
        "|1920977|1|PARENT\ncofferdam|incarnation|3|2195011|1920977|CURRENT",
    )
}

/// A world with a backup, whose server answers a restore well from the open state.
fn with_backup() -> World {
    let world = rman_world();
    Oracle::backup(&world).expect("the backup");
    world.answers("describe", [database(2_300_000), opened()]);
    world
}

fn position(world: &World, call: &str) -> usize {
    let calls = world.calls();
    let found = calls.iter().rposition(|one| one.starts_with(call));
    found.unwrap_or_else(|| panic!("`{call}` was not asked: {calls:#?}"))
}

#[test]
fn a_restore_validates_before_it_stops_the_database_and_recovers_until_the_recorded_change() {
    let world = with_backup();
    world.on("recover-database", |call, _| {
        let script = String::from_utf8_lossy(&call.stdin).into_owned();
        assert_eq!(script, "recover database until scn 2195011;\n");
        says(RECOVER)
    });
    Oracle::restore(&world).expect("the restore");
    let order = [
        "run client crosscheck",
        "run client validate",
        "run client mount-from-open",
        "run client restore-database",
        "run client recover-database",
        "run client open-resetlogs",
        "run client open-pluggable",
    ];
    let places: Vec<usize> = order.iter().map(|call| position(&world, call)).collect();
    assert!(places.is_sorted(), "{places:?}");
    assert!(world.logged(Level::Warn, "everything after change 2195011 is given up"));
    assert!(world.logged(Level::Warn, "not tried on a live Oracle"));
    assert!(!world.was_asked("run client reset-incarnation"));
}

#[test]
fn a_piece_that_is_gone_stops_the_restore_before_anything_is_changed() {
    for said in [
        CROSSCHECK.replacen("'AVAILABLE'", "'EXPIRED'", 1),
        CROSSCHECK.replace("o1_mf_ncnnf_c", "another"),
    ] {
        let world = with_backup();
        world.answers("crosscheck", [says(&said)]);
        let error = Oracle::restore(&world).expect_err("refused");
        assert!(error.to_string().contains("1 of 3 pieces"), "{error}");
        assert!(
            error.to_string().contains("the database is as it was"),
            "{error}"
        );
        assert!(!world.was_asked("run client mount"));
    }
}

#[test]
fn another_database_is_not_overwritten() {
    let world = with_backup();
    let other = DATABASE.replace("@SCN@", "9").replace("1744319367", "42");
    world.answers("describe", [Answer::prints(other)]);
    check_refused(
        Oracle::restore(&world),
        "but `connect` leads to `ORCL` with DBID 42",
    );
    assert!(!world.was_asked("run client mount"));
    assert!(!world.was_asked("run client restore-database"));
}

#[test]
fn at_every_failure_the_state_of_the_database_is_said() {
    for (command, words) in [
        ("crosscheck", "the database is as it was"),
        ("mount-from-open", "no data file was touched"),
        ("restore-database", "must not be opened; restore again"),
        ("recover-database", "must not be opened; restore again"),
        ("open-resetlogs", "was not opened"),
        ("open-pluggable", "not all of its pluggable databases"),
    ] {
        let world = with_backup();
        world.answers(command, [says(MEDIA)]);
        let error = Oracle::restore(&world).expect_err(command);
        assert!(error.to_string().contains(words), "{command}: {error}");
        assert!(
            error.to_string().contains("ORA-19870"),
            "{command}: {error}"
        );
    }
    let world = with_backup();
    // The first validation was the backup's.
    world.answers("validate", [says(MEDIA)]);
    check_refused(Oracle::restore(&world), "the database is as it was");
    assert!(!world.was_asked("run client mount"));
}

#[test]
fn nothing_goes_on_after_a_step_that_failed() {
    let order = ["restore-database", "recover-database", "open-resetlogs"];
    for (number, failing) in order.iter().enumerate() {
        let world = with_backup();
        let words = transcript(MEDIA);
        world.answers(failing, [Answer::prints(words)]);
        Oracle::restore(&world).expect_err("failed");
        for later in &order[number + 1..] {
            assert!(!world.was_asked(&format!("run client {later}")), "{later}");
        }
    }
}

#[test]
fn a_restore_that_was_killed_is_begun_again_from_what_is_found() {
    // Killed among the data files: mounted, same incarnation.
    let world = with_backup();
    let mounted = "cofferdam|status|MOUNTED\ncofferdam|end\n";
    let open = "cofferdam|status|OPEN\ncofferdam|end\n";
    world.answers("state", [Answer::prints(mounted), Answer::prints(open)]);
    world.interrupt_step("restore-database");
    Oracle::restore(&world).expect("the restore");
    assert!(!world.was_asked("run client mount"));
    assert!(world.logged(Level::Info, "step `restore-database` was interrupted"));

    // Killed while it was stopped: down.
    let world = with_backup();
    let down = Answer::prints(DOWN).then_fails(1, "");
    world.answers("state", [down, Answer::prints(open)]);
    Oracle::restore(&world).expect("the restore");
    assert!(
        position(&world, "run client mount-from-down") < position(&world, "run client crosscheck")
    );

    // Killed while it was started.
    let world = with_backup();
    let started = "cofferdam|status|STARTED\ncofferdam|end\n";
    world.answers("state", [Answer::prints(started), Answer::prints(open)]);
    Oracle::restore(&world).expect("the restore");
    assert!(world.was_asked("run client mount-from-started"));
}

#[test]
fn a_database_that_was_opened_with_resetlogs_since_is_taken_back_first() {
    let world = with_backup();
    let again = opened_text().replace(
        "|3|2195011|1920977|CURRENT",
        "|3|2195011|1920977|ORPHAN\ncofferdam|incarnation|4|2195011|1920977|CURRENT",
    );
    world.answers("describe", [opened(), Answer::prints(again)]);
    Oracle::restore(&world).expect("the restore");
    let order = [
        "run client mount-from-open",
        "run client reset-incarnation incarnation=2",
        "run client validate",
        "run client restore-database",
    ];
    let places: Vec<usize> = order.iter().map(|call| position(&world, call)).collect();
    assert!(places.is_sorted(), "{places:?}");
}

#[test]
fn what_cannot_be_validated_after_going_back_is_put_back_as_it_was() {
    let world = with_backup();
    world
        .answers("describe", [opened()])
        .answers("validate", [says(BEFORE_RESETLOGS)]);
    let error = Oracle::restore(&world).expect_err("refused");
    assert!(
        error.to_string().contains("is open again as it was"),
        "{error}"
    );
    assert!(error.to_string().contains("RMAN-20208"), "{error}");
    assert!(world.was_asked("run client reset-incarnation incarnation=3"));
    assert!(world.was_asked("run client open-unchanged"));
    assert!(!world.was_asked("run client restore-database"));

    let world = with_backup();
    world
        .answers("describe", [opened()])
        .answers("validate", [says(BEFORE_RESETLOGS)])
        .answers(
            "open-unchanged",
            [says("ORA-01194: file 1 needs more recovery\n")],
        );
    let error = Oracle::restore(&world).expect_err("refused");
    assert!(
        error.to_string().contains("could not be put back"),
        "{error}"
    );
    assert!(error.to_string().contains("ORA-01194"), "{error}");
}

#[test]
fn a_control_file_that_does_not_know_the_incarnation_is_refused() {
    let world = with_backup();
    let newer = DATABASE.replace("@SCN@", "9").replace("1920977", "5000000");
    world.answers("describe", [Answer::prints(newer)]);
    check_refused(
        Oracle::restore(&world),
        "does not know the incarnation that began at change 1920977",
    );
    assert!(!world.was_asked("run client mount"));
}

#[test]
fn a_database_that_is_not_what_was_backed_up_is_not_a_restore() {
    for (from, to, words) in [
        (
            "data-files|4",
            "data-files|3",
            "3 data files where the backup has 4",
        ),
        ("READ WRITE", "READ ONLY", "it is open (READ ONLY)"),
        (
            "|2195011|1920977|CURRENT",
            "|2195011|1|CURRENT",
            "comes from the one that began at change 1,",
        ),
    ] {
        let world = with_backup();
        let wrong = opened_text().replace(from, to);
        world.answers("describe", [database(2_300_000), Answer::prints(wrong)]);
        check_refused(Oracle::restore(&world), words);
    }
}

#[test]
fn a_damaged_record_touches_no_pod() {
    let world = with_backup();
    let evidence = world.evidence_of("rman.log").expect("evidence");
    world.put_artifact("rman.log", "hello", evidence);
    let before = world.calls().len();
    check_refused(Oracle::restore(&world), "but its evidence says");
    assert!(
        !world.calls()[before..]
            .iter()
            .any(|call| call.starts_with("target"))
    );
}
