//! What the tests of this crate share: permits, an API that answers from a function, and a server
//! of commands whose every frame the test decides.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use cofferdam_policy::name::{
    ApplicationName, CommandName, ContainerName, DataSetName, Namespace, ObjectName, RoleName,
};
use cofferdam_policy::request::{
    AnyRequest, ModuleIdentity, Principal, Request, RunCommand, RunKind, Scope, Stdin, Target,
    Workload, WorkloadKind,
};
use cofferdam_policy::{Permit, Policy};
use futures::future::BoxFuture;
use futures::{SinkExt as _, StreamExt as _};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::call::Patience;
use crate::cluster::Cluster;
use crate::pod::Pod;

const HASTE: Patience = Patience {
    first: Duration::from_millis(1),
    most: Duration::from_millis(5),
    times: 4,
};

/// A permit for anything, from a policy that allows everything.
pub(crate) fn permit<R: Request>(request: R) -> Permit<R> {
    let principal = match request.any() {
        AnyRequest::PutBack(_) => Principal::Host,
        _ => Principal::Module(ModuleIdentity {
            name: "redis".parse().expect("a name"),
            version: "0.1.0".into(),
            digest: format!("sha256:{}", "0".repeat(64)),
            signer: None,
        }),
    };
    permit_to(principal, request)
}

/// As [`permit`], asked by the host, to whom policy allows what no module may.
pub(crate) fn host_permit<R: Request>(request: R) -> Permit<R> {
    permit_to(Principal::Host, request)
}

fn permit_to<R: Request>(principal: Principal, request: R) -> Permit<R> {
    let scope = Scope {
        principal,
        application: ApplicationName::parse("threescale").expect("a name"),
        namespace: namespace(),
        data_set: Some(DataSetName::parse("backend-redis").expect("a name")),
        run: RunKind::Restore,
    };
    let all = (
        "all.cedar".to_owned(),
        "permit (principal, action, resource);".to_owned(),
    );
    let policy = Policy::parse(&[all]).expect("a policy");
    policy.permit(&scope, request).expect("all is allowed")
}

pub(crate) fn namespace() -> Namespace {
    Namespace::parse("3scale").expect("a name")
}

pub(crate) fn target_of(kind: WorkloadKind) -> Target {
    Target {
        role: RoleName::parse("server").expect("a name"),
        namespace: namespace(),
        workload: Workload {
            kind,
            name: ObjectName::parse("backend-redis").expect("a name"),
        },
        container: ContainerName::parse("backend-redis").expect("a name"),
    }
}

pub(crate) fn target() -> Target {
    target_of(WorkloadKind::Deployment)
}

/// The pod that [`pod_json`] describes.
pub(crate) fn pod() -> Pod {
    let seen = serde_json::from_value(pod_json("p", true)).expect("a pod");
    Pod::read(seen, &namespace(), &target().workload)
}

pub(crate) fn pod_json(name: &str, ready: bool) -> Value {
    let ready = if ready { "True" } else { "False" };
    json!({
        "metadata": { "name": name, "uid": format!("uid-{name}"),
            "ownerReferences": [{ "kind": "ReplicaSet", "controller": true }] },
        "spec": { "containers": [{ "name": "backend-redis" }] },
        "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": ready }] },
    })
}

pub(crate) fn run_command(argv: &[&str], stdin: Stdin) -> RunCommand {
    RunCommand {
        target: target(),
        command: CommandName::parse("dump").expect("a name"),
        argv: argv.iter().map(|&word| word.to_owned()).collect(),
        holes: BTreeMap::new(),
        environment: Vec::new(),
        stdin,
        timeout: Duration::from_secs(20),
    }
}

pub(crate) fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason,
        "message": message, "code": code })
}

/// A request that the fake API got.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) content_type: String,
    pub(crate) body: Value,
}

