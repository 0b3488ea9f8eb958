//! Objects as clients write them, where the record says nothing.

use serde_json::{Value, json};

use crate::{Bed, deployment};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test(flavor = "multi_thread")]
async fn custom_resources_are_kept_as_they_are() {
    let bed = Bed::new().await;
    let path = "/apis/apps.3scale.net/v1alpha1/namespaces/default/apimanagers";
    let manager = json!({
        "apiVersion": "apps.3scale.net/v1alpha1", "kind": "APIManager",
        "metadata": {"name": "apimanager"}, "spec": {"wildcardDomain": "x", "list": [{"name": "a"}]},
    });
    assert_eq!(
        bed.send("POST", path, Some(manager.clone())).await.code,
        201
    );
    let one = format!("{path}/apimanager");
    let patch = json!({"spec": {"system": {"appSpec": {"replicas": 0}}}});
    let patched = bed.send("PATCH", &one, Some(patch)).await.body;
    assert_eq!(patched["metadata"]["generation"], 2);
    assert_eq!(patched["spec"]["list"], manager["spec"]["list"]);
    let strategic = bed
        .send_as(
            "PATCH",
            &one,
            "application/strategic-merge-patch+json",
            Some("{}".into()),
        )
        .await;
    assert_eq!(strategic.code, 415, "custom kinds have no strategic merge");
    let status = json!({"status": {"conditions": [{"type": "Available", "status": "True"}]}});
    bed.send("PATCH", &format!("{one}/status"), Some(status))
        .await;
    let list = bed.send("GET", path, None).await.body;
    assert_eq!(
        list["items"][0]["kind"], "APIManager",
        "items of custom kinds say their kind"
    );
    assert_eq!(
        list["items"][0]["metadata"]["generation"], 2,
        "status is no content"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_custom_resource_definition_adds_a_resource() {
    let bed = Bed::new().await;
    let path = "/apis/cofferdam.dev/v1alpha1/namespaces/default/applications";
    assert_eq!(bed.send("GET", path, None).await.code, 404);
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "applications.cofferdam.dev"},
        "spec": {"group": "cofferdam.dev", "scope": "Namespaced",
            "names": {"plural": "applications", "singular": "application", "kind": "Application"},
            "versions": [{"name": "v1alpha1", "served": true, "storage": true}]},
    });
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    assert_eq!(
        bed.send("POST", definitions, Some(definition)).await.code,
        201
    );
    assert_eq!(bed.send("GET", path, None).await.code, 200);
    let listed = bed
        .send("GET", "/apis/cofferdam.dev/v1alpha1", None)
        .await
        .body;
    assert_eq!(listed["resources"][0]["kind"], "Application");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_is_processed_and_not_stored() {
    let bed = Bed::new().await;
    let path = "/apis/template.openshift.io/v1/namespaces/default/processedtemplates";
    let template = |value: &str| {
        json!({
            "apiVersion": "template.openshift.io/v1", "kind": "Template",
            "metadata": {"name": "t"}, "labels": {"app": "3scale"},
            "parameters": [
                {"name": "NAME", "value": value, "required": true},
                {"name": "TOKEN", "generate": "expression", "from": "[a-z]{8}"},
            ],
            "objects": [{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "${NAME}-x"},
                         "stringData": {"token": "${TOKEN}"}}],
        })
    };
    let answer = bed.send("POST", path, Some(template("system"))).await;
    let object = &answer.body["objects"][0];
    assert_eq!(
        object["metadata"],
        json!({"name": "system-x", "labels": {"app": "3scale"}})
    );
    assert_eq!(object["stringData"]["token"].as_str().unwrap().len(), 8);
    assert_eq!(bed.send("POST", path, Some(template(""))).await.code, 422);
    let secrets = bed
        .send("GET", "/api/v1/namespaces/default/secrets", None)
        .await
        .body;
    assert_eq!(secrets["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generated_name_is_different_each_time() {
    let bed = Bed::new().await;
    let map = json!({"metadata": {"generateName": "run-"}});
    let mut names = Vec::new();
    for _ in 0..3 {
        let made = bed.send("POST", MAPS, Some(map.clone())).await.body;
        names.push(made["metadata"]["name"].as_str().unwrap().to_owned());
    }
    names.dedup();
    assert_eq!(names.len(), 3);
    assert!(
        names
            .iter()
            .all(|name| name.starts_with("run-") && name.len() == 9),
        "{names:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_goes_with_everything_in_it() {
    let bed = Bed::new().await;
    let namespaces = "/api/v1/namespaces";
    bed.send(
        "POST",
        namespaces,
        Some(json!({"metadata": {"name": "short"}})),
    )
    .await;
    let path = "/apis/apps/v1/namespaces/short/deployments";
    bed.send("POST", path, Some(deployment("one"))).await;
    let pods = "/api/v1/namespaces/short/pods";
    bed.wait(pods, |answer| {
        answer.body["items"].as_array().unwrap().len() == 1
    })
    .await;
    let answer = bed.send("DELETE", "/api/v1/namespaces/short", None).await;
    assert_eq!(answer.body["status"]["phase"], "Terminating");
    let map = json!({"metadata": {"name": "late"}});
    let late = bed
        .send("POST", "/api/v1/namespaces/short/configmaps", Some(map))
        .await;
    assert_eq!(late.code, 403);
    bed.wait("/api/v1/namespaces/short", |answer| answer.code == 404)
        .await;
    assert_eq!(bed.send("GET", pods, None).await.body["items"], json!([]));
    let map = json!({"metadata": {"name": "too-late"}});
    let late = bed
        .send("POST", "/api/v1/namespaces/short/configmaps", Some(map))
        .await;
    assert_eq!(late.code, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finalizer_holds_an_object_until_it_is_taken_off() {
    let bed = Bed::new().await;
    let map = json!({"metadata": {"name": "held", "finalizers": ["example.com/hold"]}});
    bed.send("POST", MAPS, Some(map)).await;
    let one = format!("{MAPS}/held");
    let answer = bed.send("DELETE", &one, None).await;
    assert!(
        answer.body["metadata"]["deletionTimestamp"].is_string(),
        "{}",
        answer.body
    );
    assert_eq!(bed.send("GET", &one, None).await.code, 200);
    bed.send(
        "PATCH",
        &one,
        Some(json!({"metadata": {"finalizers": null}})),
    )
    .await;
    assert_eq!(bed.send("GET", &one, None).await.code, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_from_an_old_version_is_refused_whatever_its_form() {
    let bed = Bed::new().await;
    let made = bed
        .send("POST", MAPS, Some(json!({"metadata": {"name": "one"}})))
        .await
        .body;
    let old = made["metadata"]["resourceVersion"].clone();
    let one = format!("{MAPS}/one");
    bed.send("PATCH", &one, Some(json!({"data": {"a": "1"}})))
        .await;
    let patch = json!({"metadata": {"resourceVersion": old}, "data": {"a": "2"}});
    assert_eq!(bed.send("PATCH", &one, Some(patch.clone())).await.code, 409);
    let options = json!({"preconditions": {"resourceVersion": old}});
    assert_eq!(bed.send("DELETE", &one, Some(options)).await.code, 409);
    let apply = format!("{one}?fieldManager=x&force=true");
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "one", "resourceVersion": old}, "data": {"a": "2"}});
    let applied = bed
        .send_as(
            "PATCH",
            &apply,
            "application/apply-patch+yaml",
            Some(body.to_string()),
        )
        .await;
    assert_eq!(applied.code, 409);
    assert_eq!(
        bed.send("GET", &one, None).await.body["data"],
        json!({"a": "1"})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_tells_what_a_selector_sees() {
    let bed = Bed::new().await;
    let watch = format!("{MAPS}?watch=true&timeoutSeconds=1&labelSelector=a%3Db&resourceVersion=");
    let list = bed.send("GET", MAPS, None).await.body;
    let version = list["metadata"]["resourceVersion"].as_str().unwrap();
    bed.send("POST", MAPS, Some(json!({"metadata": {"name": "one"}})))
        .await;
    let one = format!("{MAPS}/one");
    bed.send(
        "PATCH",
        &one,
        Some(json!({"metadata": {"labels": {"a": "b"}}})),
    )
    .await;
    bed.send("PATCH", &one, Some(json!({"data": {"x": "y"}})))
        .await;
    bed.send(
        "PATCH",
        &one,
        Some(json!({"metadata": {"labels": {"a": "c"}}})),
    )
    .await;
    let lines = bed
        .send("GET", &format!("{watch}{version}"), None)
        .await
        .body;
    let kinds: Vec<String> = lines
        .as_str()
        .unwrap()
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["type"]
                .as_str()
                .unwrap()
                .into()
        })
        .collect();
    assert_eq!(kinds, ["ADDED", "MODIFIED", "DELETED"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_is_thirteen_secrets_seven_maps_and_eight_workloads() {
    let documents: Vec<Value> = serde_norway::Deserializer::from_str(
        &local_cluster::demo::manifests("registry.example.com/databases:1"),
    )
    .map(|document| serde::Deserialize::deserialize(document).unwrap())
    .collect();
    let count = |kind: &str| {
        documents
            .iter()
            .filter(|object| object["kind"] == kind)
            .count()
    };
    assert_eq!(
        (count("Secret"), count("ConfigMap"), count("Deployment")),
        (13, 7, 8)
    );
    for object in documents
        .iter()
        .filter(|object| object["kind"] == "Deployment")
    {
        for container in object["spec"]["template"]["spec"]["containers"]
            .as_array()
            .unwrap()
        {
            assert_eq!(container["image"], "registry.example.com/databases:1");
        }
    }
}
