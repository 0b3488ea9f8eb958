//! How long a guest has computed, and how much memory it has taken.
//!
//! Time is measured where it is spent, in the polls of the call: a guest that waits costs nothing.
//! Must never count what the host does on the guest's behalf.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use wasmtime::ResourceLimiter;

use crate::limits;

/// A clock for the computing time of one call. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Meter {
    inside: Arc<AtomicU64>,
    outside: Arc<AtomicU64>,
}

impl Meter {
    /// The time computed by the guest so far, without the poll that is going on.
    pub(crate) fn computed(&self) -> Duration {
        let inside = self.inside.load(Ordering::Relaxed);
        let outside = self.outside.load(Ordering::Relaxed);
        Duration::from_nanos(inside.saturating_sub(outside))
    }

    /// Wraps the whole call: its polls are counted.
    pub(crate) fn around<F: Future + Unpin>(&self, call: F) -> Metered<F> {
        Metered {
            future: call,
            counter: Arc::clone(&self.inside),
        }
    }

    /// Wraps what the host does within a call: its polls are not the guest's.
    pub(crate) fn outside<'a, T>(
        &self,
        work: impl Future<Output = T> + Send + 'a,
    ) -> Metered<Pin<Box<dyn Future<Output = T> + Send + 'a>>> {
        Metered {
            future: Box::pin(work),
            counter: Arc::clone(&self.outside),
        }
    }
}

/// A future whose polls are timed.
pub(crate) struct Metered<F> {
    future: F,
    counter: Arc<AtomicU64>,
}

impl<F: Future + Unpin> Future for Metered<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let begun = Instant::now();
        let poll = Pin::new(&mut self.future).poll(context);
        let nanoseconds = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.counter.fetch_add(nanoseconds, Ordering::Relaxed);
        poll
    }
}

/// The guest asked for more memory than it may have.
#[derive(Debug, thiserror::Error)]
#[error("the memory of the module is exhausted")]
pub(crate) struct MemoryExhausted;

/// Bounds memories, tables and instances of one call, and remembers the peak.
///
/// A growth that is refused traps with [`MemoryExhausted`]: answered with -1 it would end in a bare
/// `unreachable` somewhere in the guest's allocator.
#[derive(Debug)]
pub(crate) struct MemoryMeter {
    limit: u64,
    /// Bytes of all memories.
    used: u64,
}

impl MemoryMeter {
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, used: 0 }
    }

    /// Memories only grow, so what is used now is the peak.
    pub(crate) fn peak(&self) -> u64 {
        self.used
    }
}

impl ResourceLimiter for MemoryMeter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let more = u64::try_from(desired.saturating_sub(current))?;
        let total = self.used.saturating_add(more);
        if total > self.limit {
            return Err(wasmtime::Error::new(MemoryExhausted));
        }
        self.used = total;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if desired > limits::TABLE_ELEMENTS {
            return Err(wasmtime::Error::new(MemoryExhausted));
        }
        Ok(true)
    }

    fn instances(&self) -> usize {
        limits::INSTANCES
    }

    fn tables(&self) -> usize {
        limits::TABLES
    }

    fn memories(&self) -> usize {
        limits::MEMORIES
    }
}
