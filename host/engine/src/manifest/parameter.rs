//! What a site may set and what a module may fill in: types, values, and how a text becomes one.
//!
//! Must never turn a value that breaks its type into something near it: it is refused.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use cofferdam_policy::name::{DataKey, ObjectName, PodPath};
use cofferdam_policy::request::{ObjectKind, Value};

use super::template::Template;
use crate::limits;

/// A parameter that the site sets, or a hole that the module fills.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// One line for people. May be empty for holes.
    pub summary: String,
    /// What values it takes.
    pub kind: ParameterType,
    /// The value where none is given. `None`: one must be given.
    pub default: Option<Setting>,
}

/// What values a parameter or a hole takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParameterType {
    /// Letters, digits, `_` and `$`, not beginning with a digit, at most 128 bytes.
    Identifier,
    /// A whole number within bounds, both included.
    Integer {
        /// The smallest.
        minimum: i64,
        /// The largest.
        maximum: i64,
    },
    /// One of these words.
    Enum(Vec<String>),
    /// An absolute path in a pod.
    Path,
    /// Text without control characters, at most 4096 bytes.
    Text,
    /// A length of time such as `90s`, `10m` or `6h`: whole milliseconds up to 366 days.
    Duration,
    /// A number of bytes such as `64KiB`.
    Bytes,
    /// The name of a Kubernetes object.
    ObjectName,
    /// A key of a ConfigMap's or Secret's data.
    DataKey,
    /// Names of Kubernetes objects, 256 at most.
    ObjectNames,
    /// Words of a command line that the manifest has ready: the site chooses one of these names,
    /// and the words behind it, none or several, take the place of the hole. For parameters only.
    Words(BTreeMap<String, Vec<Template>>),
    /// A kind of Kubernetes objects with its group and version, such as
    /// `apps.3scale.net/v1alpha1/APIManager`. Never of the core group or another without a dot.
    ObjectKind,
}

/// The value of a parameter. Displayed as a module gets it: durations in whole seconds, bytes in
/// bytes, names joined with `,`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Setting {
    /// One value.
    Value(Value),
    /// A list of names.
    ObjectNames(Vec<ObjectName>),
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(value) => value.fmt(f),
            Self::ObjectNames(names) => {
                for (index, name) in names.iter().enumerate() {
                    let comma = if index == 0 { "" } else { "," };
                    write!(f, "{comma}{name}")?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for ParameterType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identifier => f.write_str("identifier"),
            Self::Integer {
                minimum: i64::MIN,
                maximum: i64::MAX,
            } => f.write_str("integer"),
            Self::Integer { minimum, maximum } => write!(f, "integer from {minimum} to {maximum}"),
            Self::Enum(words) => write!(f, "one of {}", words.join(", ")),
            Self::Path => f.write_str("path"),
            Self::Text => f.write_str("text"),
            Self::Duration => f.write_str("duration"),
            Self::Bytes => f.write_str("bytes"),
            Self::ObjectName => f.write_str("object-name"),
            Self::DataKey => f.write_str("data-key"),
            Self::ObjectNames => f.write_str("object-names"),
            Self::Words(words) => {
                let names: Vec<&str> = words.keys().map(String::as_str).collect();
                write!(f, "one of {}", names.join(", "))
            }
            Self::ObjectKind => f.write_str("object-kind"),
        }
    }
}

/// The longest duration that makes sense anywhere: a year and a day.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

impl ParameterType {
    /// Whether a value of this type can be more than a word to an interpreter that reads it as a
    /// program. Such a value must never fill a hole of a script.
    pub(crate) fn may_hold_code(&self) -> bool {
        match self {
            Self::Path | Self::Text => true,
            // The words of an enum stand in the manifest, where they can be read.
            Self::Enum(_)
            | Self::Words(_)
            | Self::Identifier
            | Self::Integer { .. }
            | Self::Duration
            | Self::Bytes
            | Self::ObjectName
            | Self::DataKey
            | Self::ObjectNames
            | Self::ObjectKind => false,
        }
    }

