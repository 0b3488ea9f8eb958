//! The contract of `/wit` as Rust, written by wasmtime's macro.
//!
//! Imports block for the guest and are asynchronous for the host; each may trap. Must never be
//! reached from outside the crate: the types of the contract are not the types of the engine.

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "cofferdam:module/module",
    imports: { default: async | trappable },
    exports: { default: async },
    with: {
        "cofferdam:module/streams.source": crate::state::SourceEntry,
        "cofferdam:module/streams.sink": crate::state::SinkEntry,
        "cofferdam:module/targets.target": crate::state::TargetEntry,
        "cofferdam:module/targets.pod": crate::state::PodEntry,
        "cofferdam:module/commands.process": crate::process::ProcessEntry,
        "cofferdam:module/leases.lease": crate::state::LeaseEntry,
    },
    trappable_error_type: {
        "cofferdam:module/types.error" => crate::fault::Fault,
    },
});
