//! The server's configuration file: read as directives, changed line by line.
//!
//! Comments and everything that is not meant to change stay as they are.

/// Save points off. Commenting the `save` lines out would not do: from Redis 6.2 on the compiled-in
/// ones stay in force when the file names none.
const NO_SAVE_POINTS: &str = "save \"\"";
/// The append-only file off.
const NO_APPEND_ONLY: &str = "appendonly no";

/// The file with save points and append-only file off.
pub(crate) fn without_persistence(file: &str) -> String {
    let file = with_directive(file, "save", NO_SAVE_POINTS);
    with_directive(&file, "appendonly", NO_APPEND_ONLY)
}

/// Whether the file switches the append-only file on. The last line counts, as in the server.
pub(crate) fn keeps_append_only(file: &str) -> bool {
    let last = file
        .lines()
        .filter_map(|line| directive(line, "appendonly"))
        .next_back();
    last.is_some_and(|value| value.trim_matches('"').eq_ignore_ascii_case("yes"))
}

/// The value of a line that is the directive `name`.
fn directive<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let line = line.trim();
    let (word, value) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    word.eq_ignore_ascii_case(name).then_some(value.trim())
}

/// Puts `line` where the first directive `name` is, or at the end, and drops the others.
fn with_directive(file: &str, name: &str, line: &str) -> String {
    let mut placed = false;
    let mut lines = Vec::new();
    for old in file.lines() {
        if directive(old, name).is_none() {
            lines.push(old);
        } else if !placed {
            lines.push(line);
            placed = true;
        }
    }
    if !placed {
        lines.push(line);
    }
    let mut text = lines.join("\n");
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "protected-mode no\n\nport 6379\n# save 1 1\nsave 900 1\nsave 300 10\nSAVE 60 10000\ndbfilename dump.rdb\nappendonly yes\nappendfilename \"appendonly.aof\"\nrename-command REPLICAOF \"\"\n";

    #[test]
    fn save_points_are_set_to_none_and_not_commented_out() {
        let off = without_persistence(FILE);
        assert_eq!(
            off,
            "protected-mode no\n\nport 6379\n# save 1 1\nsave \"\"\ndbfilename dump.rdb\nappendonly no\nappendfilename \"appendonly.aof\"\nrename-command REPLICAOF \"\"\n"
        );
        assert_eq!(without_persistence(&off), off);
    }

    #[test]
    fn a_file_that_names_neither_gets_both() {
        assert_eq!(
            without_persistence("port 6379"),
            "port 6379\nsave \"\"\nappendonly no\n"
        );
        assert_eq!(without_persistence(""), "save \"\"\nappendonly no\n");
    }

    #[test]
    fn the_last_appendonly_line_counts() {
        assert!(keeps_append_only(FILE));
        assert!(!keeps_append_only("appendonly yes\nappendonly no\n"));
        assert!(!keeps_append_only("#appendonly yes\n"));
        assert!(keeps_append_only("AppendOnly \"yes\"\n"));
    }
}
