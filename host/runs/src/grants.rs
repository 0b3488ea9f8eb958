//! Everything that the modules of an application could ever ask for, as grants: the input of
//! `policy init`, `policy check` and `--dry-run`.
//!
//! Must never leave out something that the manifest allows: what is missing here is denied later.

use std::collections::BTreeMap;

use cofferdam_engine::manifest::{
    Access, Command, DeclaredSource, DeclaredStdin, ObjectVerb, ParameterType, Part, RolloutVerb,
    Setting, Template,
};
use cofferdam_policy::grant::{Grant, ValueKind, Wish};
use cofferdam_policy::name::{PathName, RoleName};
use cofferdam_policy::request::{
    AccessFile, AccessObject, ArtifactOperation, Change, EnvironmentSource, FileOperation,
    ObjectOperation, Principal, ProcessTemplate, ResolveTarget, Roll, RolloutOperation, RunCommand,
    RunKind, Scope, Stdin, TakeLease, Value,
};

use crate::plan::{Prepared, PreparedDataSet};

/// What only looks, and what a backup does.
const ANY_RUN: [RunKind; 3] = [RunKind::Backup, RunKind::Restore, RunKind::Verify];
/// What changes something in the cluster.
const RESTORE: [RunKind; 1] = [RunKind::Restore];
/// What stops a workload for the time of a backup.
const BACKUP: [RunKind; 1] = [RunKind::Backup];

/// The number that stands for a lease on replicas: modules scale to nothing, to stop writers.
const STOPPED: u32 = 0;
/// The number that stands for one that a backup kept: rules do not pin it.
const STANDING: u32 = 1;

impl Prepared {
    /// All grants of the application, data set by data set.
    pub fn grants(&self) -> Vec<Grant> {
        self.data_sets
            .iter()
            .flat_map(|data_set| Collector::new(self, data_set).all())
            .collect()
    }
}

struct Collector<'a> {
    prepared: &'a Prepared,
    of: &'a PreparedDataSet,
    grants: Vec<Grant>,
}

impl<'a> Collector<'a> {
    fn new(prepared: &'a Prepared, of: &'a PreparedDataSet) -> Self {
        Self {
            prepared,
            of,
            grants: Vec::new(),
        }
    }

    fn all(mut self) -> Vec<Grant> {
        let manifest = self.of.module.manifest().clone();
        for role in manifest.targets.keys() {
            if let Some(target) = self.of.data_set.targets.get(role).cloned() {
                self.push(&ANY_RUN, Wish::Request(ResolveTarget { target }.into()));
            }
        }
        for command in manifest.commands.values() {
            self.command(command);
        }
        for path in manifest.paths.keys() {
            self.path(path);
        }
        self.objects();
        self.templates();
        for (role, verbs) in &manifest.rollouts {
            verbs.iter().for_each(|verb| self.rollout(role, *verb));
        }
        self.push(
            &[RunKind::Backup],
            Wish::AnyArtifact(ArtifactOperation::Create),
        );
        self.push(
            &[RunKind::Restore, RunKind::Verify],
            Wish::AnyArtifact(ArtifactOperation::Open),
        );
        self.grants
    }

    fn push(&mut self, runs: &[RunKind], wish: Wish) {
        for &run in runs {
            let scope = Scope {
                principal: Principal::Module(self.of.module.identity()),
                application: self.prepared.application.name.clone(),
                namespace: self.prepared.application.namespace.clone(),
                data_set: Some(self.of.data_set.name.clone()),
                run,
            };
            self.grants.push(Grant {
                scope,
                wish: wish.clone(),
            });
        }
    }

