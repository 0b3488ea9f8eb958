//! PostgreSQL, whole clusters and single databases: destroyed, broken in the middle, restored, and
//! compared by the server's own programs.

use e2e::servers::POSTGRESQL_18;
use e2e::{NAMESPACE, Site};

const WORKLOAD: &str = "deployment/zync-database";
const CONTAINER: &str = "postgresql";

const SERVER: &str = "{ server: { workload: deployment/zync-database, container: postgresql } }";

/// Every kind of thing, with names and values that do not survive a careless quote.
const CONTENTS: &str = r#"
CREATE ROLE reader;
CREATE DATABASE "Odd ""na'me\ =x" OWNER zync;
ALTER DATABASE zync_production SET work_mem = '5MB';
\connect zync_production
CREATE SCHEMA "Big Shop" AUTHORIZATION zync;
CREATE TYPE mood AS ENUM ('fine', 'it''s bad');
CREATE TABLE "Big Shop"."or=ders t" (
  id serial PRIMARY KEY, note text NOT NULL, part bytea, at timestamptz, price numeric(30,10),
  mood mood DEFAULT 'fine', tags text[], about jsonb, twice numeric GENERATED ALWAYS AS (price * 2) STORED);
INSERT INTO "Big Shop"."or=ders t" (note, part, at, price, tags, about)
  SELECT E'Grüße 😀 \\ '' " \n\t\\.\r' || i, decode(md5(i::text), 'hex'), timestamptz '2026-03-29 02:30+00' + i * interval '1 minute',
    i / 7.0, ARRAY['a', NULL, 'ü'], jsonb_build_object('key', i) FROM generate_series(1, 5000) AS i;
