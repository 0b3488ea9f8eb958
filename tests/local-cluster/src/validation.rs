//! What the server refuses before it stores an object. Only rules that clients meet are checked;
//! what passes here may still be nonsense to a real cluster.

use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::document;
use crate::resources::Resource;
use crate::selectors::Selector;
use crate::status::{ApiError, ApiResult};

const NAME_RULE: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric \
    characters, '-' or '.', and must start and end with an alphanumeric character (e.g. \
    'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

/// Parses a request body as one object of a resource.
pub(crate) fn parse(resource: &Resource, body: &[u8], yaml: bool) -> ApiResult<Value> {
    let parsed: Result<Value, String> = if yaml {
        serde_norway::from_slice(body).map_err(|error| error.to_string())
    } else {
        serde_json::from_slice(body).map_err(|error| error.to_string())
    };
    let object = parsed.map_err(|error| {
        ApiError::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): couldn't get \
             version/kind; json parse error: {error} ({})",
            resource.kind,
            hex::encode(body.get(..body.len().min(40)).unwrap_or(body))
        ))
    })?;
    check_kind(resource, &object)?;
    Ok(object)
}

/// Whether an object is of the resource's kind, or does not say.
pub(crate) fn check_kind(resource: &Resource, object: &Value) -> ApiResult<()> {
    let (kind, version) = (
        document::text(object, "/kind"),
        document::text(object, "/apiVersion"),
    );
    if !object.is_object() {
        return Err(ApiError::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): couldn't get version/kind",
            resource.kind
        )));
    }
    if (kind.is_empty() || kind == resource.kind)
        && (version.is_empty() || version == resource.api_version())
    {
        return Ok(());
    }
    if kind != resource.kind {
        let internal = if resource.group.is_empty() {
            "core"
        } else {
            &resource.group
        };
        return Err(ApiError::bad_request(format!(
            "{kind} in version \"{version}\" cannot be handled as a {}: converting ({}.{kind}) to \
             ({internal}.{}): unknown conversion",
            resource.kind,
            version.rsplit('/').next().unwrap_or(version),
            resource.kind
        )));
    }
    Err(ApiError::bad_request(format!(
        "the API version in the data ({version}) does not match the expected API version ({})",
        resource.api_version()
    )))
}

/// Checks an object whose defaults are filled.
pub(crate) fn check(
    resource: &Resource,
    previous: Option<&Value>,
    object: &Value,
) -> ApiResult<()> {
    let name = document::name(object);
    if !is_name(name) && resource.group != "rbac.authorization.k8s.io" {
        let message = format!("Invalid value: \"{name}\": {NAME_RULE}");
        return Err(invalid(resource, object, "metadata.name", &message));
    }
    match resource.kind.as_str() {
        "Secret" => check_secret(resource, object)?,
        "Deployment" | "StatefulSet" | "ReplicaSet" => check_workload(resource, previous, object)?,
        "DeploymentConfig" | "ReplicationController" => check_containers(resource, object)?,
        "Pod" => check_pod(resource, previous, object)?,
        _ => {}
    }
    check_immutable(resource, previous, object)
}

fn invalid(resource: &Resource, object: &Value, field: &str, message: &str) -> ApiError {
    let reason = if message.starts_with("Required") {
        "FieldValueRequired"
    } else if message.starts_with("Forbidden") {
        "FieldValueForbidden"
    } else {
        "FieldValueInvalid"
    };
    ApiError::invalid(resource, document::name(object), field, reason, message)
}

fn is_name(name: &str) -> bool {
    let inner = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    !name.is_empty()
        && name.len() <= 253
        && name.split('.').all(|part| {
            part.starts_with(inner)
                && part.ends_with(inner)
                && part.chars().all(|letter| inner(letter) || letter == '-')
        })
}

