//! Data Pump: one schema as a dump file, which the server writes and this brings home.
//!
//! Must never start a job while one of an earlier run goes on in the server: a client that is
//! killed leaves its job there.

use cofferdam_guest_sdk::{Context, Error, Host, Level, Metadata, Result};

use crate::answers::Answers;
use crate::codes::{IMPORT_PASSES, NONE_PASS};
use crate::pump_log::PumpLog;
use crate::record::{self, shown};
use crate::server::Server;
use crate::{Method, evidence, names};

/// What `expdp` said.
pub(crate) const LOG: &str = "data-pump.log";
/// The dump file, where it was copied.
pub(crate) const DUMP: &str = "schema.dmp";

/// The evidence of a dump that stayed where it was written.
const IN_PLACE: &str = "on the server's side; this snapshot holds the record, not the dump";

pub(crate) fn backup(host: &dyn Host) -> Result<()> {
    let job = names::of_this_run(host)?;
    let schema = host.required("schema")?;
    let copies = host.required("copy")? == "yes";
    let server = Server::find(host)?;
    let answers = server.ask("describe-schema", &[])?;
    check_ready(host, &answers)?;
    if answers.number("schemas")? == 0 {
        return Err(Error::failed(
            "no-schema",
            format!(
                "database `{}` has no schema `{schema}`",
                shown(answers.one("db-name")?)
            ),
        ));
    }
    let scn = answers.number("scn")?.to_string();

    let old = if copies { stat(&server)? } else { None };
    let workers = workers(host)?;
    let (text, log) = host.step("export", || {
        let holes = [("job", job.as_str()), ("scn", &scn)];
        let in_place = [holes[0], holes[1], ("file", &job), ("workers", &workers)];
        let (command, holes) = if copies {
            ("export", &holes[..])
        } else {
            ("export-in-place", &in_place[..])
        };
        let (text, exit_code) = server.run(command, "expdp", holes)?;
        let log = PumpLog::read(command, &text, exit_code, NONE_PASS)?;
        Ok((text, log))
    })?;
    if log.files.is_empty() {
        return Err(Error::failed(
            "no-dump-file",
            "command `expdp` completed, but names no dump file",
        ));
    }

    let mut evidence = evidence(Method::DataPump)
        .with("schema", schema.to_ascii_uppercase())
        .with("db-name", shown(answers.one("db-name")?))
        .with("dbid", answers.number("dbid")?)
        .with("server-version", shown(answers.one("version")?))
        .with("client", shown(&server.client))
        .with("scn", &scn)
        .with("job", &job)
        .with("tables", log.tables.len())
        .with("rows", log.rows())
        .with("exit-code", 0);
    for (number, file) in log.files.iter().take(16).enumerate() {
        evidence.set(&format!("dump-file-{}", number + 1), shown(file));
    }
    if copies {
        let bytes = bring_home(host, &server, &log, old.as_ref(), &scn)?;
        evidence.set("kept-where", format!("artifact `{DUMP}`, {bytes} bytes"));
    } else {
        evidence.set("kept-where", IN_PLACE);
        evidence.set("dump-name", &job);
    }
    record::keep(host, LOG, &text, evidence)?;
    host.info(&format!(
        "kept schema `{schema}` as of change {scn}: {} tables with {} rows",
        log.tables.len(),
        log.rows()
    ));
    Ok(())
}

/// The directory must be there, and no job of ours may be running.
fn check_ready(host: &dyn Host, answers: &Answers) -> Result<()> {
    let directory = host.required("directory")?;
    if answers.all("directory").is_empty() {
        return Err(Error::failed(
            "no-directory",
            format!(
                "the user sees no directory object `{directory}`: have it made and granted (ORA-39087 is what Data Pump would say)"
            ),
        ));
    }
    let jobs: Vec<String> = answers
        .all("job")
        .iter()
        .map(|job| format!("`{}`", shown(job)))
        .collect();
    if jobs.is_empty() {
        return Ok(());
    }
    Err(Error::failed(
        "job-running",
        format!(
            "a Data Pump job of an earlier run goes on in the server: {}. Wait for its end, or attach to it (`expdp attach=JOB`) and `kill_job`, then run again",
            jobs.join(", ")
        ),
    ))
}

/// How many workers a job in the server gets.
fn workers(host: &dyn Host) -> Result<String> {
    Ok(host.parsed::<u64>("parallelism")?.max(1).to_string())
}

fn stat(server: &Server) -> Result<Option<Metadata>> {
    server
        .pod()
        .stat("dump")
        .context("failed to look at the dump file in the pod")
}

/// Copies the dump file out of the pod. It must be the one that was just written: a pod that sees
/// another folder than the server would give an old file, or none.
fn bring_home(
    host: &dyn Host,
    server: &Server,
    log: &PumpLog,
    old: Option<&Metadata>,
    scn: &str,
) -> Result<u64> {
    let folder = host.required("pod-folder")?;
    let name = format!("{}.dmp", host.required("dump-name")?);
    let elsewhere = |what: &str| {
        Error::failed(
            "not-the-dump",
            format!(
                "the server wrote {}, but {what} in the pod: mount the folder of the directory object there as `pod-folder`, or set `copy` to `no` and keep that folder otherwise",
                shown(&log.files.join(", "))
            ),
        )
    };
    let written = log.files.first().map(String::as_str).unwrap_or_default();
    if log.files.len() != 1 || !written.ends_with(&format!("/{name}")) {
        return Err(elsewhere(&format!("`{name}` alone was expected")));
    }
    let Some(new) = stat(server)? else {
        return Err(elsewhere(&format!("there is no `{folder}/{name}`")));
    };
    if Some(&new) == old {
        return Err(elsewhere(&format!(
            "`{folder}/{name}` is as it was before the export"
        )));
    }
    let (artifact, moved) = host.step("copy-out", || {
        host.copy_out(server.pod(), "dump", DUMP, "application/octet-stream")
    })?;
    if moved.bytes == 0 || moved.bytes != new.size {
        return Err(elsewhere(&format!(
            "`{folder}/{name}` has {} bytes and gave {}",
            new.size, moved.bytes
        )));
    }
    let bytes = moved.bytes;
    let evidence = evidence(Method::DataPump)
        .with("scn", scn)
        .with_transfer(&moved);
    artifact.commit(&evidence)?;
    Ok(bytes)
}

