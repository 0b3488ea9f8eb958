//! The recorded answers of a real API server, in order. What differs on purpose is listed with its
//! reason; everything else that the real server said must be said here.

use serde_json::{Value, json};

use crate::{Bed, deployment};

/// Parts of answers that are not held against the record: the number of the record, a path, why.
/// `*` stands for one name or position.
const DIFFERENT: &[(&str, &str, &str)] = &[
    (
        "*",
        "/metadata/managedFields",
        "checked by itself, see `managers`",
    ),
    (
        "namespace created",
        "/metadata/labels",
        "newer servers label a namespace with its name",
    ),
    (
        "secret with bad data",
        "/message",
        "newer servers do not quote the body",
    ),
    (
        "body is not an object",
        "/message",
        "the words of Go's JSON reader",
    ),
    (
        "continue token is bad",
        "/message",
        "the words of Go's JSON reader",
    ),
    ("first page", "/metadata/continue", "opaque"),
    ("first page", "/items/0/data/ca.crt", "another authority"),
    (
        "second page",
        "/metadata/resourceVersion",
        "another cluster",
    ),
    (
        "pods of the deployment",
        "/items/0/spec/tolerations",
        "there is one node, always ready",
    ),
    (
        "pods of the deployment",
        "/items/0/spec/volumes",
        "no service account token is mounted",
    ),
    (
        "pods of the deployment",
        "/items/0/spec/containers/0/volumeMounts",
        "as above",
    ),
    (
        "pods of the deployment",
        "/items/0/spec/priority",
        "there are no priorities",
    ),
    (
        "pods of the deployment",
        "/items/0/spec/preemptionPolicy",
        "as above",
    ),
    (
        "pods of the deployment",
        "/items/0/spec/nodeName",
        "another node",
    ),
    (
        "pods of the deployment",
        "/items/0/status/hostIP",
        "another node",
    ),
    (
        "pods of the deployment",
        "/items/0/status/podIP",
        "another network",
    ),
    (
        "pods of the deployment",
        "/items/0/status/podIPs",
        "another network",
    ),
    (
        "pods of the deployment",
        "/items/0/status/conditions",
        "newer servers have more, see below",
    ),
    (
        "pods of the deployment",
        "/items/0/status/containerStatuses/0/imageID",
        "no images",
    ),
    (
        "pods of the deployment",
        "/items/0/status/containerStatuses/0/containerID",
        "no containers",
    ),
    (
        "watch from a version that is gone",
        "",
        "that record's history was still there",
    ),
    ("version", "", "another version"),
    ("api", "/serverAddressByClientCIDRs", "another address"),
    (
        "core resources",
        "/resources",
        "fewer resources, see `discovery_lists_what_the_real_one_does`",
    ),
    ("apps resources", "/resources", "as above"),
    ("group list", "/groups", "as above"),
    (
        "resource does not exist",
        "",
        "this server has DeploymentConfigs",
    ),
];

/// Names whose values differ from cluster to cluster.
const VARIABLE: &[&str] = &[
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "time",
    "lastUpdateTime",
    "lastTransitionTime",
    "startTime",
    "startedAt",
    "pod-template-hash",
];

fn records() -> Vec<Value> {
    serde_json::from_str(include_str!("../../fixtures/answers.json")).unwrap()
}

