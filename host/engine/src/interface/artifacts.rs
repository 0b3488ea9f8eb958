//! `artifacts`: what the data set keeps.
//!
//! Must never commit what was cut, what failed, or what a command wrote whose end nobody looked at.

use std::collections::BTreeSet;

use cofferdam_policy::name::ArtifactName;
use wasmtime::component::Resource;

use super::{artifact_name, plain};
use crate::bindings::cofferdam::module::artifacts;
use crate::fault::{Answer, Fault};
use crate::host::{HostError, SEALED};
use crate::limits;
use crate::state::{CallState, OpenSink, Origin, SinkEntry, SinkKind, Slot, SourceEntry};
use crate::text::is_plain;

impl artifacts::Host for CallState {
    async fn create(&mut self, name: String, media_type: String) -> Answer<Resource<SinkEntry>> {
        let name = artifact_name(&name)?;
        let media_type = plain("a media type", &media_type)?;
        self.begin_artifact(&name)?;
        let sink = self.host.create_artifact(&name, media_type).await;
        let sink = self.answered(sink)?;
        Ok(self.table.push(SinkEntry {
            kind: SinkKind::Artifact(name),
            slot: Slot::new(OpenSink::Artifact(sink)),
            fed_by: BTreeSet::new(),
        })?)
    }

    async fn commit(
        &mut self,
        artifact: Resource<SinkEntry>,
        evidence: Vec<(String, String)>,
    ) -> Answer<()> {
        let entry = self.table.delete(artifact)?;
        let SinkKind::Artifact(name) = entry.kind else {
            return Err(Fault::invalid(
                "only what `artifacts.create` returned can be committed",
            ));
        };
        let open = entry
            .slot
            .take()
            .map_err(|gone| gone.fault(&format!("artifact `{name}`")))?;
        let OpenSink::Artifact(sink) = open else {
            return Err(Fault::invalid(
                "only what `artifacts.create` returned can be committed",
            ));
        };
        if !entry.fed_by.is_subset(&self.book.waited) {
            return Err(Fault::invalid(format!(
                "the exit status of the command that wrote artifact `{name}` was not read: call `wait` before `commit`"
            )));
        }
        check_evidence(&evidence)?;
        self.not_committed(&name)?;
        let committed = self.meter.outside(sink.commit(evidence)).await;
        self.answered(committed)?;
        self.book.committed.push(name);
        Ok(())
    }

    async fn open(&mut self, name: String) -> Answer<Resource<SourceEntry>> {
        let name = artifact_name(&name)?;
        let evidence = self.host.evidence(&name).await;
        let sealed = self
            .answered(evidence)?
            .iter()
            .any(|(key, _)| key == SEALED);
        let source = self.host.open_artifact(&name).await;
        let source = self.answered(source)?;
        Ok(self.table.push(SourceEntry {
            sealed,
            ..SourceEntry::new(Origin::Artifact, source)
        })?)
    }

    async fn list(&mut self) -> Answer<Vec<String>> {
        let names = self.host.list_artifacts().await;
        Ok(self
            .answered(names)?
            .into_iter()
            .map(String::from)
            .collect())
    }

    async fn evidence(&mut self, name: String) -> Answer<Vec<(String, String)>> {
        let name = artifact_name(&name)?;
        let evidence = self.host.evidence(&name).await;
        self.answered(evidence)
    }
}

impl CallState {
    /// Notes that an artifact is begun; one that exists already cannot be.
    pub(super) fn begin_artifact(&mut self, name: &ArtifactName) -> Answer<()> {
        self.not_committed(name)?;
        if self.book.begun.len() >= limits::ARTIFACTS && !self.book.begun.contains(name) {
            return Err(Fault::invalid(format!(
                "a call makes {} artifacts at most",
                limits::ARTIFACTS
            )));
        }
        self.book.begun.insert(name.clone());
        Ok(())
    }

    fn not_committed(&self, name: &ArtifactName) -> Answer<()> {
        if self.book.committed.contains(name) {
            return Err(Fault::Host(HostError::Conflict(format!(
                "artifact `{name}` was committed already"
            ))));
        }
        Ok(())
    }
}

fn check_evidence(evidence: &[(String, String)]) -> Answer<()> {
    if evidence.len() > limits::PAIRS {
        return Err(Fault::invalid(format!(
            "evidence has {} pairs at most",
            limits::PAIRS
        )));
    }
    let mut keys = BTreeSet::new();
    for (key, value) in evidence {
        plain("a key of evidence", key)?;
        if key == SEALED {
            return Err(Fault::invalid(format!(
                "evidence `{SEALED}` is the host's to give"
            )));
        }
        if !value.is_empty() && !is_plain(value, limits::EVIDENCE_BYTES) {
            return Err(Fault::invalid(format!(
                "the value of evidence `{key}` takes {} bytes at most, without control characters",
                limits::EVIDENCE_BYTES
            )));
        }
        if !keys.insert(key) {
            return Err(Fault::invalid(format!("evidence `{key}` is given twice")));
        }
    }
    Ok(())
}
