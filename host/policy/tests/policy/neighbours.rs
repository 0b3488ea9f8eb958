//! Requests that differ in one thing from what was wished.

use std::collections::BTreeMap;

use cofferdam_policy::grant::OwnedRequest;
use cofferdam_policy::request::*;

use crate::world::*;

/// Changes one thing; `false` where the request has no such thing.
pub(crate) type Neighbour = fn(&mut Scope, &mut OwnedRequest) -> bool;

fn command(request: &mut OwnedRequest, change: fn(&mut RunCommand)) -> bool {
    match request {
        OwnedRequest::RunCommand(command) => {
            change(command);
            true
        }
        _ => false,
    }
}

fn with_target(request: &mut OwnedRequest, change: fn(&mut Target)) -> bool {
    match request {
        OwnedRequest::ResolveTarget(asked) => change(&mut asked.target),
        OwnedRequest::RunCommand(asked) => change(&mut asked.target),
        OwnedRequest::AccessFile(asked) => change(&mut asked.target),
        _ => return false,
    }
    true
}

pub(crate) fn identity(scope: &mut Scope, change: fn(&mut ModuleIdentity)) -> bool {
    match &mut scope.principal {
        Principal::Module(module) => change(module),
        Principal::Host => return false,
    }
    true
}

fn of_object(request: &mut OwnedRequest, change: fn(&mut AccessObject)) -> bool {
    match request {
        OwnedRequest::AccessObject(asked) => change(asked),
        _ => return false,
    }
    true
}

fn of_template(request: &mut OwnedRequest, change: fn(&mut ProcessTemplate)) -> bool {
    match request {
        OwnedRequest::ProcessTemplate(asked) => change(asked),
        _ => return false,
    }
    true
}

fn of_change(request: &mut OwnedRequest, change: fn(&mut Change) -> bool) -> bool {
    match request {
        OwnedRequest::TakeLease(lease) => change(&mut lease.change),
        _ => false,
    }
}

fn secret_of(request: &mut OwnedRequest, change: fn(&mut EnvironmentSource)) -> bool {
    match request {
        OwnedRequest::RunCommand(command) => match command.environment.first_mut() {
            Some((_, source @ EnvironmentSource::Secret { .. })) => {
                change(source);
                true
            }
            _ => false,
        },
        _ => false,
    }
}

