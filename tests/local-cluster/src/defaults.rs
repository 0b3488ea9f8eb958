//! What the real server fills into an object that a client leaves open. Only fields that clients
//! or controllers read are filled; nothing that the client set is changed.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::document::{self, set_default};

/// Fills an object of a kind before it is validated and stored.
pub(crate) fn fill(kind: &str, object: &mut Value) {
    match kind {
        "Secret" => fill_secret(object),
        "Namespace" => fill_namespace(object),
        "Pod" => fill_pod(object),
        "Service" => fill_service(object),
        "PersistentVolumeClaim" => {
            set_default(object, "/spec/volumeMode", json!("Filesystem"));
            let protection = json!(["kubernetes.io/pvc-protection"]);
            set_default(object, "/metadata/finalizers", protection);
            set_default(object, "/status/phase", json!("Pending"));
        }
        "Deployment" => {
            set_default(object, "/spec/replicas", json!(1));
            fill_template(object);
            set_default(object, "/spec/strategy/type", json!("RollingUpdate"));
            if document::text(object, "/spec/strategy/type") == "RollingUpdate" {
                set_default(
                    object,
                    "/spec/strategy/rollingUpdate/maxUnavailable",
                    json!("25%"),
                );
                set_default(
                    object,
                    "/spec/strategy/rollingUpdate/maxSurge",
                    json!("25%"),
                );
            }
            set_default(object, "/spec/revisionHistoryLimit", json!(10));
            set_default(object, "/spec/progressDeadlineSeconds", json!(600));
            set_default(object, "/status", json!({}));
        }
        "StatefulSet" => {
            set_default(object, "/spec/replicas", json!(1));
            fill_template(object);
            set_default(object, "/spec/podManagementPolicy", json!("OrderedReady"));
            set_default(object, "/spec/updateStrategy/type", json!("RollingUpdate"));
            set_default(object, "/spec/revisionHistoryLimit", json!(10));
            set_default(object, "/status", json!({"replicas": 0}));
        }
        "ReplicaSet" | "ReplicationController" => {
            set_default(object, "/spec/replicas", json!(1));
            fill_template(object);
            set_default(object, "/status", json!({"replicas": 0}));
        }
        "DeploymentConfig" => fill_deployment_config(object),
        _ => {}
    }
}

fn fill_secret(object: &mut Value) {
    let plain: Vec<(String, String)> = document::entries(object, "/stringData")
        .filter_map(|(key, value)| Some((key.to_owned(), STANDARD.encode(value.as_str()?))))
        .collect();
    document::remove(object, "/stringData");
    for (key, value) in plain {
        document::set(
            object,
            &format!("/data/{}", document::segment(&key)),
            json!(value),
        );
    }
    set_default(object, "/type", json!("Opaque"));
}

fn fill_namespace(object: &mut Value) {
    let name = document::name(object).to_owned();
    set_default(
        object,
        "/metadata/labels/kubernetes.io~1metadata.name",
        json!(name),
    );
    set_default(object, "/spec/finalizers", json!(["kubernetes"]));
    set_default(object, "/status/phase", json!("Active"));
}

fn fill_deployment_config(object: &mut Value) {
    set_default(object, "/spec/replicas", json!(1));
    fill_template(object);
    if let Some(labels) = object.pointer("/spec/template/metadata/labels").cloned() {
        set_default(object, "/spec/selector", labels);
    }
    set_default(object, "/spec/strategy/type", json!("Rolling"));
    set_default(object, "/spec/triggers", json!([{"type": "ConfigChange"}]));
    set_default(object, "/spec/revisionHistoryLimit", json!(10));
    set_default(
        object,
        "/status",
        json!({"latestVersion": 0, "observedGeneration": 0, "replicas": 0, "updatedReplicas": 0,
               "availableReplicas": 0, "unavailableReplicas": 0}),
    );
}

