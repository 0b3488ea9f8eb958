//! Takes a lease and never releases it: in a backup silently, in a restore by a panic.
#![expect(clippy::panic, reason = "the misbehaviour")]

use cofferdam_guest_sdk::{DataSet, Evidence, Host, Lease, Result};

struct Module;

fn take(host: &dyn Host) -> Result<Lease> {
    let object = host.parameter("object").unwrap_or_default();
    host.edit_object("configuration", &object, &[("mode", "leased")])
}

impl DataSet for Module {
    fn backup(host: &dyn Host) -> Result<()> {
        std::mem::forget(take(host)?);
        let mut artifact = host.create_artifact("something", "text/plain")?;
        artifact.write(b"kept")?;
        artifact.commit(&Evidence::default())
    }

    fn restore(host: &dyn Host) -> Result<()> {
        let _lease = take(host)?;
        panic!("with the lease in hand");
    }

    fn verify(_host: &dyn Host) -> Result<()> {
        Ok(())
    }
}

cofferdam_guest_sdk::export!(Module);
