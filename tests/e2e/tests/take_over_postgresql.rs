//! Dumps of whole PostgreSQL servers, taken by hand, come over; exported ones go back by hand. On two releases.
#![expect(clippy::disallowed_methods, reason = "helpers of tests are test code")]

use std::path::Path;

use e2e::Site;
use e2e::by_hand::{commands, names, shell, succeeds};
use e2e::servers::POSTGRESQL_18;

const DATA_SETS: &str = "    - name: system-database
      module: { name: postgresql }
      targets: { server: { workload: deployment/system-postgresql, container: system-postgresql } }
    - name: zync-database
      module: { name: postgresql }
      targets: { server: { workload: deployment/zync-database, container: postgresql } }
";

const SERVERS: [(&str, &str, &str); 2] = [
    (
        "deployment/system-postgresql",
        "system-postgresql",
        "system",
    ),
    ("deployment/zync-database", "postgresql", "zync_production"),
];

/// The manual procedure, with `kubectl` for `oc`.
const BY_HAND: &str = "
    n='kubectl -n 3scale'
    $n exec deployment/system-postgresql -c system-postgresql -- sh -c 'pg_dumpall -U postgres -c --if-exists' | gzip > system-postgres-backup.gz
    $n exec deployment/zync-database -c postgresql -- sh -c 'pg_dumpall -U postgres -c --if-exists' | gzip > zync-database-backup.gz";

/// Feeds SQL to a server, which must take all of it.
#[track_caller]
fn feed(site: &Site, (workload, container, database): (&str, &str, &str), sql: &str) {
    let line = format!("psql -X -q -v ON_ERROR_STOP=1 -U postgres -d {database} >/dev/null");
    let words = [
        "exec", "-i", workload, "-c", container, "--", "sh", "-c", &line,
    ];
    site.kubectl_fed(&words, sql);
}

fn seed(site: &Site) {
    let (workload, container, _) = SERVERS[0];
    feed(
        site,
        (workload, container, "postgres"),
        "CREATE ROLE system LOGIN PASSWORD 'secret'; CREATE ROLE reader; CREATE DATABASE system OWNER system;",
    );
    for server in SERVERS {
        feed(
            site,
            server,
            r#"CREATE TABLE "odd ""na'me" (id int PRIMARY KEY, note text, part bytea);
               INSERT INTO "odd ""na'me" SELECT i, E'Grüße \\ \t\n\'' || i, decode(md5(i::text), 'hex') FROM generate_series(1, 3000) AS i;
               CREATE SEQUENCE counter START 7; SELECT nextval('counter');
               CREATE VIEW half AS SELECT * FROM "odd ""na'me" WHERE id % 2 = 0;"#,
        );
    }
}

/// Roles, databases, rows and what else there is, of both servers.
#[track_caller]
fn proof(site: &Site) -> Vec<String> {
    let of = |(workload, container, database): (&str, &str, &str)| {
        let ask = r#"SELECT rolname, rolcanlogin FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY 1;
            SELECT datname, pg_get_userbyid(datdba) FROM pg_database ORDER BY 1;
            SELECT count(*), md5(string_agg(id || note || encode(part, 'hex'), ',' ORDER BY id)) FROM "odd ""na'me";
            SELECT last_value, is_called FROM counter; SELECT count(*) FROM half;
            SELECT relname, relkind FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1"#;
        let line = format!("psql -X -q -t -A -v ON_ERROR_STOP=1 -U postgres -d {database}");
        let words = [
            "exec", "-i", workload, "-c", container, "--", "sh", "-c", &line,
        ];
        site.kubectl_fed(&words, ask)
    };
    SERVERS.map(of).into()
}

fn destroy(site: &Site) {
    for server in SERVERS {
        let sql = "DROP VIEW half; DROP TABLE \"odd \"\"na'me\"; CREATE TABLE stranger ()";
        feed(site, server, sql);
    }
    let (workload, container, _) = SERVERS[0];
    feed(
        site,
        (workload, container, "postgres"),
        "DROP ROLE reader; CREATE ROLE stranger; ALTER ROLE system NOLOGIN",
    );
}

