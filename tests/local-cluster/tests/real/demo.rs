//! The demo application on real servers: it comes up, its names resolve, its volumes outlive its
//! pods, and its emptyDir does not.

use local_cluster::demo::NAMESPACE;

use crate::Bed;

/// Brings the demo up until every workload is available.
fn start(bed: &Bed) {
    bed.feed(
        &["apply", "-f", "-"],
        &local_cluster::demo::manifests("none"),
    );
    bed.run(&[
        "wait",
        "--for=condition=Available",
        "deployment",
        "--all",
        "--timeout=180s",
    ]);
}

fn in_pod(bed: &Bed, workload: &str, container: &str, script: &str) -> String {
    let target = format!("deployment/{workload}");
    bed.run(&["exec", &target, "-c", container, "--", "sh", "-ec", script])
        .trim()
        .to_owned()
}

fn restart(bed: &Bed, workload: &str) {
    let target = format!("deployment/{workload}");
    bed.run(&["rollout", "restart", &target]);
    bed.run(&["rollout", "status", &target, "--timeout=120s"]);
}

const SQL: &str = "MYSQL_PWD=\"$MYSQL_ROOT_PASSWORD\" mariadb -hlocalhost -uroot system -Ne";

#[test]
fn the_demo_serves_and_keeps_its_data_where_it_should() {
    let bed = Bed::new(NAMESPACE);
    start(&bed);
    in_pod(
        &bed,
        "system-mysql",
        "system-mysql",
        &format!("{SQL} 'CREATE TABLE t (a INT); INSERT INTO t VALUES (42)'"),
    );
    for redis in ["backend-redis", "system-redis"] {
        in_pod(&bed, redis, redis, &format!("redis-cli set who {redis}"));
    }
    let zync = "psql -qtAc 'CREATE TABLE t AS SELECT 7 AS a' zync_production";
    in_pod(&bed, "zync-database", "postgresql", zync);
    in_pod(
        &bed,
        "system-app",
        "system-provider",
        "echo x >/opt/system/public/system/file",
    );

    // Names of services lead from one pod to another.
    let ping = "redis-cli -h backend-redis get who";
    assert_eq!(
        in_pod(&bed, "system-redis", "system-redis", ping),
        "backend-redis"
    );
    let shared = "cat /opt/system/public/system/file";
    assert_eq!(
        in_pod(&bed, "system-sidekiq", "system-sidekiq", shared),
        "x"
    );

    for workload in ["system-mysql", "backend-redis", "zync-database"] {
        restart(&bed, workload);
    }
    let row = in_pod(
        &bed,
        "system-mysql",
        "system-mysql",
        &format!("{SQL} 'SELECT a FROM t'"),
    );
    assert_eq!(row, "42");
    assert_eq!(
        in_pod(&bed, "backend-redis", "backend-redis", "redis-cli get who"),
        "backend-redis"
    );
    let tables =
        "psql -qtAc \"SELECT count(*) FROM pg_tables WHERE tablename = 't'\" zync_production";
    assert_eq!(
        in_pod(&bed, "zync-database", "postgresql", tables),
        "0",
        "an emptyDir is new"
    );
    let config = "redis-cli config get save | tail -1";
    let save = in_pod(&bed, "system-redis", "system-redis", config);
    assert_eq!(save, "900 1 300 10 60 10000");
}

#[test]
fn volumes_that_are_kept_as_templates_spare_the_first_initialisation() {
    let templates = tempfile::tempdir().unwrap();
    let keep = Some(templates.path().to_owned());
    let first = Bed::with(NAMESPACE, |options| {
        options.save_templates.clone_from(&keep);
    });
    start(&first);
    drop(first);
    assert!(templates.path().join("mysql-storage/mysql").is_dir());

    let second = Bed::with(NAMESPACE, |options| options.templates = keep);
    start(&second);
    let log = second.run(&["logs", "deployment/system-mysql"]);
    assert!(!log.contains("made the data folder"), "{log}");
    let tables = in_pod(
        &second,
        "system-mysql",
        "system-mysql",
        &format!("{SQL} 'SHOW TABLES'"),
    );
    assert_eq!(tables, "");
}
