//! Reads on after the end, and a file after it was waited for.

use cofferdam_guest_sdk::{DataSet, Error, Evidence, Host, Result};

struct Module;

impl DataSet for Module {
    fn backup(host: &dyn Host) -> Result<()> {
        let process = host.target("server")?.pod()?.start("print", &[])?;
        let mut output = process.stdout()?;
        let mut bytes = 0;
        loop {
            let chunk = output.read(7)?;
            if chunk.len() > 7 {
                return Err(Error::failed(
                    "too-much",
                    format!("a read of 7 bytes gave {}", chunk.len()),
                ));
            }
            if chunk.is_empty() {
                break;
            }
            bytes += chunk.len();
        }
        for _ in 0..3 {
            if !output.read(1)?.is_empty() {
                return Err(Error::failed(
                    "beyond-the-end",
                    "there are bytes after the end",
                ));
            }
        }
        process.wait()?;
        let mut artifact = host.create_artifact("count", "text/plain")?;
        artifact.write(bytes.to_string().as_bytes())?;
        artifact.commit(&Evidence::default())
    }

    /// The first bytes of a stream, then its end without the rest: nothing may hang.
    fn restore(host: &dyn Host) -> Result<()> {
        let process = host.target("server")?.pod()?.start("print", &[])?;
        let mut output = process.stdout()?;
        output.read(1)?;
        process.wait()?;
        output.read(1).map(drop)
    }

    fn verify(_host: &dyn Host) -> Result<()> {
        Ok(())
    }
}

cofferdam_guest_sdk::export!(Module);
