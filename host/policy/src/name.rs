//! Names that cannot be wrong: parsed once at the edge, trusted inside.
//!
//! Must never accept a name that could climb out of a folder, break a line of a log or an argv, or
//! be read as an option by a command.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a text is not a name of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no {what}: {rule}")]
pub struct InvalidName {
    /// The kind of name that was wanted, such as `container name`.
    pub what: &'static str,
    /// The text as given, control characters escaped, at most 80 characters of it.
    pub text: String,
    /// The rule that the text breaks.
    pub rule: &'static str,
}

impl InvalidName {
    fn new(what: &'static str, text: &str, rule: &'static str) -> Self {
        let text = text
            .chars()
            .take(80)
            .flat_map(char::escape_default)
            .collect();
        Self { what, text, rule }
    }
}

/// A DNS-1123 label: lower-case letters, digits and `-`, 1 to 63 bytes, no `-` at either end.
const LABEL: &str = "use 1 to 63 lower-case letters, digits and inner `-`";
/// A DNS-1123 subdomain: labels joined by dots, 253 bytes in all.
const SUBDOMAIN: &str = "use lower-case letters, digits, inner `-` and `.`, at most 253 bytes";

fn is_label(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes.iter().all(|&b| word(b) || b == b'-')
        && bytes.first().is_some_and(|&b| word(b))
        && bytes.last().is_some_and(|&b| word(b))
}

fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident, $what:literal, $rule:expr, $check:expr;)+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Parses `text`; the error says the rule that it breaks.
            ///
            /// # Errors
            /// [`InvalidName`] when the text breaks the rule of this kind of name.
            pub fn parse(text: &str) -> Result<Self, InvalidName> {
                let check: fn(&str) -> bool = $check;
                if check(text) { Ok(Self(text.to_owned())) } else { Err(InvalidName::new($what, text, $rule)) }
            }

            /// The name as text.
            pub fn as_str(&self) -> &str { &self.0 }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(&self.0) }
        }
        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> { Self::parse(&text) }
        }
        impl From<$name> for String {
            fn from(name: $name) -> Self { name.0 }
        }
        impl std::str::FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> { Self::parse(text) }
        }
    )+};
}

names! {
    /// What a site calls one application.
    ApplicationName, "application name", LABEL, is_label;
    /// What a site calls one data set of an application.
    DataSetName, "data set name", LABEL, is_label;
    /// What a module calls itself in its manifest.
    ModuleName, "module name", LABEL, is_label;
    /// A role of the manifest that the site binds to a workload, such as `server`.
    RoleName, "role", LABEL, is_label;
    /// A command of the manifest.
    CommandName, "command name", LABEL, is_label;
    /// A path of the manifest, by its name there and not by its place in the pod.
    PathName, "path name", LABEL, is_label;
    /// A group of Kubernetes objects of the manifest.
    GroupName, "object group", LABEL, is_label;
    /// A template of the manifest.
    TemplateName, "template name", LABEL, is_label;
    /// A parameter of the manifest.
    ParameterName, "parameter name", LABEL, is_label;
    /// A secret handle of the manifest.
    SecretHandle, "secret handle", LABEL, is_label;
    /// A namespace of the cluster.
    Namespace, "namespace", LABEL, is_label;
    /// The name of a Kubernetes object.
    ObjectName, "object name", SUBDOMAIN, is_subdomain;
    /// A container of a pod.
    ContainerName, "container name", LABEL, is_label;
    /// One artifact of a data set, such as `dump.sql`: also a file name in the repository.
    ArtifactName, "artifact name", "use 1 to 100 letters, digits, `.`, `_` and `-`, beginning with a letter or digit",
        |text| (1..=100).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b))
            && text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    /// The name of an environment variable.
    VariableName, "environment variable", "use letters, digits and `_`, not beginning with a digit",
        |text| (1..=128).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && !text.bytes().next().is_some_and(|b| b.is_ascii_digit());
    /// A key of a ConfigMap's or Secret's `data`.
    DataKey, "data key", "use 1 to 253 letters, digits, `.`, `_` and `-`",
        |text| (1..=253).contains(&text.len())
            && text != "." && text != ".."
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b));
    /// An absolute path in a container, without `.`, `..`, empty parts or control characters.
    PodPath, "path in a pod", "use an absolute path of at most 4096 bytes without `.`, `..`, `//` and control characters",
        |text| text.len() <= 4096
            && text.len() > 1
            && !text.chars().any(char::is_control)
            && text.strip_prefix('/').is_some_and(|rest| rest.split('/').all(|part| !part.is_empty() && part != "." && part != ".."));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_climbs_is_no_path() {
        for bad in [
            "", "/", "relative", "/a/../b", "/a//b", "/a/./b", "/a/", "/a\nb",
        ] {
            assert!(PodPath::parse(bad).is_err(), "{bad:?}");
        }
        assert!(PodPath::parse("/var/lib/mysql/data").is_ok());
    }

    #[test]
    fn a_name_is_a_dns_label() {
        for bad in ["", "-a", "a-", "A", "a_b", "a.b", "a b", "a\u{1b}[2J"] {
            assert!(DataSetName::parse(bad).is_err(), "{bad:?}");
        }
        assert!(DataSetName::parse("system-database").is_ok());
        assert!(ObjectName::parse("redis.conf-7").is_ok());
        assert!(ObjectName::parse("a..b").is_err());
    }

    #[test]
    fn the_error_escapes_what_a_terminal_would_obey() {
        let error = DataSetName::parse("a\u{1b}[2J").expect_err("no name");
        assert_eq!(
            error.to_string(),
            "`a\\u{1b}[2J` is no data set name: use 1 to 63 lower-case letters, digits and inner `-`"
        );
    }
}
