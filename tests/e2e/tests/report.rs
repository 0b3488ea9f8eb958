//! A reader opens the report of a run: offline, in a browser, on a telephone, on paper.
#![expect(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    reason = "helpers of tests are test code"
)]

use std::path::PathBuf;

use base64::Engine as _;
use e2e::{Browser, Look, Site, Theme};
use serde_json::Value;

const DATA_SETS: &str = "    - name: objects
      module: { name: kube-objects }
      parameters: { when-present: replace, secrets: [system-database, system-app, not-there], configmaps: [redis-config] }
    - name: backend-redis
      module: { name: redis }
      targets: { server: { workload: deployment/backend-redis, container: backend-redis } }
";

const HOSTILE: &str = "    - name: objects
      module: { name: kube-objects }
      parameters: { secrets: [system-app] }
    - name: stranger
      module: { name: says-markup }
";

/// The colours of letters and ground, and how far apart they are: 4.5 is what WCAG asks for.
const CONTRAST: &str = "(() => {
  const light = (colour) => {
    const parts = colour.match(/[0-9.]+/g).map(Number).slice(0, 3)
      .map((part) => part / 255)
      .map((part) => part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
  };
  const ground = light(getComputedStyle(document.documentElement).backgroundColor);
  const elements = [...document.querySelectorAll('h1, p, dt, dd, th, td, li, span, strong, .when, .name')];
  return Math.min(...elements.map((element) => {
    const letters = light(getComputedStyle(element).color);
    return (Math.max(ground, letters) + 0.05) / (Math.min(ground, letters) + 0.05);
  }));
})()";

/// Elements that reach beyond the right edge of the window.
const TOO_WIDE: &str = "[...document.querySelectorAll('body *')]
  .filter((element) => element.getBoundingClientRect().right > innerWidth + 0.5 && !element.closest('thead'))
  .map((element) => element.outerHTML.slice(0, 120))";

fn write_report(site: &Site, run: &str, name: &str) -> PathBuf {
    let _written = site.cofferdam(&["show", run, "--html", name]).exits(0);
    let path = site.path(name);
    // For whoever wants to look at it: `COFFERDAM_TEST_KEEP` names a folder.
    if let Some(folder) = std::env::var_os("COFFERDAM_TEST_KEEP") {
        std::fs::copy(&path, PathBuf::from(folder).join(name)).expect("copied");
    }
    path
}

fn keep(name: &str, base64: &str) -> Vec<u8> {
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(base64)
        .expect("base64");
    if let Some(folder) = std::env::var_os("COFFERDAM_TEST_KEEP") {
        std::fs::write(PathBuf::from(folder).join(name), &bytes).expect("written");
    }
    bytes
}

/// What holds for every report, whatever is in it.
#[track_caller]
fn reads_well(browser: &mut Browser, name: &str) {
    for (theme, word) in [(Theme::Light, "light"), (Theme::Dark, "dark")] {
        for width in [1280, 380] {
            browser.look(Look { width, theme });
            let wide = browser.evaluate("document.documentElement.scrollWidth");
            assert!(
                wide.as_u64().is_some_and(|wide| wide <= width.into()),
                "{width}: {wide}"
            );
            let beyond = browser.evaluate(TOO_WIDE);
            assert_eq!(beyond, Value::Array(Vec::new()), "at {width} pixels");
            let contrast = browser.evaluate(CONTRAST).as_f64().expect("a number");
            assert!(contrast >= 4.5, "contrast {contrast} in {word}");
            let picture = keep(&format!("{name}-{word}-{width}.png"), &browser.picture());
            assert!(picture.starts_with(b"\x89PNG"));
        }
    }
    let grounds = [Theme::Light, Theme::Dark].map(|theme| {
        browser.look(Look { width: 1280, theme });
        browser.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    });
    assert_ne!(grounds[0], grounds[1], "light and dark are the same");
    let printed = keep(&format!("{name}.pdf"), &browser.print());
    assert!(printed.starts_with(b"%PDF-") && printed.len() > 5000);

    assert_eq!(browser.evaluate("document.scripts.length"), 0);
    let asked = browser.requests();
    assert_eq!(
        asked.len(),
        1,
        "the page asked for more than itself: {asked:?}"
    );
    assert_eq!(browser.complaints(), Vec::<String>::new());
    // The policy is in force: a script, a picture and a request that are put in are refused.
    browser.evaluate(
        "(() => { const script = document.createElement('script'); script.textContent = 'document.title = \"taken\"'; document.body.append(script);
           const picture = new Image(); picture.src = 'https://127.0.0.1:9/x.png'; document.body.append(picture); })()",
    );
    assert_ne!(browser.evaluate("document.title"), "taken");
    let complaints = browser.complaints();
    assert!(
        complaints
            .iter()
            .filter(|text| text.contains("Content Security Policy"))
            .count()
            >= 2,
        "{complaints:?}"
    );
}

