//! The client programs of a container, under the one name or the other.
//!
//! MySQL, and MariaDB up to 10, have `mysql` and `mysqldump`; containers of MariaDB 11 and later
//! only `mariadb` and `mariadb-dump`. The manifest has each command twice.

use cofferdam_guest_sdk::{Error, Pod, Result};

/// How the programs are called in a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tools {
    /// `mysql` and `mysqldump`.
    Mysql,
    /// `mariadb` and `mariadb-dump`.
    Mariadb,
}

impl Tools {
    /// The programs of a pod, and what the one behind `version_command` calls itself.
    pub(crate) fn find(pod: &dyn Pod, version_command: &str) -> Result<(Self, String)> {
        for tools in [Self::Mysql, Self::Mariadb] {
            let command = tools.command(version_command);
            if let Some(outcome) = pod.run_if_there(&command, &[])? {
                let said = outcome.success(&command)?.stdout;
                return Ok((tools, String::from_utf8_lossy(&said).trim().to_owned()));
            }
        }
        Err(Error::failed(
            "no-program",
            format!(
                "the container of pod `{}` has neither `mysqldump` and `mysql` nor `mariadb-dump` and `mariadb`: bind role `server` to a container that has them",
                pod.name()
            ),
        ))
    }

    /// The client program.
    pub(crate) fn client(self) -> &'static str {
        match self {
            Self::Mysql => "mysql",
            Self::Mariadb => "mariadb",
        }
    }

    /// The name of a command of the manifest.
    pub(crate) fn command(self, name: &str) -> String {
        match self {
            Self::Mysql => name.to_owned(),
            Self::Mariadb => format!("{name}-mariadb"),
        }
    }
}

/// A database server by its pod and the programs there.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) pod: Box<dyn Pod>,
    pub(crate) tools: Tools,
    /// What the program that was looked for calls itself.
    pub(crate) program: String,
}

impl Server {
    /// The server of a pod; `version_command` asks the program that is needed most.
    pub(crate) fn find(pod: Box<dyn Pod>, version_command: &str) -> Result<Self> {
        let (tools, program) = Tools::find(&*pod, version_command)?;
        Ok(Self {
            pod,
            tools,
            program,
        })
    }

    /// Runs a command of the manifest and gives its output.
    pub(crate) fn capture(&self, command: &str, holes: &[(&str, &str)]) -> Result<String> {
        self.pod.capture(&self.tools.command(command), holes)
    }
}
