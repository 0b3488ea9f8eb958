//! Evidence: what proves an artifact whole, as ordered pairs.
//!
//! It is kept beside the artifact and shown to people: never a secret, never contents.

use std::fmt::Display;

use crate::error::{Error, Result};
use crate::host::Transferred;

/// Ordered pairs of words; a key stands in it once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Evidence(Vec<(String, String)>);

impl Evidence {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more pair; a value for a key that is there takes its place.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Display) -> Self {
        self.set(key, value);
        self
    }

    /// Adds a pair; a value for a key that is there takes its place.
    pub fn set(&mut self, key: &str, value: impl Display) {
        let value = value.to_string();
        match self.0.iter_mut().find(|(known, _)| known == key) {
            Some((_, old)) => *old = value,
            None => self.0.push((key.to_owned(), value)),
        }
    }

    /// With `bytes` and `sha256` of what was moved.
    #[must_use]
    pub fn with_transfer(self, moved: &Transferred) -> Self {
        self.with("bytes", moved.bytes)
            .with("sha256", &moved.sha256)
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| known == key)
            .map(|(_, value)| value.as_str())
    }

    /// The value of a key as a number; `None` when it is missing or no number.
    pub fn number(&self, key: &str) -> Option<u64> {
        self.get(key)?.parse().ok()
    }

    /// All pairs in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The pairs whose key begins with `prefix`, without it.
    pub fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.iter()
            .filter_map(move |(key, value)| Some((key.strip_prefix(prefix)?, value)))
    }

    /// Holds what was read now against the `bytes` and `sha256` that were recorded.
    ///
    /// # Errors
    /// `Failed` with `not-the-same` when one differs; what was not recorded is not compared.
    pub fn check_transfer(&self, what: &str, moved: &Transferred) -> Result<()> {
        let same_bytes = self
            .number("bytes")
            .is_none_or(|bytes| bytes == moved.bytes);
        let same_digest = self
            .get("sha256")
            .is_none_or(|digest| digest == moved.sha256);
        if same_bytes && same_digest {
            return Ok(());
        }
        let recorded = self.get("sha256").unwrap_or("?");
        let bytes = self.get("bytes").unwrap_or("?");
        Err(Error::failed(
            "not-the-same",
            format!(
                "`{what}` has {} bytes with digest `{}`, but its evidence says {bytes} bytes with `{recorded}`",
                moved.bytes, moved.sha256
            ),
        ))
    }

    /// The pairs, for the host.
    pub fn into_pairs(self) -> Vec<(String, String)> {
        self.0
    }
}

impl From<Vec<(String, String)>> for Evidence {
    fn from(pairs: Vec<(String, String)>) -> Self {
        let mut evidence = Self::new();
        for (key, value) in pairs {
            evidence.set(&key, value);
        }
        evidence
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stands_once() {
        let evidence = Evidence::new()
            .with("tables", 3)
            .with("rows:a", 1)
            .with("tables", 4);
        assert_eq!(evidence.number("tables"), Some(4));
        assert_eq!(evidence.iter().count(), 2);
        assert_eq!(evidence.under("rows:").collect::<Vec<_>>(), [("a", "1")]);
    }

    #[test]
    fn another_digest_is_not_the_same() {
        let mut moved = Transferred {
            bytes: 3,
            sha256: "aa".to_owned(),
            ..Transferred::default()
        };
        let evidence = Evidence::new().with_transfer(&moved);
        evidence
            .check_transfer("dump.sql", &moved)
            .expect("the same");
        moved.sha256 = "bb".to_owned();
        let error = evidence
            .check_transfer("dump.sql", &moved)
            .expect_err("differs");
        assert_eq!(error.code(), Some("not-the-same"));
    }
}
