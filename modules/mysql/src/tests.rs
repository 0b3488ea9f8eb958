//! The module against scripted servers: what it keeps, what it refuses, what it says.

use cofferdam_guest_sdk::testing::{Answer, World};
use cofferdam_guest_sdk::{DataSet, Error, Evidence, Level};

use crate::Mysql;

mod parallel;

const DUMP: &str = "-- MySQL dump 10.13  Distrib 8.0.36, for Linux (x86_64)\nCREATE TABLE `accounts` (id int);\n-- Dump completed on 2026-11-22 10:00:00\n";
const CONTENTS: &str = "tables\t2\nviews\t1\nroutines\t0\ntriggers\t1\nevents\t0\n";
const ROWS: &str = "accounts\t12\nodd\tname\t3\n";
const SUMS: &str = "system.accounts\t3471928\nsystem.odd\tname\t77\n";
const MYSQL_CLIENT: &str = "mysql  Ver 8.0.36 for Linux on x86_64 (MySQL Community Server - GPL)\n";

fn world() -> World {
    let world = World::new(include_str!("../module.toml"));
    world
        .answers(
            "dump-version",
            [Answer::prints(
                "mysqldump  Ver 8.0.36 for Linux on x86_64\n",
            )],
        )
        .answers("client-version", [Answer::prints(MYSQL_CLIENT)])
        .answers("find-database", [Answer::prints("1\n")])
        .answers(
            "describe",
            [Answer::prints("8.0.36\tutf8mb4\tutf8mb4_0900_ai_ci\t0\n")],
        )
        .answers("count-contents", [Answer::prints(CONTENTS)])
        .answers("count-rows", [Answer::prints(ROWS)])
        .answers("checksum-tables", [Answer::prints(SUMS)])
        .answers("dump", [Answer::prints(DUMP)])
        .answers("create-database", [Answer::default()])
        .answers("find-awk", [Answer::missing_program()])
        .answers("load", [Answer::default()])
        .answers("load-parallel", [Answer::default()])
        .answers("load-without-sandbox-line", [Answer::default()]);
    world
}

fn with_backup(dump: &str) -> World {
    let world = world();
    world.answers("dump", [Answer::prints(dump)]);
    Mysql::backup(&world).expect("the backup");
    world
}

#[track_caller]
fn check_refused(result: Result<(), Error>, words: &str) {
    let error = result.expect_err("refused");
    assert!(error.to_string().contains(words), "{error}");
}

#[test]
fn a_backup_keeps_the_dump_and_its_evidence() {
    let world = with_backup(DUMP);
    assert_eq!(world.artifact("dump.sql").as_deref(), Some(DUMP.as_bytes()));
    let evidence = world.evidence_of("dump.sql").expect("evidence");
    let value = |key| evidence.get(key).unwrap_or("(none)");
    assert_eq!(value("server-version"), "8.0.36");
    assert_eq!(value("tables"), "2");
    assert_eq!(value("triggers"), "1");
    assert_eq!(value("rows"), "15");
    assert_eq!(value("rows-of-tables-1"), "accounts=12 odd%09name=3");
    assert_eq!(
        value("checksums-of-tables-1"),
        "accounts=3471928 odd%09name=77"
    );
    assert_eq!(value("exit-code"), "0");
    assert_eq!(value("bytes"), DUMP.len().to_string());
    assert_eq!(value("trailer"), "-- Dump completed on 2026-11-22 10:00:00");
}

#[test]
fn the_dump_command_is_the_one_that_the_manifest_shows() {
    let world = world();
    world.parameter("database", "shop").on("dump", |call, _| {
        assert_eq!(call.argv.first().map(String::as_str), Some("mysqldump"));
        assert_eq!(call.argv.last().map(String::as_str), Some("shop"));
        for word in [
            "--single-transaction",
            "--routines",
            "--triggers",
            "--events",
            "--user=root",
        ] {
            assert!(call.argv.iter().any(|one| one == word), "{word}");
        }
        Answer::prints(DUMP)
    });
    Mysql::backup(&world).expect("the backup");
    assert!(world.was_asked("start server dump"));
}

