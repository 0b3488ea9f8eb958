//! The application file for a 3scale that was found: data sets bound to the modules that are
//! installed, in the order of a restore, with comments for the person who reads it.
//!
//! Pure. Must never write an entry that its module would refuse, and never leave something out
//! without saying so.

use std::collections::BTreeMap;
use std::sync::Arc;

use cofferdam_engine::{Binding, Manifest};
use cofferdam_policy::name::{
    ApplicationName, ContainerName, DataSetName, Namespace, ObjectName, ParameterName, RoleName,
};
use cofferdam_policy::request::{Target, Workload};
use serde::Serialize;
use serde_json::Value;

use super::quiet::stops;
use super::recipe::{Body, Bound, Place, STORAGE_FILES, Step, steps};
use super::seen::Found;
use crate::application::{API_VERSION, DataSet, ModuleReference};
use crate::plan::problems;

/// What a file is written for.
#[derive(Debug, Clone)]
pub struct Heading {
    /// The application.
    pub name: ApplicationName,
    /// Its namespace.
    pub namespace: Namespace,
    /// Whether a person said which era it is.
    pub asserted: bool,
}

/// An application file, and what it does not cover.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The file.
    pub text: String,
    /// What no entry of it covers.
    pub not_covered: Vec<NotCovered>,
}

/// Something that the application file does not cover.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NotCovered {
    /// What.
    pub name: String,
    /// Why.
    pub why: String,
}

/// Writes the file for `found` with what the installed modules can do.
pub fn draft(found: &Found, heading: &Heading, modules: &[Arc<Manifest>]) -> Draft {
    let mut entries = String::new();
    let mut not_covered = Vec::new();
    let mut order = Order::default();
    for step in steps(found) {
        order.reach(step.stage);
        match &step.body {
            Body::External { why } => {
                entries.push_str(&comments(&step));
                entries.push_str(&format!(
                    "    - name: {}\n      external: {}\n",
                    step.name,
                    scalar(&Value::from(why.clone()))
                ));
                not_covered.push(NotCovered {
                    name: step.name.clone(),
                    why: why.clone(),
                });
            }
            Body::Absent { why } => not_covered.push(NotCovered {
                name: step.name.clone(),
                why: why.clone(),
            }),
            Body::Bound(bound) => match fit(&step, bound, heading, modules) {
                Ok(manifest) => {
                    entries.push_str(&comments(&step));
                    entries.push_str(&entry(&step, bound, manifest, order.before()));
                    order.place(&step.name);
                }
                Err(why) => not_covered.push(NotCovered {
                    name: step.name.clone(),
                    why,
                }),
            },
        }
    }
    let is_kept = |name: &str| order.placed.iter().any(|placed| placed == name);
    let after = is_kept(STORAGE_FILES).then_some(STORAGE_FILES);
    let mut quiesce: Vec<String> = Vec::new();
    for step in stops(found) {
        let Body::Bound(bound) = &step.body else {
            continue;
        };
        match fit(&step, bound, heading, modules) {
            Ok(manifest) => {
                entries.push_str(&comments(&step));
                entries.push_str(&entry(&step, bound, manifest, &[]));
                if let (Some(before), true) = (after, quiesce.is_empty()) {
                    entries.push_str(&format!("      backup: {{ after: [{before}] }}\n"));
                }
                quiesce.push(step.name);
            }
            // One and the same module: it fits all of them or none.
            Err(why) => {
                not_covered.push(NotCovered {
                    name: "backup --quiesce".to_owned(),
                    why,
                });
                break;
            }
        }
    }
    let text = format!(
        "{}{entries}",
        opening(found, heading, &not_covered, &quiesce)
    );
    Draft { text, not_covered }
}

