//! PostgreSQL by logical dump: a whole cluster as SQL, or one database in the custom format.
//!
//! A dump counts only with exit code 0 and the marks of its format. A restore passes over the errors
//! of a stated list and over no other. Must never feed a server anything but an artifact and the
//! fixed scripts of the manifest, and never see a password.

mod backup;
mod counts;
mod dump_format;
mod hex;
mod messages;
mod mounts;
mod restore;
mod server;
mod writers;

use cofferdam_guest_sdk::{DataSet, Error, Host, Result, export};

/// The data set: a server with all its databases, or one of them.
#[derive(Debug)]
pub struct Postgresql;

export!(Postgresql);

impl DataSet for Postgresql {
    fn backup(host: &dyn Host) -> Result<()> {
        backup::backup(host)
    }

    fn restore(host: &dyn Host) -> Result<()> {
        restore::restore(host)
    }

    fn verify(host: &dyn Host) -> Result<()> {
        let scope = Scope::of_snapshot(host)?;
        let moved = examine(host, scope)?;
        host.info(&format!(
            "`{}`: {moved} bytes are as their evidence says",
            scope.artifact()
        ));
        Ok(())
    }
}

/// What is kept as one artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// All databases and roles, as SQL.
    Cluster,
    /// One database, in the custom format.
    Database,
}

impl Scope {
    /// What the site wants to be kept.
    fn wanted(host: &dyn Host) -> Result<Self> {
        match host.required("scope")?.as_str() {
            "cluster" => Ok(Self::Cluster),
            "database" => Ok(Self::Database),
            other => Err(Error::invalid(format!(
                "parameter `scope` is `{other}`, which this module does not know"
            ))),
        }
    }

    /// What a snapshot has, whatever the site wants now.
    fn of_snapshot(host: &dyn Host) -> Result<Self> {
        let names = host.artifacts()?;
        [Self::Cluster, Self::Database]
            .into_iter()
            .find(|scope| names.iter().any(|name| name == scope.artifact()))
            .ok_or_else(|| {
                Error::NotFound(format!(
                    "the snapshot has no dump of this module: it has {}",
                    names.join(", ")
                ))
            })
    }

    fn artifact(self) -> &'static str {
        match self {
            Self::Cluster => "cluster.sql",
            Self::Database => "database.dump",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Database => "database",
        }
    }
}

/// Reads an artifact to its proven end: digest, beginning and, where the format has one, trailer.
fn examine(host: &dyn Host, scope: Scope) -> Result<u64> {
    let name = scope.artifact();
    let evidence = host.evidence(name)?;
    let moved = host.open_artifact(name)?.examine()?;
    evidence.check_transfer(name, &moved)?;
    dump_format::check(scope, &moved.head, &moved.tail)?;
    Ok(moved.bytes)
}

#[cfg(test)]
mod tests;
