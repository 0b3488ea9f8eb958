//! Create, read, update and patch: the way of an object from a request body into the store. What
//! a kind means to controllers is not known here.

use std::sync::Arc;

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::document::{self, set};
use crate::managed_fields::Manager;
use crate::request::{Query, Target};
use crate::resources::Resource;
use crate::settling::settle;
use crate::status::{ApiError, ApiResult};
use crate::store::{Refusal, Store};
use crate::{patch_apply, patch_strategic, protobuf, validation};

/// A body and how it is to be read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Body<'a> {
    pub(crate) content_type: &'a str,
    pub(crate) bytes: &'a [u8],
}

impl Body<'_> {
    /// The media type without parameters.
    pub(crate) fn media_type(&self) -> &str {
        self.content_type.split(';').next().unwrap_or("").trim()
    }

    fn is_yaml(&self) -> bool {
        self.media_type().contains("yaml")
    }

    /// The body as an object of a resource.
    pub(crate) fn parse(&self, resource: &Resource) -> ApiResult<Value> {
        if self.media_type() == protobuf::MEDIA_TYPE {
            let object = protobuf::read(self.bytes).map_err(ApiError::bad_request)?;
            return validation::check_kind(resource, &object).map(|()| object);
        }
        validation::parse(resource, self.bytes, self.is_yaml())
    }

    /// The body as any JSON or YAML.
    pub(crate) fn any(&self) -> ApiResult<Value> {
        if self.is_yaml() {
            serde_norway::from_slice(self.bytes).map_err(ApiError::bad_request_by)
        } else {
            serde_json::from_slice(self.bytes).map_err(ApiError::bad_request_by)
        }
    }
}

impl ApiError {
    fn bad_request_by(error: impl std::fmt::Display) -> Self {
        Self::bad_request(format!("error decoding patch: {error}"))
    }
}

/// Stores a new object.
pub(crate) fn create(
    store: &Store,
    target: &Target,
    body: Body<'_>,
    query: &Query,
    manager: &Manager,
) -> ApiResult<Arc<Value>> {
    let mut object = body.parse(&target.resource)?;
    let prefix = document::text(&object, "/metadata/generateName").to_owned();
    if document::name(&object).is_empty() && !prefix.is_empty() {
        let name = format!("{prefix}{}", document::random_suffix(5));
        set(&mut object, "/metadata/name", json!(name));
    }
    let dry_run = query.dry_run()?;
    create_object(store, target, object, dry_run, Some(manager))
}

/// Stores a new object that was already parsed. Without a manager its entries are left alone.
pub(crate) fn create_object(
    store: &Store,
    target: &Target,
    mut object: Value,
    dry_run: bool,
    manager: Option<&Manager>,
) -> ApiResult<Arc<Value>> {
    let resource = &target.resource;
    place(target, &mut object)?;
    if resource.namespaced {
        check_namespace(store, resource, &target.namespace, document::name(&object))?;
    }
    if store
        .get(
            &resource.collection(),
            &target.namespace,
            document::name(&object),
        )
        .is_some()
    {
        return Err(ApiError::already_exists(resource, document::name(&object)));
    }
    let object = settle(resource, None, object, "", manager)?;
    if dry_run {
        return Ok(Arc::new(object));
    }
    let name = document::name(&object).to_owned();
    store
        .create(&resource.collection(), object)
        .map_err(|_| ApiError::already_exists(resource, &name))
}

/// Reads one object.
pub(crate) fn read(store: &Store, target: &Target) -> ApiResult<Arc<Value>> {
    store
        .get(
            &target.resource.collection(),
            &target.namespace,
            &target.name,
        )
        .ok_or_else(|| ApiError::not_found(&target.resource, &target.name))
}

/// Replaces an object, or its status.
pub(crate) fn replace(
    store: &Store,
    target: &Target,
    body: Body<'_>,
    query: &Query,
    manager: &Manager,
) -> ApiResult<Arc<Value>> {
    let mut object = body.parse(&target.resource)?;
    let name = document::name(&object);
    if !name.is_empty() && name != target.name {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            target.name
        )));
    }
    place(target, &mut object)?;
    change(store, target, query.dry_run()?, |live| {
        check_version(&target.resource, live, &object)?;
        settle(
            &target.resource,
            Some(live),
            object,
            &target.subresource,
            Some(manager),
        )
    })
}

/// Patches an object, or its status. The flag says whether it was created by an apply.
pub(crate) fn patch(
    store: &Store,
    target: &Target,
    body: Body<'_>,
    query: &Query,
    manager: &Manager,
) -> ApiResult<(Arc<Value>, bool)> {
    let resource = &target.resource;
    if body.media_type() == "application/apply-patch+yaml" {
        return apply(store, target, body, query, manager);
    }
    let patch = Patch::parse(body, resource)?;
    let changed = change(store, target, query.dry_run()?, |live| {
        let mut object = live.clone();
        patch.apply_to(&mut object)?;
        check_version(resource, live, &object)?;
        settle(
            resource,
            Some(live),
            object,
            &target.subresource,
            Some(manager),
        )
    })?;
    Ok((changed, false))
}

/// A patch of one of the kinds that change an object without managers.
#[derive(Debug)]
pub(crate) enum Patch {
    Json(json_patch::Patch),
    Merge(Value),
    Strategic(Value),
}

