//! Writes the smallest policy for what modules declare: one file for people to read, cut down and
//! commit.
//!
//! Must never write a rule that allows more than its grants: what is not pinned here is said in a
//! comment of the rule.

mod command;
mod wish;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use cedar_policy::EntityUid;

use crate::cedar;
use crate::grant::Grant;
use crate::quote::{set, string};

/// How exactly a policy names a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pin {
    /// Any version of it. Whatever an upgrade changes in a command line is still denied.
    Name,
    /// This version, by the number in its manifest.
    Version,
    /// This version and this file, by its digest.
    Digest,
}

/// Writes one Cedar file that allows exactly `grants`, in their order: a rule for each thing, the
/// literal command line of each command as a comment, and `pin` as the module's identity.
///
/// Grants that differ only in the run kind, or only in a plain action such as `read-file` and
/// `stat-file`, become one rule. The ids are unique within the file. Wishes for `put-back` are left
/// out: the base policy alone decides on it.
pub fn smallest_policy(grants: &[Grant], pin: Pin) -> String {
    let mut rules: Vec<Rule> = Vec::new();
    for grant in grants {
        for rule in wish::rules(grant, pin) {
            merge(&mut rules, rule);
        }
    }
    merge_actions(&mut rules);
    write_file(&rules)
}

/// One `permit` while it comes together.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    /// What it stands under.
    heading: String,
    /// The id, but for a number where the same thing has several rules.
    id: String,
    comments: Vec<String>,
    principal: EntityUid,
    actions: Vec<&'static str>,
    resource: Resource,
    runs: BTreeSet<&'static str>,
    conditions: Vec<String>,
    /// Whether other actions may join the rule: their contexts hold nothing of their own.
    plain: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Resource {
    Exactly(EntityUid),
    Inside(EntityUid),
}

fn merge(rules: &mut Vec<Rule>, rule: Rule) {
    let same = |known: &&mut Rule| {
        **known
            == Rule {
                runs: known.runs.clone(),
                ..rule.clone()
            }
    };
    match rules.iter_mut().find(same) {
        Some(known) => known.runs.extend(rule.runs),
        None => rules.push(rule),
    }
}

fn merge_actions(rules: &mut Vec<Rule>) {
    let mut merged: Vec<Rule> = Vec::with_capacity(rules.len());
    for rule in rules.drain(..) {
        let same = |known: &&mut Rule| {
            known.plain
                && **known
                    == Rule {
                        actions: known.actions.clone(),
                        ..rule.clone()
                    }
        };
        match merged.iter_mut().find(same) {
            Some(known) => known.actions.extend(rule.actions),
            None => merged.push(rule),
        }
    }
    *rules = merged;
}

const OPENING: &str = "\
// Written by `cofferdam policy init`: the smallest policy for what these modules declare.
// Read it, cut it down, commit it. Whatever no rule permits is denied, and `forbid` wins.
";

fn write_file(rules: &[Rule]) -> String {
    let mut file = OPENING.to_owned();
    let mut heading = "";
    let mut ids: BTreeMap<&str, usize> = BTreeMap::new();
    for rule in rules {
        if rule.heading != heading {
            heading = &rule.heading;
            file.push_str(&format!("\n// ---- {heading}\n"));
        }
        let seen = ids.entry(&rule.id).or_default();
        *seen += 1;
        let id = match *seen {
            1 => rule.id.clone(),
            count => format!("{}#{count}", rule.id),
        };
        write_rule(&mut file, rule, &id).expect("a String takes whatever is written to it");
    }
    file
}

fn write_rule(file: &mut String, rule: &Rule, id: &str) -> std::fmt::Result {
    writeln!(file)?;
    for line in &rule.comments {
        writeln!(file, "// {line}")?;
    }
    writeln!(file, "@id({})\npermit (", string(id))?;
    writeln!(file, "  principal == {},", rule.principal)?;
    let actions: Vec<String> = rule
        .actions
        .iter()
        .map(|action| cedar::action(action).to_string())
        .collect();
    match actions.as_slice() {
        [action] => writeln!(file, "  action == {action},")?,
        actions => writeln!(file, "  action in [{}],", actions.join(", "))?,
    }
    match &rule.resource {
        Resource::Exactly(uid) => writeln!(file, "  resource == {uid}")?,
        Resource::Inside(uid) => writeln!(file, "  resource in {uid}")?,
    }
    // Written out even where it names every kind of run, so that a new kind is denied.
    let runs = format!("{}.contains(context.run)", set(&rule.runs));
    let conditions: Vec<String> = rule.conditions.iter().cloned().chain([runs]).collect();
    writeln!(file, ")\nwhen {{\n  {}\n}};", conditions.join(" &&\n  "))
}
