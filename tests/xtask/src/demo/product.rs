//! The product as a user has it: the binary, called in a folder with its files beside it. What it is
//! asked here is in the README; nothing of it is linked.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, bail};
use serde::Deserialize;

use crate::process;

/// The binary with its surroundings.
#[derive(Debug)]
pub(crate) struct Product {
    /// The program.
    pub(crate) program: PathBuf,
    /// The folder with the application file and the policy.
    pub(crate) folder: PathBuf,
    /// What tells it of cluster, modules and repository: names of variables and their values.
    pub(crate) environment: Vec<(&'static str, PathBuf)>,
}

/// What it says of a run.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Run {
    /// The run's id.
    pub(crate) run: String,
    /// What was done, in the order of the report.
    pub(crate) data_sets: Vec<DataSetRun>,
}

/// What it says of one data set of a run.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DataSetRun {
    pub(crate) name: String,
    pub(crate) module: String,
    #[serde(default)]
    pub(crate) artifacts: Vec<Artifact>,
    #[serde(default)]
    pub(crate) bytes: u64,
    #[serde(default)]
    pub(crate) stored_bytes: u64,
    #[serde(default)]
    pub(crate) milliseconds: u64,
}

/// One stream that was kept.
#[derive(Debug, Deserialize)]
pub(crate) struct Artifact {
    pub(crate) name: String,
    pub(crate) sha256: String,
}

impl Product {
    /// Runs a command whose result a person would only glance at.
    pub(crate) fn run(&self, words: &[&str]) -> anyhow::Result<()> {
        process::quietly(self.command().args(words))
    }

    /// Runs a backup or a restore and reads its report; what it says meanwhile is seen as it comes.
    pub(crate) fn report(&self, words: &[&str]) -> anyhow::Result<Run> {
        let mut command = self.command();
        let (text, succeeded) = process::watched(command.args(words).args(["--output", "json"]))?;
        let shown = process::shown(&command);
        if !succeeded {
            bail!("`{shown}` did not succeed");
        }
        serde_json::from_str(&text)
            .with_context(|| format!("failed to read the report of `{shown}`"))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(&self.folder);
        for (name, value) in &self.environment {
            command.env(name, value);
        }
        command
    }
}
