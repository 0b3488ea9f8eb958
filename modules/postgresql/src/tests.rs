//! The module against scripted servers: what it keeps, what it refuses, what it says.

use cofferdam_guest_sdk::testing::{Answer, World};
use cofferdam_guest_sdk::{DataSet, Error, Evidence, Level};

use crate::{Postgresql, hex};

mod backup;
mod database;
mod restore;

const CLIENT: &str = "psql (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n";
const DUMP: &str = "--\n-- PostgreSQL database cluster dump\n--\n\n\\restrict Zza\n\nCREATE ROLE zync;\n\\unrestrict Zza\n--\n-- Databases\n--\n\\connect zync_production\nCREATE TABLE a (b int);\n\n--\n-- PostgreSQL database cluster dump complete\n--\n\n";
const ARCHIVE: &[u8] = b"PGDMP\x01\x0e\x00\x04\x08\x01\x00 and the rest of it";
/// What `psql` says to a dump that was loaded without a fault.
const HARMLESS: &str = "psql:<stdin>:26: ERROR:  55006: current user cannot be dropped
LOCATION:  DropRole, user.c:969
psql:<stdin>:34: ERROR:  42710: role \"postgres\" already exists
LOCATION:  CreateRole, user.c:308
";

/// What the server says of itself, with these databases.
fn description(databases: &[&str]) -> String {
    let folder = hex::encode("/var/lib/pgsql/data/userdata");
    let mut said = format!("version|15.18 (Debian)\nroles|2\nfolder|{folder}\n");
    for name in databases {
        said.push_str(&format!("database|{}|7970151\n", hex::encode(name)));
    }
    said
}

fn objects(tables: u64) -> String {
    format!(
        "indexes|1\nmaterialized-views|0\nsequences|1\ntables|{tables}\nviews|1\nschemas|2\nfunctions|1\ntriggers|0\nconstraints|1\nextensions|1\nlarge-objects|1\nsequence|{}|1000|t\n",
        hex::encode("public.a_id_seq")
    )
}

fn rows(count: u64) -> String {
    format!(
        "rows|{}|{count}\nrows|{}|3\n",
        hex::encode("public.accounts"),
        hex::encode("\"Big Shop\".\"or=ders t\"")
    )
}

const DATABASES: [&str; 3] = ["postgres", "template1", "zync_production"];

/// The name of the database that a command was asked about.
fn asked(name: &str, database: &str) -> bool {
    name == hex::hole(&hex::encode(database))
}

fn world() -> World {
    let world = World::new(include_str!("../module.toml"));
    world
        .parameter("database", "zync_production")
        .answers("client-version", [Answer::prints(CLIENT)])
        .answers(
            "dump-version",
            [Answer::prints("pg_dump (PostgreSQL) 15.18\n")],
        )
        .answers(
            "mounts",
            [Answer::prints("1 0 0:1 / / rw - ext4 /dev/sda rw\n")],
        )
        .answers("describe", [Answer::prints(description(&DATABASES))])
        .answers("sessions", [Answer::default()])
        .answers("end-sessions", [Answer::prints("1\n")])
        .answers("make-maintenance-database", [Answer::default()])
        .answers("dump-cluster", [Answer::prints(DUMP)])
        .answers("dump-database", [Answer::prints(ARCHIVE)])
        .answers("load-cluster", [Answer::default().then_fails(0, HARMLESS)])
        .answers("load-database", [Answer::default()])
        .answers("load-new-database", [Answer::default()])
        .answers("load-parallel", [Answer::default()])
        .answers("list-archive", [Answer::prints("; Archive\n")]);
    counting(&world, 2, 12);
    world
}

/// Lets `zync_production` have so many tables and rows, and the other databases nothing.
fn counting(world: &World, tables: u64, accounts: u64) {
    world
        .on("count-objects", move |call, _| {
            let name = call.holes.get("name").cloned().unwrap_or_default();
            if asked(&name, "zync_production") {
                Answer::prints(objects(tables))
            } else {
                let none = objects(0).replace("|1\n", "|0\n");
                let without_sequence = none.lines().filter(|line| !line.starts_with("sequence|"));
                Answer::prints(without_sequence.collect::<Vec<_>>().join("\n"))
            }
        })
        .on("count-rows", move |call, _| {
            let name = call.holes.get("name").cloned().unwrap_or_default();
            if asked(&name, "zync_production") {
                Answer::prints(rows(accounts))
            } else {
                Answer::default()
            }
        });
}

fn with_backup(scope: &str) -> World {
    let world = world();
    world.parameter("scope", scope);
    Postgresql::backup(&world).expect("the backup");
    world
}

#[track_caller]
fn check_refused(result: Result<(), Error>, words: &str) {
    let error = result.expect_err("refused");
    assert!(error.to_string().contains(words), "{error}");
}

#[test]
fn verify_holds_an_artifact_to_digest_beginning_and_trailer() {
    let world = with_backup("cluster");
    Postgresql::verify(&world).expect("whole");
    let looked = world.calls();
    let mut after = looked
        .iter()
        .skip_while(|call| *call != "commit cluster.sql");
    assert!(!after.any(|call| call.starts_with("pod")), "{looked:?}");

    let evidence = world.evidence_of("cluster.sql").expect("evidence");
    world.put_artifact("cluster.sql", &DUMP.as_bytes()[..90], evidence);
    check_refused(Postgresql::verify(&world), "but its evidence says");
    world.put_artifact("cluster.sql", &DUMP.as_bytes()[..90], Evidence::new());
    check_refused(Postgresql::verify(&world), "does not end with");

    let world = with_backup("database");
    Postgresql::verify(&world).expect("whole");
    world.put_artifact("database.dump", "no archive", Evidence::new());
    check_refused(Postgresql::verify(&world), "does not begin with `PGDMP`");
    check_refused(
        Postgresql::verify(&self::world()),
        "has no dump of this module",
    );
}

#[test]
fn a_denial_reaches_the_run_as_policy_worded_it() {
    let world = world();
    let denial = cofferdam_guest_sdk::error::Denial {
        capability: "run-command".to_owned(),
        rule: "default".to_owned(),
        subject: Some("dump-cluster".to_owned()),
        message: "policy does not allow `run-command dump-cluster`".to_owned(),
    };
    world.fail_once("start server dump-cluster", Error::Denied(denial.clone()));
    assert_eq!(Postgresql::backup(&world), Err(Error::Denied(denial)));
    assert_eq!(world.artifact("cluster.sql"), None);
}
