//! The house rules as pure functions over the text of a checkout: each returns the complaints it has.
//!
//! `tests/house.rs` holds this checkout against them; the tests beside each rule prove on a made-up
//! tree that it can fail. A rule never reads the disk, the clock or git.

pub mod arrows;
pub mod documents;
pub mod manifests;
pub mod modules;
pub mod sources;
pub mod tree;
