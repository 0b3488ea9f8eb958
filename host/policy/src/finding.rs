//! What a policy allows that people should look at twice, as data.
//!
//! Findings never change a decision. They look at the heads of rules and at a few plain conditions;
//! they prove nothing: a rule without a finding may still allow too much.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{
    ActionConstraint, Effect, Entities, EntityUid, PrincipalConstraint, ResourceConstraint,
};
use serde::Serialize;
use serde_json::Value as Json;

use crate::cedar;
use crate::grant::{Grant, OwnedRequest};
use crate::permit::Denied;
use crate::policy::{Policy, schema};
use crate::request::{FileOperation, Principal, Stdin};
use crate::subject::subject;

/// One thing to look at twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The id of the rule.
    pub rule: String,
    /// Its file; `None` for a rule of the base policy.
    pub file: Option<String>,
    /// The line in it, from 1.
    pub line: Option<usize>,
    /// What kind of thing it is.
    pub concern: Concern,
    /// What to know about it, in one sentence.
    pub message: String,
}

/// Kinds of findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Concern {
    /// No request can ever match the rule.
    NeverMatches,
    /// The validator warns of characters that look like others or turn the text around.
    Confusing,
    /// The rule is about `put-back`, which the base policy alone decides.
    NoEffect,
    /// A `permit` that names no module.
    AnyPrincipal,
    /// A `permit` that names no resource.
    AnyResource,
    /// A command may be fed with whatever the module writes: text fed to a shell or a database
    /// client is a program.
    FreeInput,
    /// A module may write a file and run a command: together that may be running anything.
    WritesAndRuns,
}

/// What a policy says to the wishes of an application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// How many of the grants it allows.
    pub allowed: usize,
    /// What it denies, in the order of the grants.
    pub denied: Vec<Denied>,
    /// What to look at twice in what it allows.
    pub findings: Vec<Finding>,
}

/// The actions that put bytes into a file of a pod.
const WRITES: [&str; 3] = ["write-file", "rename-file", "load-tree"];

impl Policy {
    /// What to look at twice in the files of the site, sorted by file and line.
    pub fn findings(&self) -> Vec<Finding> {
        let actions = schema()
            .action_entities()
            .expect("the actions of the shipped schema have no cycle, a test says so");
        let mut findings: Vec<Finding> = Vec::new();
        for warning in self.warnings() {
            let concern = match warning.never_matches {
                true => Concern::NeverMatches,
                false => Concern::Confusing,
            };
            let finding = self.finding(&warning.rule, concern, warning.message.clone());
            // A rule that never matches may be so for two reasons; one is enough.
            let said = |known: &Finding| known.rule == finding.rule && known.concern == concern;
            if concern != Concern::NeverMatches || !findings.iter().any(said) {
                findings.push(finding);
            }
        }
        let mut reach = BTreeMap::new();
        for (policy, _) in self.rules() {
            let id: &str = policy.id().as_ref();
            if names_put_back(&policy.action_constraint()) {
                findings.push(self.finding(
                    id,
                    Concern::NoEffect,
                    "`put-back` is decided by the base policy alone: this rule neither allows nor \
                     forbids it"
                        .to_owned(),
                ));
            }
            if policy.effect() == Effect::Permit {
                findings.extend(self.head_findings(policy));
                let covers = |capability: &str| covers(&actions, policy, capability);
                if covers("run-command") {
                    findings.extend(self.input_finding(policy));
                }
                let reach: &mut Reach = reach.entry(principal_name(policy)).or_default();
                if covers("run-command") {
                    reach.runs.insert(id.to_owned());
                }
                if WRITES.iter().any(|capability| covers(capability)) {
                    reach.writes.insert(id.to_owned());
                }
            }
        }
        findings.extend(self.reach_findings(&reach));
        findings.sort_by(|one, other| {
            let place = |finding: &Finding| (finding.file.clone(), finding.line, finding.concern);
            place(one).cmp(&place(other))
        });
        findings
    }

