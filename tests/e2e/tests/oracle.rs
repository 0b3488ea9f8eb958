//! An external Oracle database through a client pod. No Oracle can run here: the pod's programs are
//! scripts that replay transcripts and keep as much of a server's state as the story needs. What is
//! proven is the way there: the commands, the order, and that the password is nowhere on it.
#![expect(clippy::disallowed_methods, reason = "helpers of tests are test code")]

use e2e::Site;
use serde_json::json;

const DATA_SETS: &str = "    - name: whole-database
      module: { name: oracle }
      targets: { client: { workload: deployment/oracle-client, container: client } }
      secrets:
        user: { secret: oracle-credentials, key: user }
        password: { secret: oracle-credentials, key: password }
      parameters: { method: rman, connect: \"//oracle:1521/ORCL\", parallelism: 2, backup-folder: /srv/backup }
    - name: system-schema
      module: { name: oracle }
      targets: { client: { workload: deployment/oracle-client, container: client } }
      secrets:
        user: { secret: oracle-credentials, key: user }
        password: { secret: oracle-credentials, key: password }
      parameters: { connect: \"//oracle:1521/ORCL\", schema: SYSTEM_3SCALE, pod-folder: /client/dump }
      backup: { after: [whole-database] }
      restore: { after: [whole-database] }
";

/// Characters that mean something to a shell, to `printf`, to SQL*Plus and to RMAN.
const PASSWORD: &str = "S3cret/of@Oracle & $HOME `id` %s \\n";

/// Sourced by every program with the line that holds the credentials in `$login`. Looks whether the
/// password stands in a command line or in the environment that the program was given; that the
/// connect identifier is found there shows that looking works.
const LOOK: &str = r#"IFS= read -r password < /expected/password
for one in /proc/[0-9]*/cmdline /proc/self/environ; do
  text=$(tr '\0' ' ' < "$one")
  case $text in *"$password"*) echo "$one: $text" >> /client/leaks ;; esac
  case $text in *//oracle:1521/ORCL*) echo "$one" >> /client/looks ;; esac
done 2>/dev/null
case $login in *"$password"*) ;; *) echo ERROR:; echo 'ORA-01017: invalid username/password; logon denied'; exit 1 ;; esac
"#;

const SQLPLUS: &str = r#"#!/bin/sh
[ "$1" = -V ] && { echo 'SQL*Plus: Release 19.0.0.0.0 - Production'; exit 0; }
cd /client
IFS= read -r define; IFS= read -r login
. ./look
script=$(cat)
case $login in 'connect BACKUP_USER/'*) ;; *) echo 'SP2-0640: Not connected'; exit 1 ;; esac
say() { echo "cofferdam|$1|$2"; }
scn=$(cat scn); scn=$((scn + 100)); echo "$scn" > scn
database() {
  say version 19.0.0.0.0; say db-name ORCL; say db-unique-name ORCL; say dbid 1744319367; say scn "$scn"
}
case $script in
*dba_datapump_jobs*) database; say schemas 1; say tables 3; say directory /srv/dump ;;
*backup_piece*)
  say piece 'A|1258291200|/fra/ORCL/backupset/o1_mf_nnndf_a.bkp'
  say piece 'A|4608|/fra/ORCL/backupset/o1_mf_annnn_b_with_a_long_name_that_is_broken.bkp'
  say piece 'A|10092544|/fra/ORCL/backupset/o1_mf_ncnnf_c.bkp' ;;
*'from v$database'*)
  database; say log-mode ARCHIVELOG; say role PRIMARY; say cdb YES; say data-files 4
  case $(cat state) in OPEN) say open-mode 'READ WRITE' ;; *) say open-mode MOUNTED ;; esac
  cat incarnations ;;
*) say status "$(cat state)" ;;
esac
echo 'cofferdam|end'
"#;

const RMAN: &str = r#"#!/bin/sh
cd /client
IFS= read -r login
. ./look
script=$(cat)
printf '%s\n' "$script" >> scripts
tag=$(printf '%s\n' "$script" | sed -n "s/.*tag '\([A-Z0-9_]*\)'.*/\1/p" | head -n 1)
say() { sed "s/@TAG@/$tag/" "$1"; }
say rman-banner.txt
case $script in
*'backup database'*) if [ -e disk-is-full ]; then say rman-disk-full.txt; else say rman-backup.txt; fi ;;
*'backup archivelog'*) say rman-logs.txt ;;
*validate*) say rman-validate.txt ;;
*crosscheck*) say rman-crosscheck.txt ;;
*'restore database'*) say rman-restore.txt ;;
*'recover database'*) say rman-recover.txt ;;
*'shutdown immediate'*) echo MOUNTED > state ;;
*'open resetlogs'*)
  echo OPEN > state
  printf 'cofferdam|incarnation|2|1920977|1|PARENT\ncofferdam|incarnation|3|2195011|1920977|CURRENT\n' > incarnations ;;
