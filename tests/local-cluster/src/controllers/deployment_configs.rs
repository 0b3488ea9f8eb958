//! DeploymentConfigs of OpenShift: a numbered ReplicationController for each rollout. The pods
//! carry `deploymentconfig` and `deployment: NAME-N`, which is not the label of a Deployment.

use std::sync::Arc;

use serde_json::{Value, json};

use super::deployments::condition;
use super::{Ground, notice::Notices, pods, replicas};
use crate::document::{self, set};

const COLLECTION: &str = "apps.openshift.io/deploymentconfigs";
const CONTROLLERS: &str = "replicationcontrollers";
const ENCODED: &str = "/metadata/annotations/openshift.io~1encoded-deployment-config";
const PHASE: &str = "/metadata/annotations/openshift.io~1deployment.phase";

/// Brings every DeploymentConfig nearer to what it wants.
pub(crate) fn reconcile(ground: &Ground, notices: &mut Notices) {
    for config in ground.store.list(COLLECTION, None).1 {
        if document::is_terminating(&config) || !notices.taken(&ground.faults, &config) {
            continue;
        }
        let latest = next_version(ground, &config);
        roll_out(ground, &config, latest);
        write_status(ground, &config, latest);
    }
}

fn controllers(ground: &Ground, config: &Value) -> Vec<Arc<Value>> {
    let (_, controllers) = ground
        .store
        .list(CONTROLLERS, Some(document::namespace(config)));
    controllers
        .into_iter()
        .filter(|one| document::controller_uid(one) == Some(document::uid(config)))
        .collect()
}

fn controller_name(config: &Value, version: i64) -> String {
    format!("{}-{version}", document::name(config))
}

/// The version to be rolled out: one more than the last if the template changed and a trigger
/// says that this is enough.
fn next_version(ground: &Ground, config: &Value) -> i64 {
    let latest = document::number(config, "/status/latestVersion").unwrap_or(0);
    let triggered = document::items(config, "/spec/triggers")
        .iter()
        .any(|trigger| document::text(trigger, "/type") == "ConfigChange");
    if !triggered || document::flag(config, "/spec/paused") {
        return latest;
    }
    let name = controller_name(config, latest);
    let Some(last) = ground
        .store
        .get(CONTROLLERS, document::namespace(config), &name)
    else {
        return latest.max(1);
    };
    let encoded: Value = serde_json::from_str(document::text(&last, ENCODED)).unwrap_or_default();
    if encoded.pointer("/spec/template") == config.pointer("/spec/template") {
        latest
    } else {
        latest + 1
    }
}

fn roll_out(ground: &Ground, config: &Value, latest: i64) {
    if latest == 0 {
        return;
    }
    let wanted = document::number(config, "/spec/replicas").unwrap_or(1);
    let name = controller_name(config, latest);
    let all = controllers(ground, config);
    let (new, old): (Vec<_>, Vec<_>) = all
        .into_iter()
        .partition(|controller| document::name(controller) == name);
    let recreate = document::text(config, "/spec/strategy/type") == "Recreate";
    let old_pods: usize = old
        .iter()
        .map(|old| pods::owned(&ground.store, old).len())
        .sum();
    let new_ready = new
        .first()
        .is_some_and(|new| document::number(new, "/status/readyReplicas").unwrap_or(0) >= wanted);
    if recreate || new_ready {
        for old in &old {
            replicas::scale(ground, CONTROLLERS, old, 0);
        }
    }
    match new.first() {
        Some(new) => {
            replicas::scale(ground, CONTROLLERS, new, wanted);
            let phase = if new_ready && old_pods == 0 {
                "Complete"
            } else {
                "Running"
            };
            if document::text(new, PHASE) != "Complete" {
                ground
                    .store
                    .amend(CONTROLLERS, document::namespace(new), &name, |object| {
                        set(object, PHASE, json!(phase));
                    });
            }
        }
        None if recreate && old_pods > 0 => {}
        None => {
            let controller = new_controller(config, latest, wanted);
            let namespace = document::namespace(config);
            pods::make(
                &ground.store,
                "",
                "replicationcontrollers",
                namespace,
                controller,
            );
        }
    }
}

