//! What a backup notes of a workload.
//!
//! The artifact is a line of JSON for people and other tools; the numbers are taken from the
//! evidence, and only where both say the same.

use cofferdam_guest_sdk::{Context, Error, Evidence, Host, Result};

/// The artifact of this module.
const ARTIFACT: &str = "workload.json";

/// A workload as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) replicas: u32,
}

impl Record {
    pub(crate) fn keep(&self, host: &dyn Host) -> Result<()> {
        let mut artifact = host.new_artifact(ARTIFACT, "application/json")?;
        artifact
            .sink()
            .write(self.json().as_bytes())
            .context("failed to write the note")?;
        let evidence = Evidence::new()
            .with("kind", &self.kind)
            .with("name", &self.name)
            .with("replicas", self.replicas);
        artifact.commit(&evidence)
    }

    pub(crate) fn read(host: &dyn Host) -> Result<Self> {
        let evidence = host.evidence(ARTIFACT)?;
        let moved = host.open_artifact(ARTIFACT)?.examine()?;
        let text = |key| evidence.get(key).map(str::to_owned);
        let replicas = evidence
            .number("replicas")
            .and_then(|number| u32::try_from(number).ok());
        let record =
            text("kind")
                .zip(text("name"))
                .zip(replicas)
                .map(|((kind, name), replicas)| Self {
                    kind,
                    name,
                    replicas,
                });
        record
            .filter(|record| record.json().as_bytes() == moved.head)
            .ok_or_else(|| {
                Error::failed(
                    "not-a-workload",
                    format!("artifact `{ARTIFACT}` is not what its evidence says"),
                )
            })
    }

    /// Kinds and names of Kubernetes need no escapes.
    fn json(&self) -> String {
        let Self {
            kind,
            name,
            replicas,
        } = self;
        format!("{{\"kind\":\"{kind}\",\"name\":\"{name}\",\"replicas\":{replicas}}}\n")
    }
}
