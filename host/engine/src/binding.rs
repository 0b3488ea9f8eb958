//! A manifest joined with the values that a site gave its parameters.
//!
//! The pure middle between what a module names and what the host does: names become places,
//! holes become words. Must never hand out a path, a name or a word that the manifest does not make.

use std::collections::BTreeMap;
use std::sync::Arc;

use cofferdam_policy::name::{
    CommandName, DataKey, GroupName, ObjectName, ParameterName, PathName, PodPath,
};
use cofferdam_policy::request::{ObjectKind, Value};

use crate::host::Invocation;
use crate::limits;
use crate::manifest::{
    Command, DeclaredPath, DeclaredStdin, KeyTemplate, KindTemplate, Manifest, NameTemplate,
    ObjectGroup, Parameter, ParameterType, Setting, Template, parameter,
};

/// A manifest with the values of its parameters: everything that a call may touch.
#[derive(Debug, Clone)]
pub struct Binding {
    manifest: Arc<Manifest>,
    settings: BTreeMap<ParameterName, Setting>,
    paths: BTreeMap<PathName, PodPath>,
    objects: BTreeMap<GroupName, Vec<ObjectName>>,
    kinds: BTreeMap<GroupName, ObjectKind>,
    leases: BTreeMap<GroupName, Vec<DataKey>>,
}

/// Why a site's values do not fit a manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the parameters do not fit module `{module}`: {}", .problems.join("; "))]
pub struct BindingError {
    /// The module.
    pub module: String,
    /// What is wrong: one line a parameter, path or group.
    pub problems: Vec<String>,
}

impl BindingError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(format!(
            "run `cofferdam modules inspect {}` to see its parameters",
            self.module
        ))
    }
}

/// Why the holes of a command cannot be filled. The texts are for the module.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FillError {
    /// The manifest has no such command.
    #[error("the manifest declares no command `{0}`")]
    Unknown(CommandName),
    /// A hole, or the whole line, breaks a rule.
    #[error("command `{command}`: {problem}")]
    Hole {
        /// The command.
        command: CommandName,
        /// What is wrong.
        problem: String,
    },
}

impl Binding {
    /// Joins a manifest with a site's values.
    ///
    /// Parameters without a value get their default.
    ///
    /// # Errors
    /// [`BindingError`] with every value that is unknown, missing or breaks its type, and every path
    /// and name that the values do not make.
    pub fn new(
        manifest: Arc<Manifest>,
        values: BTreeMap<ParameterName, serde_json::Value>,
    ) -> Result<Self, BindingError> {
        let mut problems = Vec::new();
        for name in values
            .keys()
            .filter(|name| !manifest.parameters.contains_key(name))
        {
            problems.push(format!("there is no parameter `{name}`"));
        }
        let mut settings = BTreeMap::new();
        for (name, parameter) in &manifest.parameters {
            match setting(parameter, values.get(name)) {
                Ok(setting) => {
                    settings.insert(name.clone(), setting);
                }
                Err(problem) => problems.push(format!("parameter `{name}` {problem}")),
            }
        }
        let mut paths = BTreeMap::new();
        let mut objects = BTreeMap::new();
        let mut kinds = BTreeMap::new();
        let mut leases = BTreeMap::new();
        // Without all settings every path would only repeat what is said above.
        if problems.is_empty() {
            for (name, declared) in &manifest.paths {
                match place(declared, &settings) {
                    Ok(path) => {
                        paths.insert(name.clone(), path);
                    }
                    Err(problem) => problems.push(format!("path `{name}` {problem}")),
                }
            }
            for (name, group) in &manifest.objects {
                match object_names(group, &settings) {
                    Ok(names) => {
                        objects.insert(name.clone(), names);
                    }
                    Err(problem) => problems.push(format!("object group `{name}` {problem}")),
                }
                match object_kind(group, &settings) {
                    Ok(kind) => {
                        kinds.insert(name.clone(), kind);
                    }
                    Err(problem) => problems.push(format!("object group `{name}` {problem}")),
                }
                match lease_keys(group, &settings) {
                    Ok(keys) => {
                        leases.insert(name.clone(), keys);
                    }
                    Err(problem) => problems.push(format!("object group `{name}` {problem}")),
                }
            }
        }
        if problems.is_empty() {
            Ok(Self {
                manifest,
                settings,
                paths,
                objects,
                kinds,
                leases,
            })
        } else {
            Err(BindingError {
                module: manifest.name.to_string(),
                problems,
            })
        }
    }

