//! The way back of a cluster.

use super::*;

#[test]
fn a_restore_feeds_the_whole_artifact_and_counts_what_it_passed_over() {
    let world = with_backup("cluster");
    world.on("load-cluster", |call, _| {
        assert_eq!(call.stdin, DUMP.as_bytes());
        assert_eq!(call.argv.first().map(String::as_str), Some("sh"));
        assert!(call.argv.iter().any(|word| word == "psql"));
        Answer::default().then_fails(0, HARMLESS)
    });
    Postgresql::restore(&world).expect("the restore");
    assert!(world.logged(Level::Info, "2 errors on the list were passed over"));
    assert!(world.logged(Level::Info, "1 of `a role exists already`"));
    assert!(world.logged(Level::Warn, "are dropped and made anew"));
}

#[test]
fn an_error_that_is_not_on_the_list_fails_the_restore_with_its_text() {
    let world = with_backup("cluster");
    let said = format!(
        "{HARMLESS}psql:<stdin>:1447: ERROR:  22P02: invalid input syntax for type integer: \"x\"\nCONTEXT:  COPY t, line 1\nLOCATION:  pg_strtoint32, numutils.c:232\n"
    );
    world.answers("load-cluster", [Answer::fails(3, &said)]);
    let result = Postgresql::restore(&world);
    check_refused(result.clone(), "half restored");
    check_refused(result, "invalid input syntax for type integer: \"x\"");
    // What was passed over does not hide what was not.
    let world = with_backup("cluster");
    let said = "psql:<stdin>:17: ERROR:  55006: database \"shop\" is being accessed by other users\nLOCATION:  dropdb, dbcommands.c:1700\n";
    world.answers("load-cluster", [Answer::default().then_fails(0, said)]);
    check_refused(Postgresql::restore(&world), "being accessed by other users");
}

#[test]
fn a_damaged_artifact_touches_nothing() {
    let world = with_backup("cluster");
    let evidence = world.evidence_of("cluster.sql").expect("evidence");
    let damaged = DUMP.replace("b int", "b text");
    world.put_artifact("cluster.sql", damaged, evidence.clone());
    let before = world.calls().len();
    check_refused(Postgresql::restore(&world), "but its evidence says");
    world.put_artifact("cluster.sql", DUMP, evidence);
    world.cut_artifact("cluster.sql", DUMP.len() - 3);
    check_refused(Postgresql::restore(&world), "the stream was cut");
    let asked: Vec<String> = world.calls().into_iter().skip(before).collect();
    assert!(
        !asked.iter().any(|call| call.contains("server")),
        "{asked:?}"
    );
}

#[test]
fn a_client_that_would_stumble_over_the_dump_touches_nothing() {
    let world = with_backup("cluster");
    world.answers(
        "client-version",
        [Answer::prints("psql (PostgreSQL) 10.23\n")],
    );
    check_refused(Postgresql::restore(&world), "`\\restrict` lines");
    assert!(!world.was_asked("start server load-cluster"));
}

#[test]
fn writers_stand_still_for_the_load_and_come_back_whatever_happens() {
    let world = with_backup("cluster");
    world.bind("writer").bind("second-writer");
    world.on("load-cluster", |_, world| {
        assert_eq!(world.leases_held(), 2);
        Answer::default().then_fails(0, HARMLESS)
    });
    Postgresql::restore(&world).expect("the restore");
    assert_eq!(world.leases_held(), 0);
    let calls = world.calls();
    let at = |beginning: &str| {
        let place = calls.iter().position(|call| call.starts_with(beginning));
        place.unwrap_or_else(|| panic!("{beginning}: {calls:?}"))
    };
    assert!(at("scale writer 0") < at("wait writer"));
    assert!(at("wait second-writer") < at("start server load-cluster"));
    assert!(at("ended load-cluster") < at("release scale second-writer"));
    assert!(at("release scale second-writer") < at("release scale writer"));

    let world = with_backup("cluster");
    world.bind("writer");
    world.answers("load-cluster", [Answer::fails(3, "psql: error: gone")]);
    check_refused(Postgresql::restore(&world), "gone");
    assert_eq!(world.leases_held(), 0);
}