    /// Reads one value; the error is the rule that it breaks, without the value.
    pub(crate) fn value(&self, text: &str) -> Result<Value, String> {
        if text.len() > limits::ARGUMENT_BYTES {
            return Err(format!("is longer than {} bytes", limits::ARGUMENT_BYTES));
        }
        match self {
            Self::Identifier if is_identifier(text) => Ok(Value::Identifier(text.to_owned())),
            Self::Identifier => Err("is no identifier: use 1 to 128 letters, digits, `_` and `$`, not beginning with a digit".to_owned()),
            Self::Integer { minimum, maximum } => match text.parse::<i64>() {
                Ok(number) if (*minimum..=*maximum).contains(&number) => Ok(Value::Integer(number)),
                Ok(_) => Err(format!("is not within {minimum} and {maximum}")),
                Err(_) => Err("is no whole number".to_owned()),
            },
            Self::Enum(words) if words.iter().any(|word| word == text) => Ok(Value::Choice(text.to_owned())),
            Self::Enum(words) => Err(format!("is not one of {}", words.join(", "))),
            Self::Path => PodPath::parse(text).map(Value::Path).map_err(|error| format!("is no path: {}", error.rule)),
            Self::Text if text.chars().any(char::is_control) => Err("holds control characters".to_owned()),
            Self::Text => Ok(Value::Text(text.to_owned())),
            Self::Duration => duration(text).map(Value::Duration),
            Self::Bytes => bytes(text).map(Value::Bytes),
            Self::ObjectName => ObjectName::parse(text)
                .map(|name| Value::Text(name.into()))
                .map_err(|error| format!("is no object name: {}", error.rule)),
            Self::DataKey => DataKey::parse(text)
                .map(|key| Value::Text(key.into()))
                .map_err(|error| format!("is no data key: {}", error.rule)),
            Self::ObjectKind => object_kind(text).map(|kind| Value::Text(kind.to_string())),
            Self::ObjectNames => Err("is one text where a list of names is wanted".to_owned()),
            Self::Words(words) if words.contains_key(text) => Ok(Value::Choice(text.to_owned())),
            Self::Words(_) => Err(format!("is not {self}")),
        }
    }

    /// Reads a value as a site or a manifest writes it: text, number or list.
    pub(crate) fn setting(&self, value: &serde_json::Value) -> Result<Setting, String> {
        match (self, value) {
            (Self::ObjectNames, serde_json::Value::Array(items)) => names(items),
            (Self::ObjectNames, _) => Err("is no list of names".to_owned()),
            (_, serde_json::Value::String(text)) => self.value(text).map(Setting::Value),
            (Self::Integer { .. } | Self::Bytes, serde_json::Value::Number(number)) => {
                self.value(&number.to_string()).map(Setting::Value)
            }
            _ => Err(format!("is no {self}: write it in quotes")),
        }
    }
}

fn names(items: &[serde_json::Value]) -> Result<Setting, String> {
    if items.len() > limits::OBJECTS_PER_GROUP {
        return Err(format!("has more than {} names", limits::OBJECTS_PER_GROUP));
    }
    let mut names = Vec::with_capacity(items.len());
    for item in items {
        let text = item.as_str().ok_or("holds something that is no text")?;
        let name = ObjectName::parse(text).map_err(|error| error.to_string())?;
        if names.contains(&name) {
            return Err(format!("names `{name}` twice"));
        }
        names.push(name);
    }
    Ok(Setting::ObjectNames(names))
}

fn is_identifier(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= 128
        && bytes
            .next()
            .is_some_and(|b| b.is_ascii_alphabetic() || b"_$".contains(&b))
        && bytes.all(|b| b.is_ascii_alphanumeric() || b"_$".contains(&b))
}

/// The group of OpenShift's workloads. It has a dot; what is said of Kubernetes' own holds for it all the same.
const OPENSHIFT_WORKLOADS: &str = "apps.openshift.io";

/// Reads `apps.3scale.net/v1alpha1/APIManager`.
///
/// The groups without a dot are Kubernetes' own: workloads, Secrets, ConfigMaps, Jobs. Those have
/// their own kinds of data sets, and a manifest that means one of them names it. A pod template has
/// passwords in clear where 3scale's operator writes them, and no data set keeps one.
pub(crate) fn object_kind(text: &str) -> Result<ObjectKind, String> {
    let group_of = |api_version: &str| {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        group.to_owned()
    };
    let parts = text.rsplit_once('/');
    if parts.is_some_and(|(api_version, _)| group_of(api_version) == OPENSHIFT_WORKLOADS) {
        return Err(format!(
            "is no kind that is kept: those of `{OPENSHIFT_WORKLOADS}` are workloads, whose pod templates may hold passwords in clear"
        ));
    }
    parts
        .filter(|(api_version, kind)| {
            is_kind(kind) && is_api_version(api_version) && group_of(api_version).contains('.')
        })
        .map(|(api_version, kind)| ObjectKind {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
        })
        .ok_or_else(|| {
            "is no kind of a group with a dot, such as `apps.3scale.net/v1alpha1/APIManager`"
                .to_owned()
        })
}