fn check_secret(resource: &Resource, object: &Value) -> ApiResult<()> {
    for (key, value) in document::entries(object, "/data") {
        let Some(text) = value.as_str() else {
            return Err(ApiError::bad_request(format!(
                "Secret in version \"v1\" cannot be handled as a Secret: json: cannot unmarshal \
                 into Go struct field Secret.data of type []uint8 (`{key}`)"
            )));
        };
        if STANDARD.decode(text).is_err() {
            let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
            let position = text
                .bytes()
                .position(|byte| !letter(byte))
                .unwrap_or(text.len());
            return Err(ApiError::bad_request(format!(
                "{} in version \"v1\" cannot be handled as a {}: illegal base64 data at input \
                 byte {position}",
                resource.kind, resource.kind
            )));
        }
    }
    Ok(())
}

fn check_workload(resource: &Resource, previous: Option<&Value>, object: &Value) -> ApiResult<()> {
    let Some(selector) = object.pointer("/spec/selector") else {
        return Err(invalid(resource, object, "spec.selector", "Required value"));
    };
    check_containers(resource, object)?;
    let template = object
        .pointer("/spec/template")
        .cloned()
        .unwrap_or_default();
    let parsed = Selector::of_workload(selector);
    if parsed.is_empty() {
        let message = "Invalid value: {}: empty selector is invalid for deployment";
        return Err(invalid(resource, object, "spec.selector", message));
    }
    if !parsed.matches(&template) {
        let labels: Vec<String> = document::entries(&template, "/metadata/labels")
            .map(|(key, value)| format!("\"{key}\":{value}"))
            .collect();
        let message = format!(
            "Invalid value: map[string]string{{{}}}: `selector` does not match template `labels`",
            labels.join(", ")
        );
        return Err(invalid(
            resource,
            object,
            "spec.template.metadata.labels",
            &message,
        ));
    }
    let old = previous.and_then(|previous| previous.pointer("/spec/selector"));
    if old.is_some_and(|old| old != selector) {
        let message = "Invalid value: field is immutable";
        return Err(invalid(resource, object, "spec.selector", message));
    }
    Ok(())
}

fn check_containers(resource: &Resource, object: &Value) -> ApiResult<()> {
    if document::items(object, "/spec/template/spec/containers").is_empty() {
        let field = "spec.template.spec.containers";
        return Err(invalid(resource, object, field, "Required value"));
    }
    Ok(())
}

fn check_pod(resource: &Resource, previous: Option<&Value>, object: &Value) -> ApiResult<()> {
    if document::items(object, "/spec/containers").is_empty() {
        return Err(invalid(
            resource,
            object,
            "spec.containers",
            "Required value",
        ));
    }
    let commands = |pod: &Value| {
        let containers = document::items(pod, "/spec/containers");
        containers
            .iter()
            .map(|one| one.get("command").cloned())
            .collect::<Vec<_>>()
    };
    if previous.is_some_and(|previous| commands(previous) != commands(object)) {
        let message = "Forbidden: pod updates may not change fields other than \
            `spec.containers[*].image`, `spec.initContainers[*].image`, \
            `spec.activeDeadlineSeconds`, `spec.tolerations`, `spec.terminationGracePeriodSeconds`";
        return Err(invalid(resource, object, "spec", message));
    }
    Ok(())
}

fn check_immutable(resource: &Resource, previous: Option<&Value>, object: &Value) -> ApiResult<()> {
    let Some(previous) = previous.filter(|previous| document::flag(previous, "/immutable")) else {
        return Ok(());
    };
    if matches!(resource.kind.as_str(), "Secret" | "ConfigMap")
        && previous.get("data") != object.get("data")
    {
        let message = "Forbidden: field is immutable when `immutable` is set";
        return Err(invalid(resource, object, "data", message));
    }
    Ok(())
}

/// 422 for an apply without a field manager.
pub(crate) fn missing_manager() -> ApiError {
    let message = "Required value: is required for apply patch";
    ApiError::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "Invalid",
        format!("PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: {message}"),
    )
    .with_details(json!({
        "group": "meta.k8s.io", "kind": "PatchOptions",
        "causes": [{"reason": "FieldValueRequired", "message": message, "field": "fieldManager"}],
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_dns_subdomains() {
        for good in ["a", "backend-redis", "kube-root-ca.crt", "3scale"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "Bad_Name", "-a", "a-", "a..b", "a/b"] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
