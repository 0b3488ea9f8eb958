//! When a controller takes notice of a new generation: a moment after it was made, as in a real
//! cluster, where the status of the old generation is seen for a while.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::document;
use crate::faults::{Board, Circumstance, Fault};

/// The usual moment. The recorded server took 10 to 20 ms; a client that does not wait for
/// `observedGeneration` is caught by more.
const MOMENT: Duration = Duration::from_millis(100);

/// When each generation was first seen.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    seen: BTreeMap<String, (i64, Instant)>,
    wake: Option<Instant>,
}

impl Notices {
    /// Whether the controller may act on the present generation of an object.
    pub(crate) fn taken(&mut self, faults: &Board, object: &Value) -> bool {
        let generation = document::number(object, "/metadata/generation").unwrap_or(0);
        if document::number(object, "/status/observedGeneration") == Some(generation) {
            return true;
        }
        let circumstance = Circumstance {
            name: document::name(object),
            ..Circumstance::default()
        };
        let ordered = faults.look(circumstance, |fault| match fault {
            Fault::SlowRollout { milliseconds } => Some(Duration::from_millis(*milliseconds)),
            _ => None,
        });
        let now = Instant::now();
        let entry = self
            .seen
            .entry(document::uid(object).to_owned())
            .or_insert((generation, now));
        if entry.0 != generation {
            *entry = (generation, now);
        }
        let due = entry.1 + ordered.unwrap_or(MOMENT);
        if due <= now {
            return true;
        }
        self.wake = Some(self.wake.map_or(due, |wake| wake.min(due)));
        false
    }

    /// When to look again, if anything waits; asking forgets it.
    pub(crate) fn next_wake(&mut self) -> Option<Instant> {
        self.wake.take()
    }
}
