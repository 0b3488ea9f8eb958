//! What loads, and in what words the rest is refused.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use cofferdam_engine::{
    Engine, EngineOptions, LoadError, Module, PackError, manifest::SECTION, pack,
};

use crate::wasm::{MANIFEST, core, core_of_version, written};

const WHOLE: &str = "package test:whole; world whole { include cofferdam:%module/%module@0.1.1; }";

fn engine() -> Engine {
    Engine::new(EngineOptions::default()).expect("engine")
}

fn load(bytes: &[u8]) -> Result<Module, LoadError> {
    engine().load_bytes("sample.wasm", bytes)
}

/// Everything that people are told: message, causes, hint.
fn told(error: &LoadError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    format!("{text} / {}", error.hint().unwrap_or_default())
}

#[track_caller]
fn refused(bytes: &[u8], expected: &str) {
    let error = load(bytes).expect_err("the module was loaded");
    assert!(
        told(&error).contains(expected),
        "got: {}\nwanted: {expected}",
        told(&error)
    );
}

fn packed(others: &[&str], wit: &str) -> Vec<u8> {
    pack(&core(others, wit), MANIFEST).expect("packed")
}

/// The component with another custom section of the manifest's name.
fn with_section(mut component: Vec<u8>, text: &[u8]) -> Vec<u8> {
    let name_length = u8::try_from(SECTION.len()).expect("short");
    let length = 1 + SECTION.len() + text.len();
    component.push(0);
    let mut rest = length;
    loop {
        let low = u8::try_from(rest & 0x7f).expect("seven bits");
        rest >>= 7;
        component.push(if rest == 0 { low } else { low | 0x80 });
        if rest == 0 {
            break;
        }
    }
    component.push(name_length);
    component.extend_from_slice(SECTION.as_bytes());
    component.extend_from_slice(text);
    component
}

#[test]
fn a_module_of_the_whole_contract_loads() {
    let module = load(&packed(&[], WHOLE)).expect("loads");
    assert_eq!(module.manifest().name.as_str(), "tiny");
    assert_eq!(module.identity().digest, module.digest());
    assert!(module.digest().starts_with("sha256:") && module.digest().len() == 71);
    assert!(!module.from_cache());
}

#[test]
fn what_a_module_does_not_import_is_not_in_its_list() {
    let wit = "package test:two; world two {
        import cofferdam:%module/clock@0.1.1;
        export cofferdam:%module/data-set@0.1.1;
    }";
    let module = load(&packed(&[], wit)).expect("loads");
    assert_eq!(
        module.imports(),
        [
            "cofferdam:module/clock@0.1.1",
            "cofferdam:module/types@0.1.1"
        ]
    );
}

#[test]
fn a_newer_contract_is_refused_with_both_versions_and_the_way_out() {
    let newer = "package cofferdam:%module@0.2.0;
        interface clock { now: func() -> u64; }
        interface data-set { backup: func(); restore: func(); verify: func(); }";
    let wit = "package test:newer; world newer {
        import cofferdam:%module/clock@0.2.0;
        export cofferdam:%module/data-set@0.2.0;
    }";
    refused(
        &packed(&[newer], wit),
        "the module `sample.wasm` imports `cofferdam:module/clock@0.2.0`, and this host offers cofferdam:module/clock@0.1.1 / \
         use a build of the module for this host's contract, or a newer cofferdam",
    );
}

#[test]
fn a_module_of_an_earlier_patch_loads() {
    let wit = "package test:older; world older {
        import cofferdam:%module/clock@0.1.0;
        import cofferdam:%module/rollouts@0.1.0;
        export cofferdam:%module/data-set@0.1.0;
    }";
    let packed = pack(&core_of_version("0.1.0", wit), MANIFEST).expect("packed");
    let module = load(&packed).expect("loads");
    let imports = module.imports().join(" ");
    assert!(
        imports.contains("cofferdam:module/clock@0.1.0"),
        "{imports}"
    );
}

const PATCH: &str = "package cofferdam:%module@0.1.9;
    interface types { record failure { code: string } }
    interface clock { now: func() -> u64; set: func(to: u64); }
    interface moon { phase: func() -> u64; }
    interface data-set { backup: func(); restore: func(); verify: func(); }";

#[test]
fn a_function_that_this_host_has_not_is_named() {
    let wit = "package test:more; world more {
        import cofferdam:%module/clock@0.1.9;
        export cofferdam:%module/data-set@0.1.9;
    }";
    refused(
        &packed(&[PATCH], wit),
        "imports `set of cofferdam:module/clock@0.1.9`, which contract 0.1.1 of this host has not / use a build",
    );
}

#[test]
fn an_interface_that_this_host_has_not_is_named() {
    let wit = "package test:more; world more {
        import cofferdam:%module/moon@0.1.9;
        export cofferdam:%module/data-set@0.1.9;
    }";
    refused(
        &packed(&[PATCH], wit),
        "imports `cofferdam:module/moon@0.1.9`, which contract 0.1.1 of this host has not",
    );
}

#[test]
fn somebody_elses_interface_is_refused() {
    let other = "package wasi:http@0.2.0; interface handler { handle: func(); }";
    let own = "package cofferdam:%module@0.1.1; interface data-set { backup: func(); restore: func(); verify: func(); }";
    let wit = "package test:web; world web {
        import wasi:http/handler@0.2.0;
        export cofferdam:%module/data-set@0.1.1;
    }";
    refused(
        &packed(&[other, own], wit),
        "imports `wasi:http/handler@0.2.0`, which no version of this host has",
    );
}

