//! The runtime of the local cluster: pods as real processes in Linux namespaces.
//!
//! A helper process, this program started once more, makes the namespaces and is the parent of all
//! processes of all pods; the cluster process itself never forks, mounts or changes a namespace.
//! No container engine, no image and no link to the host's network is involved: a pod sees the
//! host's `/usr` and `/etc` read-only below a layer of unpacked server packages.

mod command;
mod container;
mod exec;
mod helper;
mod kernel;
mod link;
mod names;
mod network;
mod pod;
mod root;
mod runtime;
mod service;
mod spec;
mod volumes;
mod wire;

use std::process::ExitCode;

pub use exec::{Exec, ExecStatus, ExecWaiter};
pub use pod::Pod;
pub use runtime::{Runtime, RuntimeOptions};
pub use spec::{ContainerSpec, MountSpec, PodSpec, VolumeSource, VolumeSpec};

/// The hidden subcommand under which the program is its own helper.
const HELPER_COMMAND: &str = "pod-helper";

/// Serves as the pod helper if the program was started as one; otherwise does nothing.
///
/// Must be the first call of `main`, before any thread exists.
#[must_use = "the program was started as the pod helper and must end with this code"]
pub fn helper_main() -> Option<ExitCode> {
    if std::env::args_os()
        .nth(1)
        .is_none_or(|word| word != HELPER_COMMAND)
    {
        return None;
    }
    // The failures that matter have been told through the socket.
    Some(if helper::serve().is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
