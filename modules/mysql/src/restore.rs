//! The way back: the artifact into the client, then counted against the evidence.

use cofferdam_guest_sdk::{Context, Error, Evidence, Host, Result};

use crate::contents::{Checksums, Contents, RowCounts};
use crate::tools::{Server, Tools};
use crate::{ARTIFACT, Description, dump_format};

pub(crate) fn restore(host: &dyn Host) -> Result<()> {
    let database = host.required("database")?;
    let evidence = host.evidence(ARTIFACT)?;
    let head = host.open_artifact(ARTIFACT)?.read(4096)?;
    dump_format::check_head(&head)?;

    let server = Server::find(host.target("server")?.pod()?, "client-version")?;
    let command = load_command(host, &head, &server)?;
    let before = prepare_database(host, &server, &database, &evidence)?;
    let mut holes = Vec::new();
    if command == "load-parallel" {
        holes.push(("how", how_rows_go(host, &server)?));
        holes.push(("client", server.tools.client()));
    }

    host.step("load", || {
        let loaded = host.load(ARTIFACT, &*server.pod, command, &holes);
        let as_data = holes.contains(&("how", "load-data"));
        loaded.map_err(|error| load_error(error, &database, as_data))
    })?;
    compare(host, &server, &database, &evidence, &before)
}

/// What the client says when it did not get the lock that `load` asks for before it reads anything.
const NOT_LOCKED: &str = "ERROR 1242 (21000): ";

/// What a load that ended badly has left.
fn load_error(error: Error, database: &str, as_data: bool) -> Error {
    if error.to_string().contains(NOT_LOCKED) {
        return Error::unavailable(
            "load-runs",
            format!(
                "another load into database `{database}` still runs on the server, so nothing was loaded: wait for it to end, or end it there (`SHOW PROCESSLIST`, `KILL`), and restore again"
            ),
        );
    }
    let way_around = if as_data {
        ", with parameter `jobs: 1` where the server only warned of rows"
    } else {
        ""
    };
    error.context(format!(
        "the load into database `{database}` broke off, so it is half restored: tables up to the one that failed are the backup's, later ones are as they were; restore again before it is used{way_around}"
    ))
}

/// The command that loads this dump with this client.
fn load_command(host: &dyn Host, head: &[u8], server: &Server) -> Result<&'static str> {
    let client = &server.program;
    let leaves_line_out =
        dump_format::has_sandbox_line(head) && !dump_format::knows_sandbox_line(client);
    let in_parallel = !leaves_line_out && host.required("jobs")? != "1" && has_awk(host, server)?;
    match (server.tools, leaves_line_out) {
        (_, false) if in_parallel => Ok("load-parallel"),
        (Tools::Mysql, false) => Ok("load"),
        (Tools::Mariadb, false) => Ok("load-mariadb"),
        (Tools::Mysql, true) => {
            host.info(&format!(
                "`{client}` does not know MariaDB's sandbox line: it is left out"
            ));
            Ok("load-without-sandbox-line")
        }
        (Tools::Mariadb, true) => Err(Error::failed(
            "old-client",
            format!(
                "the dump begins with MariaDB's sandbox line, which `{client}` does not know: restore with a client of 10.11.8, 11.4.2 or later"
            ),
        )),
    }
}

/// LOAD DATA costs a server a good third less than INSERTs do. A client that sends it lets its server read files
/// beside it, so it is for servers in the same container only.
fn how_rows_go(host: &dyn Host, server: &Server) -> Result<&'static str> {
    let beside = host.required("host")? == "localhost";
    if beside && Description::of(server)?.takes_local_data {
        return Ok("load-data");
    }
    Ok("insert")
}

/// Whether the container can deal a dump to several clients.
fn has_awk(host: &dyn Host, server: &Server) -> Result<bool> {
    let outcome = server.pod.run_if_there("find-awk", &[])?;
    let there = outcome.is_some_and(|outcome| outcome.exit_code == 0);
    if !there {
        host.info(
            "the container has no `awk` that can deal a dump: it is loaded over one connection",
        );
    }
    Ok(there)
}

/// Sees to it that the database is there, and says what will be replaced.
fn prepare_database(
    host: &dyn Host,
    server: &Server,
    database: &str,
    evidence: &Evidence,
) -> Result<Contents> {
    let found = server
        .capture("find-database", &[])
        .context("failed to look for the database")?;
    if found.trim() == "0" {
        let character_set = evidence.get("character-set").unwrap_or("utf8mb4");
        let collation = evidence.get("collation").unwrap_or("utf8mb4_general_ci");
        host.info(&format!(
            "database `{database}` is not there: creating it with `{collation}`"
        ));
        let holes = [("character-set", character_set), ("collation", collation)];
        server
            .capture("create-database", &holes)
            .context(format!("failed to create database `{database}`"))?;
        return Ok(Contents::default());
    }
    let before = Contents::count(server)?;
    if !before.is_empty() {
        host.warn(&format!(
            "database `{database}` has {} tables and {} views: those that the backup has too are replaced",
            before.get("tables"),
            before.get("views")
        ));
    }
    Ok(before)
}

/// Holds what is there now against the evidence.
fn compare(
    host: &dyn Host,
    server: &Server,
    database: &str,
    evidence: &Evidence,
    before: &Contents,
) -> Result<()> {
    let (mut wrong, more) = Contents::count(server)?.against(evidence);
    if let Some(rows) = RowCounts::of_all(host, server)? {
        wrong.extend(rows.against(evidence));
    }
    let mut summed = String::new();
    let version = Description::of(server)?.version;
    if evidence.get("server-version") == Some(&version) {
        let (differ, compared) = Checksums::of_small(host, server)?.against(evidence);
        wrong.extend(differ);
        summed = format!(", with {compared} tables compared by checksum");
    } else {
        host.info(&format!(
            "checksums are not compared: the backup is of another version than `{version}`"
        ));
    }
    if !wrong.is_empty() {
        return Err(Error::failed(
            "not-proven",
            format!(
                "database `{database}` was loaded to the end, but is not what was backed up: {}",
                wrong.join(", ")
            ),
        ));
    }
    if !more.is_empty() && before.is_empty() {
        host.warn(&format!(
            "database `{database}` has more than the backup: {}",
            more.join(", ")
        ));
    } else if !more.is_empty() {
        host.warn(&format!(
            "database `{database}` keeps what was there before and is not in the backup: {}",
            more.join(", ")
        ));
    }
    host.info(&format!(
        "database `{database}` is as its evidence says{summed}"
    ));
    Ok(())
}
