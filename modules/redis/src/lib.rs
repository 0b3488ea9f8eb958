//! Redis and Valkey by `dump.rdb`.
//!
//! A backup is a file that the server wrote because this module asked it to, checked from magic to
//! checksum. A restore never copies a file under a server that would overwrite it: it asks the
//! running server whether its save points are really off, and refuses when they are not.

mod backup;
mod configuration;
mod info;
mod rdb;
mod restore;
mod server;
mod set_aside;

use cofferdam_guest_sdk::{DataSet, Host, Result, export};

/// The artifact of this module.
const ARTIFACT: &str = "dump.rdb";

/// The data set: all databases of one server.
#[derive(Debug)]
pub struct Redis;

export!(Redis);

impl DataSet for Redis {
    fn backup(host: &dyn Host) -> Result<()> {
        backup::backup(host)
    }

    fn restore(host: &dyn Host) -> Result<()> {
        restore::restore(host)
    }

    fn verify(host: &dyn Host) -> Result<()> {
        let dump = rdb::examine(host, ARTIFACT)?;
        host.info(&format!(
            "`{ARTIFACT}`: {} bytes in format {}, checksum {}",
            dump.bytes, dump.version, dump.checksum
        ));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
