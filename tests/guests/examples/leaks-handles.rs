//! Asks for handles and never gives one back.

use cofferdam_guest_sdk::{DataSet, Host, Result};

struct Module;

impl DataSet for Module {
    fn backup(host: &dyn Host) -> Result<()> {
        loop {
            std::mem::forget(host.target("server")?);
        }
    }

    fn restore(_host: &dyn Host) -> Result<()> {
        Ok(())
    }

    fn verify(_host: &dyn Host) -> Result<()> {
        Ok(())
    }
}

cofferdam_guest_sdk::export!(Module);