    fn command(&mut self, command: &Command) {
        let Some(target) = self.of.data_set.targets.get(&command.target).cloned() else {
            return;
        };
        let mut filled = BTreeMap::new();
        let mut open = BTreeMap::new();
        let words = self.of.binding.words(command);
        let templates = words.iter().copied().chain(command.script());
        for name in templates.flat_map(Template::holes) {
            match self.of.binding.setting(name) {
                Some(Setting::Value(value)) if !command.holes.contains_key(name) => {
                    filled.insert(name.to_string(), value.clone());
                }
                _ => {
                    if let Some(hole) = command.hole(self.of.module.manifest(), name) {
                        open.insert(name.to_string(), value_kind(&hole.kind));
                    }
                }
            }
        }
        let environment = command.environment.iter().filter_map(|(variable, source)| {
            let source = match source {
                DeclaredSource::Pod(inner) => EnvironmentSource::Pod {
                    variable: inner.clone(),
                },
                DeclaredSource::Secret(handle) => {
                    let bound = self.of.data_set.secrets.get(handle)?;
                    EnvironmentSource::Secret {
                        handle: handle.clone(),
                        object: bound.secret.clone(),
                        key: bound.key.clone(),
                    }
                }
                DeclaredSource::SecretOrPod(handle, inner) => {
                    match self.of.data_set.secrets.get(handle) {
                        Some(bound) => EnvironmentSource::Secret {
                            handle: handle.clone(),
                            object: bound.secret.clone(),
                            key: bound.key.clone(),
                        },
                        None => EnvironmentSource::Pod {
                            variable: inner.clone(),
                        },
                    }
                }
            };
            Some((variable.clone(), source))
        });
        let stdin = match &command.stdin {
            DeclaredStdin::None => Stdin::None,
            DeclaredStdin::Artifact => Stdin::Artifact,
            DeclaredStdin::Template(script) => Stdin::Template {
                text: fill(script, &filled),
            },
            DeclaredStdin::Free => Stdin::Free,
        };
        let runs: &[RunKind] = if stdin == Stdin::Artifact {
            &RESTORE
        } else {
            &ANY_RUN
        };
        let request = RunCommand {
            target,
            command: command.name.clone(),
            argv: words.iter().map(|word| fill(word, &filled)).collect(),
            environment: environment.collect(),
            stdin,
            timeout: command.timeout,
            holes: filled,
        };
        let wish = if open.is_empty() {
            Wish::Request(request.into())
        } else {
            Wish::OpenCommand {
                command: request,
                open_holes: open,
            }
        };
        self.push(runs, wish);
    }

    fn path(&mut self, name: &PathName) {
        let Some((declared, place)) = self.of.binding.path(name) else {
            return;
        };
        let Some(target) = self.of.data_set.targets.get(&declared.target).cloned() else {
            return;
        };
        let (access, tree, place) = (declared.access, declared.tree, place.clone());
        let file = |operation| {
            let request = AccessFile {
                target: target.clone(),
                name: name.clone(),
                path: place.clone(),
                operation,
            };
            Wish::Request(request.into())
        };
        if tree {
            self.push(&ANY_RUN, file(FileOperation::Stat));
            self.push(&[RunKind::Backup], file(FileOperation::SaveTree));
            if access == Access::Write {
                self.push(&RESTORE, file(FileOperation::LoadTree));
            }
            return;
        }
        for operation in [FileOperation::Stat, FileOperation::Read] {
            self.push(&ANY_RUN, file(operation));
        }
        if access == Access::Write {
            self.push(&RESTORE, file(FileOperation::Write));
            self.push(&RESTORE, file(FileOperation::Remove));
            for to in self
                .of
                .module
                .manifest()
                .paths
                .keys()
                .filter(|to| *to != name)
            {
                match self.of.binding.path(to) {
                    Some((other, to_path))
                        if other.access == Access::Write
                            && !other.tree
                            && other.target == declared.target =>
                    {
                        let operation = FileOperation::Rename {
                            to: to.clone(),
                            to_path: to_path.clone(),
                        };
                        self.push(&RESTORE, file(operation));
                    }
                    _ => {}
                }
            }
        }
    }

