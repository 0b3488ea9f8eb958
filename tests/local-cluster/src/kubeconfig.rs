//! The kubeconfig of a cluster: one context, its authority and its token.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// The file as JSON, which every reader of YAML understands.
pub(crate) fn document(url: &str, authority: &str, token: &str, namespace: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "local-cluster", "cluster": {
            "server": url, "certificate-authority-data": STANDARD.encode(authority),
        }}],
        "users": [{"name": "local-cluster", "user": {"token": token}}],
        "contexts": [{"name": "local-cluster", "context": {
            "cluster": "local-cluster", "user": "local-cluster", "namespace": namespace,
        }}],
        "current-context": "local-cluster",
    })
}
