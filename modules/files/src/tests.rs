//! The module against the fake host.

use cofferdam_guest_sdk::testing::World;
use cofferdam_guest_sdk::{DataSet, Error, Evidence, Level};

use crate::{ARTIFACT, Files};

const FOLDER: &str = "/opt/system/public/system";

fn world() -> World {
    let world = World::new(include_str!("../module.toml"));
    world
        .put_file(&place("logos/acme.png"), "png")
        .put_file(&place("style.css"), "body {}");
    world
}

fn place(name: &str) -> String {
    format!("{FOLDER}/{name}")
}

fn backed_up() -> World {
    let world = world();
    Files::backup(&world).expect("kept");
    world
}

#[test]
fn a_backup_keeps_the_folder_and_says_what_is_in_it() {
    let world = backed_up();
    let evidence = world.evidence_of(ARTIFACT).expect("an artifact");
    assert_eq!(evidence.get("files"), Some("2"));
    assert!(world.logged(Level::Info, "kept 2 files"));
    assert!(!world.logged(Level::Warn, ""));
}

#[test]
fn a_folder_that_is_not_there_is_no_backup() {
    let world = World::new(include_str!("../module.toml"));
    let error = Files::backup(&world).expect_err("nothing is there");
    assert!(
        error.to_string().contains("failed to save the folder"),
        "{error}"
    );
    assert!(world.artifact(ARTIFACT).is_none());
}

#[test]
fn a_restore_brings_back_and_leaves_what_it_does_not_know() {
    let world = backed_up();
    world
        .put_file(&place("style.css"), "broken")
        .put_file(&place("later.txt"), "later");
    world.remove_file(&place("logos/acme.png"));
    Files::restore(&world).expect("restored");
    assert_eq!(
        world.file(&place("style.css")).as_deref(),
        Some(&b"body {}"[..])
    );
    assert_eq!(
        world.file(&place("logos/acme.png")).as_deref(),
        Some(&b"png"[..])
    );
    assert!(world.file(&place("later.txt")).is_some());
}

#[test]
fn extraneous_files_go_only_when_the_site_says_so() {
    let world = backed_up();
    world.put_file(&place("later.txt"), "later");
    world.parameter("delete-extraneous", "yes");
    Files::restore(&world).expect("restored");
    assert!(world.file(&place("later.txt")).is_none());
    assert!(world.logged(Level::Info, "1 entries removed"));
}

#[test]
fn single_files_and_folders_can_be_restored() {
    let world = backed_up();
    world.put_file(&place("style.css"), "mine");
    world.remove_file(&place("logos/acme.png"));
    world.parameter("only", "logos");
    Files::restore(&world).expect("restored");
    assert_eq!(
        world.file(&place("style.css")).as_deref(),
        Some(&b"mine"[..])
    );
    assert!(world.file(&place("logos/acme.png")).is_some());
    world.parameter("only", "logos:nothing");
    let error = Files::restore(&world).expect_err("there is no such path");
    assert!(matches!(error, Error::NotFound(_)), "{error}");
}

#[test]
fn a_verify_reads_all_and_compares_the_length() {
    let world = backed_up();
    Files::verify(&world).expect("whole");
    world.cut_artifact(ARTIFACT, 5);
    assert!(Files::verify(&world).is_err());
    let other = world_with_length(3);
    let error = Files::verify(&other).expect_err("another length");
    assert_eq!(error.code(), Some("not-the-same"));
}

fn world_with_length(length: u64) -> World {
    let world = world();
    let evidence = Evidence::new().with("archive-bytes", length);
    world.put_artifact(ARTIFACT, "four", evidence);
    world
}
