//! The server, asked through the client programs of its pod.

use std::time::Duration;

use cofferdam_guest_sdk::{Context, Error, Host, Pod, Result};

use crate::{Scope, hex, mounts};

/// The two databases that a server always has; a restore drops and makes each of them in turn.
const MAINTENANCE: [&str; 2] = ["postgres", "template1"];
/// How often is looked whether clients are gone. Each look is a command in the pod.
const EVERY: Duration = Duration::from_secs(1);
/// How many sessions a message names.
const SESSIONS_TOLD: usize = 5;

/// A server, and the database through which it is asked.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) pod: Box<dyn Pod>,
    /// What `psql` calls itself.
    pub(crate) client: String,
    pub(crate) maintenance: &'static str,
    pub(crate) description: Description,
}

/// What a server says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Description {
    pub(crate) version: String,
    pub(crate) roles: u64,
    /// Where its data lie, if this user may know.
    pub(crate) folder: Option<String>,
    pub(crate) databases: Vec<Database>,
}

/// A database that can be connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Database {
    /// The name in hexadecimal digits, for commands.
    pub(crate) digits: String,
    /// The name, for people.
    pub(crate) name: String,
    /// Bytes on the server's disk; `None` where this user may not know.
    pub(crate) size: Option<u64>,
}

/// A client that is connected.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Session {
    database: String,
    text: String,
}

impl Server {
    /// The server behind role `server`. Changes nothing.
    pub(crate) fn find(host: &dyn Host) -> Result<Self> {
        let pod = host.target("server")?.pod()?;
        let client = version_of(&*pod, "client-version")?;
        let mut refused = None;
        for maintenance in MAINTENANCE {
            let holes = [("maintenance", maintenance)];
            let outcome = pod.run("describe", &holes)?;
            // 2 is `psql`'s word for: no connection. The other database may still take one.
            if outcome.exit_code == 2 {
                refused.get_or_insert(outcome);
                continue;
            }
            let said = outcome
                .success("describe")
                .context("failed to ask the server about itself")?
                .stdout;
            let description = Description::parse(&String::from_utf8_lossy(&said))?;
            return Ok(Self {
                pod,
                client,
                maintenance,
                description,
            });
        }
        let said = refused.map(|outcome| outcome.stderr).unwrap_or_default();
        Err(Error::failed(
            "no-connection",
            format!("the server takes no connection: {}", said.trim()),
        ))
    }

    /// Asks again.
    pub(crate) fn refresh(&mut self) -> Result<()> {
        let said = self
            .pod
            .capture("describe", &[("maintenance", self.maintenance)])
            .context("failed to ask the server about itself")?;
        self.description = Description::parse(&said)?;
        Ok(())
    }

    /// The databases that a scope is about. The one of scope `database` must be there.
    pub(crate) fn databases(&self, host: &dyn Host, scope: Scope) -> Result<Vec<Database>> {
        match scope {
            Scope::Cluster => Ok(self.description.databases.clone()),
            Scope::Database => {
                let name = host.required("database")?;
                self.database(&name)
                    .map(|database| vec![database])
                    .ok_or_else(|| Error::NotFound(format!("the server has no database `{name}`")))
            }
        }
    }

    /// A database by its name.
    pub(crate) fn database(&self, name: &str) -> Option<Database> {
        let digits = hex::encode(name);
        let mut databases = self.description.databases.iter();
        databases.find(|one| one.digits == digits).cloned()
    }

    /// Sees to it that the server has both databases that every server has: the programs of
    /// PostgreSQL and the dump of a cluster rely on them, and a killed restore may have left one out.
    pub(crate) fn mend_maintenance(&mut self, host: &dyn Host) -> Result<()> {
        for missing in MAINTENANCE {
            if self.database(missing).is_some() {
                continue;
            }
            host.warn(&format!(
                "the server has no database `{missing}`, as after a restore that was killed: making an empty one"
            ));
            let holes = [("maintenance", self.maintenance), ("missing", missing)];
            self.pod
                .capture("make-maintenance-database", &holes)
                .context(format!("failed to make database `{missing}`"))?;
        }
        // A dump of a cluster drops `template1` first, so that one must not be connected to.
        self.maintenance = "postgres";
        self.refresh()
    }

