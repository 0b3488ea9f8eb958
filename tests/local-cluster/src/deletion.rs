//! Deleting objects: gracefully for pods, in the background for what is owned, held up by
//! finalizers. The last word on a pod belongs to its kubelet.

use std::sync::Arc;

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::document::{self, set};
use crate::objects::Body;
use crate::request::{Query, Target};
use crate::resources::Resource;
use crate::selectors::Selector;
use crate::status::{ApiError, ApiResult};
use crate::store::Store;

/// How to delete.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    grace: Option<i64>,
    propagation: String,
    uid: String,
    version: String,
    dry_run: bool,
}

impl Options {
    /// Reads options from body and query; the body wins.
    pub(crate) fn parse(body: Body<'_>, query: &Query) -> ApiResult<Self> {
        let options = if body.bytes.is_empty() {
            json!({})
        } else {
            body.any()?
        };
        let from_query = |name: &str| query.text(name).to_owned();
        let mut parsed = Self {
            grace: query.text("gracePeriodSeconds").parse().ok(),
            propagation: from_query("propagationPolicy"),
            uid: document::text(&options, "/preconditions/uid").to_owned(),
            version: document::text(&options, "/preconditions/resourceVersion").to_owned(),
            dry_run: query.dry_run()? || !document::items(&options, "/dryRun").is_empty(),
        };
        if let Some(grace) = document::number(&options, "/gracePeriodSeconds") {
            parsed.grace = Some(grace);
        }
        let propagation = document::text(&options, "/propagationPolicy");
        if !propagation.is_empty() {
            propagation.clone_into(&mut parsed.propagation);
        }
        Ok(parsed)
    }

    /// At once, without grace.
    pub(crate) fn immediate() -> Self {
        Self {
            grace: Some(0),
            ..Self::default()
        }
    }
}

/// Deletes one object; the answer is the object while it lingers, or a `Status` when it is gone.
pub(crate) fn delete(store: &Store, target: &Target, options: &Options) -> ApiResult<Value> {
    let resource = &target.resource;
    let live = store
        .get(&resource.collection(), &target.namespace, &target.name)
        .ok_or_else(|| ApiError::not_found(resource, &target.name))?;
    check_preconditions(resource, &live, options)?;
    if options.dry_run {
        return Ok((*live).clone());
    }
    if resource.kind == "Pod" {
        return delete_pod(store, target, &live, options);
    }
    if options.propagation == "Orphan" {
        orphan_dependents(store, document::uid(&live));
    }
    let waits_for_dependents =
        options.propagation == "Foreground" && !store.owned_by(document::uid(&live)).is_empty();
    let held =
        !document::items(&live, "/metadata/finalizers").is_empty() || resource.kind == "Namespace";
    if !held && !waits_for_dependents {
        let uid = document::uid(&live).to_owned();
        store.remove(
            &resource.collection(),
            &target.namespace,
            &target.name,
            Some(&uid),
        );
        let mut details = resource.details(&target.name);
        set(&mut details, "/uid", json!(uid));
        return Ok(json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
            "details": details,
        }));
    }
    let marked = store.amend(
        &resource.collection(),
        &target.namespace,
        &target.name,
        |object| {
            document::set_default(
                object,
                "/metadata/deletionTimestamp",
                json!(document::now()),
            );
            if resource.kind == "Namespace" {
                set(object, "/status/phase", json!("Terminating"));
            }
            let mut finalizers = document::texts(object, "/metadata/finalizers");
            if waits_for_dependents && !finalizers.iter().any(|name| name == "foregroundDeletion") {
                finalizers.push("foregroundDeletion".to_owned());
                set(object, "/metadata/finalizers", json!(finalizers));
            }
        },
    );
    Ok(marked.map_or_else(|| (*live).clone(), |object| (*object).clone()))
}

/// Deletes every object of a collection that a selector matches; the answer is the list of them.
pub(crate) fn delete_collection(
    store: &Store,
    target: &Target,
    selector: &Selector,
    options: &Options,
) -> ApiResult<Value> {
    let resource = &target.resource;
    let (version, objects) = store.list(&resource.collection(), target.scope());
    let mut deleted: Vec<Value> = Vec::new();
    for object in objects.iter().filter(|object| selector.matches(object)) {
        let one = Target {
            resource: resource.clone(),
            namespace: document::namespace(object).to_owned(),
            name: document::name(object).to_owned(),
            subresource: String::new(),
        };
        match delete(store, &one, options) {
            Ok(_) => deleted.push((**object).clone()),
            Err(error) if error.code() == StatusCode::NOT_FOUND => {}
            Err(error) => return Err(error),
        }
    }
    Ok(json!({
        "kind": format!("{}List", resource.kind), "apiVersion": resource.api_version(),
        "metadata": {"resourceVersion": version.to_string()}, "items": deleted,
    }))
}

fn check_preconditions(resource: &Resource, live: &Value, options: &Options) -> ApiResult<()> {
    let checks = [
        ("UID", &options.uid, document::uid(live)),
        (
            "ResourceVersion",
            &options.version,
            document::text(live, "/metadata/resourceVersion"),
        ),
    ];
    for (what, wanted, found) in checks {
        if !wanted.is_empty() && wanted != found {
            let message = format!(
                "the {what} in the precondition ({wanted}) does not match the {what} in record \
                 ({found}). The object might have been deleted and then recreated"
            );
            return Err(ApiError::precondition(
                resource,
                document::name(live),
                &message,
            ));
        }
    }
    Ok(())
}

fn delete_pod(
    store: &Store,
    target: &Target,
    live: &Arc<Value>,
    options: &Options,
) -> ApiResult<Value> {
    let own = document::number(live, "/spec/terminationGracePeriodSeconds").unwrap_or(30);
    let grace = options.grace.unwrap_or(own).max(0);
    let marked = store.amend("pods", &target.namespace, &target.name, |pod| {
        mark_pod(pod, grace);
    });
    let Some(marked) = marked else {
        return Err(ApiError::not_found(&target.resource, &target.name));
    };
    if grace == 0 {
        // The kubelet sees the removal and kills what runs.
        let uid = document::uid(live);
        store.remove("pods", &target.namespace, &target.name, Some(uid));
    }
    Ok((*marked).clone())
}

/// Marks a pod as terminating; a later deletion can only shorten the grace.
pub(crate) fn mark_pod(pod: &mut Value, grace: i64) {
    let known = document::number(pod, "/metadata/deletionGracePeriodSeconds");
    if document::is_terminating(pod) && known.is_some_and(|known| known <= grace) {
        return;
    }
    let end = jiff::Timestamp::now()
        .checked_add(jiff::SignedDuration::from_secs(grace))
        .unwrap_or(jiff::Timestamp::MAX);
    let end = end.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    set(pod, "/metadata/deletionTimestamp", json!(end));
    set(pod, "/metadata/deletionGracePeriodSeconds", json!(grace));
}

fn orphan_dependents(store: &Store, uid: &str) {
    for (collection, object) in store.owned_by(uid) {
        let (namespace, name) = (document::namespace(&object), document::name(&object));
        store.amend(&collection, namespace, name, |object| {
            let owners: Vec<Value> = document::items(object, "/metadata/ownerReferences")
                .iter()
                .filter(|owner| document::text(owner, "/uid") != uid)
                .cloned()
                .collect();
            set(object, "/metadata/ownerReferences", json!(owners));
        });
    }
}