fn new_controller(config: &Value, version: i64, wanted: i64) -> Value {
    let name = document::name(config);
    let full = controller_name(config, version);
    let mut template = config
        .pointer("/spec/template")
        .cloned()
        .unwrap_or_default();
    let mut selector = config
        .pointer("/spec/selector")
        .cloned()
        .unwrap_or_default();
    // OpenShift stamps these two on every pod, whatever the template says.
    for (key, value) in [("deploymentconfig", name), ("deployment", full.as_str())] {
        set(
            &mut template,
            &format!("/metadata/labels/{key}"),
            json!(value),
        );
        set(&mut selector, &format!("/{key}"), json!(value));
    }
    let annotations = json!({
        "openshift.io/deployment-config.name": name,
        "openshift.io/deployment-config.latest-version": version.to_string(),
        "openshift.io/deployment.name": full,
    });
    for (key, value) in document::entries(&annotations, "") {
        let pointer = format!("/metadata/annotations/{}", document::segment(key));
        set(&mut template, &pointer, value.clone());
    }
    let mut labels = config
        .pointer("/metadata/labels")
        .cloned()
        .unwrap_or_else(|| json!({}));
    set(
        &mut labels,
        "/openshift.io~1deployment-config.name",
        json!(name),
    );
    let mut encoded = config.clone();
    document::remove(&mut encoded, "/metadata/managedFields");
    let mut controller = json!({
        "apiVersion": "v1", "kind": "ReplicationController",
        "metadata": {
            "name": full, "labels": labels, "annotations": annotations,
            "ownerReferences": pods::reference(config),
        },
        "spec": {"replicas": wanted, "selector": selector, "template": template},
    });
    set(&mut controller, ENCODED, json!(encoded.to_string()));
    set(&mut controller, PHASE, json!("Running"));
    controller
}

fn write_status(ground: &Ground, config: &Value, latest: i64) {
    let wanted = document::number(config, "/spec/replicas").unwrap_or(1);
    let name = controller_name(config, latest);
    let (mut total, mut updated, mut ready) = (0_i64, 0_i64, 0_i64);
    for controller in controllers(ground, config) {
        for pod in pods::owned(&ground.store, &controller) {
            if pods::is_active(&pod) {
                total += 1;
                updated += i64::from(document::name(&controller) == name);
                ready += i64::from(pods::is_ready(&pod));
            }
        }
    }
    let generation = document::number(config, "/metadata/generation").unwrap_or(1);
    let available = if ready >= wanted && (ready > 0 || wanted == 0) {
        (
            "Available",
            "True",
            "",
            "Deployment config has minimum availability.".to_owned(),
        )
    } else {
        (
            "Available",
            "False",
            "",
            "Deployment config does not have minimum availability.".to_owned(),
        )
    };
    let complete = updated == wanted && total == wanted && ready == wanted && latest > 0;
    let progressing = if complete {
        let message = format!("replication controller \"{name}\" successfully rolled out");
        (
            "Progressing",
            "True",
            "NewReplicationControllerAvailable",
            message,
        )
    } else {
        let message = format!("replication controller \"{name}\" is progressing");
        (
            "Progressing",
            "True",
            "ReplicationControllerUpdated",
            message,
        )
    };
    ground.store.amend(COLLECTION, document::namespace(config), document::name(config), |object| {
        // Looked at before somebody asked for another rollout: the next look has it.
        let newer = document::number(object, "/metadata/generation") != Some(generation);
        if newer || document::uid(object) != document::uid(config) {
            return;
        }
        let previous = object.get("status").cloned().unwrap_or_default();
        let details = previous.get("details").cloned();
        let mut status = json!({
            "latestVersion": latest, "observedGeneration": generation, "replicas": total,
            "updatedReplicas": updated, "availableReplicas": ready,
            "unavailableReplicas": (wanted.max(total) - ready).max(0), "readyReplicas": ready,
            "conditions": [
                condition(&previous, available, false), condition(&previous, progressing, false),
            ],
        });
        if let Some(details) = details {
            set(&mut status, "/details", details);
        }
        set(object, "/status", status);
    });
}
