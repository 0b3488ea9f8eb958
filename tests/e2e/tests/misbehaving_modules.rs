//! A security engineer installs modules that misbehave: each is stopped with a clear word, the
//! cluster is as it was, and the next data set still runs.
#![expect(clippy::indexing_slicing, reason = "helpers of tests are test code")]

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use e2e::{Answer, Site, audit, place};

/// Allows everything that the base policy does not forbid: what stops these modules is not the site.
const PERMIT_ALL: &str = "@id(\"all\")\npermit (principal, action, resource);\n";

fn site() -> MutexGuard<'static, Site> {
    static SITE: OnceLock<Mutex<Site>> = OnceLock::new();
    let site = SITE.get_or_init(|| {
        let site = Site::with(&["system-app", "backend-redis"]);
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
    // For both data sets: long enough for the good one on a machine that is busy.
    site.report(&["backup", "--timeout", "15s"])
}

const TARGET: &str =
    "      targets: { server: { workload: deployment/system-app, container: system-master } }\n";

/// The same with a guest that may not touch anything: no object has another version afterwards, no
/// command has run in a pod.
#[track_caller]
fn backup_without_touch(site: &Site, guest: &str, more: &str, policy: &str) -> Answer {
    let (before, done) = (site.versions(), site.deeds());
    let answer = backup_with(site, guest, more, Some(policy));
    assert_eq!(site.deeds(), done, "{answer}");
    assert_eq!(site.versions(), before, "{answer}");
    answer
}

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
    the_next_one_ran(answer, site);
}

/// The data set after the guest is kept, and it alone is in the run that `list` shows.
#[track_caller]
fn the_next_one_ran(answer: &Answer, site: &Site) {
    assert!(answer.data_set("objects")["failure"].is_null(), "{answer}");
    assert!(
        answer.data_set("objects")["snapshot"].is_string(),
        "{answer}"
    );
    let newest = site.runs().remove(0);
    assert_eq!(newest["run"], answer.json()["run"]);
    assert_eq!(newest["whole"], false, "{newest}");
    assert_eq!(newest["missing"], serde_json::json!(["guest"]), "{newest}");
    let kept = newest["dataSets"].as_array().expect("a list");
    assert_eq!(kept.len(), 1, "{newest}");
    assert_eq!(kept[0]["name"], "objects", "{newest}");
}

#[test]
fn one_that_spins_is_stopped_in_time() {
    let site = site();
    is_stopped(
        &backup_without_touch(&site, "spins", "", PERMIT_ALL).exits(1),
        &site,
        "15 s",
    );
}

#[test]
fn one_that_sleeps_in_the_host_is_stopped_in_time() {
    let site = site();
    is_stopped(
        &backup_without_touch(&site, "sleeps", "", PERMIT_ALL).exits(1),
        &site,
        "15 s",
    );
}

#[test]
fn one_that_eats_memory_is_stopped_and_the_limit_named() {
    let site = site();
    is_stopped(
        &backup_without_touch(&site, "eats-memory", "", PERMIT_ALL).exits(1),
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
        &backup_without_touch(&site, "panics", "", PERMIT_ALL).exits(1),
        &site,
        "panic",
    );
}

#[test]
fn one_that_commits_nothing_has_no_backup() {
    let site = site();
    is_stopped(
        &backup_without_touch(&site, "commits-nothing", "", PERMIT_ALL).exits(1),
        &site,
        "kept nothing",
    );
}

#[test]
fn one_that_floods_the_log_cannot_steer_the_terminal_and_is_cut_off() {
    let site = site();
    let answer = backup_without_touch(&site, "floods-the-log", "", PERMIT_ALL).exits(0);
    assert!(
        !answer
            .stderr()
            .chars()
            .any(|letter| letter.is_control() && letter != '\n'),
        "a control character reached the terminal"
    );
    assert!(
        answer.stderr().len() < 512 * 1024,
        "{} bytes of log",
        answer.stderr().len()
    );
    let answer = answer.says("the rest of this call is dropped");
    for name in ["guest", "objects"] {
        assert!(answer.data_set(name)["snapshot"].is_string(), "{answer}");
    }
}

