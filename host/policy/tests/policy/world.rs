//! A small 3scale, as values: what the tests ask for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cofferdam_policy::Policy;
use cofferdam_policy::grant::OwnedRequest;
use cofferdam_policy::request::*;

pub(crate) fn name<T: std::str::FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().expect("a good name")
}

pub(crate) fn digest() -> String {
    format!("sha256:{}", "a".repeat(64))
}

pub(crate) fn module(name_of_it: &str) -> Principal {
    Principal::Module(ModuleIdentity {
        name: name(name_of_it),
        version: "0.1.0".into(),
        digest: digest(),
        signer: None,
    })
}

pub(crate) fn scope(module_name: &str, data_set: &str, run: RunKind) -> Scope {
    Scope {
        principal: module(module_name),
        application: name("threescale"),
        namespace: name("3scale"),
        data_set: Some(name(data_set)),
        run,
    }
}

pub(crate) fn mysql(run: RunKind) -> Scope {
    scope("mysql", "system-database", run)
}

pub(crate) fn redis(run: RunKind) -> Scope {
    scope("redis", "backend-redis", run)
}

pub(crate) fn host() -> Scope {
    Scope {
        principal: Principal::Host,
        data_set: None,
        ..mysql(RunKind::Backup)
    }
}

pub(crate) fn target(workload: &str) -> Target {
    Target {
        role: name("server"),
        namespace: name("3scale"),
        workload: Workload {
            kind: WorkloadKind::Deployment,
            name: name(workload),
        },
        container: name(workload),
    }
}

pub(crate) fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

pub(crate) fn holes(holes: &[(&str, Value)]) -> BTreeMap<String, Value> {
    holes
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect()
}

/// `mysqldump` with the root password of the pod.
pub(crate) fn dump() -> RunCommand {
    RunCommand {
        target: target("system-mysql"),
        command: name("dump"),
        argv: words(&["mysqldump", "--single-transaction", "-uroot", "system"]),
        holes: holes(&[("database", Value::Identifier("system".into()))]),
        environment: vec![(
            name("MYSQL_PWD"),
            EnvironmentSource::Pod {
                variable: name("MYSQL_ROOT_PASSWORD"),
            },
        )],
        stdin: Stdin::None,
        timeout: Duration::from_secs(6 * 3600),
    }
}

/// `mysql` fed with an artifact, its password from a Secret.
pub(crate) fn load() -> RunCommand {
    RunCommand {
        command: name("load"),
        argv: words(&["mysql", "-uroot", "system"]),
        environment: vec![(name("MYSQL_PWD"), secret("root-password", "DB_PASSWORD"))],
        stdin: Stdin::Artifact,
        ..dump()
    }
}

pub(crate) fn secret(handle: &str, key: &str) -> EnvironmentSource {
    EnvironmentSource::Secret {
        handle: name(handle),
        object: name("system-database"),
        key: name(key),
    }
}

/// A script that the host fills.
pub(crate) fn script() -> RunCommand {
    RunCommand {
        command: name("count"),
        argv: words(&["mysql", "--batch"]),
        environment: vec![],
        stdin: Stdin::Template {
            text:
                "SELECT COUNT(*) FROM information_schema.tables\nWHERE table_schema = 'system';\n"
                    .into(),
        },
        ..dump()
    }
}

pub(crate) fn file(path: &str, operation: FileOperation) -> AccessFile {
    AccessFile {
        target: target("backend-redis"),
        name: name(path),
        path: name(&format!("/var/lib/redis/data/{path}")),
        operation,
    }
}

pub(crate) fn rename() -> AccessFile {
    let operation = FileOperation::Rename {
        to: name("old-dump"),
        to_path: name("/var/lib/redis/data/dump.rdb-old"),
    };
    file("dump", operation)
}

pub(crate) fn object(kind: &str, object: &str, operation: ObjectOperation) -> AccessObject {
    AccessObject {
        namespace: name("3scale"),
        group: name("configuration"),
        kind: ObjectKind {
            api_version: "v1".into(),
            kind: kind.into(),
        },
        name: name(object),
        operation,
    }
}

pub(crate) fn roll(operation: RolloutOperation) -> Roll {
    Roll {
        target: target("backend-redis"),
        operation,
    }
}

/// A template with two parameters, one from a Secret and one from a label.
pub(crate) fn template() -> ProcessTemplate {
    let filled = |source, part| TemplateParameter {
        source,
        part,
        optional: false,
    };
    let url = ParameterSource::Secret {
        object: name("system-database"),
        key: name("URL"),
    };
    let label = ParameterSource::Label {
        object: name("system-environment"),
        label: name("app"),
    };
    ProcessTemplate {
        namespace: name("3scale"),
        template: name("application"),
        group: name("template"),
        name: name("amp"),
        parameters: BTreeMap::from([
            (
                name("SYSTEM_DATABASE_ROOT_PASSWORD"),
                filled(url, ValuePart::UrlPassword),
            ),
            (name("APP_LABEL"), filled(label, ValuePart::Whole)),
        ]),
        kinds: BTreeSet::from([
            ObjectKind {
                api_version: "v1".into(),
                kind: "Secret".into(),
            },
            ObjectKind {
                api_version: "apps/v1".into(),
                kind: "Deployment".into(),
            },
        ]),
    }
}

pub(crate) fn scale(replicas: u32) -> Change {
    Change::Scale {
        namespace: name("3scale"),
        workload: target("backend-redis").workload,
        replicas,
    }
}

pub(crate) fn edit() -> Change {
    Change::EditObject {
        namespace: name("3scale"),
        group: name("configuration"),
        kind: ObjectKind {
            api_version: "v1".into(),
            kind: "ConfigMap".into(),
        },
        name: name("redis-config"),
        changes: BTreeMap::from([(name("redis.conf"), "appendonly no\nsave \"\"\n".into())]),
    }
}

pub(crate) fn artifact(operation: ArtifactOperation) -> UseArtifact {
    UseArtifact {
        artifact: name("dump.sql"),
        operation,
    }
}

pub(crate) fn policy(text: &str) -> Policy {
    Policy::parse(&[("site.cedar".into(), text.into())]).expect("a valid policy")
}

/// `ok` and the rules, or the denial.
pub(crate) fn ask(policy: &Policy, scope: &Scope, request: impl Into<OwnedRequest>) -> String {
    fn said<R: Request>(policy: &Policy, scope: &Scope, request: R) -> Result<String, String> {
        policy
            .permit(scope, request)
            .map(|permit| format!("ok: {}", permit.decision().rules.join(", ")))
            .map_err(|denied| denied.to_string())
    }
    let answer = match request.into() {
        OwnedRequest::ResolveTarget(request) => said(policy, scope, request),
        OwnedRequest::RunCommand(request) => said(policy, scope, request),
        OwnedRequest::AccessFile(request) => said(policy, scope, request),
        OwnedRequest::AccessObject(request) => said(policy, scope, request),
        OwnedRequest::ProcessTemplate(request) => said(policy, scope, request),
        OwnedRequest::Roll(request) => said(policy, scope, request),
        OwnedRequest::TakeLease(request) => said(policy, scope, request),
        OwnedRequest::PutBack(request) => said(policy, scope, request),
        OwnedRequest::UseArtifact(request) => said(policy, scope, request),
    };
    answer.unwrap_or_else(|denied| denied)
}
