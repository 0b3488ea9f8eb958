//! Commands in pods: from a permit to a running process.
//!
//! Must never put a secret into the command line, which stands in the API server's log; never run
//! in a pod that the permit does not speak of; and never start a command a second time when the
//! first may have run.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use backon::Retryable as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cofferdam_policy::Permit;
use cofferdam_policy::name::{ContainerName, Namespace, ObjectName, VariableName};
use cofferdam_policy::request::{EnvironmentSource, RunCommand, Stdin};
use serde::Deserialize;
use serde_json::Value;
use zeroize::Zeroize as _;

use crate::call::{Call, Repeat, pause};
use crate::channel::{NoChannel, Protocol, Socket, open};
use crate::cluster::Cluster;
use crate::error::{Error, Refusal};
use crate::pod::{Pod, Seen};
use crate::prelude::{Input, Source, Wrapped, wrap};
use crate::process::{Process, Shared};
use crate::secret::Secret;
use crate::stream::{Feed, start};

/// `http::Uri` holds at most 65,534 bytes, and some routers less.
const LONGEST_PATH: usize = 60_000;

/// A command as the host starts it: one of a manifest, or one of the fixed ones for files.
#[derive(Debug)]
pub(crate) struct Launch<'a> {
    /// For people: ``command `dump` ``.
    pub(crate) what: String,
    pub(crate) pod: &'a Pod,
    pub(crate) container: &'a ContainerName,
    pub(crate) argv: &'a [String],
    pub(crate) variables: &'a [(VariableName, Source)],
    pub(crate) feed: Feed,
    pub(crate) limit: Option<Duration>,
}

impl Cluster {
    /// Runs a command of a manifest in `pod`.
    ///
    /// `length` is the number of bytes that will be written to its stdin, where that is known. A
    /// server that speaks only `v4.channel.k8s.io` cannot close stdin, so there the command reads
    /// through `head -c LENGTH`, and without a length it is refused; newer servers need none. A
    /// template is fed by this function, and then no [`Stdin`](crate::Stdin) can be taken.
    ///
    /// Variables from the pod are mapped inside the pod, and secrets travel as the first lines of
    /// stdin; both need `sh` in the container, and secrets `printf` and `read` in it.
    ///
    /// # Errors
    /// [`Error::PodGone`], [`Error::NoContainer`], [`Error::Environment`],
    /// [`Error::StdinLengthNeeded`], [`Error::ExecRefused`], [`Error::Api`] with the reason of a
    /// refusal. That the program does not exist shows in [`Process::wait`].
    pub async fn exec(
        &self,
        permit: Permit<RunCommand>,
        pod: &Pod,
        length: Option<u64>,
    ) -> Result<Process, Error> {
        let request = permit.request();
        pod.check(&request.target)?;
        let what = format!("command `{}`", request.command);
        let variables = self.variables(request, &what).await?;
        let feed = match &request.stdin {
            Stdin::None => Feed::None,
            Stdin::Template { text } => Feed::Text(Bytes::from(text.clone())),
            Stdin::Artifact | Stdin::Free => Feed::Open(length),
        };
        self.launch(Launch {
            what,
            pod,
            container: &request.target.container,
            argv: &request.argv,
            variables: &variables,
            feed,
            limit: Some(request.timeout),
        })
        .await
    }

    /// Starts a command whose permit was looked at.
    pub(crate) async fn launch(&self, launch: Launch<'_>) -> Result<Process, Error> {
        self.still_there(launch.pod).await?;
        let input = match &launch.feed {
            Feed::None => Input::None,
            Feed::Text(_) | Feed::Open(_) => Input::Open,
        };
        let fed = input == Input::Open;
        if !fed {
            let wrapped = wrap(launch.argv, launch.variables, input);
            let offered = [Protocol::V5, Protocol::V4];
            return match self.channel(&launch, &wrapped, input, &offered).await {
                Ok((socket, protocol)) => Ok(begin(launch, wrapped, socket, protocol)),
                Err(refused) => Err(self.explain(&launch, refused).await),
            };
        }
        if !self.only_v4.load(Ordering::Relaxed) {
            let wrapped = wrap(launch.argv, launch.variables, input);
            match self
                .channel(&launch, &wrapped, input, &[Protocol::V5])
                .await
            {
                Ok((socket, protocol)) => return Ok(begin(launch, wrapped, socket, protocol)),
                // So answers a server that knows only the older sub-protocol; nothing has run.
                Err(NoChannel {
                    unexplained: Some(400 | 403 | 406 | 426),
                    ..
                }) => {}
                Err(refused) => return Err(self.explain(&launch, refused).await),
            }
        }
        let length = match &launch.feed {
            Feed::Text(text) => Some(text.len() as u64),
            Feed::Open(length) => *length,
            Feed::None => Some(0),
        };
        let Some(length) = length else {
            return Err(Error::StdinLengthNeeded {
                command: launch.what,
            });
        };
        let input = Input::Counted(length);
        let wrapped = wrap(launch.argv, launch.variables, input);
        match self
            .channel(&launch, &wrapped, input, &[Protocol::V4])
            .await
        {
            Ok((socket, protocol)) => {
                self.only_v4.store(true, Ordering::Relaxed);
                Ok(begin(launch, wrapped, socket, protocol))
            }
            Err(refused) => Err(self.explain(&launch, refused).await),
        }
    }