impl Asked {
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// What the fake API answers.
pub(crate) enum Reply {
    Json(u16, Value),
    Text(u16, &'static str),
    RetryAfter(u16, u64),
    Lost,
}

type Log = Arc<Mutex<Vec<Asked>>>;

/// A cluster whose API is `answer`, and what it was asked.
pub(crate) fn cluster<F>(answer: F) -> (Cluster, Log)
where
    F: FnMut(&Asked) -> Reply + Send + 'static,
{
    let log: Log = Arc::default();
    let seen = Arc::clone(&log);
    let answer = Arc::new(Mutex::new(answer));
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect_bytes().await.expect("a body");
            let asked = Asked {
                method: parts.method.to_string(),
                path: parts.uri.path().to_owned(),
                query: parts.uri.query().unwrap_or_default().to_owned(),
                content_type: parts
                    .headers
                    .get("content-type")
                    .map(|value| value.to_str().expect("text").to_owned())
                    .unwrap_or_default(),
                body: serde_json::from_slice(&body).unwrap_or(Value::Null),
            };
            seen.lock().expect("no panic").push(asked.clone());
            let reply = (answer.lock().expect("no panic"))(&asked);
            let response = http::Response::builder();
            Ok::<_, tower::BoxError>(match reply {
                Reply::Json(code, value) => response
                    .status(code)
                    .body(Body::from(value.to_string().into_bytes()))?,
                Reply::Text(code, text) => response
                    .status(code)
                    .body(Body::from(text.as_bytes().to_vec()))?,
                Reply::RetryAfter(code, seconds) => response
                    .status(code)
                    .header("Retry-After", seconds.to_string())
                    .body(Body::from(Vec::new()))?,
                Reply::Lost => return Err("connection reset by peer".into()),
            })
        }
    });
    let client = kube::Client::new(service, "3scale");
    (
        Cluster::over(client, "https://api.example".into(), "3scale", HASTE),
        log,
    )
}

/// Objects by path, with the optimistic lock of the real API on `PUT`.
#[derive(Clone, Default)]
pub(crate) struct Store(Arc<Mutex<HashMap<String, Value>>>);

impl Store {
    pub(crate) fn put(&self, path: &str, mut object: Value) {
        let mut objects = self.0.lock().expect("no panic");
        let version = objects.get(path).map_or(1, version) + 1;
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        objects.insert(path.to_owned(), object);
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        self.0
            .lock()
            .expect("no panic")
            .get(path)
            .cloned()
            .unwrap_or(Value::Null)
    }

    pub(crate) fn remove(&self, path: &str) {
        self.0.lock().expect("no panic").remove(path);
    }

    pub(crate) fn answer(&self, asked: &Asked) -> Reply {
        let known = self.get(&asked.path);
        match asked.method.as_str() {
            "GET" if known.is_null() => Reply::Json(404, status(404, "NotFound", "not found")),
            "GET" => Reply::Json(200, known),
            "PUT" if known.is_null() => Reply::Json(404, status(404, "NotFound", "not found")),
            // Without a version an update is unconditional, as with the real API.
            "PUT"
                if asked.body["metadata"]["resourceVersion"].is_string()
                    && known["metadata"]["resourceVersion"]
                        != asked.body["metadata"]["resourceVersion"] =>
            {
                Reply::Json(409, status(409, "Conflict", "the object has been modified"))
            }
            "PUT" => {
                self.put(&asked.path, asked.body.clone());
                Reply::Json(200, self.get(&asked.path))
            }
            other => panic!("the store does not do {other}"),
        }
    }
}

fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"]
        .as_str()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}

/// The server's side of a command's connection.
pub(crate) type Wire = WebSocketStream<TcpStream>;

/// What the server does with a request to run a command.
pub(crate) enum Plan {
    Refuse(u16, &'static str),
    Run(
        &'static str,
        Box<dyn FnOnce(Wire) -> BoxFuture<'static, ()> + Send>,
    ),
}

impl Plan {
    pub(crate) fn run<F>(
        protocol: &'static str,
        script: impl FnOnce(Wire) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::Run(protocol, Box::new(move |wire| Box::pin(script(wire))))
    }
}

/// A request to run a command.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) offered: String,
    pub(crate) stdin: bool,
    pub(crate) command: Vec<String>,
}

