//! `scale` of every workload and `instantiate` of DeploymentConfigs. Nothing here starts or ends
//! a pod: controllers see the changed object.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::document::{self, set};
use crate::managed_fields::Manager;
use crate::objects::{self, Body, Patch};
use crate::request::{Query, Target};
use crate::selectors;
use crate::settling::settle;
use crate::status::{ApiError, ApiResult};
use crate::store::Store;

/// Reads the scale of a workload.
pub(crate) fn read_scale(store: &Store, target: &Target) -> ApiResult<Value> {
    Ok(scale_of(&*objects::read(store, target)?))
}

/// Replaces the scale.
pub(crate) fn replace_scale(
    store: &Store,
    target: &Target,
    body: Body<'_>,
    query: &Query,
    manager: &Manager,
) -> ApiResult<Value> {
    let scale = body.any()?;
    change_scale(store, target, query, manager, |_| Ok(scale))
}

/// Patches the scale.
pub(crate) fn patch_scale(
    store: &Store,
    target: &Target,
    body: Body<'_>,
    query: &Query,
    manager: &Manager,
) -> ApiResult<Value> {
    let patch = if body.media_type() == "application/apply-patch+yaml" {
        Patch::Merge(body.any()?)
    } else {
        Patch::parse(body, &target.resource)?
    };
    change_scale(store, target, query, manager, |mut scale| {
        patch.apply_to(&mut scale)?;
        Ok(scale)
    })
}

fn change_scale(
    store: &Store,
    target: &Target,
    query: &Query,
    manager: &Manager,
    change: impl FnOnce(Value) -> ApiResult<Value>,
) -> ApiResult<Value> {
    let resource = &target.resource;
    let changed = objects::change(store, target, query.dry_run()?, |live| {
        let scale = change(scale_of(live))?;
        let version = document::text(&scale, "/metadata/resourceVersion");
        if !version.is_empty() && version != document::text(live, "/metadata/resourceVersion") {
            return Err(ApiError::modified(resource, &target.name));
        }
        let replicas = document::number(&scale, "/spec/replicas").unwrap_or(0);
        if replicas < 0 {
            let message = format!("Invalid value: {replicas}: must be greater than or equal to 0");
            let field = "spec.replicas";
            return Err(ApiError::invalid(
                resource,
                &target.name,
                field,
                "FieldValueInvalid",
                &message,
            ));
        }
        let mut object = live.clone();
        set(&mut object, "/spec/replicas", json!(replicas));
        let manager = Manager {
            subresource: "scale".to_owned(),
            ..manager.clone()
        };
        settle(resource, Some(live), object, "", Some(&manager))
    })?;
    Ok(scale_of(&changed))
}

fn scale_of(object: &Value) -> Value {
    let metadata = |field: &str| object.pointer(&format!("/metadata/{field}")).cloned();
    let mut scale = json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": {}});
    for field in [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "creationTimestamp",
    ] {
        if let Some(value) = metadata(field) {
            set(&mut scale, &format!("/metadata/{field}"), value);
        }
    }
    // Zero is left out, as the real server does.
    let replicas = document::number(object, "/spec/replicas").unwrap_or(0);
    let spec = if replicas == 0 {
        json!({})
    } else {
        json!({"replicas": replicas})
    };
    set(&mut scale, "/spec", spec);
    set(
        &mut scale,
        "/status",
        json!({
            "replicas": document::number(object, "/status/replicas").unwrap_or(0),
            "selector": object.pointer("/spec/selector").map(selectors::to_text).unwrap_or_default(),
        }),
    );
    scale
}

/// Starts a new rollout of a DeploymentConfig, as `oc rollout latest` asks for it.
pub(crate) fn instantiate(store: &Store, target: &Target, body: Body<'_>) -> ApiResult<Arc<Value>> {
    let request = body.any()?;
    let name = document::text(&request, "/name");
    if name != target.name {
        return Err(ApiError::bad_request(format!(
            "name in the deployment request ({name}) does not match the name on the URL ({})",
            target.name
        )));
    }
    let resource = &target.resource;
    objects::change(store, target, false, |live| {
        if document::flag(live, "/spec/paused") {
            return Err(ApiError::bad_request(format!(
                "cannot instantiate paused deploymentconfig \"{name}\""
            )));
        }
        let latest = document::number(live, "/status/latestVersion").unwrap_or(0);
        let generation = document::number(live, "/metadata/generation").unwrap_or(0);
        let mut object = live.clone();
        set(&mut object, "/status/latestVersion", json!(latest + 1));
        set(
            &mut object,
            "/status/details",
            json!({"message": "manual change", "causes": [{"type": "Manual"}]}),
        );
        let mut settled = settle(resource, Some(live), object, "status", None)?;
        set(&mut settled, "/metadata/generation", json!(generation + 1));
        Ok(settled)
    })
}