    /// The manifest.
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// The value of a parameter.
    pub fn setting(&self, name: &ParameterName) -> Option<&Setting> {
        self.settings.get(name)
    }

    /// The values of all parameters, defaults included.
    pub fn settings(&self) -> &BTreeMap<ParameterName, Setting> {
        &self.settings
    }

    /// A declared path and its place. `None` when the manifest has none of that name.
    pub fn path(&self, name: &PathName) -> Option<(&DeclaredPath, &PodPath)> {
        self.manifest.paths.get(name).zip(self.paths.get(name))
    }

    /// The objects of a group; empty when the manifest has no such group.
    pub fn object_names(&self, group: &GroupName) -> &[ObjectName] {
        self.objects.get(group).map_or(&[], Vec::as_slice)
    }

    /// The kind of a group's objects. `None` when the manifest has no such group.
    pub fn object_kind(&self, group: &GroupName) -> Option<&ObjectKind> {
        self.kinds.get(group)
    }

    /// The keys of a group's objects that a lease may change; empty without the verb `lease`.
    pub fn lease_keys(&self, group: &GroupName) -> &[DataKey] {
        self.leases.get(group).map_or(&[], Vec::as_slice)
    }

    /// The words of a command, with those that the site chose in the place of each hole of type
    /// `words`.
    pub fn words<'a>(&'a self, command: &'a Command) -> Vec<&'a Template> {
        let mut words = Vec::with_capacity(command.argv.len());
        for template in &command.argv {
            match self.chosen(command, template) {
                Some(chosen) => words.extend(chosen),
                None => words.push(template),
            }
        }
        words
    }

    fn chosen(&self, command: &Command, template: &Template) -> Option<&[Template]> {
        let hole = template
            .sole_hole()
            .filter(|hole| !command.holes.contains_key(*hole))?;
        let ParameterType::Words(choices) = &self.manifest.parameters.get(hole)?.kind else {
            return None;
        };
        let choice = self.settings.get(hole)?.to_string();
        choices.get(&choice).map(Vec::as_slice)
    }

    /// Fills the holes of a command.
    ///
    /// # Errors
    /// [`FillError`] for an undeclared command, a hole that is unknown, missing, given twice, the
    /// host's to fill, of the wrong type, or that would begin a word with `-`.
    pub fn fill(
        &self,
        command: &CommandName,
        holes: &[(String, String)],
    ) -> Result<Invocation<'_>, FillError> {
        let command = self
            .manifest
            .commands
            .get(command)
            .ok_or_else(|| FillError::Unknown(command.clone()))?;
        let refuse = |problem: String| FillError::Hole {
            command: command.name.clone(),
            problem,
        };
        let words = self.words(command);
        let values = self.values(command, &words, holes).map_err(refuse)?;
        let mut argv = Vec::with_capacity(words.len());
        let mut length = 0;
        for template in words {
            let word = filled(template, &values).map_err(refuse)?;
            if template.begins_with_hole() && word.starts_with('-') {
                return Err(refuse(format!(
                    "the value of `{}` begins with `-` and would be an option",
                    template.text()
                )));
            }
            length += word.len() + 1;
            argv.push(word);
        }
        if length > limits::COMMAND_LINE_BYTES {
            return Err(refuse(format!(
                "the command line has {length} bytes, {} at most",
                limits::COMMAND_LINE_BYTES
            )));
        }
        let script = match &command.stdin {
            DeclaredStdin::Template(script) => Some(filled(script, &values).map_err(refuse)?),
            DeclaredStdin::None | DeclaredStdin::Artifact | DeclaredStdin::Free => None,
        };
        let holes = values
            .into_iter()
            .map(|(name, value)| (name.into(), value))
            .collect();
        Ok(Invocation {
            command,
            argv,
            script,
            holes,
        })
    }

    /// The value of every hole of a command: the module's, else the default, else the parameter's.
    fn values(
        &self,
        command: &Command,
        words: &[&Template],
        given: &[(String, String)],
    ) -> Result<BTreeMap<ParameterName, Value>, String> {
        let mut texts = BTreeMap::new();
        for (name, text) in given {
            let shown: String = name
                .chars()
                .take(63)
                .flat_map(char::escape_default)
                .collect();
            let hole = ParameterName::parse(name)
                .ok()
                .filter(|hole| {
                    command.holes.contains_key(hole) || self.manifest.parameters.contains_key(hole)
                })
                .ok_or_else(|| format!("it has no hole `{shown}`"))?;
            if !command.holes.contains_key(&hole) {
                return Err(format!(
                    "hole `{hole}` is filled from the parameter of that name, not by the module"
                ));
            }
            if texts.insert(hole, text).is_some() {
                return Err(format!("hole `{shown}` is given twice"));
            }
        }
        let mut values = BTreeMap::new();
        let script = command.script();
        for hole in words
            .iter()
            .copied()
            .chain(script)
            .flat_map(Template::holes)
        {
            let value = match (command.holes.get(hole), texts.get(hole)) {
                (Some(declared), Some(text)) => declared
                    .kind
                    .value(text)
                    .map_err(|rule| format!("hole `{hole}` {rule}"))?,
                (Some(declared), None) => one(declared.default.as_ref(), hole)?,
                (None, _) => one(self.settings.get(hole), hole)?,
            };
            values.insert(hole.clone(), value);
        }
        Ok(values)
    }
}

