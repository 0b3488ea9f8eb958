//! Waiting for conditions, and the named steps of a run.
//!
//! Nothing sleeps blindly and nothing waits for ever: each wait has a condition and a deadline.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::host::{Host, Level, StepState};

impl dyn Host + '_ {
    /// Asks `look` until it gives a value. It is asked at least once, and once more at the
    /// deadline, so that a slow answer is not taken for none. Errors of `look` end the wait.
    ///
    /// # Errors
    /// `TimedOut` with `what`, `Cancelled`, and whatever `look` fails with.
    pub fn wait_until<T>(
        &self,
        what: &str,
        deadline: Duration,
        every: Duration,
        mut look: impl FnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        let start = self.now();
        loop {
            if let Some(value) = look()? {
                return Ok(value);
            }
            let waited = Duration::from_millis(self.now().saturating_sub(start));
            let Some(left) = deadline.checked_sub(waited).filter(|left| !left.is_zero()) else {
                return Err(Error::TimedOut(format!(
                    "waited {} s for {what}",
                    deadline.as_secs()
                )));
            };
            self.sleep(every.min(left))?;
        }
    }

    /// Does a named step of the journal. A step that an earlier run left is done again: what the
    /// step does must bear that, and the log says it.
    ///
    /// # Errors
    /// What the journal or the step fails with.
    pub fn step<T>(&self, name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        match self.begin_step(name)? {
            StepState::Fresh => {}
            StepState::Interrupted => {
                self.info(&format!(
                    "step `{name}` was interrupted in an earlier run: doing it again"
                ));
            }
            StepState::Done => {
                self.info(&format!(
                    "step `{name}` was done in an earlier run: doing it again"
                ));
            }
        }
        let value = work()?;
        self.finish_step(name)?;
        Ok(value)
    }

    /// A line about what happens.
    pub fn info(&self, message: &str) {
        self.log(Level::Info, message);
    }

    /// A line that a person should look at.
    pub fn warn(&self, message: &str) {
        self.log(Level::Warn, message);
    }
}
