//! Controllers: what pods there are, what they are called, and in which order they come and go.

use serde_json::{Value, json};

use crate::{Bed, deployment, is_ready};

const PODS: &str = "/api/v1/namespaces/default/pods";

fn names(answer: &Value) -> Vec<String> {
    let items = answer["items"].as_array().unwrap();
    items
        .iter()
        .map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned())
        .collect()
}

fn all_ready(answer: &Value, count: usize) -> bool {
    let items = answer["items"].as_array().unwrap();
    items.len() == count && items.iter().all(is_ready)
}

#[tokio::test(flavor = "multi_thread")]
async fn with_recreate_the_old_pod_has_gone_before_the_new_one_comes() {
    let bed = Bed::new().await;
    let old = bed.deployment("one").await;
    let list = bed.send("GET", PODS, None).await.body;
    let version = list["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .to_owned();
    let path = "/apis/apps/v1/namespaces/default/deployments/one";
    let patch = json!({"spec": {"template": {"metadata": {"annotations": {"a": "b"}}}}});
    bed.send("PATCH", path, Some(patch)).await;
    bed.wait(PODS, |answer| {
        all_ready(&answer.body, 1) && names(&answer.body)[0] != old
    })
    .await;
    let watch = format!("{PODS}?watch=true&timeoutSeconds=1&resourceVersion={version}");
    let lines = bed.send("GET", &watch, None).await.body;
    let events: Vec<Value> = lines
        .as_str()
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let gone = events
        .iter()
        .position(|event| event["type"] == "DELETED")
        .unwrap();
    let came = events
        .iter()
        .position(|event| event["type"] == "ADDED")
        .unwrap();
    assert!(
        gone < came,
        "the new pod came at event {came}, the old one went at {gone}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_update_keeps_a_ready_pod_at_all_times() {
    let bed = Bed::new().await;
    let mut object = deployment("one");
    object["spec"]["strategy"] = json!({"type": "RollingUpdate"});
    let path = "/apis/apps/v1/namespaces/default/deployments";
    bed.send("POST", path, Some(object)).await;
    let old = bed.ready_pod("one").await;
    let patch = json!({"spec": {"template": {"metadata": {"annotations": {"a": "b"}}}}});
    bed.send("PATCH", &format!("{path}/one"), Some(patch)).await;
    bed.wait(PODS, |answer| {
        let items = answer.body["items"].as_array().unwrap();
        assert!(items.iter().any(is_ready), "no ready pod in {items:?}");
        names(&answer.body).len() == 1 && names(&answer.body)[0] != old
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scaling_to_zero_and_back_works_through_the_subresource() {
    let bed = Bed::new().await;
    bed.deployment("one").await;
    let scale = "/apis/apps/v1/namespaces/default/deployments/one/scale";
    bed.send("PATCH", scale, Some(json!({"spec": {"replicas": 0}})))
        .await;
    bed.wait(PODS, |answer| names(&answer.body).is_empty())
        .await;
    bed.send("PATCH", scale, Some(json!({"spec": {"replicas": 3}})))
        .await;
    bed.wait(PODS, |answer| all_ready(&answer.body, 3)).await;
    let read = bed
        .wait(scale, |answer| answer.body["status"]["replicas"] == 3)
        .await
        .body;
    assert_eq!(read["status"]["selector"], "deployment=one");
}

fn deployment_config(name: &str) -> Value {
    json!({
        "apiVersion": "apps.openshift.io/v1", "kind": "DeploymentConfig",
        "metadata": {"name": name},
        "spec": {
            "replicas": 1, "strategy": {"type": "Recreate"},
            "selector": {"deploymentConfig": name},
            "template": {
                "metadata": {"labels": {"deploymentConfig": name}},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [
                    {"name": "main", "image": "none", "command": ["sleep", "1000"]},
                ]},
            },
        },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_of_a_deployment_config_carry_the_labels_of_era_a() {
    let bed = Bed::new().await;
    let path = "/apis/apps.openshift.io/v1/namespaces/default/deploymentconfigs";
    bed.send("POST", path, Some(deployment_config("backend-redis")))
        .await;
    let pods = bed
        .wait(PODS, |answer| all_ready(&answer.body, 1))
        .await
        .body;
    let pod = &pods["items"][0];
    assert!(
        names(&pods)[0].starts_with("backend-redis-1-"),
        "{:?}",
        names(&pods)
    );
    assert_eq!(
        pod["metadata"]["labels"]["deploymentConfig"],
        "backend-redis"
    );
    assert_eq!(
        pod["metadata"]["labels"]["deploymentconfig"],
        "backend-redis"
    );
    assert_eq!(pod["metadata"]["labels"]["deployment"], "backend-redis-1");
    let era_b = format!("{PODS}?labelSelector=deployment%3Dbackend-redis");
    assert_eq!(bed.send("GET", &era_b, None).await.body["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_config_is_rolled_out_by_instantiate() {
    let bed = Bed::new().await;
    let path = "/apis/apps.openshift.io/v1/namespaces/default/deploymentconfigs";
    bed.send("POST", path, Some(deployment_config("one"))).await;
    bed.wait(PODS, |answer| all_ready(&answer.body, 1)).await;
    let one = format!("{path}/one");
    bed.wait(&one, |answer| {
        answer.body["status"]["availableReplicas"] == 1
    })
    .await;
    let request = json!({
        "apiVersion": "apps.openshift.io/v1", "kind": "DeploymentRequest",
        "name": "one", "latest": true, "force": true,
    });
    let answer = bed
        .send("POST", &format!("{one}/instantiate"), Some(request))
        .await;
    assert_eq!(
        (answer.code, &answer.body["status"]["latestVersion"]),
        (201, &json!(2))
    );
    let generation = answer.body["metadata"]["generation"].clone();
    let done = bed.wait(&one, |answer| {
        let status = &answer.body["status"];
        status["observedGeneration"] == generation
            && status["updatedReplicas"] == 1
            && status["availableReplicas"] == 1
    });
    assert_eq!(done.await.body["status"]["latestVersion"], 2);
    let pods = bed
        .wait(PODS, |answer| all_ready(&answer.body, 1))
        .await
        .body;
    assert!(names(&pods)[0].starts_with("one-2-"), "{:?}", names(&pods));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stateful_set_starts_its_pods_in_order_with_claims_of_their_own() {
    let bed = Bed::new().await;
    let path = "/apis/apps/v1/namespaces/default/statefulsets";
    let mut object = deployment("db");
    object["kind"] = json!("StatefulSet");
    object["spec"]["replicas"] = json!(2);
    object["spec"]["volumeClaimTemplates"] = json!([{
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }]);
    object["spec"].as_object_mut().unwrap().remove("strategy");
    assert_eq!(bed.send("POST", path, Some(object)).await.code, 201);
    let pods = bed
        .wait(PODS, |answer| all_ready(&answer.body, 2))
        .await
        .body;
    assert_eq!(names(&pods), ["db-0", "db-1"]);
    let claims = "/api/v1/namespaces/default/persistentvolumeclaims";
    let claims = bed.send("GET", claims, None).await.body;
    assert_eq!(names(&claims), ["data-db-0", "data-db-1"]);
    let first = pods["items"][0]["metadata"]["uid"].clone();
    let patch = json!({"spec": {"template": {"metadata": {"annotations": {"a": "b"}}}}});
    bed.send("PATCH", &format!("{path}/db"), Some(patch)).await;
    bed.wait(PODS, |answer| {
        all_ready(&answer.body, 2) && answer.body["items"][0]["metadata"]["uid"] != first
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_deployment_takes_its_pods_with_it() {
    let bed = Bed::new().await;
    bed.deployment("one").await;
    let path = "/apis/apps/v1/namespaces/default/deployments/one";
    let options = json!({"propagationPolicy": "Foreground"});
    bed.send("DELETE", path, Some(options)).await;
    bed.wait(path, |answer| answer.code == 404).await;
    assert_eq!(bed.send("GET", PODS, None).await.body["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_waits_for_a_secret_that_is_missing_and_says_so() {
    let bed = Bed::new().await;
    let mut object = deployment("one");
    object["spec"]["template"]["spec"]["containers"][0]["env"] = json!([{
        "name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "late", "key": "password"}},
    }]);
    let path = "/apis/apps/v1/namespaces/default/deployments";
    bed.send("POST", path, Some(object)).await;
    let waiting = "/status/containerStatuses/0/state/waiting";
    let pods = bed.wait(PODS, |answer| {
        let reason = answer.body.pointer(&format!("/items/0{waiting}/reason"));
        reason == Some(&json!("CreateContainerConfigError"))
    });
    let pods = pods.await.body;
    let message = pods.pointer(&format!("/items/0{waiting}/message")).unwrap();
    assert_eq!(message, "secret \"late\" not found");
    let secret = json!({"metadata": {"name": "late"}, "stringData": {"password": "x"}});
    bed.send("POST", "/api/v1/namespaces/default/secrets", Some(secret))
        .await;
    bed.ready_pod("one").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_what_the_main_process_wrote() {
    let bed = Bed::new().await;
    let pod = bed.deployment("one").await;
    let logs = bed.send("GET", &format!("{PODS}/{pod}/log"), None).await;
    assert_eq!((logs.code, logs.body), (200, json!("sleep 1000\n")));
    let wrong = bed
        .send("GET", &format!("{PODS}/{pod}/log?container=nope"), None)
        .await;
    assert_eq!(wrong.code, 400);
}