/// A cluster of one pod on 127.0.0.1, whose commands do what `plan` says.
pub(crate) async fn server<F>(mut plan: F) -> (Cluster, Arc<Mutex<Vec<Wanted>>>)
where
    F: FnMut(&Wanted) -> Plan + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let log: Arc<Mutex<Vec<Wanted>>> = Arc::default();
    let seen = Arc::clone(&log);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let head = head(&mut socket).await;
            let Some(wanted) = wanted(&head) else {
                plain(&mut socket, &head).await;
                continue;
            };
            seen.lock().expect("no panic").push(wanted.clone());
            match plan(&wanted) {
                Plan::Refuse(code, body) => respond(&mut socket, code, body).await,
                Plan::Run(protocol, script) => {
                    let key = header(&head, "sec-websocket-key").expect("a key");
                    let accept = derive_accept_key(key.as_bytes());
                    let answer = format!(
                        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: {protocol}\r\n\r\n"
                    );
                    socket.write_all(answer.as_bytes()).await.expect("written");
                    let wire = WebSocketStream::from_raw_socket(socket, Role::Server, None).await;
                    tokio::spawn(script(wire));
                }
            }
        }
    });
    let config = kube::Config::new(url.parse().expect("a URL"));
    let http = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
        .build::<_, Body>(hyper_util::client::legacy::connect::HttpConnector::new());
    let layer = kube::client::ConfigExt::base_uri_layer(&config);
    let service = tower::ServiceBuilder::new().layer(layer).service(http);
    let client = kube::Client::new(service, "3scale");
    (Cluster::over(client, url, "3scale", HASTE), log)
}

async fn head(socket: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        match socket.read_u8().await {
            Ok(byte) => bytes.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn header(head: &str, name: &str) -> Option<String> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(": ")?;
        key.eq_ignore_ascii_case(name).then(|| value.to_owned())
    })
}

fn wanted(head: &str) -> Option<Wanted> {
    let path = head.split_whitespace().nth(1)?;
    let (_, query) = path.split_once("/exec?")?;
    let offered = header(head, "sec-websocket-protocol")?;
    let mut wanted = Wanted {
        offered,
        stdin: false,
        command: Vec::new(),
    };
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        match key.as_ref() {
            "command" => wanted.command.push(value.into_owned()),
            "stdin" => wanted.stdin = value == "true",
            _ => {}
        }
    }
    Some(wanted)
}

async fn plain(socket: &mut TcpStream, head: &str) {
    if head.contains("/pods/p/exec?") {
        let body = status(
            403,
            "Forbidden",
            "pods \"p\" is forbidden: cannot create pods/exec",
        );
        return respond(socket, 403, &body.to_string()).await;
    }
    if head.contains("/secrets/system-database ") {
        let secret = json!({ "data": { "password": "aHVudGVyMg==" } });
        return respond(socket, 200, &secret.to_string()).await;
    }
    if head.contains("/pods/p ") {
        return respond(socket, 200, &pod_json("p", true).to_string()).await;
    }
    respond(
        socket,
        404,
        &status(404, "NotFound", "not found").to_string(),
    )
    .await;
}

async fn respond(socket: &mut TcpStream, code: u16, body: &str) {
    let answer = format!(
        "HTTP/1.1 {code} Answer\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let _ = socket.write_all(answer.as_bytes()).await;
}

/// Sends a frame.
pub(crate) async fn send(wire: &mut Wire, channel: u8, bytes: &[u8]) {
    let mut frame = vec![channel];
    frame.extend_from_slice(bytes);
    let _ = wire.send(Message::Binary(Bytes::from(frame))).await;
}

/// Sends the status of success.
pub(crate) async fn succeed(wire: &mut Wire) {
    send(wire, 3, br#"{"metadata":{},"status":"Success"}"#).await;
}

/// Receives the next frame with a channel.
pub(crate) async fn receive(wire: &mut Wire) -> Option<Vec<u8>> {
    while let Some(Ok(message)) = wire.next().await {
        if let Message::Binary(bytes) = message {
            return Some(bytes.to_vec());
        }
    }
    None
}
