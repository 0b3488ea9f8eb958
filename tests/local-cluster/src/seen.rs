//! Which requests the server has seen, so that a test can prove what was *not* asked for. Bodies
//! and tokens are never written down.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// Requests that are remembered. Older ones are forgotten.
const REMEMBERED: usize = 20_000;

/// One request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SeenRequest {
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The `User-Agent`.
    pub agent: String,
}

/// The requests, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    requests: Mutex<VecDeque<SeenRequest>>,
}

impl Seen {
    /// Remembers a request.
    pub(crate) fn record(&self, method: &str, path: &str, agent: &str) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.push_back(SeenRequest {
            method: method.to_owned(),
            path: path.to_owned(),
            agent: agent.to_owned(),
        });
        while requests.len() > REMEMBERED {
            requests.pop_front();
        }
    }

    /// All that are remembered.
    pub(crate) fn all(&self) -> Vec<SeenRequest> {
        self.requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .cloned()
            .collect()
    }

    /// Forgets them.
    pub(crate) fn clear(&self) {
        self.requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}
