//! The vocabulary of requests, and the one gate that turns a request into a permit.
//!
//! Pure: no I/O, no async, no clock. Everything a module, or the host on its own behalf, wants from
//! the cluster or the repository is a value of this crate first ([`request`]); only
//! [`Policy::permit`] makes a [`Permit`], and only a [`Permit`] reaches the cluster.
//!
//! The gate speaks Cedar. `schema.cedarschema` says what a policy can speak of; `base.cedar` holds
//! what is true at every site; the files of the site add to it.
#![warn(clippy::wildcard_enum_match_arm)]

pub mod finding;
pub mod grant;
pub mod name;
pub mod request;

mod cedar;
mod permit;
mod policy;
mod problem;
mod question;
mod quote;
mod smallest;
mod subject;

pub use permit::{Decision, Denied, Permit};
pub use policy::{BASE, Policy, SCHEMA};
pub use problem::{PolicyErrors, Problem};
pub use request::Request;
pub use smallest::{Pin, smallest_policy};
pub use subject::{capability, subject};
