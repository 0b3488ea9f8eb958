//! The API held against what a real server answered, and against the clients' view of each fault.
//! Pods are stand-ins here: what runs in real pods is tried with the real kubectl.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what fails in a helper fails its test"
)]

mod answers;
mod exec;
mod faults;
mod objects;
mod stand_in;
mod workloads;

use std::sync::Arc;
use std::time::{Duration, Instant};

use local_cluster::client::{Answer, Client};
use local_cluster::{Place, Server};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A server with stand-in pods, and a folder that lives as long.
struct Bed {
    server: Server,
    client: Client,
    _folder: TempDir,
}

impl Bed {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime = Arc::new(stand_in::StandIn::new(folder.path()));
        let place = Place {
            state: folder.path().to_owned(),
            ..Place::default()
        };
        let server = Server::start(runtime, place).await.unwrap();
        let client = server.access().client().unwrap();
        Self {
            server,
            client,
            _folder: folder,
        }
    }

    /// Sends a request without keeping the server from running.
    async fn send(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let kind = if method == "PATCH" {
            "application/merge-patch+json"
        } else {
            "application/json"
        };
        self.send_as(method, path, kind, body.map(|body| body.to_string()))
            .await
    }

    async fn send_as(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: Option<String>,
    ) -> Answer {
        let (client, method, path) = (self.client.clone(), method.to_owned(), path.to_owned());
        let content_type = content_type.to_owned();
        tokio::task::spawn_blocking(move || {
            let body = body.as_deref().map(|body| (content_type.as_str(), body));
            client.send(&method, &path, body).unwrap()
        })
        .await
        .unwrap()
    }

    async fn set_fault(&self, rule: Value) {
        let answer = self.send("POST", "/local-cluster/faults", Some(rule)).await;
        assert_eq!(answer.code, 201, "{}", answer.body);
    }

    /// Reads a path again and again until the answer is as wanted.
    async fn wait(&self, path: &str, wanted: impl Fn(&Answer) -> bool) -> Answer {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let answer = self.send("GET", path, None).await;
            if wanted(&answer) {
                return answer;
            }
            assert!(
                Instant::now() < deadline,
                "`{path}` stayed at {}",
                answer.body
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Makes a Deployment with one replica and waits for its pod, whose name is returned.
    async fn deployment(&self, name: &str) -> String {
        let path = "/apis/apps/v1/namespaces/default/deployments";
        let answer = self.send("POST", path, Some(deployment(name))).await;
        assert_eq!(answer.code, 201, "{}", answer.body);
        self.ready_pod(name).await
    }

    /// The one ready pod with a label `deployment`.
    async fn ready_pod(&self, name: &str) -> String {
        let path = format!("/api/v1/namespaces/default/pods?labelSelector=deployment%3D{name}");
        let answer = self.wait(&path, |answer| {
            let items = answer.body["items"].as_array().unwrap();
            items.len() == 1 && is_ready(&items[0])
        });
        answer.await.body["items"][0]["metadata"]["name"]
            .as_str()
            .unwrap()
            .to_owned()
    }
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions.is_some_and(|conditions| {
        conditions
            .iter()
            .any(|one| one["type"] == "Ready" && one["status"] == "True")
    })
}

fn deployment(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": 1, "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": {"deployment": name}},
            "template": {
                "metadata": {"labels": {"deployment": name}},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [
                    {"name": "main", "image": "none", "command": ["sleep", "1000"]},
                ]},
            },
        },
    })
}
