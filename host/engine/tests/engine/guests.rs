//! The guests of `tests/guests`: each does one thing wrong, and nothing comes of it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cofferdam_engine::host::{HostError, SEALED};
use cofferdam_engine::{
    Action, Binding, CallError, CallOptions, CallReport, Engine, EngineOptions, Limits, Module,
    ModuleFailureKind,
};
use cofferdam_policy::name::ArtifactName;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::world::{World, cut};

#[expect(
    clippy::disallowed_methods,
    reason = "tests have no settings: this is how xtask tells them where the guests are"
)]
fn folder() -> PathBuf {
    std::env::var_os("COFFERDAM_TEST_GUESTS").map(PathBuf::from).expect(
        "COFFERDAM_TEST_GUESTS is not set: run `cargo xtask test`, or `cargo xtask modules` and set it to the folder of the guests",
    )
}

/// Loads a guest. Compiled ones are kept between tests, in the folder that cargo gives them.
pub(crate) fn guest(name: &str, limits: Limits) -> Module {
    let cache = Some(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("guests"));
    let engine = Engine::new(EngineOptions { cache, limits }).expect("engine");
    engine
        .load(&folder().join(format!("{name}.wasm")))
        .expect("the guest loads")
}

async fn call_with(
    module: &Module,
    action: Action,
    world: &World,
    settings: serde_json::Value,
    options: CallOptions,
) -> Result<CallReport, CallError> {
    let settings: BTreeMap<_, _> = serde_json::from_value(settings).expect("names");
    let binding = Arc::new(Binding::new(Arc::clone(module.manifest()), settings).expect("binding"));
    let result = module
        .call(action, Arc::new(world.clone()), &binding, options)
        .await;
    // A task that was ended is dropped when the runtime has its next turn.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.state().open, 0, "something is open after the call");
    result
}

async fn call(name: &str, action: Action, world: &World) -> Result<CallReport, CallError> {
    let module = guest(name, Limits::default());
    call_with(
        &module,
        action,
        world,
        serde_json::json!({}),
        CallOptions::default(),
    )
    .await
}

fn text(result: &Result<CallReport, CallError>) -> String {
    match result {
        Ok(report) => format!(
            "committed {:?}",
            report
                .committed
                .iter()
                .map(ArtifactName::as_str)
                .collect::<Vec<_>>()
        ),
        Err(error) => format!("{}: {error}", error.code()),
    }
}

fn lines(count: usize) -> Vec<Result<Bytes, HostError>> {
    (0..count)
        .map(|number| Ok(Bytes::from(format!("line {number}\n"))))
        .collect()
}

#[tokio::test]
async fn a_good_module_keeps_brings_back_and_proves() {
    let world = World::printing(lines(1000));
    let report = call("copies", Action::Backup, &world)
        .await
        .expect("backup");
    assert_eq!(text(&Ok(report.clone())), "committed [\"file\"]");
    assert!(report.peak_memory < 4 << 20, "{} bytes", report.peak_memory);
    let expected: Vec<u8> = lines(1000)
        .into_iter()
        .flat_map(|line| line.expect("line").to_vec())
        .collect();
    assert_eq!(world.state().artifacts["file"].0, expected);
    assert_eq!(
        world.calls(),
        [
            "target server",
            "start cat /etc/hostname",
            "create file application/octet-stream",
            "wait",
            "commit file"
        ]
    );

    world.state().output.clear();
    call("copies", Action::Restore, &world)
        .await
        .expect("restore");
    assert_eq!(world.state().fed, expected);
    assert!(world.state().closed, "the input was ended properly");
    call("copies", Action::Verify, &world)
        .await
        .expect("verify");
}

#[tokio::test]
async fn a_cut_stream_leaves_nothing() {
    let mut output = lines(1000);
    output.push(Err(cut()));
    let world = World::printing(output);
    let result = call("copies", Action::Backup, &world).await;
    assert_eq!(text(&result), "stream-cut: the stream was cut");
    assert!(world.state().artifacts.is_empty());
    assert!(!world.calls().contains(&"commit file".to_owned()));
}

