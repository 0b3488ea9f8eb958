//! What the demo shows at its end: one row a data set, as a table or as data. It compares, and never
//! calls two things equal that it has not both seen.

use anyhow::Context as _;
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{CellAlignment, Table};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::product::{Artifact, DataSetRun};

/// The demo's result.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Outcome {
    /// The backup's run.
    pub(super) backup: String,
    /// The restore's run.
    pub(super) restore: String,
    /// One row each.
    pub(super) data_sets: Vec<Row>,
}

/// One data set before and after.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Row {
    name: String,
    module: String,
    bytes: u64,
    stored_bytes: u64,
    backup_milliseconds: u64,
    restore_milliseconds: u64,
    sha256: String,
    proof_before: String,
    proof_after: String,
    equal: bool,
}

impl Row {
    /// A row; equal only when the content was there before and is the same after.
    pub(super) fn new(
        backup: &DataSetRun,
        restored: &DataSetRun,
        before: &str,
        after: &str,
    ) -> Self {
        Self {
            name: backup.name.clone(),
            module: backup.module.clone(),
            bytes: backup.bytes,
            stored_bytes: backup.stored_bytes,
            backup_milliseconds: backup.milliseconds,
            restore_milliseconds: restored.milliseconds,
            sha256: digest(&backup.artifacts),
            proof_before: before.to_owned(),
            proof_after: after.to_owned(),
            equal: before == after && before != "empty" && !backup.artifacts.is_empty(),
        }
    }
}

impl Outcome {
    /// Whether every data set came back as it was.
    pub(super) fn is_equal(&self) -> bool {
        !self.data_sets.is_empty() && self.data_sets.iter().all(|row| row.equal)
    }

    /// The result for scripts.
    pub(super) fn json(&self) -> anyhow::Result<String> {
        serde_json::to_string_pretty(self).context("the result can be written as JSON")
    }

    /// The result for people.
    pub(super) fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(UTF8_HORIZONTAL_ONLY);
        table.set_header([
            "data set",
            "module",
            "bytes",
            "stored",
            "backup",
            "restore",
            "sha256",
            "proof before",
            "proof after",
            "equal",
        ]);
        for row in &self.data_sets {
            table.add_row([
                row.name.clone(),
                row.module.clone(),
                row.bytes.to_string(),
                row.stored_bytes.to_string(),
                seconds(row.backup_milliseconds),
                seconds(row.restore_milliseconds),
                short(&row.sha256),
                short_proof(&row.proof_before),
                short_proof(&row.proof_after),
                if row.equal { "yes" } else { "NO" }.to_owned(),
            ]);
        }
        for number in 2..6 {
            if let Some(column) = table.column_mut(number) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table.to_string()
    }
}

/// The digest of a data set: its artifact's own, or one over the list when there are several.
fn digest(artifacts: &[Artifact]) -> String {
    if let [artifact] = artifacts {
        return artifact.sha256.clone();
    }
    let mut list: Vec<String> = artifacts
        .iter()
        .map(|artifact| format!("{}  {}\n", artifact.sha256, artifact.name))
        .collect();
    list.sort();
    hex::encode(Sha256::digest(list.concat()))
}

fn seconds(milliseconds: u64) -> String {
    format!("{}.{} s", milliseconds / 1000, milliseconds % 1000 / 100)
}

/// Twelve digits tell two digests apart for the eye; the data has them whole.
fn short(digest: &str) -> String {
    digest.chars().take(12).collect()
}

fn short_proof(proof: &str) -> String {
    match proof.rsplit_once(' ') {
        Some((count, digest)) => format!("{count} {}", short(digest)),
        None => short(proof),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> DataSetRun {
        let artifact = Artifact {
            name: "dump.sql".to_owned(),
            sha256: "ab".repeat(32),
        };
        DataSetRun {
            name: "d".into(),
            module: "m".into(),
            artifacts: vec![artifact],
            bytes: 1,
            stored_bytes: 1,
            milliseconds: 1234,
        }
    }

    fn check(before: &str, after: &str, equal: bool) {
        let rows = vec![Row::new(&run(), &run(), before, after)];
        let outcome = Outcome {
            backup: "b".into(),
            restore: "r".into(),
            data_sets: rows,
        };
        assert_eq!(outcome.is_equal(), equal, "{before} {after}");
    }

    #[test]
    fn only_the_same_content_is_equal() {
        check("abc", "abc", true);
        check("abc", "abd", false);
        check("abc", "empty", false);
    }

    #[test]
    fn nothing_before_and_nothing_after_is_not_equal() {
        check("empty", "empty", false);
    }

    #[test]
    fn a_demo_without_data_sets_proves_nothing() {
        assert!(
            !Outcome {
                backup: "b".into(),
                restore: "r".into(),
                data_sets: Vec::new()
            }
            .is_equal()
        );
    }

    #[test]
    fn the_table_shows_counts_and_short_digests() {
        assert_eq!(
            short_proof("20 keys 0123456789abcdef"),
            "20 keys 0123456789ab"
        );
        assert_eq!(seconds(1234), "1.2 s");
    }
}
