//! One grant as the rules that allow it and nothing else.
//!
//! Every condition that the gate can be asked for is written, or a comment says that it is not.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::EntityUid;

use super::command::{command_comments, command_conditions, equals_set};
use super::{Pin, Resource, Rule};
use crate::cedar::{self, Kind};
use crate::grant::{Grant, OwnedRequest, ValueKind, Wish};
use crate::name::{DataKey, PathName, PodPath};
use crate::quote::{comment, set, string};
use crate::request::{
    AccessFile, AccessObject, AnyRequest, ArtifactOperation, Change, EnvironmentSource,
    FileOperation, ModuleIdentity, Principal, ProcessTemplate, Roll, RolloutOperation, RunCommand,
    Scope, Target, UseArtifact, Workload,
};
use crate::subject::{capability, place};

/// The rules of one grant: two or more where a command takes secrets.
pub(super) fn rules(grant: &Grant, pin: Pin) -> Vec<Rule> {
    let writer = Writer {
        scope: &grant.scope,
        place: cedar::place_of(&grant.scope),
        pin,
    };
    match &grant.wish {
        Wish::Request(OwnedRequest::PutBack(_)) => Vec::new(),
        Wish::Request(OwnedRequest::RunCommand(command)) => {
            writer.command(command, &BTreeMap::new())
        }
        Wish::OpenCommand {
            command,
            open_holes,
        } => writer.command(command, open_holes),
        Wish::Request(request) => vec![writer.request(request.any())],
        Wish::AnyArtifact(operation) => vec![writer.any_artifact(*operation)],
    }
}

struct Writer<'a> {
    scope: &'a Scope,
    place: String,
    pin: Pin,
}

