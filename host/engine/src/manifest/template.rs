//! Texts with typed holes: one word of a command line, a script, a path.
//!
//! Must never let a hole become more than a part of one word, or the beginning of an option.

use std::collections::BTreeMap;
use std::fmt;

use cofferdam_policy::name::ParameterName;

/// A text with holes, such as `--user={user}`.
///
/// `{{` and `}}` stand for the braces themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

/// One part of a [`Template`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Text as it stands.
    Literal(String),
    /// A hole, by its name.
    Hole(ParameterName),
}

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A brace without its partner.
    #[error("`{0}` has a brace without its partner (write `{{{{` for a literal one)")]
    Brace(String),
    /// The name between braces is none.
    #[error("`{{{0}}}` names no hole: use 1 to 63 lower-case letters, digits and inner `-`")]
    Name(String),
    /// Characters that no argument can carry.
    #[error("a control character other than newline and tab is not allowed")]
    Control,
}

impl Template {
    /// Parses a text with holes.
    ///
    /// # Errors
    /// [`TemplateError`] for lone braces, names that are none and control characters.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if text
            .chars()
            .any(|c| c.is_control() && !matches!(c, '\n' | '\t'))
        {
            return Err(TemplateError::Control);
        }
        let lone = || TemplateError::Brace(text.chars().take(80).collect());
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text.chars().peekable();
        while let Some(c) = rest.next() {
            match c {
                '{' | '}' if rest.peek() == Some(&c) => {
                    rest.next();
                    literal.push(c);
                }
                '{' => {
                    let mut name = String::new();
                    loop {
                        match rest.next() {
                            Some('}') => break,
                            Some('{') | None => return Err(lone()),
                            Some(c) => name.push(c),
                        }
                    }
                    let name = ParameterName::parse(&name)
                        .map_err(|_| TemplateError::Name(name.chars().take(80).collect()))?;
                    if !literal.is_empty() {
                        parts.push(Part::Literal(std::mem::take(&mut literal)));
                    }
                    parts.push(Part::Hole(name));
                }
                '}' => return Err(lone()),
                c => literal.push(c),
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(Self { parts })
    }

    /// The parts in order.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The names of the holes in order, with repetitions.
    pub fn holes(&self) -> impl Iterator<Item = &ParameterName> {
        self.parts.iter().filter_map(|part| match part {
            Part::Hole(name) => Some(name),
            Part::Literal(_) => None,
        })
    }

    /// The text where there is no hole.
    pub fn literal(&self) -> Option<String> {
        self.parts
            .iter()
            .map(|part| match part {
                Part::Literal(text) => Some(text.as_str()),
                Part::Hole(_) => None,
            })
            .collect()
    }

    /// As in the manifest, holes in braces.
    pub fn text(&self) -> String {
        self.to_string()
    }

    /// The hole, where there is nothing else.
    pub(crate) fn sole_hole(&self) -> Option<&ParameterName> {
        match self.parts.as_slice() {
            [Part::Hole(name)] => Some(name),
            _ => None,
        }
    }

    /// Whether the first thing in it is a hole.
    pub(crate) fn begins_with_hole(&self) -> bool {
        matches!(self.parts.first(), Some(Part::Hole(_)))
    }

    /// Whether a hole follows nothing but dashes: then it would choose an option.
    pub(crate) fn lets_a_hole_name_an_option(&self) -> bool {
        match self.parts.as_slice() {
            [Part::Literal(text), Part::Hole(_), ..] => text.bytes().all(|b| b == b'-'),
            _ => false,
        }
    }

    /// Fills the holes; `Err` holds the name of a hole that has no value.
    pub(crate) fn fill<V: fmt::Display>(
        &self,
        values: &BTreeMap<ParameterName, V>,
    ) -> Result<String, ParameterName> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Hole(name) => {
                    let value = values.get(name).ok_or_else(|| name.clone())?;
                    text.push_str(&value.to_string());
                }
            }
        }
        Ok(text)
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.parts {
            match part {
                Part::Literal(text) => {
                    f.write_str(&text.replace('{', "{{").replace('}', "}}"))?;
                }
                Part::Hole(name) => write!(f, "{{{name}}}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_reads_back_as_it_was_written() {
        for text in [
            "",
            "plain",
            "--user={user}",
            "{a}{b-c}",
            "{{literal}}",
            "a}}b{x}",
        ] {
            assert_eq!(Template::parse(text).expect(text).text(), text);
        }
    }

    #[test]
    fn a_lone_brace_is_refused() {
        for text in [
            "{",
            "}",
            "{a",
            "a}b",
            "{a{b}}",
            "{}",
            "{A}",
            "{a b}",
            "\u{1b}[2J",
        ] {
            assert!(Template::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_hole_after_nothing_but_dashes_names_an_option() {
        for (text, expected) in [
            ("-{x}", true),
            ("--{x}=1", true),
            ("-h{x}", false),
            ("{x}", false),
            ("--a={x}", false),
        ] {
            let template = Template::parse(text).expect(text);
            assert_eq!(template.lets_a_hole_name_an_option(), expected, "{text}");
        }
    }
}
