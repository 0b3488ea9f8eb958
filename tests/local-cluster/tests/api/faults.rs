//! Faults of plain requests and watches, as a client meets them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{Bed, deployment};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test(flavor = "multi_thread")]
async fn the_server_is_busy_for_as_many_requests_as_ordered() {
    let bed = Bed::new().await;
    bed.set_fault(json!({"fault": "refuse", "code": 429, "retryAfter": 1, "count": 2}))
        .await;
    bed.set_fault(json!({"fault": "refuse", "code": 503, "count": 1, "method": "DELETE"}))
        .await;
    let codes: Vec<u16> = [
        bed.send("GET", MAPS, None).await,
        bed.send("GET", MAPS, None).await,
        bed.send("GET", MAPS, None).await,
        bed.send("DELETE", &format!("{MAPS}/none"), None).await,
        bed.send("DELETE", &format!("{MAPS}/none"), None).await,
    ]
    .iter()
    .map(|answer| answer.code)
    .collect();
    assert_eq!(codes, [429, 429, 200, 503, 404]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_is_busy_for_a_while() {
    let bed = Bed::new().await;
    bed.set_fault(json!({"fault": "refuse", "code": 503, "millisecondsLeft": 400}))
        .await;
    assert_eq!(bed.send("GET", MAPS, None).await.code, 503);
    bed.wait(MAPS, |answer| answer.code == 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_may_be_rejected_and_is_told_apart_from_a_wrong_one_by_nobody() {
    let bed = Bed::new().await;
    bed.set_fault(json!({"fault": "rejectToken", "path": "/configmaps"}))
        .await;
    assert_eq!(bed.send("GET", MAPS, None).await.code, 401);
    assert_eq!(bed.send("GET", "/api/v1/namespaces", None).await.code, 200);
    let answer = bed.send("DELETE", "/local-cluster/faults", None).await;
    assert_eq!(answer.code, 200, "the endpoint for faults keeps working");
    assert_eq!(bed.send("GET", MAPS, None).await.code, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_taken_away_is_refused_and_reviewed() {
    let bed = Bed::new().await;
    bed.set_fault(json!({"fault": "forbid", "verb": "create", "resource": "pods/exec"}))
        .await;
    let path = "/api/v1/namespaces/default/pods/x/exec?command=true";
    let answer = bed.send("GET", path, None).await;
    assert_eq!(answer.code, 403);
    assert_eq!(
        answer.body["message"],
        "pods \"x\" is forbidden: User \"local-cluster:admin\" cannot create resource \
         \"pods/exec\" in API group \"\" in the namespace \"default\""
    );
    for (subresource, allowed) in [("exec", false), ("log", true)] {
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {"namespace": "default", "verb": "create",
                     "resource": "pods", "subresource": subresource}},
        });
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let answer = bed.send("POST", path, Some(review)).await;
        assert_eq!(answer.body["status"]["allowed"], allowed, "{subresource}");
    }
}

fn events(body: &Value) -> Vec<Value> {
    let lines = match body {
        Value::String(lines) => lines.clone(),
        one => one.to_string(),
    };
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_from_a_version_that_is_gone_ends_with_410() {
    let bed = Bed::new().await;
    bed.send("DELETE", "/local-cluster/history", None).await;
    let watch = format!("{MAPS}?watch=true&resourceVersion=1&timeoutSeconds=1");
    let answer = bed.send("GET", &watch, None).await;
    let events = events(&answer.body);
    assert_eq!(events[0]["type"], "ERROR");
    assert_eq!(events[0]["object"]["code"], 410);
    assert_eq!(events[0]["object"]["reason"], "Expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_may_be_expired_by_order_once() {
    let bed = Bed::new().await;
    bed.set_fault(json!({"fault": "expireWatch", "count": 1}))
        .await;
    let watch = format!(
        "{MAPS}?watch=true&timeoutSeconds=1&sendInitialEvents=true\
        &resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    );
    let first = events(&bed.send("GET", &watch, None).await.body);
    assert_eq!(first[0]["object"]["code"], 410);
    let second = events(&bed.send("GET", &watch, None).await.body);
    let end = second
        .iter()
        .find(|event| event["type"] == "BOOKMARK")
        .unwrap();
    assert_eq!(
        end["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"],
        "true"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_rollout_shows_the_old_status_for_longer() {
    let bed = Bed::new().await;
    bed.deployment("one").await;
    let path = "/apis/apps/v1/namespaces/default/deployments/one";
    // Its pod is ready a moment before its status says so.
    bed.wait(path, |answer| {
        answer.body["status"]["availableReplicas"] == 1
    })
    .await;
    bed.set_fault(json!({"fault": "slowRollout", "milliseconds": 700, "name": "one"}))
        .await;
    let patch = json!({"spec": {"template": {"metadata": {"annotations": {"a": "b"}}}}});
    let begin = Instant::now();
    let changed = bed.send("PATCH", path, Some(patch)).await.body;
    assert_eq!(changed["metadata"]["generation"], 2);
    assert_eq!(changed["status"]["observedGeneration"], 1);
    assert_eq!(
        changed["status"]["availableReplicas"], 1,
        "the old status looks complete"
    );
    bed.wait(path, |answer| {
        answer.body["status"]["observedGeneration"] == 2
    })
    .await;
    assert!(
        begin.elapsed() >= Duration::from_millis(700),
        "{:?}",
        begin.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generation_is_observed_a_moment_after_it_is_made() {
    let bed = Bed::new().await;
    bed.deployment("one").await;
    let path = "/apis/apps/v1/namespaces/default/deployments/one";
    let begin = Instant::now();
    bed.send("PATCH", path, Some(json!({"spec": {"replicas": 2}})))
        .await;
    bed.wait(path, |answer| {
        answer.body["status"]["observedGeneration"] == 2
    })
    .await;
    assert!(
        begin.elapsed() >= Duration::from_millis(100),
        "{:?}",
        begin.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_asked_can_be_read_afterwards() {
    let bed = Bed::new().await;
    bed.send("DELETE", "/local-cluster/requests", None).await;
    bed.send("GET", MAPS, None).await;
    let path = "/apis/apps/v1/namespaces/default/deployments";
    bed.send("POST", path, Some(deployment("one"))).await;
    let seen = bed.client.seen().unwrap();
    let seen: Vec<(&str, &str)> = seen
        .iter()
        .map(|request| (request.method.as_str(), request.path.as_str()))
        .collect();
    assert_eq!(seen, [("GET", MAPS), ("POST", path)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_makes_no_sense_is_refused() {
    let bed = Bed::new().await;
    let rule = json!({"fault": "nonsense"});
    let answer = bed.send("POST", "/local-cluster/faults", Some(rule)).await;
    assert_eq!(answer.code, 400);
    assert_eq!(bed.client.faults().unwrap(), []);
}
