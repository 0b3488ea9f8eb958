//! The way back, in an order in which every step can fail without losing both old and new data.
//!
//! 1. The artifact is read to its checksum before anything is touched.
//! 2. By a lease on its ConfigMap the server runs without save points and append-only file, and is
//!    asked whether it does: else its shutdown would overwrite what is copied, or it would load
//!    another file.
//! 3. Old files aside, new file in, restart, keys compared. A failure up to here is undone.
//! 4. The append-only file is made anew by the server from what it loaded, and awaited.
//! 5. The lease is put back, the server restarted, keys compared again, old files removed.

use cofferdam_guest_sdk::{Context, Error, Evidence, Host, Lease, Result, Target};

use crate::configuration;
use crate::info::{Info, Keys};
use crate::server::{EVERY, Server};
use crate::set_aside::SetAside;
use crate::{ARTIFACT, rdb};

pub(crate) fn restore(host: &dyn Host) -> Result<()> {
    let expected = Expected::of(&host.evidence(ARTIFACT)?);
    host.step("check", || rdb::examine(host, ARTIFACT))?;
    let own = OwnConfiguration::read(host)?;

    let target = host.target("server")?;
    let server = Server::find(host, &*target)?;
    server.check_place(host)?;
    server.check_append_only_place(host)?;
    let there = server.info()?.keys();
    if there.all > 0 {
        host.warn(&format!(
            "`{}` has {} keys, which are replaced",
            target.name(),
            there.all
        ));
    }

    let own = OwnConfiguration {
        takes_snapshots: !server.setting("save")?.is_empty(),
        ..own
    };

    let lease = own.switch_off(host)?;
    if let Err(error) = run_without_persistence(host, &*target, &own) {
        return Err(give_up(host, &*target, lease, None, error));
    }
    let aside = match target.pod().and_then(|pod| SetAside::all(host, &*pod)) {
        Ok(aside) => aside,
        Err(error) => return Err(give_up(host, &*target, lease, None, error)),
    };
    let loaded = exchange(host, &*target, &expected).and_then(|(server, keys)| {
        if own.keeps_append_only {
            write_append_only_file(host, &server)?;
        }
        Ok(keys)
    });
    match loaded {
        Ok(keys) => finish(host, &*target, lease, &own, &aside, keys),
        Err(error) => Err(give_up(host, &*target, lease, Some(&aside), error)),
    }
}

/// The ConfigMap of the server as the site has it.
#[derive(Debug)]
struct OwnConfiguration {
    name: String,
    key: String,
    text: String,
    keeps_append_only: bool,
    /// Whether the server had save points before anything was changed.
    takes_snapshots: bool,
}

impl OwnConfiguration {
    fn read(host: &dyn Host) -> Result<Self> {
        let (name, key) = (
            host.required("configuration")?,
            host.required("configuration-key")?,
        );
        let mut map = host
            .config_map("configuration", &name)
            .context(format!("failed to read ConfigMap `{name}`"))?;
        let text = map
            .data
            .remove(&key)
            .ok_or_else(|| Error::NotFound(format!("ConfigMap `{name}` has no key `{key}`")))?;
        let keeps_append_only = configuration::keeps_append_only(&text);
        Ok(Self {
            name,
            key,
            text,
            keeps_append_only,
            takes_snapshots: false,
        })
    }

    fn switch_off(&self, host: &dyn Host) -> Result<Lease> {
        let off = configuration::without_persistence(&self.text);
        host.edit_object("configuration", &self.name, &[(&self.key, &off)])
            .context(format!(
                "failed to switch persistence off in ConfigMap `{}`",
                self.name
            ))
    }
}

/// Restarts the server and refuses to go on unless it really runs as the lease says.
fn run_without_persistence(
    host: &dyn Host,
    target: &dyn Target,
    own: &OwnConfiguration,
) -> Result<()> {
    let server = host.step("persistence-off", || Server::restarted(host, target))?;
    let save = server.setting("save")?;
    if !save.is_empty() {
        return Err(Error::failed(
            "save-points-on",
            format!(
                "the server still has save points `{save}` after it was restarted with `save \"\"` in ConfigMap `{}`: its shutdown would overwrite the copied dump, so nothing was copied",
                own.name
            ),
        ));
    }
    let append_only = server.setting("appendonly")?;
    if append_only != "no" {
        return Err(Error::failed(
            "append-only-on",
            format!(
                "the server still has `appendonly {append_only}` after it was restarted with `appendonly no` in ConfigMap `{}`: it would not load the copied dump, so nothing was copied",
                own.name
            ),
        ));
    }
    Ok(())
}

/// Puts the new file in its place and lets the server load it.
fn exchange(host: &dyn Host, target: &dyn Target, expected: &Expected) -> Result<(Server, Keys)> {
    let pod = target.pod()?;
    let moved = host.step("copy", || host.copy_in(ARTIFACT, &*pod, "dump"))?;
    let server = host.step("load", || Server::restarted(host, target))?;
    let size = server.pod.stat("dump")?.map(|file| file.size);
    if size != Some(moved.bytes) {
        return Err(Error::failed(
            "dump-overwritten",
            format!(
                "the copied dump had {} bytes, and after the restart there are {}: the server overwrote it when it shut down",
                moved.bytes,
                size.unwrap_or(0)
            ),
        ));
    }
    let info = server.info()?;
    let keys = expected.check(host, &info)?;
    host.info(&format!("`{}` loaded {} keys", target.name(), keys.all));
    Ok((server, keys))
}

