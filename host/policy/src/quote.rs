//! Texts of a module or a site, made safe to stand in a policy file.
//!
//! A word of a manifest must never be able to end a string or a comment of the policy it stands in.

/// Inside of a Cedar string.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            // Cedar needs no escape here, and shell words are full of them.
            '\'' => out.push(char),
            _ => out.extend(char.escape_debug()),
        }
    }
    out
}

/// A Cedar string literal.
pub(crate) fn string(text: &str) -> String {
    format!("\"{}\"", escape(text))
}

/// A part of a Cedar pattern that stands for itself.
pub(crate) fn pattern_part(text: &str) -> String {
    escape(text).replace('*', "\\*")
}

/// A Cedar set of strings.
pub(crate) fn set<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> String {
    let texts: Vec<String> = texts
        .into_iter()
        .map(|text| string(text.as_ref()))
        .collect();
    format!("[{}]", texts.join(", "))
}

/// One line of a comment: what would end the line or turn its direction is escaped.
pub(crate) fn comment(text: &str) -> String {
    text.chars()
        .map(|char| match char {
            '\'' | '"' | '\\' => char.to_string(),
            _ => char.escape_debug().to_string(),
        })
        .collect()
}

/// A command line as a shell would want it. Two different lines never look alike.
pub(crate) fn command_line(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| shell_word(word)).collect();
    words.join(" ")
}

fn shell_word(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_@%+=:,./-".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(words: &[&str]) -> String {
        command_line(&words.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn different_command_lines_never_look_alike() {
        let lines = [
            line(&["a", "b"]),
            line(&["a b"]),
            line(&["a", "", "b"]),
            line(&["a", "'b"]),
            line(&["a", "b'"]),
            line(&["a' 'b"]),
            line(&["a", r"\'b"]),
        ];
        for (at, one) in lines.iter().enumerate() {
            for other in lines.iter().skip(at + 1) {
                assert_ne!(one, other);
            }
        }
        assert_eq!(line(&["sh", "-c", "echo 'hi'"]), r"sh -c 'echo '\''hi'\'''");
    }

    #[test]
    fn a_comment_stays_one_line_and_reads_from_left_to_right() {
        assert_eq!(
            comment("a\n};\r\u{2028}\u{202e}permit"),
            "a\\n};\\r\\u{2028}\\u{202e}permit"
        );
    }

    #[test]
    fn a_string_ends_where_it_should() {
        assert_eq!(string("a\" || true \\"), r#""a\" || true \\""#);
        assert_eq!(pattern_part("a*\n"), "a\\*\\n");
    }
}
