//! What `INFO` says, as fields.

use std::collections::BTreeMap;

use cofferdam_guest_sdk::{Error, Result};

/// The fields of an answer to `INFO`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Info(BTreeMap<String, String>);

/// The keys of all databases together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Keys {
    /// How many.
    pub(crate) all: u64,
    /// How many of them have a time to live, and so may be gone at any moment.
    pub(crate) expiring: u64,
}

impl Info {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let fields: BTreeMap<String, String> = text
            .lines()
            .filter_map(|line| line.trim().split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        if fields.contains_key("redis_version") {
            return Ok(Self(fields));
        }
        let first = text.lines().next().unwrap_or_default();
        Err(Error::failed(
            "unknown-answer",
            format!("the server answered `{first}` to `INFO`"),
        ))
    }

    /// A field as text.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A field as a number.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.get(name)?.parse().ok()
    }

    /// Whether a field is `1`. A field that this server does not have is not.
    pub(crate) fn is_on(&self, name: &str) -> bool {
        self.get(name) == Some("1")
    }

    /// The version of the server and what it is.
    pub(crate) fn version(&self) -> String {
        match self.get("valkey_version") {
            Some(valkey) => format!("Valkey {valkey}"),
            None => format!("Redis {}", self.get("redis_version").unwrap_or("?")),
        }
    }

    /// The keys of all databases.
    pub(crate) fn keys(&self) -> Keys {
        let databases = self.0.iter().filter(|(name, _)| {
            name.strip_prefix("db")
                .is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
        });
        databases.fold(Keys::default(), |sum, (_, fields)| {
            let field = |wanted: &str| -> u64 {
                let value = fields
                    .split(',')
                    .find_map(|field| field.strip_prefix(wanted)?.strip_prefix('='));
                value.and_then(|value| value.parse().ok()).unwrap_or(0)
            };
            Keys {
                all: sum.all + field("keys"),
                expiring: sum.expiring + field("expires"),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_all_databases_are_summed() {
        let info = Info::parse("# Server\r\nredis_version:7.0.15\r\n\r\n# Keyspace\r\ndb0:keys=4,expires=1,avg_ttl=99999488\r\ndb12:keys=1,expires=0,avg_ttl=0\r\n").expect("an answer");
        assert_eq!(
            info.keys(),
            Keys {
                all: 5,
                expiring: 1
            }
        );
        assert_eq!(info.version(), "Redis 7.0.15");
        let empty = Info::parse("redis_version:6.2.5\ndb_size:7\n").expect("an answer");
        assert_eq!(empty.keys(), Keys::default());
    }

    #[test]
    fn an_error_is_no_answer() {
        let error = Info::parse("NOAUTH Authentication required.\n").expect_err("an error");
        assert!(error.to_string().contains("NOAUTH"), "{error}");
    }
}