#[test]
fn exit_code_1_after_a_full_dump_is_no_backup() {
    let world = world();
    let complaint = "mysqldump: Error 2013: Lost connection to server during query";
    world.answers("dump", [Answer::prints(DUMP).then_fails(1, complaint)]);
    check_refused(
        Mysql::backup(&world),
        "command `dump` ended with 1: mysqldump: Error 2013",
    );
    assert_eq!(world.artifact("dump.sql"), None);
}

#[test]
fn a_dump_without_its_trailer_is_no_backup() {
    let world = world();
    let cut = DUMP.replace("-- Dump completed", "-- Dump comp");
    world.answers("dump", [Answer::prints(cut)]);
    check_refused(
        Mysql::backup(&world),
        "does not end with `-- Dump completed`",
    );
    assert_eq!(world.artifact("dump.sql"), None);
}

#[test]
fn a_stream_cut_at_99_per_cent_is_no_backup() {
    let world = world();
    world.answers("dump", [Answer::prints(DUMP).cut_after(DUMP.len() - 2)]);
    check_refused(Mysql::backup(&world), "the stream was cut");
    assert_eq!(world.artifact("dump.sql"), None);
}

#[test]
fn what_is_no_dump_is_no_backup() {
    let world = world();
    world.answers("dump", [Answer::prints("hello\n-- Dump completed\n")]);
    check_refused(Mysql::backup(&world), "it begins with `hello`");
    assert_eq!(world.artifact("dump.sql"), None);
}

#[test]
fn a_missing_dump_program_is_said_with_the_way_out() {
    let world = world();
    world
        .answers("dump-version", [Answer::missing_program()])
        .answers("dump-version-mariadb", [Answer::missing_program()]);
    check_refused(
        Mysql::backup(&world),
        "bind role `server` to a container that has them",
    );
    assert!(!world.was_asked("start server dump"));
}

#[test]
fn a_container_with_mariadb_names_only_is_served_by_them() {
    let world = world();
    for (command, answer) in [
        (
            "dump-version-mariadb",
            "mariadb-dump from 11.4.2-MariaDB, client 10.19 for Linux (x86_64)\n",
        ),
        (
            "client-version-mariadb",
            "mariadb from 11.4.2-MariaDB, client 15.2 for Linux (x86_64)\n",
        ),
        ("find-database-mariadb", "1\n"),
        (
            "describe-mariadb",
            "11.4.2-MariaDB\tutf8mb4\tutf8mb4_uca1400_ai_ci\t0\n",
        ),
        ("count-contents-mariadb", CONTENTS),
        ("count-rows-mariadb", ROWS),
        ("checksum-tables-mariadb", SUMS),
        ("dump-mariadb", DUMP),
        ("load-mariadb", ""),
    ] {
        world.answers(command, [Answer::prints(answer)]);
    }
    world
        .answers("dump-version", [Answer::missing_program()])
        .answers("client-version", [Answer::missing_program()]);
    Mysql::backup(&world).expect("the backup");
    Mysql::restore(&world).expect("the restore");
    assert!(world.was_asked("start server dump-mariadb"));
    assert!(world.was_asked("start server load-mariadb"));

    world
        .answers("find-awk", [Answer::default()])
        .on("load-parallel", |call, _| {
            assert_eq!(call.argv.get(9).map(String::as_str), Some("mariadb"));
            Answer::default()
        });
    Mysql::restore(&world).expect("the restore");
    assert!(world.was_asked("start server load-parallel"));
}

#[test]
fn each_command_for_mariadb_is_its_twin_with_the_other_program() {
    let manifest: toml::Table = include_str!("../module.toml")
        .parse()
        .expect("the manifest");
    let commands = manifest["commands"].as_table().expect("commands");
    let renamed = |command: &toml::Value| -> toml::Value {
        let mut twin = command.clone();
        for word in twin["argv"].as_array_mut().expect("argv") {
            let other = match word.as_str() {
                Some("mysqldump") => "mariadb-dump",
                Some("mysql") => "mariadb",
                _ => continue,
            };
            *word = other.into();
        }
        twin
    };
    let mut twins = 0;
    for (name, command) in commands {
        if let Some(twin) = commands.get(&format!("{name}-mariadb")) {
            assert_eq!(&renamed(command), twin, "{name}");
            twins += 1;
        } else {
            assert!(
                name.ends_with("-mariadb")
                    || ["find-awk", "load-parallel", "load-without-sandbox-line"]
                        .contains(&name.as_str()),
                "{name} has no twin"
            );
        }
    }
    assert_eq!(twins, 10);
}

