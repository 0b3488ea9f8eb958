//! Talking to the server through its client program.
//!
//! Client programs end with 0 even when the server answers with an error, so every answer is read
//! before it counts.

use std::time::Duration;

use cofferdam_guest_sdk::{Context, Error, Host, Pod, Result, Target};

use crate::info::Info;

/// How often a condition is looked at. Each look is a command in the pod.
pub(crate) const EVERY: Duration = Duration::from_millis(500);
/// The file that this module copies.
const FILE_NAME: &str = "dump.rdb";

/// The server in the one ready pod of its workload.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) pod: Box<dyn Pod>,
}

impl Server {
    /// The server as it runs now, once it has loaded its data.
    ///
    /// The pod is looked up anew at each look: an operator may roll the workload once more when its
    /// configuration changes. What is no matter of time, such as a wrong password, is not waited
    /// for.
    pub(crate) fn find(host: &dyn Host, target: &dyn Target) -> Result<Self> {
        let deadline = host.duration("load-deadline")?;
        let mut last = String::new();
        let waited = host.wait_until(
            "the server to load its data",
            deadline,
            EVERY,
            || match look(target) {
                Ok(Look::Loaded(server)) => Ok(Some(server)),
                Ok(Look::NotYet(said)) => {
                    last = said;
                    Ok(None)
                }
                Err(error) if error.is_retryable() => {
                    last = error.to_string();
                    Ok(None)
                }
                Err(error) => Err(error),
            },
        );
        waited.map_err(|error| match error {
            Error::TimedOut(message) => Error::TimedOut(format!("{message}: {last}")),
            other => other,
        })
    }

    /// Restarts the workload and waits until the new server has loaded its data.
    pub(crate) fn restarted(host: &dyn Host, target: &dyn Target) -> Result<Self> {
        let name = target.name();
        target
            .restart()
            .context(format!("failed to restart `{name}`"))?;
        target
            .wait_rollout(host.duration("rollout-deadline")?)
            .context(format!("`{name}` did not come back"))?;
        Self::find(host, target)
    }

    /// Runs a command of the manifest and gives the server's answer, unless it is a refusal.
    pub(crate) fn ask(&self, command: &str, holes: &[(&str, &str)]) -> Result<String> {
        let said = self.pod.capture(command, holes)?;
        refusal(&said, "").map_or(Ok(said), Err)
    }

    pub(crate) fn info(&self) -> Result<Info> {
        Info::parse(&self.ask("info", &[])?)
    }

    /// What `CONFIG GET` answers: empty for a setting that is set to nothing.
    pub(crate) fn setting(&self, name: &str) -> Result<String> {
        self.known_setting(name)?.ok_or_else(|| {
            Error::failed(
                "unknown-answer",
                format!("the server knows no setting `{name}`"),
            )
        })
    }

    /// The same; `None` for a setting that this version of the server does not have.
    fn known_setting(&self, name: &str) -> Result<Option<String>> {
        let said = self.ask("get-setting", &[("setting", name)])?;
        let mut lines = said.lines().map(str::trim);
        match lines.next() {
            Some(first) if first == name => Ok(Some(lines.next().unwrap_or_default().to_owned())),
            Some("") | None => Ok(None),
            Some(first) => Err(Error::failed(
                "unknown-answer",
                format!("the server answered `{first}` to `CONFIG GET {name}`"),
            )),
        }
    }

    /// Refuses a server whose files are not where this module copies.
    pub(crate) fn check_place(&self, host: &dyn Host) -> Result<()> {
        let (folder, file) = (self.setting("dir")?, self.setting("dbfilename")?);
        let expected = host.required("data-path")?;
        if folder.trim_end_matches('/') == expected.trim_end_matches('/') && file == FILE_NAME {
            return Ok(());
        }
        Err(Error::failed(
            "other-place",
            format!(
                "the server keeps its dump at `{folder}/{file}`, but this data set is bound to `{expected}/{FILE_NAME}`: set parameter `data-path`"
            ),
        ))
    }

