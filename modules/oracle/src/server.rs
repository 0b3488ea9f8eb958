//! The database as seen through the client pod: runs the commands and reads their answers.
//!
//! Must never go on from an answer that is not whole, and never repeat what a program printed that
//! may quote a credential.

use cofferdam_guest_sdk::{Context, Error, Host, Pod, Result};

use crate::answers::Answers;
use crate::codes::{Judgement, NONE_PASS};
use crate::transcript::Transcript;

/// What the fixed shell texts end with when they refuse a value themselves.
const REFUSED: i32 = 64;

/// How far an instance is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Nobody is there.
    Down,
    /// Started, no database mounted.
    Started,
    /// The control file is open, the data files are not.
    Mounted,
    /// People work with it.
    Open,
}

impl State {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Started => "started without a mounted database",
            Self::Mounted => "mounted, not open",
            Self::Open => "open",
        }
    }
}

/// The client pod.
#[derive(Debug)]
pub(crate) struct Server {
    pod: Box<dyn Pod>,
    /// What `sqlplus` calls itself.
    pub(crate) client: String,
}

impl Server {
    pub(crate) fn find(host: &dyn Host) -> Result<Self> {
        let pod = host.target("client")?.pod()?;
        let Some(outcome) = pod.run_if_there("client-version", &[])? else {
            return Err(missing(&*pod, "sqlplus"));
        };
        let said = outcome.success("client-version")?.stdout;
        let said = String::from_utf8_lossy(&said);
        let client = said.lines().map(str::trim).find(|line| !line.is_empty());
        let client = client.unwrap_or("unknown").chars().take(200).collect();
        Ok(Self { pod, client })
    }

    pub(crate) fn pod(&self) -> &dyn Pod {
        &*self.pod
    }

    /// Asks with SQL.
    pub(crate) fn ask(&self, command: &str, holes: &[(&str, &str)]) -> Result<Answers> {
        let (text, exit_code) = self.run(command, "sqlplus", holes)?;
        Answers::read(command, &text, exit_code)
    }

    /// Runs an RMAN script to its proven end.
    pub(crate) fn rman(&self, command: &str, holes: &[(&str, &str)]) -> Result<Transcript> {
        let (text, exit_code) = self.run(command, "rman", holes)?;
        Transcript::read(command, text, exit_code)
    }

    /// How far the instance is up. That nobody is there is an answer.
    pub(crate) fn state(&self) -> Result<State> {
        let (text, exit_code) = self.run("state", "sqlplus", &[])?;
        let judgement = Judgement::of(&text, NONE_PASS);
        if judgement.has("ORA-01034") && !judgement.has("ORA-01017") {
            return Ok(State::Down);
        }
        let answers = Answers::read("state", &text, exit_code)?;
        match answers.one("status")? {
            "OPEN" | "OPEN MIGRATE" => Ok(State::Open),
            "MOUNTED" => Ok(State::Mounted),
            "STARTED" => Ok(State::Started),
            other => Err(Error::failed(
                "unknown-answer",
                format!("the instance says that it is `{other}`"),
            )),
        }
    }

    /// Runs a command and gives all that it printed, with its exit code.
    pub(crate) fn run(
        &self,
        command: &str,
        program: &str,
        holes: &[(&str, &str)],
    ) -> Result<(String, i32)> {
        let outcome = match self.pod.run(command, holes) {
            Err(error) if error.code() == Some("not-started") => {
                return Err(missing(&*self.pod, "sh"));
            }
            other => other.context(format!("the end of command `{command}` is not known"))?,
        };
        if matches!(outcome.exit_code, 126 | 127) {
            return Err(missing(&*self.pod, program));
        }
        if outcome.exit_code == REFUSED {
            let said = outcome
                .stderr
                .lines()
                .find(|line| line.starts_with("cofferdam: "));
            let said = said.and_then(|line| line.strip_prefix("cofferdam: "));
            return Err(Error::invalid(format!(
                "command `{command}` did not start: {}",
                said.unwrap_or("a value was refused in the pod")
            )));
        }
        if outcome.stdout_cut {
            return Err(Error::failed(
                "output-too-long",
                format!("command `{command}` printed more than the manifest lets it"),
            ));
        }
        let text = String::from_utf8_lossy(&outcome.stdout).into_owned();
        Ok((text, outcome.exit_code))
    }
}

fn missing(pod: &dyn Pod, program: &str) -> Error {
    Error::failed(
        "no-program",
        format!(
            "the container of pod `{}` has no `{program}` on its PATH: bind role `client` to a container that has it (Oracle's Instant Client has no `rman`)",
            pod.name()
        ),
    )
}
