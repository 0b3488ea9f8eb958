//! Keeps one file by `cat`, and behaves well.

use cofferdam_guest_sdk::{DataSet, Error, Evidence, Host, Result};

struct Module;

impl DataSet for Module {
    fn backup(host: &dyn Host) -> Result<()> {
        let pod = host.target("server")?.pod()?;
        let process = pod.start("print", &[])?;
        let mut artifact = host.create_artifact("file", "application/octet-stream")?;
        let moved = process.stdout()?.transfer(&mut *artifact)?;
        let outcome = process.wait()?.success("print")?;
        artifact.commit(
            &Evidence::default()
                .with("sha256", &moved.sha256)
                .with("exit-code", outcome.exit_code),
        )
    }

    fn restore(host: &dyn Host) -> Result<()> {
        let pod = host.target("server")?.pod()?;
        let process = pod.start("take", &[])?;
        let mut input = process.stdin()?;
        let moved = host.open_artifact("file")?.transfer(&mut *input)?;
        process.wait()?.success("take")?;
        same(host, &moved.sha256)
    }

    fn verify(host: &dyn Host) -> Result<()> {
        let moved = host.open_artifact("file")?.examine()?;
        same(host, &moved.sha256)
    }
}

/// The digest that the backup saw is the one that went by now.
fn same(host: &dyn Host, digest: &str) -> Result<()> {
    match host.evidence("file")?.get("sha256") {
        Some(kept) if kept == digest => Ok(()),
        _ => Err(Error::failed(
            "other-digest",
            "the artifact is not what the backup kept",
        )),
    }
}

cofferdam_guest_sdk::export!(Module);