impl Writer<'_> {
    fn rule(&self, action: &'static str, resource: EntityUid) -> Rule {
        let id: &str = resource.id().as_ref();
        let kind = resource.type_name().to_string().to_lowercase();
        let name = id.strip_prefix(&format!("{}/", self.place)).unwrap_or(id);
        let (principal, conditions) = self.principal();
        Rule {
            heading: self.heading(),
            id: format!("{}/{kind}/{name}", self.place),
            comments: Vec::new(),
            principal,
            actions: vec![action],
            resource: Resource::Exactly(resource),
            runs: BTreeSet::from([self.scope.run.as_str()]),
            conditions,
            plain: true,
        }
    }

    fn heading(&self) -> String {
        let who = match &self.scope.principal {
            Principal::Host => "the host".to_owned(),
            Principal::Module(module) => {
                format!("module {} {}", module.name, comment(&module.version))
            }
        };
        let scope = self.scope;
        match &scope.data_set {
            Some(data_set) => format!(
                "Data set {data_set} of application {} in namespace {}: {who}.",
                scope.application, scope.namespace
            ),
            None => format!(
                "Application {} in namespace {}: {who}.",
                scope.application, scope.namespace
            ),
        }
    }

    fn principal(&self) -> (EntityUid, Vec<String>) {
        let module: &ModuleIdentity = match &self.scope.principal {
            Principal::Host => return (cedar::host(), Vec::new()),
            Principal::Module(module) => module,
        };
        let mut conditions = Vec::new();
        if self.pin != Pin::Name {
            conditions.push(format!("principal.version == {}", string(&module.version)));
        }
        if self.pin == Pin::Digest {
            conditions.push(format!("principal.digest == {}", string(&module.digest)));
        }
        if let Some(signer) = &module.signer {
            conditions.push(format!(
                "principal has signer && principal.signer == {}",
                string(signer)
            ));
        }
        (Kind::Module.uid(module.name.as_str()), conditions)
    }

    /// Every request but commands and `put-back`, which [`rules`] takes.
    fn request(&self, request: AnyRequest<'_>) -> Rule {
        let action = capability(request);
        match request {
            AnyRequest::ResolveTarget(asked) => self.target(action, &asked.target),
            AnyRequest::RunCommand(asked) => {
                let uid = cedar::named(Kind::Command, &self.place, asked.command.as_str());
                self.rule(action, uid)
            }
            AnyRequest::AccessFile(asked) => self.file(action, asked),
            AnyRequest::AccessObject(asked) => self.object(action, asked),
            AnyRequest::ProcessTemplate(asked) => self.template(action, asked),
            AnyRequest::Roll(asked) => self.roll(action, asked),
            AnyRequest::TakeLease(asked) => self.change(action, &asked.change),
            AnyRequest::PutBack(asked) => self.change(action, &asked.change),
            AnyRequest::UseArtifact(asked) => self.artifact(action, asked),
        }
    }

    fn target(&self, action: &'static str, target: &Target) -> Rule {
        let uid = cedar::named(Kind::Target, &self.place, target.role.as_str());
        let mut rule = self.rule(action, uid);
        rule.comments
            .push(format!("Target {}: {}", target.role, place(target)));
        rule.conditions.extend(target_conditions(target));
        rule
    }

    fn file(&self, action: &'static str, asked: &AccessFile) -> Rule {
        let uid = cedar::named(Kind::Path, &self.place, asked.name.as_str());
        let mut rule = self.rule(action, uid);
        rule.comments.push(format!(
            "Path {}: {} in {}",
            asked.name,
            comment(asked.path.as_str()),
            place(&asked.target)
        ));
        rule.conditions.extend(target_conditions(&asked.target));
        rule.conditions
            .push(format!("resource.path == {}", string(asked.path.as_str())));
        match &asked.operation {
            FileOperation::Rename { to, to_path } => self.rename(&mut rule, to, to_path),
            FileOperation::Stat
            | FileOperation::Read
            | FileOperation::Write
            | FileOperation::Remove
            | FileOperation::SaveTree
            | FileOperation::LoadTree => {}
        }
        rule
    }

    fn rename(&self, rule: &mut Rule, to: &PathName, to_path: &PodPath) {
        let uid = cedar::named(Kind::Path, &self.place, to.as_str());
        rule.plain = false;
        rule.comments.push(format!(
            "  renamed to path {to}: {}",
            comment(to_path.as_str())
        ));
        rule.conditions.push(format!("context.to == {uid}"));
        rule.conditions
            .push(format!("context.to.path == {}", string(to_path.as_str())));
    }

    fn object(&self, action: &'static str, asked: &AccessObject) -> Rule {
        let uid = cedar::object(&self.place, &asked.kind.kind, &asked.name);
        let mut rule = self.rule(action, uid);
        rule.comments.push(format!(
            "{} {} of group {}",
            comment(&asked.kind.kind),
            asked.name,
            asked.group
        ));
        rule.conditions.extend(object_conditions(
            asked.namespace.as_str(),
            asked.group.as_str(),
            &asked.kind.api_version,
        ));
        rule
    }

    fn template(&self, action: &'static str, asked: &ProcessTemplate) -> Rule {
        let kind = ProcessTemplate::kind();
        let mut rule = self.rule(action, cedar::object(&self.place, &kind.kind, &asked.name));
        rule.plain = false;
        let (sources, kinds) = (asked.sources(), asked.kind_words());
        rule.comments.push(format!(
            "Template {} of group {}, processed as template {}",
            asked.name, asked.group, asked.template
        ));
        rule.comments.extend(
            sources
                .iter()
                .map(|source| format!("  {}", comment(source))),
        );
        rule.comments
            .push("  not pinned: the Template itself, which comes from the backup".to_owned());
        rule.conditions.extend(object_conditions(
            asked.namespace.as_str(),
            asked.group.as_str(),
            &kind.api_version,
        ));
        rule.conditions.extend([
            format!("context.template == {}", string(asked.template.as_str())),
            equals_set("context.sources", &sources),
            equals_set("context.kinds", &kinds),
        ]);
        rule
    }

    fn roll(&self, action: &'static str, asked: &Roll) -> Rule {
        let target = &asked.target;
        let mut rule = self.workload(action, target.namespace.as_str(), &target.workload);
        match asked.operation {
            RolloutOperation::SetReplicas { .. } => {
                rule.plain = false;
                rule.comments = vec![
                    format!("{}: its number of replicas, for good", target.workload),
                    "  not pinned: the number, which comes from the backup".to_owned(),
                ];
            }
            RolloutOperation::Guard => {
                rule.plain = false;
                rule.comments = vec![format!(
                    "{}: no other data set of the run may replace its pods",
                    target.workload
                )];
            }
            RolloutOperation::Restart | RolloutOperation::Wait | RolloutOperation::Replicas => {}
        }
        rule
    }

    fn workload(&self, action: &'static str, namespace: &str, workload: &Workload) -> Rule {
        let mut rule = self.rule(action, cedar::workload(&self.place, workload));
        rule.comments.push(workload.to_string());
        rule.conditions
            .push(format!("resource.namespace == {}", string(namespace)));
        rule
    }

    fn change(&self, action: &'static str, change: &Change) -> Rule {
        let mut rule = match change {
            Change::Scale {
                namespace,
                workload,
                replicas,
            } => {
                let mut rule = self.workload(action, namespace.as_str(), workload);
                rule.comments = vec![format!("{workload} scaled to {replicas} for a while")];
                rule.conditions
                    .push(format!("context.replicas == {replicas}"));
                rule
            }
            Change::EditObject {
                namespace,
                group,
                kind,
                name,
                changes,
            } => {
                let mut rule = self.rule(action, cedar::object(&self.place, &kind.kind, name));
                let keys: Vec<&str> = changes.keys().map(DataKey::as_str).collect();
                rule.comments = vec![
                    format!(
                        "{} {name} of group {group}: {} changed for a while",
                        comment(&kind.kind),
                        keys.join(", ")
                    ),
                    "  not pinned: the values, which the module makes as it goes".to_owned(),
                ];
                rule.conditions.extend(object_conditions(
                    namespace.as_str(),
                    group.as_str(),
                    &kind.api_version,
                ));
                rule.conditions.push(keys_condition(&keys));
                rule
            }
        };
        rule.plain = false;
        rule
    }

    fn artifact(&self, action: &'static str, asked: &UseArtifact) -> Rule {
        let uid = cedar::named(Kind::Artifact, &self.place, asked.artifact.as_str());
        let mut rule = self.rule(action, uid);
        rule.comments.push(format!("Artifact {}", asked.artifact));
        rule
    }

    fn any_artifact(&self, operation: ArtifactOperation) -> Rule {
        let action = match operation {
            ArtifactOperation::Create => "create-artifact",
            ArtifactOperation::Open => "open-artifact",
        };
        let inside = match &self.scope.data_set {
            Some(_) => Kind::DataSet.uid(&self.place),
            None => Kind::Application.uid(self.scope.application.as_str()),
        };
        let mut rule = self.rule(action, inside.clone());
        rule.id = format!("{}/artifact", self.place);
        rule.comments
            .push("Any artifact of its own snapshot; a manifest does not name them".to_owned());
        rule.resource = Resource::Inside(inside);
        rule
    }

    /// The command, and a rule for each of its secrets.
    fn command(&self, asked: &RunCommand, open: &BTreeMap<String, ValueKind>) -> Vec<Rule> {
        let uid = cedar::named(Kind::Command, &self.place, asked.command.as_str());
        let mut rule = self.rule("run-command", uid.clone());
        rule.plain = false;
        rule.comments = command_comments(asked, open);
        rule.conditions.extend(target_conditions(&asked.target));
        rule.conditions.extend(command_conditions(asked, open));
        let mut rules = vec![rule];
        for (variable, source) in &asked.environment {
            let EnvironmentSource::Secret {
                handle,
                object,
                key,
            } = source
            else {
                continue;
            };
            let secret = cedar::named(Kind::Secret, &self.place, handle.as_str());
            let mut rule = self.rule("use-secret", secret);
            rule.plain = false;
            rule.comments.push(format!(
                "Secret {handle}: key {key} of Secret {object}, for command {} as {variable}",
                asked.command
            ));
            rule.conditions.extend([
                format!(
                    "resource.namespace == {}",
                    string(asked.target.namespace.as_str())
                ),
                format!("resource.object == {}", string(object.as_str())),
                format!("resource.key == {}", string(key.as_str())),
                format!("context.command == {uid}"),
                format!("context.variable == {}", string(variable.as_str())),
            ]);
            rules.push(rule);
        }
        rules
    }
}

/// A lease on some of the keys is part of a wish for all of them.
fn keys_condition(keys: &[&str]) -> String {
    if keys.is_empty() {
        return equals_set("context.keys", keys);
    }
    format!("{}.containsAll(context.keys)", set(keys))
}

fn target_conditions(target: &Target) -> [String; 4] {
    [
        format!("resource.role == {}", string(target.role.as_str())),
        format!(
            "resource.namespace == {}",
            string(target.namespace.as_str())
        ),
        format!(
            "resource.workload == {}",
            string(&target.workload.to_string())
        ),
        format!(
            "resource.container == {}",
            string(target.container.as_str())
        ),
    ]
}

fn object_conditions(namespace: &str, group: &str, api_version: &str) -> [String; 3] {
    [
        format!("resource.namespace == {}", string(namespace)),
        format!("resource.group == {}", string(group)),
        format!("resource.apiVersion == {}", string(api_version)),
    ]
}
