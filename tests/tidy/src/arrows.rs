//! Which room may lean on which: the arrows of the house, held against every `Cargo.toml`, with its
//! dependencies for building and for tests. An arrow that is not drawn here is refused, never guessed.

use toml::{Table, Value};

use crate::tree::Tree;

/// The rooms that may lean on others, and on which. A `*` stands for one folder name.
const ARROWS: [(&str, &[&str]); 7] = [
    (
        "host/cli",
        &[
            "host/runs",
            "host/engine",
            "host/cluster",
            "host/repository",
            "host/policy",
        ],
    ),
    (
        "host/runs",
        &[
            "host/engine",
            "host/cluster",
            "host/repository",
            "host/policy",
        ],
    ),
    ("host/engine", &["host/policy"]),
    ("host/cluster", &["host/policy"]),
    ("modules/*", &["guest-sdk"]),
    ("tests/guests", &["guest-sdk"]),
    ("tests/*", &["tests/local-cluster"]),
];

/// Rooms that exist, so that a new one is a decision and not an accident.
const ROOMS: [&str; 9] = [
    "host/policy",
    "host/engine",
    "host/cluster",
    "host/repository",
    "host/runs",
    "host/cli",
    "guest-sdk",
    "modules/*",
    "tests/*",
];

/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 6] = ["common", "util", "types", "helper", "manager", "core"];

/// Complaints about arrows that the house does not have.
#[must_use]
pub fn check(tree: &Tree) -> Vec<String> {
    let ours = names(tree);
    let mut complaints = Vec::new();
    for (room, text) in tree.packages() {
        if !ROOMS.iter().any(|pattern| matches(pattern, room)) {
            complaints.push(format!("`{room}` is no room of the house"));
        }
        for dependency in dependencies(text) {
            let Some((_, target)) = ours.iter().find(|(name, _)| *name == dependency) else {
                continue;
            };
            if !allowed(room, target) {
                complaints.push(format!(
                    "`{room}` leans on `{target}`, and the house has no such arrow"
                ));
            }
        }
    }
    complaints
}

/// Complaints about packages and their folders with a name that says nothing.
#[must_use]
pub fn check_names(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for (room, text) in tree.packages() {
        let package = package_name(text).unwrap_or_default();
        let folder = room.rsplit('/').next().unwrap_or(room);
        let words = package.split(['-', '_']).chain(folder.split(['-', '_']));
        let mut empty = words.filter(|word| {
            EMPTY_NAMES.contains(&word.trim_end_matches('s')) || EMPTY_NAMES.contains(word)
        });
        if let Some(word) = empty.next() {
            complaints.push(format!(
                "`{room}` is named `{word}`, which says nothing about what is inside"
            ));
        }
    }
    complaints
}

fn allowed(room: &str, target: &str) -> bool {
    ARROWS
        .iter()
        .any(|(from, to)| matches(from, room) && to.contains(&target))
}

fn matches(pattern: &str, room: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => room
            .strip_prefix(prefix)
            .is_some_and(|name| !name.contains('/')),
        None => pattern == room,
    }
}

/// Our packages: name and room.
fn names(tree: &Tree) -> Vec<(String, String)> {
    tree.packages()
        .filter_map(|(room, text)| Some((package_name(text)?, room.to_owned())))
        .collect()
}

pub(crate) fn package_name(text: &str) -> Option<String> {
    let name = table(text)
        .get("package")?
        .get("name")?
        .as_str()?
        .to_owned();
    Some(name)
}

/// The names of all packages that a `Cargo.toml` leans on, in all its tables of dependencies.
fn dependencies(text: &str) -> Vec<String> {
    let manifest = table(text);
    let mut names = dependencies_in(&manifest);
    for target in manifest
        .get("target")
        .and_then(Value::as_table)
        .into_iter()
        .flat_map(Table::values)
    {
        names.extend(target.as_table().map(dependencies_in).unwrap_or_default());
    }
    names
}

fn dependencies_in(table: &Table) -> Vec<String> {
    let kinds = ["dependencies", "dev-dependencies", "build-dependencies"];
    let tables = kinds.iter().filter_map(|kind| table.get(*kind)?.as_table());
    // A renamed dependency has its true name inside.
    let names = tables
        .flat_map(Table::iter)
        .map(|(key, value)| value.get("package").and_then(Value::as_str).unwrap_or(key));
    names.map(str::to_owned).collect()
}

/// A manifest that does not parse is cargo's to complain about.
pub(crate) fn table(text: &str) -> Table {
    text.parse().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: (&str, &str) = (
        "host/policy/Cargo.toml",
        "[package]\nname = \"cofferdam-policy\"",
    );
    const RUNS: (&str, &str) = (
        "host/runs/Cargo.toml",
        "[package]\nname = \"cofferdam-runs\"",
    );

    fn with(room: &str, text: &str) -> Tree {
        Tree::of(&[
            POLICY,
            RUNS,
            (
                "tests/local-cluster/Cargo.toml",
                "[package]\nname = \"local-cluster\"",
            ),
            (room, text),
        ])
    }

    #[test]
    fn a_drawn_arrow_is_allowed() {
        let tree = with(
            "host/engine/Cargo.toml",
            "[dependencies]\ncofferdam-policy.workspace = true\nserde = \"1\"",
        );
        assert_eq!(check(&tree), [""; 0]);
    }

    #[test]
    fn an_arrow_against_the_stream_is_refused() {
        let tree = with(
            "host/engine/Cargo.toml",
            "[dependencies]\ncofferdam-runs.workspace = true",
        );
        assert_eq!(
            check(&tree),
            ["`host/engine` leans on `host/runs`, and the house has no such arrow"]
        );
    }

    #[test]
    fn a_dependency_of_tests_is_an_arrow_too() {
        let tree = with(
            "host/cluster/Cargo.toml",
            "[dev-dependencies]\nlocal-cluster.workspace = true",
        );
        assert_eq!(check(&tree).len(), 1);
    }

    #[test]
    fn a_renamed_dependency_for_one_machine_is_an_arrow_too() {
        let tree = with(
            "tests/e2e/Cargo.toml",
            "[target.'cfg(unix)'.dependencies]\nx = { package = \"cofferdam-runs\", path = \"\" }",
        );
        assert_eq!(
            check(&tree),
            ["`tests/e2e` leans on `host/runs`, and the house has no such arrow"]
        );
    }

    #[test]
    fn a_new_room_is_refused() {
        let tree = with(
            "host/extra/Cargo.toml",
            "[package]\nname = \"cofferdam-extra\"",
        );
        assert_eq!(check(&tree), ["`host/extra` is no room of the house"]);
    }

    #[test]
    fn a_name_that_says_nothing_is_refused() {
        let tree = with(
            "tests/shared/Cargo.toml",
            "[package]\nname = \"test-utils\"",
        );
        assert_eq!(check_names(&tree).len(), 1);
        let tree = with("host/core/Cargo.toml", "[package]\nname = \"cofferdam\"");
        assert_eq!(check_names(&tree).len(), 1);
        assert_eq!(check_names(&Tree::of(&[POLICY, RUNS])), [""; 0]);
    }
}