    /// Opens the channel. Repeated only where the server refused before it looked at the command.
    async fn channel(
        &self,
        launch: &Launch<'_>,
        wrapped: &Wrapped,
        input: Input,
        offered: &[Protocol],
    ) -> Result<(Socket, Protocol), NoChannel> {
        let path = exec_path(launch, wrapped, input);
        if path.len() > LONGEST_PATH {
            let error = Error::CommandTooLong {
                command: launch.what.clone(),
                bytes: path.len(),
            };
            return Err(NoChannel {
                failure: crate::call::Failure::final_one(error),
                unexplained: None,
            });
        }
        let attempt = format!("start {} in pod `{}`", launch.what, launch.pod.name());
        let once = || open(&self.caller, &path, &attempt, offered);
        once.retry(self.caller.patience.pauses())
            .when(|refused| refused.failure.may_repeat(Repeat::Untouched))
            .adjust(|refused, ours| pause(&refused.failure, ours))
            .await
    }

    /// Turns a refusal into an error that says why, asking the server again with a plain request
    /// where it did not tell.
    async fn explain(&self, launch: &Launch<'_>, refused: NoChannel) -> Error {
        let NoChannel {
            failure,
            unexplained,
        } = refused;
        let (command, pod) = (launch.what.clone(), launch.pod.name().to_owned());
        if let Some(code) = unexplained {
            let told = self.plain_reason(launch).await;
            if let Some(told) = told {
                return told;
            }
            let what = format!("the server answered {code} and gives no reason");
            return Error::ExecRefused { command, pod, what };
        }
        match failure.error {
            Error::Api {
                refusal: Refusal::NotFound,
                message,
                ..
            } => Error::PodGone { pod, what: message },
            // Refused before the command was looked at, so it may be tried again.
            error @ Error::Api {
                code: 429 | 503, ..
            } => error,
            // Somebody on the way failed: whether the command started is not known.
            Error::Api {
                refusal: Refusal::Busy,
                code,
                message,
                ..
            } => {
                let what = format!("{message} ({code})");
                Error::ExecRefused { command, pod, what }
            }
            Error::Unreachable { ref reason, .. } if !failure_is_untouched(&failure) => {
                let what = format!("the connection was lost during the hand-shake: {reason}");
                Error::ExecRefused { command, pod, what }
            }
            error => error,
        }
    }

    /// Asks for the command's path without an upgrade, which can run nothing, and for the pod.
    async fn plain_reason(&self, launch: &Launch<'_>) -> Option<Error> {
        let wrapped = Wrapped {
            argv: vec!["true".to_owned()],
            lines: zeroize::Zeroizing::default(),
        };
        let path = exec_path(launch, &wrapped, Input::None);
        let attempt = format!("start {} in pod `{}`", launch.what, launch.pod.name());
        match self.caller.answer::<Value>(Call::get(path, attempt)).await {
            Err(
                error @ Error::Api {
                    refusal: Refusal::Unauthorized | Refusal::Forbidden,
                    ..
                },
            ) => {
                return Some(error);
            }
            Err(Error::Api {
                refusal: Refusal::NotFound,
                message,
                ..
            }) => {
                let pod = launch.pod.name().to_owned();
                return Some(Error::PodGone { pod, what: message });
            }
            // A healthy server says here that it wants an upgrade, which explains nothing.
            _ => {}
        }
        self.still_there(launch.pod).await.err()
    }