    /// Waits until no other client is connected, and ends those that stay if the site wants that.
    pub(crate) fn wait_for_sessions(&self, host: &dyn Host, scope: Scope) -> Result<()> {
        let only = match scope {
            Scope::Cluster => None,
            Scope::Database => Some(host.required("database")?),
        };
        let deadline = host.duration("sessions-deadline")?;
        let mut left = Vec::new();
        let waited = host.wait_until("other clients to be gone", deadline, EVERY, || {
            left = self.sessions(only.as_deref())?;
            Ok(left.is_empty().then_some(()))
        });
        let error = match waited {
            Ok(()) => return Ok(()),
            Err(error @ Error::TimedOut(_)) => error,
            Err(error) => return Err(error),
        };
        let shown: Vec<&str> = left
            .iter()
            .take(SESSIONS_TOLD)
            .map(|session| session.text.as_str())
            .collect();
        let shown = format!("{} connected: {}", left.len(), shown.join(", "));
        if host.required("other-sessions")? != "end" {
            return Err(Error::TimedOut(format!(
                "{error}, and nothing was touched; {shown}; stop them (bind them as role `writer`), or set parameter `other-sessions` to `end`"
            )));
        }
        host.warn(&format!("ending the sessions of other clients: {shown}"));
        let name = only.map_or_else(|| "all".to_owned(), |name| hex::hole(&hex::encode(&name)));
        let holes = [("maintenance", self.maintenance), ("name", name.as_str())];
        self.pod
            .capture("end-sessions", &holes)
            .context("failed to end the sessions of other clients")?;
        Ok(())
    }

    fn sessions(&self, only: Option<&str>) -> Result<Vec<Session>> {
        let said = self
            .pod
            .capture("sessions", &[("maintenance", self.maintenance)])
            .context("failed to ask who is connected")?;
        let mut sessions = Vec::new();
        for line in said.lines().filter(|line| !line.is_empty()) {
            let mut fields = line.splitn(4, '|');
            let mut next = || fields.next().ok_or_else(|| unknown(line));
            let (database, user, program, from) = (next()?, next()?, next()?, next()?);
            let database = hex::decode(database)?;
            let text = format!(
                "`{}` of user `{}` from {from} on database `{database}`",
                hex::decode(program)?,
                hex::decode(user)?
            );
            if only.is_none_or(|only| only == database) {
                sessions.push(Session { database, text });
            }
        }
        sessions.sort_by(|one, other| one.database.cmp(&other.database));
        Ok(sessions)
    }

    /// Whether the data are seen to lie in an emptyDir. A server elsewhere is not seen.
    pub(crate) fn lies_in_an_empty_dir(&self, host: &dyn Host) -> Result<bool> {
        let (Some(folder), "") = (
            &self.description.folder,
            host.parameter("host").unwrap_or_default().as_str(),
        ) else {
            return Ok(false);
        };
        let Some(outcome) = self.pod.run_if_there("mounts", &[])? else {
            return Ok(false);
        };
        let said = outcome.success("mounts")?.stdout;
        let mounts = String::from_utf8_lossy(&said);
        Ok(mounts::lies_in_an_empty_dir(&mounts, folder))
    }
}

/// What a program calls itself.
pub(crate) fn version_of(pod: &dyn Pod, command: &str) -> Result<String> {
    let Some(outcome) = pod.run_if_there(command, &[])? else {
        return Err(Error::failed(
            "no-program",
            format!(
                "the container of pod `{}` does not have the programs of PostgreSQL (`psql`, `pg_dump`, `pg_dumpall`, `pg_restore`): bind role `server` to a container that has them",
                pod.name()
            ),
        ));
    };
    let said = outcome.success(command)?.stdout;
    Ok(String::from_utf8_lossy(&said).trim().to_owned())
}

fn unknown(line: &str) -> Error {
    Error::failed("unknown-answer", format!("the server answered `{line}`"))
}

impl Description {
    fn parse(said: &str) -> Result<Self> {
        let mut description = Self::default();
        for line in said.lines().filter(|line| !line.is_empty()) {
            let (word, rest) = line.split_once('|').ok_or_else(|| unknown(line))?;
            match word {
                "version" => rest.clone_into(&mut description.version),
                "roles" => description.roles = rest.parse().map_err(|_| unknown(line))?,
                "folder" => description.folder = Some(hex::decode(rest)?),
                "database" => {
                    let (digits, size) = rest.split_once('|').ok_or_else(|| unknown(line))?;
                    description.databases.push(Database {
                        digits: digits.to_owned(),
                        name: hex::decode(digits)?,
                        size: size.parse().ok(),
                    });
                }
                _ => return Err(unknown(line)),
            }
        }
        if description.version.is_empty() || description.databases.is_empty() {
            return Err(unknown(said.trim()));
        }
        Ok(description)
    }
}
