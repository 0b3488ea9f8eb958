//! A Kubernetes API server whose pods are real processes: the embedded default for a first try,
//! and the test bed of everything that speaks to a cluster.
//!
//! It must never depend on a crate of the host, and nothing in the host may know that it is not a
//! real cluster. Use [`Cluster`] to run it as a process of its own and [`Server`] to run it inside
//! a test.

pub mod client;
pub mod demo;
pub mod faults;
pub mod pods;
pub mod runtime;

mod access;
mod admin;
mod cluster;
mod controllers;
mod defaults;
mod deletion;
mod discovery;
mod document;
mod exec;
mod exec_frames;
mod exec_session;
mod fields;
mod kubeconfig;
mod kubelet;
mod listing;
mod logs;
mod managed_fields;
mod objects;
mod patch_apply;
mod patch_strategic;
mod protobuf;
mod request;
mod resources;
mod seen;
mod selectors;
mod server;
mod serving;
mod settling;
mod status;
mod store;
mod subresources;
mod tables;
mod templates;
mod tls;
mod validation;
mod volume_templates;
mod watching;

pub use cluster::{Cluster, Error, Options};
pub use seen::SeenRequest;
pub use serving::{Access, Place, Server};