fn fill_service(object: &mut Value) {
    // A name of a service leads straight to a pod here, which is what a headless service means.
    set_default(object, "/spec/clusterIP", json!("None"));
    set_default(object, "/spec/type", json!("ClusterIP"));
    set_default(object, "/spec/sessionAffinity", json!("None"));
    for port in list_mut(object, "/spec/ports") {
        set_default(port, "/protocol", json!("TCP"));
        if let Some(number) = port.get("port").cloned() {
            set_default(port, "/targetPort", number);
        }
    }
    set_default(object, "/status", json!({"loadBalancer": {}}));
}

fn fill_pod(object: &mut Value) {
    if let Some(spec) = object.pointer_mut("/spec") {
        fill_pod_spec(spec);
        set_default(spec, "/serviceAccountName", json!("default"));
        set_default(spec, "/serviceAccount", json!("default"));
        set_default(spec, "/enableServiceLinks", json!(true));
    }
    set_default(object, "/status/phase", json!("Pending"));
    set_default(object, "/status/qosClass", json!("BestEffort"));
}

fn fill_template(object: &mut Value) {
    if let Some(spec) = object.pointer_mut("/spec/template/spec") {
        fill_pod_spec(spec);
    }
}

fn fill_pod_spec(spec: &mut Value) {
    set_default(spec, "/restartPolicy", json!("Always"));
    set_default(spec, "/terminationGracePeriodSeconds", json!(30));
    set_default(spec, "/dnsPolicy", json!("ClusterFirst"));
    set_default(spec, "/securityContext", json!({}));
    set_default(spec, "/schedulerName", json!("default-scheduler"));
    for list in ["/initContainers", "/containers"] {
        for container in list_mut(spec, list) {
            fill_container(container);
        }
    }
    for volume in list_mut(spec, "/volumes") {
        for source in ["/configMap", "/secret"] {
            if volume.pointer(source).is_some() {
                set_default(volume, &format!("{source}/defaultMode"), json!(0o644));
            }
        }
    }
}

fn fill_container(container: &mut Value) {
    set_default(container, "/resources", json!({}));
    set_default(
        container,
        "/terminationMessagePath",
        json!("/dev/termination-log"),
    );
    set_default(container, "/terminationMessagePolicy", json!("File"));
    let image = document::text(container, "/image");
    let tag = image
        .rsplit('/')
        .next()
        .and_then(|last| last.split_once(':'));
    let floating = !image.contains('@') && tag.is_none_or(|(_, tag)| tag == "latest");
    let policy = if floating { "Always" } else { "IfNotPresent" };
    set_default(container, "/imagePullPolicy", json!(policy));
    for port in list_mut(container, "/ports") {
        set_default(port, "/protocol", json!("TCP"));
    }
    for probe in ["/readinessProbe", "/livenessProbe", "/startupProbe"] {
        if container.pointer(probe).is_some() {
            set_default(container, &format!("{probe}/timeoutSeconds"), json!(1));
            set_default(container, &format!("{probe}/periodSeconds"), json!(10));
            set_default(container, &format!("{probe}/successThreshold"), json!(1));
            set_default(container, &format!("{probe}/failureThreshold"), json!(3));
        }
    }
}

fn list_mut<'a>(object: &'a mut Value, pointer: &str) -> impl Iterator<Item = &'a mut Value> {
    object
        .pointer_mut(pointer)
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn string_data_of_a_secret_becomes_data() {
        let mut secret = json!({"data": {"a": "eA=="}, "stringData": {"b/c": "y"}});
        fill("Secret", &mut secret);
        assert_eq!(
            secret,
            json!({"data": {"a": "eA==", "b/c": "eQ=="}, "type": "Opaque"})
        );
    }

    #[test]
    fn an_image_without_a_tag_is_always_pulled() {
        let policy = |image: &str| {
            let mut container = json!({"image": image});
            fill_container(&mut container);
            document::text(&container, "/imagePullPolicy").to_owned()
        };
        assert_eq!(policy("localhost:5000/redis"), "Always");
        assert_eq!(policy("redis:latest"), "Always");
        assert_eq!(policy("redis:7"), "IfNotPresent");
    }
}
