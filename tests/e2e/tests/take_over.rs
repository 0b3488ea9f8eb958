//! A site that backed up by hand comes over, and one that must do without this program goes back:
//! with the manual procedure's own files, taken by kubectl from real servers.
#![expect(clippy::disallowed_methods, reason = "helpers of tests are test code")]

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use e2e::Site;
use e2e::by_hand::{commands, names, shell, succeeds};
use e2e::servers::{DATA_SETS, MYSQL};

const OBJECTS: &str = "    - name: objects
      module: { name: kube-objects }
      parameters: { when-present: replace, secrets: [system-smtp, system-app, system], configmaps: [redis-config, system] }
";

const ZYNC: &str = "    - name: zync-database
      module: { name: postgresql }
      targets: { server: { workload: deployment/zync-database, container: postgresql } }
      restore: { after: [objects] }
";

fn data_sets() -> String {
    format!("{OBJECTS}{DATA_SETS}{ZYNC}")
}

const FILES: [&str; 8] = [
    "system-mysql-backup.gz",
    "zync-database-backup.gz",
    "backend-redis-dump.rdb",
    "system-smtp.json",
    "system-app.json",
    "system.json",
    "configmap-system.json",
    "redis-config.json",
];

const PSQL: &str = "psql -X -q -t -A -v ON_ERROR_STOP=1 -U postgres -d zync_production";

fn seed(site: &Site) {
    site.kubectl_fed(
        &["exec", "-i", "deployment/system-mysql", "-c", "system-mysql", "--", "sh", "-c", &format!("{MYSQL} system")],
        "CREATE TABLE accounts (id INT PRIMARY KEY, name VARCHAR(200) CHARACTER SET utf8mb4, blob_column VARBINARY(64));
         INSERT INTO accounts SELECT seq, CONCAT('Grüße ', seq), UNHEX(SHA2(seq, 256)) FROM seq_1_to_3000;",
    );
    let line = "seq 1 2000 | sed 's/.*/SET service:& \"value &\"/' | redis-cli --pipe && redis-cli RPUSH queue a b c";
    site.in_pod("deployment/backend-redis", "backend-redis", line);
    let line = format!(
        "{PSQL} -c 'CREATE TABLE jobs AS SELECT i, md5(i::text) AS name FROM generate_series(1, 500) AS i'"
    );
    site.in_pod("deployment/zync-database", "postgresql", &line);
    site.kubectl_fed(
        &["apply", "-f", "-"],
        "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"system\"},\"data\":{\"key\":\"dmFsdWU=\"}}",
    );
}

fn destroy(site: &Site) {
    let line = format!("{MYSQL} system -e 'DROP TABLE accounts'");
    site.in_pod("deployment/system-mysql", "system-mysql", &line);
    let line = "redis-cli FLUSHALL && redis-cli SET stranger 1";
    site.in_pod("deployment/backend-redis", "backend-redis", line);
    let line = format!("{PSQL} -c 'DROP TABLE jobs; CREATE TABLE stranger ()'");
    site.in_pod("deployment/zync-database", "postgresql", &line);
    site.kubectl(&[
        "delete",
        "secret/system-smtp",
        "secret/system",
        "configmap/system",
    ]);
}

fn proof(site: &Site) -> [String; 4] {
    let line =
        format!("{MYSQL} system -e 'CHECKSUM TABLE accounts; SELECT COUNT(*) FROM accounts'");
    let mysql = site.in_pod("deployment/system-mysql", "system-mysql", &line);
    let line = "redis-cli DBSIZE; redis-cli LRANGE queue 0 -1; redis-cli GET service:1711; redis-cli CONFIG GET save; redis-cli CONFIG GET appendonly";
    let redis = site.in_pod("deployment/backend-redis", "backend-redis", line);
    let wanted = "jsonpath={range .items[*]}{.kind}{.metadata.name}{.data}{end}";
    let objects = site.kubectl(&[
        "get",
        "secret/system-smtp",
        "secret/system",
        "secret/system-app",
        "configmap/system",
        "configmap/redis-config",
        "-o",
        wanted,
    ]);
    let line = format!(
        "{PSQL} -c 'SELECT count(*), md5(string_agg(name, chr(44) ORDER BY i)) FROM jobs' -c '\\d'"
    );
    let postgres = site.in_pod("deployment/zync-database", "postgresql", &line);
    [mysql, redis, objects, postgres]
}

