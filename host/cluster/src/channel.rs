//! The WebSocket to a command in a pod: hand-shake, sub-protocol, and why it was refused.
//!
//! Must never ask twice once a command may have started. Only `kube`'s connection and credentials
//! are used: its own framing cannot tell a whole stream from a cut one, and hides the refusal.

use std::time::Duration;

use http::header::{
    CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, Request, StatusCode};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use kube::client::Body;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use crate::call::{Caller, Failure, refused};
use crate::error::Error;

/// API server, kubelet and container runtime all have a part in the hand-shake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);
/// Servers send 4 to 32 KiB a frame; a hundred times that is a fault, and memory.
const LARGEST_FRAME: usize = 4 << 20;
/// Each read zeroes what it may fill, and TLS gives at most 16 KiB at a time: more would be waste.
const READ_BUFFER: usize = 64 << 10;

/// The socket of one command.
pub(crate) type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// The sub-protocols of the remote command channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Cannot close stdin.
    V4,
    /// Closes one channel with `255, channel`.
    V5,
}

impl Protocol {
    fn as_str(self) -> &'static str {
        match self {
            Self::V4 => "v4.channel.k8s.io",
            Self::V5 => "v5.channel.k8s.io",
        }
    }
}

/// Why no channel came about.
#[derive(Debug)]
pub(crate) struct NoChannel {
    pub(crate) failure: Failure,
    /// The server answered, but did not say why in the API's words: as a server does that knows
    /// none of the offered sub-protocols.
    pub(crate) unexplained: Option<u16>,
}

/// Opens a channel at `path`, offering `offered` in this order. One attempt.
pub(crate) async fn open(
    caller: &Caller,
    path: &str,
    attempt: &str,
    offered: &[Protocol],
) -> Result<(Socket, Protocol), NoChannel> {
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, shake(caller, path, attempt, offered)).await {
        Ok(result) => result,
        Err(_) => {
            let reason = format!("no hand-shake within {} s", HANDSHAKE_TIMEOUT.as_secs());
            Err(explained(caller.unreachable(attempt, reason, false)))
        }
    }
}

fn explained(failure: Failure) -> NoChannel {
    NoChannel {
        failure,
        unexplained: None,
    }
}

async fn shake(
    caller: &Caller,
    path: &str,
    attempt: &str,
    offered: &[Protocol],
) -> Result<(Socket, Protocol), NoChannel> {
    let garbled = |what: &str| {
        explained(Failure::final_one(Error::Garbled {
            attempt: attempt.to_owned(),
            what: what.to_owned(),
        }))
    };
    let key = generate_key();
    let names: Vec<&str> = offered.iter().map(|protocol| protocol.as_str()).collect();
    let request = Request::get(path)
        .header(CONNECTION, HeaderValue::from_static("Upgrade"))
        .header(UPGRADE, HeaderValue::from_static("websocket"))
        .header(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"))
        .header(SEC_WEBSOCKET_KEY, &key)
        .header(SEC_WEBSOCKET_PROTOCOL, names.join(", "))
        .body(Body::empty())
        .map_err(|_| garbled("the request cannot be built"))?;
    let lost = |error: &kube::Error| explained(caller.lost(attempt, error));
    let response = caller
        .client
        .send(request)
        .await
        .map_err(|error| lost(&error))?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let (parts, body) = response.into_parts();
        let code = parts.status.as_u16();
        let body = body.collect_bytes().await.map_err(|error| lost(&error))?;
        let told = serde_json::from_slice::<kube::core::Status>(&body)
            .is_ok_and(|status| !status.message.is_empty());
        return Err(NoChannel {
            failure: refused(attempt, code, &parts.headers, &body, false),
            unexplained: (!told).then_some(code),
        });
    }
    let protocol = chosen(response.headers(), &key, offered).map_err(garbled)?;
    let upgraded = hyper::upgrade::on(response)
        .await
        .map_err(|error| lost(&kube::Error::HyperError(error)))?;
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .max_message_size(Some(LARGEST_FRAME))
        .max_frame_size(Some(LARGEST_FRAME));
    let socket =
        WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Client, Some(config)).await;
    Ok((socket, protocol))
}

/// Checks the server's half of the hand-shake (RFC 6455, 4.1) and which sub-protocol it chose.
fn chosen(headers: &HeaderMap, key: &str, offered: &[Protocol]) -> Result<Protocol, &'static str> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if !text(UPGRADE).is_some_and(|value| value.eq_ignore_ascii_case("websocket")) {
        return Err("the upgrade is not to WebSocket");
    }
    if text(SEC_WEBSOCKET_ACCEPT) != Some(derive_accept_key(key.as_bytes()).as_str()) {
        return Err("the hand-shake was answered for another key");
    }
    let name = text(SEC_WEBSOCKET_PROTOCOL);
    offered
        .iter()
        .copied()
        .find(|protocol| Some(protocol.as_str()) == name)
        .ok_or("the server chose a sub-protocol that was not offered")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sub_protocol_that_was_not_offered_is_refused() {
        let mut headers = HeaderMap::new();
        headers.insert(UPGRADE, HeaderValue::from_static("WebSocket"));
        let accept = derive_accept_key(b"key");
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept.parse().expect("a header"));
        let protocol = HeaderValue::from_static("v4.channel.k8s.io");
        headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
        assert_eq!(
            chosen(&headers, "key", &[Protocol::V5, Protocol::V4]),
            Ok(Protocol::V4)
        );
        assert!(chosen(&headers, "key", &[Protocol::V5]).is_err());
        assert!(chosen(&headers, "other key", &[Protocol::V4]).is_err());
    }
}
