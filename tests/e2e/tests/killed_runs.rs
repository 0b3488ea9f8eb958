//! The host is killed where it hurts most; the next run puts things in order before anything else.
#![expect(clippy::disallowed_methods, reason = "helpers of tests are test code")]

use e2e::{Site, on_exec_of};
use local_cluster::faults::Fault;

const DATA_SETS: &str = "    - name: system-database
      module: { name: mysql }
      targets: { server: { workload: deployment/system-mysql, container: system-mysql } }
      parameters: { database: system }
    - name: backend-redis
      module: { name: redis }
      targets: { server: { workload: deployment/backend-redis, container: backend-redis } }
";

const FILL: &str = "MYSQL_PWD=$MYSQL_ROOT_PASSWORD mysql -uroot -hlocalhost system -e \"CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(64)); INSERT INTO t SELECT seq, SHA2(seq, 256) FROM seq_1_to_50000\"";

fn site() -> Site {
    let site = Site::local();
    site.in_pod("deployment/system-mysql", "system-mysql", FILL);
    site.in_pod(
        "deployment/backend-redis",
        "backend-redis",
        "seq 1 1000 | sed 's/.*/SET key:& &/' | redis-cli --pipe",
    );
    site.prepare(DATA_SETS);
    site
}

fn redis_configuration(site: &Site) -> String {
    site.kubectl(&[
        "get",
        "configmap/redis-config",
        "-o",
        "jsonpath={.data.redis\\.conf}",
    ])
}

fn journal(site: &Site) -> String {
    let runs = site.path("state/threescale/runs");
    let mut journals: Vec<_> = std::fs::read_dir(runs)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("journal.jsonl"))
        .collect();
    journals.sort();
    journals
        .last()
        .and_then(|path| std::fs::read_to_string(path).ok())
        .unwrap_or_default()
}

#[test]
fn killed_during_the_dump_nothing_is_listed_and_the_next_backup_works() {
    let site = site();
    let fault = site.fault(&on_exec_of(
        "mysqldump",
        Fault::SlowWriter {
            bytes_per_second: 200_000,
        },
    ));
    let mut run = site.begin(&["backup", "--only", "system-database"]);
    site.wait_until("the dump to flow", || {
        (fault_struck(&site) && journal(&site).contains("data-set-begun")).then_some(())
    });
    run.kill().expect("killed");
    run.wait().expect("reaped");
    drop(fault);
    assert!(site.runs().is_empty(), "{:?}", site.runs());
    let _next = site.report(&["backup"]).exits(0).says("was interrupted");
    assert_eq!(site.runs().len(), 1);
    let _checked = site
        .cofferdam(&["repository", "check", "--read-data"])
        .exits(0);
}

fn fault_struck(site: &Site) -> bool {
    site.client()
        .faults()
        .expect("the faults")
        .iter()
        .any(|rule| rule.struck > 0)
}

#[test]
fn killed_during_the_restore_of_a_database_the_next_restore_finishes_the_work() {
    let site = site();
    let _backup = site.report(&["backup"]).exits(0);
    let fault = site.fault(&on_exec_of(
        "mysql",
        Fault::SlowReader {
            bytes_per_second: 200_000,
        },
    ));
    let mut run = site.begin(&["restore", "latest", "--yes", "--only", "system-database"]);
    site.wait_until("the load to flow", || fault_struck(&site).then_some(()));
    run.kill().expect("killed");
    run.wait().expect("reaped");
    drop(fault);
    let _next = site
        .report(&["restore", "latest", "--yes", "--only", "system-database"])
        .exits(0)
        .says("was interrupted");
    let count = site.in_pod("deployment/system-mysql", "system-mysql", "MYSQL_PWD=$MYSQL_ROOT_PASSWORD mysql -uroot -hlocalhost system -sNe 'SELECT COUNT(*) FROM t'");
    assert_eq!(count.trim(), "50000");
}

#[test]
fn killed_between_aof_off_and_aof_on_the_next_run_puts_the_configuration_back_first() {
    let site = site();
    let original = redis_configuration(&site);
    let _backup = site.report(&["backup", "--only", "backend-redis"]).exits(0);
    let mut run = site.begin(&["restore", "latest", "--yes", "--only", "backend-redis"]);
    site.wait_until("the restore mode", || {
        redis_configuration(&site)
            .contains("appendonly no")
            .then_some(())
    });
    run.kill().expect("killed");
    run.wait().expect("reaped");
    assert_ne!(
        redis_configuration(&site),
        original,
        "the kill came too late to prove anything"
    );

    // A run that has nothing to do with Redis puts it back all the same, before its own work.
    let next = site
        .report(&["backup", "--only", "system-database"])
        .exits(0)
        .says("redis-config");
    let said = next.stderr().find("redis-config").expect("said");
    let begun = next.stderr().find("system-database").expect("begun");
    assert!(said < begun, "put back too late\n{next}");
    assert_eq!(redis_configuration(&site), original);

    let _whole = site.report(&["restore", "latest", "--yes", "--only", "backend-redis"]);
    assert_eq!(redis_configuration(&site), original);
}

#[test]
fn cancelled_with_sigterm_a_restore_puts_its_lease_back_before_it_ends() {
    let site = site();
    let original = redis_configuration(&site);
    let _backup = site.report(&["backup", "--only", "backend-redis"]).exits(0);
    let mut run = site.begin(&["restore", "latest", "--yes", "--only", "backend-redis"]);
    site.wait_until("the restore mode", || {
        redis_configuration(&site)
            .contains("appendonly no")
            .then_some(())
    });
    let pid = i32::try_from(run.id()).expect("a process id");
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(pid),
        nix::sys::signal::Signal::SIGTERM,
    )
    .expect("asked to end");
    let status = run.wait().expect("ended");
    assert!(!status.success());
    assert_eq!(redis_configuration(&site), original);
}
