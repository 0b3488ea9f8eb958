//! What one call of a module holds: its host, its handles, and the book of what it did.
//!
//! Must never outlive the call: dropping it gives up every command, stream and artifact in it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use cofferdam_policy::name::{ArtifactName, CommandName, RoleName};
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::binding::Binding;
use crate::fault::{Answer, Fault};
use crate::host::{
    ArtifactSink, FileSink, Host, HostError, LeaseId, PodId, Refusal, Sink, Source, TargetView,
};
use crate::limits;
use crate::log::LogGate;
use crate::meter::{MemoryMeter, Meter};
use crate::text::clean;

/// The data of one store.
pub(crate) struct CallState {
    pub(crate) host: Arc<dyn Host>,
    pub(crate) binding: Arc<Binding>,
    pub(crate) table: ResourceTable,
    pub(crate) log: Arc<Mutex<LogGate>>,
    pub(crate) meter: Meter,
    pub(crate) memory: MemoryMeter,
    pub(crate) book: Book,
    /// The inputs of processes that the guest let go of, by the numbers of their processes: ended as
    /// soon as it is plain that it goes on with the command.
    pub(crate) let_go: BTreeMap<u64, Slot<OpenSink>>,
    wasi: Option<WasiCtx>,
}

/// What a call did.
#[derive(Debug, Default)]
pub(crate) struct Book {
    /// Artifacts that were begun.
    pub(crate) begun: BTreeSet<ArtifactName>,
    /// Artifacts that exist now.
    pub(crate) committed: Vec<ArtifactName>,
    /// Leases that are held, in the order they were taken.
    pub(crate) leases: Vec<LeaseId>,
    /// Times that the manifest did not allow something.
    pub(crate) refused: u64,
    /// Times that the host denied something.
    pub(crate) denied: u64,
    /// Processes that were started.
    pub(crate) processes: u64,
    /// Processes whose exit status was read.
    pub(crate) waited: BTreeSet<u64>,
}

/// A workload that the guest asked for.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct TargetEntry {
    pub(crate) role: RoleName,
    pub(crate) view: TargetView,
}

/// A pod that the guest asked for.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct PodEntry {
    pub(crate) id: PodId,
}

/// A lease that the guest took. Dropping the handle changes nothing: the host puts it back.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct LeaseEntry {
    pub(crate) id: LeaseId,
}

/// Where the bytes of a source come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Artifact,
    File,
    Process(u64),
}

/// A source of the guest.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct SourceEntry {
    pub(crate) origin: Origin,
    pub(crate) slot: Slot<OpenSource>,
    /// Whether its bytes must not reach the guest, nor go where the guest sends them.
    pub(crate) sealed: bool,
}

impl SourceEntry {
    pub(crate) fn new(origin: Origin, source: Box<dyn Source>) -> Self {
        Self {
            origin,
            slot: Slot::new(OpenSource::new(source)),
            sealed: false,
        }
    }
}

/// The bytes that are still to come.
pub(crate) struct OpenSource {
    pub(crate) source: Box<dyn Source>,
    /// Read from the source and not yet given to the guest.
    pub(crate) rest: Bytes,
    /// Whether the guest has read some of it.
    pub(crate) touched: bool,
    pub(crate) ended: bool,
}

impl OpenSource {
    pub(crate) fn new(source: Box<dyn Source>) -> Self {
        Self {
            source,
            rest: Bytes::new(),
            touched: false,
            ended: false,
        }
    }

    /// The next bytes; `None` at the proven end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, HostError> {
        if !self.rest.is_empty() {
            return Ok(Some(std::mem::take(&mut self.rest)));
        }
        if self.ended {
            return Ok(None);
        }
        let next = self.source.next().await?;
        self.ended = next.is_none();
        Ok(next)
    }
}

/// What a sink writes to.
#[derive(Debug, Clone)]
pub(crate) enum SinkKind {
    Artifact(ArtifactName),
    File,
    /// The stdin of a command.
    Stdin {
        command: CommandName,
        /// The number of its process.
        process: u64,
        /// Whether only whole artifacts may be fed to it.
        only_artifacts: bool,
    },
}

