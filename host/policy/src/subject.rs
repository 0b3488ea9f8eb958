//! What a request is about, in the words of people.
//!
//! Must never show a value that policy did not decide on, and never a secret: these texts go to
//! terminals, logs and guests.

use crate::request::{
    AccessFile, AccessObject, AnyRequest, ArtifactOperation, Change, EnvironmentSource,
    FileOperation, ObjectOperation, ProcessTemplate, RolloutOperation, RunCommand, Target,
};

/// What a request is about, such as
/// ``command `dump` in deployment/system-mysql (container system-mysql)``.
pub fn subject(request: AnyRequest<'_>) -> String {
    match request {
        AnyRequest::ResolveTarget(asked) => {
            format!("target `{}`: {}", asked.target.role, place(&asked.target))
        }
        AnyRequest::RunCommand(asked) => command(asked),
        AnyRequest::AccessFile(asked) => file(asked),
        AnyRequest::AccessObject(asked) => object(asked),
        AnyRequest::ProcessTemplate(asked) => template(asked),
        AnyRequest::Roll(asked) => match asked.operation {
            RolloutOperation::SetReplicas { replicas } => {
                format!("{} (to {replicas} replicas)", asked.target.workload)
            }
            RolloutOperation::Restart
            | RolloutOperation::Wait
            | RolloutOperation::Replicas
            | RolloutOperation::Guard => asked.target.workload.to_string(),
        },
        AnyRequest::TakeLease(asked) => change(&asked.change),
        AnyRequest::PutBack(asked) => change(&asked.change),
        AnyRequest::UseArtifact(asked) => format!("artifact `{}`", asked.artifact),
    }
}

/// The action of the schema that a request is, such as `run-command`.
pub fn capability(request: AnyRequest<'_>) -> &'static str {
    match request {
        AnyRequest::ResolveTarget(_) => "resolve-target",
        AnyRequest::RunCommand(_) => "run-command",
        AnyRequest::AccessFile(asked) => match asked.operation {
            FileOperation::Stat => "stat-file",
            FileOperation::Read => "read-file",
            FileOperation::Write => "write-file",
            FileOperation::Rename { .. } => "rename-file",
            FileOperation::Remove => "remove-file",
            FileOperation::SaveTree => "save-tree",
            FileOperation::LoadTree => "load-tree",
        },
        AnyRequest::AccessObject(asked) => match asked.operation {
            ObjectOperation::Get => "get-object",
            ObjectOperation::Save => "save-object",
            ObjectOperation::Load => "load-object",
            ObjectOperation::Apply => "apply-object",
            ObjectOperation::Wait => "wait-object",
        },
        AnyRequest::ProcessTemplate(_) => "process-template",
        AnyRequest::Roll(asked) => match asked.operation {
            RolloutOperation::Restart => "restart",
            RolloutOperation::Wait => "wait-rollout",
            RolloutOperation::Replicas => "read-replicas",
            RolloutOperation::SetReplicas { .. } => "set-replicas",
            RolloutOperation::Guard => "guard-pods",
        },
        AnyRequest::TakeLease(asked) => match asked.change {
            Change::Scale { .. } => "lease-scale",
            Change::EditObject { .. } => "lease-edit",
        },
        AnyRequest::PutBack(_) => "put-back",
        AnyRequest::UseArtifact(asked) => match asked.operation {
            ArtifactOperation::Create => "create-artifact",
            ArtifactOperation::Open => "open-artifact",
        },
    }
}

/// The secret behind a variable of a command; `None` where the variable is the pod's own.
pub(crate) fn secret(command: &RunCommand, source: &EnvironmentSource) -> Option<String> {
    match source {
        EnvironmentSource::Pod { .. } => None,
        EnvironmentSource::Secret {
            handle,
            object,
            key,
        } => Some(format!(
            "secret `{handle}` (key {key} of Secret {object}) for {}",
            self::command(command)
        )),
    }
}

/// A workload and its container.
pub(crate) fn place(target: &Target) -> String {
    format!("{} (container {})", target.workload, target.container)
}

fn command(asked: &RunCommand) -> String {
    format!("command `{}` in {}", asked.command, place(&asked.target))
}

fn file(asked: &AccessFile) -> String {
    let file = format!("path `{}` ({})", asked.name, clean(asked.path.as_str()));
    let place = place(&asked.target);
    match &asked.operation {
        FileOperation::Rename { to, to_path } => {
            let to_path = clean(to_path.as_str());
            format!("{file} to path `{to}` ({to_path}) in {place}")
        }
        FileOperation::Stat
        | FileOperation::Read
        | FileOperation::Write
        | FileOperation::Remove
        | FileOperation::SaveTree
        | FileOperation::LoadTree => format!("{file} in {place}"),
    }
}

fn object(asked: &AccessObject) -> String {
    format!("{} {}", clean(&asked.kind.kind), asked.name)
}

fn template(asked: &ProcessTemplate) -> String {
    format!(
        "Template {} (template `{}`, {} parameters)",
        asked.name,
        asked.template,
        asked.parameters.len()
    )
}

fn change(change: &Change) -> String {
    match change {
        Change::Scale {
            workload, replicas, ..
        } => format!("{workload} (to {replicas} replicas)"),
        Change::EditObject {
            kind,
            name,
            changes,
            ..
        } => {
            let keys: Vec<&str> = changes.keys().map(crate::name::DataKey::as_str).collect();
            format!("{} {name} (keys {})", clean(&kind.kind), keys.join(", "))
        }
    }
}

/// Texts that are not names yet: what a terminal would obey is escaped.
fn clean(text: &str) -> String {
    crate::quote::comment(text)
}
