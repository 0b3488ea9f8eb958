//! A site as a user has it: a cluster with the demo application, the built binary, modules, a
//! repository, an application file and a policy. For the stories in `tests/`.
//!
//! Must never link a crate of the host: what a story sees is what a user sees.
#![expect(
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "all of it is test code, and xtask hands over by the environment"
)]

mod answer;
mod browser;
pub mod by_hand;
mod notes;
pub mod servers;
mod site;

pub use answer::Answer;
pub use browser::{Browser, Look, Theme};
pub use notes::{audit, journal, place};
pub use site::{FaultGuard, NAMESPACE, Site, on_exec_of};