fn opening(
    found: &Found,
    heading: &Heading,
    not_covered: &[NotCovered],
    quiesce: &[String],
) -> String {
    let how = if heading.asserted {
        "as `--era` said; no run looks for another"
    } else {
        "found by looking at its workloads; each run looks again"
    };
    let mut text = format!(
        "# Written by `cofferdam init threescale` for 3scale of era {}\n# in namespace `{}`, {how}.\n# Read it, correct it, commit it; `cofferdam check` is next.\n#\n# `restore: after` puts a restore in order: Secrets and ConfigMaps, custom resource, files\n# and databases, what is derived from them, rollouts, routes last. A backup has no order.\n# `quiesce` is what `backup --quiesce` stops, in this order, until all is backed up; other backups leave\n# it out. Files are read through a pod of system-app, so they come before.\n# `external: WHY` names what nobody here backs up: every run then ends with exit code 4.\n",
        found.era, heading.namespace
    );
    if !not_covered.is_empty() {
        text.push_str("#\n# Not covered:\n");
        for one in not_covered {
            text.push_str(&format!("#   {}: {}\n", one.name, one.why));
        }
    }
    let asserted = if heading.asserted {
        ", asserted: true"
    } else {
        ""
    };
    let era = scalar(&serde_json::to_value(found.era).unwrap_or_default());
    let quiesce = match quiesce {
        [] => String::new(),
        names => format!("  quiesce:\n    - {}\n", names.join("\n    - ")),
    };
    text.push_str(&format!(
        "apiVersion: {API_VERSION}\nkind: Application\nmetadata: {{ name: {}, namespace: {} }}\nspec:\n  threescale: {{ era: {era}{asserted} }}\n{quiesce}  dataSets:\n",
        scalar(&Value::from(heading.name.as_str())),
        scalar(&Value::from(heading.namespace.as_str()))
    ));
    text
}

fn comments(step: &Step) -> String {
    step.comments
        .iter()
        .map(|line| format!("    # {line}\n"))
        .collect()
}

fn entry(step: &Step, bound: &Bound, manifest: &Manifest, after: &[String]) -> String {
    let mut text = format!(
        "    - name: {}\n      module: {{ name: {}, version: \"{}\" }}\n",
        step.name,
        manifest.name,
        line_of(&manifest.version)
    );
    let targets = targets(bound, manifest);
    if !targets.is_empty() {
        text.push_str("      targets:\n");
        for (role, place) in targets {
            text.push_str(&format!(
                "        {role}: {{ workload: {}, container: {} }}\n",
                place.workload,
                scalar(&Value::from(place.container.clone()))
            ));
        }
    }
    let parameters = parameters(bound, manifest);
    if !parameters.is_empty() {
        text.push_str("      parameters:\n");
        for (name, value) in parameters {
            match value {
                Value::Array(items) => {
                    text.push_str(&format!("        {name}:\n"));
                    for item in items {
                        text.push_str(&format!("          - {}\n", scalar(&item)));
                    }
                }
                value => text.push_str(&format!("        {name}: {}\n", scalar(&value))),
            }
        }
    }
    if !after.is_empty() {
        text.push_str(&format!(
            "      restore: {{ after: [{}] }}\n",
            after.join(", ")
        ));
    }
    text
}

/// The module of a step, when it is installed and takes what the step binds.
fn fit<'a>(
    step: &Step,
    bound: &Bound,
    heading: &Heading,
    modules: &'a [Arc<Manifest>],
) -> Result<&'a Arc<Manifest>, String> {
    let named = modules
        .iter()
        .filter(|manifest| manifest.name.as_str() == bound.module);
    // The newest, as a run would take it.
    let manifest = named
        .max_by_key(|manifest| crate::modules::version_key(&manifest.version))
        .ok_or_else(|| format!("the module `{}` is not installed", bound.module))?;
    let unfit = |reason: String| {
        format!(
            "the module `{}` {} does not fit: {reason}",
            manifest.name, manifest.version
        )
    };
    if let Some(essential) = bound.parameters.iter().find(|parameter| {
        parameter.essential
            && !manifest
                .parameters
                .keys()
                .any(|name| name.as_str() == parameter.name)
    }) {
        return Err(unfit(format!("it has no parameter `{}`", essential.name)));
    }
    let data_set =
        data_set(step, bound, heading, manifest).map_err(|error| unfit(error.to_string()))?;
    let problems = problems(&data_set, manifest);
    if !problems.is_empty() {
        return Err(unfit(problems.join("; ")));
    }
    Binding::new(manifest.clone(), data_set.parameters)
        .map_err(|error| unfit(error.to_string()))?;
    Ok(manifest)
}

