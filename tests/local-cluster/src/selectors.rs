//! Label and field selectors: as text in a query and as an object in a workload. A selector that
//! cannot be parsed is refused, never taken as "everything".

use serde_json::Value;

use crate::document;
use crate::resources::Resource;
use crate::status::{ApiError, ApiResult};

/// One requirement on one label or field.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Requirement {
    Exists(String),
    Missing(String),
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
}

/// A conjunction of requirements; the empty one matches everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<Requirement>,
}

impl Selector {
    /// Parses the two selectors of a request.
    pub(crate) fn parse(labels: &str, fields: &str, resource: &Resource) -> ApiResult<Self> {
        Ok(Self {
            labels: parse_labels(labels)?,
            fields: parse_fields(fields, resource)?,
        })
    }

    /// The selector of a workload: `matchLabels` with `matchExpressions`, or a plain map.
    pub(crate) fn of_workload(selector: &Value) -> Self {
        let mut labels = Vec::new();
        let structured =
            selector.get("matchLabels").is_some() || selector.get("matchExpressions").is_some();
        let equal = if structured { "/matchLabels" } else { "" };
        for (key, value) in document::entries(selector, equal) {
            let value = value.as_str().unwrap_or_default().to_owned();
            labels.push(Requirement::In(key.to_owned(), vec![value]));
        }
        for expression in document::items(selector, "/matchExpressions") {
            let key = document::text(expression, "/key").to_owned();
            let values = document::texts(expression, "/values");
            labels.push(match document::text(expression, "/operator") {
                "In" => Requirement::In(key, values),
                "NotIn" => Requirement::NotIn(key, values),
                "DoesNotExist" => Requirement::Missing(key),
                _ => Requirement::Exists(key),
            });
        }
        Self {
            labels,
            fields: Vec::new(),
        }
    }

    /// Whether an object fulfils every requirement.
    pub(crate) fn matches(&self, object: &Value) -> bool {
        let label = |key: &str| {
            object
                .pointer(&format!("/metadata/labels/{}", document::segment(key)))
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        let field = |key: &str| {
            let pointer = format!("/{}", key.replace('.', "/"));
            Some(match object.pointer(&pointer) {
                Some(Value::String(text)) => text.clone(),
                Some(Value::Null) | None => String::new(),
                Some(other) => other.to_string(),
            })
        };
        self.labels
            .iter()
            .all(|requirement| requirement.holds(label))
            && self
                .fields
                .iter()
                .all(|requirement| requirement.holds(field))
    }

    /// Whether the selector has no requirement at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }
}

impl Requirement {
    fn holds(&self, value_of: impl Fn(&str) -> Option<String>) -> bool {
        match self {
            Self::Exists(key) => value_of(key).is_some(),
            Self::Missing(key) => value_of(key).is_none(),
            Self::In(key, values) => value_of(key).is_some_and(|value| values.contains(&value)),
            Self::NotIn(key, values) => value_of(key).is_none_or(|value| !values.contains(&value)),
        }
    }
}

/// The text form of a workload's selector, as `Scale` shows it.
pub(crate) fn to_text(selector: &Value) -> String {
    let pointer = if selector.get("matchLabels").is_some() {
        "/matchLabels"
    } else {
        ""
    };
    let mut terms: Vec<String> = document::entries(selector, pointer)
        .filter_map(|(key, value)| value.as_str().map(|value| format!("{key}={value}")))
        .collect();
    terms.sort();
    terms.join(",")
}

fn parse_labels(text: &str) -> ApiResult<Vec<Requirement>> {
    split_terms(text)
        .into_iter()
        .map(|term| term.trim().to_owned())
        .filter(|term| !term.is_empty())
        .map(|term| parse_label_term(&term))
        .collect()
}

/// Splits at commas outside of parentheses.
fn split_terms(text: &str) -> Vec<String> {
    let mut depth = 0_u32;
    let mut terms = vec![String::new()];
    for letter in text.chars() {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                terms.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(term) = terms.last_mut() {
            term.push(letter);
        }
    }
    terms
}

fn parse_label_term(term: &str) -> ApiResult<Requirement> {
    if term.starts_with('=') || term.starts_with("!=") {
        let operator = ["==", "!=", "="]
            .into_iter()
            .find(|known| term.starts_with(known));
        return Err(ApiError::bad_request(format!(
            "found '{}', expected: !, identifier, or 'end of string'",
            operator.unwrap_or("=")
        )));
    }
    if let Some(key) = term.strip_prefix('!') {
        return Ok(Requirement::Missing(label_key(key)?));
    }
    if let Some((key, value)) = term.split_once("!=") {
        return Ok(Requirement::NotIn(
            label_key(key)?,
            vec![label_value(value)?],
        ));
    }
    if let Some((key, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
        return Ok(Requirement::In(label_key(key)?, vec![label_value(value)?]));
    }
    if let Some((head, values)) = term.split_once('(') {
        let values = values.strip_suffix(')').ok_or_else(|| {
            ApiError::bad_request(format!(
                "unable to parse requirement: found '', expected: ',' or ')' in `{term}`"
            ))
        })?;
        let values: Vec<String> = values
            .split(',')
            .map(label_value)
            .collect::<ApiResult<Vec<_>>>()?;
        return match head.split_whitespace().collect::<Vec<_>>().as_slice() {
            [key, "in"] => Ok(Requirement::In(label_key(key)?, values)),
            [key, "notin"] => Ok(Requirement::NotIn(label_key(key)?, values)),
            _ => Err(ApiError::bad_request(format!(
                "unable to parse requirement: found '{head}', expected: in, notin"
            ))),
        };
    }
    Ok(Requirement::Exists(label_key(term)?))
}

fn label_key(key: &str) -> ApiResult<String> {
    let key = key.trim();
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || "-_./".contains(letter);
    if key.is_empty() || !key.chars().all(allowed) {
        return Err(ApiError::bad_request(format!(
            "unable to parse requirement: <nil>: Invalid value: \"{key}\": name part must consist \
             of alphanumeric characters, '-', '_' or '.', and must start and end with an \
             alphanumeric character"
        )));
    }
    Ok(key.to_owned())
}

fn label_value(value: &str) -> ApiResult<String> {
    let value = value.trim();
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    if !value.chars().all(allowed) {
        return Err(ApiError::bad_request(format!(
            "unable to parse requirement: values[0][]: Invalid value: \"{value}\": a valid label \
             must be an empty string or consist of alphanumeric characters, '-', '_' or '.'"
        )));
    }
    Ok(value.to_owned())
}

fn known_fields(resource: &Resource) -> Vec<&'static str> {
    let mut known = vec!["metadata.name"];
    if resource.namespaced {
        known.push("metadata.namespace");
    }
    known.extend_from_slice(match resource.kind.as_str() {
        "Pod" => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.serviceAccountName",
            "status.phase",
            "status.podIP",
        ],
        "Event" => &[
            "involvedObject.kind",
            "involvedObject.name",
            "involvedObject.namespace",
            "involvedObject.uid",
            "reason",
            "type",
        ],
        "Secret" => &["type"],
        "Namespace" => &["status.phase"],
        _ => &[],
    });
    known
}

