//! The engine from outside: modules that load and modules that do not, and what becomes of those
//! that misbehave.
//!
//! Guests come from two places: tiny ones are written here as text, and those of `tests/guests` are
//! taken from the folder that `COFFERDAM_TEST_GUESTS` names. `cargo xtask test` builds them and sets
//! it; without it the tests that need them fail and say so.

mod guests;
mod limits;
mod loading;
mod speed;
mod wasm;
mod world;
