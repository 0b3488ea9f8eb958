//! Backups by RMAN, and the proof of their record.

use super::*;
use cofferdam_guest_sdk::{Evidence, Level};

const DISK_FULL: &str = include_str!("../../fixtures/rman-disk-full.txt");
const COMPLETE_AFTER_ERROR: &str = include_str!("../../fixtures/rman-complete-after-error.txt");
const DOWN: &str = include_str!("../../fixtures/sqlplus-down.txt");

#[test]
fn a_backup_keeps_the_record_with_change_tag_pieces_and_incarnation() {
    let world = rman_world();
    Oracle::backup(&world).expect("the backup");
    let evidence = world.evidence_of("rman.log").expect("evidence");
    let value = |key| evidence.get(key).unwrap_or("(none)").to_owned();
    for (key, expected) in [
        ("tried-on", "not tried on a live Oracle"),
        ("method", "rman"),
        ("dbid", "1744319367"),
        ("db-name", "ORCL"),
        ("incarnation", "2"),
        ("resetlogs-scn", "1920977"),
        ("from-scn", "2194860"),
        ("scn", "2195011"),
        ("tag", TAG),
        ("pieces", "3"),
        ("pieces-bytes", "1268388352"),
        ("piece-1", "/fra/ORCL/backupset/o1_mf_nnndf_a.bkp"),
        ("validated", "yes"),
        ("exit-code", "0"),
    ] {
        assert_eq!(value(key), expected, "{key}");
    }
    assert!(value("kept-where").contains("not the pieces"));
    let list = world.artifact("pieces.txt").expect("the list");
    assert_eq!(String::from_utf8_lossy(&list).lines().count(), 3);
    assert!(world.was_asked(&format!(
        "run client backup-logs run-tag={TAG} from-scn=2194860"
    )));
    Oracle::verify(&world).expect("the record is whole");
}

#[test]
fn verify_touches_no_pod() {
    let world = rman_world();
    Oracle::backup(&world).expect("the backup");
    let before = world.calls().len();
    Oracle::verify(&world).expect("whole");
    assert!(
        !world.calls()[before..]
            .iter()
            .any(|call| call.starts_with("target"))
    );
}

#[test]
fn what_fails_leaves_no_artifact_and_says_what_may_lie_on_the_server() {
    let good = transcript(BACKUP);
    let cut = good.split_at(good.len() / 2).0.to_owned();
    for (answer, words) in [
        (
            says(DISK_FULL).then_fails(1, ""),
            "ORA-19502: write error on file",
        ),
        (
            says(DISK_FULL).then_fails(1, ""),
            "RMAN-03009: failure of backup command on c4 channel",
        ),
        (
            says(DISK_FULL).then_fails(1, ""),
            "it is full or cannot be written to",
        ),
        // Exit code 0 with errors in the text, and the last line is there.
        (says(DISK_FULL), "RMAN-03009"),
        (
            Answer::prints(format!("{BANNER}{COMPLETE_AFTER_ERROR}")),
            "ORA-04030",
        ),
        (
            Answer::prints(good.replace(END, "RMAN> \n")),
            "does not end with `Recovery Manager complete.`",
        ),
        (Answer::prints(cut), "it was cut"),
        (
            Answer::prints(good.clone()).then_fails(1, ""),
            "ended with 1 and no error of its own",
        ),
        (
            says(&BACKUP.replace("Finished backup at", "finishing at")),
            "1 times `Starting backup at`",
        ),
        (
            says("Starting backup at x\nFinished backup at x\n"),
            "no piece with tag",
        ),
        (
            Answer::prints(good.replace("connected to target", "hello")),
            "never said that it is connected",
        ),
        (
            Answer::prints(good.replace("1744319367", "7")),
            "was not connected to the database with DBID",
        ),
        (
            says(&format!("{BACKUP}ORA-99998: of a later release\n")),
            "ORA-99998",
        ),
    ] {
        let world = rman_world();
        world.answers("backup-database", [answer]);
        let error = Oracle::backup(&world).expect_err(words);
        assert!(error.to_string().contains(words), "{error}");
        assert!(
            error
                .to_string()
                .contains(&format!("delete backup tag '{TAG}'")),
            "{error}"
        );
        assert_eq!(world.artifact("rman.log"), None);
        assert_eq!(world.artifact("pieces.txt"), None);
    }
}