fn parse_fields(text: &str, resource: &Resource) -> ApiResult<Vec<Requirement>> {
    let mut requirements = Vec::new();
    for term in text.split(',').filter(|term| !term.is_empty()) {
        let (key, value, negated) = if let Some((key, value)) = term.split_once("!=") {
            (key, value, true)
        } else if let Some((key, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
            (key, value, false)
        } else {
            return Err(ApiError::bad_request(format!(
                "invalid selector: '{text}'; can't understand '{term}'"
            )));
        };
        let known = known_fields(resource);
        if !known.contains(&key) {
            let known: Vec<String> = known.iter().map(|field| format!("\"{field}\"")).collect();
            return Err(ApiError::bad_request(format!(
                "\"{key}\" is not a known field selector: only {}",
                known.join(", ")
            )));
        }
        let values = vec![value.to_owned()];
        requirements.push(if negated {
            Requirement::NotIn(key.to_owned(), values)
        } else {
            Requirement::In(key.to_owned(), values)
        });
    }
    Ok(requirements)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(selector: &str, labels: Value, expected: bool) {
        let selector = Selector {
            labels: parse_labels(selector).unwrap(),
            fields: Vec::new(),
        };
        assert_eq!(
            selector.matches(&json!({"metadata": {"labels": labels}})),
            expected
        );
    }

    #[test]
    fn the_forms_of_a_label_selector_mean_what_they_mean_in_kubernetes() {
        check("", json!({}), true);
        check("a=b", json!({"a": "b"}), true);
        check("a==b,c", json!({"a": "b"}), false);
        check("a in (x, y),c notin (z)", json!({"a": "y"}), true);
        check("a in (x,y)", json!({}), false);
        check("!a", json!({"a": ""}), false);
        check("a!=b", json!({}), true);
        check(
            "example.com/part=one",
            json!({"example.com/part": "one"}),
            true,
        );
    }

    #[test]
    fn what_cannot_be_parsed_is_refused() {
        for bad in ["===", "a=b=c d", "a in (x", "a b (c)", "a$=1"] {
            assert!(parse_labels(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_workload_selector_may_be_structured_or_a_plain_map() {
        let pod = json!({"metadata": {"labels": {"deploymentConfig": "backend-redis", "t": "x"}}});
        let plain = json!({"deploymentConfig": "backend-redis"});
        assert!(Selector::of_workload(&plain).matches(&pod));
        let structured = json!({
            "matchLabels": {"deploymentConfig": "backend-redis"},
            "matchExpressions": [{"key": "t", "operator": "NotIn", "values": ["x"]}],
        });
        assert!(!Selector::of_workload(&structured).matches(&pod));
    }
}
