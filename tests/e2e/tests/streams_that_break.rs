//! A backup meets everything that can go wrong between it and a pod. In none of these does `list`
//! show a backup that is not whole, and the next data set still runs.
#![expect(clippy::indexing_slicing, reason = "helpers of tests are test code")]

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use e2e::{Answer, Site, on_exec_of};
use local_cluster::faults::{Fault, Rule};

const DATA_SETS: &str = "    - name: system-database
      module: { name: mysql }
      targets: { server: { workload: deployment/system-mysql, container: system-mysql } }
      parameters: { database: system }
    - name: objects
      module: { name: kube-objects }
      parameters: { secrets: [system-app], configmaps: [system-environment] }
";

/// A word that only the dump itself has: `mysqldump --version` goes before it.
const DUMP: &str = "--single-transaction";

const FILL: &str = "MYSQL_PWD=$MYSQL_ROOT_PASSWORD mysql -uroot -hlocalhost system -e \"CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(64)); INSERT INTO t SELECT seq, SHA2(seq, 256) FROM seq_1_to_20000\"";

/// One site for all stories of this file, one story at a time: the faults are the cluster's.
fn site() -> MutexGuard<'static, Site> {
    static SITE: OnceLock<Mutex<Site>> = OnceLock::new();
    let site = SITE.get_or_init(|| {
        let site = Site::local_with(&["system-mysql", "system-app"]);
        site.in_pod("deployment/system-mysql", "system-mysql", FILL);
        site.prepare(DATA_SETS);
        Mutex::new(site)
    });
    site.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The dump fails with `text` under a fault, the other data set is kept, and no dump is listed.
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
    only_the_objects_are_kept(site, &answer, before, text);
}

/// The database failed with `text`; of this run `list` shows the objects and that it is not whole.
#[track_caller]
fn only_the_objects_are_kept(site: &Site, answer: &Answer, before: usize, text: &str) {
    assert!(
        failure(answer).contains(text),
        "`{text}` is not in `{}`\n{answer}",
        failure(answer)
    );
    assert!(answer.data_set("objects")["failure"].is_null(), "{answer}");
    let runs = site.runs();
    assert_eq!(runs.len(), before + 1);
    assert_eq!(runs[0]["run"], answer.json()["run"]);
    assert_eq!(runs[0]["whole"], false);
    assert_eq!(runs[0]["missing"], serde_json::json!(["system-database"]));
    let kept = runs[0]["dataSets"].as_array().expect("a list");
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(kept[0]["name"], "objects");
}

