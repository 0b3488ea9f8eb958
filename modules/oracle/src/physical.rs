//! RMAN: the server writes its backup on its own side, and this keeps the record of it.
//!
//! The artifact holds no block of the database. Must never record a backup of which one command
//! reported an error, or one that the control file does not know piece by piece.

use std::collections::BTreeSet;

use cofferdam_guest_sdk::{Error, Evidence, Host, Result};

use crate::answers::Database;
use crate::codes::{Judgement, RMAN_PASSES};
use crate::record::{self, shown};
use crate::server::{Server, State};
use crate::transcript::{self, Piece, TRAILER, Transcript};
use crate::{Method, evidence, names};

/// What RMAN said, one command after the other.
pub(crate) const LOG: &str = "rman.log";
/// The pieces, `bytes`, a tab and the name on the server's side; one a line.
pub(crate) const PIECES: &str = "pieces.txt";

/// How many pieces the evidence names itself; all are in the artifact.
const NAMED: usize = 24;

/// What a restore needs to know of a backup.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) tag: String,
    /// The first change whose redo was kept.
    pub(crate) from_scn: u64,
    /// The first change that a restore does not have.
    pub(crate) until_scn: u64,
    pub(crate) database_id: u64,
    pub(crate) database_name: String,
    /// The change at which the incarnation of the backup began.
    pub(crate) incarnation_began: u64,
    pub(crate) data_files: u64,
    pub(crate) pieces: Vec<String>,
}

pub(crate) fn backup(host: &dyn Host) -> Result<()> {
    let tag = names::of_this_run(host)?;
    let folder = host.required("backup-folder")?;
    if folder != "default" && host.parsed::<u64>("parallelism")? == 0 {
        return Err(Error::invalid(
            "parameter `backup-folder` names a folder, but `parallelism` is 0: the folder goes with channels of our own, so set `parallelism` to 1 or more",
        ));
    }
    let server = Server::find(host)?;
    let state = server.state()?;
    if state != State::Open {
        return Err(Error::failed(
            "not-open",
            format!(
                "the instance is {}, so nothing was kept: have it opened (ORA-01034 is what its clients see when it is down), or finish an interrupted restore",
                state.word()
            ),
        ));
    }
    let before = Database::of(&server.ask("describe", &[])?)?;
    check_can_be_kept(&before)?;

    let kept = write_pieces(host, &server, &tag, &before);
    let Kept { log, after, pieces } = kept.map_err(|error| {
        error.context(format!(
            "the backup failed and is not recorded; what was written of it is on the server's side under tag `{tag}` (RMAN: `delete backup tag '{tag}'`)"
        ))
    })?;
    let incarnation = before.current()?;
    let total: u64 = pieces.iter().map(|(_, bytes)| bytes).sum();
    let judgement = Judgement::of(&log, RMAN_PASSES);
    let mut evidence = evidence(Method::Rman)
        .with(
            "kept-where",
            "on the server's side; this snapshot holds the record, not the pieces",
        )
        .with("db-name", shown(&before.name))
        .with("db-unique-name", shown(&before.unique_name))
        .with("dbid", before.id)
        .with("server-version", shown(&before.version))
        .with("client", shown(&server.client))
        .with("log-mode", shown(&before.log_mode))
        .with("incarnation", incarnation.number)
        .with("resetlogs-scn", incarnation.began)
        .with("data-files", before.data_files)
        .with("from-scn", before.scn)
        .with("scn", after.scn)
        .with("tag", &tag)
        .with("pieces", pieces.len())
        .with("pieces-bytes", total)
        .with("validated", host.required("validate")?)
        .with("passed-codes", judgement.passed())
        .with("exit-code", 0);
    for (number, (handle, _)) in pieces.iter().take(NAMED).enumerate() {
        evidence.set(&format!("piece-{}", number + 1), shown(handle));
    }
    for said in &judgement.warnings {
        host.warn(&format!("RMAN said {}: {}", said.code, said.text));
    }
    let list: String = pieces
        .iter()
        .map(|(handle, bytes)| format!("{bytes}\t{handle}\n"))
        .collect();
    record::keep(
        host,
        PIECES,
        &list,
        Evidence::new().with("pieces", pieces.len()),
    )?;
    record::keep(host, LOG, &log, evidence)?;
    host.info(&format!(
        "the server kept database `{}` in {} pieces of {total} bytes under tag `{tag}`, up to change {}",
        shown(&before.name),
        pieces.len(),
        after.scn
    ));
    Ok(())
}

