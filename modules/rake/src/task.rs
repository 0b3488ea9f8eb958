//! Running the task until it ends well, while the application may still be coming up.
//!
//! An error of the task is a matter of time, up to the number of attempts. A command whose end is
//! not known may be running: it is not started beside itself.

use std::time::Duration;

use cofferdam_guest_sdk::{Context, Error, Host, Outcome, Pod, Result, Target, last_line};

/// Between two looks for a ready pod.
const LOOK: Duration = Duration::from_secs(2);
/// What a failing task said last: enough for a Ruby exception, short enough for a line.
const SAID_BYTES: usize = 300;

pub(crate) struct Task<'a> {
    host: &'a dyn Host,
    target: &'a dyn Target,
    name: &'a str,
    attempts: u64,
    pause: Duration,
    ready_deadline: Duration,
}

/// How one attempt ended, where that is no error.
enum Attempt {
    Done,
    /// It ended with an error, and what it said.
    Failed(String),
    /// It went down with its pod.
    PodGone(Error),
}

impl<'a> Task<'a> {
    pub(crate) fn new(host: &'a dyn Host, target: &'a dyn Target, name: &'a str) -> Result<Self> {
        Ok(Self {
            host,
            target,
            name,
            attempts: host.parsed("attempts")?,
            pause: host.duration("pause")?,
            ready_deadline: host.duration("ready-deadline")?,
        })
    }

    pub(crate) fn run(&self) -> Result<()> {
        let mut last = String::new();
        for attempt in 1..=self.attempts {
            if attempt > 1 {
                self.host.sleep(self.pause)?;
            }
            self.host
                .progress("task", attempt, Some(self.attempts), "attempts");
            match self.attempt()? {
                Attempt::Done => {
                    self.host.info(&format!(
                        "`rake {}` ended with 0 at attempt {attempt}",
                        self.name
                    ));
                    return Ok(());
                }
                Attempt::Failed(said) => last = said,
                Attempt::PodGone(error) => last = error.to_string(),
            }
            self.host.warn(&format!(
                "attempt {attempt} of {} of `rake {}` failed: {last}",
                self.attempts, self.name
            ));
        }
        Err(Error::failed(
            "task-failed",
            format!(
                "`rake {}` failed {} times, the last time with: {last}; the data are restored, so restore this data set again with `--only` once the application is well",
                self.name, self.attempts
            ),
        ))
    }

    fn attempt(&self) -> Result<Attempt> {
        let pod = self.ready_pod()?;
        match self.start(&*pod) {
            Ok(outcome) if outcome.exit_code == 0 => {
                let said = last_line(&outcome.stdout);
                if !said.is_empty() {
                    self.host.info(&format!("`rake` said: {}", short(&said)));
                }
                Ok(Attempt::Done)
            }
            Ok(outcome) => Ok(Attempt::Failed(said(&outcome))),
            Err(error) if self.is_gone(&*pod, &error)? => Ok(Attempt::PodGone(error)),
            // It was not started, so it cannot be running.
            Err(error) if error.is_retryable() => Ok(Attempt::Failed(error.to_string())),
            Err(error) => Err(error.context(format!(
                "how `rake {}` ended is not known, and it may be running in pod `{}`",
                self.name,
                pod.name()
            ))),
        }
    }

    /// Any ready pod will do: they all have the same application.
    fn ready_pod(&self) -> Result<Box<dyn Pod>> {
        let what = format!("a ready pod of `{}`", self.target.name());
        self.host
            .wait_until(&what, self.ready_deadline, LOOK, || {
                match self.target.pods() {
                    Ok(pods) => Ok(pods.into_iter().next()),
                    Err(error) if error.is_retryable() => Ok(None),
                    Err(error) => Err(error),
                }
            })
            .context(format!("failed to run `rake {}`", self.name))
    }

    fn start(&self, pod: &dyn Pod) -> Result<Outcome> {
        if let Some(outcome) = pod.run_if_there("run", &[])? {
            return Ok(outcome);
        }
        self.host.info(&format!(
            "pod `{}` finds no `bundle` by itself: asking its shell",
            pod.name()
        ));
        pod.run_if_there("run-by-shell", &[])?.ok_or_else(|| {
            Error::NotFound(format!(
                "the container of pod `{}` has no `bundle`: bind role `rails` to the container of the Rails application",
                pod.name()
            ))
        })
    }

    /// Whether the pod in which the command ran is no more, and the command with it.
    fn is_gone(&self, pod: &dyn Pod, error: &Error) -> Result<bool> {
        match error.code() {
            Some("pod-gone") => Ok(true),
            Some("stream-cut" | "no-status") => {
                let pods = self.target.pods()?;
                Ok(!pods.iter().any(|one| one.name() == pod.name()))
            }
            _ => Ok(false),
        }
    }
}

fn said(outcome: &Outcome) -> String {
    let mut words = last_line(outcome.stderr.as_bytes());
    if words.is_empty() {
        words = last_line(&outcome.stdout);
    }
    if words.is_empty() {
        "it said nothing".clone_into(&mut words);
    }
    format!("exit code {}: {}", outcome.exit_code, short(&words))
}

fn short(text: &str) -> &str {
    let mut end = text.len().min(SAID_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or(text)
}
