//! A small blocking client for single requests to the local cluster, for tests and for the admin
//! endpoint. It knows neither watches nor upgrades and trusts only the cluster's own authority.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use anyhow::{Context, bail};
use serde_json::Value;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::faults::{Posted, Rule};
use crate::seen::SeenRequest;

/// An answer: its status and its body, JSON or text.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The HTTP status.
    pub code: u16,
    /// The `Content-Type`.
    pub content_type: String,
    /// The body; a text that is no JSON is a `Value::String`.
    pub body: Value,
}

/// A client of one server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    address: SocketAddr,
    config: Arc<ClientConfig>,
    token: String,
}

impl Client {
    /// A client that trusts one authority (PEM) and shows one token.
    ///
    /// # Errors
    /// If the certificate cannot be read.
    pub fn new(address: SocketAddr, authority: &str, token: &str) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_slice(authority.as_bytes())
            .context("failed to read the certificate of the authority")?;
        roots
            .add(certificate)
            .context("failed to trust the certificate of the authority")?;
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .context("failed to choose TLS versions")?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            address,
            config: Arc::new(config),
            token: token.to_owned(),
        })
    }

    /// The same server with another token; an empty one sends none.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self {
            token: token.to_owned(),
            ..self.clone()
        }
    }

    /// Sends one request. A body needs its content type.
    ///
    /// # Errors
    /// If the connection fails or the answer is no HTTP.
    pub fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<(&str, &str)>,
    ) -> anyhow::Result<Answer> {
        let socket = TcpStream::connect(self.address)
            .with_context(|| format!("failed to connect to `{}`", self.address))?;
        let name = ServerName::try_from("localhost").context("`localhost` is a name")?;
        let connection = ClientConnection::new(Arc::clone(&self.config), name)
            .context("failed to begin the TLS handshake")?;
        let mut stream = StreamOwned::new(connection, socket);
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n\
             Connection: close\r\n"
        );
        if !self.token.is_empty() {
            head.push_str(&format!("Authorization: Bearer {}\r\n", self.token));
        }
        let (content_type, content) = body.unwrap_or_default();
        if !content_type.is_empty() {
            head.push_str(&format!("Content-Type: {content_type}\r\n"));
        }
        head.push_str(&format!("Content-Length: {}\r\n\r\n", content.len()));
        stream
            .write_all(format!("{head}{content}").as_bytes())
            .with_context(|| format!("failed to send `{method} {path}`"))?;
        let mut answer = Vec::new();
        if let Err(error) = stream.read_to_end(&mut answer)
            && error.kind() != std::io::ErrorKind::UnexpectedEof
        {
            return Err(error).with_context(|| format!("failed to read `{method} {path}`"));
        }
        parse(&answer).with_context(|| format!("the answer to `{method} {path}` is no HTTP"))
    }

    /// Sets a rule for faults and returns its id.
    ///
    /// # Errors
    /// If the server cannot be reached.
    pub fn set_fault(&self, rule: &Rule) -> anyhow::Result<u64> {
        let rule = serde_json::to_string(rule).context("failed to write the rule")?;
        let body = Some(("application/json", rule.as_str()));
        let answer = self.send("POST", "/local-cluster/faults", body)?;
        match answer.body.get("id").and_then(Value::as_u64) {
            Some(id) => Ok(id),
            None => bail!("the rule was refused: {}", answer.body),
        }
    }

    /// The rules that are set, with how often each has struck.
    ///
    /// # Errors
    /// If the server cannot be reached.
    pub fn faults(&self) -> anyhow::Result<Vec<Posted>> {
        let mut answer = self.send("GET", "/local-cluster/faults", None)?;
        let faults = answer
            .body
            .get_mut("faults")
            .map(Value::take)
            .unwrap_or_default();
        serde_json::from_value(faults).context("failed to read the rules")
    }

    /// Removes one rule, or all.
    ///
    /// # Errors
    /// If the server cannot be reached.
    pub fn clear_faults(&self, id: Option<u64>) -> anyhow::Result<()> {
        let path = match id {
            Some(id) => format!("/local-cluster/faults/{id}"),
            None => "/local-cluster/faults".to_owned(),
        };
        self.send("DELETE", &path, None).map(drop)
    }

    /// The requests that the server has seen, oldest first, those to this endpoint left out.
    ///
    /// # Errors
    /// If the server cannot be reached.
    pub fn seen(&self) -> anyhow::Result<Vec<SeenRequest>> {
        let mut answer = self.send("GET", "/local-cluster/requests", None)?;
        let requests = answer
            .body
            .get_mut("requests")
            .map(Value::take)
            .unwrap_or_default();
        serde_json::from_value(requests).context("failed to read the requests")
    }

    /// Makes the server forget the requests it has seen.
    ///
    /// # Errors
    /// If the server cannot be reached.
    pub fn clear_seen(&self) -> anyhow::Result<()> {
        self.send("DELETE", "/local-cluster/requests", None)
            .map(drop)
    }

    /// Makes the server forget the history, so that watches from before end with 410.
    ///
    /// # Errors
    /// If the server cannot be reached.
    pub fn forget_history(&self) -> anyhow::Result<()> {
        self.send("DELETE", "/local-cluster/history", None)
            .map(drop)
    }
}

/// Takes an answer apart; bodies come whole or in chunks.
fn parse(answer: &[u8]) -> anyhow::Result<Answer> {
    let end = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .context("no end of head")?;
    let head = String::from_utf8_lossy(answer.get(..end).unwrap_or_default()).into_owned();
    let rest = answer.get(end + 4..).unwrap_or_default();
    let mut lines = head.lines();
    let code = lines
        .next()
        .and_then(|line| line.split(' ').nth(1))
        .and_then(|code| code.parse().ok())
        .context("no status")?;
    let header = |wanted: &str| {
        head.lines()
            .filter_map(|line| line.split_once(": "))
            .find_map(|(name, value)| name.eq_ignore_ascii_case(wanted).then(|| value.to_owned()))
    };
    let bytes = if header("transfer-encoding").is_some_and(|coding| coding == "chunked") {
        join_chunks(rest)
    } else {
        rest.to_vec()
    };
    let body = serde_json::from_slice(&bytes)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
    Ok(Answer {
        code,
        content_type: header("content-type").unwrap_or_default(),
        body,
    })
}

fn join_chunks(mut rest: &[u8]) -> Vec<u8> {
    let mut joined = Vec::new();
    while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
        let size = String::from_utf8_lossy(rest.get(..end).unwrap_or_default()).into_owned();
        let Ok(size) = usize::from_str_radix(size.trim(), 16) else {
            break;
        };
        let from = end + 2;
        joined.extend_from_slice(rest.get(from..from + size).unwrap_or_default());
        rest = rest.get(from + size + 2..).unwrap_or_default();
        if size == 0 {
            break;
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_joined() {
        let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[1\r\n2\r\n,2\r\n1\r\n]\r\n0\r\n\r\n";
        assert_eq!(parse(answer).unwrap().body, serde_json::json!([1, 2]));
    }
}
