//! Panics with an artifact half written.
#![expect(clippy::panic, reason = "the misbehaviour")]

use cofferdam_guest_sdk::{DataSet, Host, Result};

struct Module;

impl DataSet for Module {
    fn backup(host: &dyn Host) -> Result<()> {
        let mut artifact = host.create_artifact("half", "text/plain")?;
        artifact.write(b"the first half")?;
        panic!("the \u{1b}[31msecond half is missing");
    }

    fn restore(_host: &dyn Host) -> Result<()> {
        panic!("restoring is beyond me");
    }

    fn verify(_host: &dyn Host) -> Result<()> {
        Ok(())
    }
}

cofferdam_guest_sdk::export!(Module);
