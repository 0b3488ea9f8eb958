//! Carries out runs: what goes in which order, what is written down before it is done, what is put
//! back whatever happens, and what proves a backup whole.
//!
//! Implements [`cofferdam_engine::host::Host`] by joining cluster and repository; each call passes
//! the policy's gate and leaves a line in the audit log. Must never reach the cluster by itself:
//! that takes a permit, and only `policy` makes one.

pub mod access;
pub mod application;
pub mod audit;
pub mod elsewhere;
pub mod event;
pub mod grants;
pub mod history;
pub mod journal;
pub mod manual;
pub mod modules;
pub mod notes;
pub mod order;
pub mod plan;
pub mod preflight;
pub mod report;
pub mod run;
pub mod skew;
pub mod state;
pub mod threescale;

mod blame;
mod comeback;
mod leases;
mod recovery;
mod session;
