//! What a module can ever do, as lines that people read: for `modules inspect` and for whoever
//! writes a policy.
//!
//! Must never leave out something that the engine would let through.

use serde::Serialize;

use crate::manifest::{
    Access, Command, DeclaredPath, DeclaredSource, DeclaredStdin, DeclaredTemplate, KeyTemplate,
    Manifest, NameTemplate, ObjectGroup, ObjectVerb, ParameterType, RolloutVerb, Template,
};

/// One thing that the manifest declares, for one action of the policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Capability {
    /// The action of the policy's schema, such as `run-command`.
    pub action: &'static str,
    /// The name in the manifest: of the command, path, group, secret or role.
    pub name: String,
    /// The role that it happens in, where there is one.
    pub role: Option<String>,
    /// One line for people: the literal command line, the path, the kind and names.
    pub text: String,
    /// What a reviewer should look at twice.
    pub warning: Option<String>,
}

impl Manifest {
    /// Everything that the module can ever ask for, in the order of the manifest's tables.
    ///
    /// Artifacts are not among it: every module may create and open those of its own data set.
    pub fn capabilities(&self) -> Vec<Capability> {
        let targets = self.targets.iter().map(|(role, summary)| Capability {
            action: "resolve-target",
            name: role.to_string(),
            role: Some(role.to_string()),
            text: match self.optional_targets.contains(role) {
                true => format!("{summary} (optional)"),
                false => summary.clone(),
            },
            warning: None,
        });
        targets
            .chain(
                self.commands
                    .values()
                    .flat_map(|command| commands(self, command)),
            )
            .chain(self.paths.values().flat_map(paths))
            .chain(self.objects.values().flat_map(objects))
            .chain(self.templates.values().map(template))
            .chain(self.rollouts.iter().flat_map(|(role, verbs)| {
                verbs.iter().map(move |verb| Capability {
                    action: rollout_action(*verb),
                    name: role.to_string(),
                    role: Some(role.to_string()),
                    text: rollout_text(*verb).to_owned(),
                    warning: None,
                })
            }))
            .collect()
    }
}

impl Command {
    /// The command line as a shell would want it, holes in braces: two different lines never look
    /// alike.
    pub fn line(&self) -> String {
        let words: Vec<String> = self.argv.iter().map(|word| quoted(&word.text())).collect();
        words.join(" ")
    }

    /// The variables set for it, as `NAME=pod:VARIABLE` or `NAME=secret:HANDLE`.
    pub fn environment_line(&self) -> Vec<String> {
        self.environment
            .iter()
            .map(|(name, source)| match source {
                DeclaredSource::Pod(variable) => format!("{name}=pod:{variable}"),
                DeclaredSource::Secret(handle) => format!("{name}=secret:{handle}"),
                DeclaredSource::SecretOrPod(handle, variable) => {
                    format!("{name}=secret:{handle} else pod:{variable}")
                }
            })
            .collect()
    }
}

fn quoted(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-./=:,@%+{}".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!(
        "'{}'",
        word.replace('\'', "'\\''").replace('\n', "'$'\\n''")
    )
}

fn commands(manifest: &Manifest, command: &Command) -> Vec<Capability> {
    let mut text = command.line();
    text.push_str(&choices(manifest, command));
    match &command.stdin {
        DeclaredStdin::None => {}
        DeclaredStdin::Artifact => text.push_str("  < an artifact"),
        DeclaredStdin::Template(script) => {
            text.push_str("  < ");
            text.push_str(&quoted(&script.text()));
        }
        DeclaredStdin::Free => text.push_str("  < whatever the module writes"),
    }
    let role = Some(command.target.to_string());
    let run = Capability {
        action: "run-command",
        name: command.name.to_string(),
        role: role.clone(),
        text,
        warning: warning(manifest, command),
    };
    let secrets = command
        .environment
        .iter()
        .filter_map(|(variable, source)| match source {
            DeclaredSource::Secret(handle) | DeclaredSource::SecretOrPod(handle, _) => {
                Some(Capability {
                    action: "use-secret",
                    name: handle.to_string(),
                    role: role.clone(),
                    text: format!("as {variable} of {}", command.name),
                    warning: None,
                })
            }
            DeclaredSource::Pod(_) => None,
        });
    std::iter::once(run).chain(secrets).collect()
}

/// What the site may choose for the holes of type `words`.
fn choices(manifest: &Manifest, command: &Command) -> String {
    let mut text = String::new();
    for hole in command.argv.iter().filter_map(Template::sole_hole) {
        let Some(ParameterType::Words(choices)) =
            command.hole(manifest, hole).map(|hole| &hole.kind)
        else {
            continue;
        };
        let choices: Vec<String> = choices
            .values()
            .map(|words| {
                let words: Vec<String> = words.iter().map(|word| quoted(&word.text())).collect();
                match words.as_slice() {
                    [] => "nothing".to_owned(),
                    words => words.join(" "),
                }
            })
            .collect();
        text.push_str(&format!("  {{{hole}}}: {}", choices.join(" | ")));
    }
    text
}

