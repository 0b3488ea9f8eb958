//! The policy of a site: read, validated, asked.
//!
//! Deny by default; `forbid` wins; an evaluation error is a denial. A policy that is not valid
//! against the schema never gets to decide.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use cedar_policy::{
    Authorizer, Decision as Answer, Entities, PolicyId, PolicySet, Schema, ValidationMode,
    Validator,
};

use crate::cedar;
use crate::permit::{Decision, Denied};
use crate::problem::{PolicyErrors, Problem, Source};
use crate::question::{Question, questions};
use crate::request::{AnyRequest, Scope};
use crate::subject::{capability, subject};

/// The schema that every policy file is validated against, in Cedar's schema language.
pub const SCHEMA: &str = include_str!("schema.cedarschema");

/// The policies that hold at every site, in Cedar.
pub const BASE: &str = include_str!("base.cedar");

/// What the ids of [`BASE`] begin with, and no id of a site may.
const BASE_PREFIX: &str = "host:";

/// The one rule of [`BASE`] that decides on `put-back`.
const PUT_BACK: &str = "host:put-back";

static VALIDATOR: LazyLock<Validator> = LazyLock::new(|| {
    let (schema, _warnings) =
        Schema::from_cedarschema_str(SCHEMA).expect("the shipped schema is valid, a test says so");
    Validator::new(schema)
});

/// The schema, parsed once.
pub(crate) fn schema() -> &'static Schema {
    VALIDATOR.schema()
}

/// Bytes of stack for one decision. Cedar wants 100 KiB left at its deepest; an unoptimized build of
/// its evaluator needs most of a MiB for the deepest expression that the parser lets through.
const DECISION_STACK: usize = 4 * 1024 * 1024;

/// The policy of a site, validated against the schema of this crate.
#[derive(Debug)]
pub struct Policy {
    /// The base and all files of the site.
    all: PolicySet,
    /// What decides on `put-back`.
    put_back: PolicySet,
    /// The rules of the site's files, by id.
    rules: BTreeMap<String, Rule>,
    /// What the validator only warned of.
    warnings: Vec<Warning>,
}

/// Where a rule of a site stands.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) file: String,
    pub(crate) line: usize,
}

/// What the validator says of a valid rule.
#[derive(Debug, Clone)]
pub(crate) struct Warning {
    pub(crate) rule: String,
    pub(crate) never_matches: bool,
    pub(crate) message: String,
}

impl Policy {
    /// Reads the policy files of a site, each given as its name and its text, and validates them
    /// strictly against the schema. Without any file only [`BASE`] holds: modules may do nothing.
    ///
    /// # Errors
    /// [`PolicyErrors`] with every problem of every file: a text that is no Cedar, a rule that the
    /// schema refuses, a template, an id that is used twice, is empty or begins with `host:`.
    pub fn parse(files: &[(String, String)]) -> Result<Self, PolicyErrors> {
        let mut reader = Reader::default();
        reader.read("the base policy", BASE, Origin::Host);
        for (name, text) in files {
            reader.read(name, text, Origin::Site);
        }
        reader.finish()
    }

    /// Asks every question about `request`, on a stack of its own: the caller may stand on the small
    /// stack of a guest's fiber, where Cedar would see its recursion limit and deny.
    pub(crate) fn decide(
        &self,
        scope: &Scope,
        request: AnyRequest<'_>,
    ) -> Result<Decision, Denied> {
        stacker::grow(DECISION_STACK, || self.decide_here(scope, request))
    }

    fn decide_here(&self, scope: &Scope, request: AnyRequest<'_>) -> Result<Decision, Denied> {
        let questions = questions(scope, request).map_err(|unaskable| Denied {
            capability: capability(request).to_owned(),
            subject: subject(request),
            rule: unaskable.to_string(),
        })?;
        let mut rules = BTreeSet::new();
        for question in questions {
            let capability = question.capability;
            let subject = question.subject.clone();
            let matched = self.ask(question).map_err(|rule| Denied {
                capability: capability.to_owned(),
                subject,
                rule,
            })?;
            rules.extend(matched);
        }
        Ok(Decision {
            rules: rules.into_iter().collect(),
        })
    }

    /// The rules that allow it, or what stands against it.
    fn ask(&self, question: Question) -> Result<Vec<String>, String> {
        let policies = match question.capability {
            "put-back" => &self.put_back,
            _ => &self.all,
        };
        let unaskable =
            |error: &dyn std::error::Error| format!("it cannot be put to the policy: {error}");
        let request = cedar_policy::Request::new(
            question.principal,
            cedar::action(question.capability),
            question.resource,
            question.context,
            Some(schema()),
        )
        .map_err(|error| unaskable(&error))?;
        let entities = Entities::from_entities(question.entities, Some(schema()))
            .map_err(|error| unaskable(&error))?;
        let response = Authorizer::new().is_authorized(&request, policies, &entities);
        let diagnostics = response.diagnostics();
        let mut reasons: Vec<String> = diagnostics.reason().map(name_of).collect();
        reasons.sort();
        let mut errors: Vec<String> = diagnostics
            .errors()
            .map(|error| format!("rule {error}"))
            .collect();
        errors.sort();
        match response.decision() {
            Answer::Deny if !reasons.is_empty() => {
                Err(format!("rule `{}` forbids it", reasons.join("`, `")))
            }
            // Cedar skips a rule that errs, so an erring `forbid` would not forbid.
            Answer::Deny | Answer::Allow if !errors.is_empty() => Err(errors.join("; ")),
            Answer::Deny => Err("no rule permits it".to_owned()),
            Answer::Allow => Ok(reasons),
        }
    }

