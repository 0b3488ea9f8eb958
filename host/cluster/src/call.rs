//! Plain requests to the API: one place for time limits, refusals and repetition.
//!
//! Must never repeat what may have taken effect unless doing it twice is the same as once, never
//! put an answer's body into a log, and never show a server's sentence about a Secret.

use std::fmt;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, Method, Request};
use kube::client::Body;
use kube::core::Status;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{Error, Refusal};
use crate::text;

/// An answer that takes longer counts as lost: the API server's own limit for a request is 60 s.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(65);
/// A server may ask us to wait at most this long; more would look like a hang.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How patiently refused requests are repeated.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// The pause before the first repetition; doubled each time, with jitter.
    pub(crate) first: Duration,
    /// The longest pause.
    pub(crate) most: Duration,
    /// How many repetitions.
    pub(crate) times: usize,
}

impl Default for Patience {
    /// 0.2 s, 0.4 s, ... 10 s: about 45 s in all, which outlasts the restart of an API server.
    fn default() -> Self {
        Self {
            first: Duration::from_millis(200),
            most: Duration::from_secs(10),
            times: 9,
        }
    }
}

impl Patience {
    pub(crate) fn pauses(self) -> ExponentialBuilder {
        ExponentialBuilder::new()
            .with_min_delay(self.first)
            .with_max_delay(self.most)
            .with_max_times(self.times)
            .with_jitter()
    }
}

/// What may be done when a request fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Doing it twice is the same as once: repeat after 429, 5xx and lost connections.
    Safe,
    /// Only when it cannot have taken effect: 429, 503, or no connection came about.
    Untouched,
}

/// A request to be made.
#[derive(Clone)]
pub(crate) struct Call {
    method: Method,
    path: String,
    content_type: &'static str,
    body: Option<Bytes>,
    /// For errors: `get ConfigMap redis-config in 3scale`, with backticks where they belong.
    attempt: String,
    repeat: Repeat,
    /// Whether the server's sentence may hold a secret.
    secret: bool,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Call({} {})", self.method, self.path)
    }
}

impl Call {
    fn new(method: Method, path: String, attempt: String, repeat: Repeat) -> Self {
        Self {
            method,
            path,
            content_type: "application/json",
            body: None,
            attempt,
            repeat,
            secret: false,
        }
    }

    pub(crate) fn get(path: String, attempt: String) -> Self {
        Self::new(Method::GET, path, attempt, Repeat::Safe)
    }

    /// Creates something. `repeat` says whether a second one would do harm.
    pub(crate) fn post(path: String, attempt: String, body: &Value, repeat: Repeat) -> Self {
        Self::new(Method::POST, path, attempt, repeat).with(body)
    }

    /// Replaces an object; `body` carries the `resourceVersion`, so twice is a conflict and no harm.
    pub(crate) fn put(path: String, attempt: String, body: &Value) -> Self {
        Self::new(Method::PUT, path, attempt, Repeat::Safe).with(body)
    }

    /// Merge patch or server-side apply: twice is the same as once.
    pub(crate) fn patch(
        path: String,
        attempt: String,
        content_type: &'static str,
        body: &Value,
    ) -> Self {
        let mut call = Self::new(Method::PATCH, path, attempt, Repeat::Safe).with(body);
        call.content_type = content_type;
        call
    }

    /// Keeps the server's sentences out of errors.
    pub(crate) fn about_secret(mut self, secret: bool) -> Self {
        self.secret = secret;
        self
    }

    fn with(mut self, body: &Value) -> Self {
        self.body = Some(Bytes::from(body.to_string()));
        self
    }
}

/// Makes requests, with patience.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) client: kube::Client,
    pub(crate) url: String,
    pub(crate) patience: Patience,
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller").field("url", &self.url).finish()
    }
}

impl Caller {
    /// Makes the call and reads the answer.
    pub(crate) async fn answer<T: DeserializeOwned>(&self, call: Call) -> Result<T, Error> {
        let bytes = self.bytes(&call).await?;
        serde_json::from_slice(&bytes).map_err(|error| Error::Garbled {
            attempt: call.attempt,
            // Not the error's own text: it may quote the answer.
            what: format!(
                "no JSON of the expected shape at line {}, column {}",
                error.line(),
                error.column()
            ),
        })
    }

