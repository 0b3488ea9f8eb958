//! One database in the custom format.

use super::*;

#[test]
fn a_backup_of_a_database_is_an_archive() {
    let world = with_backup("database");
    assert_eq!(world.artifact("database.dump").as_deref(), Some(ARCHIVE));
    assert_eq!(world.artifact("cluster.sql"), None);
    let evidence = world.evidence_of("database.dump").expect("evidence");
    let value = |key| evidence.get(key).unwrap_or("(none)");
    assert_eq!(value("database"), "zync_production");
    assert_eq!(value("databases"), "1");
    assert_eq!(value("archive-version"), "1.14");
    let counts = value("counts-1");
    assert!(!counts.contains("postgres/"), "{counts}");
}

#[test]
fn what_is_no_archive_is_no_backup() {
    let world = world();
    world.parameter("scope", "database");
    world.answers("dump-database", [Answer::prints("--\n-- PostgreSQL\n")]);
    check_refused(Postgresql::backup(&world), "does not begin with `PGDMP`");
    world.answers("dump-database", [Answer::fails(1, "pg_dump: error: no")]);
    check_refused(Postgresql::backup(&world), "ended with 1");
    assert_eq!(world.artifact("database.dump"), None);
}

#[test]
fn a_database_that_is_not_there_is_no_backup() {
    let world = world();
    world
        .parameter("scope", "database")
        .parameter("database", "shop");
    check_refused(
        Postgresql::backup(&world),
        "the server has no database `shop`",
    );
}

#[test]
fn a_database_that_is_there_is_loaded_in_one_transaction() {
    let world = with_backup("database");
    world.on("load-database", |call, _| {
        assert_eq!(call.stdin, ARCHIVE);
        for word in ["--single-transaction", "--clean", "--if-exists"] {
            assert!(call.argv.iter().any(|one| one == word), "{word}");
        }
        Answer::default()
    });
    Postgresql::restore(&world).expect("the restore");
    assert!(world.was_asked("ended load-database 0"));

    let complaint =
        "pg_restore: error: could not execute query: ERROR:  role \"zync\" does not exist";
    world.answers("load-database", [Answer::fails(1, complaint)]);
    let result = Postgresql::restore(&world);
    check_refused(result.clone(), "is as it was: the load is one transaction");
    check_refused(result, "role \"zync\" does not exist");
}

#[test]
fn a_database_that_is_missing_is_made_under_its_own_name_only() {
    let world = with_backup("database");
    let mut loaded = false;
    world.on("describe", move |_, world| {
        loaded |= world.was_asked("ended load-new-database 0");
        let there = if loaded {
            &DATABASES[..]
        } else {
            &DATABASES[..2]
        };
        Answer::prints(description(there))
    });
    Postgresql::restore(&world).expect("the restore");
    assert!(world.was_asked("start server load-new-database maintenance=postgres"));

    let world = with_backup("database");
    world.parameter("database", "elsewhere");
    check_refused(
        Postgresql::restore(&world),
        "make an empty database of that name",
    );
    assert!(!world.was_asked("start server load"));
}

#[test]
fn a_database_loaded_under_another_name_is_held_to_the_same_evidence() {
    let world = with_backup("database");
    let there = description(&["elsewhere", "postgres", "template1"]);
    world
        .parameter("database", "elsewhere")
        .answers("describe", [Answer::prints(there)])
        .answers("count-objects", [Answer::prints(objects(2))])
        .answers("count-rows", [Answer::prints(rows(12))]);
    Postgresql::restore(&world).expect("the restore");
    world.answers("count-rows", [Answer::prints(rows(11))]);
    check_refused(Postgresql::restore(&world), "11 where the backup has 12");
}

#[test]
fn several_jobs_load_from_a_file_that_is_removed_afterwards() {
    let world = with_backup("database");
    world.parameter("jobs", "4");
    let file = "/tmp/cofferdam-restore.dump";
    world.on("load-parallel", move |call, world| {
        assert_eq!(world.file(file).as_deref(), Some(ARCHIVE));
        assert!(call.argv.iter().any(|word| word == "--jobs=4"));
        Answer::default()
    });
    Postgresql::restore(&world).expect("the restore");
    assert_eq!(world.file(file), None);
    assert!(!world.was_asked("start server load-database"));

    world.answers(
        "list-archive",
        [Answer::fails(
            1,
            "unsupported version (1.16) in file header",
        )],
    );
    let before = world.calls().len();
    let result = Postgresql::restore(&world);
    check_refused(result.clone(), "was not touched");
    check_refused(result, "unsupported version");
    assert_eq!(world.file(file), None);
    let asked: Vec<String> = world.calls().into_iter().skip(before).collect();
    assert!(
        !asked
            .iter()
            .any(|call| call.starts_with("run server load-parallel"))
    );

    world.answers("list-archive", [Answer::prints("; Archive\n")]);
    world.answers(
        "load-parallel",
        [Answer::fails(1, "pg_restore: error: no space left")],
    );
    let result = Postgresql::restore(&world);
    check_refused(result.clone(), "half restored");
    check_refused(result, "no space left");
    assert_eq!(world.file(file), None);
}

#[test]
fn only_clients_of_that_database_are_waited_for() {
    let world = with_backup("database");
    let words = ["postgres", "admin", "psql"].map(hex::encode).join("|");
    world.answers(
        "sessions",
        [Answer::prints(format!("{words}|its own host\n"))],
    );
    Postgresql::restore(&world).expect("the restore");

    let words = ["zync_production", "zync", "puma"]
        .map(hex::encode)
        .join("|");
    world
        .parameter("other-sessions", "end")
        .answers("sessions", [Answer::prints(format!("{words}|10.0.0.7\n"))]);
    Postgresql::restore(&world).expect("the restore");
    let name = hex::hole(&hex::encode("zync_production"));
    assert!(world.was_asked(&format!(
        "run server end-sessions maintenance=postgres name={name}"
    )));
}
