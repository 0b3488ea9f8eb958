//! This checkout held against the house rules, one test a rule. It changes nothing.

use std::path::Path;

use tidy::tree::Tree;
use tidy::{arrows, documents, manifests, modules, sources};

// Asked when it runs: a build kept from another checkout would look there.
#[expect(
    clippy::disallowed_methods,
    reason = "cargo tells a test this way where it is"
)]
fn check(rule: impl Fn(&Tree) -> Vec<String>) {
    let crate_folder = std::env::var("CARGO_MANIFEST_DIR").expect("cargo says where the crate is");
    let root = Path::new(&crate_folder).join("../..");
    let complaints = rule(&Tree::read(&root).expect("the checkout can be read"));
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn rooms_lean_only_along_the_arrows() {
    check(arrows::check);
}

#[test]
fn every_crate_has_a_name_that_says_something() {
    check(arrows::check_names);
}

#[test]
fn every_source_file_says_what_it_is_for() {
    check(sources::check_openings);
}

#[test]
fn no_source_file_is_beyond_the_wall() {
    check(sources::check_lengths);
}

#[test]
fn no_file_names_a_path_of_one_machine() {
    check(sources::check_machine_paths);
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    check(manifests::check_lints);
}

#[test]
fn versions_stand_in_one_place() {
    check(manifests::check_versions);
}

#[test]
fn every_stock_module_is_complete() {
    check(modules::check);
}

#[test]
fn the_pages_at_the_top_are_there() {
    check(documents::check_pages);
}

#[test]
fn every_crate_states_its_invariant() {
    check(documents::check_invariants);
}
