//! What a run wrote into its audit log and its journal, as a story reads it: text, line by line.

use crate::site::Site;

/// The lines of the newest run's audit log.
#[track_caller]
pub fn audit(site: &Site) -> Vec<String> {
    newest(site, "audit.jsonl")
}

/// The lines of the newest run's journal.
#[track_caller]
pub fn journal(site: &Site) -> Vec<String> {
    newest(site, "journal.jsonl")
}

#[track_caller]
fn newest(site: &Site, file: &str) -> Vec<String> {
    let runs = std::fs::read_dir(site.path("state/threescale/runs")).expect("runs");
    let newest = runs.flatten().map(|run| run.path().join(file)).max();
    let text = std::fs::read_to_string(newest.expect("a run")).expect("read");
    text.lines().map(str::to_owned).collect()
}

/// The place of the first line with all of these words.
#[track_caller]
pub fn place(lines: &[String], words: &[&str]) -> usize {
    let found = lines
        .iter()
        .position(|line| words.iter().all(|word| line.contains(word)));
    assert!(
        found.is_some(),
        "no line with {words:?} in\n{}",
        lines.join("\n")
    );
    found.unwrap_or_default()
}
