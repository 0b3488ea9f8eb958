//! A backup of an application that stands still: stopped in order with its queues drained, put back
//! in reverse whatever happens, and told what that means for its jobs.
#![expect(
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "what is missing fails its story either way"
)]

use std::process::Child;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use e2e::{NAMESPACE, Site, audit, journal, on_exec_of, place};
use local_cluster::faults::{Fault, Rule};
use serde_json::{Value, json};

/// Takes a job after the other from a queue of Resque, unless it is told to pause.
const WORKER: &str = r#"cli() { redis-cli -h backend-redis -n 1 "$@"; }; trap "exit 0" TERM; while :; do [ "$(cli GET pause)" = yes ] || cli LPOP resque:queue:main >/dev/null; sleep 0.05; done"#;

/// A gateway only waits; the application has files.
const WAITS: &str = r#"mkdir -p /tmp/system; echo logo >/tmp/system/logo; trap "exit 0" TERM; while :; do sleep 3600 & wait "$!"; done"#;

const STOPS: [(&str, u64); 3] = [("apicast", 2), ("system-app", 1), ("backend-worker", 2)];

fn workload(name: &str, replicas: u64, script: &str) -> String {
    let script = json!(script);
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{ name: {name}, namespace: {NAMESPACE} }}
spec:
  replicas: {replicas}
  selector: {{ matchLabels: {{ deployment: {name} }} }}
  template:
    metadata: {{ labels: {{ deployment: {name} }} }}
    spec:
      terminationGracePeriodSeconds: 2
      containers:
        - name: main
          image: \"${{COFFERDAM_TEST_IMAGE}}\"
          command: [sh, -c, {script}]
---
"
    )
}

