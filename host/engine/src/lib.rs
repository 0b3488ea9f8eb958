//! Runs modules in a sandbox and hands what they ask for to a [`host::Host`].
//!
//! A module is a WebAssembly component with its manifest inside. The engine loads it, checks that
//! this host offers what it imports, and calls it with every limit of [`limits`] around it. What the
//! guest asks for is checked against its manifest here; whether *policy* allows it is decided behind
//! the trait. The engine knows nothing of Kubernetes, disks or policy files, and must never do
//! anything in a module's name by itself.

pub mod host;
pub mod limits;
pub mod manifest;
pub mod transfer;

mod binding;
mod bindings;
mod cache;
mod call;
mod capability;
mod engine;
mod failure;
mod fault;
mod interface;
mod load;
mod log;
mod meter;
mod offer;
mod pack;
mod process;
mod state;
mod text;
mod ticker;
mod wasi;

pub use binding::{Binding, BindingError, FillError};
pub use call::{Action, CallOptions, CallReport};
pub use capability::Capability;
pub use engine::{Engine, EngineError, EngineOptions};
pub use failure::{CallError, ModuleFailure, ModuleFailureKind};
pub use limits::Limits;
pub use load::{LoadError, Module};
pub use manifest::{Manifest, ManifestError};
pub use offer::CONTRACT_VERSION;
pub use pack::{PackError, pack};
