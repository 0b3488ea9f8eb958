//! Modules that misbehave, and one that does not, for the tests of the engine and of whole runs.
//!
//! Each example is a guest with its manifest under `manifests/`. They are built as modules are, by
//! `cargo xtask modules`, and must never be installed anywhere.