/// The data sets, with parameters for the one that stops the worker.
fn data_sets(worker: &str) -> String {
    format!(
        "    - name: backend-redis
      module: {{ name: redis }}
      targets: {{ server: {{ workload: deployment/backend-redis, container: backend-redis }} }}
    - name: system-storage
      module: {{ name: files }}
      targets: {{ server: {{ workload: deployment/system-app, container: main }} }}
      parameters: {{ folder: /tmp/system }}
    - name: rollout-apicast
      module: {{ name: rollout }}
      targets: {{ workload: {{ workload: deployment/apicast, container: main }} }}
    - name: stop-worker
      module: {{ name: quiesce }}
      targets:
        workload: {{ workload: deployment/backend-worker, container: main }}
        queues: {{ workload: deployment/backend-redis, container: backend-redis }}
      parameters: {{ database: 1, prefix: \"resque:\"{worker} }}
    - name: stop-app
      module: {{ name: quiesce }}
      targets: {{ workload: {{ workload: deployment/system-app, container: main }} }}
      backup: {{ after: [system-storage] }}
    - name: stop-apicast
      module: {{ name: quiesce }}
      targets: {{ workload: {{ workload: deployment/apicast, container: main }} }}
"
    )
}

const QUIESCE: &str = "  quiesce: [stop-apicast, stop-app, stop-worker]\n";

/// One cluster for all stories of this file, one story at a time, each with runs and a repository of
/// its own.
fn site() -> MutexGuard<'static, Site> {
    static SITE: OnceLock<Mutex<Site>> = OnceLock::new();
    let site = SITE.get_or_init(|| {
        let site = Site::local_with(&["backend-redis"]);
        let mut yaml = String::new();
        for (name, replicas) in STOPS {
            let script = if name == "backend-worker" {
                WORKER
            } else {
                WAITS
            };
            yaml.push_str(&workload(name, replicas, script));
        }
        site.apply(&yaml);
        site.wait_available();
        Mutex::new(site)
    });
    let mut site = site.lock().unwrap_or_else(PoisonError::into_inner);
    site.begin_anew();
    redis(&site, "FLUSHALL");
    for (name, replicas) in STOPS {
        let replicas = format!("--replicas={replicas}");
        site.kubectl(&["scale", &format!("deployment/{name}"), &replicas]);
    }
    settled(&site);
    site.prepare(&format!("{}{QUIESCE}", data_sets("")));
    site
}

fn redis(site: &Site, command: &str) -> String {
    let line = format!("redis-cli -n 1 {command}");
    site.in_pod("deployment/backend-redis", "backend-redis", &line)
}

/// Jobs as `Resque.enqueue` leaves them, and whether a worker takes them.
fn queue(site: &Site, jobs: usize, pause: bool) {
    if pause {
        redis(site, "SET pause yes");
    }
    redis(site, "SADD resque:queues main stats");
    let line = format!(
        "seq 1 {jobs} | sed 's/.*/RPUSH resque:queue:main job-&/' | redis-cli -n 1 >/dev/null"
    );
    site.in_pod("deployment/backend-redis", "backend-redis", &line);
}

fn wanted(site: &Site, name: &str) -> u64 {
    let path = "jsonpath={.spec.replicas}";
    let shown = site.kubectl(&["get", &format!("deployment/{name}"), "-o", path]);
    shown.trim().parse().expect("a number")
}

fn all_wanted(site: &Site) -> Vec<(&'static str, u64)> {
    let workloads = STOPS.iter();
    workloads
        .map(|(name, _)| (*name, wanted(site, name)))
        .collect()
}

/// How many pods of each there are and are ready.
fn all_available(site: &Site) -> Vec<(&'static str, u64)> {
    let path = "jsonpath={.status.availableReplicas}";
    let available = |name: &str| {
        let shown = site.kubectl(&["get", &format!("deployment/{name}"), "-o", path]);
        shown.trim().parse().unwrap_or(0)
    };
    STOPS.map(|(name, _)| (name, available(name))).to_vec()
}

/// Waits until all pods of before are back.
fn settled(site: &Site) {
    for (name, _) in STOPS {
        let workload = format!("deployment/{name}");
        site.kubectl(&["rollout", "status", &workload, "--timeout=120s"]);
    }
}

/// The names of the pods of what is stopped.
fn pods(site: &Site) -> String {
    let selector = "deployment in (apicast,system-app,backend-worker)";
    site.kubectl(&["get", "pods", "-l", selector, "-o", "name"])
}

/// A pair of the evidence of a data set's one artifact.
#[track_caller]
fn evidence(answer: &e2e::Answer, data_set: &str, key: &str) -> Value {
    let pairs = answer.data_set(data_set)["artifacts"][0]["evidence"].clone();
    let pairs = pairs.as_array().cloned().expect("evidence");
    let pair = pairs.into_iter().find(|pair| pair[0] == key);
    assert!(pair.is_some(), "no `{key}` for {data_set}\n{answer}");
    pair.unwrap_or_default()[1].clone()
}

/// Demands that the page of a run has these words.
#[track_caller]
fn check_page(site: &Site, run: &e2e::Answer, words: &str) {
    let run = run.json()["run"].as_str().expect("an id").to_owned();
    let _written = site
        .cofferdam(&["show", &run, "--html", "run.html", "--force"])
        .exits(0);
    let page = std::fs::read_to_string(site.path("run.html")).expect("read");
    assert!(page.contains(words), "`{words}` is not in\n{page}");
}

#[test]
fn an_application_is_stopped_in_order_drained_kept_and_put_back_in_reverse() {
    let site = site();
    queue(&site, 60, false);
    let plan = site
        .cofferdam(&["backup", "--quiesce", "--dry-run"])
        .exits(0);
    for words in [
        "stopped until the backup has ended, and put back in reverse: stop-apicast, stop-app, stop-worker",
        "lease-scale deployment/backend-worker",
        "2. backup stop-apicast",
    ] {
        assert!(plan.stdout().contains(words), "{words}\n{plan}");
    }
    assert!(!plan.stdout().contains("DENY"), "{plan}");

    let backup = site.report(&["backup", "--quiesce"]).exits(0);
    let lines = audit(&site);
    let order = [
        place(&lines, &["save-tree", "system-storage"]),
        place(&lines, &["lease-scale", "system-app"]),
        place(&lines, &["`queue-names`", "stop-worker"]),
        place(&lines, &["lease-scale", "backend-worker"]),
        place(&lines, &["`save`", "backend-redis"]),
        place(&lines, &["put-back", "backend-worker"]),
        place(&lines, &["put-back", "system-app"]),
        place(&lines, &["put-back", "apicast"]),
    ];
    assert!(order.is_sorted(), "{order:?}\n{}", lines.join("\n"));
    assert!(
        place(&lines, &["lease-scale", "apicast"]) < order[1],
        "{}",
        lines.join("\n")
    );
    assert_eq!(all_wanted(&site), STOPS);

    assert_eq!(evidence(&backup, "stop-worker", "drained"), "yes");
    assert_eq!(evidence(&backup, "stop-worker", "jobs"), "0");
    assert_eq!(evidence(&backup, "stop-worker", "replicas"), "2");
    // It read the number while the workload was scaled to 0.
    assert_eq!(evidence(&backup, "rollout-apicast", "replicas"), "2");
    let report = backup.json();
    assert_eq!(report["taken"]["outside"], json!(["system-storage"]));
    assert_eq!(
        report["taken"]["quiesced"],
        json!(["stop-apicast", "stop-app", "stop-worker"])
    );
    assert_eq!(backup.data_set("backend-redis")["quiet"], true, "{backup}");
    let shown = site.cofferdam(&["show", "latest"]).exits(0);
    let words = "while the application stood still (stop-apicast, stop-app, stop-worker); taken before it did: system-storage";
    assert!(shown.stdout().contains(words), "{shown}");
    check_page(&site, &backup, words);
    assert_eq!(site.runs()[0]["whole"], true);

    // Nothing was queued in what was kept: jobs of later are not in it.
    settled(&site);
    let restored = site
        .report(&[
            "restore",
            "latest",
            "--yes",
            "--only",
            "stop-worker,stop-app",
        ])
        .exits(0)
        .says("its queues were empty");
    assert_eq!(restored.json()["warnings"], json!([]));
    assert_eq!(all_wanted(&site), STOPS);
}

#[test]
fn a_backup_without_it_stops_nothing_and_says_what_it_left_out() {
    let site = site();
    let before = pods(&site);
    let backup = site.report(&["backup"]).exits(0);
    assert_eq!(pods(&site), before, "{backup}");
    let report = backup.json();
    assert_eq!(
        report["leftOut"],
        json!(["stop-apicast", "stop-app", "stop-worker"])
    );
    assert_eq!(report["taken"]["quiesced"], json!([]));
    let said = site
        .cofferdam(&["backup", "--only", "rollout-apicast"])
        .exits(0);
    let line = "left out without `--quiesce`: stop-apicast, stop-app, stop-worker";
    assert!(said.stdout().contains(line), "{said}");
    assert!(
        said.stdout().contains("while the application went on"),
        "{said}"
    );

    // Such a run is whole, and it has nothing of what it left out.
    assert_eq!(site.runs()[1]["whole"], true);
    let _verified = site.report(&["verify", "latest"]).exits(0);
    let _none = site
        .cofferdam(&["verify", "latest", "--only", "stop-app"])
        .exits(2)
        .says("did not keep stop-app");
    let _refused = site
        .cofferdam(&["backup", "--only", "stop-app"])
        .exits(2)
        .says("a backup runs it only with `--quiesce`");
    site.application(&data_sets(""));
    let _nothing = site
        .cofferdam(&["backup", "--quiesce"])
        .exits(2)
        .says("says nothing of what `--quiesce` is to stop")
        .says("spec.quiesce");
    assert_eq!(pods(&site), before);
}

#[test]
fn jobs_that_do_not_drain_are_counted_and_a_restore_tells_them() {
    let site = site();
    queue(&site, 7, true);
    site.prepare(&format!("{}{QUIESCE}", data_sets(", drain-deadline: 1s")));
    let backup = site
        .report(&["backup", "--quiesce"])
        .exits(0)
        .says("did not drain within 1 s: it has 7 jobs queued (`main` 7)");
    assert_eq!(evidence(&backup, "stop-worker", "drained"), "no");
    assert_eq!(evidence(&backup, "stop-worker", "jobs"), "7");
    assert_eq!(all_wanted(&site), STOPS);
    let doubled =
        "when `backend-worker` was stopped for the backup it had 7 jobs queued (`main` 7)";
    let told = site
        .report(&["restore", "latest", "--yes", "--only", "stop-worker"])
        .exits(0)
        .says(doubled)
        .says("they are done again");
    check_page(&site, &told, doubled);

    // Where the site wants it drained or not at all, nobody else is begun.
    settled(&site);
    let required = data_sets(", drain-deadline: 1s, drain: required");
    site.prepare(&format!("{required}{QUIESCE}"));
    let refused = site
        .report(&["backup", "--quiesce"])
        .exits(1)
        .says("it was not stopped, since parameter `drain` is `required`")
        .says("not begun: the application was not brought to a standstill");
    let redis = refused.data_set("backend-redis");
    assert!(redis.get("snapshot").is_none(), "{refused}");
    // What comes before is kept all the same.
    let storage = refused.data_set("system-storage");
    assert!(storage["snapshot"].is_string(), "{refused}");
    assert_eq!(all_wanted(&site), STOPS);
    let lines = audit(&site);
    assert!(
        place(&lines, &["put-back", "system-app"]) < place(&lines, &["put-back", "apicast"]),
        "{}",
        lines.join("\n")
    );
}

#[test]
fn a_data_set_that_fails_leaves_nothing_stopped() {
    let site = site();
    let broken = "    - name: broken
      module: { name: mysql }
      targets: { server: { workload: deployment/backend-redis, container: backend-redis } }
";
    site.prepare(&format!("{}{broken}{QUIESCE}", data_sets("")));
    let failed = site.report(&["backup", "--quiesce"]).exits(1);
    assert!(failed.data_set("broken")["failure"].is_object(), "{failed}");
    let redis = failed.data_set("backend-redis");
    assert!(redis["snapshot"].is_string(), "{failed}");
    assert_eq!(all_wanted(&site), STOPS);
}

#[test]
fn a_backup_ends_when_what_it_stopped_is_there_again_and_says_what_is_not() {
    let site = site();
    // Whoever starts the pods is late.
    let late = Fault::SlowRollout { milliseconds: 2000 };
    let fault = site.fault(&Rule::new(late).named("system-app"));
    let backup = site.report(&["backup", "--quiesce"]).exits(0);
    assert_eq!(all_available(&site), STOPS, "{backup}");
    assert_eq!(backup.json()["warnings"], json!([]));
    let lines = audit(&site);
    assert!(
        place(&lines, &["put-back", "apicast"])
            < place(&lines, &["wait-rollout", "host", "apicast"]),
        "{}",
        lines.join("\n")
    );
    drop(fault);

    let fault = site.fault(&busy());
    let mut run = held_up(&site);
    let unseen = Fault::Forbid {
        verb: Some("list".to_owned()),
        resource: Some("pods".to_owned()),
    };
    let forbidden = site.fault(&Rule::new(unseen));
    drop(fault);
    assert_eq!(
        run.wait().expect("ended").code(),
        Some(0),
        "no fault of the backup"
    );
    forbidden.has_struck();
    drop(forbidden);
    let noted = journal(&site);
    for (name, _) in STOPS {
        let words = format!("deployment/{name} is put back and not there yet");
        let _place = place(&noted, &["warned", &words]);
    }
    assert_eq!(all_wanted(&site), STOPS);
}

/// The server cannot be told to save.
fn busy() -> Rule {
    on_exec_of(
        "BGSAVE",
        Fault::Refuse {
            code: 503,
            retry_after: None,
        },
    )
}

/// A run that is held up when everything has stopped, by [`busy`].
fn held_up(site: &Site) -> Child {
    let run = site.begin(&["backup", "--quiesce"]);
    site.wait_until("the save", || {
        let rules = site.client().faults().expect("the faults");
        rules.iter().all(|rule| rule.struck > 0).then_some(())
    });
    let none = STOPS.map(|(name, _)| (name, 0));
    assert_eq!(all_wanted(site), none, "not everything is stopped");
    assert_eq!(pods(site), "", "not everything has ended");
    run
}

#[test]
fn a_run_that_is_ended_or_killed_leaves_nothing_stopped() {
    let site = site();
    let fault = site.fault(&busy());
    let mut run = held_up(&site);
    let process = i32::try_from(run.id()).expect("a process id");
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(process),
        nix::sys::signal::Signal::SIGTERM,
    )
    .expect("asked to end");
    assert_eq!(run.wait().expect("ended").code(), Some(1));
    assert_eq!(all_wanted(&site), STOPS);
    drop(fault);

    settled(&site);
    let fault = site.fault(&busy());
    let mut run = held_up(&site);
    run.kill().expect("killed");
    run.wait().expect("reaped");
    drop(fault);
    assert_eq!(
        wanted(&site, "apicast"),
        0,
        "nobody is there to put it back"
    );
    let next = site.report(&["backup"]).exits(0).says("was interrupted");
    let said: Vec<Option<usize>> = ["backend-worker", "system-app", "apicast"]
        .map(|name| {
            next.stderr()
                .find(&format!("had left deployment/{name} scaled to 0: restored"))
        })
        .to_vec();
    assert!(
        said.iter().all(Option::is_some) && said.is_sorted(),
        "not put back in reverse: {said:?}\n{next}"
    );
    assert_eq!(all_wanted(&site), STOPS);
}
