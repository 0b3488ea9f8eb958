//! Who may do what: bearer tokens, and the rights that a test takes away by fault. Without such a
//! fault the one known token may do everything.

use axum::http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};

use crate::document::{self, set};
use crate::faults::{Board, Circumstance, Fault};
use crate::request::Target;
use crate::status::ApiError;

/// The name of the user behind the token.
const USER: &str = "local-cluster:admin";

/// Whether the request carries the token.
pub(crate) fn has_token(headers: &HeaderMap, token: &str) -> bool {
    headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
        .is_some_and(|given| given == token)
}

/// The refusal of a verb on a target, if a fault takes the right away.
pub(crate) fn forbidden(
    faults: &Board,
    target: &Target,
    verb: &str,
    circumstance: Circumstance<'_>,
) -> Option<ApiError> {
    let mut resource = target.resource.plural.clone();
    if !target.subresource.is_empty() {
        resource = format!("{resource}/{}", target.subresource);
    }
    faults.strike(circumstance, |fault| takes_away(fault, verb, &resource))?;
    let place = if target.namespace.is_empty() {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace \"{}\"", target.namespace)
    };
    let name = if target.name.is_empty() {
        String::new()
    } else {
        format!(" \"{}\"", target.name)
    };
    let message = format!(
        "{}{name} is forbidden: User \"{USER}\" cannot {verb} resource \"{resource}\" in API \
         group \"{}\" {place}",
        target.resource.qualified(),
        target.resource.group
    );
    let details = target.resource.details(&target.name);
    Some(ApiError::new(StatusCode::FORBIDDEN, "Forbidden", message).with_details(details))
}

/// Answers a SelfSubjectAccessReview.
pub(crate) fn review(faults: &Board, mut review: Value) -> Value {
    let attribute =
        |name: &str| document::text(&review, &format!("/spec/resourceAttributes/{name}"));
    let mut resource = attribute("resource").to_owned();
    if !attribute("subresource").is_empty() {
        resource = format!("{resource}/{}", attribute("subresource"));
    }
    let circumstance = Circumstance {
        name: attribute("name"),
        ..Circumstance::default()
    };
    let verb = attribute("verb");
    let taken = faults.look(circumstance, |fault| takes_away(fault, verb, &resource));
    let mut status = json!({"allowed": taken.is_none()});
    if taken.is_some() {
        set(&mut status, "/reason", json!("taken away by a fault"));
    }
    set(&mut review, "/status", status);
    set(&mut review, "/metadata/creationTimestamp", Value::Null);
    review
}

fn takes_away(fault: &Fault, verb: &str, resource: &str) -> Option<()> {
    let Fault::Forbid {
        verb: taken,
        resource: kind,
    } = fault
    else {
        return None;
    };
    let verb_taken = taken.as_ref().is_none_or(|taken| taken == verb);
    let kind_taken = kind.as_ref().is_none_or(|kind| kind == resource);
    (verb_taken && kind_taken).then_some(())
}
