//! Pages of made-up runs: what is untrusted never becomes markup.

use serde_json::json;

use super::*;
use cofferdam_policy::name::DataSetName;
use cofferdam_runs::application::External;
use cofferdam_runs::history::{
    DataSetChange, DataSetHistory, Difference, LeaseHistory, StepHistory,
};
use cofferdam_runs::skew::Taken;

/// What a module, a pod or an archive may say to get into the page.
const HOSTILE: &str = "</style></dd><script>alert(1)</script><img src=x onerror='alert(1)'>\" style=\"left:0\u{202e}\u{0}\r\n{{ run }}&lt;";

/// A history in which everything that comes from outside is `text`.
fn history(text: &str) -> History {
    let moment = |second: u32| -> Timestamp {
        format!("2026-11-22T09:00:{second:02}Z")
            .parse()
            .expect("a time")
    };
    let snapshot = serde_json::from_value(json!({
        "id": "0".repeat(64),
        "description": {
            "application": text, "namespace": text, "run": text, "dataSet": text,
            "module": { "name": text, "version": text, "digest": text },
            "expectedDataSets": [text], "started": "2026-11-22T09:00:00Z", "hostVersion": text,
            "details": {},
        },
        "finished": "2026-11-22T09:00:08Z",
        "artifacts": [{
            "name": "dump.sql", "mediaType": text, "bytes": 104_857_600, "storedBytes": 1024,
            "sha256": text, "evidence": [[text, text], ["sha256", "other"]],
        }],
        "metadata": {},
        "proofs": [{ "at": "2026-11-22T10:00:00Z", "run": text, "kind": text }],
    }))
    .expect("a snapshot");
    let text = text.to_owned();
    History {
        run: text.clone(),
        kind: RunKind::Backup,
        application: text.clone(),
        namespace: Some(text.clone()),
        cluster: Some(text.clone()),
        from: Some(text.clone()),
        started: moment(0),
        finished: Some(moment(10)),
        outcome: Outcome::Failed,
        settled: None,
        external: vec![External {
            name: DataSetName::parse("oracle").expect("a name"),
            why: text.clone(),
        }],
        journal: Found::Damaged(text.clone()),
        audit: Found::Damaged(text.clone()),
        data_sets: vec![DataSetHistory {
            name: text.clone(),
            begun: Some(moment(2)),
            ended: Some(moment(7)),
            failure: Some(text.clone()),
            steps: vec![StepHistory {
                name: text.clone(),
                begun: moment(2),
                ended: None,
            }],
            snapshot: Some(snapshot),
        }],
        taken: Some(Taken {
            from: moment(2),
            to: moment(8),
            quiesced: vec![text.clone()],
            outside: vec![text.clone()],
        }),
        leases: vec![LeaseHistory {
            lease: 1,
            data_set: text.clone(),
            shared_with: vec![text.clone()],
            change: text.clone(),
            taken: moment(3),
            released: Some(moment(5)),
            outcome: Some(text.clone()),
        }],
        warnings: vec![cofferdam_runs::history::Warning {
            data_set: Some(text.clone()),
            text: text.clone(),
        }],
        denied: vec![cofferdam_runs::history::DeniedRequest {
            data_set: Some(text.clone()),
            capability: text.clone(),
            subject: text.clone(),
            rule: text.clone(),
        }],
        since: Some(cofferdam_runs::history::Since {
            run: text.clone(),
            started: moment(0),
            data_sets: vec![DataSetChange {
                name: text.clone(),
                same_bytes: false,
                differences: vec![Difference {
                    what: text.clone(),
                    before: Some(text.clone()),
                    now: Some(text.clone()),
                }],
            }],
        }),
    }
}

fn rendered(text: &str) -> String {
    page(&history(text), text, Timestamp::UNIX_EPOCH)
}

/// The elements of a page, by their names, in order.
fn elements(page: &str) -> Vec<&str> {
    page.split('<')
        .skip(1)
        .map(|rest| rest.split([' ', '>', '\n']).next().unwrap_or_default())
        .collect()
}

#[test]
fn no_text_from_outside_becomes_an_element_or_an_attribute() {
    let hostile = rendered(HOSTILE);
    assert_eq!(elements(&hostile), elements(&rendered("harmless")));
    assert!(!hostile.contains("<script") && !hostile.contains("<img"));
    // Quotes cannot leave the attributes that hold texts.
    let quotes = |page: &str| page.matches('"').count();
    assert_eq!(quotes(&hostile), quotes(&rendered("harmless")));
    for steering in ['\u{202e}', '\u{0}', '\r'] {
        assert!(!hostile.contains(steering), "{steering:?}");
    }
    assert!(
        hostile.contains("{{ run }}"),
        "a text is not shown as it is"
    );
}

#[test]
fn the_page_forbids_everything_but_its_own_style() {
    let page = rendered("harmless");
    let before_all = page
        .find("<meta http-equiv=\"Content-Security-Policy\"")
        .expect("a policy");
    assert!(page.find("<style>").is_some_and(|style| before_all < style));
    assert!(page.contains("default-src 'none'; style-src 'unsafe-inline'"));
    for word in [
        "http://", "https://", "url(", "@import", "<link", "<script", "src=",
    ] {
        assert!(!page.contains(word), "{word}");
    }
}

