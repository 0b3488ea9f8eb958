//! What counts as a backup of a cluster, and what does not.

use super::*;

#[test]
fn a_backup_of_a_cluster_keeps_the_dump_and_its_evidence() {
    let world = with_backup("cluster");
    assert_eq!(
        world.artifact("cluster.sql").as_deref(),
        Some(DUMP.as_bytes())
    );
    let evidence = world.evidence_of("cluster.sql").expect("evidence");
    let value = |key| evidence.get(key).unwrap_or("(none)");
    assert_eq!(value("scope"), "cluster");
    assert_eq!(value("server-version"), "15.18 (Debian)");
    assert_eq!(value("databases"), "3");
    assert_eq!(value("roles"), "2");
    assert_eq!(value("tables"), "2");
    assert_eq!(value("large-objects"), "1");
    assert_eq!(value("rows"), "15");
    assert_eq!(value("stood-still"), "yes");
    assert_eq!(value("exit-code"), "0");
    assert_eq!(value("bytes"), DUMP.len().to_string());
    assert_eq!(
        value("trailer"),
        "-- PostgreSQL database cluster dump complete"
    );
    let counts = value("counts-1");
    for entry in [
        "zync_production/tables=2",
        "zync_production/rows/public.accounts=12",
        "zync_production/rows/%22Big%20Shop%22.%22or%3Dders%20t%22=3",
        "zync_production/sequence/public.a_id_seq=1000,t",
        "postgres/tables=0",
    ] {
        assert!(
            counts.split(' ').any(|one| one == entry),
            "{entry}: {counts}"
        );
    }
    assert!(value("database-sizes").contains("zync_production=7970151"));
}

#[test]
fn the_dump_command_is_the_one_of_the_manual() {
    let world = world();
    world.on("dump-cluster", |call, _| {
        assert_eq!(call.argv.first().map(String::as_str), Some("pg_dumpall"));
        for word in [
            "--clean",
            "--if-exists",
            "--no-password",
            "--username=postgres",
        ] {
            assert!(call.argv.iter().any(|one| one == word), "{word}");
        }
        Answer::prints(DUMP)
    });
    Postgresql::backup(&world).expect("the backup");
}

#[test]
fn exit_code_1_after_a_full_dump_is_no_backup() {
    let world = world();
    let complaint = "pg_dumpall: error: pg_dump failed on database \"zync_production\", exiting";
    world.answers(
        "dump-cluster",
        [Answer::prints(DUMP).then_fails(1, complaint)],
    );
    check_refused(
        Postgresql::backup(&world),
        "command `dump-cluster` ended with 1: pg_dumpall: error",
    );
    assert_eq!(world.artifact("cluster.sql"), None);
}

#[test]
fn a_dump_without_its_trailer_is_no_backup() {
    let world = world();
    let cut = DUMP.replace("cluster dump complete", "dump complete");
    world.answers("dump-cluster", [Answer::prints(cut)]);
    check_refused(
        Postgresql::backup(&world),
        "does not end with `-- PostgreSQL database cluster dump complete`",
    );
    assert_eq!(world.artifact("cluster.sql"), None);
}

#[test]
fn a_stream_cut_at_99_per_cent_is_no_backup() {
    let world = world();
    world.answers(
        "dump-cluster",
        [Answer::prints(DUMP).cut_after(DUMP.len() - 2)],
    );
    check_refused(Postgresql::backup(&world), "the stream was cut");
    assert_eq!(world.artifact("cluster.sql"), None);
}

#[test]
fn a_missing_program_is_said_with_the_way_out() {
    let world = world();
    world.answers("client-version", [Answer::missing_program()]);
    check_refused(
        Postgresql::backup(&world),
        "bind role `server` to a container that has them",
    );
    assert!(!world.was_asked("start server dump-cluster"));
}

#[test]
fn a_server_that_takes_no_connection_is_said_in_its_own_words() {
    let world = world();
    let said = "psql: error: connection to server failed: FATAL:  password authentication failed";
    world.answers("describe", [Answer::fails(2, said)]);
    check_refused(Postgresql::backup(&world), "password authentication failed");
    assert!(!world.was_asked("start server dump-cluster"));
}

#[test]
fn tables_that_were_written_to_are_not_held_against_a_restore() {
    let world = world();
    let mut count = 11;
    world.on("count-rows", move |call, _| {
        let name = call.holes.get("name").cloned().unwrap_or_default();
        if !asked(&name, "zync_production") {
            return Answer::default();
        }
        count += 1;
        Answer::prints(rows(count))
    });
    Postgresql::backup(&world).expect("the backup");
    let evidence = world.evidence_of("cluster.sql").expect("evidence");
    assert_eq!(evidence.get("stood-still"), Some("no"));
    let counts = evidence.get("counts-1").unwrap_or_default();
    assert!(counts.contains("rows/public.accounts=12..13"), "{counts}");
    Postgresql::restore(&world).expect("the restore");
}

