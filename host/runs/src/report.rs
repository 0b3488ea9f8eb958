//! What a run came to, as data: for `--output json`, for tables and for the exit code.

use cofferdam_policy::name::{ApplicationName, DataSetName, ModuleName, Namespace};
use cofferdam_policy::request::RunKind;
use jiff::Timestamp;
use serde::Serialize;

use crate::application::External;
use crate::skew::Taken;
use crate::state::RunId;
use crate::threescale::KnownEra;

/// What a run came to.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunReport {
    /// Its id.
    pub run: RunId,
    /// What it did.
    pub kind: RunKind,
    /// The application.
    pub application: ApplicationName,
    /// Its namespace.
    pub namespace: Namespace,
    /// The run whose snapshots were read, for a restore or a verify.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Timestamp,
    /// The era of 3scale and how it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub era: Option<KnownEra>,
    /// The data sets, in the order in which they ended.
    pub data_sets: Vec<DataSetReport>,
    /// Over what time a backup was taken, and whether the application stood still meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taken: Option<Taken>,
    /// The data sets that only a backup with `--quiesce` runs, and that this one left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<DataSetName>,
    /// What belongs to the application and is covered by nobody here: with it the run did not
    /// reach all of it, whatever became of the others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub external: Vec<External>,
    /// What a person should look at.
    pub warnings: Vec<String>,
}

impl RunReport {
    /// Whether every data set did what was asked.
    pub fn succeeded(&self) -> bool {
        self.data_sets
            .iter()
            .all(|data_set| data_set.failure.is_none())
    }
}

/// What became of one data set.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DataSetReport {
    /// Its name.
    pub name: DataSetName,
    /// Its module.
    pub module: ModuleName,
    /// The module's version.
    pub version: String,
    /// The id of the snapshot that was written or read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// The artifacts that were written or read.
    pub artifacts: Vec<ArtifactReport>,
    /// The sum of their bytes.
    pub bytes: u64,
    /// What they added to the repository.
    pub stored_bytes: u64,
    /// When it began; `None` for one that never did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub begun: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// In a backup with `--quiesce`: whether all that was to be stopped stood still while it was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quiet: Option<bool>,
    /// How long it took.
    pub milliseconds: u64,
    /// Requests that manifest or policy refused and that the module went on without: what it did is
    /// done, and not proven to be all.
    pub refused: u64,
    /// Why it failed; `None` when it did what was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

/// One artifact of a data set.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ArtifactReport {
    /// Its name.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// What it added to the repository.
    pub stored_bytes: u64,
    /// Its SHA-256 as 64 hex digits.
    pub sha256: String,
    /// What proves it whole.
    pub evidence: Vec<(String, String)>,
}

/// Why a data set failed, and whose move it is.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// Whose move it is.
    pub blame: Blame,
    /// A sentence: what was attempted, on what, what happened.
    pub message: String,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Whose move it is after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Blame {
    /// Who typed the command or wrote the file.
    User,
    /// The policy of the site.
    Policy,
    /// The cluster, the repository, the network.
    World,
    /// The module.
    Module,
    /// This program.
    Us,
}