/// Why the database was not kept.
#[track_caller]
fn failure(answer: &Answer) -> String {
    answer.data_set("system-database")["failure"]["message"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn a_dump_cut_at_99_per_cent_is_no_backup() {
    let site = site();
    let whole = site.report(&["backup"]).exits(0);
    let bytes = whole.data_set("system-database")["bytes"]
        .as_u64()
        .expect("bytes");
    the_dump_fails(
        &site,
        &on_exec_of(
            DUMP,
            Fault::CutExec {
                after_bytes: bytes * 99 / 100,
            },
        ),
        "without a status",
    );
}

#[test]
fn a_dump_program_that_fails_after_the_last_byte_is_no_backup() {
    let site = site();
    // A program of the container's own, found before the server's: it writes all and then fails.
    let path =
        r#"[{"name":"PATH","value":"/tmp/own:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}]"#;
    set_environment(&site, path);
    site.in_pod(
        "deployment/system-mysql",
        "system-mysql",
        "mkdir -p /tmp/own && printf '#!/bin/sh\n/usr/bin/mysqldump \"$@\"\n[ \"$1\" = --version ]\n' > /tmp/own/mysqldump && chmod 755 /tmp/own/mysqldump",
    );
    let before = site.runs().len();
    let answer = site.report(&["backup"]).exits(1);
    set_environment(&site, r#"[{"name":"PATH","$patch":"delete"}]"#);
    only_the_objects_are_kept(&site, &answer, before, "command `dump` ended with 1");
}

/// Changes the environment of the database's container and waits for the pod that has it.
#[track_caller]
fn set_environment(site: &Site, variables: &str) {
    let patch = format!(
        r#"{{"spec":{{"template":{{"spec":{{"containers":[{{"name":"system-mysql","env":{variables}}}]}}}}}}}}"#
    );
    site.kubectl(&["patch", "deployment/system-mysql", "--patch", &patch]);
    site.kubectl(&[
        "rollout",
        "status",
        "deployment/system-mysql",
        "--timeout=60s",
    ]);
}

#[test]
fn a_polite_close_without_a_status_is_no_backup() {
    let site = site();
    the_dump_fails(
        &site,
        &on_exec_of(DUMP, Fault::CloseWithoutStatus { after_bytes: None }),
        "without a status",
    );
}

#[test]
fn a_missing_status_after_all_bytes_is_no_backup() {
    let site = site();
    the_dump_fails(
        &site,
        &on_exec_of(DUMP, Fault::OmitStatus),
        "without a status",
    );
}

#[test]
fn a_pod_deleted_in_the_middle_is_no_backup() {
    let site = site();
    the_dump_fails(
        &site,
        &on_exec_of(
            DUMP,
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
        &on_exec_of(DUMP, Fault::ReplacePod).times(1),
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
    the_dump_fails(&site, &on_exec_of(DUMP, fault), "no exec for you");
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
    let answer = site.report(&["backup"]).exits(1);
    fault.has_struck();
    drop(fault);
    assert!(failure(&answer).contains("Unauthorized"), "{answer}");
    let answer = answer.says("log in again, or renew the token");
    assert!(answer.data_set("objects")["snapshot"].is_null(), "{answer}");
    assert_eq!(site.runs().len(), before);
}

#[test]
fn two_ready_pods_where_one_is_meant_are_refused() {
    let site = site();
    let before = site.runs().len();
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
    assert!(
        failure(&answer)
            .contains("several pods of `deployment/system-app` are ready where one is meant"),
        "{answer}"
    );
    let _hinted = answer.exits(1).says("scale the workload to one pod");
    assert_eq!(site.runs().len(), before);
}

#[test]
fn a_wrong_container_is_named_with_those_there_are() {
    let site = site();
    let before = site.runs().len();
    site.application(&DATA_SETS.replace("container: system-mysql", "container: mysql"));
    let _written = site.cofferdam(&["policy", "init", "--force"]).exits(0);
    let answer = site.report(&["backup", "--only", "system-database"]);
    site.prepare(DATA_SETS);
    assert!(
        failure(&answer)
            .contains("`deployment/system-mysql` has no container `mysql`, only `system-mysql`"),
        "{answer}"
    );
    let _hinted = answer
        .exits(1)
        .says("correct `container` in the application file");
    assert_eq!(site.runs().len(), before);
}

#[test]
fn check_names_what_a_backup_would_fail_for_each_with_its_hint() {
    let site = site();
    let clean = site.cofferdam(&["check"]).exits(0);
    for found in [
        "ok       application: ",
        "ok       repository: ",
        "ok       cluster: ",
        "ok       rights: ",
        "ok       policy: ",
        "`mysqldump` is there as `/usr/bin/mysqldump`",
    ] {
        assert!(clean.stdout().contains(found), "no `{found}`\n{clean}");
    }

    let fault = site.fault(&Rule::new(Fault::Forbid {
        verb: Some("create".into()),
        resource: Some("pods/exec".into()),
    }));
    let answer = site.report(&["check"]).exits(1);
    fault.has_struck();
    drop(fault);
    finds(&answer, "failed", "pods/exec", "bind a Role");

    site.application(&DATA_SETS.replace("container: system-mysql", "container: mysql"));
    let answer = site.report(&["check"]).exits(1);
    finds(
        &answer,
        "failed",
        "has no container `mysql`",
        "correct `container`",
    );
    finds(
        &answer,
        "warning",
        "policy does not allow",
        "will be refused",
    );
    site.application(&DATA_SETS.replace("deployment/system-mysql", "deployment/mysql"));
    let answer = site.report(&["check"]).exits(1);
    finds(
        &answer,
        "failed",
        "no `deployment/mysql`",
        "correct `workload`",
    );
    site.prepare(DATA_SETS);

    site.write("other-password", "wrong\n");
    let path = site.path("other-password").display().to_string();
    let answer = site.report(&["check", "--password-file", &path]).exits(1);
    finds(&answer, "failed", "the password does not open", "look at");
}

/// One of the findings has all of this.
#[track_caller]
fn finds(answer: &Answer, state: &str, message: &str, hint: &str) {
    let has = |one: &serde_json::Value, key: &str, text: &str| {
        one[key].as_str().is_some_and(|found| found.contains(text))
    };
    let findings = answer.json()["findings"].clone();
    let found =
        findings.as_array().expect("a list").iter().any(|one| {
            one["state"] == state && has(one, "message", message) && has(one, "hint", hint)
        });
    assert!(found, "nothing {state} of `{message}`, `{hint}`\n{answer}");
}
