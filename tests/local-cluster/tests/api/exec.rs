//! Exec connections frame by frame: the recorded ones, both sub-protocols, and every fault that
//! ends a stream in another way than a server should.

use std::sync::Arc;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::Bed;

const BOTH: &[&str] = &["v5.channel.k8s.io", "v4.channel.k8s.io"];
const V4: &[&str] = &["v4.channel.k8s.io"];

type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Closed(u16),
    Cut,
    Open,
}

/// All that came over a connection.
#[derive(Debug)]
struct Heard {
    frames: Vec<(u8, Vec<u8>)>,
    end: End,
}

impl Heard {
    fn bytes(&self, channel: u8) -> Vec<u8> {
        let frames = self.frames.iter().filter(|frame| frame.0 == channel);
        frames.flat_map(|frame| frame.1.clone()).collect()
    }

    fn status(&self) -> Option<Value> {
        let (channel, data) = self.frames.last()?;
        (*channel == 3).then(|| serde_json::from_slice(data).unwrap())
    }
}

/// Opens a connection; a refusal is its status and body.
async fn open(bed: &Bed, path: &str, offers: &[&str]) -> Result<(Socket, String), (u16, String)> {
    open_with(bed, path, offers, &bed.server.access().token).await
}

async fn open_with(
    bed: &Bed,
    path: &str,
    offers: &[&str],
    token: &str,
) -> Result<(Socket, String), (u16, String)> {
    let access = bed.server.access();
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(access.authority.as_bytes()).unwrap())
        .unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tcp = TcpStream::connect(access.url.trim_start_matches("https://"))
        .await
        .unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let tls = connector.connect(name, tcp).await.unwrap();
    let mut request = format!("wss://localhost{path}")
        .into_client_request()
        .unwrap();
    let headers = request.headers_mut();
    headers.insert("Authorization", format!("Bearer {token}").parse().unwrap());
    headers.insert("Sec-WebSocket-Protocol", offers.join(", ").parse().unwrap());
    match tokio_tungstenite::client_async(request, tls).await {
        Ok((socket, response)) => {
            let chosen = response.headers()["Sec-WebSocket-Protocol"]
                .to_str()
                .unwrap()
                .to_owned();
            Ok((socket, chosen))
        }
        Err(Error::Http(response)) => {
            let code = response.status().as_u16();
            let body = response.into_body().unwrap_or_default();
            Err((code, String::from_utf8(body).unwrap()))
        }
        Err(error) => panic!("{error}"),
    }
}

/// Listens until the end, or for a while.
async fn listen(socket: &mut Socket, patience: Duration) -> Heard {
    let mut frames = Vec::new();
    loop {
        let end = match tokio::time::timeout(patience, socket.next()).await {
            Err(_) => End::Open,
            Ok(None | Some(Err(_))) => End::Cut,
            Ok(Some(Ok(Message::Close(frame)))) => {
                End::Closed(frame.map_or(0, |frame| frame.code.into()))
            }
            Ok(Some(Ok(Message::Binary(data)))) => {
                frames.push((data[0], data[1..].to_vec()));
                continue;
            }
            Ok(Some(Ok(other))) => panic!("{other:?}"),
        };
        return Heard { frames, end };
    }
}

fn exec_path(pod: &str, command: &[&str], stdin: bool) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for word in command {
        query.append_pair("command", word);
    }
    query
        .append_pair("container", "main")
        .append_pair("stdout", "true");
    query
        .append_pair("stderr", "true")
        .append_pair("stdin", &stdin.to_string());
    format!(
        "/api/v1/namespaces/default/pods/{pod}/exec?{}",
        query.finish()
    )
}

