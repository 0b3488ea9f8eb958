//! The only crate that speaks Kubernetes, and only with a permit.
//!
//! Whatever touches a workload, a pod, a file in it or an object takes a
//! [`Permit`](cofferdam_policy::Permit), so a call that nobody allowed does not compile. Nothing here
//! knows modules, runs or repositories. A stream is whole when the command's exit status has come,
//! and never before; a command that may have run is never run again.
//!
//! | what | where |
//! |---|---|
//! | [`Cluster::connect`], requests, retries | `connect.rs`, `call.rs` |
//! | a workload, its pods, the one that is ready | `workload.rs`, `pod.rs` |
//! | commands: hand-shake, frames, status, prelude | `exec.rs`, `channel.rs`, `stream.rs`, `process.rs`, `status.rs`, `prelude.rs` |
//! | files in a container | `files.rs` |
//! | folders: listed, packed, unpacked | `files/tree.rs` |
//! | objects: read, apply, load, wait | `objects.rs`, `scrub.rs`, `difference.rs` |
//! | OpenShift Templates | `template.rs` |
//! | rollouts | `rollout.rs`, `judge.rs` |
//! | temporary changes | `lease.rs` |

mod call;
mod channel;
mod cluster;
mod connect;
mod difference;
mod error;
mod exec;
mod files;
mod judge;
mod lease;
mod objects;
mod pod;
mod prelude;
mod process;
mod rollout;
mod scrub;
mod secret;
mod status;
mod stream;
mod template;
mod text;
mod workload;

#[cfg(test)]
mod testing;

pub use cluster::{AccessQuestion, Cluster};
pub use connect::Connection;
pub use error::{Error, Move, Refusal};
pub use files::{
    FileKind, FileReader, FileState, FileWriter, Packed, PackedTree, Room, TreeEntry, TreeFeed,
    TreeListing, TreeNames,
};
pub use judge::Progress;
pub use lease::{Original, PutBackOutcome};
pub use objects::{Condition, InvalidCondition, Loaded, WhenPresent};
pub use pod::{Pod, sole_running};
pub use process::{Outcome, Process, Stdin, Stdout};
pub use rollout::Replicas;
pub use scrub::scrub;
pub use template::{Filled, Processed};
pub use workload::{EphemeralVolume, Owner, TargetState};
