//! The built binary with real pods, seen by an independent witness: the real kubectl. It needs
//! `COFFERDAM_TEST_KUBECTL` (kubectl 1.37) and `COFFERDAM_TEST_LAYER` (the unpacked server
//! packages), which `cargo xtask test` sets.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what fails in a helper fails its test"
)]

mod demo;
mod eras;
mod kubectl;

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use local_cluster::{Cluster, Options};

#[expect(
    clippy::disallowed_methods,
    reason = "this is where these tests learn of their tools"
)]
fn tool(variable: &str) -> PathBuf {
    let path = std::env::var_os(variable);
    let path = path.unwrap_or_else(|| panic!("`{variable}` is not set; run `cargo xtask test`"));
    let path = PathBuf::from(path);
    assert!(
        path.exists(),
        "`{variable}` names `{}`, which is not there",
        path.display()
    );
    path
}

struct Bed {
    cluster: Cluster,
    kubectl: PathBuf,
}

impl Bed {
    /// A cluster whose context is in a namespace.
    fn new(namespace: &str) -> Self {
        Self::with(namespace, |_| {})
    }

    /// The same with options changed.
    fn with(namespace: &str, change: impl FnOnce(&mut Options)) -> Self {
        let mut options = Options {
            binary: PathBuf::from(env!("CARGO_BIN_EXE_local-cluster")),
            layer: tool("COFFERDAM_TEST_LAYER"),
            state: None,
            templates: None,
            save_templates: None,
            namespace: namespace.to_owned(),
        };
        change(&mut options);
        let cluster = Cluster::start(options).unwrap();
        Self {
            cluster,
            kubectl: tool("COFFERDAM_TEST_KUBECTL"),
        }
    }

    fn try_feed(&self, arguments: &[&str], input: &str) -> Output {
        let home = self.cluster.kubeconfig().parent().unwrap();
        let mut child = Command::new(&self.kubectl)
            .args(arguments)
            .env("KUBECONFIG", self.cluster.kubeconfig())
            .env("HOME", home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        child.wait_with_output().unwrap()
    }

    /// Runs kubectl with some input; its output, or a panic with all it said.
    fn feed(&self, arguments: &[&str], input: &str) -> String {
        let output = self.try_feed(arguments, input);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kubectl {arguments:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn run(&self, arguments: &[&str]) -> String {
        self.feed(arguments, "")
    }
}