/// Lets the server write its append-only file from what it loaded.
///
/// Switching it on, rather than a bare BGREWRITEAOF while it is off: what clients write from now on
/// is in it too, and one command serves Redis 6 with its one file and Redis 7 with its folder.
fn write_append_only_file(host: &dyn Host, server: &Server) -> Result<()> {
    host.step("rewrite", || {
        server
            .tell("append-only-on", "OK")
            .context("failed to switch the append-only file on")?;
        let deadline = host.duration("rewrite-deadline")?;
        host.wait_until(
            "the append-only file to be rewritten",
            deadline,
            EVERY,
            || {
                let info = server.info()?;
                if info.is_on("aof_rewrite_in_progress") || info.is_on("aof_rewrite_scheduled") {
                    return Ok(None);
                }
                match info.get("aof_last_bgrewrite_status") {
                    Some("ok") => Ok(info.is_on("aof_enabled").then_some(())),
                    status => Err(Error::failed(
                        "rewrite-failed",
                        format!(
                            "the rewrite of the append-only file ended with status `{}`",
                            status.unwrap_or("?")
                        ),
                    )),
                }
            },
        )
    })
}

/// Puts the configuration back and proves that the data survive it.
fn finish(
    host: &dyn Host,
    target: &dyn Target,
    lease: Lease,
    own: &OwnConfiguration,
    aside: &SetAside,
    loaded: Keys,
) -> Result<()> {
    let kept =
        "the new data are loaded, the old ones lie aside as `dump.rdb.before-restore` and its like";
    lease.release().context(format!(
        "{kept}; failed to put ConfigMap `{}` back",
        own.name
    ))?;
    let server = host
        .step("persistence-on", || Server::restarted(host, target))
        .context(format!(
            "{kept}; the server does not come back under its own configuration"
        ))?;
    let append_only = server.setting("appendonly")?;
    if (append_only == "yes") != own.keeps_append_only {
        return Err(Error::failed(
            "not-proven",
            format!(
                "{kept}; the server runs with `appendonly {append_only}`, which is not what its ConfigMap says"
            ),
        ));
    }
    // One that was not really restarted still runs as the lease had it, and would never save again.
    if own.takes_snapshots && server.setting("save")?.is_empty() {
        return Err(Error::failed(
            "not-proven",
            format!(
                "{kept}; the server runs without save points, which it had before: restart `{}`",
                target.name()
            ),
        ));
    }
    let found = server.info()?.keys();
    if found.all < loaded.all.saturating_sub(loaded.expiring) {
        return Err(Error::failed(
            "not-proven",
            format!(
                "{kept}; under its own configuration the server has {} keys where it had loaded {}",
                found.all, loaded.all
            ),
        ));
    }
    aside
        .discard(&*server.pod)
        .context("failed to remove the old files")?;
    host.info(&format!(
        "`{}` has {} keys under its own configuration",
        target.name(),
        found.all
    ));
    Ok(())
}

/// Undoes what was done so far and says how that went, in front of why.
fn give_up(
    host: &dyn Host,
    target: &dyn Target,
    lease: Lease,
    aside: Option<&SetAside>,
    error: Error,
) -> Error {
    host.warn(&format!(
        "giving up the restore of `{}`: {error}",
        target.name()
    ));
    let undo = || -> Result<()> {
        if let Some(aside) = aside {
            aside.put_back(&*target.pod()?)?;
        }
        lease.release()?;
        Server::restarted(host, target).map(|_| ())
    };
    match undo() {
        Ok(()) => error.context("the restore failed and was undone, the old data are back"),
        Err(undoing) => error.context(format!(
            "the restore failed, and so did undoing it ({undoing}): the old data are `dump.rdb.before-restore` and its like where these exist, else in their place"
        )),
    }
}

/// What the evidence says of the keys.
#[derive(Debug, Clone, Copy)]
struct Expected {
    keys: Option<Keys>,
    /// Whether the keys were counted in the dump itself, and not in a server that went on.
    is_exact: bool,
}

impl Expected {
    fn of(evidence: &Evidence) -> Self {
        let keys = evidence.number("keys").map(|all| Keys {
            all,
            expiring: evidence.number("keys-expiring").unwrap_or(0),
        });
        Self {
            keys,
            is_exact: evidence.get("keys-counted-in") == Some("dump"),
        }
    }

    /// Holds what a server loaded against the evidence. Keys with a time to live may be gone.
    fn check(&self, host: &dyn Host, info: &Info) -> Result<Keys> {
        let found = info.keys();
        let Some(expected) = self.keys else {
            host.warn("the evidence does not say how many keys there were: they are not compared");
            return Ok(found);
        };
        // Redis 7 says itself what it found in the file.
        let read = match (
            info.number("rdb_last_load_keys_loaded"),
            info.number("rdb_last_load_keys_expired"),
        ) {
            (Some(loaded), Some(expired)) if self.is_exact => Some(loaded + expired),
            _ => None,
        };
        let too_few = found.all < expected.all.saturating_sub(expected.expiring);
        let is_wrong = match read {
            Some(read) => read != expected.all,
            None if self.is_exact => too_few,
            None => expected.all > 0 && found.all == 0,
        };
        if is_wrong {
            return Err(Error::failed(
                "not-proven",
                format!(
                    "the server has {} keys after loading, but the backup has {} of which {} may have expired",
                    read.unwrap_or(found.all),
                    expected.all,
                    expected.expiring
                ),
            ));
        }
        if too_few || found.all > expected.all {
            host.warn(&format!("the server has {} keys now where the backup counted {}: clients write, or wrote then", found.all, expected.all));
        }
        Ok(found)
    }
}
