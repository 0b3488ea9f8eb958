//! Parameters of type `words`: words of a command line that are there or not.
//!
//! Must never let a site write a word of its own: it chooses among those of the manifest.

use std::collections::BTreeMap;

use cofferdam_policy::name::ParameterName;

use super::super::{ManifestError, Parameter, ParameterType, Template};
use super::{Table, at, bounded, plain_words};
use crate::limits;

pub(super) fn read(
    place: &str,
    raw: Option<&Table<Vec<String>>>,
) -> Result<BTreeMap<String, Vec<Template>>, ManifestError> {
    let key = format!("{place}.words");
    let raw = raw.ok_or_else(|| at(&key, "is missing: it names what the site may choose"))?;
    let names: Vec<String> = raw.keys().cloned().collect();
    plain_words(&key, &names)?;
    let mut choices = BTreeMap::new();
    for (name, words) in raw {
        let key = format!("{key}.{name}");
        bounded(&key, words.len(), limits::WORDS)?;
        let words = words.iter().map(|text| word(&key, text));
        choices.insert(name.clone(), words.collect::<Result<_, _>>()?);
    }
    Ok(choices)
}

fn word(key: &str, text: &str) -> Result<Template, ManifestError> {
    let word = Template::parse(text).map_err(|error| at(key, error.to_string()))?;
    if word.lets_a_hole_name_an_option() {
        return Err(at(
            key,
            format!("`{word}`: a hole after nothing but dashes would name an option"),
        ));
    }
    Ok(word)
}

/// The holes of such words are filled from parameters that have one value each.
pub(super) fn check(parameters: &BTreeMap<ParameterName, Parameter>) -> Result<(), ManifestError> {
    for (name, parameter) in parameters {
        let ParameterType::Words(choices) = &parameter.kind else {
            continue;
        };
        for hole in choices.values().flatten().flat_map(Template::holes) {
            match parameters.get(hole).map(|parameter| &parameter.kind) {
                None => {
                    return Err(at(
                        &format!("parameters.{name}.words"),
                        format!("`{{{hole}}}` is no parameter"),
                    ));
                }
                Some(ParameterType::ObjectNames | ParameterType::Words(_)) => {
                    return Err(at(
                        &format!("parameters.{name}.words"),
                        format!("`{{{hole}}}` is a list: a hole takes one value"),
                    ));
                }
                Some(_) => {}
            }
        }
    }
    Ok(())
}
