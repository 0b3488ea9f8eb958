//! What this host offers to modules, and a readable refusal where a module wants more.
//!
//! Must never let a module through that would fail to link: wasmtime's own message names neither
//! this host nor the way out.

use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;

use crate::load::LoadError;
use crate::wasi;

/// The version of the contract in `/wit` that this host offers.
pub const CONTRACT_VERSION: &str = "0.1.1";

/// The package of the contract.
const PACKAGE: &str = "cofferdam:module/";

/// The interfaces that a module may import, with their functions. A test holds it against `/wit`.
const OFFERED: &[(&str, &[&str])] = &[
    ("types", &[]),
    (
        "streams",
        &[
            "[method]source.read",
            "[method]sink.write",
            "transfer",
            "examine",
        ],
    ),
    (
        "targets",
        &[
            "[method]pod.name",
            "[method]target.kind",
            "[method]target.name",
            "[method]target.namespace",
            "[method]target.pod",
            "[method]target.pods",
            "get",
        ],
    ),
    (
        "commands",
        &[
            "run",
            "start",
            "[method]process.stdin",
            "[method]process.stdout",
            "[method]process.wait",
            "[method]process.kill",
        ],
    ),
    (
        "files",
        &[
            "save",
            "load",
            "load-part",
            "stat",
            "read",
            "write",
            "finish",
            "rename",
            "remove",
        ],
    ),
    (
        "objects",
        &[
            "save",
            "load",
            "process-template",
            "get",
            "apply",
            "wait-for",
        ],
    ),
    (
        "rollouts",
        &["restart", "wait", "replicas", "set-replicas", "guard"],
    ),
    (
        "leases",
        &["[method]lease.release", "scale-to", "edit-object"],
    ),
    (
        "artifacts",
        &["create", "commit", "open", "list", "evidence"],
    ),
    ("steps", &["begin", "finish"]),
    ("report", &["log", "progress"]),
    ("settings", &["parameter"]),
    ("clock", &["now", "sleep"]),
];

/// What a module must export.
const EXPORTED: &str = "data-set";
/// Its functions: a module that lacks one cannot be installed.
const EXPORTED_FUNCTIONS: &[&str] = &["backup", "restore", "verify"];

/// What a module imports, once it is known that this host has it all.
#[derive(Debug)]
pub(crate) struct Imports {
    /// The names, sorted.
    pub(crate) names: Vec<String>,
    /// Whether WASI is among them.
    pub(crate) wasi: bool,
}

/// Checks the imports and exports of a component against what this host offers.
pub(crate) fn check(
    file: &str,
    engine: &wasmtime::Engine,
    component: &Component,
) -> Result<Imports, LoadError> {
    let kind = component.component_type();
    let refuse = |import: &str, problem: String| LoadError::Import {
        file: file.to_owned(),
        import: import.to_owned(),
        problem,
    };
    let mut names = Vec::new();
    let mut wasi = false;
    for (name, import) in kind.imports(engine) {
        names.push(name.to_owned());
        if is_wasi(name) {
            wasi = true;
            continue;
        }
        let Some(interface) = name.strip_prefix(PACKAGE) else {
            return Err(refuse(name, "which no version of this host has".to_owned()));
        };
        let (interface, version) = interface.split_once('@').unwrap_or((interface, ""));
        if !compatible(version) {
            return Err(refuse(
                name,
                format!("and this host offers {PACKAGE}{interface}@{CONTRACT_VERSION}"),
            ));
        }
        let Some((_, functions)) = OFFERED.iter().find(|(offered, _)| *offered == interface) else {
            return Err(refuse(
                name,
                format!("which contract {CONTRACT_VERSION} of this host has not"),
            ));
        };
        let ComponentItem::ComponentInstance(instance) = import.ty else {
            return Err(refuse(name, "which is no interface there".to_owned()));
        };
        for (function, item) in instance.exports(engine) {
            if matches!(item.ty, ComponentItem::ComponentFunc(_)) && !functions.contains(&function)
            {
                let import = format!("{function} of {name}");
                return Err(refuse(
                    &import,
                    format!("which contract {CONTRACT_VERSION} of this host has not"),
                ));
            }
        }
    }
    names.sort();
    check_exports(file, engine, component)?;
    Ok(Imports { names, wasi })
}

