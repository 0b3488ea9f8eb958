//! What can go wrong with the cluster, whose move it is then, and whether asking again may help.
//!
//! Every text here is clean for a terminal and names no secret value. The cause stays in `source`.

use std::time::Duration;

/// Who can do something about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// The person who runs Cofferdam: a name, a right, a credential, an application file.
    User,
    /// The cluster or the network: it may pass, or its operators must look.
    World,
    /// Us: a fault of Cofferdam.
    Us,
}

/// What the API server meant by its status code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// 401: the credentials are not accepted.
    Unauthorized,
    /// 403: the credentials lack a right (RBAC), or an admission rule forbids it.
    Forbidden,
    /// 404, 410.
    NotFound,
    /// 409: it exists already or was changed meanwhile, or another manager owns the fields.
    Conflict,
    /// 400, 413, 415, 422: the request is not acceptable.
    Invalid,
    /// 429 and 5xx, after all retries that are safe.
    Busy,
    /// Anything else.
    Other,
}

impl Refusal {
    pub(crate) fn of(code: u16) -> Self {
        match code {
            401 => Self::Unauthorized,
            403 => Self::Forbidden,
            404 | 410 => Self::NotFound,
            409 => Self::Conflict,
            400 | 413 | 415 | 422 => Self::Invalid,
            429 | 500..=599 => Self::Busy,
            _ => Self::Other,
        }
    }
}