#[test]
fn a_restore_waits_for_clients_and_refuses_while_one_is_there() {
    let session = |database: &str| {
        let words = [database, "zync", "puma: 1"].map(hex::encode).join("|");
        Answer::prints(format!("{words}|10.0.0.7\n"))
    };
    let world = with_backup("cluster");
    world.answers(
        "sessions",
        [
            session("zync_production"),
            session("zync_production"),
            Answer::default(),
        ],
    );
    Postgresql::restore(&world).expect("the restore, once the client is gone");

    let world = with_backup("cluster");
    world.answers("sessions", [session("zync_production")]);
    let result = Postgresql::restore(&world);
    check_refused(result.clone(), "nothing was touched");
    check_refused(
        result,
        "`puma: 1` of user `zync` from 10.0.0.7 on database `zync_production`",
    );
    assert!(!world.was_asked("start server load-cluster"));

    world.parameter("other-sessions", "end");
    Postgresql::restore(&world).expect("the restore");
    assert!(world.was_asked("run server end-sessions maintenance=postgres name=all"));
    assert!(world.logged(Level::Warn, "ending the sessions"));
}

#[test]
fn a_server_that_a_killed_restore_left_without_postgres_is_mended() {
    let world = with_backup("cluster");
    let mut mended = false;
    world
        .on("make-maintenance-database", |call, _| {
            let word = "--command=CREATE DATABASE postgres TEMPLATE template0";
            assert!(call.argv.iter().any(|one| one == word), "{:?}", call.argv);
            Answer::default()
        })
        .on("describe", move |call, world| {
            mended |= world.was_asked("run server make-maintenance-database");
            let by = call.holes.get("maintenance").cloned().unwrap_or_default();
            match (by.as_str(), mended) {
                ("postgres", false) => {
                    Answer::fails(2, "FATAL:  database \"postgres\" does not exist")
                }
                (_, false) => Answer::prints(description(&["template1", "zync_production"])),
                (_, true) => Answer::prints(description(&DATABASES)),
            }
        });
    Postgresql::restore(&world).expect("the restore");
    assert!(
        world.was_asked(
            "run server make-maintenance-database maintenance=template1 missing=postgres"
        )
    );
    assert!(world.was_asked("start server load-cluster maintenance=postgres"));
}

#[test]
fn fewer_tables_other_rows_or_a_missing_database_are_not_a_restore() {
    let world = with_backup("cluster");
    counting(&world, 1, 12);
    check_refused(
        Postgresql::restore(&world),
        "tables in database `zync_production`: 1 where the backup has 2",
    );
    counting(&world, 2, 11);
    check_refused(
        Postgresql::restore(&world),
        "rows of `public.accounts` in database `zync_production`: 11 where the backup has 12",
    );
    counting(&world, 2, 13);
    check_refused(Postgresql::restore(&world), "13 where the backup has 12");
    counting(&world, 2, 12);
    world.answers(
        "describe",
        [Answer::prints(description(&["postgres", "template1"]))],
    );
    check_refused(
        Postgresql::restore(&world),
        "tables in database `zync_production` is missing",
    );
}

#[test]
fn a_sequence_that_stands_elsewhere_is_not_a_restore() {
    let world = with_backup("cluster");
    world.on("count-objects", |call, _| {
        let name = call.holes.get("name").cloned().unwrap_or_default();
        let said = if asked(&name, "zync_production") {
            objects(2).replace("|1000|t", "|1|f")
        } else {
            objects(0)
                .replace("|1\n", "|0\n")
                .replace("sequence|", "sequence|78")
        };
        Answer::prints(said)
    });
    check_refused(
        Postgresql::restore(&world),
        "sequence `public.a_id_seq` in database `zync_production`: 1,f where the backup has 1000,t",
    );
}

#[test]
fn what_the_backup_does_not_have_is_kept_and_named() {
    let world = with_backup("cluster");
    counting(&world, 5, 12);
    world.answers(
        "describe",
        [Answer::prints(description(&[
            "other",
            "postgres",
            "template1",
            "zync_production",
        ]))],
    );
    Postgresql::restore(&world).expect("the restore");
    assert!(world.logged(Level::Warn, "5 where the backup has 2"));
}

#[test]
fn a_client_whose_input_breaks_off_is_killed() {
    let world = with_backup("cluster");
    world.fail_once(
        "ended load-cluster",
        Error::failed("pod-gone", "the pod is gone"),
    );
    let result = Postgresql::restore(&world);
    check_refused(result.clone(), "half restored");
    check_refused(result, "the pod is gone");
}