    fn objects(&mut self) {
        let manifest = self.of.module.manifest().clone();
        let namespace = &self.prepared.application.namespace;
        for (group, declared) in &manifest.objects {
            let Some(kind) = self.of.binding.object_kind(group).cloned() else {
                continue;
            };
            for name in self.of.binding.object_names(group) {
                for verb in &declared.verbs {
                    let operation = match verb {
                        ObjectVerb::Get => ObjectOperation::Get,
                        ObjectVerb::Save => ObjectOperation::Save,
                        ObjectVerb::Load => ObjectOperation::Load,
                        ObjectVerb::Apply => ObjectOperation::Apply,
                        ObjectVerb::Wait => ObjectOperation::Wait,
                        ObjectVerb::Lease => {
                            let keys = self.of.binding.lease_keys(group);
                            let change = Change::EditObject {
                                namespace: namespace.clone(),
                                group: group.clone(),
                                kind: kind.clone(),
                                name: name.clone(),
                                changes: keys
                                    .iter()
                                    .map(|key| (key.clone(), String::new()))
                                    .collect(),
                            };
                            self.push(&RESTORE, Wish::Request(TakeLease { change }.into()));
                            continue;
                        }
                    };
                    let runs: &[RunKind] = match operation {
                        ObjectOperation::Get | ObjectOperation::Save | ObjectOperation::Wait => {
                            &ANY_RUN
                        }
                        ObjectOperation::Load | ObjectOperation::Apply => &RESTORE,
                    };
                    let request = AccessObject {
                        namespace: namespace.clone(),
                        group: group.clone(),
                        kind: kind.clone(),
                        name: name.clone(),
                        operation,
                    };
                    self.push(runs, Wish::Request(request.into()));
                }
            }
        }
    }

    fn templates(&mut self) {
        let manifest = self.of.module.manifest().clone();
        for (template, declared) in &manifest.templates {
            for name in self.of.binding.object_names(&declared.group) {
                let request = ProcessTemplate {
                    namespace: self.prepared.application.namespace.clone(),
                    template: template.clone(),
                    group: declared.group.clone(),
                    name: name.clone(),
                    parameters: declared.parameters.clone(),
                    kinds: declared.kinds.clone(),
                };
                self.push(&RESTORE, Wish::Request(request.into()));
            }
        }
    }

    fn rollout(&mut self, role: &RoleName, verb: RolloutVerb) {
        let Some(target) = self.of.data_set.targets.get(role).cloned() else {
            return;
        };
        let roll = |operation| {
            Wish::Request(
                Roll {
                    target: target.clone(),
                    operation,
                }
                .into(),
            )
        };
        match verb {
            RolloutVerb::Restart => self.push(&RESTORE, roll(RolloutOperation::Restart)),
            RolloutVerb::Wait => self.push(&ANY_RUN, roll(RolloutOperation::Wait)),
            RolloutVerb::Replicas => self.push(&ANY_RUN, roll(RolloutOperation::Replicas)),
            RolloutVerb::Guard => self.push(&RESTORE, roll(RolloutOperation::Guard)),
            RolloutVerb::SetReplicas => {
                let replicas = STANDING;
                self.push(&RESTORE, roll(RolloutOperation::SetReplicas { replicas }));
            }
            RolloutVerb::Scale => {
                let change = Change::Scale {
                    namespace: target.namespace.clone(),
                    workload: target.workload.clone(),
                    replicas: STOPPED,
                };
                let quiesces = self.quiesces();
                let runs = if quiesces { &BACKUP } else { &RESTORE };
                self.push(runs, Wish::Request(TakeLease { change }.into()));
            }
        }
    }

    /// Whether the data set is there to stop a workload for the time of a backup.
    fn quiesces(&self) -> bool {
        let quiesce = &self.prepared.application.quiesce;
        quiesce.contains(&self.of.data_set.name)
    }
}

/// The text of a template: known holes filled, the others as `{name}`.
fn fill(template: &Template, filled: &BTreeMap<String, Value>) -> String {
    let part = |part: &Part| match part {
        Part::Literal(text) => text.clone(),
        Part::Hole(name) => filled
            .get(name.as_str())
            .map_or_else(|| format!("{{{name}}}"), ToString::to_string),
    };
    template.parts().iter().map(part).collect()
}

fn value_kind(kind: &ParameterType) -> ValueKind {
    match kind {
        ParameterType::Identifier => ValueKind::Identifier,
        ParameterType::Integer { .. } => ValueKind::Integer,
        ParameterType::Enum(_) | ParameterType::Words(_) => ValueKind::Choice,
        ParameterType::Path => ValueKind::Path,
        ParameterType::Duration => ValueKind::Duration,
        ParameterType::Bytes => ValueKind::Bytes,
        ParameterType::Text
        | ParameterType::ObjectName
        | ParameterType::DataKey
        | ParameterType::ObjectNames
        | ParameterType::ObjectKind => ValueKind::Text,
    }
}
