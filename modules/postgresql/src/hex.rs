//! Names as hexadecimal digits, the way the scripts of the manifest print them.
//!
//! Names in PostgreSQL may hold tabs, newlines, quotes and separators. Digits cannot be misread.

use cofferdam_guest_sdk::{Error, Result};

/// The text behind digits.
pub(crate) fn decode(digits: &str) -> Result<String> {
    let unknown = || Error::failed("unknown-answer", format!("`{digits}` is no name in digits"));
    if !digits.is_ascii() || !digits.len().is_multiple_of(2) {
        return Err(unknown());
    }
    let bytes: Option<Vec<u8>> = digits
        .as_bytes()
        .chunks(2)
        .map(|pair| {
            let pair = std::str::from_utf8(pair).ok()?;
            u8::from_str_radix(pair, 16).ok()
        })
        .collect();
    Ok(String::from_utf8_lossy(&bytes.ok_or_else(unknown)?).into_owned())
}

/// A database's name as the hole `name` of a command takes it.
pub(crate) fn hole(name_in_digits: &str) -> String {
    format!("x{name_in_digits}")
}

/// The digits of a text.
pub(crate) fn encode(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_and_names_are_one() {
        for name in ["system", "Odd \"name", "Grüße\t|\n"] {
            assert_eq!(decode(&encode(name)).expect(name), name);
        }
        for wrong in ["0", "zz", "grüß"] {
            assert!(decode(wrong).is_err(), "{wrong}");
        }
    }
}