#[tokio::test]
async fn a_command_that_fails_after_a_full_dump_leaves_nothing() {
    let world = World::printing(lines(10));
    world.state().exit_code = 1;
    let result = call("copies", Action::Backup, &world).await;
    assert_eq!(
        text(&result),
        "command-failed: command `print` ended with 1: what it said"
    );
    assert!(world.state().artifacts.is_empty());
}

#[tokio::test]
async fn a_damaged_artifact_is_never_taken_for_whole() {
    let world = World::default().with_artifact("file", b"some bytes of it");
    world.state().damage = Some(cut());
    let result = call("copies", Action::Restore, &world).await;
    assert_eq!(text(&result), "stream-cut: the stream was cut");
    assert!(
        !world.state().closed,
        "the command was told that its input is whole"
    );
    let result = call("copies", Action::Verify, &world).await;
    assert_eq!(text(&result), "stream-cut: the stream was cut");
}

#[tokio::test]
async fn a_sealed_artifact_is_examined_and_goes_nowhere() {
    let content = b"the contents of a Secret";
    let world = World::default().with_artifact("file", content);
    let digest = hex::encode(Sha256::digest(content));
    let evidence = [(SEALED, "objects"), ("sha256", digest.as_str())];
    let evidence = evidence.map(|(key, value)| (key.to_owned(), value.to_owned()));
    if let Some((_, kept)) = world.state().artifacts.get_mut("file") {
        *kept = evidence.to_vec();
    }
    call("copies", Action::Verify, &world)
        .await
        .expect("verify");
    let result = call("copies", Action::Restore, &world).await;
    let Err(CallError::Module(failure)) = &result else {
        panic!("{}", text(&result))
    };
    assert_eq!(failure.kind, ModuleFailureKind::Denied, "{failure:?}");
    assert!(world.state().fed.is_empty() && !world.state().closed);
}

#[tokio::test]
async fn what_the_host_denies_is_told_and_counted() {
    let world = World::printing(lines(1));
    world.state().denies = Some("start");
    let result = call("copies", Action::Backup, &world).await;
    let Err(CallError::Module(failure)) = result else {
        panic!("{}", text(&result))
    };
    assert_eq!(failure.kind, ModuleFailureKind::Denied);
    assert!(
        failure
            .details
            .contains(&("rule".to_owned(), "no rule permits it".to_owned())),
        "{failure:?}"
    );
}

#[tokio::test]
async fn what_the_manifest_does_not_declare_never_reaches_the_host() {
    for (what, capability, sentence) in [
        (
            "command",
            "run-command",
            "declares no command `remove-everything`",
        ),
        ("path", "read-file", "declares no path `secrets`"),
        (
            "write",
            "remove-file",
            "declares path `readable` for reading only",
        ),
        (
            "object",
            "get-object",
            "declares no object `somebody-elses` in group `configuration`",
        ),
        ("group", "get-object", "declares no object group `secrets`"),
        (
            "verb",
            "apply-object",
            "does not declare apply-object for object group `configuration`",
        ),
        ("target", "resolve-target", "declares no target `neighbour`"),
        (
            "rollout",
            "restart",
            "does not declare restart for target `server`",
        ),
        (
            "replicas",
            "set-replicas",
            "does not declare set-replicas for target `server`",
        ),
        (
            "guard",
            "guard-pods",
            "does not declare guard-pods for target `server`",
        ),
        (
            "template",
            "process-template",
            "declares no template `application`",
        ),
        (
            "dash",
            "run-command",
            "the value of `{word}` begins with `-` and would be an option",
        ),
        ("type", "run-command", "hole `count` is not within 1 and 9"),
        ("hole", "run-command", "it has no hole `shell`"),
        (
            "elsewhere",
            "run-command",
            "lets command `say` run on target `server`, not on `other`",
        ),
    ] {
        let world = World::default();
        let module = guest("asks-for-the-undeclared", Limits::default());
        let settings = serde_json::json!({ "ask-for": what });
        let result = call_with(
            &module,
            Action::Backup,
            &world,
            settings,
            CallOptions::default(),
        )
        .await;
        let Err(CallError::Module(failure)) = &result else {
            panic!("{what}: {}", text(&result))
        };
        assert_eq!(
            failure.kind,
            ModuleFailureKind::Denied,
            "{what}: {failure:?}"
        );
        assert!(failure.message.contains(sentence), "{what}: {failure:?}");
        assert!(
            failure
                .details
                .contains(&("capability".to_owned(), capability.to_owned())),
            "{what}: {failure:?}"
        );
        let log = world.log();
        assert!(
            log.iter()
                .any(|line| line.starts_with(&format!("refused {capability} "))),
            "{what}: {log:?}"
        );
        let only_targets = world.calls().iter().all(|call| call.starts_with("target "));
        assert!(only_targets, "{what}: {:?}", world.calls());
    }
}

