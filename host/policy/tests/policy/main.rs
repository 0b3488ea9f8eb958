//! What the gate lets through, what it stops, and what it says.
//!
//! Through the public API only: these tests must never need a door that other crates lack.

mod files;
mod findings;
mod gate;
mod neighbours;
mod smallest;
mod world;