fn run_of(answer: &e2e::Answer) -> String {
    answer.json()["run"].as_str().expect("an id").to_owned()
}

fn text(browser: &mut Browser) -> String {
    browser
        .evaluate("document.body.innerText")
        .as_str()
        .expect("text")
        .to_owned()
}

#[test]
fn the_report_of_a_backup_says_what_changed_and_the_one_of_a_restore_what_was_lent() {
    let site = Site::start();
    let fill = |keys: u32| {
        let line =
            format!("seq 1 {keys} | sed 's/.*/SET service:& \"value &\"/' | redis-cli --pipe");
        site.in_pod("deployment/backend-redis", "backend-redis", &line);
    };
    fill(1000);
    site.prepare(DATA_SETS);
    let _first = site.report(&["backup"]).exits(0);
    fill(1500);
    let second = run_of(&site.report(&["backup"]).exits(0));

    let path = write_report(&site, &second, "backup.html");
    let mut browser = Browser::open(&path);
    let said = text(&mut browser);
    for expected in [
        "Succeeded: 2 of 2 data sets",
        "Secret/not-there",
        "dump.rdb, keys",
        "1000",
        "1500",
        "The same, byte for byte.",
        "This run made no temporary change.",
        "agrees with what the snapshots vouch for",
        "while the application went on",
        "MiB/s",
    ] {
        let alike = said.contains(expected) || (expected == "MiB/s" && said.contains("KiB/s"));
        assert!(alike, "`{expected}` is not in\n{said}");
    }
    let widths = browser.evaluate(
        "[...document.querySelectorAll('.bar')].map((bar) => bar.getBoundingClientRect().width)",
    );
    assert_eq!(widths.as_array().map(Vec::len), Some(2), "{widths}");
    reads_well(&mut browser, "backup");

    let restored = run_of(&site.report(&["restore", &second, "--yes"]).exits(0));
    let _hint = site.cofferdam(&["show", &restored]).exits(2).says("--html");
    let path = write_report(&site, &restored, "restore.html");
    let mut browser = Browser::open(&path);
    let said = text(&mut browser);
    for expected in [
        "Restore of threescale",
        &second,
        "ConfigMap/redis-config edited",
        "restored",
        "while the application went on",
    ] {
        assert!(said.contains(expected), "`{expected}` is not in\n{said}");
    }
    assert!(!said.contains("NOT put back"), "{said}");
    assert_eq!(
        browser.evaluate("document.querySelectorAll('.lane.lease').length"),
        1
    );
    reads_well(&mut browser, "restore");

    let refused = site
        .cofferdam(&["show", &second, "--html", "backup.html"])
        .exits(2);
    let _hint = refused.says("--force");
    let _replaced = site
        .cofferdam(&["show", &second, "--html", "backup.html", "--force"])
        .exits(0);
    let full = site.cofferdam(&["show", &second, "--html", "/dev/full/report.html"]);
    let _refused = full.exits(1);
}

#[test]
fn a_module_that_speaks_markup_is_shown_and_not_obeyed() {
    let site = Site::with_objects_only();
    site.prepare(HOSTILE);
    let run = run_of(&site.report(&["backup"]).exits(0));
    let path = write_report(&site, &run, "hostile.html");
    let mut browser = Browser::open(&path);
    let said = text(&mut browser);
    assert!(
        said.matches("<script>document.title='taken'</script>")
            .count()
            >= 3,
        "{said}"
    );
    for nothing in [
        "script",
        "img",
        "a",
        "iframe",
        "[onerror]",
        "[onmouseover]",
        "[href]",
        "[src]",
    ] {
        let found = browser.evaluate(&format!("document.querySelectorAll('{nothing}').length"));
        assert_eq!(found, 0, "{nothing}");
    }
    assert_eq!(
        browser.evaluate("document.title"),
        format!("Backup {run} of threescale")
    );
    reads_well(&mut browser, "hostile");

    let failed = site
        .report(&["restore", &run, "--only", "stranger", "--yes"])
        .exits(1);
    let path = write_report(&site, &run_of(&failed), "failed.html");
    let mut browser = Browser::open(&path);
    let said = text(&mut browser);
    assert!(
        said.contains("Did not succeed: 1 of 1 data sets failed"),
        "{said}"
    );
    assert_eq!(
        browser.evaluate("document.querySelectorAll('script, img, a').length"),
        0
    );
    reads_well(&mut browser, "failed");
}

