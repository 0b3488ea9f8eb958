//! A security engineer installs modules that misbehave: each is stopped with a clear word, the
//! cluster is as it was, and the next data set still runs.
#![expect(
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "helpers of tests are test code"
)]

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use e2e::{Answer, Site};

/// Allows everything that the base policy does not forbid: what stops these modules is not the site.
const PERMIT_ALL: &str = "@id(\"all\")\npermit (principal, action, resource);\n";

fn site() -> MutexGuard<'static, Site> {
    static SITE: OnceLock<Mutex<Site>> = OnceLock::new();
    let site = SITE.get_or_init(|| {
        let site = Site::start();
        site.prepare("    - { name: objects, module: { name: kube-objects }, parameters: { secrets: [], configmaps: [system-environment] } }\n");
        site.kubectl_fed(
            &["apply", "-f", "-"],
            "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: settings }\ndata: { mode: plain }\n",
        );
        Mutex::new(site)
    });
    site.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Backs up with one guest and, after it in the file, a well-behaved module.
fn backup_with(site: &Site, guest: &str, more: &str, policy: Option<&str>) -> Answer {
    site.application(&format!(
        "    - name: guest\n      module: {{ name: {guest} }}\n{more}    - {{ name: objects, module: {{ name: kube-objects }}, parameters: {{ secrets: [], configmaps: [system-environment] }} }}\n"
    ));
    match policy {
        Some(policy) => drop(site.write("cofferdam.cedar", policy)),
        None => drop(site.cofferdam(&["policy", "init", "--force"]).exits(0)),
    }
    site.report(&["backup", "--timeout", "3s"])
}

const TARGET: &str =
    "      targets: { server: { workload: deployment/system-app, container: system-master } }\n";

/// The guest fails with `text`; the next data set is kept; nothing of the guest is listed.
#[track_caller]
fn is_stopped(answer: &Answer, site: &Site, text: &str) {
    let failure = answer.data_set("guest")["failure"]["message"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert!(
        failure.contains(text),
        "`{text}` is not in `{failure}`\n{answer}"
    );
    assert!(answer.data_set("objects")["failure"].is_null(), "{answer}");
    let newest = site.runs().remove(0);
    assert!(
        newest["dataSets"]
            .as_array()
            .expect("a list")
            .iter()
            .all(|one| one["name"] == "objects"),
        "{newest}"
    );
    let mode = site.kubectl(&["get", "configmap/settings", "-o", "jsonpath={.data.mode}"]);
    assert_eq!(mode, "plain", "the cluster was not left as it was");
}

#[test]
fn one_that_spins_is_stopped_in_time() {
    let site = site();
    is_stopped(
        &backup_with(&site, "spins", "", Some(PERMIT_ALL)).exits(1),
        &site,
        "3 s",
    );
}

#[test]
fn one_that_sleeps_in_the_host_is_stopped_in_time() {
    let site = site();
    is_stopped(
        &backup_with(&site, "sleeps", "", Some(PERMIT_ALL)).exits(1),
        &site,
        "3 s",
    );
}

#[test]
fn one_that_eats_memory_is_stopped_and_the_limit_named() {
    let site = site();
    is_stopped(
        &backup_with(&site, "eats-memory", "", Some(PERMIT_ALL)).exits(1),
        &site,
        "memory",
    );
}

#[test]
fn one_that_overflows_its_stack_is_stopped() {
    let site = site();
    is_stopped(
        &backup_with(&site, "overflows-the-stack", "", Some(PERMIT_ALL)).exits(1),
        &site,
        "stack",
    );
}

#[test]
fn one_that_panics_is_stopped_with_its_own_words() {
    let site = site();
    is_stopped(
        &backup_with(&site, "panics", "", Some(PERMIT_ALL)).exits(1),
        &site,
        "panic",
    );
}

#[test]
fn one_that_commits_nothing_has_no_backup() {
    let site = site();
    is_stopped(
        &backup_with(&site, "commits-nothing", "", Some(PERMIT_ALL)).exits(1),
        &site,
        "",
    );
}

#[test]
fn one_that_floods_the_log_cannot_steer_the_terminal() {
    let site = site();
    let answer = backup_with(&site, "floods-the-log", "", Some(PERMIT_ALL));
    assert!(
        !answer.stderr().contains('\u{1b}'),
        "an escape reached the terminal"
    );
    assert!(
        answer.stderr().len() < 4 * 1024 * 1024,
        "{} bytes of log",
        answer.stderr().len()
    );
}

#[test]
fn what_a_manifest_does_not_declare_is_refused_whatever_policy_says() {
    let site = site();
    for ask in [
        "command",
        "path",
        "write",
        "object",
        "group",
        "verb",
        "target",
        "rollout",
        "replicas",
        "template",
        "dash",
        "type",
        "hole",
        "elsewhere",
    ] {
        let more = format!(
            "      parameters: {{ ask-for: {ask} }}\n      targets:\n        server: {{ workload: deployment/system-app, container: system-master }}\n        other: {{ workload: deployment/backend-redis, container: backend-redis }}\n"
        );
        let answer = backup_with(&site, "asks-for-the-undeclared", &more, Some(PERMIT_ALL));
        is_stopped(&answer, &site, "");
    }
}

#[test]
fn what_policy_does_not_allow_is_refused_with_the_rule() {
    let site = site();
    let forbid = format!(
        "{PERMIT_ALL}@id(\"no printing\")\nforbid (principal, action == Action::\"run-command\", resource);\n"
    );
    let answer = backup_with(&site, "copies", TARGET, Some(&forbid)).exits(3);
    is_stopped(&answer, &site, "no printing");
    let audit = std::fs::read_dir(site.path("state/threescale/runs"))
        .expect("runs")
        .flatten();
    let newest = audit
        .map(|entry| entry.path().join("audit.jsonl"))
        .max()
        .expect("an audit log");
    let text = std::fs::read_to_string(newest).expect("read");
    assert!(
        text.contains("\"event\":\"denied\"") && text.contains("no printing"),
        "{text}"
    );
}

#[test]
fn the_smallest_policy_is_enough_for_a_well_behaved_module() {
    let site = site();
    let answer = backup_with(&site, "copies", TARGET, None).exits(0);
    assert!(
        answer.data_set("guest")["bytes"].as_u64().expect("bytes") > 0,
        "{answer}"
    );
}

#[test]
fn a_lease_that_a_module_forgets_is_put_back() {
    let site = site();
    let _answer = backup_with(&site, "leaks-a-lease", "", Some(PERMIT_ALL)).says("put back");
    let mode = site.kubectl(&["get", "configmap/settings", "-o", "jsonpath={.data.mode}"]);
    assert_eq!(mode, "plain");
}