#[test]
fn what_a_manifest_does_not_declare_is_refused_whatever_policy_says() {
    let site = site();
    for (ask, capability, sentence) in [
        (
            "command",
            "run-command",
            "declares no command `remove-everything`",
        ),
        ("path", "read-file", "declares no path `secrets`"),
        (
            "write",
            "remove-file",
            "declares path `readable` for reading only",
        ),
        (
            "object",
            "get-object",
            "declares no object `somebody-elses` in group `configuration`",
        ),
        ("group", "get-object", "declares no object group `secrets`"),
        (
            "verb",
            "apply-object",
            "does not declare apply-object for object group `configuration`",
        ),
        ("target", "resolve-target", "declares no target `neighbour`"),
        (
            "rollout",
            "restart",
            "does not declare restart for target `server`",
        ),
        (
            "replicas",
            "set-replicas",
            "does not declare set-replicas for target `server`",
        ),
        (
            "guard",
            "guard-pods",
            "does not declare guard-pods for target `server`",
        ),
        (
            "template",
            "process-template",
            "declares no template `application`",
        ),
        ("dash", "run-command", "would be an option"),
        ("type", "run-command", "hole `count` is not within 1 and 9"),
        ("hole", "run-command", "it has no hole `shell`"),
        (
            "elsewhere",
            "run-command",
            "lets command `say` run on target `server`, not on `other`",
        ),
    ] {
        let more = format!(
            "      parameters: {{ ask-for: {ask} }}\n      targets:\n        server: {{ workload: deployment/system-app, container: system-master }}\n        other: {{ workload: deployment/backend-redis, container: backend-redis }}\n"
        );
        let answer =
            backup_without_touch(&site, "asks-for-the-undeclared", &more, PERMIT_ALL).exits(3);
        is_stopped(&answer, &site, sentence);
        let denied = ["\"event\":\"denied\"", "\"rule\":\"manifest\"", capability];
        place(&audit(&site), &denied);
    }
}

#[test]
fn one_that_goes_on_after_a_refusal_is_done_but_not_proven() {
    let site = site();
    let more = "      parameters: { ask-for: target-and-goes-on }\n      targets:\n        server: { workload: deployment/system-app, container: system-master }\n        other: { workload: deployment/backend-redis, container: backend-redis }\n";
    let answer = backup_without_touch(&site, "asks-for-the-undeclared", more, PERMIT_ALL).exits(4);
    assert_eq!(answer.data_set("guest")["refused"], 1, "{answer}");
    assert!(
        answer.json()["warnings"]
            .to_string()
            .contains("`guest` went on after 1 of its requests were refused"),
        "{answer}"
    );
}

#[test]
fn what_policy_does_not_allow_is_refused_with_the_rule() {
    let site = site();
    let secret = "      parameters: { secrets: [system-app], configmaps: [] }\n";
    for (guest, more, action) in [
        ("copies", TARGET, "run-command"),
        ("copies", TARGET, "resolve-target"),
        ("copies", TARGET, "create-artifact"),
        ("kube-objects", secret, "save-object"),
        ("leaks-a-lease", "", "lease-edit"),
    ] {
        let policy = format!(
            "{PERMIT_ALL}@id(\"not here\")\nforbid (principal, action == Action::\"{action}\", resource in DataSet::\"threescale/guest\");\n"
        );
        let answer = if action == "create-artifact" {
            // The dump was begun by then: reading is all that it does.
            backup_with(&site, guest, more, Some(&policy))
        } else {
            backup_without_touch(&site, guest, more, &policy)
        };
        let answer = answer
            .exits(3)
            .says(&format!("policy does not allow `{action}`"))
            .says("cofferdam policy check");
        is_stopped(&answer, &site, "not here");
        let rule = "rule `not here` forbids it";
        place(&audit(&site), &["\"event\":\"denied\"", action, rule]);
    }
}

#[test]
fn a_path_that_policy_does_not_allow_is_not_read() {
    let site = site();
    let policy = format!(
        "{PERMIT_ALL}@id(\"no dumps\")\nforbid (principal, action == Action::\"read-file\", resource);\n"
    );
    let target = "      targets: { server: { workload: deployment/backend-redis, container: backend-redis } }\n";
    let before = site.versions();
    let answer = backup_with(&site, "redis", target, Some(&policy)).exits(3);
    is_stopped(&answer, &site, "no dumps");
    assert_eq!(site.versions(), before, "{answer}");
    // What the server saved before that is in the pod; not a byte of it came here.
    let reads: Vec<String> = audit(&site)
        .into_iter()
        .filter(|line| line.contains("\"capability\":\"read-file\""))
        .collect();
    assert!(
        !reads.is_empty()
            && reads
                .iter()
                .all(|line| line.contains("\"event\":\"denied\"")),
        "{reads:?}"
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
    let answer = backup_with(&site, "leaks-a-lease", "", Some(PERMIT_ALL)).says("put back");
    assert!(
        answer.data_set("objects")["snapshot"].is_string(),
        "{answer}"
    );
    let mode = site.kubectl(&["get", "configmap/settings", "-o", "jsonpath={.data.mode}"]);
    assert_eq!(mode, "plain");
}