/// What the entry will be read as.
fn data_set(
    step: &Step,
    bound: &Bound,
    heading: &Heading,
    manifest: &Manifest,
) -> Result<DataSet, cofferdam_policy::name::InvalidName> {
    let mut bindings = BTreeMap::new();
    for (role, place) in targets(bound, manifest) {
        let target = Target {
            role: role.clone(),
            namespace: heading.namespace.clone(),
            workload: Workload {
                kind: place.kind,
                name: ObjectName::parse(place.name)?,
            },
            container: ContainerName::parse(&place.container)?,
        };
        bindings.insert(role, target);
    }
    let mut values = BTreeMap::new();
    for (name, value) in parameters(bound, manifest) {
        values.insert(ParameterName::parse(name)?, value);
    }
    Ok(DataSet {
        name: DataSetName::parse(&step.name)?,
        module: ModuleReference {
            name: manifest.name.clone(),
            version: None,
            digest: None,
        },
        targets: bindings,
        secrets: BTreeMap::new(),
        parameters: values,
        backup_after: std::collections::BTreeSet::new(),
        restore_after: std::collections::BTreeSet::new(),
    })
}

/// The roles of the manifest that the step has a workload for. A manifest's only role is the main
/// one, whatever it is called.
fn targets(bound: &Bound, manifest: &Manifest) -> Vec<(RoleName, Place)> {
    let mut roles = manifest.targets.keys();
    if let (Some(only), None, Some((_, main))) = (roles.next(), roles.next(), bound.targets.first())
        && !bound.targets.iter().any(|(role, _)| *role == only.as_str())
    {
        return vec![(only.clone(), main.clone())];
    }
    let of_manifest = |role: &RoleName| {
        let (_, place) = bound
            .targets
            .iter()
            .find(|(name, _)| *name == role.as_str())?;
        Some((role.clone(), place.clone()))
    };
    manifest.targets.keys().filter_map(of_manifest).collect()
}

fn parameters<'a>(bound: &'a Bound, manifest: &Manifest) -> Vec<(&'a str, Value)> {
    let known = |name: &str| {
        manifest
            .parameters
            .keys()
            .any(|known| known.as_str() == name)
    };
    let all = bound.parameters.iter();
    all.filter(|parameter| known(parameter.name))
        .map(|parameter| (parameter.name, parameter.value.clone()))
        .collect()
}

/// `0.1` of `0.1.7`: repaired versions are taken, others not.
fn line_of(version: &str) -> String {
    let mut parts = version.splitn(3, '.');
    match (parts.next(), parts.next()) {
        (Some(major), Some(minor)) => format!("{major}.{minor}"),
        _ => version.to_owned(),
    }
}

/// A value as YAML: plain where nobody could read it as something else, else in JSON's form.
fn scalar(value: &Value) -> String {
    match value {
        Value::String(text)
            if text.len() > 3
                && !["true", "false", "null"].contains(&text.to_ascii_lowercase().as_str())
                && text.starts_with(|first: char| first.is_ascii_alphabetic())
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte)) =>
        {
            text.clone()
        }
        other => other.to_string(),
    }
}

/// Who comes after whom: everything waits for the last stage before its own that has entries.
#[derive(Debug, Default)]
struct Order {
    stage: Option<u32>,
    before: Vec<String>,
    here: Vec<String>,
    placed: Vec<String>,
}

impl Order {
    fn reach(&mut self, stage: u32) {
        if self.stage != Some(stage) {
            self.stage = Some(stage);
            if !self.here.is_empty() {
                self.before = std::mem::take(&mut self.here);
            }
        }
    }

    fn before(&self) -> &[String] {
        &self.before
    }

    fn place(&mut self, name: &str) {
        self.here.push(name.to_owned());
        self.placed.push(name.to_owned());
    }
}

#[cfg(test)]
mod tests;
