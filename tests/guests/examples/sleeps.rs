//! Waits for ever in a call of the host.

use std::time::Duration;

use cofferdam_guest_sdk::{DataSet, Host, Result};

struct Module;

impl DataSet for Module {
    fn backup(host: &dyn Host) -> Result<()> {
        host.sleep(Duration::from_secs(12 * 3600))
    }

    /// Will not hear of being cancelled.
    fn restore(host: &dyn Host) -> Result<()> {
        loop {
            // The error says that the run is cancelled: that it goes on is the misbehaviour.
            let _ = host.sleep(Duration::from_millis(10));
        }
    }

    fn verify(_host: &dyn Host) -> Result<()> {
        Ok(())
    }
}

cofferdam_guest_sdk::export!(Module);