fn warning(manifest: &Manifest, command: &Command) -> Option<String> {
    if matches!(command.stdin, DeclaredStdin::Free) {
        return Some("the module itself writes what the command reads: where that is a program, it can do anything".to_owned());
    }
    let program = command.argv.first().and_then(Template::literal)?;
    let writes = |path: &DeclaredPath| {
        path.access == Access::Write
            && path.target == command.target
            && path
                .path
                .literal()
                .is_none_or(|path| program.starts_with('/') && program.starts_with(&path))
    };
    manifest.paths.values().find(|path| writes(path)).map(|path| {
        format!("the module may write `{}`, where the program of this command may lie: permission to do both is permission to run anything", path.name)
    })
}

fn paths(path: &DeclaredPath) -> Vec<Capability> {
    let actions: &[&'static str] = match (path.tree, path.access) {
        (false, Access::Read) => &["stat-file", "read-file"],
        (false, Access::Write) => &[
            "stat-file",
            "read-file",
            "write-file",
            "rename-file",
            "remove-file",
        ],
        (true, Access::Read) => &["stat-file", "save-tree"],
        (true, Access::Write) => &["stat-file", "save-tree", "load-tree"],
    };
    actions
        .iter()
        .map(|action| Capability {
            action,
            name: path.name.to_string(),
            role: Some(path.target.to_string()),
            text: path.path.text(),
            warning: None,
        })
        .collect()
}

fn objects(group: &ObjectGroup) -> Vec<Capability> {
    let names: Vec<String> = group
        .names
        .iter()
        .map(|name| match name {
            NameTemplate::Literal(name) => name.to_string(),
            NameTemplate::Parameter(parameter) => format!("{{{parameter}}}"),
        })
        .collect();
    let keys: Vec<String> = group
        .keys
        .iter()
        .map(|key| match key {
            KeyTemplate::Literal(key) => key.to_string(),
            KeyTemplate::Parameter(parameter) => format!("{{{parameter}}}"),
        })
        .collect();
    let text = |verb: ObjectVerb| match verb {
        ObjectVerb::Lease => format!("{} {} ({})", group.kind, names.join(" "), keys.join(" ")),
        _ => format!("{} {}", group.kind, names.join(" ")),
    };
    group
        .verbs
        .iter()
        .map(|verb| Capability {
            action: object_action(*verb),
            name: group.name.to_string(),
            role: None,
            text: text(*verb),
            warning: None,
        })
        .collect()
}

fn template(template: &DeclaredTemplate) -> Capability {
    let kinds: Vec<String> = template.kinds.iter().map(ToString::to_string).collect();
    let sources = template.parameters.iter();
    let sources: Vec<String> = sources
        .map(|(name, from)| format!("{name}={from}"))
        .collect();
    let rights = template
        .kinds
        .iter()
        .any(|kind| kind.api_version.starts_with("rbac.authorization.k8s.io/"));
    Capability {
        action: "process-template",
        name: template.name.to_string(),
        role: None,
        text: format!(
            "Template of group {}, filled with {}, making {}",
            template.group,
            sources.join(" "),
            kinds.join(" ")
        ),
        warning: rights.then(|| {
            "what comes of it may give rights in the namespace: whoever writes the Template in the backup decides which".to_owned()
        }),
    }
}

/// The policy's action for a verb on objects.
pub(crate) fn object_action(verb: ObjectVerb) -> &'static str {
    match verb {
        ObjectVerb::Get => "get-object",
        ObjectVerb::Save => "save-object",
        ObjectVerb::Load => "load-object",
        ObjectVerb::Apply => "apply-object",
        ObjectVerb::Wait => "wait-object",
        ObjectVerb::Lease => "lease-edit",
    }
}

/// The policy's action for a verb on rollouts.
pub(crate) fn rollout_action(verb: RolloutVerb) -> &'static str {
    match verb {
        RolloutVerb::Restart => "restart",
        RolloutVerb::Wait => "wait-rollout",
        RolloutVerb::Replicas => "read-replicas",
        RolloutVerb::Scale => "lease-scale",
        RolloutVerb::SetReplicas => "set-replicas",
        RolloutVerb::Guard => "guard-pods",
    }
}

fn rollout_text(verb: RolloutVerb) -> &'static str {
    match verb {
        RolloutVerb::Restart => "replace the pods",
        RolloutVerb::Wait => "wait until it is rolled out",
        RolloutVerb::Replicas => "read the number of replicas",
        RolloutVerb::Scale => "change the number of replicas for a time",
        RolloutVerb::SetReplicas => "set the number of replicas for good",
        RolloutVerb::Guard => "let no other data set of the run replace the pods",
    }
}
