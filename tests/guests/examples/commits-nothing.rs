//! Says that it is done and keeps nothing.

use cofferdam_guest_sdk::{DataSet, Host, Result};

struct Module;

impl DataSet for Module {
    fn backup(host: &dyn Host) -> Result<()> {
        let mut artifact = host.create_artifact("all", "text/plain")?;
        artifact.write(b"everything")?;
        Ok(())
    }

    fn restore(_host: &dyn Host) -> Result<()> {
        Ok(())
    }

    fn verify(_host: &dyn Host) -> Result<()> {
        Ok(())
    }
}

cofferdam_guest_sdk::export!(Module);
