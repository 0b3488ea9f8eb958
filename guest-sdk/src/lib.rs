//! Write Cofferdam modules in Rust.
//!
//! A module is a type that implements [`DataSet`] and a manifest beside it. It sees its host
//! through the traits of [`host`], so that the same logic runs as a guest and, with the fakes of
//! [`testing`], as an ordinary unit test. The README beside this crate goes from an empty folder to
//! a tested module.
//!
//! Deliberately absent: any way to build a command line, to name a pod, or to see a secret.

pub mod bindings;
pub mod error;
pub mod evidence;
pub mod host;
mod objects;
mod parameters;
mod streams;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
mod waiting;
#[doc(hidden)]
pub mod wit;

// `wit_bindgen::generate!` names its runtime by a path that must hold in the module's crate too.
extern crate self as cofferdam_guest_sdk;
#[doc(hidden)]
pub use wit_bindgen::rt as wit_bindgen_rt;

pub use error::{Context, Error, Result};
pub use evidence::Evidence;
pub use host::{
    Host, Lease, Level, LoadOptions, Loaded, Metadata, Outcome, Pod, Process, Processed, Sink,
    Source, StepState, Target, Transferred, WhenPresent,
};
pub use objects::ConfigMap;
pub use streams::{Dumped, Fed, NewArtifact, last_line};

/// What a module does with its kind of data set. All three must be there and must be true.
pub trait DataSet {
    /// Leaves artifacts with evidence, or fails and leaves nothing.
    ///
    /// # Errors
    /// Anything that keeps the artifacts from being whole.
    fn backup(host: &dyn Host) -> Result<()>;

    /// Brings the artifacts of a snapshot back and proves that they are there.
    ///
    /// # Errors
    /// Anything that keeps the data from being what the evidence says; the message says what was
    /// left in which state.
    fn restore(host: &dyn Host) -> Result<()>;

    /// Reads the artifacts of a snapshot and proves that they can be used. Touches no pod.
    ///
    /// # Errors
    /// Anything that makes an artifact useless.
    fn verify(host: &dyn Host) -> Result<()>;
}

/// Makes a type the data set of this component.
///
/// ```
/// use cofferdam_guest_sdk::{DataSet, Host, Result};
///
/// struct Nothing;
///
/// impl DataSet for Nothing {
///     fn backup(_host: &dyn Host) -> Result<()> { Ok(()) }
///     fn restore(_host: &dyn Host) -> Result<()> { Ok(()) }
///     fn verify(_host: &dyn Host) -> Result<()> { Ok(()) }
/// }
///
/// cofferdam_guest_sdk::export!(Nothing);
/// ```
#[macro_export]
macro_rules! export {
    ($data_set:ty) => {
        const _: () = {
            const fn is_a_data_set<T: $crate::DataSet>() {}
            is_a_data_set::<$data_set>();

            // Natively there is no host to export to, and linkers dislike the names.
            #[cfg(target_arch = "wasm32")]
            mod component {
                use super::*;
                struct Component;
                impl $crate::wit::Guest for Component {
                    fn backup() -> ::core::result::Result<(), $crate::wit::GuestError> {
                        $crate::wit::enter(<$data_set as $crate::DataSet>::backup)
                    }
                    fn restore() -> ::core::result::Result<(), $crate::wit::GuestError> {
                        $crate::wit::enter(<$data_set as $crate::DataSet>::restore)
                    }
                    fn verify() -> ::core::result::Result<(), $crate::wit::GuestError> {
                        $crate::wit::enter(<$data_set as $crate::DataSet>::verify)
                    }
                }
        $crate::bindings::export_bindings!(Component with_types_in $crate::bindings);
            }
        };
    };
}

/// The code of the README is compiled with the other examples.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
