//! RMAN's way back: validated first, then restored and recovered until the recorded change, then
//! opened with `RESETLOGS`.
//!
//! Every failure says in which state the database is left. A restore that was killed anywhere is
//! begun again from what is found. Must never stop a database before its pieces were found, nor open
//! one that was not recovered.

use cofferdam_guest_sdk::{Error, Host, Result};

use crate::answers::Database;
use crate::physical::{self, Recorded};
use crate::record::shown;
use crate::server::{Server, State};
use crate::transcript;

/// In which state a failure leaves the database.
const AS_IT_WAS: &str =
    "the restore stopped before anything was changed; the database is as it was";
const STOPPING: &str = "the restore stopped while the database was being stopped or mounted: no data file was touched, it may be down or mounted, and `alter database open` brings it back";
const HALF_RESTORED: &str = "the restore broke off among the data files: the database is mounted, some files are the backup's and some are not, and it must not be opened; restore again";
const HALF_RECOVERED: &str = "the data files are the backup's, but redo was not applied up to the recorded change: the database is mounted and must not be opened; restore again";
const NOT_OPENED: &str = "the database is restored and recovered to the recorded change, but was not opened: look at why, then restore again or `alter database open resetlogs`";
const NOT_PROVEN: &str =
    "the database is open with RESETLOGS, but that it is what was backed up is not proven";

pub(crate) fn restore(host: &dyn Host) -> Result<()> {
    let recorded = physical::verify(host)?;
    let server = Server::find(host)?;
    let state = server.state().map_err(at(AS_IT_WAS))?;
    let tag = recorded.tag.as_str();
    host.info(&format!("the instance is {}", state.word()));

    let mounted = mount_what_is_down(host, &server, state).map_err(at(STOPPING))?;
    let untouched = if mounted { STOPPING } else { AS_IT_WAS };
    let found = Database::of(&server.ask("describe", &[]).map_err(at(untouched))?)?;
    let incarnation = check_is_ours(&found, &recorded).map_err(at(untouched))?;
    find_pieces(&server, &recorded).map_err(at(untouched))?;

    let same_life = found.current()?.began == recorded.incarnation_began;
    if same_life {
        validate(host, &server, &recorded).map_err(at(untouched))?;
        stop(host, &server, state).map_err(at(STOPPING))?;
    } else {
        // The recorded change lies before a RESETLOGS: RMAN looks at it only after the database was
        // mounted and taken back to that incarnation.
        host.info(&format!(
            "the database was opened with RESETLOGS since: it is taken back to incarnation {incarnation}"
        ));
        stop(host, &server, state).map_err(at(STOPPING))?;
        let looked =
            go_back(host, &server, incarnation).and_then(|()| validate(host, &server, &recorded));
        if let Err(error) = looked {
            return Err(undo(host, &server, state, &found, error));
        }
    }

    host.warn(&format!(
        "database `{}`: everything after change {} is given up from here on",
        shown(&recorded.database_name),
        recorded.until_scn
    ));
    let until = recorded.until_scn.to_string();
    host.step("restore-database", || {
        let holes = [("run-tag", tag), ("until-scn", until.as_str())];
        server
            .rman("restore-database", &holes)?
            .require("restore-database", "Finished restore at")
    })
    .map_err(at(HALF_RESTORED))?;
    host.step("recover-database", || {
        server
            .rman("recover-database", &[("until-scn", &until)])?
            .require("recover-database", "Finished recover at")
    })
    .map_err(at(HALF_RECOVERED))?;
    host.step("open-resetlogs", || {
        server.rman("open-resetlogs", &[]).map(|_| ())
    })
    .map_err(at(NOT_OPENED))?;
    if found.is_container {
        server.rman("open-pluggable", &[]).map_err(at(
            "the container database is open with RESETLOGS, but not all of its pluggable databases",
        ))?;
    }
    prove(host, &server, &recorded).map_err(at(NOT_PROVEN))
}

/// For `map_err`: says in which state the database is.
fn at(state: &'static str) -> impl FnOnce(Error) -> Error {
    move |error| error.context(state)
}

/// An instance that is down cannot be asked for anything: mounting it changes no file.
fn mount_what_is_down(host: &dyn Host, server: &Server, state: State) -> Result<bool> {
    let command = match state {
        State::Down => "mount-from-down",
        State::Started => "mount-from-started",
        State::Mounted | State::Open => return Ok(false),
    };
    host.step("mount", || server.rman(command, &[]).map(|_| true))
}

