//! Objects against an API that answers from a function.

use std::time::Duration;

use cofferdam_policy::name::{GroupName, ObjectName};
use cofferdam_policy::request::{AccessObject, ObjectKind, ObjectOperation};
use serde_json::{Value, json};

use crate::error::{Error, Move, Refusal};
use crate::objects::{Condition, Loaded, WhenPresent};
use crate::testing::{Asked, Reply, Store, cluster, host_permit, namespace, permit, status};

const SECRET: &str = "/api/v1/namespaces/3scale/secrets/system-seed";

fn request(kind: &str, name: &str, operation: ObjectOperation) -> AccessObject {
    AccessObject {
        namespace: namespace(),
        group: GroupName::parse("configuration").expect("a name"),
        kind: ObjectKind {
            api_version: "v1".into(),
            kind: kind.into(),
        },
        name: ObjectName::parse(name).expect("a name"),
        operation,
    }
}

fn kinds() -> Reply {
    Reply::Json(
        200,
        json!({ "resources": [
        { "name": "secrets", "kind": "Secret", "namespaced": true },
        { "name": "configmaps/odd", "kind": "ConfigMap", "namespaced": true },
        { "name": "configmaps", "kind": "ConfigMap", "namespaced": true },
        { "name": "nodes", "kind": "Node", "namespaced": false },
    ] }),
    )
}

fn seed(password: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": { "name": "system-seed", "labels": { "app": "3scale" } },
        "data": { "password": password } })
}

#[tokio::test]
async fn a_saved_secret_is_scrubbed_and_a_secret_is_never_read_for_a_module() {
    let (cluster, log) = cluster(|asked| match asked.path.as_str() {
        "/api/v1" => kinds(),
        _ => Reply::Json(
            200,
            json!({ "apiVersion": "v1", "kind": "Secret",
            "metadata": { "name": "system-seed", "uid": "u", "managedFields": [] }, "data": { "a": "MQ==" }, "status": {} }),
        ),
    });
    let saved = cluster
        .get_object(&permit(request(
            "Secret",
            "system-seed",
            ObjectOperation::Save,
        )))
        .await
        .expect("read");
    assert_eq!(
        saved,
        Some(
            json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "system-seed" }, "data": { "a": "MQ==" } })
        )
    );
    let lines: Vec<String> = log
        .lock()
        .expect("no panic")
        .iter()
        .map(Asked::line)
        .collect();
    assert_eq!(lines, ["GET /api/v1".to_owned(), format!("GET {SECRET}")]);
    // Policy refuses this to modules already; a permit of the host opens no way around it.
    let permit = host_permit(request("Secret", "system-seed", ObjectOperation::Get));
    let error = cluster.get_object(&permit).await.expect_err("a Secret");
    assert!(matches!(error, Error::WrongPermit { .. }), "{error}");
}

#[tokio::test]
async fn an_object_that_is_missing_is_none_and_a_kind_that_is_missing_is_an_error() {
    let (cluster, log) = cluster(|asked| match asked.path.as_str() {
        "/api/v1" => kinds(),
        _ => Reply::Json(404, status(404, "NotFound", "configmaps \"x\" not found")),
    });
    let get = |kind| permit(request(kind, "x", ObjectOperation::Get));
    assert_eq!(
        cluster
            .get_object(&get("ConfigMap"))
            .await
            .expect("an answer"),
        None
    );
    assert_eq!(
        cluster
            .get_object(&get("ConfigMap"))
            .await
            .expect("an answer"),
        None
    );
    let kinds_read = log
        .lock()
        .expect("no panic")
        .iter()
        .filter(|asked| asked.path == "/api/v1")
        .count();
    assert_eq!(kinds_read, 1, "the list is remembered");
    for kind in ["Node", "Nothing"] {
        let error = cluster
            .get_object(&get(kind))
            .await
            .expect_err("no such kind");
        assert_eq!(
            error.to_string(),
            format!("the cluster has no namespaced `{kind}` in `v1`")
        );
    }
    let mut odd = request("ConfigMap", "x", ObjectOperation::Get);
    odd.kind.api_version = "a/../b".into();
    assert!(matches!(
        cluster.get_object(&permit(odd)).await,
        Err(Error::NoKind { .. })
    ));
}

#[tokio::test]
async fn an_apply_is_server_side_and_takes_no_field_by_force() {
    let (cluster, log) = cluster(|asked| match asked.path.as_str() {
        "/api/v1" => kinds(),
        _ => Reply::Json(
            409,
            status(
                409,
                "Conflict",
                "Apply failed with 1 conflict: conflict with \"one\": .data.redis.conf",
            ),
        ),
    });
    let object =
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "x" }, "data": {} });
    let permit_to_apply = permit(request("ConfigMap", "x", ObjectOperation::Apply));
    let error = cluster
        .apply_object(&permit_to_apply, object.clone())
        .await
        .expect_err("a conflict");
    assert_eq!(
        error.to_string(),
        "failed to apply ConfigMap `x` in `3scale`: Apply failed with 1 conflict: conflict with \"one\": .data.redis.conf"
    );
    assert!(matches!(
        error,
        Error::Api {
            refusal: Refusal::Conflict,
            ..
        }
    ));
    assert_eq!(error.whose_move(), Move::World);
    {
        let log = log.lock().expect("no panic");
        let patch = log.last().expect("a request");
        assert_eq!(
            (patch.query.as_str(), patch.content_type.as_str()),
            (
                "fieldManager=cofferdam&force=false",
                "application/apply-patch+yaml"
            )
        );
        assert_eq!(patch.body["metadata"]["namespace"], "3scale");
    }
    let others = [
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "other" } }),
        json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "x" } }),
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "x", "namespace": "kube-system" } }),
        json!("x"),
    ];
    for other in others {
        let error = cluster
            .apply_object(&permit_to_apply, other)
            .await
            .expect_err("another object");
        assert_eq!(
            error.to_string(),
            "the permit does not fit: the object is not ConfigMap `x` in `3scale`"
        );
    }
}

