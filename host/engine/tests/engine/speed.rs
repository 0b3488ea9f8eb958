//! What the sandbox costs. The bounds are wide, because tests run beside others: `cargo xtask bench`
//! has the exact figures.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cofferdam_engine::{Action, Binding, CallOptions, Engine, EngineOptions, Limits};
use sha2::{Digest, Sha256};

use crate::guests::guest;
use crate::wasm::{MANIFEST, core};
use crate::world::World;

/// The least of several measurements: what the work takes when nothing else is going on.
fn least(times: usize, mut work: impl FnMut()) -> Duration {
    (0..times)
        .map(|_| {
            let begun = Instant::now();
            work();
            begun.elapsed()
        })
        .min()
        .unwrap_or_default()
}

#[test]
fn a_module_is_ready_within_milliseconds_from_the_warm_cache() {
    let folder = tempfile::tempdir().expect("folder");
    let options = || EngineOptions {
        cache: Some(folder.path().to_owned()),
        ..EngineOptions::default()
    };
    let whole = "package test:whole; world whole { include cofferdam:%module/%module@0.1.1; }";
    let bytes = cofferdam_engine::pack(&core(&[], whole), MANIFEST).expect("packed");
    let file = folder.path().join("module.wasm");
    std::fs::write(&file, &bytes).expect("written");
    drop(
        Engine::new(options())
            .expect("engine")
            .load(&file)
            .expect("loads"),
    );
    let least = least(20, || {
        let module = Engine::new(options())
            .expect("engine")
            .load(&file)
            .expect("loads");
        assert!(module.from_cache());
    });
    println!("engine and module ready from the warm cache in {least:?}");
    assert!(least < Duration::from_millis(50), "{least:?}");
}

/// The world keeps what is written in memory, so both ways pay for one copy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_through_a_module_is_as_fast_as_one_without() {
    let chunk = Bytes::from(vec![7_u8; 64 << 10]);
    let chunks = || (0..4096).map(|_| Ok(chunk.clone()));
    let module = guest("copies", Limits::default());
    let binding =
        Arc::new(Binding::new(Arc::clone(module.manifest()), Default::default()).expect("binding"));
    let (mut with, mut without) = (Duration::MAX, Duration::MAX);
    for _ in 0..5 {
        let world = World::printing(chunks());
        let begun = Instant::now();
        module
            .call(
                Action::Backup,
                Arc::new(world),
                &binding,
                CallOptions::default(),
            )
            .await
            .expect("backup");
        with = with.min(begun.elapsed());

        let begun = Instant::now();
        let mut digest = Sha256::new();
        let mut kept = Vec::new();
        for chunk in chunks() {
            let chunk: Bytes =
                chunk.unwrap_or_else(|error: cofferdam_engine::host::HostError| panic!("{error}"));
            tokio::task::yield_now().await;
            digest.update(&chunk);
            kept.extend_from_slice(&chunk);
        }
        assert_eq!(digest.finalize().len(), 32);
        without = without.min(begun.elapsed());
    }
    println!("256 MiB with a module {with:?}, in one loop without {without:?}");
    assert!(with < without * 3 / 2, "with {with:?}, without {without:?}");
}