    /// The rules of the site's files, sorted by id, with where they stand.
    pub(crate) fn rules(&self) -> impl Iterator<Item = (&cedar_policy::Policy, &Rule)> {
        self.rules.iter().filter_map(|(id, rule)| {
            let policy = self.all.policy(&PolicyId::new(id))?;
            Some((policy, rule))
        })
    }

    /// Where the rule with this id stands; `None` for a rule of the base policy.
    pub(crate) fn rule(&self, id: &str) -> Option<&Rule> {
        self.rules.get(id)
    }

    pub(crate) fn warnings(&self) -> &[Warning] {
        &self.warnings
    }
}

/// Whose file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Host,
    Site,
}

/// Files on their way to a policy.
#[derive(Default)]
struct Reader {
    policies: BTreeMap<String, cedar_policy::Policy>,
    rules: BTreeMap<String, Rule>,
    warnings: Vec<Warning>,
    problems: Vec<Problem>,
}

impl Reader {
    fn read(&mut self, name: &str, text: &str, origin: Origin) {
        let source = Source { name, text };
        let parsed = match text.parse::<PolicySet>() {
            Ok(parsed) => parsed,
            Err(errors) => {
                let problems = errors.iter().map(|error| source.diagnosed(error));
                self.problems.extend(problems);
                return;
            }
        };
        if let Some(template) = parsed.templates().next() {
            let at = text.find(&template.to_cedar());
            self.problems.push(Problem {
                help: Some("write the rule out for each module or resource".to_owned()),
                ..source.problem_at(at, "templates are not supported".to_owned())
            });
            return;
        }
        let named = self.name_all(&source, &parsed, origin);
        let set = set_of(named.iter().map(|(policy, _)| policy.clone()));
        self.validate(&source, &set);
        for (policy, line) in named {
            let id = name_of(policy.id());
            if origin == Origin::Site {
                let file = name.to_owned();
                self.rules.insert(id.clone(), Rule { file, line });
            }
            self.policies.insert(id, policy);
        }
    }

    /// The policies of a file under the ids that people know, in the order of the file, each with
    /// its line.
    fn name_all(
        &mut self,
        source: &Source<'_>,
        parsed: &PolicySet,
        origin: Origin,
    ) -> Vec<(cedar_policy::Policy, usize)> {
        let mut named: Vec<(cedar_policy::Policy, usize)> = Vec::new();
        let mut from = 0;
        // Cedar itself numbers the policies of a text from `policy0`.
        let numbered = (0..).map_while(|at| parsed.policy(&PolicyId::new(format!("policy{at}"))));
        for (at, policy) in (1_usize..).zip(numbered) {
            let offset = policy.to_cedar().and_then(|text| {
                let rest = source.text.get(from..)?;
                Some((from + rest.find(&text)?, text.len()))
            });
            if let Some((start, length)) = offset {
                from = start + length;
            }
            let start = offset.map(|(start, _)| start);
            let id = policy
                .annotation("id")
                .map_or_else(|| format!("{}:{at}", source.name), ToOwned::to_owned);
            let wrong = if id.trim().is_empty() {
                Some("the `@id` of a rule is empty".to_owned())
            } else if origin == Origin::Site && id.starts_with(BASE_PREFIX) {
                Some(format!(
                    "`@id(\"{id}\")`: ids that begin with `{BASE_PREFIX}` belong to the base policy"
                ))
            } else if let Some(other) = self.rules.get(&id) {
                Some(format!(
                    "the id `{id}` is used already in {}:{}",
                    other.file, other.line
                ))
            } else if named.iter().any(|(known, _)| name_of(known.id()) == id) {
                Some(format!("the id `{id}` is used twice in this file"))
            } else {
                None
            };
            if let Some(message) = wrong {
                self.problems.push(Problem {
                    help: Some("give the rule an `@id` of its own".to_owned()),
                    ..source.problem_at(start, message)
                });
                continue;
            }
            let line = start.map_or(1, |start| source.position(start).0);
            named.push((policy.new_id(PolicyId::new(id)), line));
        }
        named
    }

    fn validate(&mut self, source: &Source<'_>, set: &PolicySet) {
        let result = VALIDATOR.validate(set, ValidationMode::Strict);
        let problems = result
            .validation_errors()
            .map(|error| source.diagnosed(error));
        self.problems.extend(problems);
        for warning in result.validation_warnings() {
            self.warnings.push(Warning {
                rule: name_of(warning.policy_id()),
                never_matches: matches!(
                    warning,
                    cedar_policy::ValidationWarning::ImpossiblePolicy(_)
                        | cedar_policy::ValidationWarning::InvalidActionApplication(_)
                ),
                message: warning.to_string(),
            });
        }
    }

    fn finish(mut self) -> Result<Policy, PolicyErrors> {
        // Cedar's validator goes through the rules in no order.
        self.warnings
            .sort_by(|one, other| (&one.rule, &one.message).cmp(&(&other.rule, &other.message)));
        if self.problems.is_empty() {
            let put_back = self.policies.get(PUT_BACK).cloned();
            return Ok(Policy {
                put_back: set_of(put_back),
                all: set_of(self.policies.into_values()),
                rules: self.rules,
                warnings: self.warnings,
            });
        }
        self.problems.sort_by(|one, other| {
            (&one.file, one.line, one.column).cmp(&(&other.file, other.line, other.column))
        });
        Err(PolicyErrors {
            problems: self.problems,
        })
    }
}

/// The id as it was given; Cedar's own `Display` escapes it.
fn name_of(id: &PolicyId) -> String {
    let id: &str = id.as_ref();
    id.to_owned()
}

/// A set of policies whose ids all differ.
fn set_of(policies: impl IntoIterator<Item = cedar_policy::Policy>) -> PolicySet {
    PolicySet::from_policies(policies).expect("an id that is used twice is a problem, said before")
}
