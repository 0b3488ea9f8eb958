//! The same transfer with a module between and without: for `cargo xtask bench`, which passes the guest
//! `streams` and the number of rounds, and reads the figures. Nothing is judged here.
//!
//! Both sides ask the same host for the same source and the same sink, and the engine's own mover
//! carries the bytes. What is left between them is what the module costs.
#![expect(
    clippy::print_stdout,
    reason = "the figures go to the program that asked for them"
)]

#[path = "../tests/engine/world.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod world;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use cofferdam_engine::host::{Host, Invocation};
use cofferdam_engine::{Action, Binding, CallOptions, Engine, EngineOptions, Module, transfer};
use cofferdam_policy::name::{ArtifactName, CommandName, RoleName};

use world::World;

/// As large as a chunk that comes out of a pod, and enough of them for a second of hashing.
const CHUNK_BYTES: usize = 64 << 10;
const CHUNKS: usize = 16 << 10;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let guest = arguments.next().expect("the path of the guest `streams`");
    let rounds: usize = arguments
        .next()
        .and_then(|word| word.parse().ok())
        .expect("the number of rounds");
    let module = Engine::new(EngineOptions::default())
        .expect("engine")
        .load(Path::new(&guest))
        .expect("the guest loads");
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        with.push(seconds(|| runtime.block_on(with_module(&module))));
        without.push(seconds(|| runtime.block_on(without_module(&module))));
    }
    println!(
        "{}",
        serde_json::json!({ "with": with, "without": without })
    );
}

fn seconds(work: impl FnOnce() -> u64) -> f64 {
    let begun = Instant::now();
    let moved = work();
    let taken = begun.elapsed().as_secs_f64();
    let whole = u64::try_from(CHUNK_BYTES * CHUNKS).expect("a gibibyte fits");
    assert_eq!(
        moved, whole,
        "a fast transfer of something else is worth nothing"
    );
    taken
}

fn site() -> World {
    let chunk = Bytes::from(vec![7_u8; CHUNK_BYTES]);
    let world = World::printing((0..CHUNKS).map(|_| Ok(chunk.clone())));
    world.state().discarded = Some(0);
    world
}

fn binding(module: &Module) -> Arc<Binding> {
    Arc::new(Binding::new(Arc::clone(module.manifest()), Default::default()).expect("binding"))
}

async fn with_module(module: &Module) -> u64 {
    let world = site();
    module
        .call(
            Action::Backup,
            Arc::new(world.clone()),
            &binding(module),
            CallOptions::default(),
        )
        .await
        .expect("backup");
    world.state().discarded.unwrap_or_default()
}

async fn without_module(module: &Module) -> u64 {
    let world = site();
    let role = RoleName::parse("server").expect("a name");
    let pod = world.ready_pod(&role).await.expect("pod");
    let name = ArtifactName::parse("stream.sql").expect("a name");
    let dump = CommandName::parse("dump").expect("a name");
    let invocation = Invocation {
        command: module.manifest().commands.get(&dump).expect("declared"),
        argv: vec!["cat".to_owned()],
        script: None,
        holes: Default::default(),
    };
    let mut process = world.start(&pod, invocation).await.expect("started");
    let source = process.take_stdout().expect("the way out");
    let mut sink = world
        .create_artifact(&name, "application/sql")
        .await
        .expect("artifact");
    transfer::directly(source, &mut *sink).await.expect("moved");
    process.wait().await.expect("ended");
    sink.commit(Vec::new()).await.expect("committed");
    world.state().discarded.unwrap_or_default()
}
