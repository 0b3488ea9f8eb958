//! Modules that use up what they have, written as text: no toolchain is needed for these.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cofferdam_engine::{
    Action, Binding, CallError, CallOptions, Engine, EngineOptions, Limits, Module,
};
use tokio_util::sync::CancellationToken;

use crate::wasm::written;
use crate::world::World;

fn module(limits: Limits, beside: &str, backup: &str) -> Module {
    let engine = Engine::new(EngineOptions {
        cache: None,
        limits,
    })
    .expect("engine");
    engine
        .load_bytes("tiny.wasm", &written(beside, backup))
        .expect("loads")
}

async fn call(module: &Module, action: Action, options: CallOptions) -> Result<(), CallError> {
    let binding =
        Arc::new(Binding::new(Arc::clone(module.manifest()), Default::default()).expect("binding"));
    module
        .call(action, Arc::new(World::default()), &binding, options)
        .await
        .map(|_| ())
}

#[track_caller]
fn check(result: Result<(), CallError>, code: &str, message: &str) {
    let error = result.expect_err("the call succeeded");
    assert_eq!((error.code(), error.to_string().as_str()), (code, message));
}

#[tokio::test]
async fn a_module_that_spins_is_ended_and_the_others_go_on() {
    let limits = Limits {
        compute: Duration::from_millis(200),
        ..Limits::default()
    };
    let module = module(limits, "", "(loop br 0)");
    let begun = Instant::now();
    // On a runtime of one thread: a guest that did not yield would starve this counter.
    let mut turns = 0_u32;
    let spinning = call(&module, Action::Backup, CallOptions::default());
    tokio::pin!(spinning);
    let result = loop {
        tokio::select! {
            biased;
            () = tokio::time::sleep(Duration::from_millis(1)) => turns += 1,
            result = &mut spinning => break result,
        }
    };
    check(
        result,
        "compute-exhausted",
        "the module computed for more than 200 ms without coming to an end",
    );
    assert!(
        begun.elapsed() >= Duration::from_millis(200),
        "{:?}",
        begun.elapsed()
    );
    assert!(turns >= 3, "the runtime had {turns} turns");
}

#[tokio::test]
async fn a_module_that_spins_can_be_cancelled_and_timed_out() {
    let limits = Limits {
        grace: Duration::from_millis(50),
        ..Limits::default()
    };
    let module = module(limits, "", "(loop br 0)");
    let cancel = CancellationToken::new();
    cancel.cancel();
    let options = CallOptions { wall: None, cancel };
    check(
        call(&module, Action::Backup, options).await,
        "cancelled",
        "the call was cancelled",
    );
    let options = CallOptions {
        wall: Some(Duration::from_millis(100)),
        ..CallOptions::default()
    };
    check(
        call(&module, Action::Backup, options).await,
        "time-exhausted",
        "the module was not done after 100 ms",
    );
}

#[tokio::test]
async fn memory_ends_at_its_limit() {
    let limits = Limits {
        memory: 32 << 20,
        ..Limits::default()
    };
    let eats = module(
        limits,
        "",
        "(loop (drop (memory.grow (i32.const 16))) br 0)",
    );
    check(
        call(&eats, Action::Backup, CallOptions::default()).await,
        "memory-exhausted",
        "the module used up its memory of 32 MiB",
    );
}

#[tokio::test]
async fn a_stack_that_overflows_is_told_as_such() {
    let module = module(
        Limits::default(),
        "(func $deeper (call $deeper) (call $deeper))",
        "(call $deeper)",
    );
    check(
        call(&module, Action::Backup, CallOptions::default()).await,
        "stack-overflow",
        "the module used up its stack of 512 KiB",
    );
}

#[tokio::test]
async fn a_crash_is_told_in_words() {
    let panics = module(Limits::default(), "", "unreachable");
    check(
        call(&panics, Action::Backup, CallOptions::default()).await,
        "panicked",
        "the module panicked",
    );
    let divides = module(
        Limits::default(),
        "",
        "(drop (i32.div_u (i32.const 1) (i32.const 0)))",
    );
    check(
        call(&divides, Action::Backup, CallOptions::default()).await,
        "crashed",
        "the module crashed: integer divide by zero",
    );
    let reads = module(Limits::default(), "", "(drop (i32.load (i32.const -1)))");
    check(
        call(&reads, Action::Backup, CallOptions::default()).await,
        "crashed",
        "the module crashed: out of bounds memory access, as when its stack is used up",
    );
}

#[tokio::test]
async fn a_backup_that_kept_nothing_has_failed_and_a_verify_has_not() {
    let module = module(Limits::default(), "", "");
    check(
        call(&module, Action::Backup, CallOptions::default()).await,
        "nothing-kept",
        "the module said that the backup is done and kept nothing",
    );
    call(&module, Action::Verify, CallOptions::default())
        .await
        .expect("verified");
    call(&module, Action::Restore, CallOptions::default())
        .await
        .expect("restored");
}

#[tokio::test]
async fn a_binding_of_another_module_is_refused() {
    let one = module(Limits::default(), "", "");
    let other = module(Limits::default(), "", "");
    let binding =
        Arc::new(Binding::new(Arc::clone(other.manifest()), Default::default()).expect("binding"));
    let result = one
        .call(
            Action::Verify,
            Arc::new(World::default()),
            &binding,
            CallOptions::default(),
        )
        .await;
    assert!(matches!(result, Err(CallError::ForeignBinding)));
}

#[tokio::test]
async fn a_module_can_be_called_again_after_it_crashed() {
    let module = module(Limits::default(), "", "unreachable");
    for _ in 0..3 {
        assert!(
            call(&module, Action::Backup, CallOptions::default())
                .await
                .is_err()
        );
        call(&module, Action::Verify, CallOptions::default())
            .await
            .expect("verified");
    }
}
