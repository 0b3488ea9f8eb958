//! Text of servers and pods, made safe for people's terminals and logs.
//!
//! Must never let through a character that a terminal obeys or that reorders what is read.

/// The most characters of a server's or pod's sentence that goes into an error.
pub(crate) const SENTENCE: usize = 600;

/// Whether a terminal or a reader could be misled by `character`: controls, directions, zero widths.
fn misleads(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        )
}

/// One line: white space becomes single spaces, other misleading characters their escapes, and what
/// is longer than [`SENTENCE`] characters ends in `...`.
pub(crate) fn sentence(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut clean = String::with_capacity(words.len());
    for (place, character) in words.chars().enumerate() {
        if place == SENTENCE {
            clean.push_str("...");
            break;
        }
        push(&mut clean, character);
    }
    clean
}

/// Several lines: newlines and tabs stay, a carriage return goes, the rest is as in [`sentence`].
pub(crate) fn lines(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut clean = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\t' => clean.push(character),
            '\r' => {}
            other => push(&mut clean, other),
        }
    }
    clean
}

fn push(clean: &mut String, character: char) {
    if misleads(character) {
        clean.extend(character.escape_default());
    } else {
        clean.push(character);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_cannot_command_a_terminal() {
        assert_eq!(
            sentence("bad\u{1b}[2J\r\n  thing \u{202e}drawkcab"),
            "bad\\u{1b}[2J thing \\u{202e}drawkcab"
        );
        assert_eq!(
            sentence(&"x".repeat(SENTENCE + 5)).len(),
            SENTENCE + "...".len()
        );
    }

    #[test]
    fn lines_keep_their_ends_and_nothing_else() {
        assert_eq!(lines(b"one\r\n\ttwo\x07\xff"), "one\n\ttwo\\u{7}\u{fffd}");
    }
}
