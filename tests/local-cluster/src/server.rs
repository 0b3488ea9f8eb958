//! The door of the API: TLS, tokens, ordered faults, and the way of each request to its handler.
//! Every request passes here, and only here is it written down.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use axum::body::Body as HttpBody;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::faults::{Board, Circumstance, Fault};
use crate::kubelet::Kubelet;
use crate::managed_fields::Manager;
use crate::objects::Body;
use crate::request::{Query, Target};
use crate::seen::Seen;
use crate::status::{ApiError, ApiResult, object_response, page_not_found};
use crate::store::Store;
use crate::{
    access, admin, deletion, discovery, exec, listing, logs, objects, subresources, tables,
    templates, watching,
};

/// A body larger than this is refused, as the real server does at about 3 MiB.
const BODY_LIMIT: usize = 3 * 1024 * 1024;

/// Everything that handlers share.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) store: Arc<Store>,
    pub(crate) faults: Arc<Board>,
    pub(crate) kubelet: Arc<Kubelet>,
    pub(crate) seen: Seen,
    pub(crate) token: String,
    pub(crate) address: SocketAddr,
}

/// Serves until cancelled. Connections that are open then are dropped.
pub(crate) async fn serve(
    api: Arc<Api>,
    listener: TcpListener,
    acceptor: TlsAcceptor,
    cancelled: CancellationToken,
) -> anyhow::Result<()> {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = cancelled.cancelled() => return Ok(()),
        };
        let (stream, _) = accepted.context("failed to accept a connection")?;
        let connection = connection(Arc::clone(&api), stream, acceptor.clone());
        let cancelled = cancelled.clone();
        tokio::spawn(async move {
            tokio::select! {
                served = connection => if let Err(error) = served {
                    tracing::debug!("a connection ended: {error:#}");
                },
                () = cancelled.cancelled() => {}
            }
        });
    }
}

async fn connection(api: Arc<Api>, stream: TcpStream, acceptor: TlsAcceptor) -> anyhow::Result<()> {
    stream
        .set_nodelay(true)
        .context("failed to set up the connection")?;
    let stream = acceptor
        .accept(stream)
        .await
        .context("failed the TLS handshake")?;
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let api = Arc::clone(&api);
        async move { Ok::<_, Infallible>(handle(api, request.map(HttpBody::new)).await) }
    });
    hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await
        .context("failed to serve the connection")
}

/// Answers one request.
async fn handle(api: Arc<Api>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts
        .uri
        .path_and_query()
        .map_or("", |path| path.as_str())
        .to_owned();
    if matches!(parts.uri.path(), "/healthz" | "/readyz" | "/livez") {
        return "ok".into_response();
    }
    if !access::has_token(&parts.headers, &api.token) {
        return ApiError::unauthorized().into_response();
    }
    let Ok(body) = axum::body::to_bytes(body, BODY_LIMIT).await else {
        let code = StatusCode::PAYLOAD_TOO_LARGE;
        let reason = "RequestEntityTooLarge";
        return ApiError::new(code, reason, "Request entity too large: limit is 3145728")
            .into_response();
    };
    if let Some(rest) = parts.uri.path().strip_prefix("/local-cluster/") {
        return admin::handle(&api, &parts.method, rest, &body);
    }
    let agent = header_text(&parts.headers, header::USER_AGENT.as_str());
    api.seen.record(parts.method.as_str(), &path, agent);
    let circumstance = Circumstance {
        name: "",
        path: &path,
        method: parts.method.as_str(),
    };
    if let Some(refused) = refused_by_fault(&api, circumstance) {
        return refused.into_response();
    }
    if parts.method == Method::GET
        && let Some(answer) =
            discovery::answer(&api.store, parts.uri.path(), &api.address.to_string())
    {
        return object_response(StatusCode::OK, &answer);
    }
    let Some(target) = Target::parse(&api.store, parts.uri.path()) else {
        return page_not_found();
    };
    let query = Query::parse(parts.uri.query());
    let verb = target.verb(&parts.method, &query);
    if let Some(refused) = access::forbidden(&api.faults, &target, verb, circumstance) {
        return refused.into_response();
    }
    match dispatch(api, target, query, parts, &body).await {
        Ok(response) => response,
        Err(error) => error.into_response(),
    }
}

fn refused_by_fault(api: &Api, circumstance: Circumstance<'_>) -> Option<ApiError> {
    let rejected = |fault: &Fault| (*fault == Fault::RejectToken).then_some(());
    if api.faults.strike(circumstance, rejected).is_some() {
        return Some(ApiError::unauthorized());
    }
    let (code, retry_after) = api.faults.strike(circumstance, |fault| match fault {
        Fault::Refuse { code, retry_after } => Some((*code, *retry_after)),
        _ => None,
    })?;
    let code = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let (reason, message) = match code {
        StatusCode::TOO_MANY_REQUESTS => (
            "TooManyRequests",
            "Too many requests, please try again later.",
        ),
        StatusCode::SERVICE_UNAVAILABLE => (
            "ServiceUnavailable",
            "the server is currently unable to handle the request",
        ),
        StatusCode::GATEWAY_TIMEOUT => (
            "Timeout",
            "the server was unable to return a response in the time allotted",
        ),
        _ => (
            "InternalError",
            "an error on the server has prevented the request from succeeding",
        ),
    };
    Some(ApiError::new(code, reason, message).with_retry_after(retry_after))
}

