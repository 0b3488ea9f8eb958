//! The way out: counted, dumped, counted again, and only then kept.

use cofferdam_guest_sdk::{Error, Evidence, Host, Result};

use crate::counts::{self, Counts};
use crate::server::{self, Database, Server};
use crate::{Scope, dump_format};

/// How much of the list of databases the evidence takes.
const SIZES: usize = 4000;

pub(crate) fn backup(host: &dyn Host) -> Result<()> {
    let scope = Scope::wanted(host)?;
    let server = Server::find(host)?;
    let tool = server::version_of(&*server.pod, "dump-version")?;
    let databases = server.databases(host, scope)?;
    let lies_in_an_empty_dir = server.lies_in_an_empty_dir(host)?;

    let before = Counts::of_all(host, &server, &databases)?;
    let dumped = host.step("dump", || {
        let holes = [("maintenance", server.maintenance)];
        let (command, holes, media_type) = match scope {
            Scope::Cluster => ("dump-cluster", holes.as_slice(), "application/sql"),
            Scope::Database => (
                "dump-database",
                [].as_slice(),
                "application/vnd.postgresql.custom-dump",
            ),
        };
        host.dump(&*server.pod, command, holes, scope.artifact(), media_type)
    })?;
    dump_format::check(scope, &dumped.moved.head, &dumped.moved.tail)?;
    // Counted again: what stood still during the dump can be held against a restore exactly.
    let after = Counts::of_all(host, &server, &databases)?;

    let mut evidence = Evidence::new()
        .with("scope", scope.word())
        .with("server-version", &server.description.version)
        .with("tool", &tool);
    match scope {
        Scope::Cluster => {
            evidence.set("trailer", dump_format::TRAILER);
            evidence.set("roles", server.description.roles);
        }
        Scope::Database => {
            evidence.set("database", host.required("database")?);
            let version = dump_format::archive_version(&dumped.moved.head);
            evidence.set("archive-version", version);
        }
    }
    evidence.set("databases", databases.len());
    evidence.set("database-sizes", sizes(&databases));
    if lies_in_an_empty_dir {
        evidence.set("storage", "emptyDir");
        host.warn(&format!(
            "the data of pod `{}` lie in an emptyDir: they are gone with the next rollout",
            server.pod.name()
        ));
    }
    counts::record(&mut evidence, &before, &after);
    if evidence.get("counts").is_some() {
        host.warn("there are more tables than evidence holds: a restore is compared by the number of its objects, not by their rows");
    }
    let bytes = dumped.moved.bytes;
    if bytes == 0 {
        return Err(Error::failed("no-dump", "the dump has no byte"));
    }
    dumped.commit(evidence)?;
    host.info(&format!(
        "kept {} tables of {} databases in {bytes} bytes of PostgreSQL {}",
        before.sum("tables"),
        databases.len(),
        server.description.version
    ));
    Ok(())
}

/// `name=bytes` of each database, as many as fit.
fn sizes(databases: &[Database]) -> String {
    let mut text = String::new();
    for database in databases {
        let size = database
            .size
            .map_or_else(|| "unknown".to_owned(), |size| size.to_string());
        let one = format!("{}={size}", counts::escaped(&database.name));
        if text.len() + 1 + one.len() > SIZES {
            text.push_str(" ...");
            break;
        }
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(&one);
    }
    text
}
