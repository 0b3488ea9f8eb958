//! One schema or one whole Oracle database, by Data Pump or RMAN, through a pod with the clients.
//!
//! Must never see a credential, never take exit code 0 for success, and never change a database
//! before the server has said that it can read the backup. Not tried on a live Oracle: the evidence
//! says so too.

mod answers;
mod codes;
mod logical;
mod names;
mod physical;
mod pump_log;
mod record;
mod recovery;
mod server;
mod transcript;

use cofferdam_guest_sdk::{DataSet, Error, Evidence, Host, Result, export};

/// In every evidence, so that whoever looks at a backup reads it.
const TRIED_ON: &str = "not tried on a live Oracle";

/// The data set: a schema, or a database.
#[derive(Debug)]
pub struct Oracle;

export!(Oracle);

/// How it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    DataPump,
    Rman,
}

impl Method {
    fn parse(word: &str) -> Result<Self> {
        match word {
            "datapump" => Ok(Self::DataPump),
            "rman" => Ok(Self::Rman),
            other => Err(Error::invalid(format!("`{other}` is no method"))),
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::DataPump => "datapump",
            Self::Rman => "rman",
        }
    }

    /// The method of a snapshot, by the artifact that it always has.
    fn kept(host: &dyn Host) -> Result<Self> {
        let names = host.artifacts()?;
        let has = |name: &str| names.iter().any(|known| known == name);
        match (has(physical::LOG), has(logical::LOG)) {
            (true, false) => Ok(Self::Rman),
            (false, true) => Ok(Self::DataPump),
            _ => Err(Error::failed(
                "unknown-snapshot",
                format!(
                    "the snapshot has neither `{}` nor `{}` alone: this module did not make it",
                    physical::LOG,
                    logical::LOG
                ),
            )),
        }
    }
}

impl DataSet for Oracle {
    fn backup(host: &dyn Host) -> Result<()> {
        host.info(&format!("module oracle: {TRIED_ON}"));
        match Method::parse(&host.required("method")?)? {
            Method::DataPump => logical::backup(host),
            Method::Rman => physical::backup(host),
        }
    }

    fn restore(host: &dyn Host) -> Result<()> {
        let kept = Method::kept(host)?;
        let wanted = Method::parse(&host.required("method")?)?;
        if kept != wanted {
            return Err(Error::invalid(format!(
                "the snapshot was made with method `{}`, and parameter `method` is `{}`: set it to that of the snapshot, for the two restore different things",
                kept.word(),
                wanted.word()
            )));
        }
        host.warn(&format!("module oracle: {TRIED_ON}"));
        match kept {
            Method::DataPump => logical::restore(host),
            Method::Rman => recovery::restore(host),
        }
    }

    fn verify(host: &dyn Host) -> Result<()> {
        match Method::kept(host)? {
            Method::DataPump => logical::verify(host).map(|_| ()),
            Method::Rman => physical::verify(host).map(|_| ()),
        }
    }
}

/// What every artifact's evidence begins with.
fn evidence(method: Method) -> Evidence {
    Evidence::new()
        .with("tried-on", TRIED_ON)
        .with("method", method.word())
}

#[cfg(test)]
mod tests;
