//! The `Table` form of answers, which `kubectl get` shows. Only the columns that people look for
//! are made; everything else is name and age.

use serde_json::{Value, json};

use crate::document;
use crate::resources::Resource;

/// A column and where its value comes from.
type Column = (&'static str, fn(&Value) -> String);

/// An object or a list as a table.
pub(crate) fn table(resource: &Resource, object: &Value) -> Value {
    let is_list = object.get("items").is_some();
    let objects: Vec<&Value> = if is_list {
        document::items(object, "/items").iter().collect()
    } else {
        vec![object]
    };
    let columns = columns(&resource.kind);
    let rows: Vec<Value> = objects
        .into_iter()
        .map(|object| {
            let mut cells = vec![document::name(object).to_owned()];
            cells.extend(columns.iter().map(|(_, value)| value(object)));
            cells.push(age(object));
            json!({"cells": cells, "object": {
                "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
                "metadata": object.get("metadata"),
            }})
        })
        .collect();
    let definition = |name: &str| {
        let format = if name == "Name" { "name" } else { "" };
        json!({"name": name, "type": "string", "format": format, "description": "", "priority": 0})
    };
    let names = ["Name"]
        .into_iter()
        .chain(columns.iter().map(|(name, _)| *name))
        .chain(["Age"]);
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1",
        "metadata": if is_list { object.get("metadata").cloned() } else { None }.unwrap_or(json!({})),
        "columnDefinitions": names.map(definition).collect::<Vec<_>>(),
        "rows": rows,
    })
}

fn columns(kind: &str) -> &'static [Column] {
    match kind {
        "Pod" => &[
            ("Ready", |pod| {
                let statuses = document::items(pod, "/status/containerStatuses");
                let ready = statuses
                    .iter()
                    .filter(|status| document::flag(status, "/ready"));
                format!(
                    "{}/{}",
                    ready.count(),
                    document::items(pod, "/spec/containers").len()
                )
            }),
            ("Status", pod_status),
            ("Restarts", |pod| {
                let statuses = document::items(pod, "/status/containerStatuses").iter();
                let counts =
                    statuses.filter_map(|status| document::number(status, "/restartCount"));
                counts.sum::<i64>().to_string()
            }),
        ],
        "Deployment" | "StatefulSet" => &[
            ("Ready", |object| {
                format!(
                    "{}/{}",
                    count(object, "/status/readyReplicas"),
                    count(object, "/spec/replicas")
                )
            }),
            ("Up-to-date", |object| {
                count(object, "/status/updatedReplicas").to_string()
            }),
            ("Available", |object| {
                count(object, "/status/availableReplicas").to_string()
            }),
        ],
        "DeploymentConfig" => &[
            ("Revision", |object| {
                count(object, "/status/latestVersion").to_string()
            }),
            ("Desired", |object| {
                count(object, "/spec/replicas").to_string()
            }),
            ("Current", |object| {
                count(object, "/status/replicas").to_string()
            }),
        ],
        "ReplicaSet" | "ReplicationController" => &[
            ("Desired", |object| {
                count(object, "/spec/replicas").to_string()
            }),
            ("Current", |object| {
                count(object, "/status/replicas").to_string()
            }),
            ("Ready", |object| {
                count(object, "/status/readyReplicas").to_string()
            }),
        ],
        "ConfigMap" => &[("Data", |object| {
            document::entries(object, "/data").count().to_string()
        })],
        "Secret" => &[
            ("Type", |object| document::text(object, "/type").to_owned()),
            ("Data", |object| {
                document::entries(object, "/data").count().to_string()
            }),
        ],
        "Namespace" => &[("Status", |object| {
            document::text(object, "/status/phase").to_owned()
        })],
        "PersistentVolumeClaim" => &[
            ("Status", |object| {
                document::text(object, "/status/phase").to_owned()
            }),
            ("Volume", |object| {
                document::text(object, "/spec/volumeName").to_owned()
            }),
        ],
        _ => &[],
    }
}

fn count(object: &Value, pointer: &str) -> i64 {
    document::number(object, pointer).unwrap_or(0)
}

fn pod_status(pod: &Value) -> String {
    if document::is_terminating(pod) {
        return "Terminating".to_owned();
    }
    let waiting = document::items(pod, "/status/containerStatuses")
        .iter()
        .map(|status| document::text(status, "/state/waiting/reason"))
        .find(|reason| !reason.is_empty());
    waiting
        .unwrap_or_else(|| document::text(pod, "/status/phase"))
        .to_owned()
}

fn age(object: &Value) -> String {
    let created = document::text(object, "/metadata/creationTimestamp").parse::<jiff::Timestamp>();
    let Ok(created) = created else {
        return "<unknown>".to_owned();
    };
    let seconds = jiff::Timestamp::now()
        .duration_since(created)
        .as_secs()
        .max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}