#[test]
fn a_command_whose_end_is_not_known_is_no_backup() {
    let world = rman_world();
    let error = Error::failed("no-status", "no exit status came");
    world.fail_once("run client backup-database", error);
    check_refused(
        Oracle::backup(&world),
        "the end of command `backup-database` is not known",
    );
    assert_eq!(world.artifact("rman.log"), None);
}

#[test]
fn the_codes_are_in_the_details_of_the_error() {
    let world = rman_world();
    world.answers("backup-database", [says(DISK_FULL)]);
    let Error::Failed(failure) = Oracle::backup(&world).expect_err("full") else {
        panic!("another kind of error");
    };
    let codes: Vec<&str> = failure
        .details
        .iter()
        .map(|(_, code)| code.as_str())
        .collect();
    assert_eq!(codes, ["RMAN-03009", "ORA-19502", "ORA-27072"]);
    assert_eq!(failure.code, "oracle");
}

#[test]
fn failures_of_the_later_commands_are_failures_of_the_backup() {
    for command in ["backup-logs", "validate"] {
        let world = rman_world();
        let said = "RMAN-03002: failure\nRMAN-06025: no backup of archived log\n";
        world.answers(command, [says(said)]);
        check_refused(Oracle::backup(&world), "RMAN-06025");
        assert_eq!(world.artifact("rman.log"), None);
    }
}

#[test]
fn a_piece_that_the_control_file_does_not_know_is_no_backup() {
    let world = rman_world();
    let less: String = PIECES
        .lines()
        .skip(1)
        .map(|line| format!("{line}\n"))
        .collect();
    world.answers("pieces", [Answer::prints(less)]);
    check_refused(Oracle::backup(&world), "the control file does not know");
    world.answers(
        "pieces",
        [Answer::prints(PIECES.replace("|A|4608", "|X|4608"))],
    );
    check_refused(Oracle::backup(&world), "not available");
    world.answers(
        "pieces",
        [Answer::prints(PIECES.replace("cofferdam|end\n", ""))],
    );
    check_refused(Oracle::backup(&world), "its answer has no end");
}

#[test]
fn a_database_that_is_down_or_mounted_is_not_backed_up() {
    let world = rman_world();
    world.answers("state", [Answer::prints(DOWN).then_fails(1, "")]);
    check_refused(Oracle::backup(&world), "the instance is down");
    check_refused(Oracle::backup(&world), "ORA-01034");
    world.answers(
        "state",
        [Answer::prints("cofferdam|status|MOUNTED\ncofferdam|end\n")],
    );
    check_refused(Oracle::backup(&world), "mounted, not open");
    world.answers(
        "state",
        [Answer::prints(
            "ERROR:\nORA-01017: invalid username/password; logon denied\nSP2-0640: Not connected\n",
        )
        .then_fails(1, "")],
    );
    check_refused(Oracle::backup(&world), "Look at the Secret");
    assert!(!world.was_asked("run client backup-database"));
}

#[test]
fn modes_in_which_rman_cannot_back_up_are_refused_with_the_way_out() {
    for (from, to, words) in [
        (
            "log-mode|ARCHIVELOG",
            "log-mode|NOARCHIVELOG",
            "or use method `datapump`",
        ),
        (
            "role|PRIMARY",
            "role|PHYSICAL STANDBY",
            "bind `connect` to the primary",
        ),
    ] {
        let world = rman_world();
        let said = DATABASE.replace("@SCN@", "5").replace(from, to);
        world.answers("describe", [Answer::prints(said)]);
        check_refused(Oracle::backup(&world), words);
        assert!(!world.was_asked("run client backup-database"));
    }
}

#[test]
fn a_database_that_changed_its_life_during_the_backup_is_no_backup() {
    let world = rman_world();
    let later = DATABASE.replace("@SCN@", "2195011").replace(
        "|1920977|1|CURRENT",
        "|1920977|1|PARENT\ncofferdam|incarnation|3|2195000|1920977|CURRENT",
    );
    world.answers("describe", [database(2_194_860), Answer::prints(later)]);
    check_refused(
        Oracle::backup(&world),
        "another one after the backup than before",
    );
}

#[test]
fn warnings_on_the_list_pass_and_are_shown() {
    let world = rman_world();
    let said = format!("RMAN-06909: WARNING: parallelism require Enterprise Edition\n{BACKUP}");
    world.answers("backup-database", [says(&said)]);
    Oracle::backup(&world).expect("the backup");
    assert!(world.logged(Level::Warn, "RMAN-06909"));
    let evidence = world.evidence_of("rman.log").expect("evidence");
    assert_eq!(evidence.get("passed-codes"), Some("RMAN-06909=1"));
    Oracle::verify(&world).expect("whole");
}

