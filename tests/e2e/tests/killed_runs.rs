//! The host is killed where it hurts most; the next run puts things in order before anything else.

use std::io::{BufRead, BufReader};
use std::process::Child;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

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

/// A word that only the dump has: `mysqldump --version` goes before it.
const DUMP: &str = "--single-transaction";

/// Two words that only the load has, one behind the other: how many jobs, and the database.
const LOAD: &str = "2&command=system";

const FILL: &str = "MYSQL_PWD=$MYSQL_ROOT_PASSWORD mysql -uroot -hlocalhost system -e \"DROP TABLE IF EXISTS t; CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(64)); INSERT INTO t SELECT seq, SHA2(seq, 256) FROM seq_1_to_50000\"";

/// One cluster for all stories of this file, one story at a time, each with data, runs and a
/// repository of its own: four clusters at once would have eight database servers come up.
fn site() -> MutexGuard<'static, Site> {
    static SITE: OnceLock<Mutex<Site>> = OnceLock::new();
    let site =
        SITE.get_or_init(|| Mutex::new(Site::local_with(&["system-mysql", "backend-redis"])));
    let mut site = site.lock().unwrap_or_else(PoisonError::into_inner);
    site.begin_anew();
    site.in_pod("deployment/system-mysql", "system-mysql", FILL);
    site.in_pod(
        "deployment/backend-redis",
        "backend-redis",
        "redis-cli FLUSHALL && seq 1 1000 | sed 's/.*/SET key:& &/' | redis-cli --pipe",
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

/// Waits until a run says that bytes of the artifact have gone by. What it says later is read too,
/// so that it never waits for a reader.
fn wait_for_bytes(run: &mut Child) {
    let mut lines = BufReader::new(run.stderr.take().expect("its words")).lines();
    let mut said = String::new();
    let flows = lines.by_ref().map_while(Result::ok).any(|line| {
        said.push_str(&line);
        said.push('\n');
        line.starts_with("system-database: dump.sql: ")
    });
    assert!(flows, "it ended without a word of bytes:\n{said}");
    std::thread::spawn(move || lines.for_each(drop));
}

#[test]
fn killed_during_the_dump_nothing_is_listed_and_the_next_backup_works() {
    let site = site();
    let fault = site.fault(&on_exec_of(
        DUMP,
        Fault::SlowWriter {
            bytes_per_second: 200_000,
        },
    ));
    let mut run = site.begin(&["backup", "--only", "system-database"]);
    wait_for_bytes(&mut run);
    fault.has_struck();

    // While it lives its lock holds: nobody prunes, and who is in the way is named.
    let locks = site.report(&["repository", "locks"]).exits(0).json();
    assert_eq!(locks[0]["owner"]["process_id"], run.id(), "{locks}");
    assert_eq!(locks[0]["stale"], false, "{locks}");
    let _refused = site
        .cofferdam(&["prune", "--keep-last", "1"])
        .exits(2)
        .says("the repository is locked by")
        .says(&format!("process {}", run.id()));
    let _busy = site
        .cofferdam(&["backup", "--only", "system-database"])
        .exits(2)
        .says("hint");

    run.kill().expect("killed");
    run.wait().expect("reaped");
    drop(fault);
    assert!(site.runs().is_empty(), "{:?}", site.runs());
    let locks = site.report(&["repository", "locks"]).exits(0).json();
    assert_eq!(locks[0]["stale"], true, "{locks}");
    let next = site
        .report(&["backup"])
        .exits(0)
        .says("was interrupted")
        .says("broke a stale lock");
    assert!(
        next.json()["warnings"]
            .to_string()
            .contains("broke a stale lock"),
        "{next}"
    );
    assert_eq!(site.runs().len(), 1);
    let locks = site.report(&["repository", "locks"]).exits(0).json();
    assert_eq!(locks, serde_json::json!([]));
    let _checked = site
        .cofferdam(&["repository", "check", "--read-data"])
        .exits(0);
}

#[test]
fn killed_during_the_restore_of_a_database_the_next_restore_finishes_the_work() {
    let site = site();
    let _backup = site.report(&["backup"]).exits(0);
    let fault = site.fault(&on_exec_of(
        LOAD,
        Fault::SlowReader {
            bytes_per_second: 200_000,
        },
    ));
    let mut run = site.begin(&["restore", "latest", "--yes", "--only", "system-database"]);
    // All of this dump fits into the buffers on the way, so what the run says tells nothing.
    site.wait_until("the load to begin", || {
        let rules = site.client().faults().expect("the faults");
        rules.iter().all(|rule| rule.struck > 0).then_some(())
    });
    run.kill().expect("killed");
    run.wait().expect("reaped");
    drop(fault);
    let _next = site
        .report(&["restore", "latest", "--yes", "--only", "system-database"])
        .exits(0)
        .says("was interrupted in step `load` of system-database");
    let count = site.in_pod("deployment/system-mysql", "system-mysql", "MYSQL_PWD=$MYSQL_ROOT_PASSWORD mysql -uroot -hlocalhost system -sNe 'SELECT COUNT(*) FROM t'");
    assert_eq!(count.trim(), "50000");
}

#[test]
fn a_restore_that_is_started_twice_at_once_is_refused_and_the_first_ends_well() {
    let site = site();
    let _backup = site.report(&["backup"]).exits(0);
    let empty = "MYSQL_PWD=$MYSQL_ROOT_PASSWORD mysql -uroot -hlocalhost system -e 'DELETE FROM t'";
    site.in_pod("deployment/system-mysql", "system-mysql", empty);
    let fault = site.fault(&on_exec_of(
        LOAD,
        Fault::SlowReader {
            bytes_per_second: 200_000,
        },
    ));
    let mut first = site.begin(&["restore", "latest", "--yes"]);
    site.wait_until("the load to begin", || {
        let rules = site.client().faults().expect("the faults");
        rules.iter().all(|rule| rule.struck > 0).then_some(())
    });
    let _second = site
        .cofferdam(&["restore", "latest", "--yes"])
        .exits(2)
        .says("is under way on this machine")
        .says("hint");
    drop(fault);
    let said = std::io::read_to_string(first.stderr.take().expect("its words")).expect("read");
    assert!(first.wait().expect("reaped").success(), "{said}");
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

    redis_is_restored_whole(&site, &original);
}

/// A restore ends well: all keys, the configuration as it was, the append-only file on.
#[track_caller]
fn redis_is_restored_whole(site: &Site, original: &str) {
    let _whole = site
        .report(&["restore", "latest", "--yes", "--only", "backend-redis"])
        .exits(0);
    assert_eq!(redis_configuration(site), original);
    let state = site.in_pod(
        "deployment/backend-redis",
        "backend-redis",
        "redis-cli DBSIZE; redis-cli GET key:617; redis-cli CONFIG GET appendonly",
    );
    assert_eq!(state, "1000\n617\nappendonly\nyes\n");
}

#[test]
fn killed_with_the_dump_loaded_and_aof_still_off_the_next_restore_ends_whole() {
    let site = site();
    let original = redis_configuration(&site);
    let _backup = site.report(&["backup", "--only", "backend-redis"]).exits(0);
    // `CONFIG SET appendonly yes` is asked for again and again while the API is busy.
    let fault = site.fault(&on_exec_of(
        "SET",
        Fault::Refuse {
            code: 503,
            retry_after: None,
        },
    ));
    let mut run = site.begin(&["restore", "latest", "--yes", "--only", "backend-redis"]);
    site.wait_until("the append-only file to be turned on", || {
        let rules = site.client().faults().expect("the faults");
        rules.iter().all(|rule| rule.struck > 0).then_some(())
    });
    run.kill().expect("killed");
    run.wait().expect("reaped");
    drop(fault);
    assert_ne!(redis_configuration(&site), original);
    redis_is_restored_whole(&site, &original);
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
    // Who started it is gone, and nobody reads what it says.
    drop(run.stderr.take());
    let pid = i32::try_from(run.id()).expect("a process id");
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(pid),
        nix::sys::signal::Signal::SIGTERM,
    )
    .expect("asked to end");
    let status = run.wait().expect("ended");
    assert_eq!(status.code(), Some(1), "a cancelled run is no wrong use");
    assert_eq!(redis_configuration(&site), original);
}