/// A failure of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A kubeconfig cannot be read or lacks something.
    #[error("failed to read the kubeconfig {files}")]
    Kubeconfig {
        /// The files, in backticks.
        files: String,
        /// Why.
        source: kube::config::KubeconfigError,
    },
    /// No kubeconfig was given and this is not a pod with a service account.
    #[error("no kubeconfig is given and no service account of a pod is found")]
    NotInCluster {
        /// Why.
        source: kube::config::InClusterError,
    },
    /// The kubeconfig asks for something that is not offered.
    #[error("the kubeconfig asks for {what}, which is not supported")]
    Unsupported {
        /// What, such as ``the proxy `http://...` ``.
        what: String,
    },
    /// Certificates or credentials of the kubeconfig cannot be used.
    #[error("failed to set up the connection to `{url}`")]
    Setup {
        /// The server.
        url: String,
        /// Why.
        source: Box<kube::Error>,
    },
    /// No answer came: no connection, or it was lost.
    #[error("failed to {attempt}: `{url}` does not answer: {reason}")]
    Unreachable {
        /// What was attempted.
        attempt: String,
        /// The server.
        url: String,
        /// The innermost cause.
        reason: String,
    },
    /// The API server answered with a refusal.
    #[error("failed to {attempt}: {message}")]
    Api {
        /// What was attempted.
        attempt: String,
        /// What the code means.
        refusal: Refusal,
        /// The HTTP status code.
        code: u16,
        /// What the server said. For a Secret only the reason and the names of fields.
        message: String,
        /// When the server wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// The answer is not what the API promises.
    #[error("failed to {attempt}: the answer makes no sense: {what}")]
    Garbled {
        /// What was attempted.
        attempt: String,
        /// What is wrong with it.
        what: String,
    },
    /// A permit was handed to a function that does something else, or for another thing.
    #[error("the permit does not fit: {what}")]
    WrongPermit {
        /// What does not fit.
        what: String,
    },

    /// The workload of a target does not exist.
    #[error("no `{workload}` in namespace `{namespace}`")]
    NoWorkload {
        /// As kubectl writes it.
        workload: String,
        /// The namespace.
        namespace: String,
    },
    /// The workload has no such container.
    #[error("`{workload}` has no container `{container}`, only {containers}")]
    NoContainer {
        /// As kubectl writes it.
        workload: String,
        /// The container that was wanted.
        container: String,
        /// Those that there are, in backticks.
        containers: String,
    },
    /// No pod of the workload is ready.
    #[error("no pod of `{workload}` is ready: {seen}")]
    NoReadyPod {
        /// As kubectl writes it.
        workload: String,
        /// Each pod and its state, or that there is none.
        seen: String,
    },
    /// Several pods are ready where one is meant.
    #[error("several pods of `{workload}` are ready where one is meant: {seen}")]
    SeveralReadyPods {
        /// As kubectl writes it.
        workload: String,
        /// Each pod and its state.
        seen: String,
    },
    /// The pod that was looked up is gone, going, or another of the same name took its place.
    #[error("pod `{pod}` is gone: {what}")]
    PodGone {
        /// The pod.
        pod: String,
        /// What was found.
        what: String,
    },

    /// The command line is longer than a request can carry.
    #[error("the command line of {command} has {bytes} bytes, too long for a request")]
    CommandTooLong {
        /// The command.
        command: String,
        /// Its length as it stands in the request.
        bytes: usize,
    },
    /// The variables of a command cannot be set.
    #[error("failed to set the environment of {command}: {what}")]
    Environment {
        /// The command.
        command: String,
        /// Why, such as that a Secret lacks a key. Never a value.
        what: String,
    },
    /// The server can close stdin only together with everything, and no length was given.
    #[error(
        "{command} needs the length of its input: the server speaks only `v4.channel.k8s.io`, which cannot close stdin"
    )]
    StdinLengthNeeded {
        /// The command.
        command: String,
    },
    /// More or fewer bytes were written than announced.
    #[error("{command} was to get {announced} bytes of input and got {written}")]
    StdinLength {
        /// The command.
        command: String,
        /// The announced number.
        announced: u64,
        /// The number written, at least.
        written: u64,
    },
    /// The command ended before it took all of its input.
    #[error("{command} in pod `{pod}` ended before it took all of its input")]
    StdinRefused {
        /// The command.
        command: String,
        /// The pod.
        pod: String,
    },
    /// The server did not open the channel to the pod, for a reason it does not tell.
    #[error("failed to start {command} in pod `{pod}`: {what}")]
    ExecRefused {
        /// The command.
        command: String,
        /// The pod.
        pod: String,
        /// What is known.
        what: String,
    },
    /// The container cannot start the program, for instance because it does not exist there.
    #[error("{command} cannot be started in pod `{pod}`: {message}")]
    NotStarted {
        /// The command.
        command: String,
        /// The pod.
        pod: String,
        /// What the server said.
        message: String,
    },
    /// The stream ended before the command's exit status came: nothing of it can be trusted.
    #[error("{command} in pod `{pod}` ended without a status after {bytes} bytes: {how}")]
    NoStatus {
        /// The command.
        command: String,
        /// The pod.
        pod: String,
        /// How many bytes of output had come.
        bytes: u64,
        /// How it ended.
        how: String,
    },
    /// The command took longer than its manifest allows.
    #[error("{command} in pod `{pod}` was given up after {seconds} s and {bytes} bytes")]
    CommandTimedOut {
        /// The command.
        command: String,
        /// The pod.
        pod: String,
        /// The limit in seconds.
        seconds: u64,
        /// How many bytes of output had come.
        bytes: u64,
    },
    /// The command was given up by this side.
    #[error("{command} in pod `{pod}` was given up after {bytes} bytes")]
    GivenUp {
        /// The command.
        command: String,
        /// The pod.
        pod: String,
        /// How many bytes of output had come.
        bytes: u64,
    },

    /// There is no such file.
    #[error("no `{path}` in pod `{pod}`")]
    NoFile {
        /// The path.
        path: String,
        /// The pod.
        pod: String,
    },
    /// A file operation failed in the pod.
    #[error("failed to {attempt} `{path}` in pod `{pod}`: {what}")]
    File {
        /// Such as `rename`.
        attempt: &'static str,
        /// The path.
        path: String,
        /// The pod.
        pod: String,
        /// What the pod said.
        what: String,
    },

    /// The cluster does not know this kind of object.
    #[error("the cluster has no namespaced `{kind}` in `{api_version}`")]
    NoKind {
        /// The kind.
        kind: String,
        /// The API version.
        api_version: String,
    },
    /// Parameters of a template have no value.
    #[error("Template `{template}` cannot be filled: no value for {missing}")]
    NoValue {
        /// The Template.
        template: String,
        /// The parameters and their sources, never a value.
        missing: String,
    },
    /// A template makes objects that the permit does not allow.
    #[error(
        "Template `{template}` makes what its module does not declare, or in another namespace: {objects}"
    )]
    UndeclaredObjects {
        /// The Template.
        template: String,
        /// The kinds.
        objects: String,
    },
    /// A condition did not come true in time.
    #[error("{object} did not become {condition} within {seconds} s: {seen}")]
    WaitTimedOut {
        /// The object.
        object: String,
        /// What was waited for.
        condition: String,
        /// How long.
        seconds: u64,
        /// What was seen last.
        seen: String,
    },
    /// A rollout is not possible as the workload stands.
    #[error("`{workload}` cannot be rolled: {what}")]
    NotRollable {
        /// As kubectl writes it.
        workload: String,
        /// Why.
        what: String,
    },
    /// A rollout was not done in time.
    #[error("`{workload}` was not rolled out within {seconds} s: {waiting_for}; {pods}")]
    RolloutTimedOut {
        /// As kubectl writes it.
        workload: String,
        /// How long was waited.
        seconds: u64,
        /// What was missing.
        waiting_for: String,
        /// The pods and what blocks them.
        pods: String,
    },
    /// Somebody else changed what a lease is about.
    #[error("{object} was changed by somebody else: {details}")]
    Drifted {
        /// The object.
        object: String,
        /// What differs; for keys of data the names, not the values.
        details: String,
    },
    /// A lease is not possible as the object stands.
    #[error("{object} cannot be leased: {what}")]
    NotLeasable {
        /// The object.
        object: String,
        /// Why.
        what: String,
    },
}

