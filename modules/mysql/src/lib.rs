//! MySQL and MariaDB by logical dump.
//!
//! A dump counts only with exit code 0, a known beginning and the trailer that the dump program
//! writes last. Must never feed a server anything but an artifact, and never see a password.

mod contents;
mod dump_format;
mod restore;
mod tools;

use cofferdam_guest_sdk::{Context, DataSet, Error, Evidence, Host, Result, export};

use contents::{Checksums, Contents, RowCounts};
use tools::Server;

/// The artifact of this module.
const ARTIFACT: &str = "dump.sql";
/// What the dump programs write last, with a date behind it or without.
const TRAILER: &str = "-- Dump completed";

/// The data set: one database.
#[derive(Debug)]
pub struct Mysql;

export!(Mysql);

impl DataSet for Mysql {
    fn backup(host: &dyn Host) -> Result<()> {
        let server = Server::find(host.target("server")?.pod()?, "dump-version")?;
        let description = Description::of(&server)?;

        let contents = Contents::count(&server)?;
        let rows_before = RowCounts::of_all(host, &server)?;
        let sums_before = Checksums::of_small(host, &server)?;
        let dumped = host.step("dump", || {
            let command = server.tools.command("dump");
            host.dump(&*server.pod, &command, &[], ARTIFACT, "application/sql")
        })?;
        dump_format::check_head(&dumped.moved.head)?;
        let trailer = dumped.require_last_line(TRAILER)?;
        // Counted again: what stood still during the dump can be held against a restore exactly.
        let rows_after = RowCounts::of_all(host, &server)?;
        let sums_after = Checksums::of_small(host, &server)?;

        let mut evidence = Evidence::new()
            .with("server-version", &description.version)
            .with("character-set", &description.character_set)
            .with("collation", &description.collation)
            .with("tool", &server.program)
            .with("trailer", &trailer);
        contents.record(&mut evidence);
        contents::record_rows(&mut evidence, rows_before.as_ref(), rows_after.as_ref());
        sums_before.record(&sums_after, &mut evidence);
        let bytes = dumped.moved.bytes;
        dumped.commit(evidence)?;
        host.info(&format!(
            "kept {} tables in {bytes} bytes of `{}`",
            contents.get("tables"),
            description.version
        ));
        Ok(())
    }

    fn restore(host: &dyn Host) -> Result<()> {
        restore::restore(host)
    }

    fn verify(host: &dyn Host) -> Result<()> {
        let evidence = host.evidence(ARTIFACT)?;
        let moved = host.open_artifact(ARTIFACT)?.examine()?;
        evidence.check_transfer(ARTIFACT, &moved)?;
        dump_format::check_head(&moved.head)?;
        dump_format::check_trailer(&moved.tail)
    }
}

/// What a server says of itself and of the database.
#[derive(Debug, PartialEq, Eq)]
struct Description {
    version: String,
    character_set: String,
    collation: String,
    /// Whether rows may come by LOAD DATA LOCAL: the server takes it, and keeps no binary log, in which some
    /// formats call it unsafe.
    takes_local_data: bool,
}

impl Description {
    fn of(server: &Server) -> Result<Self> {
        let said = server
            .capture("describe", &[])
            .context("failed to ask the server about the database")?;
        let mut words = said.trim_end().split('\t').map(str::to_owned);
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some(version), Some(character_set), Some(collation), Some(local)) => Ok(Self {
                version,
                character_set,
                collation,
                takes_local_data: local == "1",
            }),
            _ => Err(Error::failed(
                "unknown-answer",
                format!("the server described itself as `{}`", said.trim_end()),
            )),
        }
    }
}

#[cfg(test)]
mod tests;
