//! What every `Cargo.toml` must say: the lints of the workspace, and no version of its own. Whether a
//! version is good is not looked at here.

use toml::{Table, Value};

use crate::arrows::table;
use crate::tree::Tree;

/// What a package takes from the workspace instead of saying it again.
const INHERITED: [&str; 5] = ["version", "edition", "rust-version", "license", "publish"];

/// Complaints about packages outside the lints of the workspace.
#[must_use]
pub fn check_lints(tree: &Tree) -> Vec<String> {
    let strangers = tree.packages().filter(|(_, text)| {
        let lints = table(text)
            .get("lints")
            .and_then(|lints| lints.get("workspace"))
            .and_then(Value::as_bool);
        lints != Some(true)
    });
    strangers
        .map(|(room, _)| format!("`{room}/Cargo.toml` does not take the lints of the workspace"))
        .collect()
}

/// Complaints about versions and facts that belong into the top `Cargo.toml`.
#[must_use]
pub fn check_versions(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for (room, text) in tree.packages() {
        let manifest = table(text);
        let package = manifest.get("package").and_then(Value::as_table);
        for fact in INHERITED {
            let inherited = package
                .and_then(|package| package.get(fact))
                .is_some_and(is_inherited);
            if !inherited {
                complaints.push(format!(
                    "`{room}/Cargo.toml` does not take its `{fact}` from the workspace"
                ));
            }
        }
        let targets = manifest
            .get("target")
            .and_then(Value::as_table)
            .into_iter()
            .flat_map(Table::values);
        for table in targets.filter_map(Value::as_table).chain([&manifest]) {
            complaints.extend(own_versions(room, table));
        }
    }
    complaints
}

fn own_versions(room: &str, table: &Table) -> Vec<String> {
    let kinds = ["dependencies", "dev-dependencies", "build-dependencies"];
    let tables = kinds.iter().filter_map(|kind| table.get(*kind)?.as_table());
    let own = tables
        .flat_map(Table::iter)
        .filter(|(_, value)| !is_inherited(value));
    own.map(|(name, _)| format!("`{room}/Cargo.toml` has a version of its own for `{name}`"))
        .collect()
}

fn is_inherited(value: &Value) -> bool {
    value.get("workspace").and_then(Value::as_bool) == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[package]\nname = \"a\"\nversion.workspace = true\nedition.workspace = true\nrust-version.workspace = true\n\
        license.workspace = true\npublish.workspace = true\n[lints]\nworkspace = true\n[dependencies]\nserde.workspace = true\n";

    fn check(text: &str) -> Vec<String> {
        let tree = Tree::of(&[
            ("Cargo.toml", "[workspace.dependencies]\nserde = \"1\""),
            ("host/a/Cargo.toml", text),
        ]);
        check_lints(&tree)
            .into_iter()
            .chain(check_versions(&tree))
            .collect()
    }

    #[test]
    fn a_package_that_takes_all_from_the_workspace_passes() {
        assert_eq!(check(GOOD), [""; 0]);
    }

    #[test]
    fn a_package_with_its_own_lints_is_refused() {
        let text = GOOD.replace(
            "[lints]\nworkspace = true",
            "[lints.clippy]\nall = \"allow\"",
        );
        assert_eq!(
            check(&text),
            ["`host/a/Cargo.toml` does not take the lints of the workspace"]
        );
    }

    #[test]
    fn a_version_of_its_own_is_refused() {
        let text = GOOD.replace("serde.workspace = true", "serde = \"1\"");
        assert_eq!(
            check(&text),
            ["`host/a/Cargo.toml` has a version of its own for `serde`"]
        );
        let text =
            format!("{GOOD}[target.'cfg(unix)'.dev-dependencies]\nlibc = {{ version = \"0.2\" }}");
        assert_eq!(
            check(&text),
            ["`host/a/Cargo.toml` has a version of its own for `libc`"]
        );
    }

    #[test]
    fn an_edition_of_its_own_is_refused() {
        let text = GOOD.replace("edition.workspace = true", "edition = \"2021\"");
        assert_eq!(
            check(&text),
            ["`host/a/Cargo.toml` does not take its `edition` from the workspace"]
        );
    }
}