fn record(name: &str) -> Value {
    records()
        .into_iter()
        .find(|record| record["name"] == name)
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_recorded_request_is_answered_as_the_real_server_did() {
    let bed = Bed::new().await;
    let mut differences = Vec::new();
    let mut token = String::new();
    let mut compared = 0;
    for record in records() {
        let name = record["name"].as_str().unwrap();
        let Some(path) = record["request"]["path"].as_str() else {
            continue;
        };
        let path = if name == "second page" {
            format!("/api/v1/namespaces/rec/configmaps?limit=1&continue={token}")
        } else {
            path.to_owned()
        };
        let method = record["request"]["method"].as_str().unwrap();
        let content_type = record["request"]["contentType"].as_str().unwrap_or("");
        let body = match &record["request"]["body"] {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            body => Some(body.to_string()),
        };
        settle(&bed, name).await;
        let answer = if name == "no token" {
            let client = bed.client.with_token("");
            tokio::task::spawn_blocking(move || client.send("GET", &path, None).unwrap())
                .await
                .unwrap()
        } else {
            bed.send_as(method, &path, content_type, body).await
        };
        if name == "first page" {
            answer.body["metadata"]["continue"]
                .as_str()
                .unwrap()
                .clone_into(&mut token);
        }
        compared += 1;
        let expected = &record["response"];
        let allowed = allowed(name);
        if allowed.contains(&"") {
            continue;
        }
        if json!(answer.code) != expected["status"] {
            differences.push(format!(
                "{name}: status {} for {}",
                answer.code, expected["status"]
            ));
        }
        if json!(answer.content_type) != expected["contentType"] {
            differences.push(format!("{name}: content type {}", answer.content_type));
        }
        compare(
            name,
            "",
            &expected["body"],
            &answer.body,
            &allowed,
            &mut differences,
        );
        managers(name, &expected["body"], &answer.body, &mut differences);
    }
    assert_eq!(compared, 49);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

fn allowed(name: &str) -> Vec<&'static str> {
    let rows = DIFFERENT.iter().filter(|row| row.0 == name || row.0 == "*");
    rows.map(|row| row.1).collect()
}

/// Waits for what the recording person waited for.
async fn settle(bed: &Bed, name: &str) {
    match name {
        "deployment ready" | "scale to zero by merge patch" => {
            let path = "/apis/apps/v1/namespaces/rec/deployments/backend-redis";
            bed.wait(path, |answer| {
                // The new pod: right after a restart the controller has seen the new generation and
                // the old pod is still available.
                let status = &answer.body["status"];
                status["availableReplicas"] == 1
                    && status["updatedReplicas"] == 1
                    && status["observedGeneration"] == answer.body["metadata"]["generation"]
            })
            .await;
        }
        "first page" => {
            let path = "/api/v1/namespaces/rec/configmaps/kube-root-ca.crt";
            bed.wait(path, |answer| answer.code == 200).await;
        }
        _ => {}
    }
}

/// Everything that is expected must be there; more may be there, but not in a `Status`.
fn compare(
    name: &str,
    path: &str,
    expected: &Value,
    found: &Value,
    allowed: &[&str],
    out: &mut Vec<String>,
) {
    let known = |path: &str| {
        allowed
            .iter()
            .any(|allowed| path == *allowed || path.ends_with(&format!("items/0{allowed}")))
    };
    if known(path) || expected.is_null() {
        return;
    }
    match (expected, found) {
        (Value::Object(wanted), Value::Object(given)) => {
            for (key, value) in wanted {
                let below = format!("{path}/{key}");
                if known(&below) {
                    continue;
                }
                match given.get(key) {
                    Some(_) if VARIABLE.contains(&key.as_str()) => {}
                    Some(found) => compare(name, &below, value, found, allowed, out),
                    None if value.is_null() => {}
                    None => out.push(format!("{name}: `{below}` is missing")),
                }
            }
            if wanted.get("kind") == Some(&json!("Status")) {
                let more = given.keys().filter(|key| !wanted.contains_key(*key));
                out.extend(more.map(|key| format!("{name}: `{path}/{key}` is too much")));
            }
        }
        (Value::Array(wanted), Value::Array(given)) => {
            if wanted.len() != given.len() {
                out.push(format!(
                    "{name}: `{path}` has {} items, not {}",
                    given.len(),
                    wanted.len()
                ));
            }
            for (position, (wanted, given)) in wanted.iter().zip(given).enumerate() {
                compare(
                    name,
                    &format!("{path}/{position}"),
                    wanted,
                    given,
                    allowed,
                    out,
                );
            }
        }
        (Value::String(wanted), Value::String(given)) => {
            if generated(wanted) != generated(given) {
                out.push(format!("{name}: `{path}` is {given:?}, not {wanted:?}"));
            }
        }
        (wanted, given) if wanted == given => {}
        (wanted, given) => out.push(format!("{name}: `{path}` is {given}, not {wanted}")),
    }
}

/// A text without the generated ends of names.
fn generated(text: &str) -> String {
    let mut parts = text.split("backend-redis-");
    let mut result = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        result.push_str("backend-redis-*");
        let rest =
            part.trim_start_matches(|letter: char| letter.is_ascii_alphanumeric() || letter == '-');
        result.push_str(rest);
    }
    result
}

