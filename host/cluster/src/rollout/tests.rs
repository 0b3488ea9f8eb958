//! Restarts and waits against an API that answers from a function.

use std::time::Duration;

use cofferdam_policy::request::{ResolveTarget, Roll, RolloutOperation, WorkloadKind};
use serde_json::{Value, json};

use crate::error::Error;
use crate::rollout::Replicas;
use crate::testing::{Reply, cluster, permit, pod_json, status, target, target_of};
use crate::workload::EphemeralVolume;

fn roll(kind: WorkloadKind, operation: RolloutOperation) -> Roll {
    Roll {
        target: target_of(kind),
        operation,
    }
}

fn workload(generation: i64, observed: i64) -> Value {
    json!({
        "metadata": { "name": "backend-redis", "generation": generation },
        "spec": { "replicas": 1, "selector": { "matchLabels": { "deployment": "backend-redis" } },
            "strategy": { "type": "Recreate" },
            "template": { "spec": { "containers": [{ "name": "backend-redis", "volumeMounts": [
                    { "name": "conf", "mountPath": "/etc/redis.d" }, { "name": "data", "mountPath": "/data" } ] }],
                "volumes": [{ "name": "data", "emptyDir": {} }, { "name": "conf", "configMap": {} }] } } },
        "status": { "observedGeneration": observed, "replicas": 1, "updatedReplicas": 1,
            "readyReplicas": 1, "availableReplicas": 1 },
    })
}

#[tokio::test]
async fn a_restart_annotates_the_template() {
    let (cluster, log) = cluster(|_| Reply::Json(200, workload(1, 1)));
    cluster
        .restart(&permit(roll(
            WorkloadKind::Deployment,
            RolloutOperation::Restart,
        )))
        .await
        .expect("restarted");
    let log = log.lock().expect("no panic");
    let patch = log.last().expect("a request");
    assert_eq!(
        patch.line(),
        "PATCH /apis/apps/v1/namespaces/3scale/deployments/backend-redis"
    );
    assert_eq!(patch.content_type, "application/merge-patch+json");
    assert!(
        patch
            .body
            .pointer("/spec/template/metadata/annotations/kubectl.kubernetes.io~1restartedAt")
            .is_some()
    );
}

#[tokio::test]
async fn what_cannot_roll_is_said() {
    let mut paused = workload(1, 1);
    paused["spec"]["paused"] = json!(true);
    let mut by_hand = workload(1, 1);
    by_hand["spec"]["updateStrategy"] = json!({ "type": "OnDelete" });
    let cases = [
        (
            WorkloadKind::Deployment,
            paused,
            "`deployment/backend-redis` cannot be rolled: it is paused",
        ),
        (
            WorkloadKind::StatefulSet,
            by_hand,
            "`statefulset/backend-redis` cannot be rolled: its strategy is `OnDelete`",
        ),
    ];
    for (kind, object, expected) in cases {
        let (cluster, _) = cluster(move |_| Reply::Json(200, object.clone()));
        let error = cluster
            .restart(&permit(roll(kind, RolloutOperation::Restart)))
            .await
            .expect_err("refused");
        assert_eq!(error.to_string(), expected);
    }
}

#[tokio::test]
async fn a_deployment_config_is_instantiated_once_though_the_answer_is_lost() {
    let mut version = 1;
    let (cluster, log) = cluster(move |asked| match asked.method.as_str() {
        "POST" => {
            version += 1;
            Reply::Lost
        }
        _ => Reply::Json(200, json!({ "status": { "latestVersion": version } })),
    });
    let permit = permit(roll(
        WorkloadKind::DeploymentConfig,
        RolloutOperation::Restart,
    ));
    cluster.restart(&permit).await.expect("it took effect");
    let log = log.lock().expect("no panic");
    let posts: Vec<_> = log.iter().filter(|asked| asked.method == "POST").collect();
    assert_eq!(posts.len(), 1);
    assert_eq!(
        posts[0].path,
        "/apis/apps.openshift.io/v1/namespaces/3scale/deploymentconfigs/backend-redis/instantiate"
    );
}

