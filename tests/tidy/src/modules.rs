//! What every stock module must bring: code, a manifest, a page for its users. The manifest's meaning
//! is the engine's to judge, not this crate's.

use std::collections::BTreeSet;

use crate::arrows::table;
use crate::tree::Tree;

/// The files of a module.
const FILES: [&str; 4] = ["Cargo.toml", "module.toml", "README.md", "src/lib.rs"];

/// Complaints about modules that lack a part.
#[must_use]
pub fn check(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for module in names(tree) {
        for file in FILES {
            let text = tree.text(&format!("modules/{module}/{file}"));
            if text.is_none_or(|text| text.trim().is_empty()) {
                complaints.push(format!("the module `{module}` has no `{file}`"));
            }
        }
        if let Some(text) = tree.text(&format!("modules/{module}/module.toml")) {
            let manifest = table(text);
            let name = manifest
                .get("module")
                .and_then(|about| about.get("name"))
                .and_then(toml::Value::as_str);
            if name != Some(module) {
                complaints.push(format!(
                    "`modules/{module}/module.toml` does not name the module `{module}`"
                ));
            }
        }
    }
    complaints
}

fn names(tree: &Tree) -> BTreeSet<&str> {
    tree.all()
        .filter_map(|(path, _)| Some(path.strip_prefix("modules/")?.split_once('/')?.0))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_without_a_page_is_refused() {
        let tree = Tree::of(&[
            ("modules/redis/Cargo.toml", "[package]"),
            ("modules/redis/module.toml", "[module]\nname = \"redis\""),
            ("modules/redis/src/lib.rs", "//! Redis."),
        ]);
        assert_eq!(check(&tree), ["the module `redis` has no `README.md`"]);
    }

    #[test]
    fn a_manifest_with_another_name_is_refused() {
        let tree = Tree::of(&[
            ("modules/redis/Cargo.toml", "[package]"),
            ("modules/redis/module.toml", "[module]\nname = \"valkey\""),
            ("modules/redis/README.md", "# Redis"),
            ("modules/redis/src/lib.rs", "//! Redis."),
        ]);
        assert_eq!(
            check(&tree),
            ["`modules/redis/module.toml` does not name the module `redis`"]
        );
    }
}