#[tokio::test]
async fn the_order_in_which_success_is_proven_cannot_be_broken() {
    let result = broken(
        "commit-unwaited",
        Action::Backup,
        &World::printing(lines(3)),
    )
    .await;
    assert_eq!(
        result,
        "invalid: the exit status of the command that wrote artifact `output` was not read: call `wait` before `commit`"
    );
    let mut output = lines(3);
    output.push(Err(cut()));
    let result = broken("commit-cut", Action::Backup, &World::printing(output)).await;
    assert_eq!(
        result,
        "invalid: artifact `output` was cut and cannot be used any more"
    );
    let result = broken(
        "command-into-command",
        Action::Backup,
        &World::printing(lines(3)),
    )
    .await;
    assert_eq!(
        result,
        "invalid: command `take` declares stdin = \"artifact\": only a whole artifact may feed it"
    );

    let world = World::default().with_artifact("output", b"drop nothing; keep all");
    let result = broken("write-to-artifact-stdin", Action::Restore, &world).await;
    assert!(
        result.contains("only `transfer` from an artifact may feed it"),
        "{result}"
    );
    let result = broken("half-an-artifact", Action::Restore, &world).await;
    assert!(
        result.contains("only a whole artifact may feed it"),
        "{result}"
    );
    assert!(world.state().fed.is_empty());
    world.state().damage = Some(cut());
    let result = broken("commit-cut", Action::Restore, &world).await;
    assert_eq!(
        result,
        "input-cut: the input of command `take` was cut, so it was given up"
    );
    assert!(world.calls().contains(&"kill".to_owned()) && !world.state().closed);
}

async fn broken(how: &str, action: Action, world: &World) -> String {
    let module = guest("breaks-the-order", Limits::default());
    let result = call_with(
        &module,
        action,
        world,
        serde_json::json!({ "how": how }),
        CallOptions::default(),
    )
    .await;
    assert!(
        !world.calls().iter().any(|call| call.starts_with("commit")),
        "{:?}",
        world.calls()
    );
    text(&result)
}

#[tokio::test]
async fn done_without_a_commit_is_not_done() {
    let world = World::default();
    assert_eq!(
        text(&call("commits-nothing", Action::Backup, &world).await),
        "nothing-kept: the module said that the backup is done and kept nothing"
    );
    assert!(world.state().artifacts.is_empty());
}

#[tokio::test]
async fn one_name_is_committed_once() {
    let world = World::default();
    let result = call("commits-twice", Action::Backup, &world).await;
    assert!(
        text(&result).contains("artifact `all` was committed already"),
        "{}",
        text(&result)
    );
    assert_eq!(world.state().artifacts["all"].0, b"the truth");
}

#[tokio::test]
async fn after_the_end_there_is_nothing() {
    let world = World::printing(lines(20));
    call("reads-beyond", Action::Backup, &world)
        .await
        .expect("backup");
    let expected: usize = lines(20)
        .iter()
        .map(|line| line.as_ref().map_or(0, Bytes::len))
        .sum();
    assert_eq!(
        world.state().artifacts["count"].0,
        expected.to_string().as_bytes()
    );
    let result = call("reads-beyond", Action::Restore, &world).await;
    assert!(
        text(&result).contains("the source is closed"),
        "{}",
        text(&result)
    );
}

