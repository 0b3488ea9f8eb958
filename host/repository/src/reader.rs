//! Reads an artifact back, and says at its end whether it is what was written.
//!
//! The end of a stream must never be reported before length and digest were compared with the evidence.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use rustic_core::repofile::{BlobType, Node};
use rustic_core::{BlobId, DataId};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::evidence::ArtifactSummary;
use crate::names::SnapshotId;
use crate::repository::{Indexed, blocking};

/// Chunks fetched ahead of the reader: enough to hide the way to an object store, at about 1 MiB each.
const AHEAD: usize = 4;

type Chunks = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>;

#[derive(Clone, Copy, Debug)]
enum State {
    Reading,
    /// The end was reached and proven right.
    Ended,
    /// An error was said; a reader that asks again must not take silence for the end.
    Failed,
}

/// The bytes of an artifact, in order.
pub struct ArtifactReader {
    snapshot: SnapshotId,
    summary: ArtifactSummary,
    chunks: Chunks,
    hasher: Sha256,
    bytes: u64,
    state: State,
}

impl fmt::Debug for ArtifactReader {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ArtifactReader")
            .field("snapshot", &self.snapshot)
            .field("name", &self.summary.name)
            .field("read", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl ArtifactReader {
    pub(crate) fn new(
        index: Arc<Indexed>,
        snapshot: SnapshotId,
        summary: ArtifactSummary,
        node: Node,
    ) -> Self {
        let content: Vec<DataId> = node.content.unwrap_or_default();
        let attempt = format!(
            "read artifact `{}` of snapshot `{}`",
            summary.name,
            snapshot.short()
        );
        let chunks = stream::iter(content)
            .map(move |id| {
                let (index, attempt) = (Arc::clone(&index), attempt.clone());
                blocking("read a chunk", move || {
                    index
                        .repository
                        .get_blob_cached(&BlobId::from(*id), BlobType::Data)
                        .map_err(Error::format(attempt))
                })
            })
            .buffered(AHEAD)
            .boxed();
        Self {
            snapshot,
            summary,
            chunks,
            hasher: Sha256::new(),
            bytes: 0,
            state: State::Reading,
        }
    }

    /// What the evidence says about the artifact.
    #[must_use]
    pub fn summary(&self) -> &ArtifactSummary {
        &self.summary
    }

    /// The next bytes, or `None` at an end that was proven right.
    ///
    /// # Errors
    /// [`Error::Damaged`] instead of the end if length or digest differ from the evidence, [`Error::Format`] if a chunk is
    /// missing or damaged. Bytes handed out before an error must not be trusted as a whole.
    pub async fn read(&mut self) -> Result<Option<Bytes>> {
        match self.state {
            State::Reading => {}
            State::Ended => return Ok(None),
            State::Failed => {
                return Err(Error::AlreadyFailed {
                    reason: "the artifact is not whole".to_owned(),
                });
            }
        }
        let next = self.chunks.next().await;
        // Until the outcome is known.
        self.state = State::Failed;
        match next {
            Some(chunk) => {
                let chunk = chunk?;
                self.bytes += chunk.len() as u64;
                self.hasher.update(&chunk);
                self.state = State::Reading;
                Ok(Some(chunk))
            }
            None => {
                self.compare()?;
                self.state = State::Ended;
                Ok(None)
            }
        }
    }

    fn compare(&mut self) -> Result<()> {
        let digest = hex::encode(std::mem::take(&mut self.hasher).finalize());
        let reason = if self.bytes != self.summary.bytes {
            format!(
                "it has {} bytes instead of {}",
                self.bytes, self.summary.bytes
            )
        } else if digest != self.summary.sha256 {
            format!(
                "its SHA-256 is `{digest}` instead of `{}`",
                self.summary.sha256
            )
        } else {
            return Ok(());
        };
        let (snapshot, name) = (self.snapshot.clone(), self.summary.name.clone());
        Err(Error::Damaged {
            snapshot,
            name,
            reason,
        })
    }
}