#[tokio::test(start_paused = true)]
async fn a_rollout_is_awaited_through_the_status_of_the_old_one_and_bad_answers() {
    let mut looks = 0;
    let (cluster, _) = cluster(move |asked| {
        if asked.path.ends_with("/pods") {
            return Reply::Json(200, json!({ "items": [pod_json("p", true)] }));
        }
        looks += 1;
        match looks {
            1 => Reply::Json(200, workload(2, 1)),
            2..=8 => Reply::Json(503, status(503, "ServiceUnavailable", "starting")),
            _ => Reply::Json(200, workload(2, 2)),
        }
    });
    let permit = permit(roll(WorkloadKind::Deployment, RolloutOperation::Wait));
    let mut told = Vec::new();
    cluster
        .wait_rollout(&permit, Duration::from_secs(60), &mut |progress| {
            told.push(progress.waiting_for.clone());
        })
        .await
        .expect("rolled out");
    assert_eq!(
        told,
        ["the controller has not seen the newest specification", ""]
    );
}

#[tokio::test(start_paused = true)]
async fn a_rollout_that_does_not_come_says_what_blocks() {
    let (cluster, _) = cluster(move |asked| {
        if asked.path.ends_with("/pods") {
            let mut pod = pod_json("p", false);
            pod["status"]["containerStatuses"] =
                json!([{ "state": { "waiting": { "reason": "CrashLoopBackOff" } } }]);
            return Reply::Json(200, json!({ "items": [pod] }));
        }
        let mut object = workload(2, 2);
        object["status"]["readyReplicas"] = json!(0);
        Reply::Json(200, object)
    });
    let permit = permit(roll(WorkloadKind::Deployment, RolloutOperation::Wait));
    let error = cluster
        .wait_rollout(&permit, Duration::from_secs(5), &mut |_| {})
        .await
        .expect_err("too long");
    assert_eq!(
        error.to_string(),
        "`deployment/backend-redis` was not rolled out within 5 s: 0 of 1 pods are ready; `p` (Running, not ready: CrashLoopBackOff)"
    );
}

#[tokio::test]
async fn a_permit_to_look_does_not_restart() {
    let (cluster, log) = cluster(|_| Reply::Json(200, workload(1, 1)));
    let permit = permit(roll(WorkloadKind::Deployment, RolloutOperation::Replicas));
    let error = cluster
        .restart(&permit)
        .await
        .expect_err("another operation");
    assert!(matches!(error, Error::WrongPermit { .. }));
    assert!(log.lock().expect("no panic").is_empty());
    let seen = cluster.replicas(&permit).await.expect("numbers");
    assert_eq!(
        seen,
        Replicas {
            desired: 1,
            ready: 1
        }
    );
}

fn set(replicas: u32) -> RolloutOperation {
    RolloutOperation::SetReplicas { replicas }
}

const SCALE: &str = "/apis/apps/v1/namespaces/3scale/deployments/backend-redis/scale";

#[tokio::test]
async fn a_number_of_replicas_is_set_and_a_change_in_between_is_looked_at_again() {
    let mut conflicts = 2;
    let (cluster, log) = cluster(move |asked| match asked.method.as_str() {
        "PUT" if conflicts > 0 => {
            conflicts -= 1;
            Reply::Json(409, status(409, "Conflict", "modified"))
        }
        "PUT" => Reply::Json(200, asked.body.clone()),
        _ => Reply::Json(
            200,
            json!({ "kind": "Scale", "metadata": { "resourceVersion": "7" }, "status": { "replicas": 0 } }),
        ),
    });
    let permit = permit(roll(WorkloadKind::Deployment, set(3)));
    cluster.set_replicas(&permit).await.expect("set");
    let log = log.lock().expect("no panic");
    let put = log.last().expect("a request");
    assert_eq!(put.line(), format!("PUT {SCALE}"));
    assert_eq!(put.body["spec"]["replicas"], 3);
    assert_eq!(put.body["metadata"]["resourceVersion"], "7");
    assert_eq!(log.len(), 6);
}

#[tokio::test]
async fn only_a_permit_to_set_sets() {
    let (cluster, log) = cluster(|_| Reply::Json(404, json!({})));
    for operation in [RolloutOperation::Restart, RolloutOperation::Replicas] {
        let permit = permit(roll(WorkloadKind::Deployment, operation));
        let error = cluster.set_replicas(&permit).await.expect_err("another");
        assert!(matches!(error, Error::WrongPermit { .. }));
    }
    assert!(log.lock().expect("no panic").is_empty());
    let permit = permit(roll(WorkloadKind::Deployment, set(3)));
    let error = cluster.set_replicas(&permit).await.expect_err("none there");
    assert!(matches!(error, Error::NoWorkload { .. }), "{error}");
}