#[test]
fn rows_are_not_counted_where_the_site_does_not_want_it() {
    let world = with_backup("cluster");
    world.parameter("count-rows", "no");
    let before = world.calls().len();
    Postgresql::restore(&world).expect("the restore, of a backup with rows");
    Postgresql::backup(&with_rows_off()).expect("the backup");
    let asked: Vec<String> = world.calls().into_iter().skip(before).collect();
    assert!(
        !asked
            .iter()
            .any(|call| call.starts_with("run server count-rows"))
    );
}

fn with_rows_off() -> World {
    let world = world();
    world.parameter("count-rows", "no");
    world
}

#[test]
fn a_thousand_tables_fit_into_evidence_and_too_many_are_said() {
    let many = |tables: u64| -> String {
        (0..tables)
            .map(|number| {
                let name = hex::encode(&format!("public.a_table_with_a_long_name_{number}"));
                format!("rows|{name}|{number}\n")
            })
            .collect()
    };
    let counts = |world: &World, tables: u64| {
        let said = many(tables);
        world.on("count-rows", move |call, _| {
            let name = call.holes.get("name").cloned().unwrap_or_default();
            let here = asked(&name, "zync_production");
            Answer::prints(if here { said.clone() } else { String::new() })
        });
    };
    let world = world();
    counts(&world, 1000);
    Postgresql::backup(&world).expect("the backup");
    let evidence = world.evidence_of("cluster.sql").expect("evidence");
    assert!(evidence.iter().count() <= 64, "{}", evidence.iter().count());
    assert!(evidence.iter().all(|(_, value)| value.len() <= 4096));
    Postgresql::restore(&world).expect("the restore");
    counts(&world, 999);
    check_refused(
        Postgresql::restore(&world),
        "a_table_with_a_long_name_999` in database `zync_production` is missing",
    );

    let world = self::world();
    counts(&world, 20_000);
    Postgresql::backup(&world).expect("the backup");
    let evidence = world.evidence_of("cluster.sql").expect("evidence");
    assert!(evidence.get("counts").is_some());
    assert!(world.logged(Level::Warn, "more tables than evidence holds"));
    counting(&world, 1, 12);
    check_refused(Postgresql::restore(&world), "1 where the backup has 2");
}

#[test]
fn an_answer_that_is_no_count_is_no_evidence() {
    let world = world();
    world.answers("count-objects", [Answer::prints("tables|many\n")]);
    check_refused(
        Postgresql::backup(&world),
        "the server counted `tables|many`",
    );
}

#[test]
fn data_in_an_empty_dir_are_warned_of_in_both_ways() {
    let world = world();
    let mounts = "2 1 8:1 /var/lib/kubelet/pods/7a/volumes/kubernetes.io~empty-dir/data /var/lib/pgsql/data rw - xfs /dev/sda1 rw\n";
    world.answers("mounts", [Answer::prints(mounts)]);
    Postgresql::backup(&world).expect("the backup");
    assert!(world.logged(Level::Warn, "gone with the next rollout"));
    let evidence = world.evidence_of("cluster.sql").expect("evidence");
    assert_eq!(evidence.get("storage"), Some("emptyDir"));
    Postgresql::restore(&world).expect("the restore");
    assert!(world.logged(Level::Warn, "the next rollout of its workload wipes it"));
    let reason = world.guard_of("server").expect("a guard");
    assert!(reason.contains("lies in an emptyDir"), "{reason}");

    let denial = cofferdam_guest_sdk::error::Denial {
        capability: "guard-pods".to_owned(),
        rule: "default".to_owned(),
        subject: None,
        message: "policy does not allow `guard-pods`".to_owned(),
    };
    world.fail_once("guard server", Error::Denied(denial));
    Postgresql::restore(&world).expect("the data are back all the same");
    assert!(world.logged(Level::Warn, "is not held back: policy does not allow"));
    let held = Error::Conflict("a lease on deployment/server is held".to_owned());
    world.fail_once("guard server", held);
    check_refused(Postgresql::restore(&world), "cannot be kept: a lease");
}

#[test]
fn a_server_on_a_volume_may_be_rolled() {
    let world = with_backup("cluster");
    Postgresql::restore(&world).expect("the restore");
    assert_eq!(world.guard_of("server"), None);
}