pub(crate) const NEIGHBOURS: &[(&str, Neighbour)] = &[
    ("another module", |scope, _| {
        identity(scope, |module| module.name = name("other"))
    }),
    ("another version", |scope, _| {
        identity(scope, |module| module.version = "0.1.1".into())
    }),
    ("another digest", |scope, _| {
        identity(scope, |module| {
            module.digest = format!("sha256:{}", "b".repeat(64));
        })
    }),
    ("another application", |scope, _| {
        scope.application = name("fourscale");
        true
    }),
    ("another data set", |scope, _| {
        scope.data_set = Some(name("other"));
        true
    }),
    ("no data set", |scope, _| {
        scope.data_set = None;
        true
    }),
    ("another kind of run", |scope, _| {
        scope.run = RunKind::Verify;
        true
    }),
    (
        "restore instead of backup and the other way",
        |scope, request| {
            // Looking up the target was wished for both.
            let wished_for_both = matches!(request, OwnedRequest::ResolveTarget(_));
            scope.run = match scope.run {
                RunKind::Backup => RunKind::Restore,
                RunKind::Restore | RunKind::Verify => RunKind::Backup,
            };
            !wished_for_both
        },
    ),
    (
        "the application moved to another namespace",
        |scope, request| {
            scope.namespace = name("till");
            with_target(request, |target| target.namespace = name("till"))
                || of_object(request, |object| object.namespace = name("till"))
                || of_change(request, |change| {
                    match change {
                        Change::Scale { namespace, .. } | Change::EditObject { namespace, .. } => {
                            *namespace = name("till");
                        }
                    }
                    true
                })
        },
    ),
    ("a neighbouring namespace", |_, request| {
        with_target(request, |target| target.namespace = name("till"))
            || of_object(request, |object| object.namespace = name("till"))
    }),
    ("another container", |_, request| {
        with_target(request, |target| target.container = name("sidecar"))
    }),
    ("another role", |_, request| {
        with_target(request, |target| target.role = name("client"))
    }),
    ("another workload", |_, request| {
        with_target(request, |target| {
            target.workload.name = name("zync-database");
        })
    }),
    ("another kind of workload", |_, request| {
        with_target(request, |target| {
            target.workload.kind = WorkloadKind::StatefulSet;
        })
    }),
    ("another command", |_, request| {
        command(request, |command| command.command = name("drop"))
    }),
    ("a word more", |_, request| {
        command(request, |command| command.argv.push("x".into()))
    }),
    ("a word less", |_, request| {
        command(request, |command| {
            command.argv.pop();
        })
    }),
    ("another program", |_, request| {
        command(request, |command| {
            command.argv.splice(..1, ["sh".to_owned()]);
        })
    }),
    ("two words joined", |_, request| {
        command(request, |command| {
            let joined: Vec<String> = command.argv.drain(..2).collect();
            command.argv.insert(0, joined.join(" "));
        })
    }),
    ("another database", |_, request| {
        command(request, |command| {
            command
                .holes
                .insert("database".into(), Value::Identifier("mysql".into()));
        })
    }),
    ("a hole of another type", |_, request| {
        command(request, |command| {
            command
                .holes
                .insert("database".into(), Value::Text("system".into()));
        })
    }),
    ("a hole more", |_, request| {
        command(request, |command| {
            command.holes.insert("more".into(), Value::Integer(1));
        })
    }),
    ("a hole less", |_, request| {
        command(request, |command| {
            command.holes.remove("database");
        })
    }),
    ("a variable more", |_, request| {
        command(request, |command| {
            let source = EnvironmentSource::Pod {
                variable: name("PATH"),
            };
            command.environment.push((name("LD_PRELOAD"), source));
        })
    }),
    ("another variable of the pod", |_, request| match request {
        OwnedRequest::RunCommand(command) => match command.environment.first_mut() {
            Some((_, source)) => {
                let variable = name("OTHER");
                *source = EnvironmentSource::Pod { variable };
                true
            }
            None => false,
        },
        _ => false,
    }),
    ("another handle", |_, request| {
        secret_of(request, |source| *source = secret("other", "DB_PASSWORD"))
    }),
    ("another key of the Secret", |_, request| {
        secret_of(request, |source| *source = secret("root-password", "URL"))
    }),
    ("another Secret", |_, request| {
        secret_of(request, |source| {
            if let EnvironmentSource::Secret { object, .. } = source {
                *object = name("zync");
            }
        })
    }),
    ("free input", |_, request| {
        command(request, |command| command.stdin = Stdin::Free)
    }),
    ("another script", |_, request| {
        command(request, |command| {
            command.stdin = Stdin::Template {
                text: "DROP DATABASE system;".into(),
            }
        })
    }),
    ("another path", |_, request| match request {
        OwnedRequest::AccessFile(asked) => {
            asked.name = name("other");
            true
        }
        _ => false,
    }),
    ("the same path elsewhere", |_, request| match request {
        OwnedRequest::AccessFile(asked) => {
            asked.path = name("/etc/shadow");
            true
        }
        _ => false,
    }),
    ("removing it", |_, request| match request {
        OwnedRequest::AccessFile(asked) => {
            asked.operation = FileOperation::Remove;
            true
        }
        _ => false,
    }),
    ("renaming it elsewhere", |_, request| match request {
        OwnedRequest::AccessFile(asked) => {
            asked.operation = FileOperation::Rename {
                to: name("other"),
                to_path: name("/var/lib/redis/data/dump.rdb-old"),
            };
            true
        }
        _ => false,
    }),
    (
        "renaming it to another place of that name",
        |_, request| match request {
            OwnedRequest::AccessFile(asked) => {
                asked.operation = FileOperation::Rename {
                    to: name("old-dump"),
                    to_path: name("/etc/passwd"),
                };
                true
            }
            _ => false,
        },
    ),
    ("another object", |_, request| {
        of_object(request, |object| object.name = name("other"))
    }),
    ("another group", |_, request| {
        of_object(request, |object| object.group = name("other"))
    }),
    ("another kind of object", |_, request| {
        of_object(request, |object| object.kind.kind = "Pod".into())
    }),
    ("another version of the kind", |_, request| {
        of_object(request, |object| object.kind.api_version = "v2".into())
    }),
    ("another thing done with the object", |_, request| {
        of_object(request, |object| object.operation = ObjectOperation::Save)
    }),
    ("another rollout", |_, request| match request {
        OwnedRequest::Roll(asked) => {
            asked.target.workload.name = name("system-app");
            true
        }
        _ => false,
    }),
    (
        "another thing done with the rollout",
        |_, request| match request {
            OwnedRequest::Roll(asked) => {
                asked.operation = RolloutOperation::Replicas;
                true
            }
            _ => false,
        },
    ),
    ("another workload to set", |_, request| match request {
        OwnedRequest::Roll(asked) => {
            asked.target.workload.kind = WorkloadKind::StatefulSet;
            true
        }
        _ => false,
    }),
    ("another source of a parameter", |_, request| {
        of_template(request, |asked| {
            for parameter in asked.parameters.values_mut() {
                parameter.source = ParameterSource::Secret {
                    object: name("zync"),
                    key: name("SECRET_KEY_BASE"),
                };
            }
        })
    }),
    ("another part of a source", |_, request| {
        of_template(request, |asked| {
            for parameter in asked.parameters.values_mut() {
                parameter.part = ValuePart::UrlDatabase;
            }
        })
    }),
    ("a parameter more", |_, request| {
        of_template(request, |asked| {
            let known = asked.parameters.values().next().cloned().expect("one");
            asked.parameters.insert(name("MORE"), known);
        })
    }),
    ("a parameter less", |_, request| {
        of_template(request, |asked| drop(asked.parameters.pop_first()))
    }),
    ("a kind more", |_, request| {
        of_template(request, |asked| {
            asked.kinds.insert(ObjectKind {
                api_version: "rbac.authorization.k8s.io/v1".into(),
                kind: "RoleBinding".into(),
            });
        })
    }),
    ("another template of the manifest", |_, request| {
        of_template(request, |asked| asked.template = name("other"))
    }),
    ("another Template", |_, request| {
        of_template(request, |asked| asked.name = name("other"))
    }),
    ("another group of the Template", |_, request| {
        of_template(request, |asked| asked.group = name("other"))
    }),
    ("a Template elsewhere", |_, request| {
        of_template(request, |asked| asked.namespace = name("other"))
    }),
    ("another number of replicas", |_, request| {
        of_change(request, |change| match change {
            Change::Scale { replicas, .. } => {
                *replicas = 1;
                true
            }
            Change::EditObject { .. } => false,
        })
    }),
    ("another workload to scale", |_, request| {
        of_change(request, |change| match change {
            Change::Scale { workload, .. } => {
                workload.name = name("system-app");
                true
            }
            Change::EditObject { .. } => false,
        })
    }),
    ("another key", |_, request| {
        of_change(request, |change| match change {
            Change::EditObject { changes, .. } => {
                *changes = BTreeMap::from([(name("users.acl"), String::new())]);
                true
            }
            Change::Scale { .. } => false,
        })
    }),
    ("a key more", |_, request| {
        of_change(request, |change| match change {
            Change::EditObject { changes, .. } => {
                changes.insert(name("users.acl"), String::new());
                true
            }
            Change::Scale { .. } => false,
        })
    }),
    ("another ConfigMap to edit", |_, request| {
        of_change(request, |change| match change {
            Change::EditObject { name: object, .. } => {
                *object = name("system");
                true
            }
            Change::Scale { .. } => false,
        })
    }),
    (
        "the other thing done with an artifact",
        |_, request| match request {
            OwnedRequest::UseArtifact(asked) => {
                asked.operation = match asked.operation {
                    ArtifactOperation::Create => ArtifactOperation::Open,
                    ArtifactOperation::Open => ArtifactOperation::Create,
                };
                true
            }
            _ => false,
        },
    ),
];