fn check_exports(
    file: &str,
    engine: &wasmtime::Engine,
    component: &Component,
) -> Result<(), LoadError> {
    let kind = component.component_type();
    let mut present = Vec::new();
    for (name, export) in kind.exports(engine) {
        let Some((EXPORTED, version)) = name
            .strip_prefix(PACKAGE)
            .and_then(|rest| rest.split_once('@'))
        else {
            continue;
        };
        if !compatible(version) {
            return Err(LoadError::Export {
                file: file.to_owned(),
                export: name.to_owned(),
            });
        }
        if let ComponentItem::ComponentInstance(instance) = export.ty {
            for (function, item) in instance.exports(engine) {
                if matches!(item.ty, ComponentItem::ComponentFunc(_)) {
                    present.push(function.to_owned());
                }
            }
        }
    }
    let missing: Vec<String> = EXPORTED_FUNCTIONS
        .iter()
        .filter(|wanted| !present.iter().any(|function| function == *wanted))
        .map(|wanted| (*wanted).to_owned())
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(LoadError::Incomplete {
            file: file.to_owned(),
            missing,
        })
    }
}

fn is_wasi(name: &str) -> bool {
    let version = name.split_once('@').map_or("", |(_, version)| version);
    wasi::PACKAGES
        .iter()
        .any(|package| name.starts_with(package))
        && semver::Version::parse(version)
            .is_ok_and(|version| version.major == 0 && version.minor == 2 && version.pre.is_empty())
}

/// Whether a module of this version of the contract can run here: `0.1.x` in both directions.
fn compatible(version: &str) -> bool {
    let parsed = semver::Version::parse(version).ok();
    let ours = semver::Version::parse(CONTRACT_VERSION).ok();
    parsed.zip(ours).is_some_and(|(theirs, ours)| {
        theirs.major == ours.major && theirs.minor == ours.minor && theirs.pre.is_empty()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "cargo tells a test this way where it is"
    )]
    fn what_is_offered_is_the_contract() {
        let mut resolve = wit_parser::Resolve::default();
        // Asked when it runs: a build kept from another checkout would look there.
        let here = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo says where the crate is");
        let folder = std::path::Path::new(&here).join("../../wit");
        let (package, _) = resolve.push_dir(folder).expect("the contract parses");
        let version = resolve.packages[package]
            .name
            .version
            .as_ref()
            .map(ToString::to_string);
        assert_eq!(version.as_deref(), Some(CONTRACT_VERSION));
        for (name, id) in &resolve.packages[package].interfaces {
            let functions: Vec<&str> = resolve.interfaces[*id]
                .functions
                .keys()
                .map(String::as_str)
                .collect();
            let expected = if name == EXPORTED {
                EXPORTED_FUNCTIONS
            } else {
                OFFERED
                    .iter()
                    .find(|(offered, _)| offered == name)
                    .map_or(&[][..], |(_, functions)| functions)
            };
            let sorted = |list: &[&str]| {
                let mut list: Vec<String> = list.iter().map(|name| (*name).to_owned()).collect();
                list.sort();
                list
            };
            assert_eq!(sorted(&functions), sorted(expected), "interface `{name}`");
        }
        assert_eq!(
            resolve.packages[package].interfaces.len(),
            OFFERED.len() + 1
        );
    }

    #[test]
    fn a_patch_of_the_contract_fits_and_a_minor_does_not() {
        assert!(compatible("0.1.0") && compatible("0.1.7"));
        assert!(
            !compatible("0.2.0")
                && !compatible("1.1.0")
                && !compatible("")
                && !compatible("0.1.0-rc.1")
        );
    }
}