    /// Refuses a server whose append-only file is not where this module sets it aside: it would be
    /// loaded in the place of the dump.
    pub(crate) fn check_append_only_place(&self, host: &dyn Host) -> Result<()> {
        for (setting, parameter) in [
            ("appendfilename", "append-only-file"),
            ("appenddirname", "append-only-folder"),
        ] {
            let expected = host.required(parameter)?;
            if let Some(name) = self.known_setting(setting)?
                && name != expected
            {
                return Err(Error::failed(
                    "other-place",
                    format!(
                        "the server's `{setting}` is `{name}`, but this data set is bound to `{expected}`: set parameter `{parameter}`"
                    ),
                ));
            }
        }
        Ok(())
    }

    /// Sends a command that answers with one line, which must begin with `good`.
    pub(crate) fn tell(&self, command: &str, good: &str) -> Result<()> {
        let said = self.ask(command, &[])?;
        if said.trim().starts_with(good) {
            return Ok(());
        }
        Err(Error::failed(
            "server-refused",
            format!(
                "the server answered `{}` to command `{command}`",
                said.trim()
            ),
        ))
    }
}

/// What one look at a server that is coming up shows.
enum Look {
    Loaded(Server),
    NotYet(String),
}

fn look(target: &dyn Target) -> Result<Look> {
    let pod = target.pod()?;
    let Some(outcome) = pod.run_if_there("info", &[])? else {
        return Err(Error::failed(
            "no-program",
            format!(
                "the container of pod `{}` does not have `redis-cli`",
                pod.name()
            ),
        ));
    };
    let said = String::from_utf8_lossy(&outcome.stdout).into_owned();
    if let Some(refused) = refusal(&said, &outcome.stderr) {
        return Err(refused);
    }
    if outcome.exit_code != 0 || said.starts_with("LOADING") {
        let words = format!("{} {}", said.trim(), outcome.stderr.trim());
        return Ok(Look::NotYet(words.trim().to_owned()));
    }
    let info = Info::parse(&said)?;
    if info.is_on("loading") || info.is_on("async_loading") {
        return Ok(Look::NotYet("it is loading".to_owned()));
    }
    Ok(Look::Loaded(Server { pod }))
}

/// What a server or its client program will refuse tomorrow too, with what to do about it.
fn refusal(said: &str, stderr: &str) -> Option<Error> {
    let first = said.lines().next().unwrap_or_default().trim();
    let complaint = stderr.lines().next().unwrap_or_default().trim();
    let (code, text) = if complaint.contains("AUTH failed") && first.starts_with("NOAUTH")
        || first.starts_with("WRONGPASS")
    {
        (
            "wrong-password",
            format!(
                "the server takes neither this user nor this password ({complaint}): look at the secret `password`, and at the parameters `login` and `user`"
            ),
        )
    } else if first.starts_with("NOAUTH") {
        (
            "no-password",
            format!("the server wants a password (`{first}`): bind the secret `password`"),
        )
    } else if first.starts_with("NOPERM") {
        (
            "not-permitted",
            format!(
                "the server does not let this user do that (`{first}`): it needs INFO, CONFIG GET, CONFIG SET and BGSAVE"
            ),
        )
    } else if first.starts_with("ERR unknown command") {
        (
            "unknown-command",
            format!(
                "the server answered `{first}`: where its configuration has `rename-command`, set the parameters `info-command`, `config-command` and `save-command`"
            ),
        )
    } else if complaint.contains("SSL_") || complaint.contains("Invalid CA Certificate") {
        (
            "tls-failed",
            format!(
                "there is no TLS with the server (`{complaint}`): look at the parameters `encryption` and `ca-file`"
            ),
        )
    } else if complaint.starts_with("Unrecognized option") {
        (
            "old-client",
            format!(
                "the container's `redis-cli` says `{complaint}`: it is too old for the parameters `encryption` and `login`, or was built without TLS"
            ),
        )
    } else {
        return None;
    };
    Some(Error::failed(code, text))
}
