//! From a file to a module that is ready to run.
//!
//! Must never run a byte of a file that was not checked: size, shape, manifest, imports, exports.

use std::fmt;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use cofferdam_policy::request::ModuleIdentity;
use fs_err as fs;
use sha2::{Digest, Sha256};
use wasmtime::component::Component;

use crate::bindings;
use crate::engine::Engine;
use crate::limits;
use crate::manifest::{self, Manifest, ManifestError};
use crate::offer;
use crate::state::CallState;

/// A module that is ready to run. Clones share everything.
#[derive(Clone)]
pub struct Module {
    pub(crate) inner: Arc<Loaded>,
}

pub(crate) struct Loaded {
    pub(crate) engine: Engine,
    pub(crate) pre: bindings::ModulePre<CallState>,
    pub(crate) manifest: Arc<Manifest>,
    digest: String,
    imports: Vec<String>,
    size: u64,
    from_cache: bool,
}

/// Why a file cannot be run as a module.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It cannot be read.
    #[error("failed to read the module `{file}`")]
    Read {
        /// The file.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// It is too large.
    #[error("the module `{file}` has more than {limit} bytes")]
    TooLarge {
        /// The file.
        file: String,
        /// The limit.
        limit: u64,
    },
    /// It is no WebAssembly, or damaged.
    #[error("`{file}` is no WebAssembly component: {problem}")]
    NotComponent {
        /// The file.
        file: String,
        /// What is wrong.
        problem: String,
    },
    /// It has no manifest.
    #[error("the component `{file}` has no manifest")]
    NoManifest {
        /// The file.
        file: String,
    },
    /// It has two manifests: which one a person read is not known.
    #[error("the component `{file}` has {count} manifests")]
    SeveralManifests {
        /// The file.
        file: String,
        /// How many.
        count: usize,
    },
    /// Its manifest is wrong.
    #[error("the module `{file}` cannot be used")]
    Manifest {
        /// The file.
        file: String,
        /// What is wrong.
        source: ManifestError,
    },
    /// It would cost too much to compile.
    #[error("the module `{file}` cannot be compiled: {problem}")]
    TooCostly {
        /// The file.
        file: String,
        /// What is too much.
        problem: String,
    },
    /// The compiler refuses it.
    #[error("failed to compile the module `{file}`")]
    Compile {
        /// The file.
        file: String,
        /// Why.
        source: wasmtime::Error,
    },
    /// It needs what this host does not have.
    #[error("the module `{file}` imports `{import}`, {problem}")]
    Import {
        /// The file.
        file: String,
        /// What it imports.
        import: String,
        /// What this host has instead.
        problem: String,
    },
    /// It was made for another version of the contract.
    #[error("the module `{file}` exports `{export}`, and this host calls contract {version}", version = offer::CONTRACT_VERSION)]
    Export {
        /// The file.
        file: String,
        /// What it exports.
        export: String,
    },
    /// It lacks a function that every module has.
    #[error("the module `{file}` does not export {}", .missing.join(", "))]
    Incomplete {
        /// The file.
        file: String,
        /// What it lacks of `backup`, `restore` and `verify`.
        missing: Vec<String>,
    },
    /// A type of an import or export is not the contract's.
    #[error("the module `{file}` does not fit contract {version}", version = offer::CONTRACT_VERSION)]
    Link {
        /// The file.
        file: String,
        /// What does not fit.
        source: wasmtime::Error,
    },
}

impl LoadError {
    /// What to do about it, where that is not plain from the message.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NotComponent { .. } | Self::NoManifest { .. } => {
                "run `cofferdam modules pack CORE.wasm --manifest module.toml --output NAME.wasm` to make a module of it"
            }
            Self::Import { .. } | Self::Export { .. } | Self::Link { .. } => {
                "use a build of the module for this host's contract, or a newer cofferdam"
            }
            Self::Incomplete { .. } => {
                "a module without backup, restore and verify cannot be installed"
            }
            Self::Read { .. }
            | Self::TooLarge { .. }
            | Self::SeveralManifests { .. }
            | Self::Manifest { .. }
            | Self::TooCostly { .. }
            | Self::Compile { .. } => return None,
        };
        Some(hint.to_owned())
    }
}

impl Module {
    /// What names it for policy and audit. The signer is not known here.
    pub fn identity(&self) -> ModuleIdentity {
        ModuleIdentity {
            name: self.inner.manifest.name.clone(),
            version: self.inner.manifest.version.clone(),
            digest: self.inner.digest.clone(),
            signer: None,
        }
    }

    /// SHA-256 of the file, as `sha256:` and 64 hex digits.
    pub fn digest(&self) -> &str {
        &self.inner.digest
    }

