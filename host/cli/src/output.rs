//! The one door for results: a JSON document for scripts, or text for people.
//!
//! Results go to standard output and nothing else does. Text that comes from a module, a pod or a
//! repository passes [`clean`] on its way to a terminal.

use std::io::Write;

use anyhow::Result;
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::arguments::Format;

/// Writes `value` as JSON, or `text` of it.
///
/// # Errors
/// When standard output is closed.
pub(crate) fn show<T: Serialize>(
    format: Format,
    value: &T,
    text: impl FnOnce(&T) -> String,
) -> Result<()> {
    let mut out = anstream::stdout().lock();
    match format {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(value)?)?,
        Format::Text => writeln!(out, "{}", text(value).trim_end())?,
    }
    Ok(out.flush()?)
}

/// A table without lines, as kubectl writes them; `right` are the columns with numbers.
pub(crate) fn table(
    header: &[&str],
    rows: impl IntoIterator<Item = Vec<String>>,
    right: &[usize],
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if !header.is_empty() {
        table.set_header(header);
    }
    for row in rows {
        table.add_row(row.iter().map(|cell| clean(cell)));
    }
    for &index in right {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

/// Makes control characters visible, so that no text can steer a terminal.
pub(crate) fn clean(text: &str) -> String {
    text.chars()
        .flat_map(|letter| {
            let steers = letter.is_control()
                || matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            let shown: Vec<char> = if steers {
                letter.escape_default().collect()
            } else {
                vec![letter]
            };
            shown
        })
        .collect()
}

/// A number of bytes for people, in binary units.
pub(crate) fn bytes(count: u64) -> String {
    indicatif::BinaryBytes(count).to_string()
}

/// A duration for people.
pub(crate) fn milliseconds(count: u64) -> String {
    match count {
        0..1000 => format!("{count} ms"),
        1000..60_000 => format!("{}.{} s", count / 1000, count % 1000 / 100),
        _ => format!("{} min {} s", count / 60_000, count % 60_000 / 1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_steers_the_terminal() {
        assert_eq!(clean("a\u{1b}[2Jb\u{202e}c"), "a\\u{1b}[2Jb\\u{202e}c");
        assert_eq!(clean("Grüße"), "Grüße");
    }

    #[test]
    fn durations_read_well() {
        for (count, text) in [(7, "7 ms"), (1234, "1.2 s"), (61_500, "1 min 1 s")] {
            assert_eq!(milliseconds(count), text);
        }
    }

    #[test]
    fn numbers_stand_on_the_right() {
        let rows = [
            vec!["a".to_owned(), "1".to_owned()],
            vec!["bb".to_owned(), "100".to_owned()],
        ];
        let text = table(&["NAME", "BYTES"], rows, &[1]);
        assert!(
            text.lines()
                .nth(1)
                .is_some_and(|line| line.ends_with("    1")),
            "{text}"
        );
    }
}