/// The manual procedure, with `kubectl` for `oc`.
fn back_up_by_hand(site: &Site) -> PathBuf {
    let folder = site.path("by-hand");
    std::fs::create_dir(&folder).expect("made");
    succeeds(&shell(
        site,
        &folder,
        r#"
        n="kubectl -n 3scale"
        $n exec deployment/system-mysql -c system-mysql -- bash -c 'export MYSQL_PWD=${MYSQL_ROOT_PASSWORD}; mysqldump --single-transaction -hlocalhost -uroot system' | gzip > system-mysql-backup.gz
        $n exec deployment/zync-database -c postgresql -- pg_dumpall -U postgres -c --if-exists | gzip > zync-database-backup.gz
        $n exec deployment/backend-redis -c backend-redis -- redis-cli SAVE
        $n exec deployment/backend-redis -c backend-redis -- cat /var/lib/redis/data/dump.rdb > backend-redis-dump.rdb
        for name in system-smtp system-app system; do $n get secret $name -o json > $name.json; done
        $n get configmap redis-config -o json > redis-config.json
        $n get configmap system -o json > configmap-system.json
    "#,
    ));
    folder
}

#[test]
fn what_was_backed_up_by_hand_is_restored_and_what_is_exported_is_restored_by_hand() {
    let site = Site::start();
    seed(&site);
    site.prepare(&data_sets());
    let folder = back_up_by_hand(&site);
    let before = proof(&site);

    let imported = site
        .report(&["import", "by-hand"])
        .exits(0)
        .says("`latest` now means this import");
    let runs = site.runs();
    assert_eq!(
        (runs.len(), &runs[0]["whole"]),
        (1, &true.into()),
        "{runs:?}"
    );
    let evidence = imported.data_set("system-database")["artifacts"][0]["evidence"].to_string();
    for expected in [
        "imported from system-mysql-backup.gz",
        "CRC-32",
        "no server was asked",
        "-- Dump completed",
    ] {
        assert!(evidence.contains(expected), "`{expected}`: {evidence}");
    }
    let _verified = site.report(&["verify", "latest"]).exits(0);
    let audit = site.cofferdam(&["show", "latest", "--audit"]).exits(0);
    assert!(
        audit
            .stdout()
            .contains("imported backend-redis-dump.rdb as dump.rdb"),
        "{audit}"
    );

    destroy(&site);
    let _restored = site.report(&["restore", "latest", "--yes"]).exits(0);
    assert_eq!(proof(&site), before);

    let exported = site
        .report(&["export", "latest", "--to", "exported"])
        .exits(0);
    let place = site.path("exported");
    let expected: BTreeSet<String> = FILES
        .iter()
        .chain(&["RESTORE.md"])
        .map(ToString::to_string)
        .collect();
    assert_eq!(names(&place), expected, "{exported}");
    assert_eq!(
        place.metadata().expect("there").permissions().mode() & 0o777,
        0o700
    );
    for name in &expected {
        let mode = place
            .join(name)
            .metadata()
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let plain = |folder: &Path| {
        succeeds(&shell(
            &site,
            folder,
            "gzip -t *.gz && for dump in *.gz; do gunzip -c $dump | sha256sum; done && sha256sum < backend-redis-dump.rdb",
        ))
    };
    assert_eq!(plain(&place), plain(&folder));
    let secret = std::fs::read_to_string(place.join("system-smtp.json")).expect("read");
    assert!(
        !secret.contains("resourceVersion") && !secret.contains("last-applied"),
        "{secret}"
    );

    // As one stream, for the real tar.
    let stream = site.path("stream");
    std::fs::create_dir(&stream).expect("made");
    let archive = std::fs::File::create(site.path("export.tar")).expect("made");
    let status = site
        .command(&["export", "latest", "--to", "-"])
        .stdout(archive)
        .status()
        .expect("ended");
    assert!(status.success());
    succeeds(&shell(&site, &stream, "tar -xpf ../export.tar"));
    assert_eq!(names(&stream), expected);
    for name in FILES {
        assert_eq!(
            std::fs::read(stream.join(name)).expect("read"),
            std::fs::read(place.join(name)).expect("read"),
            "{name}"
        );
    }

    // The guide is followed to the letter.
    destroy(&site);
    let guide = std::fs::read_to_string(place.join("RESTORE.md")).expect("read");
    if let Some(folder) = std::env::var_os("COFFERDAM_TEST_KEEP") {
        std::fs::write(PathBuf::from(folder).join("RESTORE.md"), &guide).expect("written");
    }
    let said = succeeds(&shell(&site, &place, &commands(&guide)));
    assert!(said.contains("2001"), "{said}");
    assert_eq!(proof(&site), before);

    // There and back again.
    std::fs::remove_file(place.join("RESTORE.md")).expect("removed");
    let again = site.report(&["import", "exported"]).exits(0);
    for name in ["system-database", "backend-redis", "zync-database"] {
        let digest = |answer: &e2e::Answer| answer.data_set(name)["artifacts"][0]["sha256"].clone();
        assert_eq!(digest(&again), digest(&imported), "{name}");
    }
}

/// A folder with two good files, to spoil.
fn good(site: &Site, name: &str) -> PathBuf {
    let folder = site.path(name);
    std::fs::create_dir(&folder).expect("made");
    let dump = "-- MySQL dump 10.13  Distrib 8.0.36\n--\n-- Host: h    Database: system\nCREATE TABLE a (b int);\n-- Dump completed\n";
    std::fs::write(folder.join("plain.sql"), dump).expect("written");
    succeeds(&shell(
        site,
        &folder,
        "gzip -c plain.sql > system-mysql-backup.gz && rm plain.sql",
    ));
    let secret = "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"system-smtp\"},\"data\":{\"password\":\"aGVsbG8=\"}}";
    std::fs::write(folder.join("system-smtp.json"), secret).expect("written");
    folder
}

#[test]
fn a_file_that_is_not_what_its_name_says_leaves_no_snapshot_at_all() {
    let site = Site::without_cluster();
    site.prepare(&data_sets());
    type Spoil = fn(&Site, &Path);
    let cases: [(&str, Spoil, &str); 9] = [
        (
            "cut",
            |site, folder| {
                drop(succeeds(&shell(
                    site,
                    folder,
                    "head -c -9 system-mysql-backup.gz > x && mv x system-mysql-backup.gz",
                )));
            },
            "is cut",
        ),
        (
            "flipped",
            |_, folder| {
                let path = folder.join("system-mysql-backup.gz");
                let mut bytes = std::fs::read(&path).expect("read");
                let at = bytes.len() - 8;
                bytes[at] ^= 1;
                std::fs::write(path, bytes).expect("written");
            },
            "is damaged",
        ),
        (
            "unfinished",
            |site, folder| {
                drop(succeeds(&shell(
                    site,
                    folder,
                    "gunzip -c system-mysql-backup.gz | grep -v completed | gzip > x && mv x system-mysql-backup.gz",
                )));
            },
            "the dump is not whole",
        ),
        (
            "bomb",
            |site, folder| {
                drop(succeeds(&shell(
                    site,
                    folder,
                    "(gunzip -c system-mysql-backup.gz; head -c 200000000 /dev/zero) | gzip -1 > x && gunzip -c x | head -c 200000000 | gzip -9 > y; mv y system-mysql-backup.gz; rm x",
                )));
            },
            "times its size",
        ),
        (
            "link",
            |_, folder| {
                std::fs::remove_file(folder.join("system-smtp.json")).expect("removed");
                std::os::unix::fs::symlink("/etc/passwd", folder.join("system-smtp.json"))
                    .expect("linked");
            },
            "is a symbolic link",
        ),
        (
            "pipe",
            |site, folder| {
                drop(succeeds(&shell(
                    site,
                    folder,
                    "rm system-smtp.json && mkfifo system-smtp.json",
                )));
            },
            "is no regular file",
        ),
        (
            "other-secret",
            |site, folder| {
                drop(succeeds(&shell(
                    site,
                    folder,
                    "sed -i s/system-smtp/system-seed/ system-smtp.json",
                )));
            },
            "holds Secret `system-seed`",
        ),
        (
            "redis",
            |_, folder| {
                std::fs::write(
                    folder.join("backend-redis-dump.rdb"),
                    b"REDIS0010\xff\x01\x02\x03\x04\x05\x06\x07\x08",
                )
                .expect("written");
            },
            "it says checksum",
        ),
        (
            "swapped",
            |_, folder| {
                let from = folder.join("system-mysql-backup.gz");
                std::fs::rename(from, folder.join("backend-redis-dump.rdb")).expect("renamed");
            },
            "is no dump of Redis",
        ),
    ];
    for (name, spoil, expected) in cases {
        let folder = good(&site, name);
        spoil(&site, &folder);
        let answer = site.cofferdam(&["import", name]).exits(2);
        let _said = answer
            .says("nothing was imported")
            .says(expected)
            .says("hint");
        assert_eq!(site.runs().len(), 0, "{name}");
    }
    // The two good files alone: taken, and said not to be all.
    good(&site, "part");
    std::fs::write(site.path("part").join("notes.txt"), "x").expect("written");
    let part = site.cofferdam(&["import", "part"]).exits(4);
    for expected in [
        "backend-redis",
        "not imported: `notes.txt`",
        "Secret/system-app is not in the snapshot",
    ] {
        assert!(part.stdout().contains(expected), "{part}");
    }
    let runs = site.runs();
    assert_eq!(
        runs[0]["missing"],
        serde_json::json!(["backend-redis", "zync-database"]),
        "{runs:?}"
    );

    std::fs::create_dir(site.path("empty")).expect("made");
    let _empty = site
        .cofferdam(&["import", "empty"])
        .exits(2)
        .says("looked for")
        .says("`system-mysql-backup.gz`");
    let _nowhere = site
        .cofferdam(&["import", "nowhere"])
        .exits(1)
        .says("nowhere");
}

#[test]
fn an_export_never_writes_over_anything_and_never_half() {
    let site = Site::without_cluster();
    site.prepare(&data_sets());
    good(&site, "files");
    let _imported = site.cofferdam(&["import", "files"]).exits(4);
    let before = names(site.folder());

    let _occupied = site
        .cofferdam(&["export", "--to", "files"])
        .exits(2)
        .says("not an empty folder")
        .says("hint");
    assert_eq!(names(&site.path("files")).len(), 2);
    let _unknown = site
        .cofferdam(&["export", "--to", "new", "--only", "backend-redis"])
        .exits(2)
        .says("did not keep");
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .expect("there");
    let output = site
        .command(&["export", "--to", "-"])
        .stdout(full)
        .stderr(Stdio::piped())
        .output()
        .expect("ended");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("No space left") && said.contains("make room"),
        "{said}"
    );
    let missing = site
        .cofferdam(&["export", "--to", "password/below"])
        .exits(1);
    let _said = missing.says("failed to");

    // A pack that was changed under us: nothing of the export stays.
    let pack = succeeds(&shell(
        &site,
        site.folder(),
        "find repository/data -type f -size +0 | sort",
    ));
    for pack in pack.lines() {
        let path = site.path(pack);
        let mut bytes = std::fs::read(&path).expect("read");
        let half = bytes.len() / 2;
        bytes[..half].fill(0);
        std::fs::write(&path, bytes).expect("written");
    }
    let _damaged = site.cofferdam(&["export", "--to", "damaged"]).exits(1);
    assert_eq!(names(site.folder()), before);
}
