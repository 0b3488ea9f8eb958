//! Makes one artifact twice.

use cofferdam_guest_sdk::{DataSet, Evidence, Host, Result};

struct Module;

impl DataSet for Module {
    /// Two sinks of one name, open at once.
    fn backup(host: &dyn Host) -> Result<()> {
        let mut first = host.create_artifact("all", "text/plain")?;
        let mut second = host.create_artifact("all", "text/plain")?;
        first.write(b"the truth")?;
        second.write(b"something else")?;
        first.commit(&Evidence::default())?;
        second.commit(&Evidence::default())
    }

    fn restore(_host: &dyn Host) -> Result<()> {
        Ok(())
    }

    fn verify(_host: &dyn Host) -> Result<()> {
        Ok(())
    }
}

cofferdam_guest_sdk::export!(Module);
