//! What the pages at the top must hold: the commands of the first minute, and a place and an Invariant
//! for each crate. Whether the pages are good is for readers to say.

use crate::arrows::package_name;
use crate::tree::Tree;

/// The pages that must be there.
const PAGES: [&str; 6] = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "LICENSE",
];

/// What a newcomer types.
const COMMANDS: [&str; 2] = ["cargo xtask demo", "cargo xtask test"];

/// Complaints about pages that are missing and commands that the README does not name.
#[must_use]
pub fn check_pages(tree: &Tree) -> Vec<String> {
    let missing = PAGES
        .iter()
        .filter(|page| tree.text(page).is_none_or(|text| text.trim().is_empty()));
    let mut complaints: Vec<String> = missing
        .map(|page| format!("`{page}` is missing or empty"))
        .collect();
    let readme = tree.text("README.md").unwrap_or_default();
    let unnamed = COMMANDS.iter().filter(|command| !readme.contains(*command));
    complaints.extend(unnamed.map(|command| format!("`README.md` does not name `{command}`")));
    complaints
}

/// Complaints about crates without an entry in `ARCHITECTURE.md` that states their Invariant.
///
/// An entry is a heading or a list item and what stands under it; its first line names the crate by its
/// folder.
#[must_use]
pub fn check_invariants(tree: &Tree) -> Vec<String> {
    let text = tree.text("ARCHITECTURE.md").unwrap_or_default();
    let entries = entries(text);
    let rooms = tree
        .packages()
        .filter(|(_, manifest)| package_name(manifest).is_some());
    let stated = |room: &str| {
        entries
            .iter()
            .any(|entry| names(entry, room) && entry.contains("Invariant"))
    };
    rooms
        .filter(|(room, _)| !stated(room))
        .map(|(room, _)| {
            format!("`ARCHITECTURE.md` has no entry `{room}` that states its Invariant")
        })
        .collect()
}

/// Whether the first line of an entry names the room.
fn names(entry: &str, room: &str) -> bool {
    let title = entry.lines().next().unwrap_or_default();
    title.contains(&format!("`{room}`"))
}

fn entries(text: &str) -> Vec<String> {
    let mut entries: Vec<String> = Vec::new();
    for line in text.lines() {
        if line.starts_with('#') || line.starts_with("- ") {
            entries.push(String::new());
        }
        if let Some(entry) = entries.last_mut() {
            entry.push_str(line);
            entry.push('\n');
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_readme_without_the_first_command_is_refused() {
        let mut files: Vec<(&str, &str)> = PAGES.iter().map(|page| (*page, "text")).collect();
        files.push(("README.md", "run `cargo xtask test`"));
        assert_eq!(
            check_pages(&Tree::of(&files)),
            ["`README.md` does not name `cargo xtask demo`"]
        );
    }

    #[test]
    fn a_missing_page_is_named() {
        assert!(
            check_pages(&Tree::default())
                .contains(&"`CHANGELOG.md` is missing or empty".to_owned())
        );
    }

    #[test]
    fn a_crate_without_an_invariant_is_refused() {
        let policy = ("host/policy/Cargo.toml", "[package]\nname = \"p\"");
        let redis = ("modules/redis/Cargo.toml", "[package]\nname = \"r\"");
        let whole = "# House\n- **`host/policy`**. Decides.\n  *Invariant: pure.*\n- **`modules/redis`**. *Invariant: only the SDK.*\n";
        assert_eq!(
            check_invariants(&Tree::of(&[policy, redis, ("ARCHITECTURE.md", whole)])),
            [""; 0]
        );
        let without = whole.replace("*Invariant: pure.*", "Pure.");
        assert_eq!(
            check_invariants(&Tree::of(&[policy, redis, ("ARCHITECTURE.md", &without)])),
            ["`ARCHITECTURE.md` has no entry `host/policy` that states its Invariant"]
        );
    }
}
