//! The clock that computing guests are interrupted by: one plain thread an engine.
//!
//! A plain thread, because a guest that spins may hold every thread of the asynchronous runtime.
//! Must never tick while no call is going on.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::limits;

#[derive(Debug, Default)]
struct State {
    calls: usize,
    stopped: bool,
}

type Shared = Arc<(Mutex<State>, Condvar)>;

/// The thread. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Ticker {
    shared: Shared,
}

/// A call that is going on. While one is held the engine's epoch advances.
#[derive(Debug)]
pub(crate) struct Ticking {
    shared: Shared,
}

fn lock(shared: &Shared) -> MutexGuard<'_, State> {
    shared.0.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ticker {
    /// Starts the thread.
    pub(crate) fn start(engine: &wasmtime::Engine) -> std::io::Result<Self> {
        let shared = Shared::default();
        let weak = engine.weak();
        let theirs = Arc::clone(&shared);
        thread::Builder::new()
            .name("module-clock".to_owned())
            .spawn(move || {
                let mut state = lock(&theirs);
                while !state.stopped {
                    state = if state.calls == 0 {
                        theirs.1.wait(state).unwrap_or_else(PoisonError::into_inner)
                    } else {
                        let Some(engine) = weak.upgrade() else { return };
                        engine.increment_epoch();
                        drop(engine);
                        theirs
                            .1
                            .wait_timeout(state, limits::TICK)
                            .unwrap_or_else(PoisonError::into_inner)
                            .0
                    };
                }
            })?;
        Ok(Self { shared })
    }

    /// Ticks until the guard is dropped.
    pub(crate) fn tick(&self) -> Ticking {
        lock(&self.shared).calls += 1;
        self.shared.1.notify_all();
        Ticking {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl Drop for Ticking {
    fn drop(&mut self) {
        lock(&self.shared).calls -= 1;
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        lock(&self.shared).stopped = true;
        self.shared.1.notify_all();
    }
}