    /// Asks for every grant, open holes filled with a sample, and says what is denied and what to
    /// look at twice in what is allowed. [`findings`](Self::findings) looks at the rules themselves.
    pub fn inspect(&self, grants: &[Grant]) -> Inspection {
        let mut inspection = Inspection {
            allowed: 0,
            denied: Vec::new(),
            findings: Vec::new(),
        };
        let mut places: BTreeMap<String, Reach> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for grant in grants {
            let sample = grant.sample();
            let decision = match self.decide(&grant.scope, sample.any()) {
                Ok(decision) => decision,
                Err(denied) => {
                    inspection.denied.push(denied);
                    continue;
                }
            };
            inspection.allowed += 1;
            let what = subject(sample.any());
            let rule = decision.rules.first().cloned().unwrap_or_default();
            match &sample {
                OwnedRequest::RunCommand(asked) => {
                    let place = format!("{}|{}", who(grant), crate::subject::place(&asked.target));
                    let reach = places.entry(place).or_default();
                    reach.runs.insert(what.clone());
                    reach.rule.get_or_insert(rule.clone());
                    if asked.stdin == Stdin::Free && seen.insert((rule.clone(), what.clone())) {
                        let message = format!(
                            "{what} may be fed with whatever module `{}` writes",
                            who(grant)
                        );
                        let finding = self.finding(&rule, Concern::FreeInput, message);
                        inspection.findings.push(finding);
                    }
                }
                OwnedRequest::AccessFile(asked) => match asked.operation {
                    FileOperation::Write
                    | FileOperation::Rename { .. }
                    | FileOperation::LoadTree => {
                        let place =
                            format!("{}|{}", who(grant), crate::subject::place(&asked.target));
                        places.entry(place).or_default().writes.insert(what);
                    }
                    FileOperation::Stat
                    | FileOperation::Read
                    | FileOperation::Remove
                    | FileOperation::SaveTree => {}
                },
                OwnedRequest::ResolveTarget(_)
                | OwnedRequest::AccessObject(_)
                | OwnedRequest::ProcessTemplate(_)
                | OwnedRequest::Roll(_)
                | OwnedRequest::TakeLease(_)
                | OwnedRequest::PutBack(_)
                | OwnedRequest::UseArtifact(_) => {}
            }
        }
        for (place, reach) in places {
            let (module, _) = place.split_once('|').unwrap_or((&place, ""));
            if let (Some(write), Some(run), Some(rule)) =
                (reach.writes.first(), reach.runs.first(), &reach.rule)
            {
                let message = format!(
                    "module `{module}` may write {write} and run {run}: together that may be \
                     running anything there"
                );
                let finding = self.finding(rule, Concern::WritesAndRuns, message);
                inspection.findings.push(finding);
            }
        }
        inspection
    }

    fn finding(&self, rule: &str, concern: Concern, message: String) -> Finding {
        let known = self.rule(rule);
        Finding {
            rule: rule.to_owned(),
            file: known.map(|known| known.file.clone()),
            line: known.map(|known| known.line),
            concern,
            message,
        }
    }

    fn head_findings(&self, policy: &cedar_policy::Policy) -> Vec<Finding> {
        let id: &str = policy.id().as_ref();
        let mut findings = Vec::new();
        let any_principal = match policy.principal_constraint() {
            PrincipalConstraint::Any => true,
            PrincipalConstraint::Is(kind) => kind.to_string() == "Module",
            PrincipalConstraint::In(_)
            | PrincipalConstraint::Eq(_)
            | PrincipalConstraint::IsIn(..) => false,
        };
        if any_principal {
            findings.push(self.finding(
                id,
                Concern::AnyPrincipal,
                "the head of this `permit` names no module, so any module may match".to_owned(),
            ));
        }
        let any_resource = match policy.resource_constraint() {
            ResourceConstraint::Any | ResourceConstraint::Is(_) => true,
            ResourceConstraint::In(_)
            | ResourceConstraint::Eq(_)
            | ResourceConstraint::IsIn(..) => false,
        };
        if any_resource {
            findings.push(
                self.finding(
                    id,
                    Concern::AnyResource,
                    "the head of this `permit` names no resource, so any application may match"
                        .to_owned(),
                ),
            );
        }
        findings
    }

