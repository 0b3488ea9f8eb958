//! Repetition and refusals against an API that answers from a function.

use std::time::Duration;

use tokio::time::Instant;

use crate::call::{Failure, pause};
use crate::cluster::AccessQuestion;
use crate::error::{Error, Refusal};
use crate::testing::{Reply, cluster, status};

/// Answers `times` requests with `bad` and then well; gives the outcome and the number of requests.
async fn ask(times: usize, bad: fn() -> Reply) -> (Result<String, Error>, usize) {
    let mut asked = 0;
    let (cluster, log) = cluster(move |_| {
        asked += 1;
        if asked <= times {
            bad()
        } else {
            Reply::Json(200, serde_json::json!({ "gitVersion": "v1.33.1" }))
        }
    });
    let version = cluster.version().await;
    let count = log.lock().expect("no panic").len();
    (version, count)
}

#[tokio::test(start_paused = true)]
async fn what_may_pass_is_asked_again_with_patience() {
    let passing: [fn() -> Reply; 4] = [
        || Reply::Json(429, status(429, "TooManyRequests", "slow down")),
        || Reply::Text(503, "upstream"),
        || {
            Reply::Json(
                500,
                status(500, "InternalError", "etcdserver: leader changed"),
            )
        },
        || Reply::Lost,
    ];
    for bad in passing {
        let (version, count) = ask(3, bad).await;
        assert_eq!(
            (version.expect("an answer").as_str(), count),
            ("v1.33.1", 4)
        );
        let (version, count) = ask(usize::MAX, bad).await;
        assert!(version.expect_err("it does not pass").retryable());
        assert_eq!(count, 5);
    }
}

#[tokio::test(start_paused = true)]
async fn what_will_not_pass_is_asked_once() {
    type Case = (fn() -> Reply, Refusal, &'static str);
    let cases: [Case; 3] = [
        (
            || Reply::Json(401, status(401, "Unauthorized", "Unauthorized")),
            Refusal::Unauthorized,
            "Unauthorized",
        ),
        (
            || Reply::Json(403, status(403, "Forbidden", "no\u{1b}[31m way")),
            Refusal::Forbidden,
            "no\\u{1b}[31m way",
        ),
        (
            || Reply::Text(404, "404 page not found\n"),
            Refusal::NotFound,
            "404 page not found",
        ),
    ];
    for (bad, expected, message) in cases {
        let (version, count) = ask(usize::MAX, bad).await;
        let error = version.expect_err("refused");
        assert!(
            matches!(&error, Error::Api { refusal, .. } if *refusal == expected),
            "{error:?}"
        );
        assert_eq!(
            error.to_string(),
            format!("failed to ask for the version of the cluster: {message}")
        );
        assert_eq!(count, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn the_servers_own_pause_is_kept() {
    let before = Instant::now();
    let (version, _) = ask(1, || Reply::RetryAfter(429, 7)).await;
    version.expect("an answer");
    assert!(
        before.elapsed() >= Duration::from_secs(7),
        "{:?}",
        before.elapsed()
    );
}

#[test]
fn no_server_makes_us_wait_for_an_hour() {
    let failure = Failure::final_one(Error::Api {
        attempt: String::new(),
        refusal: Refusal::Busy,
        code: 429,
        message: String::new(),
        retry_after: Some(Duration::from_secs(3600)),
    });
    assert_eq!(
        pause(&failure, Some(Duration::from_secs(1))),
        Some(Duration::from_secs(60))
    );
    assert_eq!(pause(&failure, None), None);
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_is_not_quoted() {
    let (cluster, _) = cluster(|_| Reply::Text(200, "{\"hunter2\": 1}"));
    let error = cluster.version().await.expect_err("no version");
    assert!(
        !format!("{error} {error:?}").contains("hunter2"),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_right_is_asked_for_as_it_is_meant() {
    let (cluster, log) = cluster(|asked| {
        let allowed = asked
            .body
            .pointer("/spec/resourceAttributes/verb")
            .is_some_and(|verb| verb == "create");
        Reply::Json(201, serde_json::json!({ "status": { "allowed": allowed } }))
    });
    let question = AccessQuestion {
        namespace: Some("3scale".into()),
        verb: "create".into(),
        resource: "pods".into(),
        subresource: Some("exec".into()),
        ..AccessQuestion::default()
    };
    assert!(cluster.can_i(&question).await.expect("an answer"));
    let other = AccessQuestion {
        verb: "get".into(),
        ..question
    };
    assert!(!cluster.can_i(&other).await.expect("an answer"));
    let log = log.lock().expect("no panic");
    let expected = serde_json::json!({ "verb": "create", "group": "", "resource": "pods", "namespace": "3scale", "subresource": "exec" });
    assert_eq!(log[0].body["spec"]["resourceAttributes"], expected);
}
