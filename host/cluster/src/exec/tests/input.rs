//! What goes into a command: both sub-protocols, templates, and inputs that are given up.

use std::time::Duration;

use bytes::Bytes;
use cofferdam_policy::request::Stdin;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::refused::with_secret;
use super::{V5, close, start};
use crate::error::Error;
use crate::testing::{Plan, Wanted, permit, pod, receive, run_command, send, server, succeed};

const V4: &str = "v4.channel.k8s.io";

#[tokio::test]
async fn v5_closes_stdin_and_the_stream_goes_on() {
    let (cluster, log) = server(|_| {
        Plan::run(V5, |mut wire| async move {
            let mut input = Vec::new();
            while let Some(frame) = receive(&mut wire).await {
                match frame.as_slice() {
                    [0, data @ ..] => input.extend_from_slice(data),
                    [255, 0] => break,
                    other => panic!("{other:?}"),
                }
            }
            send(&mut wire, 1, format!("{} bytes", input.len()).as_bytes()).await;
            succeed(&mut wire).await;
        })
    })
    .await;
    let mut process = start(&cluster, Stdin::Artifact).await;
    let mut stdin = process.take_stdin().expect("once");
    let mut stdout = process.take_stdout().expect("once");
    stdin
        .write(Bytes::from(vec![b'x'; 300_000]))
        .await
        .expect("taken");
    stdin.close().await.expect("closed");
    assert_eq!(
        stdout.next().await.expect("output"),
        Some(Bytes::from("300000 bytes"))
    );
    assert_eq!(stdout.next().await.expect("an end"), None);
    let outcome = process.wait().await.expect("a status");
    assert_eq!((outcome.exit_code, outcome.stdin_bytes), (0, 300_000));
    let log = log.lock().expect("no panic");
    let wanted: Vec<_> = log
        .iter()
        .map(|wanted| {
            (
                wanted.offered.as_str(),
                wanted.stdin,
                wanted.command.join(" "),
            )
        })
        .collect();
    assert_eq!(wanted, [(V5, true, "mysqldump system".to_owned())]);
}

/// A server of the old kind: refuses v5 without a reason, cannot close stdin.
fn old_server(wanted: &Wanted, length: usize, told: &mpsc::UnboundedSender<()>) -> Plan {
    if !wanted.offered.contains(V4) {
        return Plan::Refuse(403, "");
    }
    let told = told.clone();
    Plan::run(V4, move |mut wire| async move {
        let mut input = Vec::new();
        while input.len() < length {
            match receive(&mut wire).await.as_deref() {
                Some([0, data @ ..]) => input.extend_from_slice(data),
                other => panic!("{other:?}"),
            }
        }
        send(&mut wire, 1, &input).await;
        succeed(&mut wire).await;
        // Closing the socket is all that could say that stdin ends, and it must not come early.
        let early = timeout(Duration::from_millis(100), receive(&mut wire)).await;
        assert!(early.is_err(), "{early:?}");
        close(&mut wire).await;
        let _ = told.send(());
    })
}

#[tokio::test]
async fn on_v4_the_input_is_counted_and_stdin_stays_open() {
    let (told, mut content) = mpsc::unbounded_channel();
    let (cluster, log) = server(move |wanted| old_server(wanted, 5, &told)).await;
    for _ in 0..2 {
        let permit = permit(run_command(&["mysql", "a b"], Stdin::Artifact));
        let mut process = cluster
            .exec(permit, &pod(), Some(5))
            .await
            .expect("started");
        let mut stdin = process.take_stdin().expect("once");
        stdin.write(Bytes::from("hello")).await.expect("taken");
        stdin.close().await.expect("closed");
        let mut stdout = process.take_stdout().expect("once");
        assert_eq!(
            stdout.next().await.expect("output"),
            Some(Bytes::from("hello"))
        );
        assert_eq!(process.wait().await.expect("a status").exit_code, 0);
        content
            .recv()
            .await
            .expect("the server saw stdin stay open");
    }
    assert!(cluster.speaks_only_v4());
    let log = log.lock().expect("no panic");
    let offers: Vec<_> = log.iter().map(|wanted| wanted.offered.as_str()).collect();
    assert_eq!(offers, [V5, V4, V4], "the second command knows");
    let command: Vec<_> = log[1].command.iter().map(String::as_str).collect();
    assert_eq!(
        command,
        [
            "sh",
            "-c",
            "n=$1; shift; head -c \"$n\" | \"$@\"",
            "cofferdam",
            "5",
            "mysql",
            "a b"
        ]
    );
}

#[tokio::test]
async fn on_v4_an_input_of_unknown_length_is_refused_before_anything_runs() {
    let (told, _content) = mpsc::unbounded_channel();
    let (cluster, log) = server(move |wanted| old_server(wanted, 5, &told)).await;
    let permit = permit(run_command(&["mysql"], Stdin::Free));
    let error = cluster
        .exec(permit, &pod(), None)
        .await
        .expect_err("no length");
    assert!(matches!(error, Error::StdinLengthNeeded { .. }), "{error}");
    assert_eq!(log.lock().expect("no panic").len(), 1);
}