INSERT INTO "Big Shop"."or=ders t" (note) VALUES ('\restrict abc'), ('-- Databases'), ('\connect postgres'), ('\.');
CREATE INDEX by_note ON "Big Shop"."or=ders t" (lower(note));
CREATE VIEW public.totals AS SELECT count(*) AS orders, sum(price) AS price FROM "Big Shop"."or=ders t";
CREATE MATERIALIZED VIEW public.kept AS SELECT id FROM "Big Shop"."or=ders t" WHERE id % 100 = 0;
CREATE FUNCTION public.next_of(int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN $1 + 1; END $$;
CREATE FUNCTION public.touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.note := NEW.note || '!'; RETURN NEW; END $$;
CREATE TRIGGER touched BEFORE UPDATE ON "Big Shop"."or=ders t" FOR EACH ROW EXECUTE FUNCTION public.touch();
CREATE TABLE public.by_year (id int, year_of int) PARTITION BY RANGE (year_of);
CREATE TABLE public.past PARTITION OF public.by_year FOR VALUES FROM (MINVALUE) TO (2020);
CREATE TABLE public.rest PARTITION OF public.by_year FOR VALUES FROM (2020) TO (MAXVALUE);
INSERT INTO public.by_year SELECT i, 2000 + i FROM generate_series(1, 40) AS i;
CREATE SEQUENCE public.downwards INCREMENT -3 MAXVALUE 100 START 50;
SELECT nextval('public.downwards'), nextval('public.downwards');
SELECT lo_from_bytea(4711, '\xdeadbeef00ff');
GRANT SELECT ON public.totals TO reader;
-- What can be loaded only while a file is there: how a load is made to break in the middle.
CREATE FUNCTION public.may_load() RETURNS boolean LANGUAGE sql AS $$ SELECT pg_read_file('/tmp/may-load') LIKE 'yes%' $$;
CREATE TABLE public.zz_guarded (id int CHECK (public.may_load()));
INSERT INTO public.zz_guarded VALUES (1), (2);
"#;

/// A client that keeps a session open, as zync does. Idle: a server that computes for a client does
/// not see that it is gone.
const ZYNC: &str = "apiVersion: apps/v1
kind: Deployment
metadata: { name: zync, namespace: 3scale }
spec:
  replicas: 1
  selector: { matchLabels: { deployment: zync } }
  template:
    metadata: { labels: { deployment: zync } }
    spec:
      terminationGracePeriodSeconds: 1
      securityContext: { runAsUser: 102 }
      containers:
        - name: zync
          image: \"${COFFERDAM_TEST_IMAGE}\"
          command: [\"sh\", \"-c\", \"trap 'exit 0' TERM; while :; do tail -f /dev/null | PGPASSWORD=$PASSWORD PGAPPNAME=zync psql -h zync-database -U zync -d zync_production & wait; sleep 5; done\"]
          env:
            - name: PASSWORD
              valueFrom: { secretKeyRef: { name: zync, key: ZYNC_DATABASE_PASSWORD } }
";

fn server() -> Site {
    let site = Site::with(&["zync-database"]);
    site.in_pod(WORKLOAD, CONTAINER, "echo yes >/tmp/may-load");
    site.kubectl_fed(
        &[
            "exec",
            "-i",
            WORKLOAD,
            "-c",
            CONTAINER,
            "--",
            "psql",
            "-U",
            "postgres",
            "-q",
            "-o",
            "/dev/null",
            "-v",
            "ON_ERROR_STOP=1",
        ],
        CONTENTS,
    );
    site
}

fn sql(site: &Site, database: &str, statement: &str) -> String {
    site.kubectl(&[
        "exec",
        WORKLOAD,
        "-c",
        CONTAINER,
        "--",
        "psql",
        "-U",
        "postgres",
        "-At",
        "-v",
        "ON_ERROR_STOP=1",
        "-d",
        database,
        "-c",
        statement,
    ])
}

/// The whole server as its own dump program writes it, without the random keys.
fn cluster_proof(site: &Site) -> String {
    let dump = "set -e; pg_dumpall -U postgres >/tmp/proof.sql; grep -Ev '^.(un)?restrict [A-Za-z0-9]{63}$' /tmp/proof.sql | sha256sum";
    format!("{}{}", site.in_pod(WORKLOAD, CONTAINER, dump), values(site))
}

fn database_proof(site: &Site) -> String {
    let dump = "set -e; pg_dump -U postgres zync_production >/tmp/proof.sql; grep -Ev '^.(un)?restrict [A-Za-z0-9]{63}$' /tmp/proof.sql | sha256sum";
    format!("{}{}", site.in_pod(WORKLOAD, CONTAINER, dump), values(site))
}

/// Values that do not come from a dump.
fn values(site: &Site) -> String {
    [
        "SELECT orders, price FROM public.totals",
        "SELECT md5(string_agg(o::text, '' ORDER BY id)) FROM \"Big Shop\".\"or=ders t\" AS o",
        "SELECT count(*) FROM public.kept",
        "SELECT public.next_of(41)",
        "SELECT count(*) FROM public.rest",
        "SELECT last_value, is_called FROM public.downwards",
        "SELECT last_value FROM \"Big Shop\".\"or=ders t_id_seq\"",
        "SELECT lo_get(4711)",
        "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal",
    ]
    .map(|statement| sql(site, "zync_production", statement))
    .concat()
}

fn data_set(more: &str) -> String {
    format!("    - name: zync-database\n      module: {{ name: postgresql }}\n{more}")
}

fn check_values_are_real(proof: &str) {
    for value in ["5004|", "\n42\n", "47|t", "\\xdeadbeef00ff", "touched"] {
        assert!(proof.contains(value), "{value}: {proof}");
    }
}

#[test]
fn a_cluster_comes_back_equal_and_the_workloads_that_write_to_it_come_back_too() {
    let site = server();
    site.apply(ZYNC);
    site.wait_available();
    site.prepare(&data_set("      targets: { server: { workload: deployment/zync-database, container: postgresql }, writer: { workload: deployment/zync, container: zync } }\n"));
    let before = cluster_proof(&site);
    check_values_are_real(&before);

    let backup = site.report(&["backup"]).exits(0);
    let artifact = &backup.data_set("zync-database")["artifacts"][0];
    assert_eq!(artifact["name"], "cluster.sql", "{backup}");
    let evidence = artifact["evidence"].to_string();
    for words in [
        "PostgreSQL database cluster dump complete",
        "zync_production/rows/%22Big%20Shop%22.%22or%3Dders%20t%22=5004",
        "zync_production/large-objects=1",
    ] {
        assert!(evidence.contains(words), "{words}: {evidence}");
    }
    let _verified = site.report(&["verify", "latest"]).exits(0);

    // As if an earlier restore had been killed between dropping and making `postgres`, and more.
    let destroyed = "DROP DATABASE zync_production WITH (FORCE); DROP DATABASE postgres WITH (FORCE); CREATE DATABASE stranger;";
    for statement in destroyed
        .split_inclusive(';')
        .filter(|one| one.trim().len() > 1)
    {
        sql(&site, "template1", statement);
    }
    let restored = site.cofferdam(&["restore", "latest", "--yes"]).exits(0);
    let restored = restored.says("the server has no database `postgres`");
    let _said = restored.says("`zync` is scaled to 0");

    assert_eq!(values(&site), before.split_once('\n').expect("two parts").1);
    let stranger = sql(
        &site,
        "postgres",
        "SELECT count(*) FROM pg_database WHERE datname = 'stranger'",
    );
    assert_eq!(
        stranger.trim(),
        "1",
        "what the backup does not have is left"
    );
    sql(&site, "postgres", "DROP DATABASE stranger");
    assert_eq!(cluster_proof(&site), before);
    let replicas = site.kubectl(&["get", "deployment/zync", "-o", "jsonpath={.spec.replicas}"]);
    assert_eq!(replicas, "1", "the writer was not put back");

    // A restore onto what is there already: every role exists, every database is dropped.
    let again = site.cofferdam(&["restore", "latest", "--yes"]).exits(0);
    let _passed = again.says("of `a role exists already`");
    assert_eq!(cluster_proof(&site), before);
}

#[test]
fn a_client_that_is_still_connected_stops_a_restore_before_anything_is_touched() {
    let site = server();
    site.apply(ZYNC);
    site.wait_available();
    let with = |more: &str| {
        site.prepare(&data_set(&format!(
            "      targets: {SERVER}\n      parameters: {{ sessions-deadline: 2s{more} }}\n"
        )));
    };
    with("");
    let _kept = site.report(&["backup"]).exits(0);
    site.wait_until("zync to be connected", || {
        let count = sql(
            &site,
            "postgres",
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'zync'",
        );
        (count.trim() == "1").then_some(())
    });
    sql(&site, "zync_production", "CREATE TABLE newer (id int)");
    let refused = site.cofferdam(&["restore", "latest", "--yes"]).exits(1);
    let refused = refused.says("nothing was touched");
    let _named = refused.says("`zync` of user `zync`");
    sql(&site, "zync_production", "SELECT * FROM newer");

    with(", other-sessions: end");
    let _restored = site.cofferdam(&["restore", "latest", "--yes"]).exits(0);
    let newer = sql(
        &site,
        "zync_production",
        "SELECT count(*) FROM pg_class WHERE relname = 'newer'",
    );
    assert_eq!(newer.trim(), "0");
}

#[test]
fn an_error_in_the_middle_of_a_load_is_said_and_the_next_restore_heals() {
    let site = server();
    site.prepare(&data_set(&format!("      targets: {SERVER}\n")));
    let before = cluster_proof(&site);
    let _kept = site.report(&["backup"]).exits(0);

    site.in_pod(WORKLOAD, CONTAINER, "rm /tmp/may-load");
    let broken = site.cofferdam(&["restore", "latest", "--yes"]).exits(1);
    let broken = broken.says("could not open file");
    let broken = broken.says("/tmp/may-load");
    let _half = broken.says("half restored");

    site.in_pod(WORKLOAD, CONTAINER, "echo yes >/tmp/may-load");
    let _restored = site.cofferdam(&["restore", "latest", "--yes"]).exits(0);
    assert_eq!(cluster_proof(&site), before);
}

#[test]
fn a_database_comes_back_in_one_transaction_or_by_several_jobs() {
    let site = server();
    let with = |more: &str| {
        site.prepare(&data_set(&format!(
            "      targets: {SERVER}\n      parameters: {{ scope: database, database: zync_production{more} }}\n"
        )));
    };
    with("");
    let before = database_proof(&site);
    check_values_are_real(&before);
    let backup = site.report(&["backup"]).exits(0);
    assert_eq!(
        backup.data_set("zync-database")["artifacts"][0]["name"],
        "database.dump",
        "{backup}"
    );

    // Whatever goes wrong, the database is as it was: not as in the backup, and not in between.
    sql(
        &site,
        "zync_production",
        "UPDATE \"Big Shop\".\"or=ders t\" SET price = 1; CREATE TABLE newer (id int)",
    );
    let changed = database_proof(&site);
    assert_ne!(changed, before);
    site.in_pod(WORKLOAD, CONTAINER, "rm /tmp/may-load");
    let broken = site.cofferdam(&["restore", "latest", "--yes"]).exits(1);
    let _as_it_was = broken.says("is as it was: the load is one transaction");
    site.in_pod(WORKLOAD, CONTAINER, "echo yes >/tmp/may-load");
    assert_eq!(database_proof(&site), changed);

    let restored = site.cofferdam(&["restore", "latest", "--yes"]).exits(0);
    let _kept = restored.says("what was there before and is not in the backup is kept");
    sql(&site, "zync_production", "DROP TABLE newer");
    assert_eq!(database_proof(&site), before);

    sql(&site, "postgres", "DROP DATABASE zync_production");
    let _made = site.cofferdam(&["restore", "latest", "--yes"]).exits(0);
    assert_eq!(database_proof(&site), before);

    sql(&site, "zync_production", "CREATE TABLE newer (id int)");
    with(", jobs: 4");
    let _restored = site.cofferdam(&["restore", "latest", "--yes"]).exits(0);
    assert_eq!(database_proof(&site), before);
    let left = site.in_pod(WORKLOAD, CONTAINER, "ls /tmp");
    assert!(!left.contains("cofferdam"), "{left}");
    assert!(!site.kubectl(&["get", "pods", "-n", NAMESPACE]).is_empty());
}

#[test]
fn what_was_restored_into_an_empty_dir_is_not_rolled_away_in_the_same_run() {
    let site = Site::with(&["zync-database"]);
    sql(
        &site,
        "zync_production",
        "CREATE TABLE jobs AS SELECT generate_series(1, 300) AS id",
    );
    let proof = || {
        sql(
            &site,
            "zync_production",
            "SELECT count(*), sum(id) FROM jobs",
        )
    };
    let with = |database: &str, rollout: &str| {
        site.prepare(&format!(
            "    - name: zync-database
      module: {{ name: postgresql }}
      targets: {SERVER}{database}
    - name: rollout-zync-database
      module: {{ name: rollout }}
      targets: {{ workload: {{ workload: {WORKLOAD}, container: {CONTAINER} }} }}{rollout}
"
        ));
    };
    let after = |name: &str| format!("\n      restore: {{ after: [{name}] }}");
    with("", &after("zync-database"));
    let before = "300|45150\n";
    assert_eq!(proof(), before);
    let backup = site.report(&["backup"]).exits(0);
    let evidence = backup.data_set("zync-database")["artifacts"][0]["evidence"].to_string();
    assert!(evidence.contains("emptyDir"), "{evidence}");
    let pod = || {
        site.kubectl(&[
            "get",
            "pods",
            "-l",
            "deployment=zync-database",
            "-o",
            "name",
        ])
    };
    let there = pod();

    let said = "`rollout-zync-database` replaces the pods of deployment/zync-database, and is refused where `zync-database`";
    let plan = site.cofferdam(&["restore", "latest", "--dry-run"]).exits(0);
    assert!(plan.stdout().contains(said), "{plan}");
    assert!(
        plan.stdout()
            .contains("may  guard-pods deployment/zync-database"),
        "{plan}"
    );
    let refused = site
        .report(&["restore", "latest", "--yes"])
        .exits(1)
        .says("the pods of deployment/zync-database must stay for the rest of this run, says data set `zync-database`: what was restored into `zync-database` lies in an emptyDir");
    let database = refused.data_set("zync-database");
    assert!(database.get("failure").is_none(), "{refused}");
    let rollout = refused.data_set("rollout-zync-database");
    assert!(rollout["failure"].is_object(), "{refused}");
    assert_eq!(pod(), there, "the pod was replaced");
    assert_eq!(proof(), before);

    // The other way round the new pod is there first, and is loaded.
    with(&after("rollout-zync-database"), "");
    let plan = site.cofferdam(&["restore", "latest", "--dry-run"]).exits(0);
    assert!(!plan.stdout().contains(said), "{plan}");
    let _restored = site.report(&["restore", "latest", "--yes"]).exits(0);
    assert_ne!(pod(), there, "the pod was not replaced");
    assert_eq!(proof(), before);
}

#[test]
fn postgresql_18_is_kept_and_restored_in_both_scopes() {
    let site = Site::with_objects_only();
    site.apply(POSTGRESQL_18);
    site.wait_available();
    let words = [
        "exec",
        "-i",
        "deployment/system-postgresql",
        "-c",
        "system-postgresql",
        "--",
    ];
    let server = |line: &str, input: &str| {
        let words: Vec<&str> = words.into_iter().chain(["sh", "-ec", line]).collect();
        site.kubectl_fed(&words, input)
    };
    server(
        "echo yes >/tmp/may-load; createuser -U postgres zync; createdb -U postgres -O zync zync_production",
        "",
    );
    server(
        "psql -U postgres -q -o /dev/null -v ON_ERROR_STOP=1",
        CONTENTS,
    );
    let version = server("psql -U postgres -At -c 'SHOW server_version'", "");
    assert!(version.starts_with("18."), "{version}");
    let proof = || {
        server(
            "pg_dumpall -U postgres >/tmp/proof.sql; grep -Ev '^.(un)?restrict [A-Za-z0-9]{63}$' /tmp/proof.sql | sha256sum; psql -U postgres -At -d zync_production -c 'SELECT orders FROM public.totals'",
            "",
        )
    };
    let before = proof();
    assert!(before.contains("5004"), "{before}");
    for scope in ["cluster", "database"] {
        site.prepare(&format!(
            "    - name: system-database
      module: {{ name: postgresql }}
      targets: {{ server: {{ workload: deployment/system-postgresql, container: system-postgresql }} }}
      parameters: {{ scope: {scope}, database: zync_production }}
"
        ));
        let backup = site.report(&["backup"]).exits(0);
        let evidence = backup.data_set("system-database")["artifacts"][0]["evidence"].to_string();
        assert!(evidence.contains(version.trim()), "{evidence}");
        server(
            "psql -U postgres -q -d zync_production -c 'DROP SCHEMA \"Big Shop\" CASCADE'",
            "",
        );
        let left = "psql -U postgres -At -d zync_production -c \"SELECT count(*) FROM pg_namespace WHERE nspname = 'Big Shop'\"";
        assert_eq!(server(left, "").trim(), "0");
        let _restored = site.cofferdam(&["restore", "latest", "--yes"]).exits(0);
        assert_eq!(proof(), before, "{scope}");
    }
}