#[test]
fn the_scripts_are_those_that_the_manifest_shows() {
    let world = rman_world();
    world
        .parameter("parallelism", "4")
        .parameter("backup-folder", "/srv/backup")
        .on("backup-database", |call, _| {
            let script = String::from_utf8_lossy(&call.stdin).into_owned();
            assert_eq!(script, format!("backup database tag '{TAG}';\n"));
            let words: Vec<&str> = call.argv[3..].iter().map(String::as_str).collect();
            assert_eq!(
                words,
                [
                    "rman",
                    "//oracle:1521/ORCL",
                    "sysbackup",
                    "4",
                    "/srv/backup"
                ]
            );
            says(BACKUP)
        });
    Oracle::backup(&world).expect("the backup");
}

#[test]
fn parameters_that_do_not_go_together_are_refused_before_anything_is_asked() {
    let world = rman_world();
    world.parameter("backup-folder", "/srv/backup");
    check_refused(Oracle::backup(&world), "set `parallelism` to 1 or more");
    for tag in ["A_TAG_THAT_IS_TOO_LONG", "a$b"] {
        let world = rman_world();
        world.parameter("tag", tag);
        check_refused(Oracle::backup(&world), "parameter `tag`");
        assert!(world.calls().is_empty(), "{:?}", world.calls());
    }
}

#[test]
fn a_missing_program_is_said_with_the_way_out() {
    let world = rman_world();
    world.answers("backup-database", [Answer::missing_program()]);
    check_refused(Oracle::backup(&world), "has no `rman` on its PATH");
    world.answers("client-version", [Answer::missing_program()]);
    check_refused(Oracle::backup(&world), "has no `sqlplus` on its PATH");
}

#[test]
fn a_value_that_the_shell_text_refuses_is_the_sites_to_mend() {
    let world = rman_world();
    let said = "cofferdam: the password in the Secret is empty or holds a quote";
    world.answers("state", [Answer::fails(64, said)]);
    let error = Oracle::backup(&world).expect_err("refused");
    assert!(matches!(error, Error::Invalid(_)), "{error:?}");
    assert!(
        error
            .to_string()
            .contains("the password in the Secret is empty"),
        "{error}"
    );
}

#[test]
fn verify_finds_a_record_that_is_not_whole() {
    let world = rman_world();
    Oracle::backup(&world).expect("the backup");
    let keep = |name: &str| {
        let bytes = world.artifact(name).expect("the artifact");
        let evidence = world.evidence_of(name).expect("evidence");
        (String::from_utf8(bytes).expect("text"), evidence)
    };
    let (log, evidence) = keep("rman.log");
    let (list, list_evidence) = keep("pieces.txt");
    world.put_artifact(
        "rman.log",
        log.replace("ORA_DISK_1", "ORA_DISK_2"),
        evidence.clone(),
    );
    check_refused(Oracle::verify(&world), "but its evidence says");

    // The same with evidence that fits: what the text says must still hold.
    let forged = |name: &str, text: &str, evidence: &Evidence| {
        world.put_artifact(name, text, evidence.clone().with("sha256", digest(text)));
    };
    forged(
        "rman.log",
        &log.replacen("Recovery Manager complete.", "", 1),
        &evidence,
    );
    check_refused(
        Oracle::verify(&world),
        "has 2 times `Recovery Manager complete.`",
    );
    forged(
        "rman.log",
        &format!("{log}ORA-27072: File I/O error\n"),
        &evidence,
    );
    check_refused(Oracle::verify(&world), "ORA-27072");
    forged("rman.log", &log, &evidence);
    let shorter: String = list
        .lines()
        .skip(1)
        .map(|line| format!("{line}\n"))
        .collect();
    forged("pieces.txt", &shorter, &list_evidence);
    check_refused(
        Oracle::verify(&world),
        "does not list `/fra/ORCL/backupset/o1_mf_nnndf_a.bkp`",
    );
    forged("pieces.txt", &format!("{list}1\t/x\n"), &list_evidence);
    check_refused(Oracle::verify(&world), "the evidence says otherwise");
}

fn digest(text: &str) -> String {
    use sha2::{Digest, Sha256};
    hex::encode(Sha256::digest(text.as_bytes()))
}
