//! Names and ids: parsed once, at the edge, and never checked again.
//!
//! A name ends as a file name in a tree that people restore with other programs, so it must never be able to climb
//! out of a folder, hide in a terminal or be mistaken for an option.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The longest name of an artifact or a data set, in bytes: file systems stop at 255, and exports append to it.
const LONGEST_NAME: usize = 200;
/// The longest text of a description, in bytes: tags and lines of a table, not documents.
const LONGEST_TEXT: usize = 256;
/// How much of a refused text an error shows, in characters.
const SHOWN: usize = 60;

/// What a refused text looks like in an error: short and without anything a terminal would obey.
pub(crate) fn shown(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(SHOWN)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

/// Checks a file name: ASCII, at most 200 bytes, letters, digits, `._-+=@:,~%()` and inner spaces, first a letter,
/// a digit or `_`.
pub(crate) fn check_file_name(what: &'static str, text: &str) -> Result<()> {
    let refuse = |reason| {
        Err(Error::Name {
            what,
            text: shown(text),
            reason,
        })
    };
    let Some(first) = text.chars().next() else {
        return refuse("it is empty");
    };
    if text.len() > LONGEST_NAME {
        return refuse("it is longer than 200 bytes");
    }
    if !first.is_ascii_alphanumeric() && first != '_' {
        return refuse("it must begin with a letter, a digit or `_`");
    }
    if text.ends_with(' ') {
        return refuse("it must not end with a space");
    }
    if !text
        .chars()
        .all(|character| character.is_ascii_alphanumeric() || "._-+=@:,~%() ".contains(character))
    {
        return refuse("only ASCII letters, digits, spaces and `._-+=@:,~%()` are allowed");
    }
    Ok(())
}

/// Checks a line of text of a description: not empty, at most 256 bytes, no control characters.
pub(crate) fn check_text(what: &'static str, text: &str) -> Result<()> {
    let refuse = |reason| {
        Err(Error::Name {
            what,
            text: shown(text),
            reason,
        })
    };
    if text.is_empty() {
        return refuse("it is empty");
    }
    if text.len() > LONGEST_TEXT {
        return refuse("it is longer than 256 bytes");
    }
    if text.chars().any(char::is_control) {
        return refuse("it has control characters");
    }
    Ok(())
}

fn check_id(what: &'static str, text: &str) -> Result<()> {
    if text.len() == 64
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    {
        Ok(())
    } else {
        Err(Error::Name {
            what,
            text: shown(text),
            reason: "it must be 64 lower-case hexadecimal digits",
        })
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self> {
                $check($what, text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;
            fn try_from(text: String) -> Result<Self> {
                $check($what, &text)?;
                Ok(Self(text))
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

name! {
    /// The name of an artifact within its snapshot.
    ///
    /// ASCII, at most 200 bytes: letters, digits, `._-+=@:,~%()` and inner spaces, first a letter, a digit or `_`.
    ArtifactName, "artifact name", check_file_name
}
name! {
    /// The id of a snapshot: 64 hexadecimal digits, the same that `restic snapshots` shows.
    SnapshotId, "snapshot id", check_id
}
name! {
    /// The id of a key: 64 hexadecimal digits, the same that `restic key list` shows.
    KeyId, "key id", check_id
}

impl SnapshotId {
    /// The first eight digits, as restic shows ids.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.get(..8).unwrap_or(&self.0)
    }
}

impl KeyId {
    /// The first eight digits, as restic shows ids.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.get(..8).unwrap_or(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_artifact_names_are_taken() {
        for name in [
            "system.sql",
            "dump.rdb",
            "_x",
            "Secret.system-database.json",
            "system:controller",
            "a (1).tar",
            "9",
        ] {
            assert_eq!(name.parse::<ArtifactName>().unwrap().as_ref(), name);
        }
    }

    #[test]
    fn hostile_artifact_names_are_refused_in_a_short_readable_line() {
        let long = "a".repeat(1024 * 1024);
        for name in [
            "",
            ".",
            "..",
            "../x",
            "a/b",
            "/etc/passwd",
            "a\\b",
            "-rf",
            ".hidden",
            "a\0b",
            "a\nb",
            "\u{1b}[31mred",
            "\u{202e}gpj.exe",
            "ümlaut",
            "a ",
            long.as_str(),
        ] {
            let error = name.parse::<ArtifactName>().unwrap_err().to_string();
            assert!(error.len() < 400, "{error}");
            assert!(!error.chars().any(char::is_control), "{error:?}");
        }
    }

    #[test]
    fn hostile_names_are_refused_in_stored_json_too() {
        assert!(serde_json::from_str::<ArtifactName>("\"../x\"").is_err());
        assert!(serde_json::from_str::<SnapshotId>("\"abc\"").is_err());
    }
}