async fn ready(pods: Vec<Value>) -> Result<String, String> {
    let (cluster, log) = cluster(move |asked| match asked.path.ends_with("/pods") {
        true => Reply::Json(200, json!({ "items": pods.clone() })),
        false => Reply::Json(200, workload(1, 1)),
    });
    let permit = permit(ResolveTarget { target: target() });
    let found = cluster.ready_pod(&permit).await;
    let log = log.lock().expect("no panic");
    assert!(
        log.last()
            .expect("a request")
            .query
            .starts_with("labelSelector=deployment%3Dbackend-redis&")
    );
    found
        .map(|pod| pod.name().to_owned())
        .map_err(|error| error.to_string())
}

#[tokio::test]
async fn exactly_one_ready_pod_is_taken() {
    let mut going = pod_json("old", true);
    going["metadata"]["deletionTimestamp"] = json!("2026-11-22T09:00:00Z");
    let mut job = pod_json("job", true);
    job["metadata"]["ownerReferences"] = json!([{ "kind": "Job", "controller": true }]);
    let crowd = vec![
        going,
        job,
        pod_json("not-ready", false),
        pod_json("p", true),
    ];
    assert_eq!(ready(crowd).await, Ok("p".into()));
    assert_eq!(
        ready(vec![pod_json("p", true), pod_json("q", true)]).await,
        Err("several pods of `deployment/backend-redis` are ready where one is meant: `p` (Running, ready), `q` (Running, ready)".into())
    );
    assert_eq!(
        ready(vec![pod_json("p", false)]).await,
        Err("no pod of `deployment/backend-redis` is ready: `p` (Running, not ready)".into())
    );
    assert_eq!(
        ready(vec![]).await,
        Err("no pod of `deployment/backend-redis` is ready: there is none".into())
    );
}

#[tokio::test]
async fn a_target_is_described_or_missing() {
    let (known, _) = cluster(|_| Reply::Json(200, workload(3, 3)));
    let permit_to_look = permit(ResolveTarget { target: target() });
    let state = known.target(&permit_to_look).await.expect("a target");
    assert_eq!(state.selector, "deployment=backend-redis");
    assert_eq!(
        (state.container_exists, state.replicas, state.generation),
        (true, 1, 3)
    );
    assert_eq!(
        (state.strategy.as_str(), state.ephemeral_volumes),
        (
            "Recreate",
            vec![EphemeralVolume {
                name: "data".into(),
                places: vec!["/data".into()]
            }]
        )
    );
    let mut other = target();
    other.container = "sidecar".parse().expect("a name");
    let error = known
        .ready_pod(&permit(ResolveTarget { target: other }))
        .await
        .expect_err("no such container");
    assert_eq!(
        error.to_string(),
        "`deployment/backend-redis` has no container `sidecar`, only `backend-redis`"
    );
    let (empty, _) = cluster(|_| Reply::Text(404, "404 page not found\n"));
    let error = empty
        .target(&permit_to_look)
        .await
        .expect_err("no workload");
    assert_eq!(
        error.to_string(),
        "no `deployment/backend-redis` in namespace `3scale`"
    );
}

/// A pod as OpenShift labels it for a DeploymentConfig, `version` times rolled out.
fn pod_of_era_a(name: &str, version: u32) -> Value {
    let deployment = format!("backend-redis-{version}");
    let mut pod = pod_json(name, true);
    pod["metadata"]["labels"] = json!({ "deploymentConfig": "backend-redis",
        "deploymentconfig": "backend-redis", "deployment": deployment });
    pod["metadata"]["ownerReferences"] =
        json!([{ "kind": "ReplicationController", "name": deployment, "controller": true }]);
    pod
}

