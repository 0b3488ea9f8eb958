//! Makes a module of what a compiler wrote: a component with its manifest inside.
//!
//! Must never make something that the engine would refuse for its shape or its manifest.

use wit_component::ComponentEncoder;

use crate::limits;
use crate::manifest::{self, Manifest, ManifestError};
use crate::text::clean;

/// Why no module could be made.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The input is no WebAssembly.
    #[error("the input is no WebAssembly: {0}")]
    NotWasm(String),
    /// The manifest is wrong.
    #[error("the manifest cannot be used")]
    Manifest(#[from] ManifestError),
    /// The input has a manifest already.
    #[error("the component has a manifest already")]
    HasManifest,
    /// The core module does not become a component.
    #[error("failed to make a component of the core module: {0}")]
    Encode(String),
    /// The result is larger than an engine loads.
    #[error("the module has {size} bytes, {limit} at most", limit = limits::MODULE_BYTES)]
    TooLarge {
        /// Its size.
        size: u64,
    },
}

impl PackError {
    /// What to do about it, where that is not plain from the message.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Encode(_) => Some("build the module for the target wasm32-unknown-unknown, with the guest SDK of this contract".to_owned()),
            Self::HasManifest => Some("pack what the compiler wrote, not a module that was packed before".to_owned()),
            Self::NotWasm(_) | Self::Manifest(_) | Self::TooLarge { .. } => None,
        }
    }
}

/// Turns a core module, or a component without manifest, into a module.
///
/// # Errors
/// [`PackError`].
pub fn pack(core_or_component: &[u8], manifest_text: &str) -> Result<Vec<u8>, PackError> {
    Manifest::parse(manifest_text)?;
    let found = manifest::contents(core_or_component)
        .map_err(|error| PackError::NotWasm(error.message().to_owned()))?;
    if !found.manifests.is_empty() {
        return Err(PackError::HasManifest);
    }
    let component = if found.is_component {
        core_or_component.to_vec()
    } else {
        ComponentEncoder::default()
            .validate(true)
            .module(core_or_component)
            .and_then(|mut encoder| encoder.encode())
            .map_err(|error| {
                PackError::Encode(clean(&format!("{error:#}"), limits::MESSAGE_BYTES))
            })?
    };
    let packed = manifest::with_section(component, manifest_text);
    let size = u64::try_from(packed.len()).unwrap_or(u64::MAX);
    if size > limits::MODULE_BYTES {
        return Err(PackError::TooLarge { size });
    }
    Ok(packed)
}
