//! How containers start and end, and that nothing is left of them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use local_cluster::pods::{ExecStatus, Pod, VolumeSource};

use super::{container, ground, mount, output, pod, runtime, shell, until, volume};

#[tokio::test]
async fn orphans_are_buried_by_process_one() {
    let ground = ground();
    let pod = ground.waiting("till").await;
    output(&pod, "for i in 1 2 3 4 5 6 7 8; do (sleep 0.02 & ) ; done").await;
    let zombies = "cat /proc/[0-9]*/stat 2>/dev/null | grep -c ') Z' || true";
    until("the burial", async || {
        output(&pod, "ls -d /proc/[0-9]* | wc -l")
            .await
            .parse::<u32>()
            .unwrap()
            < 8
            && output(&pod, zombies).await == "0"
    })
    .await;
}

#[tokio::test]
async fn the_main_process_writes_its_log_and_its_exit_code_is_told() {
    let ground = ground();
    let pod = ground
        .start(
            "till",
            vec![container("echo out; echo err >&2; exit 3")],
            vec![],
        )
        .await;
    assert_eq!(pod.exited("main").await, 3);
    assert_eq!(
        fs_err::read_to_string(pod.logs("main")).unwrap(),
        "out\nerr\n"
    );
    let error = pod.exec("main", shell("true"), false).await.unwrap_err();
    assert!(error.to_string().contains("not running"), "{error}");
    let address = pod.ip();
    pod.start_container(container("echo again")).await.unwrap();
    assert_eq!(pod.exited("main").await, 0);
    assert_eq!(
        fs_err::read_to_string(pod.logs("main")).unwrap(),
        "out\nerr\nagain\n"
    );
    assert_eq!(pod.ip(), address);
}

#[tokio::test]
async fn a_container_that_cannot_start_says_why_and_leaves_nothing() {
    let ground = ground();
    let mut wrong = container("true");
    wrong.command = vec!["no-such-server".to_owned()];
    let error = ground
        .runtime
        .start(pod("till", vec![wrong], vec![]))
        .await
        .unwrap_err();
    let text = format!("{error:#}");
    assert!(
        text.contains("container `main`") && text.contains("executable file not found in $PATH"),
        "{text}"
    );
    let mut misplaced = container("true");
    misplaced.mounts = vec![mount("nowhere", "/data")];
    let error = ground
        .runtime
        .start(pod("till", vec![misplaced], vec![]))
        .await
        .unwrap_err();
    assert!(
        format!("{error:#}").contains("no volume `nowhere`"),
        "{error:#}"
    );
    assert!(
        !ground
            .folder
            .path()
            .join("state/pods/uid-till/volumes")
            .exists()
    );
}

#[tokio::test]
async fn stopping_asks_first_and_forces_after_the_grace() {
    let ground = ground();
    let polite = "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.01; done";
    let pod = ground
        .start("polite", vec![container(polite)], vec![])
        .await;
    let ready = async |pod: &Pod| {
        fs_err::read_to_string(pod.logs("main"))
            .unwrap()
            .contains("ready")
    };
    until("the trap", async || ready(&pod).await).await;
    pod.stop(Duration::from_secs(20)).await;
    assert_eq!(pod.exited("main").await, 0);
    assert!(
        fs_err::read_to_string(pod.logs("main"))
            .unwrap()
            .ends_with("bye\n")
    );
    let deaf = "trap '' TERM; echo ready; while :; do sleep 0.01; done";
    let pod = ground.start("deaf", vec![container(deaf)], vec![]).await;
    until("the trap", async || ready(&pod).await).await;
    let mut exec = pod.exec("main", shell("sleep 1000"), false).await.unwrap();
    let start = Instant::now();
    pod.stop(Duration::from_millis(200)).await;
    assert!(
        start.elapsed() >= Duration::from_millis(200),
        "forced too early"
    );
    assert_eq!(pod.exited("main").await, 137);
    assert_eq!(exec.wait().await, ExecStatus::Code(137));
    pod.stop(Duration::from_secs(20)).await;
}

/// The processes of this machine whose command line has the word in it.
fn processes_with(word: &str) -> usize {
    let lines = fs_err::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| fs_err::read(entry.ok()?.path().join("cmdline")).ok());
    lines
        .filter(|line| String::from_utf8_lossy(line).contains(word))
        .count()
}

fn mounts_under(folder: &Path) -> usize {
    let mounts = fs_err::read_to_string("/proc/self/mounts").unwrap();
    mounts
        .lines()
        .filter(|line| line.contains(folder.to_str().unwrap()))
        .count()
}

#[tokio::test]
async fn dropping_the_runtime_leaves_no_process_and_no_mount() {
    let ground = ground();
    let word = format!("98{:07}", std::process::id());
    let pod = ground
        .start(
            "till",
            vec![container(&format!("sleep {word} & sleep {word}"))],
            vec![],
        )
        .await;
    until("the start", async || processes_with(&word) >= 2).await;
    let exec = pod
        .exec("main", shell(&format!("setsid sleep {word}")), false)
        .await
        .unwrap();
    ground.runtime.shutdown().await;
    assert_eq!(processes_with(&word), 0);
    assert_eq!(mounts_under(ground.folder.path()), 0);
    assert_eq!(
        exec.status_handle().wait().await,
        ExecStatus::Lost("the pod helper has ended".to_owned())
    );
    assert!(pod.exec("main", shell("true"), false).await.is_err());
    assert_eq!(pod.exited("main").await, 137);
}

/// The name of the test below, which is no test but the process that another one kills.
const VICTIM: &str = "lives::a_cluster_process_that_waits_to_be_killed";

#[tokio::test]
#[ignore = "run by the test that kills it"]
async fn a_cluster_process_that_waits_to_be_killed() {
    let arguments: Vec<String> = std::env::args().collect();
    let word = arguments.last().unwrap();
    let folder = PathBuf::from(&arguments[arguments.len() - 3]);
    let runtime = runtime(&folder);
    let mut container = container(&format!("sleep {word} & sleep {word}"));
    container.mounts = vec![mount("small", "/data")];
    let small = volume(
        "small",
        VolumeSource::EmptyDir {
            size_limit: Some(1 << 20),
        },
    );
    let pod = runtime
        .start(pod("till", vec![container], vec![small]))
        .await
        .unwrap();
    let _exec = pod
        .exec("main", shell(&format!("setsid sleep {word}")), false)
        .await
        .unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn killing_the_cluster_process_leaves_no_process_and_no_mount() {
    let folder = tempfile::tempdir().unwrap();
    let word = format!("97{:07}", std::process::id());
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args([
            "--ignored",
            "--exact",
            VICTIM,
            "--nocapture",
            "--test-threads=1",
            "--skip",
        ])
        .arg(folder.path())
        .args(["--skip", &word])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // The victim itself names the word as well; in the pod there are a shell and three sleeps.
    until("the victim's pod", async || processes_with(&word) >= 5).await;
    victim.kill().unwrap();
    victim.wait().unwrap();
    until("the end of the pod", async || processes_with(&word) == 0).await;
    let helpers = || {
        let state = folder.path().join("state");
        fs_err::read_dir("/proc")
            .unwrap()
            .filter_map(Result::ok)
            .filter(|entry| {
                fs_err::read_to_string(entry.path().join("mounts"))
                    .is_ok_and(|text| text.contains(state.to_str().unwrap()))
            })
            .count()
    };
    until("the end of all mounts", async || helpers() == 0).await;
    assert_eq!(mounts_under(folder.path()), 0);
}