#[test]
fn a_load_goes_over_several_connections_where_the_container_can_and_the_site_wants() {
    let world = with_backup(DUMP);
    Mysql::restore(&world).expect("the restore");
    assert!(!world.was_asked("start server load-parallel"));
    assert!(world.logged(Level::Info, "has no `awk`"));
    // An awk that does not read as this needs it.
    world.answers("find-awk", [Answer::fails(1, "")]);
    Mysql::restore(&world).expect("the restore");
    assert!(!world.was_asked("start server load-parallel"));

    world.answers("find-awk", [Answer::default()]);
    Mysql::restore(&world).expect("the restore");
    assert!(world.was_asked("start server load-parallel"));

    // LOAD DATA, where the server beside the client takes it.
    for (local, host, how) in [
        ("0", "localhost", "insert"),
        ("1", "localhost", "load-data"),
        ("1", "db.example.com", "insert"),
    ] {
        let world = with_backup(DUMP);
        world
            .parameter("host", host)
            .answers("find-awk", [Answer::default()])
            .answers(
                "describe",
                [Answer::prints(format!(
                    "10.11.19\tutf8mb4\tutf8mb4_unicode_ci\t{local}\n"
                ))],
            )
            .on("load-parallel", move |call, _| {
                assert_eq!(call.argv.get(7).map(String::as_str), Some(how));
                Answer::default()
            });
        Mysql::restore(&world).expect("the restore");
        assert!(world.was_asked("start server load-parallel"));
    }

    let world = with_backup(DUMP);
    world
        .parameter("jobs", "1")
        .answers("find-awk", [Answer::default()]);
    Mysql::restore(&world).expect("the restore");
    assert!(!world.was_asked("start server load-parallel"));
}

#[test]
fn a_load_beside_another_says_that_nothing_was_loaded() {
    let world = with_backup(DUMP);
    world.on("load", |call, _| {
        let lock = "GET_LOCK(CONCAT('cofferdam-', MD5('system')), 60)";
        assert!(call.argv.iter().any(|word| word.contains(lock)));
        Answer::fails(1, "ERROR 1242 (21000): Subquery returns more than 1 row")
    });
    let refused = Mysql::restore(&world).expect_err("refused");
    assert_eq!(refused.code(), Some("load-runs"));
    assert!(
        refused.to_string().contains("nothing was loaded"),
        "{refused}"
    );
    // The same number of a statement of the dump itself has a line, and has loaded what came before.
    world.answers(
        "load",
        [Answer::fails(
            1,
            "ERROR 1242 (21000) at line 7: Subquery returns more than 1 row",
        )],
    );
    check_refused(Mysql::restore(&world), "half restored");
}

#[test]
fn a_thousand_tables_fit_into_evidence() {
    let world = world();
    let rows: String = (0..1000)
        .map(|number| format!("a_table_with_a_long_name_{number}\t{number}\n"))
        .collect();
    let sums: String = (0..1000)
        .map(|number| format!("system.a_table_with_a_long_name_{number}\t4294967295\n"))
        .collect();
    world
        .answers("count-rows", [Answer::prints(rows)])
        .answers("checksum-tables", [Answer::prints(sums)]);
    Mysql::backup(&world).expect("the backup");
    let evidence = world.evidence_of("dump.sql").expect("evidence");
    assert!(evidence.get("checksums-of-tables-10").is_some());
    assert!(evidence.iter().count() <= 64, "{}", evidence.iter().count());
    assert!(evidence.iter().all(|(_, value)| value.len() <= 4096));
    Mysql::restore(&world).expect("the restore");
    world.answers(
        "count-rows",
        [Answer::prints("a_table_with_a_long_name_0\t0\n")],
    );
    check_refused(
        Mysql::restore(&world),
        "`a_table_with_a_long_name_999` is missing",
    );
}

