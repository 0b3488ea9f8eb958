//! The module against scripted programs that replay transcripts: what it keeps, what it refuses,
//! what it says about the state that it leaves. `fixtures/README.md` says where the transcripts are
//! from. None of this proves anything about a real server.

mod pump;
mod recover;
mod rman;
mod shell;

use cofferdam_guest_sdk::testing::{Answer, World};
use cofferdam_guest_sdk::{DataSet, Error};

use crate::Oracle;

const MANIFEST: &str = include_str!("../module.toml");

const BANNER: &str = include_str!("../fixtures/rman-banner.txt");
const BACKUP: &str = include_str!("../fixtures/rman-backup.txt");
const LOGS: &str = include_str!("../fixtures/rman-logs.txt");
const VALIDATE: &str = include_str!("../fixtures/rman-validate.txt");
const CROSSCHECK: &str = include_str!("../fixtures/rman-crosscheck.txt");
const RESTORE: &str = include_str!("../fixtures/rman-restore.txt");
const RECOVER: &str = include_str!("../fixtures/rman-recover.txt");
const END: &str = include_str!("../fixtures/rman-end.txt");

/// The tag of the run that a fresh world's clock gives.
const TAG: &str = "COFFERDAM_20231114T221320";

const DATABASE: &str = "cofferdam|version|19.0.0.0.0
cofferdam|db-name|ORCL
cofferdam|db-unique-name|ORCL
cofferdam|dbid|1744319367
cofferdam|log-mode|ARCHIVELOG
cofferdam|open-mode|READ WRITE
cofferdam|role|PRIMARY
cofferdam|cdb|YES
cofferdam|scn|@SCN@
cofferdam|data-files|4
cofferdam|incarnation|1|1||PARENT
cofferdam|incarnation|2|1920977|1|CURRENT
cofferdam|end
";

const PIECES: &str = "cofferdam|piece|A|1258291200|/fra/ORCL/backupset/o1_mf_nnndf_a.bkp
cofferdam|piece|A|4608|/fra/ORCL/backupset/o1_mf_annnn_b_with_a_long_name_that_is_broken.bkp
cofferdam|piece|A|10092544|/fra/ORCL/backupset/o1_mf_ncnnf_c.bkp
cofferdam|end
";

/// A whole RMAN transcript around what a command says.
fn transcript(said: &str) -> String {
    format!("{BANNER}{said}{END}").replace("@TAG@", TAG)
}

fn database(scn: u64) -> Answer {
    Answer::prints(DATABASE.replace("@SCN@", &scn.to_string()))
}

fn says(said: &str) -> Answer {
    Answer::prints(transcript(said))
}

/// A server with an open database and every RMAN command answering well.
fn rman_world() -> World {
    let world = World::new(MANIFEST);
    world
        .parameter("method", "rman")
        .parameter("connect", "//oracle:1521/ORCL")
        .answers("client-version", [client()])
        .answers(
            "state",
            [Answer::prints("cofferdam|status|OPEN\ncofferdam|end\n")],
        )
        .answers("describe", [database(2_194_860), database(2_195_011)])
        .answers("pieces", [Answer::prints(PIECES)])
        .answers("backup-database", [says(BACKUP)])
        .answers("backup-logs", [says(LOGS)])
        .answers("validate", [says(VALIDATE)])
        .answers("crosscheck", [says(CROSSCHECK)])
        .answers("restore-database", [says(RESTORE)])
        .answers("recover-database", [says(RECOVER)]);
    for command in [
        "mount-from-open",
        "mount-from-started",
        "mount-from-down",
        "reset-incarnation",
        "open-resetlogs",
        "open-unchanged",
        "open-pluggable",
    ] {
        world.answers(command, [says("Statement processed\n")]);
    }
    world
}

fn client() -> Answer {
    Answer::prints("\nSQL*Plus: Release 19.0.0.0.0 - Production\nVersion 19.21.0.0.0\n\n")
}

#[track_caller]
fn check_refused(result: Result<(), Error>, words: &str) {
    let error = result.expect_err("refused");
    assert!(error.to_string().contains(words), "{error}");
}

#[test]
fn a_snapshot_of_one_method_is_not_restored_with_the_other() {
    let world = rman_world();
    Oracle::backup(&world).expect("the backup");
    world.parameter("method", "datapump");
    check_refused(Oracle::restore(&world), "made with method `rman`");
    world.parameter("method", "rman");
    Oracle::verify(&world).expect("by what was kept");
}

#[test]
fn a_snapshot_of_somebody_else_is_refused() {
    let world = rman_world();
    world.put_artifact("dump.sql", "x", cofferdam_guest_sdk::Evidence::new());
    check_refused(Oracle::verify(&world), "this module did not make it");
    check_refused(Oracle::restore(&world), "this module did not make it");
}