impl Patch {
    /// Reads a patch by its media type.
    pub(crate) fn parse(body: Body<'_>, resource: &Resource) -> ApiResult<Self> {
        match body.media_type() {
            "application/json-patch+json" => Ok(Self::Json(
                serde_json::from_slice(body.bytes).map_err(ApiError::bad_request_by)?,
            )),
            "application/merge-patch+json" => Ok(Self::Merge(body.any()?)),
            "application/strategic-merge-patch+json" if !resource.is_custom() => {
                Ok(Self::Strategic(body.any()?))
            }
            _ => Err(ApiError::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "UnsupportedMediaType",
                "415: Unsupported Media Type",
            )
            .with_details(json!({}))),
        }
    }

    /// Changes an object.
    pub(crate) fn apply_to(&self, object: &mut Value) -> ApiResult<()> {
        match self {
            Self::Json(patch) => json_patch::patch(object, patch).map_err(|_| {
                ApiError::new(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    "Invalid",
                    "the server rejected our request due to an error in our request",
                )
                .with_details(json!({}))
            })?,
            Self::Merge(patch) => json_patch::merge(object, patch),
            Self::Strategic(patch) => patch_strategic::merge(object, patch),
        }
        Ok(())
    }
}

fn apply(
    store: &Store,
    target: &Target,
    body: Body<'_>,
    query: &Query,
    manager: &Manager,
) -> ApiResult<(Arc<Value>, bool)> {
    if query.text("fieldManager").is_empty() {
        return Err(validation::missing_manager());
    }
    let resource = &target.resource;
    let mut configuration = body.parse(resource)?;
    place(target, &mut configuration)?;
    let (force, dry_run) = (query.flag("force"), query.dry_run()?);
    if store
        .get(&resource.collection(), &target.namespace, &target.name)
        .is_none()
    {
        if !target.subresource.is_empty() {
            return Err(ApiError::not_found(resource, &target.name));
        }
        set(&mut configuration, "/metadata/name", json!(target.name));
        let object = patch_apply::apply(None, &configuration, manager, force)?;
        return Ok((create_object(store, target, object, dry_run, None)?, true));
    }
    let changed = change(store, target, dry_run, |live| {
        check_version(resource, live, &configuration)?;
        let object = patch_apply::apply(Some(live), &configuration, manager, force)?;
        settle(resource, Some(live), object, &target.subresource, None)
    })?;
    Ok((changed, false))
}

/// Reads, changes and writes in one step, or only pretends to.
pub(crate) fn change(
    store: &Store,
    target: &Target,
    dry_run: bool,
    change: impl FnOnce(&Value) -> ApiResult<Value>,
) -> ApiResult<Arc<Value>> {
    let resource = &target.resource;
    if dry_run {
        return Ok(Arc::new(change(&*read(store, target)?)?));
    }
    let changed = store
        .update(
            &resource.collection(),
            &target.namespace,
            &target.name,
            |live| change(live).map_err(Failure::Api),
        )
        .map_err(|failure| match failure {
            Failure::Api(error) => error,
            Failure::Missing => ApiError::not_found(resource, &target.name),
        })?;
    let finalizers = document::items(&changed, "/metadata/finalizers");
    let held = document::items(&changed, "/spec/finalizers");
    if document::is_terminating(&changed)
        && finalizers.is_empty()
        && held.is_empty()
        && resource.kind != "Pod"
    {
        let uid = document::uid(&changed);
        store.remove(
            &resource.collection(),
            &target.namespace,
            &target.name,
            Some(uid),
        );
    }
    Ok(changed)
}

enum Failure {
    Api(ApiError),
    Missing,
}

impl From<Refusal> for Failure {
    fn from(_: Refusal) -> Self {
        Self::Missing
    }
}

/// Puts the object where the path says, or refuses one that says otherwise.
fn place(target: &Target, object: &mut Value) -> ApiResult<()> {
    let namespace = document::namespace(object);
    if target.resource.namespaced {
        if !namespace.is_empty() && namespace != target.namespace {
            return Err(ApiError::bad_request(
                "the namespace of the provided object does not match the namespace sent on the \
                 request",
            ));
        }
        set(object, "/metadata/namespace", json!(target.namespace));
    } else {
        document::remove(object, "/metadata/namespace");
    }
    Ok(())
}

fn check_namespace(store: &Store, resource: &Resource, name: &str, object: &str) -> ApiResult<()> {
    let Some(namespace) = store.get("namespaces", "", name) else {
        return Err(ApiError::new(
            StatusCode::NOT_FOUND,
            "NotFound",
            format!("namespaces \"{name}\" not found"),
        )
        .with_details(json!({"name": name, "kind": "namespaces"})));
    };
    if document::is_terminating(&namespace) {
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "Forbidden",
            format!(
                "{} \"{object}\" is forbidden: unable to create new content in namespace {name} \
                 because it is being terminated",
                resource.qualified()
            ),
        )
        .with_details(resource.details(object)));
    }
    Ok(())
}

/// Refuses a change that was made from an older version, or of an object of the same name that
/// is gone.
fn check_version(resource: &Resource, live: &Value, object: &Value) -> ApiResult<()> {
    for pointer in ["/metadata/resourceVersion", "/metadata/uid"] {
        let wanted = document::text(object, pointer);
        if !wanted.is_empty() && wanted != document::text(live, pointer) {
            return Err(ApiError::modified(resource, document::name(live)));
        }
    }
    Ok(())
}