/// What the log of a snapshot says, and whether the dump is with it.
#[derive(Debug)]
pub(crate) struct Recorded {
    log: PumpLog,
    schema: String,
    /// The name of the files on the server's side, where they stayed there.
    in_place: Option<String>,
}

/// Proves digest and log, and reads the dump to its end where it was copied. Touches no pod.
pub(crate) fn verify(host: &dyn Host) -> Result<Recorded> {
    let (text, evidence) = record::read(host, LOG)?;
    let log = PumpLog::read("export", &text, 0, NONE_PASS)
        .context(format!("artifact `{LOG}` is not the log of a whole export"))?;
    let (tables, rows) = (log.tables.len() as u64, log.rows());
    if record::number(&evidence, "tables")? != tables || record::number(&evidence, "rows")? != rows
    {
        return Err(Error::failed(
            "not-the-same",
            format!(
                "artifact `{LOG}` has {tables} tables with {rows} rows, and the evidence says otherwise"
            ),
        ));
    }
    let in_place = if record::word(&evidence, "kept-where")? == IN_PLACE {
        host.warn("the dump is on the server's side: only its record was verified");
        Some(record::word(&evidence, "dump-name")?.to_owned())
    } else {
        let moved = host.open_artifact(DUMP)?.examine()?;
        host.evidence(DUMP)?.check_transfer(DUMP, &moved)?;
        None
    };
    Ok(Recorded {
        log,
        schema: record::word(&evidence, "schema")?.to_owned(),
        in_place,
    })
}

pub(crate) fn restore(host: &dyn Host) -> Result<()> {
    let recorded = verify(host)?;
    let schema = host.required("schema")?;
    if !recorded.schema.eq_ignore_ascii_case(&schema) {
        return Err(Error::invalid(format!(
            "the snapshot is of schema `{}`, and parameter `schema` is `{schema}`: nothing was changed",
            recorded.schema
        )));
    }
    let job = names::of_this_run(host)?;
    let server = Server::find(host)?;
    let answers = server.ask("describe-schema", &[])?;
    check_ready(host, &answers)?;
    let tables = answers.number("tables")?;
    if tables > 0 {
        host.warn(&format!(
            "schema `{schema}` has {tables} tables: those that the backup has too are replaced, other objects that exist are left"
        ));
    }
    let workers = workers(host)?;
    if recorded.in_place.is_none() {
        host.step("copy-in", || host.copy_in(DUMP, server.pod(), "dump"))
            .context(
                "the dump did not get into the pod's folder, and nothing of the schema was changed",
            )?;
    }
    let log = host
        .step("import", || {
            let holes = [("job", job.as_str())];
            let file = recorded.in_place.as_deref().unwrap_or_default();
            let in_place = [holes[0], ("file", file), ("workers", &workers)];
            let (command, holes) = if recorded.in_place.is_none() {
                ("import", &holes[..])
            } else {
                ("import-in-place", &in_place[..])
            };
            let (text, exit_code) = server.run(command, "impdp", holes)?;
            PumpLog::read(command, &text, exit_code, IMPORT_PASSES)
        })
        .context(format!(
            "the import into schema `{schema}` did not end well, so the schema is half restored: tables that were imported are the backup's, one that was dropped for it may be missing, others are as they were; restore again before it is used"
        ))?;
    compare(host, &schema, &recorded.log, &log)
}

/// Every table that was exported must have been imported with as many rows.
fn compare(host: &dyn Host, schema: &str, exported: &PumpLog, imported: &PumpLog) -> Result<()> {
    let mut wrong: Vec<String> = exported
        .tables
        .iter()
        .filter_map(|(table, rows)| match imported.tables.get(table) {
            Some(found) if found == rows => None,
            Some(found) => Some(format!(
                "{} has {found} rows where the backup has {rows}",
                shown(table)
            )),
            None => Some(format!("{} was not imported", shown(table))),
        })
        .collect();
    if !wrong.is_empty() {
        let count = wrong.len();
        wrong.truncate(5);
        return Err(Error::failed(
            "not-proven",
            format!(
                "schema `{schema}` was imported to the end, but {count} tables are not what was exported: {}",
                wrong.join(", ")
            ),
        ));
    }
    if !imported.judgement.warnings.is_empty() {
        host.log(
            Level::Warn,
            &format!(
                "objects that were there already were left as they are, or do not compile: {}",
                imported.judgement.passed()
            ),
        );
    }
    host.info(&format!(
        "schema `{schema}` has the {} tables with {} rows of its evidence",
        exported.tables.len(),
        exported.rows()
    ));
    Ok(())
}