    /// Its manifest.
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.inner.manifest
    }

    /// The interfaces that it imports, sorted: all that it can ever call.
    pub fn imports(&self) -> &[String] {
        &self.inner.imports
    }

    /// Bytes of the file.
    pub fn size(&self) -> u64 {
        self.inner.size
    }

    /// Whether its machine code came from the cache.
    pub fn from_cache(&self) -> bool {
        self.inner.from_cache
    }
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Module")
            .field("name", &self.inner.manifest.name)
            .field("version", &self.inner.manifest.version)
            .field("digest", &self.inner.digest)
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// Loads a module from a file. Blocks: it reads, and compiles what the cache does not have.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn load(&self, path: &Path) -> Result<Module, LoadError> {
        let file = path.display().to_string();
        let bytes = read(path).map_err(|source| LoadError::Read {
            file: file.clone(),
            source,
        })?;
        self.load_bytes(&file, &bytes)
    }

    /// Loads a module from memory; `file` is what errors call it.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn load_bytes(&self, file: &str, bytes: &[u8]) -> Result<Module, LoadError> {
        let file = file.to_owned();
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if size > limits::MODULE_BYTES {
            return Err(LoadError::TooLarge {
                file,
                limit: limits::MODULE_BYTES,
            });
        }
        let manifest = Arc::new(checked_manifest(&file, bytes)?);
        let digest = format!("sha256:{}", hex::encode(Sha256::digest(bytes)));
        let (component, from_cache) = self.component(&file, &digest, bytes)?;
        let imports = offer::check(&file, &self.inner.engine, &component)?;
        let pre = self
            .inner
            .linker(imports.wasi)
            .and_then(|linker| linker.instantiate_pre(&component))
            .and_then(bindings::ModulePre::new)
            .map_err(|source| LoadError::Link { file, source })?;
        Ok(Module {
            inner: Arc::new(Loaded {
                engine: self.clone(),
                pre,
                manifest,
                digest,
                imports: imports.names,
                size,
                from_cache,
            }),
        })
    }

    /// The machine code of a module: from the cache, else compiled and kept there.
    fn component(
        &self,
        file: &str,
        digest: &str,
        bytes: &[u8],
    ) -> Result<(Component, bool), LoadError> {
        let cache = self.inner.cache.as_ref();
        if let Some(compiled) = cache.and_then(|cache| cache.read(digest)) {
            match deserialize(&self.inner.engine, &compiled) {
                Ok(component) => return Ok((component, true)),
                Err(error) => {
                    tracing::warn!(%error, "a compiled module could not be used: compiling it anew");
                }
            }
        }
        let component = compile(file, &self.inner.engine, bytes, self.inner.limits.compile)?;
        if let Some(cache) = cache {
            let kept = component
                .serialize()
                .map_err(io::Error::other)
                .and_then(|compiled| cache.write(digest, &compiled));
            if let Err(error) = kept {
                tracing::warn!(%error, "failed to keep a compiled module");
            }
        }
        Ok((component, false))
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte more than is allowed, so that what is too large is seen to be.
    fs::File::open(path)?
        .take(limits::MODULE_BYTES + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The manifest of a file whose shape is good.
fn checked_manifest(file: &str, bytes: &[u8]) -> Result<Manifest, LoadError> {
    let file = file.to_owned();
    let found = match manifest::contents(bytes) {
        Ok(found) if found.is_component => found,
        Ok(_) => {
            return Err(LoadError::NotComponent {
                file,
                problem: "it is a core module".to_owned(),
            });
        }
        Err(error) => {
            return Err(LoadError::NotComponent {
                file,
                problem: error.message().to_owned(),
            });
        }
    };
    if found.functions > limits::FUNCTIONS {
        let problem = format!(
            "it has {} functions, {} at most",
            found.functions,
            limits::FUNCTIONS
        );
        return Err(LoadError::TooCostly { file, problem });
    }
    if found.largest_function > limits::FUNCTION_BYTES {
        let problem = format!(
            "a function has {} bytes, {} at most",
            found.largest_function,
            limits::FUNCTION_BYTES
        );
        return Err(LoadError::TooCostly { file, problem });
    }
    let [section] = found.manifests.as_slice() else {
        let count = found.manifests.len();
        return Err(if count == 0 {
            LoadError::NoManifest { file }
        } else {
            LoadError::SeveralManifests { file, count }
        });
    };
    std::str::from_utf8(section)
        .map_err(|_| ManifestError::Encoding)
        .and_then(Manifest::parse)
        .map_err(|source| LoadError::Manifest { file, source })
}

/// Compiles in a thread of its own, which is left to itself when it takes too long: a thread
/// cannot be stopped, but the run goes on without that module.
fn compile(
    file: &str,
    engine: &wasmtime::Engine,
    bytes: &[u8],
    limit: Duration,
) -> Result<Component, LoadError> {
    let (done, result) = mpsc::sync_channel(1);
    let theirs = engine.clone();
    let bytes = bytes.to_vec();
    let failed = |source| LoadError::Compile {
        file: file.to_owned(),
        source,
    };
    thread::Builder::new()
        .name("module-compiler".to_owned())
        .spawn(move || {
            // The receiver is gone only when it has given up waiting.
            done.send(Component::from_binary(&theirs, &bytes)).ok();
        })
        .map_err(|error| failed(wasmtime::Error::new(error)))?;
    match result.recv_timeout(limit) {
        Ok(component) => component.map_err(failed),
        Err(mpsc::RecvTimeoutError::Timeout) => Err(LoadError::TooCostly {
            file: file.to_owned(),
            problem: format!("it takes longer than {} s", limit.as_secs()),
        }),
        Err(mpsc::RecvTimeoutError::Disconnected) => {
            Err(failed(wasmtime::Error::msg("the compiler panicked")))
        }
    }
}

#[expect(
    unsafe_code,
    reason = "machine code can only be loaded unchecked; the cache has checked where it comes from"
)]
fn deserialize(engine: &wasmtime::Engine, compiled: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the bytes carry a MAC of this cache over themselves, the module's digest and the
    // compiler's settings, with a key that only the owner can read: `Component::serialize` of an
    // engine with these very settings made them, for this very module.
    unsafe { Component::deserialize(engine, compiled) }
}