#[test]
fn a_machine_without_the_journal_still_tells_what_was_kept() {
    let site = Site::with_objects_only();
    site.prepare("    - name: objects\n      module: { name: kube-objects }\n      parameters: { secrets: [system-app] }\n");
    let run = run_of(&site.report(&["backup"]).exits(0));
    std::fs::rename(site.path("state"), site.path("elsewhere")).expect("moved");
    let mut browser = Browser::open(&write_report(&site, &run, "kept.html"));
    let said = text(&mut browser);
    for expected in [
        "Kept whole: 1 of 1",
        "stays on the machine that made the run",
        "not on this machine",
    ] {
        assert!(said.contains(expected), "`{expected}` is not in\n{said}");
    }
    reads_well(&mut browser, "kept");
}

/// The runs that this machine knows, the newest last.
fn runs_of(site: &Site) -> Vec<String> {
    let folder = site.path("state/threescale/runs");
    let mut runs: Vec<String> = std::fs::read_dir(folder)
        .expect("read")
        .map(|entry| {
            let name = entry.expect("an entry").file_name();
            name.to_string_lossy().into_owned()
        })
        .collect();
    runs.sort();
    runs
}

#[test]
fn the_report_of_a_killed_run_says_what_it_left_and_later_who_put_it_back() {
    let site = Site::with(&["backend-redis"]);
    site.prepare(DATA_SETS);
    let _backup = site.report(&["backup"]).exits(0);
    let only = ["restore", "latest", "--yes", "--only", "backend-redis"];
    let mut run = site.begin(&only);
    site.wait_until("the restore mode", || {
        let wanted = "jsonpath={.data.redis\\.conf}";
        let now = site.kubectl(&["get", "configmap/redis-config", "-o", wanted]);
        now.contains("appendonly no").then_some(())
    });
    run.kill().expect("killed");
    run.wait().expect("reaped");
    let killed = runs_of(&site).pop().expect("a run");
    let mut browser = Browser::open(&write_report(&site, &killed, "killed.html"));
    let said = text(&mut browser);
    for expected in [
        "Without an end: still under way, or interrupted",
        "was not put back, as far as the journal says",
        "NOT put back",
        "to an end that was not written down",
    ] {
        assert!(said.contains(expected), "`{expected}` is not in\n{said}");
    }
    reads_well(&mut browser, "killed");

    let _next = site.report(&only).exits(0);
    let mut browser = Browser::open(&write_report(&site, &killed, "settled.html"));
    let said = text(&mut browser);
    for expected in [
        "Interrupted: it was killed before its end",
        "by a later run",
        "the run was killed before it ended",
    ] {
        assert!(said.contains(expected), "`{expected}` is not in\n{said}");
    }
    assert!(!said.contains("NOT put back"), "{said}");
    reads_well(&mut browser, "settled");
}

#[test]
fn what_is_not_covered_and_what_has_no_bytes_is_told_as_that() {
    let site = Site::with(&["backend-listener", "system-sidekiq"]);
    site.prepare(
        "    - { name: system-database, external: \"Oracle of the database team\" }
    - name: objects
      module: { name: kube-objects }
      parameters: { when-present: replace, secrets: [system-app] }
    - name: backend-listener
      module: { name: rollout }
      targets: { workload: { workload: deployment/backend-listener, container: backend-listener } }
      restore: { after: [objects] }
    - name: resync-domains
      module: { name: rake }
      targets: { rails: { workload: deployment/system-sidekiq, container: system-sidekiq } }
      parameters: { task: \"zync:resync:domains\" }
      restore: { after: [backend-listener] }
",
    );
    let backup = run_of(&site.report(&["backup"]).exits(4));
    let mut browser = Browser::open(&write_report(&site, &backup, "external.html"));
    let said = text(&mut browser);
    for expected in [
        "Succeeded for 3 of 4 data sets; not covered: 1",
        "nobody backs it up here: Oracle of the database team",
        "! not covered",
    ] {
        assert!(said.contains(expected), "`{expected}` is not in\n{said}");
    }
    // A note of twenty bytes has no rate.
    let rates = browser.evaluate(
        "[...document.querySelectorAll('td[data-label=Rate]')].map((cell) => cell.innerText)",
    );
    assert_eq!(rates, serde_json::json!(["–", "–", "–", "–"]));
    reads_well(&mut browser, "external");

    let restored = run_of(&site.report(&["restore", &backup, "--yes"]).exits(4));
    let mut browser = Browser::open(&write_report(&site, &restored, "rolled.html"));
    let said = text(&mut browser);
    for expected in ["not covered: 1", "restart ", "Steps: task "] {
        assert!(said.contains(expected), "`{expected}` is not in\n{said}");
    }
    reads_well(&mut browser, "rolled");

    // Without the machine that made it, what is not covered is still known.
    std::fs::rename(site.path("state"), site.path("elsewhere")).expect("moved");
    let mut browser = Browser::open(&write_report(&site, &backup, "external-kept.html"));
    let said = text(&mut browser);
    assert!(
        said.contains("Kept 3 of 4 data sets; not covered: 1"),
        "{said}"
    );
}
