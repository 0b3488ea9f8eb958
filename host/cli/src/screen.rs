//! What a run says while it goes on: bars on a terminal, plain lines elsewhere, on standard error.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use cofferdam_engine::host::Level;
use cofferdam_policy::name::DataSetName;
use cofferdam_runs::event::{Event, Observer};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::output::{bytes, clean, milliseconds};
use crate::report;

/// Without a terminal, progress is a line now and then: logs are kept and read.
const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// Shows events.
#[derive(Debug)]
pub(crate) struct Screen {
    bars: Option<MultiProgress>,
    verbose: u8,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    bars: BTreeMap<DataSetName, ProgressBar>,
    told: BTreeMap<DataSetName, Instant>,
}

impl Screen {
    /// Bars where standard error is a terminal, lines elsewhere.
    pub(crate) fn new(verbose: u8) -> Self {
        let bars = std::io::stderr().is_terminal().then(MultiProgress::new);
        Self {
            bars,
            verbose,
            state: Mutex::default(),
        }
    }

    fn line(&self, text: &str) {
        let say = || {
            // Nothing can be said where standard error is closed.
            let _closed = writeln!(anstream::stderr(), "{text}");
        };
        match &self.bars {
            Some(bars) => bars.suspend(say),
            None => say(),
        }
    }

    fn begin(&self, data_set: &DataSetName) {
        let Some(bars) = &self.bars else {
            return self.line(&format!("{data_set}: begun"));
        };
        let bar = bars.add(ProgressBar::new_spinner());
        bar.set_style(spinner());
        bar.set_prefix(data_set.to_string());
        bar.enable_steady_tick(Duration::from_millis(120));
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .bars
            .insert(data_set.clone(), bar);
    }

    fn progress(
        &self,
        data_set: &DataSetName,
        step: &str,
        done: u64,
        total: Option<u64>,
        unit: &str,
    ) {
        let (shown, of) = match unit {
            "bytes" => (bytes(done), total.map(bytes)),
            _ => (done.to_string(), total.map(|total| total.to_string())),
        };
        let of = of.map(|of| format!(" of {of}")).unwrap_or_default();
        let unit = if unit == "bytes" {
            String::new()
        } else {
            format!(" {}", clean(unit))
        };
        let text = format!("{}: {shown}{of}{unit}", clean(step));
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bar) = state.bars.get(data_set) {
            bar.set_message(text);
        } else if state
            .told
            .get(data_set)
            .is_none_or(|told| told.elapsed() >= BETWEEN_LINES)
        {
            state.told.insert(data_set.clone(), Instant::now());
            drop(state);
            self.line(&format!("{data_set}: {text}"));
        }
    }

    fn end(&self, data_set: &DataSetName) {
        if let Some(bar) = self
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .bars
            .remove(data_set)
        {
            bar.finish_and_clear();
        }
    }
}

fn spinner() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {prefix:20} {elapsed:>5} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}

impl Observer for Screen {
    fn event(&self, event: &Event) {
        match event {
            Event::RunBegun {
                run,
                kind,
                data_sets,
            } => {
                let names: Vec<&str> = data_sets.iter().map(DataSetName::as_str).collect();
                self.line(&format!("{kind} {run}: {}", names.join(", ")));
            }
            Event::Recovered { text, .. } => self.line(&format!("recovered: {}", clean(text))),
            Event::Warning { text } => self.line(&format!("warning: {}", clean(text))),
            Event::DataSetBegun { data_set } => self.begin(data_set),
            Event::Progress {
                data_set,
                step,
                done,
                total,
                unit,
            } => self.progress(data_set, step, *done, *total, unit),
            Event::Log {
                data_set,
                level,
                message,
            } => {
                let word = match level {
                    Level::Error => "error: ",
                    Level::Warn => "warning: ",
                    Level::Info => "",
                    Level::Debug if self.verbose > 0 => "debug: ",
                    Level::Debug => return,
                };
                self.line(&format!("{data_set}: {word}{}", clean(message)));
            }
            Event::LeaseTaken { data_set, change } => {
                self.line(&format!("{data_set}: for now, {}", clean(change)));
            }
            Event::LeaseReleased {
                data_set,
                change,
                outcome,
            } => {
                self.line(&format!(
                    "{data_set}: put back ({}): {}",
                    clean(change),
                    clean(outcome)
                ));
            }
            Event::DataSetFinished(data_set) => {
                self.end(&data_set.name);
                match &data_set.failure {
                    None => self.line(&format!(
                        "{}: done, {} in {}",
                        data_set.name,
                        bytes(data_set.bytes),
                        milliseconds(data_set.milliseconds)
                    )),
                    Some(failure) => {
                        let say = || {
                            report::failure(
                                &format!("{}: {}", data_set.name, clean(&failure.message)),
                                failure.hint.as_deref(),
                            );
                        };
                        match &self.bars {
                            Some(bars) => bars.suspend(say),
                            None => say(),
                        }
                    }
                }
            }
        }
    }
}
