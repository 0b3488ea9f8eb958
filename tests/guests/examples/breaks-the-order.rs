//! Does the right things in the wrong order, and returns the answer.

use cofferdam_guest_sdk::{DataSet, Error, Evidence, Host, Result};

struct Module;

impl DataSet for Module {
    fn backup(host: &dyn Host) -> Result<()> {
        let pod = host.target("server")?.pod()?;
        let process = pod.start("print", &[])?;
        let mut artifact = host.create_artifact("output", "text/plain")?;
        match host.parameter("how").unwrap_or_default().as_str() {
            "commit-unwaited" => {
                process.stdout()?.transfer(&mut *artifact)?;
                artifact.commit(&Evidence::default())
            }
            "commit-cut" => {
                // That the transfer was cut is what the commit must know by itself.
                let _ = process.stdout()?.transfer(&mut *artifact);
                let _ = process.wait();
                artifact.commit(&Evidence::default())
            }
            "command-into-command" => {
                let taking = pod.start("take", &[])?;
                let mut input = taking.stdin()?;
                process.stdout()?.transfer(&mut *input).map(drop)
            }
            other => Err(Error::invalid(format!(
                "a backup has no order `{other}` to break"
            ))),
        }
    }

    fn restore(host: &dyn Host) -> Result<()> {
        let pod = host.target("server")?.pod()?;
        let taking = pod.start("take", &[])?;
        let mut input = taking.stdin()?;
        match host.parameter("how").unwrap_or_default().as_str() {
            "write-to-artifact-stdin" => input.write(b"rm -rf /"),
            "half-an-artifact" => {
                let mut source = host.open_artifact("output")?;
                source.read(5)?;
                source.transfer(&mut *input).map(drop)
            }
            // A cut artifact, and the command waited for all the same.
            "commit-cut" => {
                let _ = host.open_artifact("output")?.transfer(&mut *input);
                taking.wait().map(drop)
            }
            other => Err(Error::invalid(format!(
                "a restore has no order `{other}` to break"
            ))),
        }
    }

    fn verify(_host: &dyn Host) -> Result<()> {
        Ok(())
    }
}

cofferdam_guest_sdk::export!(Module);