#[test]
fn tables_that_were_written_to_are_not_held_against_a_restore() {
    let world = world();
    let later = Answer::prints("accounts\t13\nodd\tname\t3\n");
    world.answers("count-rows", [Answer::prints(ROWS), later]);
    Mysql::backup(&world).expect("the backup");
    let evidence = world.evidence_of("dump.sql").expect("evidence");
    assert_eq!(evidence.get("rows-stood-still"), Some("no"));
    assert_eq!(
        evidence.get("rows-of-tables-1"),
        Some("accounts=12..13 odd%09name=3")
    );
    world.answers(
        "count-rows",
        [Answer::prints("accounts\t14\nodd\tname\t3\n")],
    );
    Mysql::restore(&world).expect("the restore");
}

#[test]
fn another_checksum_is_not_a_restore_on_the_same_server_only() {
    let world = with_backup(DUMP);
    let other = SUMS.replace("77", "78");
    world.answers("checksum-tables", [Answer::prints(other)]);
    check_refused(
        Mysql::restore(&world),
        "`odd%09name` has checksum 78 where the backup has 77",
    );
    // Checksums of different versions say nothing.
    world.answers(
        "describe",
        [Answer::prints("8.4.2\tutf8mb4\tutf8mb4_0900_ai_ci\t0\n")],
    );
    Mysql::restore(&world).expect("the restore");
    assert!(world.logged(Level::Info, "checksums are not compared"));
}

#[test]
fn a_table_that_was_written_to_or_has_grown_is_not_held_to_a_checksum() {
    let world = world();
    let later = Answer::prints(SUMS.replace("3471928", "1"));
    world.answers("checksum-tables", [Answer::prints(SUMS), later]);
    Mysql::backup(&world).expect("the backup");
    let evidence = world.evidence_of("dump.sql").expect("evidence");
    assert_eq!(evidence.get("checksums-of-tables-1"), Some("odd%09name=77"));
    world.answers("checksum-tables", [Answer::prints("system.accounts\t5\n")]);
    Mysql::restore(&world).expect("the restore");
    assert!(world.logged(Level::Info, "0 tables compared by checksum"));
}

#[test]
fn checksums_are_left_out_where_the_site_does_not_want_them() {
    let world = world();
    world.parameter("checksums-up-to", "0");
    Mysql::backup(&world).expect("the backup");
    Mysql::restore(&world).expect("the restore");
    assert!(!world.was_asked("run server checksum-tables"));
    let evidence = world.evidence_of("dump.sql").expect("evidence");
    assert_eq!(evidence.get("checksums-of-tables-1"), None);
}

#[test]
fn rows_are_not_counted_where_the_site_does_not_want_it() {
    let world = world();
    world.parameter("count-rows", "no");
    Mysql::backup(&world).expect("the backup");
    Mysql::restore(&world).expect("the restore");
    assert!(!world.was_asked("run server count-rows"));
}

#[test]
fn a_restore_feeds_the_whole_artifact_and_says_what_it_replaces() {
    let world = with_backup(DUMP);
    world.on("load", |call, _| {
        assert_eq!(call.stdin, DUMP.as_bytes());
        assert_eq!(call.argv.last().map(String::as_str), Some("system"));
        Answer::default()
    });
    Mysql::restore(&world).expect("the restore");
    assert!(world.was_asked("ended load 0"));
    assert!(world.logged(Level::Warn, "has 2 tables and 1 views"));
    assert!(!world.was_asked("run server create-database"));
}

#[test]
fn a_missing_database_is_created_as_it_was() {
    let world = with_backup(DUMP);
    world.answers("find-database", [Answer::prints("0\n")]);
    world.on("create-database", |call, _| {
        let sql = "CREATE DATABASE `system` CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci";
        assert_eq!(call.argv.last().map(String::as_str), Some(sql));
        Answer::default()
    });
    Mysql::restore(&world).expect("the restore");
    assert!(world.was_asked("run server create-database"));
}

#[test]
fn a_load_that_fails_says_that_the_database_is_half_restored() {
    let world = with_backup(DUMP);
    world.closes_stdin_after("load", 20);
    world.answers(
        "load",
        [Answer::fails(
            1,
            "ERROR 1114 (HY000) at line 2: The table is full",
        )],
    );
    let result = Mysql::restore(&world);
    check_refused(result.clone(), "half restored");
    check_refused(result, "The table is full");
}