/// The entries of people (not of controllers) in `managedFields` must be equal.
fn managers(name: &str, expected: &Value, found: &Value, out: &mut Vec<String>) {
    let entries = |object: &Value| -> Vec<Value> {
        let entries = object["metadata"]["managedFields"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let ours = ["one", "two", "unknown"];
        entries
            .into_iter()
            .filter(|entry| ours.contains(&entry["manager"].as_str().unwrap()))
            .map(|mut entry| {
                entry["time"] = Value::Null;
                entry
            })
            .collect()
    };
    // Newer servers give nobody the fields that they fill in themselves: the phase of a new
    // namespace, the attributes of a review.
    if matches!(name, "namespace created" | "can I") {
        return;
    }
    if entries(expected) != entries(found) {
        out.push(format!(
            "{name}: managers are\n  {}\nnot\n  {}",
            json!(entries(found)),
            json!(entries(expected))
        ));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn discovery_lists_what_the_real_one_does() {
    let bed = Bed::new().await;
    for (name, path) in [
        ("core resources", "/api/v1"),
        ("apps resources", "/apis/apps/v1"),
    ] {
        let expected = record(name)["response"]["body"]["resources"].clone();
        let found = bed.send("GET", path, None).await.body["resources"].clone();
        for entry in found.as_array().unwrap() {
            let real = expected.as_array().unwrap();
            let real = real
                .iter()
                .find(|real| real["name"] == entry["name"])
                .unwrap();
            for field in ["kind", "namespaced", "shortNames", "group", "version"] {
                assert_eq!(entry[field], real[field], "`{field}` of {}", entry["name"]);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_with_recreate_is_seen_as_the_real_server_shows_it() {
    let bed = Bed::new().await;
    let path = "/apis/apps/v1/namespaces/default/deployments";
    let mut object = deployment("backend-redis");
    // Ready only after a while, so that the state before can be seen.
    object["spec"]["template"]["spec"]["containers"][0]["readinessProbe"] =
        json!({"exec": {"command": ["true"]}, "initialDelaySeconds": 1});
    bed.send("POST", path, Some(object)).await;
    bed.ready_pod("backend-redis").await;
    let list = bed.send("GET", path, None).await.body;
    let version = list["metadata"]["resourceVersion"].as_str().unwrap();
    let watch = format!("{path}?watch=true&resourceVersion={version}&timeoutSeconds=6");
    let watching = bed.client.clone();
    let watched = tokio::task::spawn_blocking(move || watching.send("GET", &watch, None).unwrap());
    let patch = record("restart by merge patch")["request"]["body"].clone();
    bed.send("PATCH", &format!("{path}/backend-redis"), Some(patch))
        .await;
    let lines = watched.await.unwrap().body;
    let events: Vec<Value> = lines
        .as_str()
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["object"].clone())
        .collect();
    let real = record("what a watch sees during that restart (Recreate)")["events"].clone();
    // The states in their order, without the times that each lasted.
    let summary = |generation: &Value, status: &Value| {
        format!(
            "{generation} {} {} {} {}",
            status["observedGeneration"],
            status["replicas"],
            status["updatedReplicas"],
            status["availableReplicas"]
        )
    };
    let mut wanted: Vec<String> = real
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["type"] == "MODIFIED")
        .map(|event| summary(&event["generation"], &event["status"]))
        .collect();
    let mut found: Vec<String> = events
        .iter()
        .map(|object| summary(&object["metadata"]["generation"], &object["status"]))
        .collect();
    wanted.dedup();
    found.dedup();
    let key_states = [
        "2 1 1 1 1",
        "2 2 null null null",
        "2 2 1 1 null",
        "2 2 1 1 1",
    ];
    for state in key_states {
        assert!(
            wanted.iter().any(|wanted| wanted == state),
            "the record lacks `{state}`"
        );
    }
    let found: Vec<&str> = found
        .iter()
        .map(String::as_str)
        .filter(|state| key_states.contains(state))
        .collect();
    assert_eq!(found, key_states);
}
