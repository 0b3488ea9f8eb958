//! The contract's interfaces, one file each: from the guest's words to the host's types.
//!
//! Every function does the same three things: look up what the manifest declares, refuse what it
//! does not, ask the host for the rest. Must never decide on policy, and never pass on a name that
//! the manifest did not make.

mod artifacts;
mod clock;
mod commands;
mod files;
mod leases;
mod objects;
mod report;
mod rollouts;
mod settings;
mod steps;
mod streams;
mod targets;

use std::time::Duration;

use cofferdam_policy::name::{ArtifactName, RoleName};
use wasmtime::component::Resource;

use crate::bindings::cofferdam::module::types;
use crate::fault::{self, Answer, Fault};
use crate::host::PodId;
use crate::limits;
use crate::state::{CallState, PodEntry, TargetEntry};
use crate::text::{clean, is_plain};

impl types::Host for CallState {
    fn convert_error(&mut self, fault: Fault) -> wasmtime::Result<types::Error> {
        fault::told(fault)
    }
}

impl CallState {
    fn pod_id(&self, pod: &Resource<PodEntry>) -> Answer<PodId> {
        Ok(self.table.get(pod)?.id.clone())
    }

    fn role(&self, target: &Resource<TargetEntry>) -> Answer<RoleName> {
        Ok(self.table.get(target)?.role.clone())
    }

    /// The beginning of the sentence that refuses something.
    fn manifest_name(&self) -> String {
        format!("the manifest of module `{}`", self.binding.manifest().name)
    }
}

/// A name of the guest as it may be shown.
fn shown(name: &str) -> String {
    clean(name, limits::NAME_BYTES)
}

fn artifact_name(name: &str) -> Answer<ArtifactName> {
    Ok(ArtifactName::parse(name)?)
}

/// A short text without anything that would have to be cleaned.
fn plain<'a>(what: &str, text: &'a str) -> Answer<&'a str> {
    if is_plain(text, limits::NAME_BYTES) {
        Ok(text)
    } else {
        Err(Fault::invalid(format!(
            "{what} takes 1 to {} bytes without control characters",
            limits::NAME_BYTES
        )))
    }
}

fn wait_time(milliseconds: u64) -> Answer<Duration> {
    let duration = Duration::from_millis(milliseconds);
    if duration > limits::LONGEST_WAIT {
        return Err(Fault::invalid(format!(
            "{milliseconds} ms is longer than the {} h that one call may wait",
            limits::LONGEST_WAIT.as_secs() / 3600
        )));
    }
    Ok(duration)
}