/// The same database, and the number of the incarnation that the backup is of.
fn check_is_ours(found: &Database, recorded: &Recorded) -> Result<u64> {
    if found.id != recorded.database_id {
        return Err(Error::failed(
            "another-database",
            format!(
                "the backup is of database `{}` with DBID {}, but `connect` leads to `{}` with DBID {}",
                shown(&recorded.database_name),
                recorded.database_id,
                shown(&found.name),
                found.id
            ),
        ));
    }
    let ours = found
        .incarnations
        .iter()
        .find(|one| one.began == recorded.incarnation_began);
    ours.map(|one| one.number).ok_or_else(|| {
        Error::failed(
            "unknown-incarnation",
            format!(
                "the control file does not know the incarnation that began at change {}: it is newer than the backup's; restore the control file of tag `{}` by hand first (its pieces are in `{}`)",
                recorded.incarnation_began,
                recorded.tag,
                physical::PIECES
            ),
        )
    })
}

/// `CROSSCHECK`: every recorded piece must be there.
fn find_pieces(server: &Server, recorded: &Recorded) -> Result<()> {
    let checked = server.rman("crosscheck", &[("run-tag", &recorded.tag)])?;
    let states = transcript::crosschecked(&checked.text);
    let mut missing = Vec::new();
    for piece in &recorded.pieces {
        match states.iter().find(|(handle, _)| handle == piece) {
            Some((_, state)) if state == "AVAILABLE" => {}
            Some((_, state)) => missing.push(format!("`{}` ({})", shown(piece), shown(state))),
            None => missing.push(format!("`{}` (not known)", shown(piece))),
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let (count, all) = (missing.len(), recorded.pieces.len());
    missing.truncate(5);
    Err(Error::failed(
        "pieces-missing",
        format!(
            "{count} of {all} pieces of tag `{}` are not on the server's side: {}. Bring them back, or choose another run",
            recorded.tag,
            missing.join(", ")
        ),
    ))
}

/// `RESTORE ... VALIDATE`: the server reads every block that the restore would need.
fn validate(host: &dyn Host, server: &Server, recorded: &Recorded) -> Result<()> {
    let (from, until) = (
        recorded.from_scn.to_string(),
        recorded.until_scn.to_string(),
    );
    let holes = [
        ("run-tag", recorded.tag.as_str()),
        ("from-scn", &from),
        ("until-scn", &until),
    ];
    host.step("validate", || {
        server
            .rman("validate", &holes)?
            .require("validate", "Finished restore at")
    })
}

/// Leaves the database mounted.
fn stop(host: &dyn Host, server: &Server, state: State) -> Result<()> {
    match state {
        State::Open => host.step("mount", || server.rman("mount-from-open", &[]).map(|_| ())),
        State::Down | State::Started | State::Mounted => Ok(()),
    }
}

fn go_back(host: &dyn Host, server: &Server, incarnation: u64) -> Result<()> {
    let number = incarnation.to_string();
    host.step("reset-incarnation", || {
        server
            .rman("reset-incarnation", &[("incarnation", &number)])
            .map(|_| ())
    })
}

/// Puts the database back to the incarnation and the state in which it was found. No data file was
/// touched.
fn undo(host: &dyn Host, server: &Server, state: State, found: &Database, error: Error) -> Error {
    let undone = found
        .current()
        .map(|current| current.number)
        .and_then(|number| go_back(host, server, number))
        .and_then(|()| match state {
            State::Open => server.rman("open-unchanged", &[]).map(|_| ()),
            State::Down | State::Started | State::Mounted => Ok(()),
        });
    match undone {
        Ok(()) if state == State::Open => error.context(
            "the restore stopped before a data file was touched; the database was stopped for it and is open again as it was",
        ),
        Ok(()) => error.context(
            "the restore stopped before a data file was touched; the database is mounted, in the incarnation in which it was found",
        ),
        Err(undoing) => error.context(format!(
            "the restore stopped before a data file was touched; the database is mounted and could not be put back ({undoing}): `reset database to incarnation` and `alter database open` bring it back"
        )),
    }
}

/// The new incarnation must come from the recorded one, and no data file may be missing.
fn prove(host: &dyn Host, server: &Server, recorded: &Recorded) -> Result<()> {
    let state = server.state()?;
    let now = Database::of(&server.ask("describe", &[])?)?;
    let current = now.current()?;
    let mut wrong = Vec::new();
    if state != State::Open || now.open_mode != "READ WRITE" {
        wrong.push(format!(
            "it is {} ({})",
            state.word(),
            shown(&now.open_mode)
        ));
    }
    if current.prior_began != recorded.incarnation_began {
        wrong.push(format!(
            "its incarnation comes from the one that began at change {}, not at {}",
            current.prior_began, recorded.incarnation_began
        ));
    }
    if now.data_files != recorded.data_files {
        wrong.push(format!(
            "it has {} data files where the backup has {}",
            now.data_files, recorded.data_files
        ));
    }
    if !wrong.is_empty() {
        return Err(Error::failed("not-proven", wrong.join(", ")));
    }
    host.info(&format!(
        "database `{}` is open as it was before change {}, in incarnation {}",
        shown(&now.name),
        recorded.until_scn,
        current.number
    ));
    Ok(())
}
