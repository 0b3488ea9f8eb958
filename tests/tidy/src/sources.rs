//! What every source file must look like: an opening that says what it is for, a length that fits a
//! head, and no path that exists on one machine only. Style beyond that is clippy's and rustfmt's.

use crate::tree::Tree;

/// Lines in a file before it must be split.
const WALL: usize = 600;

/// What begins the path of somebody's home, workplace or scratch folder. Written in two parts, so
/// that this file does not complain about itself.
const MACHINE_PATHS: [(&str, &str); 5] = [
    ("/wor", "k/"),
    ("/roo", "t/"),
    ("/hom", "e/"),
    ("/Use", "rs/"),
    ("/tmp/", "target"),
];

/// Home folders that stand for no machine: made-up names in examples and tests.
const MADE_UP: [&str; 4] = ["/home/a", "/home/x", "/home/user", "/home/you"];

/// Complaints about Rust files that do not say what they are for.
#[must_use]
pub fn check_openings(tree: &Tree) -> Vec<String> {
    let silent = tree
        .ending(".rs")
        .filter(|(_, text)| !text.starts_with("//! "));
    silent
        .map(|(path, _)| {
            format!("`{path}` does not open with `//!`: what it is for and what it must never do")
        })
        .collect()
}

/// Complaints about Rust files beyond the wall.
#[must_use]
pub fn check_lengths(tree: &Tree) -> Vec<String> {
    let lengths = tree
        .ending(".rs")
        .map(|(path, text)| (path, text.lines().count()));
    let long = lengths.filter(|(_, lines)| *lines > WALL);
    long.map(|(path, lines)| format!("`{path}` has {lines} lines, and {WALL} is the wall"))
        .collect()
}

/// Complaints about paths that exist on one machine only.
#[must_use]
pub fn check_machine_paths(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for (path, text) in tree.all() {
        if path == "Cargo.lock" {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            if MACHINE_PATHS
                .iter()
                .any(|parts| names_machine_path(line, &format!("{}{}", parts.0, parts.1)))
            {
                complaints.push(format!(
                    "`{path}` line {} names a path of one machine",
                    number + 1
                ));
            }
        }
    }
    complaints
}

/// Whether the line holds the start of such a path where a path can start.
fn names_machine_path(line: &str, start: &str) -> bool {
    line.match_indices(start).any(|(at, _)| {
        let (before, rest) = line.split_at(at);
        // `https://host/work/` and `src/home/` are no paths of a machine.
        let begins = !before
            .ends_with(|letter: char| letter.is_alphanumeric() || "._-}$)~*\\".contains(letter));
        begins && !MADE_UP.iter().any(|known| rest.starts_with(known))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_an_opening_is_refused() {
        let tree = Tree::of(&[
            ("a/src/lib.rs", "//! What it is for.\n"),
            ("a/src/mute.rs", "use std::fs;\n"),
        ]);
        assert_eq!(
            check_openings(&tree),
            ["`a/src/mute.rs` does not open with `//!`: what it is for and what it must never do"]
        );
    }

    #[test]
    fn a_file_beyond_the_wall_is_refused() {
        let long = "//! x\n".repeat(WALL + 1);
        let whole = "//! x\n".repeat(WALL);
        let tree = Tree::of(&[("long.rs", &long), ("whole.rs", &whole), ("long.md", &long)]);
        assert_eq!(
            check_lengths(&tree),
            ["`long.rs` has 601 lines, and 600 is the wall"]
        );
    }

    fn check_line(line: &str, refused: bool) {
        let complaints = check_machine_paths(&Tree::of(&[("README.md", line)]));
        assert_eq!(!complaints.is_empty(), refused, "{line}: {complaints:?}");
    }

    #[test]
    fn a_path_of_one_machine_is_refused() {
        let parts = |index: usize| format!("{}{}", MACHINE_PATHS[index].0, MACHINE_PATHS[index].1);
        check_line(&format!("see {}notes", parts(0)), true);
        check_line(&format!("\"{}.cache\"", parts(1)), true);
        check_line(&format!("`{}peter/x`", parts(2)), true);
    }

    #[test]
    fn a_web_address_or_a_made_up_home_is_no_path_of_a_machine() {
        let work = format!("{}{}", MACHINE_PATHS[0].0, MACHINE_PATHS[0].1);
        check_line(&format!("https://example.com{work}x"), false);
        check_line("HOME=/home/a", false);
        check_line("$HOME/work and ~/.cache", false);
    }
}