async fn dispatch(
    api: Arc<Api>,
    target: Target,
    query: Query,
    parts: Parts,
    bytes: &[u8],
) -> ApiResult<Response> {
    let store = Arc::clone(&api.store);
    let method = parts.method.clone();
    let content_type = header_text(&parts.headers, header::CONTENT_TYPE.as_str()).to_owned();
    let body = Body {
        content_type: &content_type,
        bytes,
    };
    let manager = manager(&parts.headers, &target, &query);
    let collection = target.name.is_empty();
    if target.resource.virtual_only {
        return create_virtual(&api, &target, &method, body);
    }
    let subresource = target.subresource.clone();
    match (method.as_str(), subresource.as_str()) {
        ("GET" | "POST", "exec") => exec::exec(api, target, &query, parts).await,
        ("GET", "log") => logs::logs(api, &target, &query).await,
        ("GET", "scale") => ok(&subresources::read_scale(&store, &target)?),
        ("PUT", "scale") => ok(&subresources::replace_scale(
            &store, &target, body, &query, &manager,
        )?),
        ("PATCH", "scale") => ok(&subresources::patch_scale(
            &store, &target, body, &query, &manager,
        )?),
        ("POST", "instantiate") => {
            let changed = subresources::instantiate(&store, &target, body)?;
            Ok(object_response(StatusCode::CREATED, &changed))
        }
        ("GET", "") if query.watch() => {
            let path = parts
                .uri
                .path_and_query()
                .map_or("", |path| path.as_str())
                .to_owned();
            watching::watch(store, &api.faults, target, &query, &path)
        }
        ("GET", "") if collection => {
            let list = listing::list(&store, &target, &query)?;
            ok(&as_accepted(&parts.headers, &target, list))
        }
        ("GET", "" | "status") => {
            let object = objects::read(&store, &target)?;
            ok(&as_accepted(&parts.headers, &target, (*object).clone()))
        }
        ("POST", "") if collection => {
            let object = objects::create(&store, &target, body, &query, &manager)?;
            Ok(object_response(StatusCode::CREATED, &object))
        }
        ("PUT", "" | "status") if !collection => {
            ok(&*objects::replace(&store, &target, body, &query, &manager)?)
        }
        ("PATCH", "" | "status") if !collection => {
            let (object, created) = objects::patch(&store, &target, body, &query, &manager)?;
            let code = if created {
                StatusCode::CREATED
            } else {
                StatusCode::OK
            };
            Ok(object_response(code, &object))
        }
        ("DELETE", "") => {
            let options = deletion::Options::parse(body, &query)?;
            if !collection {
                return ok(&deletion::delete(&store, &target, &options)?);
            }
            let selector = query.selector(&target.resource)?;
            ok(&deletion::delete_collection(
                &store, &target, &selector, &options,
            )?)
        }
        _ => Err(ApiError::method_not_allowed()),
    }
}

fn ok(object: &Value) -> ApiResult<Response> {
    Ok(object_response(StatusCode::OK, object))
}

/// Kinds whose answer is all there is.
fn create_virtual(
    api: &Api,
    target: &Target,
    method: &Method,
    body: Body<'_>,
) -> ApiResult<Response> {
    if method != Method::POST {
        return Err(ApiError::method_not_allowed());
    }
    let object = body.parse(&target.resource)?;
    let answer = match target.resource.kind.as_str() {
        "SelfSubjectAccessReview" => access::review(&api.faults, object),
        _ => templates::process(&target.resource, object)?,
    };
    Ok(object_response(StatusCode::CREATED, &answer))
}

/// Who changes an object: the manager that is named, else the program in `User-Agent`.
fn manager(headers: &HeaderMap, target: &Target, query: &Query) -> Manager {
    let agent = header_text(headers, header::USER_AGENT.as_str());
    let program = agent
        .split('/')
        .next()
        .filter(|program| !program.is_empty());
    let named = Some(query.text("fieldManager")).filter(|name| !name.is_empty());
    Manager {
        name: named.or(program).unwrap_or("unknown").to_owned(),
        api_version: target.resource.api_version(),
        subresource: target.subresource.clone(),
        custom: target.resource.is_custom(),
    }
}

/// The answer as a table, if that is what the client would rather have.
fn as_accepted(headers: &HeaderMap, target: &Target, object: Value) -> Value {
    let accept = header_text(headers, header::ACCEPT.as_str());
    if accept.contains("as=Table;v=v1;g=meta.k8s.io") {
        return tables::table(&target.resource, &object);
    }
    object
}

fn header_text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("")
}