    /// As [`answer`](Self::answer); what does not exist is `None`.
    pub(crate) async fn find<T: DeserializeOwned>(&self, call: Call) -> Result<Option<T>, Error> {
        match self.answer(call).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn bytes(&self, call: &Call) -> Result<Bytes, Error> {
        let once = || async { self.once(call).await };
        once.retry(self.patience.pauses())
            .when(|failure| failure.may_repeat(call.repeat))
            .adjust(pause)
            .notify(|failure, pause| {
                tracing::info!(%failure, ?pause, "the API refused a request, asking again");
            })
            .await
            .map_err(|failure| failure.error)
    }

    async fn once(&self, call: &Call) -> Result<Bytes, Failure> {
        let request = Request::builder()
            .method(call.method.clone())
            .uri(&call.path)
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, call.content_type)
            .body(Body::from(call.body.clone().unwrap_or_default().to_vec()))
            .map_err(|error| {
                Failure::final_one(Error::Garbled {
                    attempt: call.attempt.clone(),
                    what: text::sentence(&error.to_string()),
                })
            })?;
        let exchange = async {
            let response = self.client.send(request).await?;
            let (parts, body) = response.into_parts();
            Ok::<_, kube::Error>((parts, body.collect_bytes().await?))
        };
        let (parts, body) = match tokio::time::timeout(ANSWER_TIMEOUT, exchange).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(self.lost(&call.attempt, &error)),
            Err(_) => {
                let reason = format!("no answer within {} s", ANSWER_TIMEOUT.as_secs());
                return Err(self.unreachable(&call.attempt, reason, false));
            }
        };
        if parts.status.is_success() {
            return Ok(body);
        }
        let code = parts.status.as_u16();
        Err(refused(
            &call.attempt,
            code,
            &parts.headers,
            &body,
            call.secret,
        ))
    }

    /// No answer came.
    pub(crate) fn lost(&self, attempt: &str, error: &kube::Error) -> Failure {
        self.unreachable(attempt, innermost(error), never_connected(error))
    }

    pub(crate) fn unreachable(&self, attempt: &str, reason: String, untouched: bool) -> Failure {
        Failure {
            error: Error::Unreachable {
                attempt: attempt.to_owned(),
                url: self.url.clone(),
                reason,
            },
            safe: true,
            untouched,
        }
    }
}

/// A failed request, and what that means for repeating it.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: Error,
    /// It may pass.
    safe: bool,
    /// It may pass, and the request cannot have taken effect.
    untouched: bool,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl Failure {
    /// A failure that no repetition will mend.
    pub(crate) fn final_one(error: Error) -> Self {
        Self {
            error,
            safe: false,
            untouched: false,
        }
    }

    pub(crate) fn may_repeat(&self, repeat: Repeat) -> bool {
        match repeat {
            Repeat::Safe => self.safe,
            Repeat::Untouched => self.untouched,
        }
    }
}

/// The server's own pause where it names one, else ours. `None` ends the repetition.
pub(crate) fn pause(failure: &Failure, ours: Option<Duration>) -> Option<Duration> {
    let ours = ours?;
    match &failure.error {
        Error::Api {
            retry_after: Some(wanted),
            ..
        } => Some((*wanted).clamp(ours.min(LONGEST_PAUSE), LONGEST_PAUSE)),
        _ => Some(ours),
    }
}

/// Reads a refusal: a `Status` where the server sent one, else the text of whatever stands between.
pub(crate) fn refused(
    attempt: &str,
    code: u16,
    headers: &HeaderMap,
    body: &[u8],
    secret: bool,
) -> Failure {
    let status = serde_json::from_slice::<Status>(body).ok();
    let retry_after = headers
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.trim().parse::<u64>().ok())
        .or_else(|| {
            let details = status.as_ref()?.details.as_ref()?;
            (details.retry_after_seconds > 0).then_some(u64::from(details.retry_after_seconds))
        })
        .map(Duration::from_secs);
    let message = match &status {
        Some(status) if secret => without_values(status),
        Some(status) if !status.message.is_empty() => text::sentence(&status.message),
        Some(status) => text::sentence(&status.reason),
        None if secret || body.is_empty() => String::new(),
        None => text::sentence(&String::from_utf8_lossy(body)),
    };
    let message = if message.is_empty() {
        format!("the server answered {code}")
    } else {
        message
    };
    Failure {
        error: Error::Api {
            attempt: attempt.to_owned(),
            refusal: Refusal::of(code),
            code,
            message,
            retry_after,
        },
        safe: matches!(code, 408 | 429 | 500 | 502 | 503 | 504),
        // Both are answers of somebody who did not take the request on. 500, 502 and 504 are not.
        untouched: matches!(code, 429 | 503),
    }
}

/// The reason and the fields of a refusal. Messages quote the values that were sent.
fn without_values(status: &Status) -> String {
    let mut parts = vec![text::sentence(&status.reason)];
    if let Some(details) = &status.details {
        let fields = details.causes.iter().map(|cause| &cause.field);
        parts.extend(
            fields
                .filter(|field| !field.is_empty())
                .map(|field| format!("`{}`", text::sentence(field))),
        );
    }
    // Only a validation quotes values; who may do what, and that a thing is missing, is worth saying.
    if matches!(status.code, 401 | 403 | 404 | 429) || status.reason == "AlreadyExists" {
        return text::sentence(&status.message);
    }
    parts.retain(|part| !part.is_empty());
    parts.join(": ")
}

/// The innermost cause: what the operating system or TLS said.
fn innermost(error: &kube::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    text::sentence(&cause.to_string())
}

/// Whether the failure came before a connection existed, so that nothing can have been asked.
fn never_connected(error: &kube::Error) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if let Some(http) = error.downcast_ref::<hyper_util::client::legacy::Error>() {
            return http.is_connect();
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests;