impl Error {
    /// Who can do something about it.
    pub fn whose_move(&self) -> Move {
        match self {
            Self::Kubeconfig { .. }
            | Self::NotInCluster { .. }
            | Self::Unsupported { .. }
            | Self::Setup { .. }
            | Self::NoWorkload { .. }
            | Self::NoContainer { .. }
            | Self::SeveralReadyPods { .. }
            | Self::Environment { .. }
            | Self::NotStarted { .. }
            | Self::CommandTooLong { .. }
            | Self::NoKind { .. }
            | Self::NoValue { .. }
            | Self::UndeclaredObjects { .. }
            | Self::NotRollable { .. }
            | Self::NotLeasable { .. } => Move::User,
            Self::Api { refusal, .. } => match refusal {
                Refusal::Unauthorized
                | Refusal::Forbidden
                | Refusal::NotFound
                | Refusal::Invalid => Move::User,
                Refusal::Conflict | Refusal::Busy | Refusal::Other => Move::World,
            },
            Self::Unreachable { .. }
            | Self::Garbled { .. }
            | Self::NoReadyPod { .. }
            | Self::PodGone { .. }
            | Self::StdinRefused { .. }
            | Self::ExecRefused { .. }
            | Self::NoStatus { .. }
            | Self::CommandTimedOut { .. }
            | Self::GivenUp { .. }
            | Self::NoFile { .. }
            | Self::File { .. }
            | Self::WaitTimedOut { .. }
            | Self::RolloutTimedOut { .. }
            | Self::Drifted { .. } => Move::World,
            Self::WrongPermit { .. }
            | Self::StdinLengthNeeded { .. }
            | Self::StdinLength { .. } => Move::Us,
        }
    }