#[test]
fn a_client_whose_input_breaks_off_is_killed() {
    let world = with_backup(DUMP);
    world.cut_artifact("dump.sql", 60);
    // The head is read before anything is touched.
    check_refused(Mysql::restore(&world), "the stream was cut");
    assert!(!world.was_asked("start server load"));

    let long = DUMP.replace("CREATE", &format!("-- {}\nCREATE", "x".repeat(8000)));
    let world = with_backup(&long);
    world.cut_artifact("dump.sql", 6000);
    check_refused(Mysql::restore(&world), "half restored");
    assert!(world.was_asked("kill load"));
    assert!(!world.was_asked("ended load"));
}

#[test]
fn fewer_tables_or_other_rows_are_not_a_restore() {
    let world = with_backup(DUMP);
    world.answers(
        "count-contents",
        [
            Answer::prints(CONTENTS),
            Answer::prints(CONTENTS.replace("tables\t2", "tables\t1")),
        ],
    );
    check_refused(Mysql::restore(&world), "1 tables where the backup has 2");

    let world = with_backup(DUMP);
    world.answers(
        "count-rows",
        [Answer::prints("accounts\t11\nodd\tname\t3\n")],
    );
    check_refused(
        Mysql::restore(&world),
        "`accounts` has 11 rows where the backup has 12",
    );
}

#[test]
fn tables_that_the_backup_does_not_have_are_named_and_left() {
    let world = with_backup(DUMP);
    world.answers(
        "count-contents",
        [Answer::prints(CONTENTS.replace("tables\t2", "tables\t5"))],
    );
    Mysql::restore(&world).expect("the restore");
    assert!(world.logged(Level::Warn, "keeps what was there before"));
}

#[test]
fn an_artifact_that_is_not_its_evidence_is_not_a_restore() {
    let world = with_backup(DUMP);
    let evidence = world.evidence_of("dump.sql").expect("evidence");
    world.put_artifact("dump.sql", DUMP.replace("id int", "id bigint"), evidence);
    check_refused(Mysql::restore(&world), "but its evidence says");
}

#[test]
fn the_sandbox_line_is_left_out_for_clients_that_do_not_know_it() {
    let dump = format!(
        "/*M!999999\\- enable the sandbox mode */ \n{}",
        DUMP.replace("MySQL dump", "MariaDB dump")
    );
    let world = with_backup(&dump);
    Mysql::restore(&world).expect("the restore");
    assert!(world.was_asked("start server load-without-sandbox-line"));

    let world = with_backup(&dump);
    world.answers(
        "client-version",
        [Answer::prints(
            "mysql  Ver 15.1 Distrib 10.11.19-MariaDB, for x",
        )],
    );
    Mysql::restore(&world).expect("the restore");
    assert!(!world.was_asked("start server load-without-sandbox-line"));
}

#[test]
fn verify_holds_an_artifact_to_digest_beginning_and_trailer() {
    let world = with_backup(DUMP);
    Mysql::verify(&world).expect("whole");
    assert!(
        !world
            .calls()
            .iter()
            .skip_while(|call| *call != "commit dump.sql")
            .any(|call| call.starts_with("pod"))
    );

    let evidence = world.evidence_of("dump.sql").expect("evidence");
    world.put_artifact("dump.sql", &DUMP.as_bytes()[..90], evidence);
    check_refused(Mysql::verify(&world), "but its evidence says");
    world.put_artifact("dump.sql", &DUMP.as_bytes()[..90], Evidence::new());
    check_refused(Mysql::verify(&world), "does not end with");
}

#[test]
fn a_denial_reaches_the_run_as_policy_worded_it() {
    let world = world();
    let denial = cofferdam_guest_sdk::error::Denial {
        capability: "run-command".to_owned(),
        rule: "default".to_owned(),
        subject: Some("dump".to_owned()),
        message: "policy does not allow `run-command dump`".to_owned(),
    };
    world.fail_once("start server dump", Error::Denied(denial.clone()));
    assert_eq!(Mysql::backup(&world), Err(Error::Denied(denial)));
    assert_eq!(world.artifact("dump.sql"), None);
}