/// A kind such as `ConfigMap`.
pub(crate) fn is_kind(text: &str) -> bool {
    is_word(text) && text.starts_with(|c: char| c.is_ascii_uppercase())
}

/// A version such as `v1` or `apps/v1`.
pub(crate) fn is_api_version(text: &str) -> bool {
    match text.split_once('/') {
        Some((group, version)) => ObjectName::parse(group).is_ok() && is_word(version),
        None => is_word(text),
    }
}

fn is_word(text: &str) -> bool {
    (1..=63).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// Reads `90s`, `10m`, `1h 30m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    jiff::SignedDuration::from_str(text)
        .ok()
        .and_then(|signed| Duration::try_from(signed).ok())
        .filter(|duration| {
            *duration <= LONGEST && duration.subsec_nanos().is_multiple_of(1_000_000)
        })
        .ok_or_else(|| {
            "is no duration such as `90s`, `10m` or `6h`, of at most 366 days".to_owned()
        })
}

/// Reads `64KiB`, `1 MB`, `4096`.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    bytesize::ByteSize::from_str(text)
        .map(|size| size.as_u64())
        .map_err(|_| "is no number of bytes such as `64KiB`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(kind: &ParameterType, text: &str) -> String {
        match kind.value(text) {
            Ok(value) => value.to_string(),
            Err(rule) => rule,
        }
    }

    #[test]
    fn a_value_is_what_its_type_says() {
        assert_eq!(
            shown(&ParameterType::Identifier, "system_production"),
            "system_production"
        );
        assert!(shown(&ParameterType::Identifier, "a;b").starts_with("is no identifier"));
        assert!(shown(&ParameterType::Identifier, "").starts_with("is no identifier"));
        let digit = ParameterType::Integer {
            minimum: 1,
            maximum: 9,
        };
        assert_eq!(shown(&digit, "9"), "9");
        assert_eq!(shown(&digit, "10"), "is not within 1 and 9");
        assert_eq!(shown(&ParameterType::Duration, "10m"), "600");
        assert_eq!(shown(&ParameterType::Bytes, "64KiB"), "65536");
        assert!(shown(&ParameterType::Duration, "-1s").starts_with("is no duration"));
        assert_eq!(
            shown(&ParameterType::Text, "a\nb"),
            "holds control characters"
        );
        assert_eq!(
            shown(&ParameterType::Path, "/a/../b").split(':').next(),
            Some("is no path")
        );
    }

    #[test]
    fn a_kind_is_of_a_group_with_a_dot_and_never_a_secret() {
        let kind = "apps.3scale.net/v1alpha1/APIManager";
        assert_eq!(shown(&ParameterType::ObjectKind, kind), kind);
        for bad in [
            "v1/Secret",
            "Secret",
            "apps/v1/Deployment",
            "apps.openshift.io/v1/DeploymentConfig",
            "apps.openshift.io/v2/Other",
            "/v1/Secret",
            "./v1/Secret",
            "a.b/v1/secrets",
            "a.b/v1/status/Kind",
            "a.b/../Kind",
            "A.B/v1/Kind",
            "",
        ] {
            let said = shown(&ParameterType::ObjectKind, bad);
            assert!(said.starts_with("is no kind"), "{bad}: {said}");
        }
    }

    #[test]
    fn a_list_of_names_is_joined_for_the_module() {
        let setting = ParameterType::ObjectNames
            .setting(&serde_json::json!(["a", "b.c"]))
            .expect("names");
        assert_eq!(setting.to_string(), "a,b.c");
        assert!(
            ParameterType::ObjectNames
                .setting(&serde_json::json!(["a", "a"]))
                .is_err()
        );
        assert!(
            ParameterType::ObjectNames
                .setting(&serde_json::json!("a"))
                .is_err()
        );
        assert!(
            ParameterType::Identifier
                .setting(&serde_json::json!(["a"]))
                .is_err()
        );
    }
}
