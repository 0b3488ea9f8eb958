//! Text from a module on its way to people: bounded, and nothing that a terminal would obey.

/// `text` on one line of at most `limit` bytes.
///
/// Line breaks and tabs become spaces. Other control characters, and the characters that turn the
/// direction of writing round, are left out. What is cut ends with `…`.
pub(crate) fn clean(text: &str, limit: usize) -> String {
    let mut clean = String::with_capacity(text.len().min(limit));
    for c in text.chars() {
        let c = match c {
            '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => ' ',
            c if c.is_control() || turns_direction(c) => continue,
            c => c,
        };
        if clean.len() + c.len_utf8() > limit {
            clean.push('…');
            break;
        }
        clean.push(c);
    }
    clean
}

/// Characters with which a text can be shown in another order than it has: Trojan Source.
fn turns_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Whether `text` has `1..=limit` bytes and nothing that [`clean`] would change.
pub(crate) fn is_plain(text: &str, limit: usize) -> bool {
    !text.is_empty()
        && text.len() <= limit
        && !text.chars().any(|c| c.is_control() || turns_direction(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_that_a_terminal_obeys() {
        assert_eq!(
            clean("a\u{1b}[2Jb\u{7}\u{9b}1mc\r\nd\u{202e}e", 100),
            "a[2Jb1mc  de"
        );
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(clean("äöü", 4), "äö…");
        assert_eq!(clean("abc", 3), "abc");
    }
}