/// What a dump does not know stays where it is: a role that came later.
fn without(proof: &[String], word: &str) -> Vec<String> {
    let of = |one: &String| {
        let lines = one.lines().filter(|line| !line.starts_with(word));
        lines.map(|line| format!("{line}\n")).collect()
    };
    proof.iter().map(of).collect()
}

#[test]
fn dumps_taken_by_hand_are_restored_and_exported_ones_are_loaded_by_hand() {
    let site = Site::with(&["zync-database"]);
    site.apply(POSTGRESQL_18);
    site.wait_available();
    seed(&site);
    site.prepare(DATA_SETS);
    let folder = site.path("by-hand");
    std::fs::create_dir(&folder).expect("made");
    succeeds(&shell(&site, &folder, BY_HAND));
    let before = proof(&site);

    let imported = site.report(&["import", "by-hand"]).exits(0);
    for (name, file) in [
        ("system-database", "system-postgres-backup.gz"),
        ("zync-database", "zync-database-backup.gz"),
    ] {
        let artifact = imported.data_set(name)["artifacts"][0].clone();
        assert_eq!(artifact["name"], "cluster.sql", "{imported}");
        let evidence = artifact["evidence"].to_string();
        for expected in [
            format!("imported from {file}"),
            "-- PostgreSQL database cluster dump complete".to_owned(),
            "no server was asked".to_owned(),
        ] {
            assert!(evidence.contains(&expected), "`{expected}`: {evidence}");
        }
    }
    let _verified = site.report(&["verify", "latest"]).exits(0);
    destroy(&site);
    let _restored = site.report(&["restore", "latest", "--yes"]).exits(0);
    assert_eq!(without(&proof(&site), "stranger"), before);

    let _exported = site
        .report(&["export", "latest", "--to", "exported"])
        .exits(0);
    let place = site.path("exported");
    let files = [
        "RESTORE.md",
        "system-postgres-backup.gz",
        "zync-database-backup.gz",
    ];
    assert_eq!(names(&place), files.map(str::to_owned).into());
    let plain = |folder: &Path| {
        let line = "for dump in *.gz; do gunzip -c $dump | sha256sum; done";
        succeeds(&shell(&site, folder, line))
    };
    assert_eq!(plain(&place), plain(&folder));

    // The guide is followed to the letter.
    let (workload, container, _) = SERVERS[0];
    feed(
        &site,
        (workload, container, "postgres"),
        "DROP ROLE stranger",
    );
    destroy(&site);
    let guide = std::fs::read_to_string(place.join("RESTORE.md")).expect("read");
    let script = commands(&guide);
    succeeds(&shell(&site, &place, &script));
    assert_eq!(without(&proof(&site), "stranger"), before);
    let said = succeeds(&shell(&site, &place, "cat *.errors"));
    assert!(
        said.contains("55006: current user cannot be dropped"),
        "{said}"
    );

    // An error that is on no list: `psql` goes on, the guide does not.
    let spoilt = site.path("spoilt");
    let line = "cp -r exported spoilt && cd spoilt && (gunzip -c system-postgres-backup.gz; echo 'SELECT 1/0;') | gzip > x && mv x system-postgres-backup.gz";
    succeeds(&shell(&site, site.folder(), line));
    let failed = shell(&site, &spoilt, &script);
    let said = String::from_utf8_lossy(&failed.stdout).into_owned();
    assert!(!failed.status.success(), "{said}");
    assert!(said.contains("22012: division by zero"), "{said}");
    assert!(!said.contains("55006"), "{said}");

    // Somebody is connected: the guide stops before anything is dropped.
    let hold = "psql -X -U postgres -d system -c 'SELECT pg_sleep(600)' >/dev/null 2>&1 &";
    site.in_pod(workload, container, hold);
    site.wait_until("the session", || {
        let ask = "psql -X -t -A -U postgres -c \"SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)' AND datname = 'system'\"";
        (site.in_pod(workload, container, ask).trim() == "1").then_some(())
    });
    let failed = shell(&site, &place, &script);
    let said = String::from_utf8_lossy(&failed.stdout).into_owned();
    assert!(!failed.status.success(), "{said}");
    assert!(said.contains("system|postgres|psql"), "{said}");
    assert_eq!(without(&proof(&site), "stranger"), before);
}
