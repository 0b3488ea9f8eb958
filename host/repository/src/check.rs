//! Checks a repository and hands the findings out as data.
//!
//! It takes no lock and writes nothing, so it works on a read-only mount; beside a running prune it may report packs
//! that are just being moved. It must never repair anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustic_core::CheckOptions;
use rustic_core::repofile::SnapshotFile;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::evidence::{Evidence, FILE, is_ours};
use crate::names::SnapshotId;
use crate::repository::{Indexed, Inner, Repository, blocking};
use crate::trees::{TREE_MEDIA_TYPE, listing_name};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing is lost: leftovers of a killed backup, for example.
    Warning,
    /// Something cannot be restored as it was.
    Error,
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What was found, in one line.
    pub text: String,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckReport {
    /// Everything that was found.
    pub findings: Vec<Finding>,
    /// How many snapshots were looked at, of this program and others.
    pub snapshots: u64,
    /// Whether all data were read, or only what names them.
    pub read_data: bool,
}

impl CheckReport {
    /// Whether nothing is damaged; warnings may stand.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings
            .iter()
            .all(|finding| finding.severity != Severity::Error)
    }
}

fn error(text: String) -> Finding {
    Finding {
        severity: Severity::Error,
        text,
    }
}

/// An error with its causes in one line.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

impl Repository {
    /// Checks that everything the snapshots refer to is there, and with `read_data` that all of it reads back with the
    /// digests it was stored under.
    ///
    /// Damage is a finding, not an error.
    ///
    /// # Errors
    /// What the store says when it cannot be asked at all.
    pub async fn check(&self, read_data: bool) -> Result<CheckReport> {
        let mut findings = self.check_format(read_data).await?;
        let count = self.count_snapshot_files().await?;
        let files = self.inner.snapshot_files().await?;
        if count > files.len() {
            findings.push(error(format!(
                "{} snapshot files cannot be read",
                count - files.len()
            )));
        }
        // Without an index there is nothing to compare with; that it is missing was found above.
        if let Ok(index) = self.inner.index().await {
            for (id, file) in files.iter().filter(|(_, file)| is_ours(file)) {
                findings.extend(check_evidence(&self.inner, &index, id, file).await);
            }
        }
        Ok(CheckReport {
            findings,
            snapshots: files.len() as u64,
            read_data,
        })
    }

    async fn count_snapshot_files(&self) -> Result<usize> {
        let inner = Arc::clone(&self.inner);
        blocking("list the snapshots", move || {
            inner
                .rustic
                .list::<rustic_core::repofile::SnapshotId>()
                .map(Iterator::count)
                .map_err(Error::format("list the snapshots"))
        })
        .await
    }

    async fn check_format(&self, read_data: bool) -> Result<Vec<Finding>> {
        let inner = Arc::clone(&self.inner);
        let checked = blocking("check the repository", move || {
            let mut options = CheckOptions::default();
            options.read_data = read_data;
            inner
                .rustic
                .check(options)
                .map_err(Error::format("check the repository"))
        })
        .await;
        let results = match checked {
            Ok(results) => results,
            // An index or snapshot file that does not open ends the library's check.
            Err(failure @ (Error::Format { .. } | Error::Task { .. })) => {
                return Ok(vec![error(chain(&failure))]);
            }
            Err(other) => return Err(other),
        };
        let findings = results.0.iter().map(|(level, finding)| {
            let mut text = finding.to_string();
            if let Some(cause) = std::error::Error::source(finding) {
                text = format!("{text}: {cause}");
            }
            // The library does not export the type of its levels, only its two names.
            let warning = format!("{level:?}") == "Warn";
            Finding {
                severity: if warning {
                    Severity::Warning
                } else {
                    Severity::Error
                },
                text: text.split_whitespace().collect::<Vec<_>>().join(" "),
            }
        });
        Ok(findings.collect())
    }
}

/// Compares a snapshot's tree with its evidence.
async fn check_evidence(
    inner: &Arc<Inner>,
    index: &Arc<Indexed>,
    id: &SnapshotId,
    file: &SnapshotFile,
) -> Vec<Finding> {
    let evidence = match inner.evidence(id, file).await {
        Ok(evidence) => evidence,
        Err(failure) => return vec![error(chain(&failure))],
    };
    let (index, tree, short) = (Arc::clone(index), file.tree, id.short().to_owned());
    let compared = blocking("compare a snapshot with its evidence", move || {
        compare(&index, tree, &evidence, &short)
    })
    .await;
    compared.unwrap_or_else(|failure| {
        vec![error(format!(
            "snapshot {}: {}",
            id.short(),
            chain(&failure)
        ))]
    })
}

fn compare(
    index: &Indexed,
    tree: rustic_core::TreeId,
    evidence: &Evidence,
    short: &str,
) -> Result<Vec<Finding>> {
    let attempt = "read its trees";
    let data_set = &evidence.description.data_set;
    let folder = index
        .repository
        .node_from_path(tree, std::path::Path::new(data_set))
        .map_err(Error::format(attempt))?;
    let root = index
        .repository
        .get_tree(&tree)
        .map_err(Error::format(attempt))?;
    let nodes = match folder.subtree {
        Some(subtree) => {
            index
                .repository
                .get_tree(&subtree)
                .map_err(Error::format(attempt))?
                .nodes
        }
        None => Vec::new(),
    };
    let mut sizes: BTreeMap<&str, u64> = nodes
        .iter()
        .map(|node| (node.name.as_str(), node.meta.size))
        .collect();
    let mut findings = Vec::new();
    for artifact in &evidence.artifacts {
        let name = artifact.name.as_ref();
        match sizes.remove(name) {
            // A folder has no size of its own; each of its files has one in the listing.
            Some(_) if artifact.media_type == TREE_MEDIA_TYPE => {
                let listing = listing_name(&artifact.name);
                if sizes.remove(listing.as_str()).is_none() {
                    findings.push(error(format!(
                        "snapshot {short}: the listing of tree `{name}` is missing"
                    )));
                }
            }
            Some(size) if size == artifact.bytes => {}
            Some(size) => findings.push(error(format!(
                "snapshot {short}: artifact `{name}` has {size} bytes, but its evidence says {}",
                artifact.bytes
            ))),
            None => findings.push(error(format!(
                "snapshot {short}: artifact `{name}` is missing"
            ))),
        }
    }
    findings.extend(
        sizes
            .keys()
            .map(|name| error(format!("snapshot {short}: `{name}` has no evidence"))),
    );
    if !root.nodes.iter().any(|node| node.name == FILE) {
        findings.push(error(format!("snapshot {short}: `{FILE}` is missing")));
    }
    Ok(findings)
}