esac
say rman-end.txt
"#;

const EXPDP: &str = r#"#!/bin/sh
cd /client
parameters=${1#parfile=}
IFS= read -r login < "$parameters"
. ./look
stat -c '%a' "$parameters" >> modes
job=$(sed -n 's/^job_name=//p' "$parameters")
case $0 in
*expdp) mkdir -p dump; echo 'the rows of the schema' > dump/cofferdam.dmp; said=expdp.txt ;;
*) cat dump/cofferdam.dmp > imported; said=impdp.txt ;;
esac
sed "s/@JOB@/$job/" "$said" >&2
[ "$said" = expdp.txt ] || exit 5
"#;

/// A transcript that the module's own tests use too.
macro_rules! fixture {
    ($name:literal) => {
        (
            $name,
            include_str!(concat!("../../../modules/oracle/fixtures/", $name)),
        )
    };
}

fn programs() -> serde_json::Value {
    let mut files = serde_json::Map::new();
    for (name, text) in [
        ("look", LOOK),
        ("sqlplus", SQLPLUS),
        ("rman", RMAN),
        ("expdp", EXPDP),
        ("impdp", EXPDP),
        fixture!("rman-banner.txt"),
        fixture!("rman-backup.txt"),
        fixture!("rman-logs.txt"),
        fixture!("rman-validate.txt"),
        fixture!("rman-crosscheck.txt"),
        fixture!("rman-restore.txt"),
        fixture!("rman-recover.txt"),
        fixture!("rman-disk-full.txt"),
        fixture!("rman-end.txt"),
        fixture!("expdp.txt"),
        fixture!("impdp.txt"),
    ] {
        files.insert(name.to_owned(), json!(text));
    }
    files.into()
}

/// A client pod whose programs are put there by a ConfigMap.
fn site() -> Site {
    let site = Site::with_objects_only();
    let image =
        std::env::var("COFFERDAM_TEST_IMAGE").unwrap_or_else(|_| "local-cluster/layer".to_owned());
    let begin = "cp -L /programs/* /client/ && cd /client && chmod 755 sqlplus rman expdp impdp \
        && echo OPEN > state && echo 2194800 > scn \
        && printf 'cofferdam|incarnation|1|1||PARENT\\ncofferdam|incarnation|2|1920977|1|CURRENT\\n' > incarnations \
        && touch ready; trap 'exit 0' TERM; while :; do sleep 3600 & wait \"$!\"; done";
    let labels = json!({ "app": "oracle-client" });
    for object in [
        json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "oracle-credentials" },
            "stringData": { "user": "BACKUP_USER", "password": PASSWORD } }),
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "oracle-programs" }, "data": programs() }),
        json!({ "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": "oracle-client", "labels": labels },
            "spec": { "replicas": 1, "selector": { "matchLabels": labels }, "template": {
                "metadata": { "labels": labels },
                "spec": {
                    "terminationGracePeriodSeconds": 5,
                    "containers": [{
                        "name": "client", "image": image, "command": ["sh", "-c", begin],
                        "env": [{ "name": "PATH", "value": "/client:/usr/bin:/bin" }],
                        "readinessProbe": { "exec": { "command": ["test", "-e", "/client/ready"] }, "periodSeconds": 1 },
                        "volumeMounts": [
                            { "name": "programs", "mountPath": "/programs" },
                            { "name": "client", "mountPath": "/client" },
                            { "name": "expected", "mountPath": "/expected" },
                        ],
                    }],
                    "volumes": [
                        { "name": "programs", "configMap": { "name": "oracle-programs" } },
                        { "name": "client", "emptyDir": {} },
                        { "name": "expected", "secret": { "secretName": "oracle-credentials" } },
                    ],
                } } } }),
    ] {
        site.kubectl_fed(&["apply", "-f", "-"], &object.to_string());
    }
    site.kubectl(&[
        "rollout",
        "status",
        "deployment/oracle-client",
        "--timeout=120s",
    ]);
    site.prepare(DATA_SETS);
    site
}

fn in_client(site: &Site, line: &str) -> String {
    site.in_pod("deployment/oracle-client", "client", line)
}

fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

/// Neither the password nor what base64 makes of it.
#[track_caller]
fn check_no_password(what: &str, text: &str, encoded: &str) {
    for secret in [PASSWORD, "S3cret/of@Oracle", "S3cret%2Fof", encoded] {
        assert!(!text.contains(secret), "`{secret}` is in {what}");
    }
}