#[tokio::test]
async fn a_lease_that_was_forgotten_is_reported() {
    let world = World::default();
    let report = call("leaks-a-lease", Action::Backup, &world)
        .await
        .expect("backup");
    assert_eq!(report.leases_left, world.state().leases);
    assert_eq!(report.leases_left.len(), 1);
    let world = World::default();
    let result = call("leaks-a-lease", Action::Restore, &world).await;
    assert_eq!(
        result
            .as_ref()
            .map_err(CallError::code)
            .expect_err("it panics"),
        "panicked"
    );
    assert_eq!(
        world.state().leases.len(),
        1,
        "the host still knows of the lease"
    );
}

#[tokio::test]
async fn a_panic_says_why_without_its_colours() {
    let world = World::default();
    let result = call("panics", Action::Backup, &world).await;
    let told = text(&result);
    assert!(
        told.starts_with("panicked: the module panicked: "),
        "{told}"
    );
    assert!(
        told.contains("second half is missing") && !told.contains('\u{1b}'),
        "{told:?}"
    );
    assert!(world.state().artifacts.is_empty());
}

#[tokio::test]
async fn a_flood_of_log_lines_ends() {
    let world = World::default();
    let report = call("floods-the-log", Action::Backup, &world)
        .await
        .expect("backup");
    let log = world.log();
    assert_eq!(log[0], "Info [2J[1;1Hyour backup  is fine");
    assert!(log[1].len() < 2100 && log[1].ends_with('…'));
    assert!(log.len() <= 2001, "{} lines", log.len());
    assert!(
        log.last()
            .expect("lines")
            .contains("the rest of this call is dropped"),
        "{:?}",
        log.last()
    );
    assert!(log.iter().all(|line| !line.chars().any(char::is_control)));
    assert_eq!(report.log_lines_dropped, 100_002 - 2_000);
    let progress = world.state().progress;
    assert!(progress < 1000, "{progress} reports of progress");
}

#[tokio::test]
async fn memory_stack_and_handles_end_in_words() {
    let limits = Limits {
        memory: 64 << 20,
        ..Limits::default()
    };
    for (name, code) in [
        ("eats-memory", "memory-exhausted"),
        ("overflows-the-stack", "stack-overflow"),
        ("leaks-handles", "handles-exhausted"),
    ] {
        let module = guest(name, limits.clone());
        let result = call_with(
            &module,
            Action::Backup,
            &World::default(),
            serde_json::json!({}),
            CallOptions::default(),
        )
        .await;
        assert_eq!(
            result
                .map_err(|error| error.code().to_owned())
                .expect_err(name),
            code
        );
    }
}

#[tokio::test]
async fn a_spinning_guest_is_ended_with_and_without_calls_of_the_host() {
    let limits = Limits {
        compute: Duration::from_millis(200),
        ..Limits::default()
    };
    let module = guest("spins", limits);
    for action in [Action::Backup, Action::Restore] {
        let result = call_with(
            &module,
            action,
            &World::default(),
            serde_json::json!({}),
            CallOptions::default(),
        )
        .await;
        assert_eq!(
            result
                .map_err(|error| error.code().to_owned())
                .expect_err("spins"),
            "compute-exhausted"
        );
    }
}

#[tokio::test]
async fn a_sleeping_guest_is_ended_by_the_clock_and_by_cancelling() {
    let limits = Limits {
        grace: Duration::from_millis(200),
        ..Limits::default()
    };
    let module = guest("sleeps", limits);
    let begun = Instant::now();
    let options = CallOptions {
        wall: Some(Duration::from_millis(200)),
        ..CallOptions::default()
    };
    let result = call_with(
        &module,
        Action::Backup,
        &World::default(),
        serde_json::json!({}),
        options,
    )
    .await;
    assert_eq!(
        text(&result),
        "time-exhausted: the module was not done after 200 ms"
    );

    // One that comes home when it is told to, and one that does not.
    for action in [Action::Backup, Action::Restore] {
        let world = World::default();
        let cancel = CancellationToken::new();
        let options = CallOptions {
            wall: None,
            cancel: cancel.clone(),
        };
        let calling = call_with(&module, action, &world, serde_json::json!({}), options);
        let cancelling = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            cancel.cancel();
            world.cancel();
        };
        let (result, ()) = tokio::join!(calling, cancelling);
        assert_eq!(text(&result), "cancelled: the call was cancelled");
    }
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
}