#[test]
fn bars_lie_where_their_times_are() {
    let page = rendered("harmless");
    assert!(
        page.contains("style=\"left:20.000%;width:50.000%\""),
        "{page}"
    );
    assert!(
        page.contains("style=\"left:30.000%;width:20.000%\""),
        "{page}"
    );
    assert!(page.contains("100.00 MiB at 20.0 MiB/s"), "{page}");
}

#[test]
fn a_run_of_no_length_has_bars_and_no_nonsense() {
    let mut history = history("harmless");
    history.finished = Some(history.started);
    for data_set in &mut history.data_sets {
        (data_set.begun, data_set.ended) = (Some(history.started), Some(history.started));
    }
    history.leases.clear();
    let page = page(&history, "harmless", Timestamp::UNIX_EPOCH);
    assert!(page.contains("left:0.000%;width:100.000%") && !page.contains("NaN"));
}

#[test]
fn a_lease_that_was_not_put_back_stands_among_the_concerns() {
    let mut history = history("harmless");
    history.leases[0].released = None;
    let page = page(&history, "harmless", Timestamp::UNIX_EPOCH);
    assert!(page.contains("NOT put back") && page.contains("Left changed"));
}

#[test]
fn success_is_not_said_of_what_nobody_covers() {
    let mut history = history("harmless");
    history.outcome = Outcome::Succeeded;
    let text = page(&history, "harmless", Timestamp::UNIX_EPOCH);
    assert!(text.contains("! Succeeded for 1 of 2 data sets; not covered: 1"));
    assert!(text.contains("! not covered") && text.contains("nobody backs it up here: harmless"));
    history.external.clear();
    let text = page(&history, "harmless", Timestamp::UNIX_EPOCH);
    assert!(text.contains("✓ Succeeded: 1 of 1 data sets"));
}

#[test]
fn the_time_between_the_data_sets_is_said_and_how_still_the_application_stood() {
    let mut history = history("harmless");
    let span = "over 6.0 s, from 2026-11-22 09:00:02 UTC to 2026-11-22 09:00:08 UTC";
    let check = |history: &History, words: &str| {
        let page = page(history, "harmless", Timestamp::UNIX_EPOCH);
        let fact = format!("<dt>Data taken</dt><dd>{span}, {words}</dd>");
        assert!(page.contains(&fact), "`{fact}` is not in\n{page}");
    };
    check(
        &history,
        "while the application stood still (harmless); taken before it did: harmless",
    );
    if let Some(taken) = &mut history.taken {
        taken.quiesced.clear();
        taken.outside.clear();
    }
    check(&history, "while the application went on");
    if let Some(taken) = &mut history.taken {
        taken.to = taken.from + jiff::SignedDuration::from_millis(300);
    }
    let within = page(&history, "harmless", Timestamp::UNIX_EPOCH);
    assert!(within.contains("over 300 ms, at 2026-11-22 09:00:02 UTC, while"));
    history.taken = None;
    let page = page(&history, "harmless", Timestamp::UNIX_EPOCH);
    assert!(!page.contains("Data taken"), "{page}");
}

#[test]
fn a_data_set_that_failed_shows_the_steps_that_it_came_to() {
    let mut history = history("harmless");
    history.data_sets[0].snapshot = None;
    let page = page(&history, "harmless", Timestamp::UNIX_EPOCH);
    assert!(page.contains("Steps: harmless did not end well") && page.contains("No snapshot."));
}

#[test]
fn a_run_over_midnight_says_the_days() {
    let mut history = history("harmless");
    assert!(!page(&history, "harmless", Timestamp::UNIX_EPOCH).contains("2026-11-22 09:00:02 to"));
    history.finished = Some("2026-11-23T00:00:01Z".parse().expect("a time"));
    let page = page(&history, "harmless", Timestamp::UNIX_EPOCH);
    assert!(page.contains("2026-11-22 09:00:02 to 2026-11-22 09:00:07"));
}

#[test]
fn what_a_later_run_put_back_does_not_stretch_the_timeline() {
    let mut history = history("harmless");
    history.outcome = Outcome::Interrupted;
    history.settled = Some("2026-11-24T09:00:00Z".parse().expect("a time"));
    history.leases[0].released = history.settled;
    let page = page(&history, "harmless", Timestamp::UNIX_EPOCH);
    assert!(page.contains("left:20.000%;width:50.000%"), "{page}");
    assert!(page.contains("left:30.000%;width:70.000%"), "{page}");
}

#[test]
fn notes_of_a_few_bytes_have_no_rate() {
    let mut history = history("harmless");
    let snapshot = history.data_sets[0].snapshot.as_mut().expect("a snapshot");
    snapshot.artifacts[0].bytes = 20;
    let page = page(&history, "harmless", Timestamp::UNIX_EPOCH);
    assert!(page.contains(">20 B<") && !page.contains("iB/s"), "{page}");
}
