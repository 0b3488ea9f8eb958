//! A password that stays out of logs and leaves memory when it is no longer needed.
//!
//! Where it comes from (file, environment, command) is the binary's business. It must never be printed, serialized
//! or compared.

use std::fmt;

use zeroize::Zeroizing;

use crate::error::{Error, Result};

/// The password of a repository.
///
/// `Debug` shows its length only, and the memory is overwritten on drop. The library behind copies it for the moment of
/// opening; that copy is freed but not overwritten.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// Takes a password; one line break at its end is cut off, because files and commands end with one.
    ///
    /// # Errors
    /// [`Error::EmptyPassword`] if nothing is left.
    pub fn new(text: String) -> Result<Self> {
        let text = Zeroizing::new(text);
        let cut = text.strip_suffix('\n').unwrap_or(&text);
        let cut = cut.strip_suffix('\r').unwrap_or(cut);
        if cut.is_empty() {
            return Err(Error::EmptyPassword);
        }
        Ok(Self(Zeroizing::new(cut.to_owned())))
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Password({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_shown_by_debug() {
        let password = Password::new("correct horse".to_owned()).unwrap();
        assert_eq!(format!("{password:?}"), "Password(13 bytes)");
    }

    #[test]
    fn one_line_break_is_cut_off_and_an_empty_password_is_refused() {
        assert_eq!(Password::new("a\r\n".to_owned()).unwrap().reveal(), "a");
        assert_eq!(Password::new("a\n\n".to_owned()).unwrap().reveal(), "a\n");
        assert!(Password::new("\n".to_owned()).is_err());
        assert!(Password::new(String::new()).is_err());
    }
}
