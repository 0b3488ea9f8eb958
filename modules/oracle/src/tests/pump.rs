//! Data Pump: a schema out and back.

use super::*;
use cofferdam_guest_sdk::Level;

const EXPORT: &str = include_str!("../../fixtures/expdp.txt");
const NO_DIRECTORY: &str = include_str!("../../fixtures/expdp-no-directory.txt");
const IMPORT: &str = include_str!("../../fixtures/impdp.txt");
const DUMP_FILE: &str = "/opt/oracle/dump/cofferdam.dmp";
const DUMP: &[u8] = b"the server's own format";

const SCHEMA: &str = "cofferdam|version|19.0.0.0.0
cofferdam|db-name|ORCLPDB1
cofferdam|dbid|1744319367
cofferdam|scn|2194860
cofferdam|schemas|1
cofferdam|tables|3
cofferdam|directory|/srv/dump
cofferdam|end
";

fn log(text: &str) -> String {
    text.replace("@JOB@", TAG)
}

/// A server whose export leaves its file in the folder that the pod sees.
fn pump_world() -> World {
    let world = World::new(MANIFEST);
    world
        .parameter("connect", "//oracle:1521/ORCLPDB1")
        .answers("client-version", [client()])
        .answers("describe-schema", [Answer::prints(SCHEMA)])
        .on("export", |_, world| {
            world.put_file(DUMP_FILE, DUMP);
            Answer::prints(log(EXPORT))
        })
        .answers("import", [Answer::prints(log(IMPORT)).then_fails(5, "")]);
    world
}

fn with_backup() -> World {
    let world = pump_world();
    Oracle::backup(&world).expect("the backup");
    world
}

#[test]
fn a_backup_brings_the_dump_home_with_change_tables_and_rows() {
    let world = pump_world();
    world.on("export", |call, world| {
        let parameters = String::from_utf8_lossy(&call.stdin).into_owned();
        for line in [
            "schemas=SYSTEM_3SCALE",
            "flashback_scn=2194860",
            "dumpfile=cofferdam.dmp",
            "reuse_dumpfiles=yes",
        ] {
            assert!(
                parameters.lines().any(|one| one == line),
                "{line}: {parameters}"
            );
        }
        world.put_file(DUMP_FILE, DUMP);
        Answer::prints(log(EXPORT))
    });
    Oracle::backup(&world).expect("the backup");
    assert_eq!(world.artifact("schema.dmp").as_deref(), Some(DUMP));
    let evidence = world.evidence_of("data-pump.log").expect("evidence");
    let value = |key| evidence.get(key).unwrap_or("(none)").to_owned();
    assert_eq!(value("tried-on"), "not tried on a live Oracle");
    assert_eq!(value("scn"), "2194860");
    assert_eq!(value("tables"), "3");
    assert_eq!(value("rows"), "26653");
    assert_eq!(value("dump-file-1"), "/srv/dump/cofferdam.dmp");
    assert_eq!(value("kept-where"), "artifact `schema.dmp`, 23 bytes");
    let dump = world.evidence_of("schema.dmp").expect("evidence");
    assert_eq!(dump.get("tried-on"), Some("not tried on a live Oracle"));
    Oracle::verify(&world).expect("whole");
}

#[test]
fn what_fails_leaves_no_artifact() {
    let good = log(EXPORT);
    let end = "successfully completed at";
    let cut = good
        .split(". . exported \"SYSTEM_3SCALE\".\"PLANS\"")
        .next()
        .expect("a part")
        .to_owned();
    for (answer, words) in [
        (Answer::prints(NO_DIRECTORY).then_fails(1, ""), "ORA-39002: invalid operation"),
        (Answer::prints(NO_DIRECTORY).then_fails(1, ""), "Look at the directory object"),
        (Answer::prints(NO_DIRECTORY), "ORA-39087"),
        (Answer::prints(cut.clone()), "no `successfully completed`"),
        (Answer::prints(cut), "the job may go on in the server"),
        (Answer::prints(good.clone()).then_fails(5, ""), "ended with 5"),
        (Answer::prints(good.replace(end, "completed with 2 error(s) at")), "completed with errors"),
        (Answer::prints(good.replace(end, "stopped due to fatal error at")), "stopped before it was done"),
        (Answer::prints(good.replace("Master table", "ORA-31693: Table data object failed to load/unload\nORA-01555: snapshot too old\nMaster table")), "ORA-01555"),
        (Answer::prints(good.replace("  /srv/dump/cofferdam.dmp\n", "")), "names no dump file"),
        (Answer::prints(good.replace("  /srv/dump/cofferdam.dmp\n", "  /srv/dump/other.dmp\n")), "`cofferdam.dmp` alone was expected"),
        (Answer::missing_program(), "has no `expdp` on its PATH"),
    ] {
        let world = pump_world();
        world.on("export", move |_, world| {
            world.put_file(DUMP_FILE, DUMP);
            answer.clone()
        });
        let error = Oracle::backup(&world).expect_err(words);
        assert!(error.to_string().contains(words), "{words}: {error}");
        assert_eq!(world.artifact("data-pump.log"), None);
        assert_eq!(world.artifact("schema.dmp"), None);
    }
}

#[test]
fn a_pod_that_does_not_see_the_servers_folder_gives_no_backup() {
    let world = pump_world();
    world.answers("export", [Answer::prints(log(EXPORT))]);
    check_refused(
        Oracle::backup(&world),
        "there is no `/opt/oracle/dump/cofferdam.dmp` in the pod",
    );
    // An old file of that name is not taken for the new one.
    world.put_file(DUMP_FILE, "old");
    check_refused(Oracle::backup(&world), "is as it was before the export");
    assert_eq!(world.artifact("schema.dmp"), None);
}

