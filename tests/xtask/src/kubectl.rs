//! The real kubectl against one namespace: the independent hands and eyes of demo and bench. What it
//! does never goes through the product.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Context as _;
use serde_json::Value;

use crate::process;

/// kubectl with its cluster and namespace.
#[derive(Debug, Clone)]
pub(crate) struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    namespace: String,
}

/// A container of a workload, the way kubectl names them.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// For example `deployment/system-mysql`.
    pub(crate) workload: String,
    /// The container's name.
    pub(crate) container: String,
}

impl Kubectl {
    /// kubectl for one namespace of the cluster.
    pub(crate) fn new(program: PathBuf, kubeconfig: PathBuf, namespace: &str) -> Self {
        Self {
            program,
            kubeconfig,
            namespace: namespace.to_owned(),
        }
    }

    /// A kubectl command to be completed.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .env("KUBECONFIG", &self.kubeconfig)
            .args(["--namespace", &self.namespace]);
        command
    }

    /// Runs a kubectl command for its effect.
    pub(crate) fn run(&self, arguments: &[&str]) -> anyhow::Result<()> {
        process::quietly(self.command().args(arguments))
    }

    /// One object, such as `secret/system-seed`, if it is there.
    pub(crate) fn find(&self, name: &str) -> anyhow::Result<Option<Value>> {
        let mut command = self.command();
        let text = process::capture(command.args([
            "get",
            name,
            "--ignore-not-found",
            "--output",
            "json",
        ]))?;
        if text.trim().is_empty() {
            return Ok(None);
        }
        let object = serde_json::from_str(&text);
        Ok(Some(object.with_context(|| {
            format!("`{}` did not print JSON", process::shown(&command))
        })?))
    }

    /// Applies objects from YAML text.
    pub(crate) fn apply(&self, yaml: &str) -> anyhow::Result<()> {
        process::feed(
            self.command().args(["apply", "--filename", "-"]),
            yaml.as_bytes(),
        )
        .map(drop)
    }

    /// Runs a command in a container with `input` as its stdin and returns its stdout.
    pub(crate) fn exec(
        &self,
        place: &Place,
        words: &[&str],
        input: &[u8],
    ) -> anyhow::Result<Vec<u8>> {
        process::feed(&mut self.exec_command(place, words), input)
    }

    /// The command that runs `words` in a container, with stdin handed through.
    pub(crate) fn exec_command(&self, place: &Place, words: &[&str]) -> Command {
        let mut command = self.command();
        command
            .args([
                "exec",
                "--stdin",
                &place.workload,
                "--container",
                &place.container,
                "--",
            ])
            .args(words);
        command
    }
}
