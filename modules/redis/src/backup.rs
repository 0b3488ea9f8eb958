//! The way out: BGSAVE, awaited and asked for its status, then the file it wrote.

use cofferdam_guest_sdk::{Context, Error, Evidence, Host, NewArtifact, Pod, Result, Transferred};

use crate::info::Info;
use crate::server::{EVERY, Server};
use crate::{ARTIFACT, rdb, set_aside};

/// A save point may put another file in place between check and copy. Twice is bad luck; a server
/// that does it more often cannot be counted exactly, and the evidence says so.
const TRIES: u32 = 3;

pub(crate) fn backup(host: &dyn Host) -> Result<()> {
    let target = host.target("server")?;
    let server = Server::find(host, &*target)?;
    server.check_place(host)?;
    let before = server.info()?;
    if set_aside::has_leftovers(&*server.pod)? {
        host.warn("files of an interrupted restore lie beside the dump (`dump.rdb.before-restore` or its like): what is backed up now is what the server has in memory");
    }

    let saved = host.step("save", || save(host, &server))?;
    let copy = host.step("copy", || copy(host, &*server.pod, &server))?;
    let head = rdb::read_head(&copy.moved.head)?;
    let checksum = rdb::read_tail(&copy.moved.tail)?;
    check_is_new(&head, &before)?;

    let keys = saved.keys();
    let mut evidence = Evidence::new()
        .with("server-version", saved.version())
        .with("format-version", head.version)
        .with("checksum", checksum);
    if let Some(written) = head.written {
        evidence.set("written", written);
    }
    match copy.checked {
        Checked::Counted { keys, expiring } => {
            evidence.set("keys", keys);
            evidence.set("keys-expiring", expiring);
            evidence.set("keys-counted-in", "dump");
            evidence.set("checksum-checked", "in the pod");
        }
        Checked::Replaced => {
            host.warn("the server wrote dump after dump while this one was copied: its keys were counted in the server");
            record_server_keys(
                &mut evidence,
                keys.all,
                keys.expiring,
                "not before verify: the dump was replaced",
            );
        }
        Checked::NoTool => {
            host.info("the container has no program that checks a dump: keys were counted in the server, the checksum is checked by verify and before a restore");
            record_server_keys(
                &mut evidence,
                keys.all,
                keys.expiring,
                "not before verify: no program in the pod",
            );
        }
    }
    copy.artifact.commit(&evidence.with_transfer(&copy.moved))?;
    host.info(&format!(
        "kept {} bytes of `{}`",
        copy.moved.bytes,
        saved.version()
    ));
    Ok(())
}

fn record_server_keys(evidence: &mut Evidence, keys: u64, expiring: u64, checked: &str) {
    evidence.set("keys", keys);
    evidence.set("keys-expiring", expiring);
    evidence.set("keys-counted-in", "server");
    evidence.set("checksum-checked", checked);
}

/// Lets the server write a dump and waits for it. Another child of the server is waited for first:
/// what it writes may be older than this run.
fn save(host: &dyn Host, server: &Server) -> Result<Info> {
    let deadline = host.duration("save-deadline")?;
    host.wait_until("the server to begin a BGSAVE", deadline, EVERY, || {
        if is_busy(&server.info()?) {
            return Ok(None);
        }
        let said = server.ask("save", &[])?;
        let said = said.trim();
        if said.starts_with("Background saving started") {
            return Ok(Some(()));
        }
        // A save point or a rewrite was quicker.
        if said.contains("in progress") {
            return Ok(None);
        }
        Err(Error::failed(
            "save-failed",
            format!("the server answered `{said}` to `BGSAVE`"),
        ))
    })?;
    let info = host.wait_until("the BGSAVE to end", deadline, EVERY, || {
        let info = server.info()?;
        Ok((!info.is_on("rdb_bgsave_in_progress")).then_some(info))
    })?;
    match info.get("rdb_last_bgsave_status") {
        Some("ok") => Ok(info),
        status => Err(Error::failed(
            "save-failed",
            format!(
                "the server's BGSAVE ended with status `{}`: its log says why",
                status.unwrap_or("?")
            ),
        )),
    }
}

fn is_busy(info: &Info) -> bool {
    info.is_on("rdb_bgsave_in_progress") || info.is_on("aof_rewrite_in_progress")
}

struct Copied {
    artifact: NewArtifact,
    moved: Transferred,
    checked: Checked,
}

#[derive(Debug, PartialEq, Eq)]
enum Checked {
    /// The pod's own program read this very file to its checksum.
    Counted { keys: u64, expiring: u64 },
    /// Another file took its place between check and copy, every time.
    Replaced,
    /// The container has no such program.
    NoTool,
}

/// Checks the file in the pod, then copies it. A file that is replaced meanwhile is still copied
/// whole, as the server replaces it by renaming; only the check then speaks of another one.
fn copy(host: &dyn Host, pod: &dyn Pod, server: &Server) -> Result<Copied> {
    for attempt in 1..=TRIES {
        let info = server.info()?;
        let counted = check_in_pod(pod)?;
        let (artifact, moved) =
            host.copy_out(pod, "dump", ARTIFACT, "application/vnd.redis.rdb")?;
        let after = server.info()?;
        let same = info.get("rdb_last_save_time") == after.get("rdb_last_save_time")
            && info.get("rdb_saves") == after.get("rdb_saves")
            && !info.is_on("rdb_bgsave_in_progress");
        let checked = match counted {
            None => Checked::NoTool,
            Some((keys, expiring)) if same => Checked::Counted { keys, expiring },
            Some(_) => Checked::Replaced,
        };
        if checked != Checked::Replaced || attempt == TRIES {
            return Ok(Copied {
                artifact,
                moved,
                checked,
            });
        }
    }
    Err(Error::failed("no-attempt", "the dump was never copied"))
}

/// Keys and keys with a time to live, as the pod's own program reads them; `None` without one.
fn check_in_pod(pod: &dyn Pod) -> Result<Option<(u64, u64)>> {
    let Some(outcome) = pod.run_if_there("check-dump", &[])? else {
        return Ok(None);
    };
    let said = String::from_utf8_lossy(&outcome.stdout).into_owned();
    if outcome.exit_code != 0 {
        let last = said
            .lines()
            .rfind(|line| !line.trim().is_empty())
            .unwrap_or("nothing");
        return Err(Error::failed(
            "bad-checksum",
            format!(
                "the pod's own check of the dump ended with {}: {last}",
                outcome.exit_code
            ),
        ));
    }
    let number = |wanted: &str| -> Option<u64> {
        let line = said.lines().find_map(|line| line.strip_suffix(wanted))?;
        line.rsplit(' ').next()?.parse().ok()
    };
    match (number(" keys read"), number(" expires")) {
        (Some(keys), Some(expiring)) => Ok(Some((keys, expiring))),
        _ => Err(Error::failed(
            "unknown-answer",
            "the pod's own check of the dump did not say how many keys it read",
        ))
        .context("failed to check the dump in the pod"),
    }
}

/// A dump that is older than the one before this run's BGSAVE is not the one that was asked for.
fn check_is_new(head: &rdb::Head, before: &Info) -> Result<()> {
    match (head.written, before.number("rdb_last_save_time")) {
        (Some(written), Some(last)) if written < last => Err(Error::failed(
            "old-dump",
            format!(
                "the dump that was copied is of {written}, older than the server's last save at {last}: it is another file"
            ),
        )),
        _ => Ok(()),
    }
}