#[test]
fn a_job_of_an_earlier_run_that_goes_on_in_the_server_is_not_joined_by_another() {
    let running = SCHEMA.replace(
        "cofferdam|end",
        "cofferdam|job|BACKUP_USER.COFFERDAM_20231114T000000 EXECUTING\ncofferdam|end",
    );
    let world = with_backup();
    world.answers("describe-schema", [Answer::prints(running)]);
    check_refused(Oracle::backup(&world), "goes on in the server");
    check_refused(Oracle::restore(&world), "`kill_job`");
    assert!(!world.was_asked("run client import"));
}

#[test]
fn a_missing_schema_or_directory_is_said_before_a_job_is_started() {
    for (gone, with, words) in [
        (
            "cofferdam|directory|/srv/dump\n",
            "",
            "no directory object `DATA_PUMP_DIR`",
        ),
        ("schemas|1", "schemas|0", "has no schema `SYSTEM_3SCALE`"),
        ("cofferdam|end\n", "", "its answer has no end"),
    ] {
        let world = pump_world();
        world.answers(
            "describe-schema",
            [Answer::prints(SCHEMA.replace(gone, with))],
        );
        check_refused(Oracle::backup(&world), words);
        assert!(!world.was_asked("run client export"));
    }
}

#[test]
fn a_dump_that_stays_in_place_is_recorded_under_a_name_of_its_own() {
    let world = pump_world();
    world.parameter("copy", "no").parameter("parallelism", "4");
    world.on("export-in-place", |call, _| {
        let parameters = String::from_utf8_lossy(&call.stdin).into_owned();
        assert!(
            parameters.contains(&format!("dumpfile={TAG}_%U.dmp\n")),
            "{parameters}"
        );
        assert!(parameters.contains("reuse_dumpfiles=no\n") && parameters.contains("parallel=4\n"));
        Answer::prints(log(EXPORT).replace("cofferdam.dmp", "X_01.dmp\n  /srv/dump/X_02.dmp"))
    });
    Oracle::backup(&world).expect("the backup");
    assert_eq!(world.artifact("schema.dmp"), None);
    let evidence = world.evidence_of("data-pump.log").expect("evidence");
    assert_eq!(evidence.get("dump-file-2"), Some("/srv/dump/X_02.dmp"));
    assert!(
        evidence
            .get("kept-where")
            .is_some_and(|where_| where_.contains("not the dump"))
    );
    Oracle::verify(&world).expect("the record");
    assert!(world.logged(Level::Warn, "only its record was verified"));

    world.on("import-in-place", |call, _| {
        let parameters = String::from_utf8_lossy(&call.stdin).into_owned();
        assert!(
            parameters.contains(&format!("dumpfile={TAG}_%U.dmp\n")),
            "{parameters}"
        );
        Answer::prints(log(IMPORT)).then_fails(5, "")
    });
    Oracle::restore(&world).expect("the restore");
    assert!(!world.was_asked("write dump"));
}

#[test]
fn a_restore_puts_the_dump_back_and_counts_the_rows() {
    let world = with_backup();
    world.remove_file(DUMP_FILE);
    Oracle::restore(&world).expect("the restore");
    assert_eq!(world.file(DUMP_FILE).as_deref(), Some(DUMP));
    assert!(world.logged(Level::Warn, "has 3 tables"));
    assert!(world.logged(Level::Warn, "ORA-31684=1"));
    assert!(world.logged(Level::Info, "26653 rows"));
}

#[test]
fn a_restore_that_is_not_what_was_exported_is_none() {
    let good = log(IMPORT);
    for (answer, words) in [
        (
            good.replace("2293 rows", "2292 rows"),
            "has 2292 rows where the backup has 2293",
        ),
        (
            good.replace("\"PLANS\"", "\"PLANS2\""),
            "\"PLANS\" was not imported",
        ),
        (good.replace("ORA-31684", "ORA-39083"), "half restored"),
        (good.replace("ORA-31684", "ORA-39083"), "ORA-39083"),
        (good.replace("Job \"", "Jo"), "half restored"),
    ] {
        let world = with_backup();
        world.answers("import", [Answer::prints(answer).then_fails(5, "")]);
        check_refused(Oracle::restore(&world), words);
    }
}

#[test]
fn another_schema_is_not_written_to() {
    let world = with_backup();
    world.parameter("schema", "SCOTT");
    check_refused(
        Oracle::restore(&world),
        "the snapshot is of schema `SYSTEM_3SCALE`",
    );
    assert!(!world.was_asked("run client import"));
}

#[test]
fn a_dump_that_is_not_its_evidence_is_found_before_the_schema_is_touched() {
    let world = with_backup();
    let evidence = world.evidence_of("schema.dmp").expect("evidence");
    world.put_artifact("schema.dmp", "flipped", evidence);
    check_refused(Oracle::verify(&world), "but its evidence says");
    check_refused(Oracle::restore(&world), "but its evidence says");
    assert!(!world.was_asked("run client import"));
}

#[test]
fn a_restore_that_was_killed_does_everything_again() {
    let world = with_backup();
    world.interrupt_step("import");
    Oracle::restore(&world).expect("the restore");
    assert!(world.logged(Level::Info, "step `import` was interrupted"));
}