    fn input_finding(&self, policy: &cedar_policy::Policy) -> Option<Finding> {
        let json = policy.to_json().ok()?;
        let conditions = json.get("conditions")?.as_array()?;
        let message = if conditions.iter().any(wants_free_input) {
            "this `permit` lets a command be fed with whatever the module writes"
        } else if conditions.iter().any(mentions_stdin) {
            return None;
        } else {
            "this `permit` does not say what commands may be fed with: add a condition on \
             `context.stdin`"
        };
        let id: &str = policy.id().as_ref();
        Some(self.finding(id, Concern::FreeInput, message.to_owned()))
    }

    fn reach_findings(&self, reach: &BTreeMap<Option<String>, Reach>) -> Vec<Finding> {
        let anyone = reach.get(&None).cloned().unwrap_or_default();
        let mut findings = Vec::new();
        for (principal, own) in reach {
            let writes: BTreeSet<&String> = own.writes.union(&anyone.writes).collect();
            let runs: BTreeSet<&String> = own.runs.union(&anyone.runs).collect();
            if let (Some(write), Some(run)) = (writes.first(), runs.first()) {
                let who = match principal {
                    Some(principal) => format!("`{principal}`"),
                    None => "any module".to_owned(),
                };
                let message = format!(
                    "{who} may write a file (rule `{write}`) and run a command (rule `{run}`): \
                     together that may be running anything"
                );
                findings.push(self.finding(run, Concern::WritesAndRuns, message));
            }
        }
        findings
    }
}

/// What one principal may do.
#[derive(Debug, Clone, Default)]
struct Reach {
    writes: BTreeSet<String>,
    runs: BTreeSet<String>,
    rule: Option<String>,
}

fn who(grant: &Grant) -> String {
    match &grant.scope.principal {
        Principal::Host => "the host".to_owned(),
        Principal::Module(module) => module.name.to_string(),
    }
}

/// The one principal of a rule, where its head names one.
fn principal_name(policy: &cedar_policy::Policy) -> Option<String> {
    match policy.principal_constraint() {
        PrincipalConstraint::Eq(uid)
        | PrincipalConstraint::In(uid)
        | PrincipalConstraint::IsIn(_, uid) => Some(uid.to_string()),
        PrincipalConstraint::Any | PrincipalConstraint::Is(_) => None,
    }
}

fn named_actions(constraint: &ActionConstraint) -> Option<Vec<EntityUid>> {
    match constraint {
        ActionConstraint::Any => None,
        ActionConstraint::Eq(uid) => Some(vec![uid.clone()]),
        ActionConstraint::In(uids) => Some(uids.clone()),
    }
}

fn names_put_back(constraint: &ActionConstraint) -> bool {
    let put_back = cedar::action("put-back");
    named_actions(constraint).is_some_and(|named| named.contains(&put_back))
}

fn covers(actions: &Entities, policy: &cedar_policy::Policy, capability: &str) -> bool {
    let capability = cedar::action(capability);
    match named_actions(&policy.action_constraint()) {
        None => true,
        Some(named) => named
            .iter()
            .any(|named| *named == capability || actions.is_ancestor_of(named, &capability)),
    }
}

/// `context.stdin` in Cedar's JSON form.
fn is_stdin(json: &Json) -> bool {
    json.pointer("/./attr").and_then(Json::as_str) == Some("stdin")
        && json.pointer("/./left/Var").and_then(Json::as_str) == Some("context")
}

fn any(json: &Json, test: &dyn Fn(&Json) -> bool) -> bool {
    let below = match json {
        Json::Array(items) => items.iter().any(|item| any(item, test)),
        Json::Object(fields) => fields.values().any(|item| any(item, test)),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => false,
    };
    below || test(json)
}

fn mentions_stdin(condition: &Json) -> bool {
    any(condition, &is_stdin)
}

/// A `when` with `context.stdin == "free"`, or with a set that holds `free`.
fn wants_free_input(condition: &Json) -> bool {
    let is_free = |json: &Json| json.get("Value").and_then(Json::as_str) == Some("free");
    let compares = |json: &Json| {
        let sides = json.get("==").or_else(|| json.get("contains"));
        let side = |name: &str| sides.and_then(|sides| sides.get(name));
        match (side("left"), side("right")) {
            (Some(left), Some(right)) => {
                (is_stdin(left) && any(right, &is_free)) || (is_stdin(right) && any(left, &is_free))
            }
            _ => false,
        }
    };
    condition.get("kind").and_then(Json::as_str) == Some("when") && any(condition, &compares)
}
