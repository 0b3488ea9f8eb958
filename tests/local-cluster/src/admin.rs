//! The endpoint for tests, `/local-cluster/...`: rules for faults, seen requests, the history. No
//! client of a real cluster calls it, and nothing in the host may.

use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::faults::Rule;
use crate::server::Api;
use crate::status::{ApiError, object_response, page_not_found};

/// Answers a request to the endpoint; `path` is what follows the prefix.
pub(crate) fn handle(api: &Api, method: &Method, path: &str, body: &[u8]) -> Response {
    let segments: Vec<&str> = path
        .split('/')
        .filter(|segment| !segment.is_empty())
        .collect();
    match (method.as_str(), segments.as_slice()) {
        ("GET", ["faults"]) => {
            object_response(StatusCode::OK, &json!({"faults": api.faults.posted()}))
        }
        ("POST", ["faults"]) => match serde_json::from_slice::<Rule>(body) {
            Ok(rule) => {
                let id = api.faults.post(rule);
                object_response(StatusCode::CREATED, &json!({"id": id}))
            }
            Err(error) => {
                ApiError::bad_request(format!("not a rule for a fault: {error}")).into_response()
            }
        },
        ("DELETE", ["faults"]) => {
            api.faults.remove(None);
            object_response(StatusCode::OK, &json!({}))
        }
        ("DELETE", ["faults", id]) => match id.parse() {
            Ok(id) => {
                api.faults.remove(Some(id));
                object_response(StatusCode::OK, &json!({}))
            }
            Err(_) => ApiError::bad_request("the id of a fault is a number").into_response(),
        },
        ("GET", ["requests"]) => {
            object_response(StatusCode::OK, &json!({"requests": api.seen.all()}))
        }
        ("DELETE", ["requests"]) => {
            api.seen.clear();
            object_response(StatusCode::OK, &json!({}))
        }
        ("DELETE", ["history"]) => {
            api.store.forget_history();
            object_response(StatusCode::OK, &json!({}))
        }
        _ => page_not_found(),
    }
}