fn check_can_be_kept(database: &Database) -> Result<()> {
    if database.log_mode != "ARCHIVELOG" {
        return Err(Error::failed(
            "no-archivelog",
            format!(
                "database `{}` runs in {} mode, in which RMAN cannot back it up while it is open: have it put into ARCHIVELOG mode, or use method `datapump`",
                shown(&database.name),
                shown(&database.log_mode)
            ),
        ));
    }
    if database.role != "PRIMARY" {
        return Err(Error::failed(
            "not-primary",
            format!(
                "database `{}` is a {}: bind `connect` to the primary, whose redo this backup needs",
                shown(&database.name),
                shown(&database.role)
            ),
        ));
    }
    Ok(())
}

struct Kept {
    log: String,
    after: Database,
    pieces: Vec<(String, u64)>,
}

/// Lets the server write everything and holds what RMAN said against what the control file knows.
fn write_pieces(host: &dyn Host, server: &Server, tag: &str, before: &Database) -> Result<Kept> {
    let data = host.step("backup-database", || {
        let data = server.rman("backup-database", &[("run-tag", tag)])?;
        data.require("backup-database", "Finished backup at")?;
        check_database_id("backup-database", &data, before.id)?;
        if data
            .pieces()
            .iter()
            .all(|piece| piece.tag.as_deref() != Some(tag))
        {
            return Err(Error::failed(
                "no-pieces",
                format!("RMAN reported no error, but no piece with tag `{tag}` either"),
            ));
        }
        Ok(data)
    })?;
    let after = Database::of(&server.ask("describe", &[])?)?;
    check_same_life(before, &after)?;
    let from = before.scn.to_string();
    let until = after.scn.to_string();
    let redo = host.step("backup-logs", || {
        let redo = server.rman("backup-logs", &[("run-tag", tag), ("from-scn", &from)])?;
        redo.require("backup-logs", "Finished backup at")?;
        Ok(redo)
    })?;
    let mut log = format!("{}\n{}", data.text, redo.text);
    if host.required("validate")? == "yes" {
        let holes = [("run-tag", tag), ("from-scn", &from), ("until-scn", &until)];
        let read = host.step("validate", || {
            let read = server.rman("validate", &holes)?;
            read.require("validate", "Finished restore at")?;
            Ok(read)
        })?;
        log = format!("{log}\n{}", read.text);
    }
    let mut written = data.pieces();
    written.extend(redo.pieces());
    let pieces = known_pieces(server, tag, &written)?;
    Ok(Kept { log, after, pieces })
}

/// RMAN says which database it is connected to; it must be the one that was asked by SQL.
fn check_database_id(command: &str, transcript: &Transcript, id: u64) -> Result<()> {
    if transcript.text.contains(&format!("(DBID={id}")) {
        return Ok(());
    }
    Err(Error::failed(
        "another-database",
        format!(
            "command `{command}` was not connected to the database with DBID {id} that SQL*Plus is connected to"
        ),
    ))
}

fn check_same_life(before: &Database, after: &Database) -> Result<()> {
    let same = before.id == after.id && before.current()? == after.current()?;
    if same && after.scn >= before.scn && before.scn > 0 {
        return Ok(());
    }
    Err(Error::failed(
        "another-database",
        format!(
            "the database was another one after the backup than before: DBID {} at change {}, then DBID {} at change {}",
            before.id, before.scn, after.id, after.scn
        ),
    ))
}

