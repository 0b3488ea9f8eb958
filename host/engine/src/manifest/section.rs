//! The manifest's place in a component, and what else can be seen of a file without compiling it.
//!
//! Must never look into nested modules for the manifest: what an author links in is not the author.

use std::borrow::Cow;

use wasm_encoder::{ComponentSection, CustomSection};
use wasmparser::{Encoding, Parser, Payload};

use super::SECTION;

/// What a walk over a file found.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// Whether the file is a component; else it is a core module.
    pub(crate) is_component: bool,
    /// The manifests at the top level: one in a good module.
    pub(crate) manifests: Vec<Vec<u8>>,
    /// Functions in all nested core modules.
    pub(crate) functions: u64,
    /// The body of the largest, in bytes: what compiling costs most for.
    pub(crate) largest_function: u64,
}

/// Walks over a file of WebAssembly.
pub(crate) fn contents(bytes: &[u8]) -> Result<Contents, wasmparser::BinaryReaderError> {
    let mut found = Contents::default();
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload? {
            Payload::Version { encoding, .. } if depth == 0 => {
                found.is_component = encoding == Encoding::Component;
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CodeSectionEntry(body) => {
                let range = body.range();
                let length =
                    u64::try_from(range.end.saturating_sub(range.start)).unwrap_or(u64::MAX);
                found.functions += 1;
                found.largest_function = found.largest_function.max(length);
            }
            Payload::CustomSection(section) if depth == 0 && section.name() == SECTION => {
                found.manifests.push(section.data().to_vec());
            }
            _ => {}
        }
    }
    Ok(found)
}

/// The component with the manifest appended as its custom section.
pub(crate) fn with_section(mut component: Vec<u8>, manifest: &str) -> Vec<u8> {
    CustomSection {
        name: Cow::Borrowed(SECTION),
        data: Cow::Borrowed(manifest.as_bytes()),
    }
    .append_to_component(&mut component);
    component
}
