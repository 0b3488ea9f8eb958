//! Commands that are not run, and why.

use cofferdam_policy::name::{DataKey, ObjectName, SecretHandle, VariableName};
use cofferdam_policy::request::{EnvironmentSource, RunCommand, Stdin, WorkloadKind};
use serde_json::json;

use super::{V5, start};
use crate::error::{Error, Refusal};
use crate::testing::{
    Plan, Reply, cluster, permit, pod, pod_json, run_command, server, status, succeed, target_of,
};

#[tokio::test]
async fn a_refusal_without_a_reason_is_asked_again_plainly() {
    let (cluster, log) = server(|_| Plan::Refuse(403, "")).await;
    let error = cluster
        .exec(permit(run_command(&["x"], Stdin::None)), &pod(), None)
        .await
        .expect_err("refused");
    assert_eq!(
        error.to_string(),
        "failed to start command `dump` in pod `p`: pods \"p\" is forbidden: cannot create pods/exec"
    );
    assert!(matches!(
        error,
        Error::Api {
            refusal: Refusal::Forbidden,
            ..
        }
    ));
    assert_eq!(
        log.lock().expect("no panic").len(),
        1,
        "the command was asked for once"
    );
}

#[tokio::test]
async fn a_refusal_with_a_reason_keeps_it() {
    let cases = [
        (401, "Unauthorized", "unauthorized", 1),
        (404, "pods \"p\" not found", "pod-gone", 1),
        (400, "container x is not valid for pod p", "invalid", 1),
        // Somebody on the way failed: the command may have run, so it is not run again.
        (500, "etcdserver: request timed out", "exec-refused", 1),
        (504, "gateway timeout", "exec-refused", 1),
        // Refused before the command was looked at: asked again, with patience.
        (429, "too many requests", "api-unavailable", 5),
        (503, "the server is starting", "api-unavailable", 5),
    ];
    for (code, message, slug, times) in cases {
        let body: &'static str =
            Box::leak(status(code, "Reason", message).to_string().into_boxed_str());
        let (cluster, log) = server(move |_| Plan::Refuse(code, body)).await;
        let error = cluster
            .exec(permit(run_command(&["x"], Stdin::None)), &pod(), None)
            .await
            .expect_err("refused");
        assert_eq!(error.code(), slug, "{code}");
        assert!(error.to_string().contains(message), "{error}");
        assert_eq!(log.lock().expect("no panic").len(), times, "{code}");
    }
}

#[tokio::test]
async fn a_busy_server_gets_its_command_in_the_end() {
    let mut refusals = 2;
    let (cluster, _) = server(move |_| {
        if refusals > 0 {
            refusals -= 1;
            return Plan::Refuse(429, "");
        }
        Plan::run(V5, |mut wire| async move { succeed(&mut wire).await })
    })
    .await;
    let process = start(&cluster, Stdin::None).await;
    assert_eq!(process.wait().await.expect("a status").exit_code, 0);
}

#[tokio::test]
async fn a_pod_that_went_or_was_replaced_runs_nothing() {
    let mut deleted = pod_json("p", true);
    deleted["metadata"]["deletionTimestamp"] = json!("2026-11-22T09:00:00Z");
    let mut namesake = pod_json("p", true);
    namesake["metadata"]["uid"] = json!("another");
    let cases = [
        (
            404,
            status(404, "NotFound", "not found"),
            "pod `p` is gone: it does not exist any more",
        ),
        (200, deleted, "pod `p` is gone: it ends or is being deleted"),
        (
            200,
            namesake,
            "pod `p` is gone: another pod has its name now",
        ),
    ];
    for (code, answer, expected) in cases {
        let (cluster, log) = cluster(move |_| Reply::Json(code, answer.clone()));
        let error = cluster
            .exec(permit(run_command(&["x"], Stdin::None)), &pod(), None)
            .await
            .expect_err("gone");
        assert_eq!(error.to_string(), expected);
        let log = log.lock().expect("no panic");
        assert!(log.iter().all(|asked| !asked.path.ends_with("/exec")));
    }
}

#[tokio::test]
async fn a_permit_for_another_workload_runs_nothing() {
    let (cluster, log) = cluster(|_| Reply::Lost);
    let mut request = run_command(&["x"], Stdin::None);
    request.target = target_of(WorkloadKind::StatefulSet);
    let error = cluster
        .exec(permit(request), &pod(), None)
        .await
        .expect_err("another workload");
    assert!(matches!(error, Error::WrongPermit { .. }), "{error}");
    let mut request = run_command(&["x"], Stdin::None);
    request.target.container = "sidecar".parse().expect("a name");
    let error = cluster
        .exec(permit(request), &pod(), None)
        .await
        .expect_err("no such container");
    assert!(matches!(error, Error::NoContainer { .. }), "{error}");
    assert!(log.lock().expect("no panic").is_empty());
}

pub(super) fn with_secret(key: &str) -> RunCommand {
    let mut request = run_command(&["mysql"], Stdin::None);
    let source = EnvironmentSource::Secret {
        handle: SecretHandle::parse("root").expect("a name"),
        object: ObjectName::parse("system-database").expect("a name"),
        key: DataKey::parse(key).expect("a key"),
    };
    request.environment = vec![(VariableName::parse("MYSQL_PWD").expect("a name"), source)];
    request
}

#[tokio::test]
async fn a_secret_that_is_not_there_is_said_and_never_shown() {
    let cases = [
        (
            404,
            status(404, "NotFound", "not found"),
            "there is no Secret `system-database` in `3scale`",
        ),
        (
            200,
            json!({ "data": { "other": "aHVudGVyMg==" } }),
            "Secret `system-database` has no key `password`",
        ),
        (
            200,
            json!({ "data": { "password": "hunter2!" } }),
            "a key of Secret `system-database` is not Base64",
        ),
        (
            200,
            json!({ "data": { "password": "aAA=" } }),
            "`password` of Secret `system-database` holds a zero byte",
        ),
    ];
    for (code, answer, expected) in cases {
        let (cluster, _) = cluster(move |_| Reply::Json(code, answer.clone()));
        let error = cluster
            .exec(permit(with_secret("password")), &pod(), None)
            .await
            .expect_err("no secret");
        assert_eq!(
            error.to_string(),
            format!("failed to set the environment of command `dump`: {expected}")
        );
        assert!(!format!("{error:?}").contains("hunter2"));
    }
}

#[tokio::test]
async fn a_command_line_that_no_request_can_carry_is_refused() {
    let (cluster, _) = cluster(|_| Reply::Json(200, pod_json("p", true)));
    let long = "x".repeat(70_000);
    let error = cluster
        .exec(
            permit(run_command(&["echo", &long], Stdin::None)),
            &pod(),
            None,
        )
        .await
        .expect_err("too long");
    assert!(matches!(error, Error::CommandTooLong { .. }), "{error}");
}