    /// Whether the pod is the one that was looked up, and runs. A StatefulSet gives a new pod the
    /// name of the old one, so the uid counts.
    async fn still_there(&self, pod: &Pod) -> Result<(), Error> {
        let path = format!("/api/v1/namespaces/{}/pods/{}", pod.namespace(), pod.name());
        let attempt = format!("read pod `{}` in `{}`", pod.name(), pod.namespace());
        let found: Option<Seen> = self.caller.find(Call::get(path, attempt)).await?;
        let what = match found {
            None => "it does not exist any more",
            Some(seen) if seen.metadata.uid != pod.uid() => "another pod has its name now",
            Some(seen) if !seen.is_running() => "it ends or is being deleted",
            Some(_) => return Ok(()),
        };
        Err(Error::PodGone {
            pod: pod.name().to_owned(),
            what: what.to_owned(),
        })
    }

    /// Reads the secrets of a command and names the sources of its variables, in order.
    async fn variables(
        &self,
        request: &RunCommand,
        what: &str,
    ) -> Result<Vec<(VariableName, Source)>, Error> {
        let mut secrets: BTreeMap<&ObjectName, BTreeMap<String, Secret>> = BTreeMap::new();
        for (_, source) in &request.environment {
            if let EnvironmentSource::Secret { object, .. } = source
                && !secrets.contains_key(object)
            {
                let values = self.secret(&request.target.namespace, object, what).await?;
                secrets.insert(object, values);
            }
        }
        let mut variables = Vec::new();
        for (name, source) in &request.environment {
            let source = match source {
                EnvironmentSource::Pod { variable } => Source::Pod(variable.clone()),
                EnvironmentSource::Secret { object, key, .. } => {
                    let values = secrets.get(object);
                    let value = values.and_then(|values| values.get(key.as_str()));
                    let Some(value) = value else {
                        return Err(environment(
                            what,
                            format!("Secret `{object}` has no key `{key}`"),
                        ));
                    };
                    if value.expose().contains(&0) {
                        return Err(environment(
                            what,
                            format!("`{key}` of Secret `{object}` holds a zero byte"),
                        ));
                    }
                    Source::Secret(Secret::new(value.expose().to_vec()))
                }
            };
            variables.push((name.clone(), source));
        }
        Ok(variables)
    }

    async fn secret(
        &self,
        namespace: &Namespace,
        name: &ObjectName,
        what: &str,
    ) -> Result<BTreeMap<String, Secret>, Error> {
        #[derive(Deserialize)]
        struct Object {
            #[serde(default)]
            data: BTreeMap<String, String>,
        }
        let path = format!("/api/v1/namespaces/{namespace}/secrets/{name}");
        let attempt = format!("read Secret `{name}` in `{namespace}` for {what}");
        let call = Call::get(path, attempt).about_secret(true);
        let Some(object) = self.caller.find::<Object>(call).await? else {
            return Err(environment(
                what,
                format!("there is no Secret `{name}` in `{namespace}`"),
            ));
        };
        let mut values = BTreeMap::new();
        for (key, mut coded) in object.data {
            let value = STANDARD.decode(coded.as_bytes());
            coded.zeroize();
            let value = value.map_err(|_| {
                environment(what, format!("a key of Secret `{name}` is not Base64"))
            })?;
            values.insert(key, Secret::new(value));
        }
        Ok(values)
    }
}

fn environment(command: &str, what: String) -> Error {
    Error::Environment {
        command: command.to_owned(),
        what,
    }
}

fn failure_is_untouched(failure: &crate::call::Failure) -> bool {
    failure.may_repeat(Repeat::Untouched)
}

fn begin(launch: Launch<'_>, wrapped: Wrapped, socket: Socket, protocol: Protocol) -> Process {
    let shared = Shared::new(launch.what, launch.pod.name().to_owned());
    start(
        socket,
        protocol,
        &shared,
        wrapped.lines,
        launch.feed,
        launch.limit,
    )
}

/// The path and query of a command.
fn exec_path(launch: &Launch<'_>, wrapped: &Wrapped, input: Input) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("container", launch.container.as_str());
    query.append_pair("stdout", "true");
    query.append_pair("stderr", "true");
    if wrapped.needs_stdin(input) {
        query.append_pair("stdin", "true");
    }
    for word in &wrapped.argv {
        query.append_pair("command", word);
    }
    format!(
        "/api/v1/namespaces/{}/pods/{}/exec?{}",
        launch.pod.namespace(),
        launch.pod.name(),
        query.finish()
    )
}

#[cfg(test)]
mod tests;
