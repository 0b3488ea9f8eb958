//! Commands against a server whose every frame the test decides: all the ways a stream can lie.

mod input;
mod refused;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cofferdam_policy::request::Stdin;
use futures::SinkExt as _;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::cluster::Cluster;
use crate::error::Error;
use crate::process::{Outcome, Process};
use crate::testing::{Plan, Wire, permit, pod, receive, run_command, send, server, succeed};

const V5: &str = "v5.channel.k8s.io";

async fn start(cluster: &Cluster, stdin: Stdin) -> Process {
    let permit = permit(run_command(&["mysqldump", "system"], stdin));
    cluster.exec(permit, &pod(), None).await.expect("started")
}

/// Reads to the end: what came, and how it ended for the reader and for the waiter.
async fn drain(mut process: Process) -> (usize, Result<(), Error>, Result<Outcome, Error>) {
    let mut stdout = process.take_stdout().expect("once");
    let mut bytes = 0;
    let read = loop {
        match stdout.next().await {
            Ok(Some(piece)) => bytes += piece.len(),
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    (bytes, read, process.wait().await)
}

/// Runs a command whose server does `script`; nothing may take longer than a few seconds.
async fn run<F>(
    script: impl Fn(Wire) -> F + Clone + Send + 'static,
) -> (usize, Result<(), Error>, Result<Outcome, Error>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let (cluster, _) = server(move |_| Plan::run(V5, script.clone())).await;
    let process = start(&cluster, Stdin::None).await;
    timeout(Duration::from_secs(15), drain(process))
        .await
        .expect("it does not hang")
}

/// A stream that ends so is no stream: neither the reader nor the waiter takes it for one.
async fn check_cut<F>(script: impl Fn(Wire) -> F + Clone + Send + 'static, bytes: usize, how: &str)
where
    F: Future<Output = ()> + Send + 'static,
{
    let (seen, read, waited) = run(script).await;
    assert_eq!(seen, bytes);
    let expected =
        format!("command `dump` in pod `p` ended without a status after {bytes} bytes: {how}");
    let read = read
        .expect_err("the reader must not see an end")
        .to_string();
    assert!(read.starts_with(&expected), "{read}");
    assert!(matches!(waited, Err(Error::NoStatus { .. })), "{waited:?}");
}

async fn close(wire: &mut Wire) {
    let frame = CloseFrame {
        code: CloseCode::Normal,
        reason: "".into(),
    };
    let _ = wire.close(Some(frame)).await;
}
#[tokio::test]
async fn a_whole_stream_ends_with_its_status() {
    let (bytes, read, waited) = run(|mut wire| async move {
        send(&mut wire, 1, b"").await;
        send(&mut wire, 1, b"one\n").await;
        send(&mut wire, 2, b"bad\x1b[2J\n").await;
        send(&mut wire, 1, b"two\n").await;
        succeed(&mut wire).await;
        close(&mut wire).await;
    })
    .await;
    read.expect("an end");
    let outcome = waited.expect("a status");
    assert_eq!((bytes, outcome.stdout_bytes, outcome.exit_code), (8, 8, 0));
    assert_eq!(
        (outcome.stderr.as_str(), outcome.stderr_cut),
        ("bad\\u{1b}[2J\n", false)
    );
}

#[tokio::test]
async fn a_status_counts_though_the_connection_is_cut_after_it() {
    let (bytes, read, waited) = run(|mut wire| async move {
        send(&mut wire, 1, b"one\n").await;
        succeed(&mut wire).await;
    })
    .await;
    read.expect("an end");
    assert_eq!((bytes, waited.expect("a status").exit_code), (4, 0));
}

#[tokio::test]
async fn a_stream_cut_without_a_close_is_no_stream() {
    let script = |mut wire: Wire| async move {
        for _ in 0..99 {
            send(&mut wire, 1, &[b'x'; 32768]).await;
        }
    };
    check_cut(script, 99 * 32768, "the connection was lost").await;
}

#[tokio::test]
async fn a_polite_close_without_a_status_is_no_end() {
    let script = |mut wire: Wire| async move {
        send(&mut wire, 1, b"whole, it seems\n-- Dump completed\n").await;
        close(&mut wire).await;
        let _ = receive(&mut wire).await;
    };
    check_cut(script, 34, "the server closed the connection").await;
}

#[tokio::test]
async fn half_a_status_is_no_status() {
    let script = |mut wire: Wire| async move {
        send(&mut wire, 3, br#"{"metadata":{},"status":"Succ"#).await;
        close(&mut wire).await;
    };
    check_cut(script, 0, "its status was cut").await;
}

#[tokio::test]
async fn garbage_is_no_stream() {
    let frames = [
        (vec![9, b'x'], "the server sent a frame on channel 9"),
        (vec![], "the server sent a frame without a channel"),
        (b"\x03garbage".to_vec(), "its status is no JSON"),
        (
            b"\x03{}".to_vec(),
            "its status says neither `Success` nor `Failure`",
        ),
        (
            [b"\x03{\"message\":\"".to_vec(), vec![b'x'; 2 << 20]].concat(),
            "its status is longer than 1048576 bytes",
        ),
    ];
    for (frame, how) in frames {
        let script = move |mut wire: Wire| {
            let frame = Bytes::from(frame.clone());
            async move {
                let _ = wire.send(Message::Binary(frame)).await;
                succeed(&mut wire).await;
                let _ = receive(&mut wire).await;
            }
        };
        check_cut(script, 0, how).await;
    }
    let script = |mut wire: Wire| async move {
        let _ = wire.send(Message::text("1one")).await;
        succeed(&mut wire).await;
    };
    check_cut(script, 0, "the server sent text instead of frames").await;
}

#[tokio::test]
async fn a_failure_after_a_full_dump_is_a_failure() {
    let (bytes, read, waited) = run(|mut wire| async move {
        send(&mut wire, 1, b"-- Dump completed\n").await;
        send(&mut wire, 3, br#"{"status":"Failure","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"1"}]}}"#).await;
        close(&mut wire).await;
    })
    .await;
    read.expect("all that came was delivered");
    assert_eq!((bytes, waited.expect("a status").exit_code), (18, 1));
}

#[tokio::test]
async fn a_program_that_does_not_exist_has_no_exit_code() {
    let (_, read, waited) = run(|mut wire| async move {
        send(&mut wire, 3, br#"{"status":"Failure","message":"exec: \"mysqldump\": executable file not found in $PATH","reason":"InternalError","details":{"causes":[{"message":"x"}]},"code":500}"#).await;
        close(&mut wire).await;
    })
    .await;
    let expected = "command `dump` cannot be started in pod `p`: exec: \"mysqldump\": executable file not found in $PATH";
    assert_eq!(waited.expect_err("it never ran").to_string(), expected);
    assert!(matches!(read, Err(Error::NotStarted { .. })));
}

#[tokio::test]
async fn a_slow_reader_slows_the_server_and_loses_nothing() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let (cluster, _) = server(move |_| {
        let counter = Arc::clone(&counter);
        Plan::run(V5, move |mut wire| async move {
            for _ in 0..2048 {
                send(&mut wire, 1, &[b'x'; 32768]).await;
                counter.fetch_add(1, Ordering::Relaxed);
            }
            succeed(&mut wire).await;
            close(&mut wire).await;
        })
    })
    .await;
    let process = start(&cluster, Stdin::None).await;
    let mut before = usize::MAX;
    // Until the server stands still: nobody reads, so only buffers can have filled.
    while before != sent.load(Ordering::Relaxed) || before == 0 {
        before = sent.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(before < 1500, "{before} frames were taken without a reader");
    let (bytes, read, waited) = drain(process).await;
    read.expect("an end");
    assert_eq!(
        (bytes, waited.expect("a status").exit_code),
        (2048 * 32768, 0)
    );
}
#[tokio::test]
async fn a_command_that_takes_too_long_is_given_up() {
    let (cluster, _) = server(|_| {
        Plan::run(V5, |mut wire| async move {
            let _ = receive(&mut wire).await;
        })
    })
    .await;
    let mut request = run_command(&["sleep"], Stdin::None);
    request.timeout = Duration::from_millis(200);
    let process = cluster
        .exec(permit(request), &pod(), None)
        .await
        .expect("started");
    let error = process.wait().await.expect_err("too long");
    assert!(matches!(error, Error::CommandTimedOut { .. }), "{error}");
}

#[tokio::test]
async fn a_dropped_process_cuts_its_stream() {
    let (cluster, _) = server(|_| {
        Plan::run(V5, |mut wire| async move {
            send(&mut wire, 1, b"one").await;
            let _ = receive(&mut wire).await;
        })
    })
    .await;
    let mut process = start(&cluster, Stdin::None).await;
    let mut stdout = process.take_stdout().expect("once");
    assert_eq!(
        stdout.next().await.expect("output"),
        Some(Bytes::from("one"))
    );
    process.kill().await;
    let error = stdout.next().await.expect_err("cut");
    assert!(matches!(error, Error::GivenUp { bytes: 3, .. }), "{error}");
}
