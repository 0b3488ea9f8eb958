//! Tiny modules, made from WIT and the text form of WebAssembly.

use std::path::PathBuf;

use cofferdam_engine::pack;
use wit_component::{StringEncoding, dummy_module, embed_component_metadata};
use wit_parser::{LiftLowerAbi, ManglingAndAbi, Resolve};

/// A manifest that declares nothing.
pub(crate) const MANIFEST: &str =
    "[module]\nname = \"tiny\"\nversion = \"0.1.0\"\nsummary = \"for the tests\"\n";

/// The folder of the contract.
// Asked when it runs: a build kept from another checkout would look there.
#[expect(
    clippy::disallowed_methods,
    reason = "cargo tells a test this way where it is"
)]
pub(crate) fn contract() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo says where the crate is");
    PathBuf::from(here).join("../../wit")
}

/// A core module for `world`, the last world of `wit`, whose functions all crash. Packages that
/// `wit` refers to come from `others`, else from the contract.
pub(crate) fn core(others: &[&str], wit: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    if others.is_empty() {
        resolve.push_dir(contract()).expect("the contract parses");
    }
    for other in others {
        resolve.push_str("other.wit", other).expect(other);
    }
    core_in(resolve, wit)
}

/// As [`core`], with the contract as it was at an earlier patch version: before what was added since.
pub(crate) fn core_of_version(version: &str, wit: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    for entry in std::fs::read_dir(contract()).expect("the contract") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "wit") {
            let text = fs_err::read_to_string(&path).expect("read");
            let text = text.replace("module@0.1.1;", &format!("module@{version};"));
            let kept: Vec<&str> = text
                .lines()
                .filter(|line| !line.contains("@since"))
                .collect();
            let name = path.file_name().expect("a name");
            fs_err::write(folder.path().join(name), kept.join("\n")).expect("written");
        }
    }
    let mut resolve = Resolve::default();
    resolve
        .push_dir(folder.path())
        .expect("the contract parses");
    core_in(resolve, wit)
}

fn core_in(mut resolve: Resolve, wit: &str) -> Vec<u8> {
    let package = resolve.push_str("test.wit", wit).expect(wit);
    let world = resolve.select_world(&[package], None).expect("one world");
    let mut core = dummy_module(&resolve, world, ManglingAndAbi::Legacy(LiftLowerAbi::Sync));
    embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8).expect("metadata");
    core
}

/// A module that only exports, written as text: the body of `backup`, and what stands beside it.
pub(crate) fn written(beside: &str, backup: &str) -> Vec<u8> {
    let text = format!(
        "(module
            (memory (export \"memory\") 1)
            {beside}
            (func (export \"cofferdam:module/data-set@0.1.1#backup\") (result i32) {backup} i32.const 0)
            (func (export \"cofferdam:module/data-set@0.1.1#restore\") (result i32) i32.const 0)
            (func (export \"cofferdam:module/data-set@0.1.1#verify\") (result i32) i32.const 0))"
    );
    let mut core = wat::parse_str(&text).expect(&text);
    let mut resolve = Resolve::default();
    resolve.push_dir(contract()).expect("the contract parses");
    let package = resolve
        .push_str(
            "test.wit",
            "package test:tiny; world tiny { export cofferdam:%module/data-set@0.1.1; }",
        )
        .expect("world");
    let world = resolve.select_world(&[package], None).expect("one world");
    embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8).expect("metadata");
    pack(&core, MANIFEST).expect("packed")
}
