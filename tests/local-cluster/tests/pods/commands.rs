//! What runs in a container on demand: its streams, its end, its environment.

use std::time::Duration;

use local_cluster::pods::ExecStatus;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use super::{Outcome, WAITS, container, finish, ground, output, run, shell, until};

#[tokio::test]
async fn an_exec_has_separate_streams_and_its_own_exit_code() {
    let ground = ground();
    let pod = ground.waiting("till").await;
    let Outcome {
        status,
        stdout,
        stderr,
    } = run(&pod, "echo good; echo bad >&2; exit 7").await;
    assert_eq!(
        (stdout.as_str(), stderr.as_str(), status),
        ("good\n", "bad\n", ExecStatus::Code(7))
    );
    assert_eq!(run(&pod, "kill -9 $$").await.status, ExecStatus::Code(137));
    assert_eq!(run(&pod, "kill -15 $$").await.status, ExecStatus::Code(143));
    assert_eq!(run(&pod, "exit 127").await.status, ExecStatus::Code(127));
}

#[tokio::test]
async fn a_program_that_does_not_exist_is_told_from_one_that_fails() {
    let ground = ground();
    let pod = ground.waiting("till").await;
    for (program, reason) in [
        (
            "no-such-program",
            "exec: \"no-such-program\": executable file not found in $PATH: unknown",
        ),
        (
            "/no/such",
            "exec: \"/no/such\": stat /no/such: no such file or directory: unknown",
        ),
        (
            "/etc/passwd",
            "exec: \"/etc/passwd\": permission denied: unknown",
        ),
    ] {
        let exec = pod
            .exec("main", vec![program.to_owned()], false)
            .await
            .unwrap();
        let ExecStatus::NotFound(message) = finish(exec).await.status else {
            panic!("`{program}` ran")
        };
        assert!(message.ends_with(reason), "{message}");
        assert!(message.contains("OCI runtime exec failed"), "{message}");
    }
    let error = pod.exec("other", shell("true"), false).await.unwrap_err();
    assert_eq!(error.to_string(), "container other is not running");
}

#[tokio::test]
async fn the_end_of_stdin_reaches_the_command_while_its_output_stays_open() {
    let ground = ground();
    let pod = ground.waiting("till").await;
    let mut exec = pod
        .exec("main", shell("sort; echo end"), true)
        .await
        .unwrap();
    let mut stdin = exec.stdin.take().unwrap();
    stdin.write_all(b"b\na\n").await.unwrap();
    drop(stdin);
    let outcome = finish(exec).await;
    assert_eq!(
        (outcome.stdout.as_str(), outcome.status),
        ("a\nb\nend\n", ExecStatus::Code(0))
    );
    assert_eq!(output(&pod, "cat | wc -c").await, "0");
}

#[tokio::test]
async fn a_long_stream_arrives_whole_and_a_slow_reader_holds_it_back() {
    const BYTES: usize = 64 << 20;
    let ground = ground();
    let pod = ground.waiting("till").await;
    let script = format!("head -c {BYTES} /dev/zero; echo done >&2");
    let mut exec = pod.exec("main", shell(&script), false).await.unwrap();
    let mut errors = BufReader::new(&mut exec.stderr).lines();
    let early = tokio::time::timeout(Duration::from_millis(100), errors.next_line()).await;
    assert!(
        early.is_err(),
        "the command wrote {BYTES} bytes that nobody read"
    );
    let (mut total, mut buffer) = (0, vec![0; 1 << 20]);
    loop {
        match exec.stdout.read(&mut buffer).await.unwrap() {
            0 => break,
            count => total += count,
        }
    }
    assert_eq!(total, BYTES);
    assert_eq!(exec.wait().await, ExecStatus::Code(0));
}

#[tokio::test]
async fn a_command_lives_on_when_its_client_goes_away() {
    let ground = ground();
    let pod = ground.waiting("till").await;
    let exec = pod
        .exec(
            "main",
            shell("sleep 0.3; echo survived > /tmp/proof"),
            false,
        )
        .await
        .unwrap();
    drop(exec);
    until("the proof", async || {
        run(&pod, "grep survived /tmp/proof").await.status == ExecStatus::Code(0)
    })
    .await;
}

#[tokio::test]
async fn killing_a_command_leaves_its_children() {
    let ground = ground();
    let pod = ground.waiting("till").await;
    let script = "(sleep 0.3; echo survived > /tmp/proof) & echo started; wait";
    let mut exec = pod.exec("main", shell(script), false).await.unwrap();
    let mut lines = BufReader::new(&mut exec.stdout).lines();
    assert_eq!(lines.next_line().await.unwrap().unwrap(), "started");
    exec.kill();
    assert_eq!(exec.wait().await, ExecStatus::Code(137));
    until("the proof", async || {
        run(&pod, "grep survived /tmp/proof").await.status == ExecStatus::Code(0)
    })
    .await;
}

#[tokio::test]
async fn programs_get_the_signals_they_expect() {
    let ground = ground();
    let pod = ground.waiting("till").await;
    let outcome = run(&pod, "yes | head -n 1").await;
    assert_eq!(
        (outcome.stdout.as_str(), outcome.stderr.as_str()),
        ("y\n", "")
    );
    assert_eq!(
        run(&pod, "sleep 60 & kill $!; wait $!").await.status,
        ExecStatus::Code(143)
    );
}

#[tokio::test]
async fn the_environment_is_the_containers_and_not_the_hosts() {
    let ground = ground();
    let mut container = container(WAITS);
    container.env = vec![("GREETING".to_owned(), "good = day".to_owned())];
    container.working_dir = Some("/var/lib".to_owned());
    let pod = ground.start("till", vec![container], vec![]).await;
    let names = output(
        &pod,
        "env | cut -d= -f1 | sort | tr '\\n' ' '; echo; echo $GREETING; pwd; hostname",
    )
    .await;
    assert_eq!(
        names,
        "GREETING HOME HOSTNAME PATH PWD \ngood = day\n/var/lib\ntill"
    );
    assert_eq!(output(&pod, "ls -A /usr/local").await, "");
}
