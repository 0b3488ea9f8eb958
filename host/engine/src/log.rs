//! A module's log and progress on their way to people: cleaned, bounded, and a flood cut off.
//!
//! Must never pass on a control character, nor more than the limits of a call.

use std::sync::Arc;
use std::time::Instant;

use crate::host::{Host, Level};
use crate::limits;
use crate::text::clean;

/// What a call may still say.
#[derive(Debug)]
pub(crate) struct LogGate {
    host: Arc<dyn Host>,
    lines: u64,
    bytes: usize,
    dropped: u64,
    last_error: Option<String>,
    last_progress: Option<(String, u64, Instant)>,
}

impl LogGate {
    pub(crate) fn new(host: Arc<dyn Host>) -> Self {
        Self {
            host,
            lines: 0,
            bytes: 0,
            dropped: 0,
            last_error: None,
            last_progress: None,
        }
    }

    /// Passes on one line, or counts it where too much was said already.
    pub(crate) fn line(&mut self, level: Level, message: &str) {
        let message = clean(message, limits::LOG_LINE_BYTES);
        if level == Level::Error {
            self.last_error = Some(message.clone());
        }
        self.lines += 1;
        self.bytes += message.len();
        if self.lines > limits::LOG_LINES || self.bytes > limits::LOG_BYTES {
            if self.dropped == 0 {
                let text = format!(
                    "the module logs more than {} lines or {} bytes: the rest of this call is dropped",
                    limits::LOG_LINES,
                    limits::LOG_BYTES
                );
                self.host.log(Level::Warn, &text);
            }
            self.dropped += 1;
            return;
        }
        self.host.log(level, &message);
    }

    /// Passes on progress, ten times a second at most unless the step is another or done.
    pub(crate) fn progress(&mut self, step: &str, done: u64, total: Option<u64>, unit: &str) {
        let now = Instant::now();
        let step = clean(step, limits::NAME_BYTES);
        let too_soon = self
            .last_progress
            .as_ref()
            .is_some_and(|(last, before, when)| {
                let ends = total == Some(done) && *before != done;
                *last == step && !ends && now.duration_since(*when) < limits::PROGRESS_INTERVAL
            });
        if too_soon {
            return;
        }
        self.host
            .progress(&step, done, total, &clean(unit, limits::NAME_BYTES));
        self.last_progress = Some((step, done, now));
    }

    /// How many lines were dropped.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The last line of level `error`: where a guest panics, its words.
    pub(crate) fn last_error(&self) -> Option<String> {
        self.last_error.clone()
    }
}
