//! A backup meets everything that can go wrong between it and a pod. In none of these does `list`
//! show a backup that is not whole, and the next data set still runs.
#![expect(clippy::indexing_slicing, reason = "helpers of tests are test code")]

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use e2e::{Site, on_exec_of};
use local_cluster::faults::{Fault, Rule};

const DATA_SETS: &str = "    - name: system-database
      module: { name: mysql }
      targets: { server: { workload: deployment/system-mysql, container: system-mysql } }
      parameters: { database: system }
    - name: objects
      module: { name: kube-objects }
      parameters: { secrets: [system-app], configmaps: [system-environment] }
";

const FILL: &str = "MYSQL_PWD=$MYSQL_ROOT_PASSWORD mysql -uroot -hlocalhost system -e \"CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(64)); INSERT INTO t SELECT seq, SHA2(seq, 256) FROM seq_1_to_20000\"";

/// One site for all stories of this file, one story at a time: the faults are the cluster's.
fn site() -> MutexGuard<'static, Site> {
    static SITE: OnceLock<Mutex<Site>> = OnceLock::new();
    let site = SITE.get_or_init(|| {
        let site = Site::local();
        site.in_pod("deployment/system-mysql", "system-mysql", FILL);
        site.prepare(DATA_SETS);
        Mutex::new(site)
    });
    site.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The dump fails with `text`, the other data set is kept, and no dump is listed.
#[track_caller]
fn the_dump_fails(site: &Site, rule: &Rule, text: &str) {
    // A story before this one may have taken the pod away.
    site.wait_until("a ready database", || {
        let pods = site.kubectl(&[
            "get",
            "pods",
            "-l",
            "deployment=system-mysql",
            "-o",
            "jsonpath={.items[*].status.conditions[?(@.type=='Ready')].status}",
        ]);
        (pods.trim() == "True").then_some(())
    });
    let before = site.runs().len();
    let fault = site.fault(rule);
    let answer = site.report(&["backup"]).exits(1);
    fault.has_struck();
    drop(fault);
    let failure = answer.data_set("system-database")["failure"]["message"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert!(
        failure.contains(text),
        "`{text}` is not in `{failure}`\n{answer}"
    );
    assert!(answer.data_set("objects")["failure"].is_null(), "{answer}");
    let runs = site.runs();
    assert_eq!(runs.len(), before + 1);
    assert_eq!(runs[0]["whole"], false);
    assert_eq!(runs[0]["missing"][0], "system-database");
    assert!(
        runs[0]["dataSets"]
            .as_array()
            .expect("a list")
            .iter()
            .all(|one| one["name"] == "objects")
    );
}

#[test]
fn a_dump_cut_in_the_middle_is_no_backup() {
    let site = site();
    the_dump_fails(
        &site,
        &on_exec_of(
            "mysqldump",
            Fault::CutExec {
                after_bytes: 1_000_000,
            },
        ),
        "without a status",
    );
}

#[test]
fn a_polite_close_without_a_status_is_no_backup() {
    let site = site();
    the_dump_fails(
        &site,
        &on_exec_of("mysqldump", Fault::CloseWithoutStatus { after_bytes: None }),
        "without a status",
    );
}

#[test]
fn a_missing_status_after_all_bytes_is_no_backup() {
    let site = site();
    the_dump_fails(
        &site,
        &on_exec_of("mysqldump", Fault::OmitStatus),
        "without a status",
    );
}

#[test]
fn a_pod_deleted_in_the_middle_is_no_backup() {
    let site = site();
    the_dump_fails(
        &site,
        &on_exec_of(
            "mysqldump",
            Fault::DeletePod {
                after_bytes: 500_000,
            },
        ),
        "ended with 137",
    );
    site.kubectl(&[
        "rollout",
        "status",
        "deployment/system-mysql",
        "--timeout=60s",
    ]);
}

#[test]
fn a_pod_replaced_between_look_up_and_exec_is_said() {
    let site = site();
    the_dump_fails(
        &site,
        &on_exec_of("mysqldump", Fault::ReplacePod).times(1),
        "system-mysql",
    );
    site.kubectl(&[
        "rollout",
        "status",
        "deployment/system-mysql",
        "--timeout=60s",
    ]);
}

#[test]
fn an_exec_that_is_refused_says_why() {
    let site = site();
    let fault = Fault::RefuseExec {
        code: 403,
        message: "pods is forbidden: no exec for you".into(),
    };
    the_dump_fails(&site, &on_exec_of("mysqldump", fault), "no exec for you");
}

#[test]
fn a_server_that_speaks_only_the_older_protocol_is_served() {
    let site = site();
    let fault = site.fault(&Rule::new(Fault::V4Only));
    let _backup = site.report(&["backup"]).exits(0);
    fault.has_struck();
    let _restore = site
        .report(&["restore", "latest", "--yes", "--only", "system-database"])
        .exits(0);
}

#[test]
fn an_overloaded_api_is_asked_again() {
    let site = site();
    let fault = site.fault(
        &Rule::new(Fault::Refuse {
            code: 429,
            retry_after: Some(1),
        })
        .on_path("/deployments/")
        .times(2),
    );
    let _backup = site.report(&["backup"]).exits(0);
    fault.has_struck();
    drop(fault);
    let fault = site.fault(
        &Rule::new(Fault::Refuse {
            code: 503,
            retry_after: None,
        })
        .on_path("/pods")
        .on_method("GET")
        .times(2),
    );
    let _backup = site.report(&["backup"]).exits(0);
    fault.has_struck();
}

#[test]
fn a_rejected_token_is_said_and_nothing_is_kept() {
    let site = site();
    let before = site.runs().len();
    let fault = site.fault(&Rule::new(Fault::RejectToken));
    let answer = site.report(&["backup"]);
    fault.has_struck();
    drop(fault);
    let failure = answer.data_set("system-database")["failure"]["message"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert!(
        failure.contains("Unauthorized") || failure.contains("401") || failure.contains("token"),
        "{answer}"
    );
    assert_eq!(site.runs().len(), before);
}

#[test]
fn two_ready_pods_where_one_is_meant_are_refused() {
    let site = site();
    site.application(&DATA_SETS.replace(
        "deployment/system-mysql, container: system-mysql",
        "deployment/system-app, container: system-master",
    ));
    site.kubectl(&["scale", "deployment/system-app", "--replicas=2"]);
    site.kubectl(&[
        "rollout",
        "status",
        "deployment/system-app",
        "--timeout=60s",
    ]);
    let _written = site.cofferdam(&["policy", "init", "--force"]).exits(0);
    let answer = site.report(&["backup", "--only", "system-database"]);
    site.kubectl(&["scale", "deployment/system-app", "--replicas=1"]);
    site.prepare(DATA_SETS);
    let failure = answer.data_set("system-database")["failure"]["message"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert!(
        failure.contains("2") && failure.contains("system-app"),
        "{answer}"
    );
}

#[test]
fn a_wrong_container_is_named_with_those_there_are() {
    let site = site();
    site.application(&DATA_SETS.replace("container: system-mysql", "container: mysql"));
    let _written = site.cofferdam(&["policy", "init", "--force"]).exits(0);
    let answer = site.report(&["backup", "--only", "system-database"]);
    site.prepare(DATA_SETS);
    let failure = answer.data_set("system-database")["failure"]["message"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert!(
        failure.contains("`mysql`") && failure.contains("system-mysql"),
        "{answer}"
    );
}
