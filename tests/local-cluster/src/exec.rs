//! Requests for an `exec`: which pod, container and sub-protocol, and every refusal before the
//! upgrade. What happens on the connection afterwards is the session's.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::extract::ws::WebSocketUpgrade;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use crate::deletion;
use crate::document;
use crate::exec_frames::Protocol;
use crate::exec_session::{End, Orders, Session};
use crate::faults::{Circumstance, Fault};
use crate::request::{Query, Target};
use crate::server::Api;
use crate::status::{ApiError, ApiResult};

/// Answers a request for an exec.
pub(crate) async fn exec(
    api: Arc<Api>,
    target: Target,
    query: &Query,
    mut parts: Parts,
) -> ApiResult<Response> {
    let path = parts
        .uri
        .path_and_query()
        .map_or("", |path| path.as_str())
        .to_owned();
    let circumstance = Circumstance {
        name: &target.name,
        path: &path,
        method: "GET",
    };
    refuse_by_fault(&api, &target, circumstance)?;
    let pod = find_pod(&api, &target)?;
    let container = choose_container(&pod, query.text("container"))?;
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &()).await;
    let Ok(mut upgrade) = upgrade else {
        return Err(ApiError::bad_request(
            "unable to upgrade: only WebSocket is served here",
        ));
    };
    let offers: Vec<String> = upgrade
        .requested_protocols()
        .filter_map(|offer| offer.to_str().ok())
        .map(str::to_owned)
        .collect();
    let strike = |wanted: Fault| {
        let hit = |fault: &Fault| (*fault == wanted).then_some(());
        api.faults.strike(circumstance, hit).is_some()
    };
    let Some(protocol) = Protocol::choose(&offers, strike(Fault::V4Only)) else {
        let mut refused = Response::new(Body::empty());
        *refused.status_mut() = StatusCode::FORBIDDEN;
        return Ok(refused);
    };
    let Some(running) = api.kubelet.running(document::uid(&pod)) else {
        return Err(ApiError::internal(format!(
            "container not found (\"{container}\")"
        )));
    };
    let command = query.all("command");
    if command.is_empty() {
        return Err(ApiError::bad_request(
            "you must specify at least 1 command for the container",
        ));
    }
    let started = running
        .exec(&container, command.clone(), query.flag("stdin"))
        .await;
    let started = started.map_err(|error| ApiError::internal(format!("{error:#}")))?;
    let session = Session {
        orders: orders(&api, circumstance),
        protocol,
        command,
        wants: (query.flag("stdout"), query.flag("stderr")),
        moved: Arc::new(AtomicU64::new(0)),
        uid: document::uid(&pod).to_owned(),
        api,
        target,
    };
    upgrade.set_selected_protocol(HeaderValue::from_static(protocol.name()));
    let upgrade = upgrade.max_message_size(64 << 20).max_frame_size(64 << 20);
    Ok(upgrade
        .on_upgrade(move |socket| session.serve(socket, started))
        .into_response())
}

fn refuse_by_fault(api: &Api, target: &Target, circumstance: Circumstance<'_>) -> ApiResult<()> {
    let replace = |fault: &Fault| (*fault == Fault::ReplacePod).then_some(());
    if api.faults.strike(circumstance, replace).is_some() {
        let options = deletion::Options::immediate();
        deletion::delete(&api.store, target, &options)?;
    }
    let refusal = api.faults.strike(circumstance, |fault| match fault {
        Fault::RefuseExec { code, message } => Some((*code, message.clone())),
        _ => None,
    });
    let Some((code, message)) = refusal else {
        return Ok(());
    };
    let code = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let reason = match code {
        StatusCode::FORBIDDEN => "Forbidden",
        StatusCode::NOT_FOUND => "NotFound",
        StatusCode::BAD_REQUEST => "BadRequest",
        _ => "InternalError",
    };
    Err(ApiError::new(code, reason, message))
}

fn orders(api: &Api, circumstance: Circumstance<'_>) -> Orders {
    let faults = &api.faults;
    let strike = |wanted: &Fault| {
        faults
            .strike(circumstance, |fault| (fault == wanted).then_some(()))
            .is_some()
    };
    let close = faults.strike(circumstance, |fault| match fault {
        Fault::CloseWithoutStatus { after_bytes } => Some(*after_bytes),
        _ => None,
    });
    let end = faults.strike(circumstance, |fault| match fault {
        Fault::CutExec { after_bytes } => Some((*after_bytes, End::Cut)),
        Fault::StallExec { after_bytes } => Some((*after_bytes, End::Stall)),
        _ => None,
    });
    Orders {
        end: end.or(close.flatten().map(|bytes| (bytes, End::Close))),
        delete_after: faults.strike(circumstance, |fault| match fault {
            Fault::DeletePod { after_bytes } => Some(*after_bytes),
            _ => None,
        }),
        omit_status: strike(&Fault::OmitStatus),
        close_without_status: close == Some(None),
        omit_exit_code: strike(&Fault::OmitExitCode),
        read_rate: faults.strike(circumstance, |fault| match fault {
            Fault::SlowReader { bytes_per_second } => Some(*bytes_per_second),
            _ => None,
        }),
        write_rate: faults.strike(circumstance, |fault| match fault {
            Fault::SlowWriter { bytes_per_second } => Some(*bytes_per_second),
            _ => None,
        }),
    }
}

fn find_pod(api: &Api, target: &Target) -> ApiResult<Arc<Value>> {
    let pod = crate::objects::read(&api.store, target)?;
    let phase = document::text(&pod, "/status/phase");
    if matches!(phase, "Succeeded" | "Failed") {
        return Err(ApiError::internal(format!(
            "cannot exec into a container in a completed pod; current phase is {phase}"
        )));
    }
    Ok(pod)
}

/// The container by name, or the only one there is.
pub(crate) fn choose_container(pod: &Value, wanted: &str) -> ApiResult<String> {
    let names = |list: &str| -> Vec<String> {
        let containers = document::items(pod, list).iter();
        containers
            .map(|container| document::text(container, "/name").to_owned())
            .collect()
    };
    let (main, init) = (names("/spec/containers"), names("/spec/initContainers"));
    let default = document::text(
        pod,
        "/metadata/annotations/kubectl.kubernetes.io~1default-container",
    );
    match (wanted, main.as_slice()) {
        ("", [only]) => Ok(only.clone()),
        ("", _) if main.iter().any(|name| name == default) => Ok(default.to_owned()),
        ("", _) => Err(ApiError::bad_request(format!(
            "a container name must be specified for pod {}, choose one of: [{}]",
            document::name(pod),
            main.join(" ")
        ))),
        (wanted, _) if main.iter().chain(&init).any(|name| name == wanted) => Ok(wanted.to_owned()),
        (wanted, _) => Err(ApiError::bad_request(format!(
            "container {wanted} is not valid for pod {}",
            document::name(pod)
        ))),
    }
}
