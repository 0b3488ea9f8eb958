//! The engine: one compiler, one clock, one set of limits for all modules of a process.
//!
//! Must never be set up so that a module could start threads, use 64-bit memories, or outrun its
//! clock.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use wasmtime::Config;
use wasmtime::component::{HasSelf, Linker};

use crate::bindings;
use crate::cache::Cache;
use crate::limits::{self, Limits};
use crate::state::CallState;
use crate::ticker::Ticker;

/// How an engine is set up.
#[derive(Debug, Clone, Default)]
pub struct EngineOptions {
    /// The folder of compiled modules: made with mode 0700. `None`: every load compiles.
    pub cache: Option<PathBuf>,
    /// What each call may use.
    pub limits: Limits,
}

/// Why there is no engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The compiler does not work on this machine.
    #[error("failed to set up the WebAssembly engine")]
    Setup(#[source] wasmtime::Error),
    /// The folder of compiled modules cannot be used.
    #[error("failed to open the cache of compiled modules `{folder}`")]
    Cache {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No thread could be started.
    #[error("failed to start the clock of the WebAssembly engine")]
    Clock(#[source] io::Error),
}

/// Loads and runs modules. Clones share everything.
#[derive(Clone)]
pub struct Engine {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) engine: wasmtime::Engine,
    pub(crate) cache: Option<Cache>,
    pub(crate) limits: Limits,
    pub(crate) ticker: Ticker,
    /// Our interfaces only.
    plain: Linker<CallState>,
    /// Our interfaces and WASI; made when the first module wants it.
    with_wasi: OnceLock<Linker<CallState>>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("cache", &self.inner.cache)
            .field("limits", &self.inner.limits)
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// Sets an engine up. Its clock thread sleeps while no module runs.
    ///
    /// # Errors
    /// [`EngineError`] when the machine or the cache folder cannot be used.
    pub fn new(options: EngineOptions) -> Result<Self, EngineError> {
        let engine = wasmtime::Engine::new(&config()).map_err(EngineError::Setup)?;
        let cache = options
            .cache
            .map(|folder| {
                Cache::open(&folder, &engine)
                    .map_err(|source| EngineError::Cache { folder, source })
            })
            .transpose()?;
        let plain = plain_linker(&engine).map_err(EngineError::Setup)?;
        let ticker = Ticker::start(&engine).map_err(EngineError::Clock)?;
        Ok(Self {
            inner: Arc::new(Inner {
                engine,
                cache,
                limits: options.limits,
                ticker,
                plain,
                with_wasi: OnceLock::new(),
            }),
        })
    }
}

impl Inner {
    pub(crate) fn linker(&self, wasi: bool) -> wasmtime::Result<&Linker<CallState>> {
        if !wasi {
            return Ok(&self.plain);
        }
        if let Some(linker) = self.with_wasi.get() {
            return Ok(linker);
        }
        let mut linker = self.plain.clone();
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        Ok(self.with_wasi.get_or_init(|| linker))
    }
}

fn plain_linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<CallState>> {
    let mut linker = Linker::new(engine);
    bindings::Module::add_to_linker::<_, HasSelf<CallState>>(&mut linker, |state| state)?;
    Ok(linker)
}

fn config() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .max_wasm_stack(limits::STACK_BYTES)
        .async_stack_size(limits::FIBER_BYTES)
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .wasm_component_model(true)
        .concurrency_support(false);
    config
}