/// Runs a shell command to its end over the newest sub-protocol.
async fn run(bed: &Bed, pod: &str, script: &str) -> Heard {
    let path = exec_path(pod, &["sh", "-c", script], false);
    let (mut socket, _) = open(bed, &path, BOTH).await.unwrap();
    listen(&mut socket, Duration::from_secs(2)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_connections_go_as_they_went() {
    let bed = Bed::new().await;
    let pod = bed.deployment("backend-redis").await;
    let records: Vec<Value> =
        serde_json::from_str(include_str!("../../fixtures/exec.json")).unwrap();
    // The real server spoke v4 only, as this one does by this rule.
    bed.set_fault(json!({"fault": "v4Only"})).await;
    for record in &records {
        let name = record["name"].as_str().unwrap();
        let path = record["path"].as_str().unwrap();
        let path = path
            .replace("backend-redis-65c6df6497-q8bh6", &pod)
            .replace("container=backend-redis", "container=main");
        let offers: Vec<&str> = record["offered"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it.as_str().unwrap())
            .collect();
        let token = &bed.server.access().token;
        let token = if name == "token is wrong" {
            "wrong"
        } else {
            token
        };
        let opened = open_with(&bed, &path, &offers, token).await;
        let (mut socket, chosen) = match opened {
            Ok(opened) => opened,
            Err((code, body)) => {
                assert_eq!(json!(code), record["refused"]["status"], "{name}");
                let expected = record["refused"]["body"].as_str().unwrap();
                let expected = expected.replace("backend-redis-65c6df6497-q8bh6", &pod);
                assert_eq!(body, expected, "{name}");
                continue;
            }
        };
        assert_eq!(json!(chosen), record["chosen"], "{name}");
        if record["sent"].is_string() {
            socket
                .send(Message::binary(b"\0hello".to_vec()))
                .await
                .unwrap();
        }
        if name == "v5 close frame sent to v4" {
            socket.send(Message::binary(vec![255, 0])).await.unwrap();
        }
        let heard = listen(&mut socket, Duration::from_secs(1)).await;
        check_frames(name, record, &heard);
    }
}

fn check_frames(name: &str, record: &Value, heard: &Heard) {
    let expected_end = if record["closed"].is_string() {
        End::Open
    } else {
        End::Closed(1000)
    };
    assert_eq!(heard.end, expected_end, "{name}");
    let real: Vec<&Value> = record["frames"].as_array().unwrap().iter().collect();
    assert_eq!(
        heard.frames[0],
        (1, Vec::new()),
        "{name}: the first frame is empty"
    );
    for channel in [1, 2] {
        let bytes: u64 = real
            .iter()
            .filter(|frame| frame["channel"] == channel)
            .map(|frame| frame["bytes"].as_u64().unwrap())
            .sum();
        let heard = heard.bytes(u8::try_from(channel).unwrap());
        assert_eq!(heard.len() as u64, bytes, "{name}: channel {channel}");
    }
    assert!(
        heard.frames.iter().all(|frame| frame.1.len() <= 32768),
        "{name}"
    );
    let real_status = real.last().filter(|frame| frame["channel"] == 3);
    let expected: Option<Value> =
        real_status.map(|frame| serde_json::from_str(frame["text"].as_str().unwrap()).unwrap());
    // The id of a start that failed is random.
    let plain = |status: Option<Value>| {
        let text = status.map(|status| status.to_string()).unwrap_or_default();
        let mut parts = text.split("failed to start exec ");
        let mut plain = parts.next().unwrap().to_owned();
        for part in parts {
            plain.push_str(part.split_once(": ").unwrap().1);
        }
        plain
    };
    assert_eq!(plain(heard.status()), plain(expected), "{name}");
}

#[tokio::test(flavor = "multi_thread")]
async fn v5_is_preferred_and_its_half_close_ends_the_input_only() {
    let bed = Bed::new().await;
    let pod = bed.deployment("one").await;
    let path = exec_path(&pod, &["sh", "-c", "wc -c; echo done >&2"], true);
    let (mut socket, chosen) = open(&bed, &path, BOTH).await.unwrap();
    assert_eq!(chosen, "v5.channel.k8s.io");
    for _ in 0..10 {
        let mut frame = vec![0];
        frame.extend([7; 100_000]);
        socket.send(Message::binary(frame)).await.unwrap();
    }
    socket.send(Message::binary(vec![255, 0])).await.unwrap();
    let heard = listen(&mut socket, Duration::from_secs(5)).await;
    assert_eq!(String::from_utf8(heard.bytes(1)).unwrap().trim(), "1000000");
    assert_eq!(heard.bytes(2), b"done\n");
    assert_eq!(
        heard.status(),
        Some(json!({"metadata": {}, "status": "Success"}))
    );
    assert_eq!(heard.end, End::Closed(1000));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_output_comes_before_the_status() {
    let bed = Bed::new().await;
    let pod = bed.deployment("one").await;
    let heard = run(&bed, &pod, "head -c 20000000 /dev/zero; exit 3").await;
    assert_eq!(heard.bytes(1).len(), 20_000_000);
    assert_eq!(
        heard.status().unwrap()["details"]["causes"][0]["message"],
        "3"
    );
}

/// The pod and the size of the output that the faults are tried with.
async fn faulty(rule: Value) -> Heard {
    let bed = Bed::new().await;
    let pod = bed.deployment("system-mysql").await;
    bed.set_fault(rule).await;
    run(&bed, &pod, "head -c 100000 /dev/zero").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_connection_ends_without_close_and_without_status() {
    let heard = faulty(json!({"fault": "cutExec", "afterBytes": 99_000, "name": "mysql"})).await;
    assert_eq!(heard.bytes(1).len(), 99_000);
    assert_eq!((heard.status(), heard.end), (None, End::Cut));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_for_another_pod_does_no_harm() {
    let heard = faulty(json!({"fault": "cutExec", "afterBytes": 10, "name": "redis"})).await;
    assert_eq!(heard.bytes(1).len(), 100_000);
    assert_eq!(heard.end, End::Closed(1000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_connection_stays_open_and_silent() {
    let heard = faulty(json!({"fault": "stallExec", "afterBytes": 50_000})).await;
    assert_eq!(heard.bytes(1).len(), 50_000);
    assert_eq!(heard.end, End::Open);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_polite_close_may_come_without_a_status() {
    let heard = faulty(json!({"fault": "closeWithoutStatus"})).await;
    assert_eq!(heard.bytes(1).len(), 100_000);
    assert_eq!((heard.status(), heard.end), (None, End::Closed(1000)));
    let heard = faulty(json!({"fault": "closeWithoutStatus", "afterBytes": 7})).await;
    assert_eq!(heard.bytes(1).len(), 7);
    assert_eq!((heard.status(), heard.end), (None, End::Closed(1000)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_may_be_missing_after_all_output() {
    let heard = faulty(json!({"fault": "omitStatus"})).await;
    assert_eq!(heard.bytes(1).len(), 100_000);
    assert_eq!((heard.status(), heard.end), (None, End::Cut));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_may_have_no_exit_code() {
    let bed = Bed::new().await;
    let pod = bed.deployment("one").await;
    bed.set_fault(json!({"fault": "omitExitCode"})).await;
    let status = run(&bed, &pod, "exit 4").await.status().unwrap();
    assert_eq!(status["status"], "Failure");
    assert_eq!(status.get("details"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_exec_says_why_before_the_upgrade() {
    let bed = Bed::new().await;
    let pod = bed.deployment("one").await;
    bed.set_fault(json!({"fault": "refuseExec", "code": 500, "message": "no way", "count": 1}))
        .await;
    let path = exec_path(&pod, &["true"], false);
    let (code, body) = open(&bed, &path, BOTH).await.unwrap_err();
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((code, &body["message"]), (500, &json!("no way")));
    assert!(
        open(&bed, &path, BOTH).await.is_ok(),
        "the rule has struck once"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_may_be_replaced_before_its_exec_arrives() {
    let bed = Bed::new().await;
    let pod = bed.deployment("one").await;
    bed.set_fault(json!({"fault": "replacePod", "count": 1}))
        .await;
    let (code, _) = open(&bed, &exec_path(&pod, &["true"], false), V4)
        .await
        .unwrap_err();
    assert_eq!(code, 404);
    let successor = bed.ready_pod("one").await;
    assert_ne!(successor, pod);
    let heard = run(&bed, &successor, "echo here").await;
    assert_eq!(heard.bytes(1), b"here\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_may_be_deleted_in_mid_stream() {
    let bed = Bed::new().await;
    let pod = bed.deployment("one").await;
    bed.set_fault(json!({"fault": "deletePod", "afterBytes": 50_000, "count": 1}))
        .await;
    let script = "head -c 100000 /dev/zero; sleep 60";
    let path = exec_path(&pod, &["sh", "-c", script], false);
    let (mut socket, _) = open(&bed, &path, BOTH).await.unwrap();
    // The pod has its grace before it ends, and a busy machine takes its time.
    let heard = listen(&mut socket, Duration::from_secs(20)).await;
    let status = heard.status().unwrap();
    assert_eq!(status["details"]["causes"][0]["message"], "137");
    assert_ne!(bed.ready_pod("one").await, pod);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_takes_its_time() {
    let bed = Bed::new().await;
    let pod = bed.deployment("one").await;
    bed.set_fault(json!({"fault": "slowReader", "bytesPerSecond": 100_000}))
        .await;
    let path = exec_path(&pod, &["wc", "-c"], true);
    let (mut socket, _) = open(&bed, &path, BOTH).await.unwrap();
    let begin = std::time::Instant::now();
    for _ in 0..5 {
        socket.send(Message::binary(vec![0; 10_001])).await.unwrap();
    }
    socket.send(Message::binary(vec![255, 0])).await.unwrap();
    let heard = listen(&mut socket, Duration::from_secs(5)).await;
    assert_eq!(String::from_utf8(heard.bytes(1)).unwrap().trim(), "50000");
    assert!(
        begin.elapsed() >= Duration::from_millis(500),
        "{:?}",
        begin.elapsed()
    );
}