#[test]
fn a_function_of_another_shape_is_refused() {
    let own = "package cofferdam:%module@0.1.1;
        interface clock { now: func() -> string; }
        interface data-set { backup: func(); restore: func(); verify: func(); }";
    let wit = "package test:odd; world odd {
        import cofferdam:%module/clock@0.1.1;
        export cofferdam:%module/data-set@0.1.1;
    }";
    refused(
        &packed(&[own], wit),
        "the module `sample.wasm` does not fit contract 0.1.1",
    );
}

#[test]
fn a_module_that_cannot_verify_cannot_be_installed() {
    let own =
        "package cofferdam:%module@0.1.1; interface data-set { backup: func(); restore: func(); }";
    let wit = "package test:part; world part { export cofferdam:%module/data-set@0.1.1; }";
    refused(
        &packed(&[own], wit),
        "the module `sample.wasm` does not export verify / a module without backup, restore and verify",
    );
    refused(
        &pack(
            &core(
                &[],
                "package test:none; world none { import cofferdam:%module/clock@0.1.1; }",
            ),
            MANIFEST,
        )
        .expect("packed"),
        "the module `sample.wasm` does not export backup, restore, verify",
    );
}

#[test]
fn a_module_has_one_manifest() {
    let module = packed(&[], WHOLE);
    let tail = MANIFEST.len() + SECTION.len() + 3;
    let bare = &module[..module.len() - tail];
    refused(
        bare,
        "the component `sample.wasm` has no manifest / run `cofferdam modules pack",
    );
    refused(
        &with_section(module.clone(), MANIFEST.as_bytes()),
        "the component `sample.wasm` has 2 manifests",
    );
    refused(
        &with_section(bare.to_vec(), b"\xff"),
        "the manifest is not UTF-8",
    );
    refused(
        &with_section(bare.to_vec(), b"[module]\nname = 1"),
        "the module `sample.wasm` cannot be used: `module.name` in the manifest",
    );
    load(&with_section(bare.to_vec(), MANIFEST.as_bytes()))
        .expect("the section is as `pack` writes it");
}

#[test]
fn what_is_no_component_is_refused() {
    refused(b"MZ\x90", "`sample.wasm` is no WebAssembly component");
    refused(
        &core(&[], WHOLE),
        "`sample.wasm` is no WebAssembly component: it is a core module / run `cofferdam modules pack",
    );
    let module = packed(&[], WHOLE);
    refused(
        &module[..module.len() / 2],
        "`sample.wasm` is no WebAssembly component",
    );
}

#[test]
fn a_file_that_is_too_large_is_not_read_to_its_end() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("large.wasm");
    let file = std::fs::File::create(&path).expect("file");
    file.set_len(1 << 40).expect("sparse");
    let error = engine().load(&path).expect_err("too large");
    assert!(
        told(&error).contains("has more than 50331648 bytes"),
        "{}",
        told(&error)
    );
}

#[test]
fn a_function_that_is_too_large_is_not_compiled() {
    // 19 bytes each: more than 2 MiB.
    let body = "v128.const i64x2 0 0 drop ".repeat(115_000);
    refused(&written("", &body), "cannot be compiled: a function has");
}

#[test]
fn packing_twice_and_packing_rubbish_is_refused() {
    let module = packed(&[], WHOLE);
    assert!(matches!(
        pack(&module, MANIFEST),
        Err(PackError::HasManifest)
    ));
    assert!(matches!(
        pack(b"rubbish", MANIFEST),
        Err(PackError::NotWasm(_))
    ));
    assert!(matches!(
        pack(&core(&[], WHOLE), "[module]"),
        Err(PackError::Manifest(_))
    ));
    let bare = wat::parse_str("(module (import \"env\" \"system\" (func)))").expect("module");
    assert!(matches!(pack(&bare, MANIFEST), Err(PackError::Encode(_))));
}

fn cached(folder: &Path) -> Engine {
    Engine::new(EngineOptions {
        cache: Some(folder.to_owned()),
        ..EngineOptions::default()
    })
    .expect("engine")
}

#[test]
fn the_second_load_comes_from_the_cache() {
    let folder = tempfile::tempdir().expect("folder");
    let bytes = packed(&[], WHOLE);
    let first = cached(folder.path())
        .load_bytes("sample.wasm", &bytes)
        .expect("loads");
    let second = cached(folder.path())
        .load_bytes("sample.wasm", &bytes)
        .expect("loads");
    assert!(!first.from_cache() && second.from_cache());
}

#[test]
fn a_cache_that_somebody_touched_is_compiled_anew() {
    let folder = tempfile::tempdir().expect("folder");
    let bytes = packed(&[], WHOLE);
    cached(folder.path())
        .load_bytes("sample.wasm", &bytes)
        .expect("loads");
    let compiled = std::fs::read_dir(folder.path())
        .expect("folder")
        .map(|entry| entry.expect("entry").path())
        .find(|path| path.extension().is_some())
        .expect("a compiled module");
    let mut content = std::fs::read(&compiled).expect("content");
    let middle = content.len() / 2;
    content[middle] ^= 0xff;
    std::fs::write(&compiled, content).expect("written");
    let module = cached(folder.path())
        .load_bytes("sample.wasm", &bytes)
        .expect("loads");
    assert!(!module.from_cache());
    let mode = std::fs::metadata(&compiled)
        .expect("file")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}
