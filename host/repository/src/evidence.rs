//! What a snapshot says about itself: who, what, when, and the evidence for each artifact.
//!
//! The same JSON lies in the snapshot file, sealed, for a quick list, and as `evidence.json` in the snapshot's tree, for
//! people who restore with restic alone. It must never hold a secret: modules and runs see to that.

use jiff::Timestamp;
use rustic_core::repofile::{SnapshotFile, StringList};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::names::{ArtifactName, SnapshotId, check_file_name, check_text};

/// The file in each snapshot's root that holds the evidence.
pub(crate) const FILE: &str = "evidence.json";
/// The tag on each snapshot of ours.
pub(crate) const TAG: &str = "cofferdam";
/// The form of the evidence; readers refuse what they do not know.
const FORMAT: &str = "cofferdam-evidence/1";

/// The module that made a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModuleReference {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The digest of its component, such as `sha256:...`.
    pub digest: String,
}

/// What a snapshot is of: one data set in one run.
///
/// Every text is 1 to 256 bytes without control characters; the data set's name obeys the rules of
/// [`ArtifactName`], because it becomes a folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotDescription {
    /// The application.
    pub application: String,
    /// Its namespace.
    pub namespace: String,
    /// The run that made the snapshot.
    pub run: String,
    /// The data set.
    pub data_set: String,
    /// The module that made it.
    pub module: ModuleReference,
    /// All data sets of the run, so that a run that lacks one shows.
    pub expected_data_sets: Vec<String>,
    /// When the run started: the same for all snapshots of a run, and the time that retention counts by.
    pub started: Timestamp,
    /// The version of the program.
    pub host_version: String,
    /// Anything else that is known before the backup.
    #[serde(default)]
    pub details: serde_json::Value,
}

impl SnapshotDescription {
    pub(crate) fn check(&self) -> Result<()> {
        check_text("application", &self.application)?;
        check_text("namespace", &self.namespace)?;
        check_text("run", &self.run)?;
        check_file_name("data set", &self.data_set)?;
        if self.data_set == FILE {
            return Err(Error::Name {
                what: "data set",
                text: self.data_set.clone(),
                reason: "the evidence of a snapshot has this name",
            });
        }
        check_text("module name", &self.module.name)?;
        check_text("module version", &self.module.version)?;
        check_text("module digest", &self.module.digest)?;
        check_text("host version", &self.host_version)?;
        self.expected_data_sets
            .iter()
            .try_for_each(|name| check_file_name("data set", name))
    }

    /// What `restic snapshots` shows.
    pub(crate) fn tags(&self) -> StringList {
        let mut tags = StringList::default();
        tags.add(TAG.to_owned());
        tags.add(format!("namespace={}", self.namespace));
        tags.add(format!("run={}", self.run));
        tags.add(format!(
            "module={}@{}",
            self.module.name, self.module.version
        ));
        tags
    }
}

/// One artifact of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArtifactSummary {
    /// Its name.
    pub name: ArtifactName,
    /// What kind of bytes it has.
    pub media_type: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// Bytes that storing it added to the repository, after deduplication and compression.
    pub stored_bytes: u64,
    /// The SHA-256 of its bytes, in 64 hexadecimal digits.
    pub sha256: String,
    /// What proves it whole, as the module gave it.
    pub evidence: Vec<(String, String)>,
}

/// A proof that a snapshot can be restored, recorded after it was written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Proof {
    /// When it was made.
    pub at: Timestamp,
    /// The run that made it.
    pub run: String,
    /// How: `verify`, `drill` or `restore`.
    pub kind: String,
    /// What was seen.
    #[serde(default)]
    pub details: serde_json::Value,
}

/// A snapshot: one data set in one run, with its artifacts. Only whole ones exist.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// Its id, the same that `restic snapshots` shows.
    pub id: SnapshotId,
    /// What it is of.
    pub description: SnapshotDescription,
    /// When it was written.
    pub finished: Timestamp,
    /// Its artifacts, by name.
    pub artifacts: Vec<ArtifactSummary>,
    /// Free-form, from the run that made it.
    pub metadata: serde_json::Value,
    /// The proofs recorded since, oldest first.
    pub proofs: Vec<Proof>,
}

/// The evidence of a snapshot as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Evidence {
    format: String,
    #[serde(flatten)]
    pub(crate) description: SnapshotDescription,
    pub(crate) finished: Timestamp,
    pub(crate) artifacts: Vec<ArtifactSummary>,
    #[serde(default)]
    pub(crate) metadata: serde_json::Value,
}

impl Evidence {
    pub(crate) fn new(
        description: SnapshotDescription,
        artifacts: Vec<ArtifactSummary>,
        metadata: serde_json::Value,
    ) -> Self {
        let finished = Timestamp::now();
        Self {
            format: FORMAT.to_owned(),
            description,
            finished,
            artifacts,
            metadata,
        }
    }

    /// Reads evidence; `attempt` says on whose behalf.
    pub(crate) fn read(bytes: &[u8], attempt: impl Fn() -> String) -> Result<Self> {
        let evidence: Self = serde_json::from_slice(bytes).map_err(|source| Error::Content {
            attempt: attempt(),
            source,
        })?;
        if evidence.format == FORMAT {
            Ok(evidence)
        } else {
            let source = serde::de::Error::custom(format!("unknown format `{}`", evidence.format));
            Err(Error::Content {
                attempt: attempt(),
                source,
            })
        }
    }

    pub(crate) fn into_snapshot(self, id: SnapshotId, proofs: Vec<Proof>) -> Snapshot {
        Snapshot {
            id,
            description: self.description,
            finished: self.finished,
            artifacts: self.artifacts,
            metadata: self.metadata,
            proofs,
        }
    }
}

/// Whether a snapshot file is one of ours; others in the repository are neither listed nor forgotten.
pub(crate) fn is_ours(file: &SnapshotFile) -> bool {
    file.tags.contains(TAG)
}
