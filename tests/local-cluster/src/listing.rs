//! Lists with selectors and pages. A page after the first is read from the present state, so a
//! list that changes between pages is not a snapshot; the version in the token is kept.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::document;
use crate::request::{Query, Target};
use crate::resources::Resource;
use crate::status::{ApiError, ApiResult};
use crate::store::Store;

/// One page of a collection.
pub(crate) fn list(store: &Store, target: &Target, query: &Query) -> ApiResult<Value> {
    let resource = &target.resource;
    let selector = query.selector(resource)?;
    let (mut version, objects) = store.list(&resource.collection(), target.scope());
    let mut start = String::new();
    let token = query.text("continue");
    if !token.is_empty() {
        (version, start) = read_token(token)?;
    }
    let matching: Vec<_> = objects
        .iter()
        .filter(|object| key(target, object) >= start)
        .filter(|object| selector.matches(object))
        .collect();
    let limit = query.number("limit").filter(|limit| *limit > 0);
    let limit = limit
        .and_then(|limit| usize::try_from(limit).ok())
        .unwrap_or(usize::MAX);
    let page = matching
        .iter()
        .take(limit)
        .map(|object| as_item(resource, object))
        .collect();
    let mut metadata = json!({"resourceVersion": version.to_string()});
    if let Some(last) = matching
        .get(limit.saturating_sub(1))
        .filter(|_| matching.len() > limit)
    {
        let next = format!("{}\u{0}", key(target, last));
        document::set(
            &mut metadata,
            "/continue",
            json!(write_token(version, &next)),
        );
        if selector.is_empty() {
            let remaining = matching.len() - limit;
            document::set(&mut metadata, "/remainingItemCount", json!(remaining));
        }
    }
    Ok(json!({
        "kind": format!("{}List", resource.kind), "apiVersion": resource.api_version(),
        "metadata": metadata, "items": Value::Array(page),
    }))
}

/// Items of built-in kinds do not repeat kind and version, those of custom kinds do.
fn as_item(resource: &Resource, object: &Value) -> Value {
    let mut item = object.clone();
    if !resource.is_custom() {
        document::remove(&mut item, "/kind");
        document::remove(&mut item, "/apiVersion");
    }
    item
}

fn key(target: &Target, object: &Value) -> String {
    match target.scope() {
        None if target.resource.namespaced => {
            format!("{}/{}", document::namespace(object), document::name(object))
        }
        _ => document::name(object).to_owned(),
    }
}

fn write_token(version: u64, start: &str) -> String {
    let token = json!({"v": "meta.k8s.io/v1", "rv": version, "start": start});
    URL_SAFE_NO_PAD.encode(token.to_string())
}

fn read_token(token: &str) -> ApiResult<(u64, String)> {
    let bad = |cause: &dyn std::fmt::Display| {
        ApiError::bad_request(format!(
            "invalid continue token: continue key is not valid: {cause}"
        ))
    };
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|error| bad(&error))?;
    let token: Value = serde_json::from_slice(&bytes).map_err(|error| bad(&error))?;
    let version = token.get("rv").and_then(Value::as_u64);
    let start = token.get("start").and_then(Value::as_str);
    match (version, start) {
        (Some(version), Some(start)) => Ok((version, start.to_owned())),
        _ => Err(bad(&"it has no version or no start")),
    }
}