/// The one value of a setting.
fn one(setting: Option<&Setting>, hole: &ParameterName) -> Result<Value, String> {
    match setting {
        Some(Setting::Value(value)) => Ok(value.clone()),
        Some(Setting::ObjectNames(_)) => Err(format!("hole `{hole}` takes one value, not a list")),
        None => Err(format!("hole `{hole}` has no value")),
    }
}

fn filled(template: &Template, values: &BTreeMap<ParameterName, Value>) -> Result<String, String> {
    template
        .fill(values)
        .map_err(|hole| format!("hole `{hole}` has no value"))
}

fn setting(parameter: &Parameter, value: Option<&serde_json::Value>) -> Result<Setting, String> {
    match (value, &parameter.default) {
        (Some(value), _) => parameter.kind.setting(value),
        (None, Some(default)) => Ok(default.clone()),
        (None, None) => Err(format!(
            "has no default and must be set ({})",
            parameter.kind
        )),
    }
}

fn place(
    declared: &DeclaredPath,
    settings: &BTreeMap<ParameterName, Setting>,
) -> Result<PodPath, String> {
    let text = declared
        .path
        .fill(settings)
        .map_err(|hole| format!("needs the parameter `{hole}`"))?;
    PodPath::parse(&text).map_err(|error| error.to_string())
}

fn object_names(
    group: &ObjectGroup,
    settings: &BTreeMap<ParameterName, Setting>,
) -> Result<Vec<ObjectName>, String> {
    let mut names: Vec<ObjectName> = Vec::new();
    let mut add = |name: ObjectName| {
        if !names.contains(&name) {
            names.push(name);
        }
    };
    for entry in &group.names {
        match entry {
            NameTemplate::Literal(name) => add(name.clone()),
            NameTemplate::Parameter(parameter) => match settings.get(parameter) {
                Some(Setting::ObjectNames(list)) => list.iter().cloned().for_each(&mut add),
                Some(Setting::Value(value)) => {
                    let name = ObjectName::parse(&value.to_string());
                    add(name.map_err(|error| error.to_string())?);
                }
                None => return Err(format!("needs the parameter `{parameter}`")),
            },
        }
    }
    if names.len() > limits::OBJECTS_PER_GROUP {
        return Err(format!(
            "has {} objects, {} at most",
            names.len(),
            limits::OBJECTS_PER_GROUP
        ));
    }
    Ok(names)
}

fn object_kind(
    group: &ObjectGroup,
    settings: &BTreeMap<ParameterName, Setting>,
) -> Result<ObjectKind, String> {
    let parameter = match &group.kind {
        KindTemplate::Literal(kind) => return Ok(kind.clone()),
        KindTemplate::Parameter(parameter) => parameter,
    };
    match settings.get(parameter) {
        Some(Setting::Value(value)) => parameter::object_kind(&value.to_string()),
        Some(Setting::ObjectNames(_)) | None => Err(format!("needs the parameter `{parameter}`")),
    }
}

fn lease_keys(
    group: &ObjectGroup,
    settings: &BTreeMap<ParameterName, Setting>,
) -> Result<Vec<DataKey>, String> {
    let key = |entry: &KeyTemplate| match entry {
        KeyTemplate::Literal(key) => Ok(key.clone()),
        KeyTemplate::Parameter(parameter) => match settings.get(parameter) {
            Some(Setting::Value(value)) => {
                DataKey::parse(&value.to_string()).map_err(|error| error.to_string())
            }
            Some(Setting::ObjectNames(_)) | None => {
                Err(format!("needs the parameter `{parameter}`"))
            }
        },
    };
    group.keys.iter().map(key).collect()
}

#[cfg(test)]
mod tests;