    /// Whether the same call may succeed later. Never true for a command that may have run.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::NoReadyPod { .. } | Self::PodGone { .. } => true,
            Self::Api { refusal, .. } => matches!(refusal, Refusal::Busy),
            _ => false,
        }
    }

    /// A stable slug for logs and guests.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Kubeconfig { .. } | Self::Unsupported { .. } | Self::Setup { .. } => "kubeconfig",
            Self::NotInCluster { .. } => "no-kubeconfig",
            Self::Unreachable { .. } => "api-unreachable",
            Self::Api { refusal, .. } => match refusal {
                Refusal::Unauthorized => "unauthorized",
                Refusal::Forbidden => "forbidden",
                Refusal::NotFound => "not-found",
                Refusal::Conflict => "conflict",
                Refusal::Invalid => "invalid",
                Refusal::Busy => "api-unavailable",
                Refusal::Other => "api-refused",
            },
            Self::Garbled { .. } => "api-garbled",
            Self::WrongPermit { .. } => "wrong-permit",
            Self::NoWorkload { .. } => "no-workload",
            Self::NoContainer { .. } => "no-container",
            Self::NoReadyPod { .. } => "no-ready-pod",
            Self::SeveralReadyPods { .. } => "several-ready-pods",
            Self::PodGone { .. } => "pod-gone",
            Self::CommandTooLong { .. } => "command-too-long",
            Self::Environment { .. } => "environment",
            Self::StdinLengthNeeded { .. } | Self::StdinLength { .. } => "stdin-length",
            Self::StdinRefused { .. } => "stdin-refused",
            Self::ExecRefused { .. } => "exec-refused",
            Self::NotStarted { .. } => "not-started",
            Self::NoStatus { .. } => "stream-cut",
            Self::CommandTimedOut { .. } => "command-timed-out",
            Self::GivenUp { .. } => "given-up",
            Self::NoFile { .. } => "no-file",
            Self::File { .. } => "file",
            Self::NoKind { .. } => "no-kind",
            Self::NoValue { .. } => "no-value",
            Self::UndeclaredObjects { .. } => "kind-not-declared",
            Self::WaitTimedOut { .. } => "wait-timed-out",
            Self::NotRollable { .. } => "not-rollable",
            Self::RolloutTimedOut { .. } => "rollout-timed-out",
            Self::Drifted { .. } => "drifted",
            Self::NotLeasable { .. } => "not-leasable",
        }
    }

    /// What to do next, where that is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Kubeconfig { .. } | Self::NotInCluster { .. } => {
                Some("name a kubeconfig and a context that kubectl can use")
            }
            Self::Api {
                refusal: Refusal::Unauthorized,
                ..
            } => Some("log in again, or renew the token of the service account"),
            Self::Api {
                refusal: Refusal::Forbidden,
                ..
            } => Some("ask the owner of the namespace for the right that the message names"),
            Self::SeveralReadyPods { .. } => {
                Some("wait until the rollout is done, or scale the workload to one pod")
            }
            Self::NoContainer { .. } => Some("correct `container` in the application file"),
            Self::NoWorkload { .. } => Some("correct `workload` in the application file"),
            Self::NotStarted { .. } => Some(
                "the container lacks the program: check its image, and `container` in the application file",
            ),
            _ => None,
        }
    }

    /// Whether the API said that something does not exist.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(
            self,
            Self::Api {
                refusal: Refusal::NotFound,
                ..
            }
        )
    }

    /// Whether the API said that something was changed meanwhile.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(
            self,
            Self::Api {
                refusal: Refusal::Conflict,
                ..
            }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_may_have_run_is_never_to_be_repeated() {
        let (command, pod) = (String::from("command `dump`"), String::from("p"));
        for error in [
            Error::NoStatus {
                command: command.clone(),
                pod: pod.clone(),
                bytes: 1,
                how: String::new(),
            },
            Error::ExecRefused {
                command: command.clone(),
                pod: pod.clone(),
                what: String::new(),
            },
            Error::CommandTimedOut {
                command,
                pod,
                seconds: 1,
                bytes: 1,
            },
        ] {
            assert!(!error.retryable(), "{error}");
        }
    }

    #[test]
    fn a_code_says_whose_move_it_is() {
        for (code, expected, retryable) in [
            (401, Move::User, false),
            (403, Move::User, false),
            (409, Move::World, false),
            (422, Move::User, false),
            (429, Move::World, true),
            (503, Move::World, true),
        ] {
            let error = Error::Api {
                attempt: String::new(),
                refusal: Refusal::of(code),
                code,
                message: String::new(),
                retry_after: None,
            };
            assert_eq!(
                (error.whose_move(), error.retryable()),
                (expected, retryable),
                "{code}"
            );
        }
    }
}