/// The pieces of this run as the control file knows them, each available, and none of those missing
/// that RMAN said it wrote.
fn known_pieces(server: &Server, tag: &str, written: &[Piece]) -> Result<Vec<(String, u64)>> {
    let answers = server.ask("pieces", &[("run-tag", tag)])?;
    let mut known = Vec::new();
    for packed in answers.all("piece") {
        let mut words = packed.splitn(3, '|');
        let (status, bytes, handle) = (words.next(), words.next(), words.next());
        let bytes = bytes.and_then(|bytes| bytes.parse::<u64>().ok());
        match (status, bytes, handle) {
            (Some("A"), Some(bytes), Some(handle)) => known.push((handle.to_owned(), bytes)),
            _ => {
                return Err(Error::failed(
                    "piece-not-available",
                    format!(
                        "the control file has a piece that is not available: `{}`",
                        shown(packed)
                    ),
                ));
            }
        }
    }
    let handles: BTreeSet<&str> = known.iter().map(|(handle, _)| handle.as_str()).collect();
    let unknown: Vec<String> = written
        .iter()
        .filter(|piece| piece.tag.as_deref() == Some(tag))
        .filter(|piece| !handles.contains(piece.handle.as_str()))
        .map(|piece| format!("`{}`", shown(&piece.handle)))
        .collect();
    if !unknown.is_empty() {
        return Err(Error::failed(
            "unknown-pieces",
            format!(
                "RMAN wrote {}, which the control file does not know under tag `{tag}`",
                unknown.join(", ")
            ),
        ));
    }
    Ok(known)
}

/// Proves the record: digests, transcripts whole and without errors, every piece listed. It cannot
/// see the pieces, which are on the server's side.
pub(crate) fn verify(host: &dyn Host) -> Result<Recorded> {
    let (log, evidence) = record::read(host, LOG)?;
    let (list, _) = record::read(host, PIECES)?;
    let judgement = Judgement::of(&log, RMAN_PASSES);
    if !judgement.errors.is_empty() {
        return Err(judgement.error(&format!("artifact `{LOG}`")));
    }
    let validated = record::word(&evidence, "validated")? == "yes";
    let ends = log.lines().filter(|line| line.trim() == TRAILER).count();
    let commands = if validated { 3 } else { 2 };
    if ends != commands {
        return Err(Error::failed(
            "no-trailer",
            format!("artifact `{LOG}` has {ends} times `{TRAILER}` where {commands} commands ran"),
        ));
    }
    let pieces: Vec<String> = list
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(_, handle)| handle.to_owned())
        .collect();
    let tag = record::word(&evidence, "tag")?.to_owned();
    let listed: BTreeSet<&str> = pieces.iter().map(String::as_str).collect();
    let of_ours = |piece: &Piece| piece.tag.as_deref() == Some(tag.as_str());
    let missing = transcript::pieces(&log)
        .into_iter()
        .filter(of_ours)
        .find(|piece| !listed.contains(piece.handle.as_str()));
    if let Some(piece) = missing {
        return Err(Error::failed(
            "unknown-pieces",
            format!(
                "artifact `{PIECES}` does not list `{}`, which the log says was written",
                shown(&piece.handle)
            ),
        ));
    }
    if pieces.is_empty() || record::number(&evidence, "pieces")? != pieces.len() as u64 {
        return Err(Error::failed(
            "unknown-pieces",
            format!(
                "artifact `{PIECES}` lists {} pieces, and the evidence says otherwise",
                pieces.len()
            ),
        ));
    }
    Ok(Recorded {
        from_scn: record::number(&evidence, "from-scn")?,
        until_scn: record::number(&evidence, "scn")?,
        database_id: record::number(&evidence, "dbid")?,
        database_name: record::word(&evidence, "db-name")?.to_owned(),
        incarnation_began: record::number(&evidence, "resetlogs-scn")?,
        data_files: record::number(&evidence, "data-files")?,
        tag,
        pieces,
    })
}