#[tokio::test]
async fn a_template_is_fed_by_the_host_on_both_protocols() {
    let text = "SELECT 1;\n";
    let stdin = Stdin::Template { text: text.into() };
    let (told, _content) = mpsc::unbounded_channel();
    let (cluster, _) = server(move |wanted| old_server(wanted, text.len(), &told)).await;
    let mut process = start(&cluster, stdin.clone()).await;
    assert!(process.take_stdin().is_none());
    assert_eq!(
        process
            .take_stdout()
            .expect("once")
            .next()
            .await
            .expect("output"),
        Some(Bytes::from(text))
    );

    let (cluster, _) = server(|_| {
        Plan::run(V5, |mut wire| async move {
            assert_eq!(receive(&mut wire).await, Some(b"\0SELECT 1;\n".to_vec()));
            assert_eq!(receive(&mut wire).await, Some(vec![255, 0]));
            succeed(&mut wire).await;
        })
    })
    .await;
    let process = start(&cluster, stdin).await;
    assert_eq!(process.wait().await.expect("a status").exit_code, 0);
}

#[tokio::test]
async fn an_input_that_is_given_up_never_looks_complete() {
    let (seen, wait) = tokio::sync::oneshot::channel();
    let mut seen = Some(seen);
    let (cluster, _) = server(move |_| {
        let seen = seen.take().expect("one command");
        Plan::run(V5, move |mut wire| async move {
            let mut frames = Vec::new();
            while let Some(frame) = receive(&mut wire).await {
                frames.push(frame);
            }
            let _ = seen.send(frames);
        })
    })
    .await;
    let mut process = start(&cluster, Stdin::Artifact).await;
    let mut stdin = process.take_stdin().expect("once");
    stdin.write(Bytes::from("half")).await.expect("taken");
    drop(stdin);
    let error = process.wait().await.expect_err("half an input");
    assert!(matches!(error, Error::GivenUp { .. }), "{error}");
    assert_eq!(
        wait.await.expect("frames"),
        [b"\0half".to_vec()],
        "stdin was not closed"
    );
}

#[tokio::test]
async fn more_or_less_than_announced_is_an_error() {
    let (cluster, _) = server(|_| {
        Plan::run(V5, |mut wire| async move {
            while receive(&mut wire).await.is_some() {}
        })
    })
    .await;
    for (text, closes) in [("123456", false), ("1234", true)] {
        let permit = permit(run_command(&["mysql"], Stdin::Artifact));
        let mut process = cluster
            .exec(permit, &pod(), Some(5))
            .await
            .expect("started");
        let mut stdin = process.take_stdin().expect("once");
        let written = stdin.write(Bytes::from(text)).await;
        let result = if closes { stdin.close().await } else { written };
        assert!(
            matches!(result, Err(Error::StdinLength { announced: 5, .. })),
            "{result:?}"
        );
    }
}

#[tokio::test]
async fn a_command_that_ends_early_refuses_further_input() {
    let (cluster, _) = server(|_| {
        Plan::run(V5, |mut wire| async move {
            send(&mut wire, 2, b"ERROR 1064 at line 5\n").await;
            send(&mut wire, 3, br#"{"status":"Failure","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"1"}]}}"#).await;
        })
    })
    .await;
    let mut process = start(&cluster, Stdin::Artifact).await;
    let mut stdin = process.take_stdin().expect("once");
    let piece = Bytes::from(vec![b'x'; 1 << 20]);
    let error = loop {
        if let Err(error) = stdin.write(piece.clone()).await {
            break error;
        }
    };
    assert!(matches!(error, Error::StdinRefused { .. }), "{error}");
    let outcome = process.wait().await.expect("a status");
    assert_eq!(
        (outcome.exit_code, outcome.stderr.as_str()),
        (1, "ERROR 1064 at line 5\n")
    );
}

#[tokio::test]
async fn a_secret_is_the_first_line_of_stdin_and_stands_nowhere_else() {
    let (cluster, log) = server(|_| {
        Plan::run(V5, |mut wire| async move {
            assert_eq!(receive(&mut wire).await, Some(b"\0hunter2\n".to_vec()));
            assert_eq!(receive(&mut wire).await, Some(vec![255, 0]));
            succeed(&mut wire).await;
        })
    })
    .await;
    let process = cluster
        .exec(permit(with_secret("password")), &pod(), None)
        .await;
    assert_eq!(
        process
            .expect("started")
            .wait()
            .await
            .expect("a status")
            .exit_code,
        0
    );
    let log = log.lock().expect("no panic");
    let wanted = log.first().expect("one command");
    assert!(wanted.stdin);
    assert!(!wanted.command.join(" ").contains("hunter2"), "{wanted:?}");
}
