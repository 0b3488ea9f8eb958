//! Moves bytes from a source to a sink without the guest: read, hashed and written at once.
//!
//! Reading and hashing have a task each, writing stays with the caller; bounded channels join them.
//! Chunks are handed on, never copied. Must never take the end of a channel for the end of a
//! stream: only the source's own `None` is that.

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::host::{HostError, Sink, Source};
use crate::limits::{EDGE_BYTES, QUEUED_CHUNKS};
use crate::state::OpenSource;

/// What went through.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) bytes: u64,
    /// 64 hex digits.
    pub(crate) sha256: String,
    pub(crate) head: Vec<u8>,
    pub(crate) tail: Vec<u8>,
}

/// Which side failed.
#[derive(Debug)]
pub(crate) enum Broken {
    Source(HostError),
    Sink(HostError),
}

/// Moves everything to the proven end; without a sink the bytes are only looked at.
///
/// Dropping the future ends the tasks and drops the source.
pub(crate) async fn pump(source: OpenSource, sink: Option<&mut dyn Sink>) -> Result<Moved, Broken> {
    let (to_hash, hashing) = mpsc::channel(QUEUED_CHUNKS);
    let reading = AbortOnDropHandle::new(tokio::spawn(read(source, to_hash)));
    match sink {
        None => {
            let moved = look(hashing, None).await;
            ended(reading).await.map_err(Broken::Source)?;
            Ok(moved)
        }
        Some(sink) => {
            let (to_write, mut writing) = mpsc::channel(QUEUED_CHUNKS);
            let looking = AbortOnDropHandle::new(tokio::spawn(look(hashing, Some(to_write))));
            while let Some(chunk) = writing.recv().await {
                sink.write(chunk).await.map_err(Broken::Sink)?;
            }
            ended(reading).await.map_err(Broken::Source)?;
            looking.await.map_err(|_| Broken::Source(lost()))
        }
    }
}

/// Moves everything from `source` to `sink` with no module between, and returns the number of bytes: what
/// a module's `streams.transfer` is measured against.
///
/// # Errors
/// That of the side which failed.
pub async fn directly(source: Box<dyn Source>, sink: &mut dyn Sink) -> Result<u64, HostError> {
    match pump(OpenSource::new(source), Some(sink)).await {
        Ok(moved) => Ok(moved.bytes),
        Err(Broken::Source(error) | Broken::Sink(error)) => Err(error),
    }
}

/// Reads to the proven end; an error, or a reader behind that went away, is the result.
async fn read(mut source: OpenSource, to: mpsc::Sender<Bytes>) -> Result<(), HostError> {
    while let Some(chunk) = source.next().await? {
        if to.send(chunk).await.is_err() {
            return Err(lost());
        }
    }
    Ok(())
}

async fn ended(reading: AbortOnDropHandle<Result<(), HostError>>) -> Result<(), HostError> {
    reading.await.map_err(|_| lost())?
}

/// Only when a task of the pump itself panicked or the runtime is going down.
fn lost() -> HostError {
    HostError::Failed {
        code: "transfer-lost",
        message: "the transfer was given up".to_owned(),
    }
}

/// Counts and hashes what comes by, and hands it on.
async fn look(mut from: mpsc::Receiver<Bytes>, to: Option<mpsc::Sender<Bytes>>) -> Moved {
    let mut bytes = 0_u64;
    let mut digest = Sha256::new();
    let mut head = Vec::new();
    let mut tail = Tail::default();
    while let Some(chunk) = from.recv().await {
        bytes = bytes.saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
        digest.update(&chunk);
        let missing = EDGE_BYTES - head.len();
        head.extend_from_slice(chunk.get(..missing).unwrap_or(&chunk));
        tail.push(&chunk);
        if let Some(to) = &to {
            // The writer went away: it knows why, and the reader stops at the next chunk.
            if to.send(chunk).await.is_err() {
                break;
            }
        }
    }
    Moved {
        bytes,
        sha256: hex::encode(digest.finalize()),
        head,
        tail: tail.finish(),
    }
}

/// The last bytes of a stream. A large chunk is kept by reference, small ones are put together.
#[derive(Debug, Default)]
struct Tail {
    large: Option<Bytes>,
    small: Vec<u8>,
}

impl Tail {
    fn push(&mut self, chunk: &Bytes) {
        if let Some(start) = chunk.len().checked_sub(EDGE_BYTES) {
            self.large = Some(chunk.slice(start..));
            self.small.clear();
            return;
        }
        if let Some(large) = self.large.take() {
            self.small.extend_from_slice(&large);
        }
        self.small.extend_from_slice(chunk);
        // Shortened at twice the size, so that a stream of single bytes is not moved for each.
        if self.small.len() >= 2 * EDGE_BYTES {
            self.shorten();
        }
    }

    fn shorten(&mut self) {
        let surplus = self.small.len().saturating_sub(EDGE_BYTES);
        self.small.drain(..surplus);
    }

    fn finish(mut self) -> Vec<u8> {
        self.shorten();
        self.large.map_or(self.small, |large| large.to_vec())
    }
}

#[cfg(test)]
mod tests;
