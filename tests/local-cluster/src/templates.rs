//! `processedtemplates` of OpenShift: parameters are put into the objects of a template. Nothing
//! is stored, and a parameter that is required and missing is refused.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::document::{self, set};
use crate::resources::Resource;
use crate::status::{ApiError, ApiResult};

/// Processes a template: the answer has values for all parameters and the finished objects.
pub(crate) fn process(resource: &Resource, mut template: Value) -> ApiResult<Value> {
    let mut values = BTreeMap::new();
    let mut parameters = document::items(&template, "/parameters").to_vec();
    for (position, parameter) in parameters.iter_mut().enumerate() {
        let name = document::text(parameter, "/name").to_owned();
        let mut value = document::text(parameter, "/value").to_owned();
        if value.is_empty() && document::text(parameter, "/generate") == "expression" {
            value = generate(document::text(parameter, "/from"));
            set(parameter, "/value", json!(value));
        }
        if value.is_empty() && document::flag(parameter, "/required") {
            let field = format!("template.parameters[{position}]");
            let message = format!(
                "Required value: {field}: parameter {name} is required and must be specified"
            );
            let template_name = document::name(&template);
            return Err(ApiError::invalid(
                resource,
                template_name,
                &field,
                "FieldValueRequired",
                &message,
            ));
        }
        values.insert(name, value);
    }
    let labels = template.get("labels").cloned().unwrap_or_default();
    let mut objects = document::items(&template, "/objects").to_vec();
    for object in &mut objects {
        substitute(object, &values);
        document::remove(object, "/metadata/namespace");
        for (key, value) in document::entries(&labels, "") {
            let pointer = format!("/metadata/labels/{}", document::segment(key));
            document::set_default(object, &pointer, value.clone());
        }
    }
    set(&mut template, "/parameters", json!(parameters));
    set(&mut template, "/objects", json!(objects));
    Ok(template)
}

/// Puts values for `${NAME}` into texts, and for a text that is `${{NAME}}` as a whole, JSON.
fn substitute(value: &mut Value, values: &BTreeMap<String, String>) {
    match value {
        Value::String(text) => {
            for (name, replacement) in values {
                *text = text.replace(&format!("${{{name}}}"), replacement);
            }
            let raw = text
                .strip_prefix("${{")
                .and_then(|rest| rest.strip_suffix("}}"));
            if let Some(replacement) = raw.and_then(|name| values.get(name)) {
                *value = serde_json::from_str(replacement)
                    .unwrap_or_else(|_| Value::String(replacement.clone()));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| substitute(item, values)),
        Value::Object(map) => map.values_mut().for_each(|item| substitute(item, values)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A random text for an expression such as `[a-z0-9]{8}`.
fn generate(expression: &str) -> String {
    let mut text = String::new();
    let mut rest = expression;
    while let Some((plain, class)) = rest.split_once('[') {
        text.push_str(plain);
        let Some((class, after)) = class.split_once(']') else {
            break;
        };
        let (count, after) = match after
            .strip_prefix('{')
            .and_then(|after| after.split_once('}'))
        {
            Some((count, after)) => (count.parse().unwrap_or(1), after),
            None => (1, after),
        };
        let letters = letters_of(class);
        text.extend((0..count).filter_map(|_: usize| fastrand::choice(letters.iter())));
        rest = after;
    }
    text + rest
}

fn letters_of(class: &str) -> Vec<char> {
    let class = class
        .replace("\\w", "a-zA-Z0-9_")
        .replace("\\d", "0-9")
        .replace("\\a", "a-zA-Z")
        .replace("\\A", "!-/");
    let letters: Vec<char> = class.chars().collect();
    let mut all = Vec::new();
    let mut rest = letters.as_slice();
    loop {
        match rest {
            [from, '-', to, after @ ..] => {
                all.extend(*from..=*to);
                rest = after;
            }
            [letter, after @ ..] => {
                all.push(*letter);
                rest = after;
            }
            [] => return all,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_fill_texts_and_whole_values() {
        let mut object = json!({"a": "x-${NAME}-y", "b": "${{COUNT}}", "c": ["${NAME}"]});
        let values = BTreeMap::from([("NAME".into(), "n".into()), ("COUNT".into(), "3".into())]);
        substitute(&mut object, &values);
        assert_eq!(object, json!({"a": "x-n-y", "b": 3, "c": ["n"]}));
    }

    #[test]
    fn an_expression_makes_letters_of_its_class() {
        let text = generate("u-[a-c0-1]{40}");
        assert_eq!(text.len(), 42);
        assert!(text.starts_with("u-"));
        assert!(
            text.chars().skip(2).all(|letter| "abc01".contains(letter)),
            "{text}"
        );
    }
}