/// Loads `seed("bmV3")` into a cluster that has `live`; gives what became of it and the object.
async fn load(live: Option<Value>, present: WhenPresent) -> (Loaded, Value) {
    let store = Store::default();
    if let Some(live) = live {
        store.put(SECRET, live);
    }
    let answers = store.clone();
    let (cluster, _) = cluster(
        move |asked| match (asked.method.as_str(), asked.path.as_str()) {
            (_, "/api/v1") => kinds(),
            ("POST", "/api/v1/namespaces/3scale/secrets") => {
                answers.put(SECRET, asked.body.clone());
                Reply::Json(201, asked.body.clone())
            }
            _ => answers.answer(asked),
        },
    );
    let permit = permit(request("Secret", "system-seed", ObjectOperation::Load));
    let loaded = cluster
        .load_object(&permit, &seed("bmV3"), present)
        .await
        .expect("loaded");
    (loaded, store.get(SECRET))
}

#[tokio::test]
async fn a_load_says_what_became_of_the_object() {
    let differs = vec!["data.password".to_owned()];
    let (loaded, object) = load(None, WhenPresent::Fail).await;
    assert_eq!(
        (loaded, &object["data"]["password"]),
        (Loaded::Created, &json!("bmV3"))
    );
    let (loaded, _) = load(Some(seed("bmV3")), WhenPresent::Fail).await;
    assert_eq!(loaded, Loaded::Equal);
    let (loaded, object) = load(Some(seed("b2xk")), WhenPresent::Keep).await;
    assert_eq!(
        (loaded, &object["data"]["password"]),
        (Loaded::Kept { differs }, &json!("b2xk"))
    );
    let (loaded, _) = load(Some(seed("b2xk")), WhenPresent::Fail).await;
    assert_eq!(
        loaded,
        Loaded::Refused {
            reason: "it exists and differs in data.password".into()
        }
    );
}

#[tokio::test]
async fn a_replaced_object_keeps_its_owner() {
    let mut live = seed("b2xk");
    live["metadata"]["ownerReferences"] = json!([{ "kind": "APIManager" }]);
    let (loaded, object) = load(Some(live), WhenPresent::Replace).await;
    assert_eq!(
        (loaded, &object["data"]["password"]),
        (Loaded::Replaced, &json!("bmV3"))
    );
    assert_eq!(
        object["metadata"]["ownerReferences"],
        json!([{ "kind": "APIManager" }])
    );
}

#[tokio::test]
async fn what_the_cluster_refuses_is_said_without_values() {
    let (cluster, _) = cluster(|asked| match (asked.method.as_str(), asked.path.as_str()) {
        (_, "/api/v1") => kinds(),
        ("GET", _) => Reply::Json(404, status(404, "NotFound", "not found")),
        _ => {
            let mut refusal = status(
                422,
                "Invalid",
                "Secret is invalid: data[x]: Invalid value: \"hunter2\"",
            );
            refusal["details"] =
                json!({ "causes": [{ "field": "data[x]", "message": "hunter2" }] });
            Reply::Json(422, refusal)
        }
    });
    let permit = permit(request("Secret", "system-seed", ObjectOperation::Load));
    let loaded = cluster
        .load_object(&permit, &seed("bmV3"), WhenPresent::Replace)
        .await
        .expect("an answer");
    assert_eq!(
        loaded,
        Loaded::Refused {
            reason: "Invalid: `data[x]`".into()
        }
    );
}

#[tokio::test(start_paused = true)]
async fn a_condition_is_awaited_through_bad_answers_and_says_what_it_saw() {
    let manager = |status: &str| {
        json!({ "status": { "phase": "Bound", "conditions": [
        { "type": "Available", "status": status, "reason": "Waiting", "message": "for zync" }] } })
    };
    let mut looks = 0;
    let (cluster, _) = cluster(move |asked| {
        if asked.path == "/api/v1" {
            return kinds();
        }
        looks += 1;
        match looks {
            1 => Reply::Json(404, status(404, "NotFound", "not found")),
            2..=8 => Reply::Lost,
            9..=20 => Reply::Json(200, manager("False")),
            _ => Reply::Json(200, manager("True")),
        }
    });
    let permit = permit(request("ConfigMap", "x", ObjectOperation::Wait));
    let available: Condition = "condition=Available".parse().expect("a condition");
    let error = cluster
        .wait_for(&permit, &available, Duration::from_secs(3))
        .await
        .expect_err("too early");
    assert_eq!(
        error.to_string(),
        "ConfigMap `x` in `3scale` did not become `Available`=`True` within 3 s: it is False: Waiting: for zync"
    );
    cluster
        .wait_for(&permit, &available, Duration::from_secs(60))
        .await
        .expect("available");
    let bound: Condition = "field=/status/phase:Bound".parse().expect("a condition");
    cluster
        .wait_for(&permit, &bound, Duration::from_secs(1))
        .await
        .expect("bound");
}

#[test]
fn a_condition_is_read_or_refused() {
    assert_eq!("exists".parse(), Ok(Condition::Exists));
    assert_eq!("gone".parse(), Ok(Condition::Gone));
    for bad in [
        "",
        "condition=",
        "condition=A:",
        "field=x:y",
        "field=/a",
        "Available",
    ] {
        assert!(bad.parse::<Condition>().is_err(), "{bad}");
    }
}