#[tokio::test]
async fn pods_of_era_a_are_found_by_the_selector_in_either_spelling() {
    for label in ["deploymentConfig", "deploymentconfig"] {
        let (cluster, log) = cluster(move |asked| match asked.path.as_str() {
            "/api/v1/namespaces/3scale/pods" => {
                let mut deployer = pod_of_era_a("backend-redis-7-deploy", 7);
                deployer["metadata"]["labels"]["openshift.io/deployer-pod-for.name"] =
                    json!("backend-redis-7");
                let mut hook = pod_of_era_a("backend-redis-7-hook-pre", 7);
                hook["metadata"]["ownerReferences"][0]["kind"] = json!("Job");
                let pods = [deployer, hook, pod_of_era_a("backend-redis-7-x2k4p", 7)];
                Reply::Json(200, json!({ "items": pods }))
            }
            "/apis/apps.openshift.io/v1/namespaces/3scale/deploymentconfigs/backend-redis" => {
                let mut object = workload(1, 1);
                object["spec"]["selector"] = json!({ label: "backend-redis" });
                Reply::Json(200, object)
            }
            path => panic!("asked for `{path}`"),
        });
        let target = target_of(WorkloadKind::DeploymentConfig);
        let found = cluster.ready_pod(&permit(ResolveTarget { target })).await;
        assert_eq!(found.expect("a pod").name(), "backend-redis-7-x2k4p");
        let log = log.lock().expect("no panic");
        let query = &log.last().expect("a request").query;
        assert!(
            query.starts_with(&format!("labelSelector={label}%3Dbackend-redis&")),
            "{query}"
        );
    }
}

#[tokio::test]
async fn the_label_that_era_a_puts_on_its_pods_makes_no_deployment() {
    let (cluster, log) = cluster(|asked| match asked.path.ends_with("/pods") {
        true => Reply::Json(
            200,
            json!({ "items": [pod_of_era_a("backend-redis-7-x2k4p", 7)] }),
        ),
        false => Reply::Json(404, status(404, "NotFound", "not found")),
    });
    let error = cluster
        .ready_pod(&permit(ResolveTarget { target: target() }))
        .await
        .expect_err("era B is not there");
    assert_eq!(
        error.to_string(),
        "no `deployment/backend-redis` in namespace `3scale`"
    );
    let log = log.lock().expect("no panic");
    assert!(log.iter().all(|asked| !asked.path.ends_with("/pods")));
}

#[tokio::test]
async fn of_a_deployments_pods_those_of_the_config_of_the_same_name_are_none() {
    // During the upgrade both are there; a user's label may even make the selectors overlap.
    let pods = vec![
        pod_of_era_a("backend-redis-7-x2k4p", 7),
        pod_json("p", true),
    ];
    assert_eq!(ready(pods).await, Ok("p".into()));
}

#[tokio::test]
async fn a_container_is_never_taken_because_it_is_the_first() {
    let (cluster, _) = cluster(|asked| {
        let mut object = workload(1, 1);
        let containers = ["system-master", "system-provider", "system-developer"]
            .map(|name| json!({ "name": name }));
        object["spec"]["template"]["spec"]["containers"] = json!(containers);
        match asked.path.ends_with("/pods") {
            true => Reply::Json(200, json!({ "items": [pod_json("p", true)] })),
            false => Reply::Json(200, object),
        }
    });
    let error = cluster
        .ready_pod(&permit(ResolveTarget { target: target() }))
        .await
        .expect_err("the container is not one of them");
    assert_eq!(
        error.to_string(),
        "`deployment/backend-redis` has no container `backend-redis`, only `system-master`, `system-provider`, `system-developer`"
    );
}

#[tokio::test]
async fn the_owner_of_a_workload_is_read() {
    let (cluster, _) = cluster(|_| {
        let mut object = workload(1, 1);
        object["metadata"]["ownerReferences"] = json!([{ "apiVersion": "apps.3scale.net/v1alpha1",
            "kind": "APIManager", "name": "apimanager", "uid": "u", "controller": true }]);
        Reply::Json(200, object)
    });
    let state = cluster
        .target(&permit(ResolveTarget { target: target() }))
        .await
        .expect("a target");
    let owner = &state.owners[0];
    assert_eq!(
        (
            owner.api_version.as_str(),
            owner.kind.as_str(),
            owner.name.as_str()
        ),
        ("apps.3scale.net/v1alpha1", "APIManager", "apimanager")
    );
}