#[test]
fn a_database_and_a_schema_go_out_and_come_back_and_the_password_is_nowhere_on_the_way() {
    let site = site();
    let backup = site.report(&["backup"]).exits(0);
    let shown = site.cofferdam(&["show", "latest", "--audit"]).exits(0);
    for words in [
        "tried-on: not tried on a live Oracle",
        "dbid: 1744319367",
        "resetlogs-scn: 1920977",
        "tag: COFFERDAM_",
        "piece-1: /fra/ORCL/backupset/o1_mf_nnndf_a.bkp",
        "rows: 26653",
    ] {
        assert!(
            shown.stdout().contains(words),
            "`{words}` is not shown\n{shown}"
        );
    }
    let verified = site.report(&["verify", "latest"]).exits(0);

    in_client(&site, "rm /client/dump/cofferdam.dmp /client/scripts");
    let restored = site.report(&["restore", "latest", "--yes"]).exits(0);
    assert_eq!(
        in_client(&site, "cat /client/imported"),
        "the rows of the schema\n"
    );
    let scripts = in_client(&site, "cat /client/scripts");
    let order = [
        "crosscheck backup tag 'COFFERDAM_",
        "validate;",
        "shutdown immediate;",
        "restore database from tag 'COFFERDAM_",
        "recover database until scn ",
        "alter database open resetlogs;",
        "alter pluggable database all open;",
    ];
    let places: Vec<Option<usize>> = order.iter().map(|words| scripts.rfind(words)).collect();
    assert!(
        places.is_sorted() && places.iter().all(Option::is_some),
        "{places:?}\n{scripts}"
    );

    // Looked at from inside each program, while it and the shell around it ran.
    assert_eq!(in_client(&site, "cat /client/leaks 2>/dev/null || :"), "");
    assert!(in_client(&site, "cat /client/looks").lines().count() > 10);
    assert_eq!(in_client(&site, "sort -u /client/modes"), "600\n");
    assert_eq!(
        in_client(
            &site,
            "ls -d /dev/shm/cofferdam.* /tmp/cofferdam.* 2>/dev/null || :"
        ),
        ""
    );

    let encoded = site.kubectl(&[
        "get",
        "secret/oracle-credentials",
        "-o",
        "jsonpath={.data.password}",
    ]);
    for answer in [&backup, &shown, &verified, &restored] {
        check_no_password("what was printed", &answer.to_string(), &encoded);
    }
    let state = files(&site.path("state"));
    assert!(
        state.iter().any(|file| file.ends_with("audit.jsonl")),
        "{state:?}"
    );
    assert!(
        state.iter().any(|file| file.ends_with("journal.jsonl")),
        "{state:?}"
    );
    for file in &state {
        let text = String::from_utf8_lossy(&std::fs::read(file).expect("read")).into_owned();
        check_no_password(&file.display().to_string(), &text, &encoded);
    }
    let seen = site.client().seen().expect("the requests");
    assert!(
        seen.iter().any(|request| request.path.contains("/exec?")),
        "{seen:?}"
    );
    for request in &seen {
        check_no_password("a request to the API server", &request.path, &encoded);
    }
    for (data_set, artifact) in [
        ("whole-database", "rman.log"),
        ("system-schema", "data-pump.log"),
    ] {
        let snapshot = backup.data_set(data_set)["snapshot"]
            .as_str()
            .expect("an id")
            .to_owned();
        let log = site.restic(&["dump", &snapshot, &format!("/{data_set}/{artifact}")]);
        check_no_password(artifact, &String::from_utf8_lossy(&log), &encoded);
    }
}

#[test]
fn a_full_disk_on_the_servers_side_is_no_backup_though_rman_ends_with_0() {
    let site = site();
    in_client(&site, "touch /client/disk-is-full");
    let _failed = site
        .cofferdam(&["backup", "--only", "whole-database"])
        .exits(1)
        .says("RMAN-03009: failure of backup command on c4 channel")
        .says("ORA-19502: write error on file")
        .says("delete backup tag 'COFFERDAM_");
    assert!(site.runs().is_empty(), "{:?}", site.runs());

    in_client(&site, "rm /client/disk-is-full");
    let _backup = site
        .report(&["backup", "--only", "whole-database"])
        .exits(0);
    assert_eq!(site.runs().len(), 1);
}

#[test]
fn a_wrong_password_is_said_with_oracles_code_and_without_the_password() {
    let site = site();
    let wrong = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "oracle-wrong" },
        "stringData": { "user": "BACKUP_USER", "password": "not-the-0ne" } });
    site.kubectl_fed(&["apply", "-f", "-"], &wrong.to_string());
    site.prepare(&DATA_SETS.replace(
        "password: { secret: oracle-credentials",
        "password: { secret: oracle-wrong",
    ));
    let _failed = site
        .cofferdam(&["backup"])
        .exits(1)
        .says("ORA-01017")
        .says("Look at the Secret behind `user` and `password`")
        .never_says("not-the-0ne");
    assert!(site.runs().is_empty(), "{:?}", site.runs());
}
