//! One call into a module: a store of its own, every limit around it, and a report at the end.
//!
//! Must never let a store outlive its call: dropping it is what gives up commands and artifacts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cofferdam_policy::name::ArtifactName;
use cofferdam_policy::request::RunKind;
use tokio_util::sync::CancellationToken;
use wasmtime::{Store, UpdateDeadline};

use crate::binding::Binding;
use crate::bindings::ModulePre;
use crate::bindings::cofferdam::module::types;
use crate::failure::{CallError, ModuleFailure};
use crate::host::{Host, LeaseId};
use crate::limits;
use crate::load::Module;
use crate::state::CallState;

/// What a module is called for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Keep the data set.
    Backup,
    /// Bring it back.
    Restore,
    /// Prove that what was kept can be used.
    Verify,
}

impl From<RunKind> for Action {
    fn from(kind: RunKind) -> Self {
        match kind {
            RunKind::Backup => Self::Backup,
            RunKind::Restore => Self::Restore,
            RunKind::Verify => Self::Verify,
        }
    }
}

/// How one call is made.
#[derive(Debug, Clone, Default)]
pub struct CallOptions {
    /// A shorter wall time than the engine's limit; a longer one has no effect.
    pub wall: Option<Duration>,
    /// Cancels the call: the module gets the engine's grace time to come home, then it is dropped.
    /// That its own calls end with `cancelled` meanwhile is the host's part.
    pub cancel: CancellationToken,
}

/// What a call did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallReport {
    /// The artifacts that exist now, in the order they were committed or saved.
    pub committed: Vec<ArtifactName>,
    /// The artifacts that were begun and given up.
    pub abandoned: Vec<ArtifactName>,
    /// The leases that are still held, in the order they were taken: the host puts them back.
    pub leases_left: Vec<LeaseId>,
    /// How often the manifest did not allow something.
    pub refused: u64,
    /// How often the host denied something.
    pub denied: u64,
    /// Wall time.
    pub elapsed: Duration,
    /// Time that the guest itself computed.
    pub computing: Duration,
    /// The most memory that the guest had, in bytes.
    pub peak_memory: u64,
    /// Log lines beyond the limits, which were dropped.
    pub log_lines_dropped: u64,
}

/// How the guest left.
enum Left {
    Returned(wasmtime::Result<Result<(), types::Error>>),
    TooLate,
    Cancelled,
}

impl Module {
    /// Calls the module. Dropping the future gives the call up at once.
    ///
    /// Must be polled on a tokio runtime: streams are moved by tasks of their own.
    ///
    /// # Errors
    /// [`CallError`]: what the module returned, which limit it met, how it crashed, or that a backup
    /// kept nothing. Leases that it held are the host's to put back in every case.
    pub async fn call(
        &self,
        action: Action,
        host: Arc<dyn Host>,
        binding: &Arc<Binding>,
        options: CallOptions,
    ) -> Result<CallReport, CallError> {
        if !Arc::ptr_eq(binding.manifest(), self.manifest()) {
            return Err(CallError::ForeignBinding);
        }
        let begun = Instant::now();
        let engine = &self.inner.engine.inner;
        let wall = options
            .wall
            .map_or(engine.limits.wall, |wall| wall.min(engine.limits.wall));
        let state = CallState::new(host, Arc::clone(binding), engine.limits.memory);
        let meter = state.meter.clone();
        let mut store = Store::new(&engine.engine, state);
        bound(&mut store, engine.limits.compute);
        let ticking = engine.ticker.tick();
        let left = {
            let running = meter.around(Box::pin(run(&mut store, &self.inner.pre, action)));
            tokio::pin!(running);
            tokio::select! {
                biased;
                result = &mut running => Left::Returned(result),
                () = options.cancel.cancelled() => {
                    match tokio::time::timeout(engine.limits.grace, running).await {
                        Ok(Ok(Ok(()))) => Left::Returned(Ok(Ok(()))),
                        Ok(_) | Err(_) => Left::Cancelled,
                    }
                }
                () = tokio::time::sleep(wall) => Left::TooLate,
            }
        };
        drop(ticking);
        let state = store.into_data();
        let last_words = state.log_gate().last_error();
        match left {
            Left::TooLate => return Err(CallError::TimeExhausted { limit: wall }),
            Left::Cancelled => return Err(CallError::Cancelled),
            Left::Returned(Err(trap)) => {
                return Err(CallError::from_trap(trap, last_words, &engine.limits));
            }
            Left::Returned(Ok(Err(error))) => {
                return Err(CallError::Module(ModuleFailure::new(error)));
            }
            Left::Returned(Ok(Ok(()))) => {}
        }
        let report = report(state, begun.elapsed());
        if action == Action::Backup && report.committed.is_empty() {
            return Err(CallError::NothingKept);
        }
        Ok(report)
    }
}

async fn run(
    store: &mut Store<CallState>,
    pre: &ModulePre<CallState>,
    action: Action,
) -> wasmtime::Result<Result<(), types::Error>> {
    let instance = pre.instantiate_async(&mut *store).await?;
    let data_set = instance.cofferdam_module_data_set();
    match action {
        Action::Backup => data_set.call_backup(store).await,
        Action::Restore => data_set.call_restore(store).await,
        Action::Verify => data_set.call_verify(store).await,
    }
}

/// Puts every limit on a store.
fn bound(store: &mut Store<CallState>, compute: Duration) {
    store.limiter(|state| &mut state.memory);
    store.set_hostcall_fuel(limits::HOSTCALL_BYTES);
    store.set_max_component_handles(limits::HANDLES);
    let meter = store.data().meter.clone();
    store.set_epoch_deadline(1);
    // At each tick a computing guest lets the others run, until its time is used up.
    store.epoch_deadline_callback(move |_| {
        Ok(if meter.computed() > compute {
            UpdateDeadline::Interrupt
        } else {
            UpdateDeadline::Yield(1)
        })
    });
}

fn report(state: CallState, elapsed: Duration) -> CallReport {
    let log_lines_dropped = state.log_gate().dropped();
    let book = state.book;
    let abandoned = book
        .begun
        .into_iter()
        .filter(|name| !book.committed.contains(name))
        .collect();
    CallReport {
        committed: book.committed,
        abandoned,
        leases_left: book.leases,
        refused: book.refused,
        denied: book.denied,
        elapsed,
        computing: state.meter.computed(),
        peak_memory: state.memory.peak(),
        log_lines_dropped,
    }
}