/// A sink of the guest.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct SinkEntry {
    pub(crate) kind: SinkKind,
    pub(crate) slot: Slot<OpenSink>,
    /// The processes whose output went in.
    pub(crate) fed_by: BTreeSet<u64>,
}

/// The way out.
pub(crate) enum OpenSink {
    Artifact(Box<dyn ArtifactSink>),
    File(Box<dyn FileSink>),
    Stdin(Box<dyn Sink>),
}

impl OpenSink {
    pub(crate) fn writer(&mut self) -> &mut dyn Sink {
        match self {
            Self::Artifact(sink) => sink.as_mut(),
            Self::File(sink) => sink.as_mut(),
            Self::Stdin(sink) => sink.as_mut(),
        }
    }
}

/// Something that is open, or why it is not. Clones share it: a process holds its streams too.
pub(crate) struct Slot<T>(Arc<Mutex<Result<T, Gone>>>);

/// Why a stream cannot be used any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gone {
    /// It was ended properly.
    Closed,
    /// A read or a transfer from it, or into it, was cut by the other side's failure.
    Cut,
    /// It itself failed.
    Failed,
}

impl<T> Clone for Slot<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Slot<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Arc::new(Mutex::new(Ok(value))))
    }

    fn lock(&self) -> MutexGuard<'_, Result<T, Gone>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes it out. Until it is put back it counts as cut: a dropped call must look like that.
    pub(crate) fn take(&self) -> Result<T, Gone> {
        let mut slot = self.lock();
        match &*slot {
            Ok(_) => std::mem::replace(&mut *slot, Err(Gone::Cut)),
            Err(gone) => Err(*gone),
        }
    }

    pub(crate) fn put_back(&self, value: T) {
        *self.lock() = Ok(value);
    }

    pub(crate) fn end(&self, gone: Gone) {
        *self.lock() = Err(gone);
    }
}

impl Gone {
    /// What the guest is told.
    pub(crate) fn fault(self, what: &str) -> Fault {
        Fault::invalid(match self {
            Self::Closed => format!("{what} is closed"),
            Self::Cut => format!("{what} was cut and cannot be used any more"),
            Self::Failed => format!("{what} failed and cannot be used any more"),
        })
    }
}

impl CallState {
    pub(crate) fn new(host: Arc<dyn Host>, binding: Arc<Binding>, memory: u64) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits::HANDLES);
        Self {
            log: Arc::new(Mutex::new(LogGate::new(Arc::clone(&host)))),
            host,
            binding,
            table,
            meter: Meter::default(),
            memory: MemoryMeter::new(memory),
            book: Book::default(),
            let_go: BTreeMap::new(),
            wasi: None,
        }
    }

    pub(crate) fn log_gate(&self) -> MutexGuard<'_, LogGate> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses what the manifest does not declare: the host hears of it, the guest is denied.
    pub(crate) fn refuse<T>(
        &mut self,
        capability: &'static str,
        subject: &str,
        message: String,
    ) -> Answer<T> {
        self.book.refused += 1;
        let refusal = Refusal {
            capability,
            subject: clean(subject, limits::SUMMARY_BYTES),
            message: clean(&message, limits::MESSAGE_BYTES),
        };
        self.host.refused(&refusal);
        Err(Fault::Host(HostError::Denied {
            capability: capability.to_owned(),
            rule: "manifest".to_owned(),
            subject: refusal.subject,
            message: refusal.message,
        }))
    }

    /// Counts a denial of the host on its way to the guest.
    pub(crate) fn answered<T>(&mut self, answer: Result<T, HostError>) -> Answer<T> {
        if matches!(answer, Err(HostError::Denied { .. })) {
            self.book.denied += 1;
        }
        answer.map_err(Fault::Host)
    }
}

impl WasiView for CallState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let ctx = self
            .wasi
            .get_or_insert_with(|| crate::wasi::locked_down(&self.log));
        WasiCtxView {
            ctx,
            table: &mut self.table,
        }
    }
}
