//! Decisions: deny by default, `forbid` wins, errors deny, the base holds.

use cofferdam_policy::Policy;
use cofferdam_policy::grant::OwnedRequest;
use cofferdam_policy::request::*;

use crate::world::*;

const ALL: &str = "permit (principal, action, resource);";

fn check(text: &str, scope: &Scope, request: impl Into<OwnedRequest>, expected: &str) {
    assert_eq!(ask(&policy(text), scope, request), expected, "{text}");
}

#[test]
fn without_a_rule_everything_is_denied() {
    let empty = Policy::parse(&[]).expect("the base alone is a policy");
    let answers = [
        ask(&empty, &mysql(RunKind::Backup), dump()),
        ask(
            &empty,
            &redis(RunKind::Backup),
            object("ConfigMap", "redis-config", ObjectOperation::Get),
        ),
        ask(
            &empty,
            &redis(RunKind::Restore),
            TakeLease { change: scale(0) },
        ),
    ];
    assert_eq!(
        answers,
        [
            "policy does not allow `run-command` on command `dump` in deployment/system-mysql (container system-mysql): no rule permits it",
            "policy does not allow `get-object` on ConfigMap redis-config: no rule permits it",
            "policy does not allow `lease-scale` on deployment/backend-redis (to 0 replicas): no rule permits it",
        ]
    );
}

#[test]
fn the_rules_that_allowed_it_are_named() {
    let text = r#"
        @id("dumps") permit (principal == Module::"mysql", action == Action::"run-command",
            resource == Command::"threescale/system-database/dump");
        permit (principal == Module::"mysql", action in Action::"change",
            resource in DataSet::"threescale/system-database");
    "#;
    check(
        text,
        &mysql(RunKind::Backup),
        dump(),
        "ok: dumps, site.cedar:2",
    );
}

#[test]
fn a_forbid_wins_and_is_named() {
    let text = r#"
        permit (principal, action, resource);
        @id("no changes while verifying")
        forbid (principal, action in Action::"change", resource) when { context.run == "verify" };
    "#;
    check(
        text,
        &mysql(RunKind::Verify),
        load(),
        "policy does not allow `run-command` on command `load` in deployment/system-mysql (container system-mysql): rule `no changes while verifying` forbids it",
    );
    assert!(ask(&policy(text), &mysql(RunKind::Restore), load()).starts_with("ok"));
}

#[test]
fn a_forbid_that_cannot_be_evaluated_denies() {
    // Long arithmetic that overflows is the one error that validation lets through.
    let text = r#"
        permit (principal, action, resource);
        @id("overflows") forbid (principal, action == Action::"lease-scale", resource)
        when { context.replicas + 9223372036854775807 < 5 };
    "#;
    let answer = ask(
        &policy(text),
        &redis(RunKind::Restore),
        TakeLease { change: scale(3) },
    );
    assert!(
        answer.starts_with(
            "policy does not allow `lease-scale` on deployment/backend-redis (to 3 replicas): "
        ),
        "{answer}"
    );
    assert!(answer.contains("`overflows`"), "{answer}");
    assert!(answer.contains("overflow"), "{answer}");
    assert!(
        ask(
            &policy(text),
            &redis(RunKind::Restore),
            TakeLease { change: scale(0) }
        )
        .starts_with("ok")
    );
}

#[test]
fn a_secret_needs_its_own_permission() {
    let commands = r#"
        @id("commands") permit (principal, action == Action::"run-command", resource);
    "#;
    check(
        commands,
        &mysql(RunKind::Restore),
        load(),
        "policy does not allow `use-secret` on secret `root-password` (key DB_PASSWORD of Secret system-database) for command `load` in deployment/system-mysql (container system-mysql): no rule permits it",
    );
    let both = format!(
        r#"{commands}
        @id("password") permit (principal, action == Action::"use-secret",
            resource == Secret::"threescale/system-database/root-password")
        when {{ context.command == Command::"threescale/system-database/load" && context.variable == "MYSQL_PWD" }};
        "#
    );
    check(
        &both,
        &mysql(RunKind::Restore),
        load(),
        "ok: commands, password",
    );
    let mut two = load();
    two.environment
        .push((name("OTHER"), secret("other", "DB_USER")));
    let answer = ask(&policy(&both), &mysql(RunKind::Restore), two);
    assert!(
        answer.contains("`use-secret` on secret `other`"),
        "{answer}"
    );
}

#[test]
fn a_variable_that_is_set_twice_is_denied() {
    let mut twice = dump();
    twice.environment.push((
        name("MYSQL_PWD"),
        EnvironmentSource::Pod {
            variable: name("PATH"),
        },
    ));
    check(
        ALL,
        &mysql(RunKind::Backup),
        twice,
        "policy does not allow `run-command` on command `dump` in deployment/system-mysql (container system-mysql): `MYSQL_PWD` is set twice in its environment",
    );
}

#[test]
fn a_number_that_cedar_cannot_hold_is_denied() {
    let mut large = dump();
    large.holes.insert("limit".into(), Value::Bytes(u64::MAX));
    let answer = ask(&policy(ALL), &mysql(RunKind::Backup), large);
    assert!(
        answer.ends_with("the value of hole `limit` is larger than a policy can compare"),
        "{answer}"
    );
}

#[test]
fn one_name_for_two_places_is_denied() {
    let to_itself = FileOperation::Rename {
        to: name("dump"),
        to_path: name("/etc/passwd"),
    };
    let answer = ask(
        &policy(ALL),
        &redis(RunKind::Restore),
        file("dump", to_itself),
    );
    assert!(answer.contains("it names two different things"), "{answer}");
}

#[test]
fn no_rule_of_a_site_leads_out_of_the_namespace() {
    let mut neighbour = dump();
    neighbour.target.namespace = name("till");
    let answer = ask(&policy(ALL), &mysql(RunKind::Backup), neighbour);
    assert!(
        answer.ends_with("rule `host:own-namespace` forbids it"),
        "{answer}"
    );

    let mut object = object("ConfigMap", "redis-config", ObjectOperation::Get);
    object.namespace = name("till");
    for scope in [redis(RunKind::Backup), host()] {
        let answer = ask(&policy(ALL), &scope, object.clone());
        assert!(
            answer.ends_with("rule `host:own-namespace` forbids it"),
            "{answer}"
        );
    }
}

#[test]
fn no_rule_of_a_site_brings_a_secret_into_a_module() {
    for operation in [ObjectOperation::Get, ObjectOperation::Apply] {
        let answer = ask(
            &policy(ALL),
            &redis(RunKind::Restore),
            object("Secret", "zync", operation),
        );
        assert!(
            answer.ends_with("rule `host:secrets-pass-by` forbids it"),
            "{answer}"
        );
    }
    let mut change = edit();
    if let Change::EditObject { kind, .. } = &mut change {
        kind.kind = "Secret".into();
    }
    let answer = ask(&policy(ALL), &redis(RunKind::Restore), TakeLease { change });
    assert!(
        answer.ends_with("rule `host:secrets-pass-by` forbids it"),
        "{answer}"
    );
    for operation in [ObjectOperation::Save, ObjectOperation::Load] {
        let answer = ask(
            &policy(ALL),
            &redis(RunKind::Restore),
            object("Secret", "zync", operation),
        );
        assert!(answer.starts_with("ok"), "{answer}");
    }
}

#[test]
fn the_host_looks_and_puts_back_and_nothing_else() {
    let base = Policy::parse(&[]).expect("the base alone is a policy");
    let looks = ResolveTarget {
        target: target("system-mysql"),
    };
    assert_eq!(ask(&base, &host(), looks), "ok: host:pre-flight");
    assert_eq!(
        ask(&base, &host(), roll(RolloutOperation::Replicas)),
        "ok: host:pre-flight"
    );
    for change in [scale(0), edit()] {
        let lease = ask(
            &base,
            &host(),
            TakeLease {
                change: change.clone(),
            },
        );
        assert!(lease.ends_with("no rule permits it"), "{lease}");
        assert_eq!(ask(&base, &host(), PutBack { change }), "ok: host:put-back");
    }
    let answer = ask(&base, &host(), dump());
    assert!(answer.ends_with("no rule permits it"), "{answer}");
}

#[test]
fn a_site_can_forbid_pre_flight_but_not_putting_back() {
    let text = r#"@id("nothing") forbid (principal, action, resource);"#;
    for scope in [
        host(),
        Scope {
            data_set: Some(name("backend-redis")),
            ..host()
        },
    ] {
        for change in [scale(1), edit()] {
            check(text, &scope, PutBack { change }, "ok: host:put-back");
        }
    }
    let looks = ResolveTarget {
        target: target("system-mysql"),
    };
    check(
        text,
        &host(),
        looks,
        "policy does not allow `resolve-target` on target `server`: deployment/system-mysql (container system-mysql): rule `nothing` forbids it",
    );
}

#[test]
fn a_module_cannot_put_back() {
    let answer = ask(
        &policy(ALL),
        &redis(RunKind::Restore),
        PutBack { change: scale(1) },
    );
    assert!(
        answer.starts_with("policy does not allow `put-back` on deployment/backend-redis"),
        "{answer}"
    );
}

#[test]
fn every_request_can_be_put_to_the_schema() {
    let everything = policy(ALL);
    let module = Scope {
        data_set: None,
        ..redis(RunKind::Restore)
    };
    let signed = Scope {
        principal: Principal::Module(ModuleIdentity {
            name: name("redis"),
            version: "0.1.0".into(),
            digest: digest(),
            signer: Some("stock".into()),
        }),
        ..redis(RunKind::Restore)
    };
    for scope in [redis(RunKind::Restore), module, signed, host()] {
        for request in every_request() {
            let answer = ask(&everything, &scope, request.clone());
            assert!(answer.starts_with("ok: "), "{answer}: {request:?}");
        }
    }
}

fn every_request() -> Vec<OwnedRequest> {
    let mut requests: Vec<OwnedRequest> = vec![
        ResolveTarget {
            target: target("system-mysql"),
        }
        .into(),
        dump().into(),
        load().into(),
        script().into(),
        rename().into(),
        TakeLease { change: scale(0) }.into(),
        TakeLease { change: edit() }.into(),
        artifact(ArtifactOperation::Create).into(),
        artifact(ArtifactOperation::Open).into(),
    ];
    let mut holes = dump();
    for value in [
        Value::Integer(-3),
        Value::Choice("fast".into()),
        Value::Path(name("/a/b")),
        Value::Text("it's \"text\"\n".into()),
        Value::Duration(std::time::Duration::from_millis(1500)),
        Value::Bytes(4096),
    ] {
        holes.holes.insert(value.kind().as_str().to_owned(), value);
    }
    requests.push(holes.into());
    for operation in [
        FileOperation::Stat,
        FileOperation::Read,
        FileOperation::Write,
        FileOperation::Remove,
        FileOperation::SaveTree,
        FileOperation::LoadTree,
    ] {
        requests.push(file("dump", operation).into());
    }
    for operation in [
        ObjectOperation::Get,
        ObjectOperation::Save,
        ObjectOperation::Load,
        ObjectOperation::Apply,
        ObjectOperation::Wait,
    ] {
        requests.push(object("ConfigMap", "redis-config", operation).into());
    }
    for operation in [
        RolloutOperation::Restart,
        RolloutOperation::Wait,
        RolloutOperation::Replicas,
        RolloutOperation::SetReplicas { replicas: 3 },
        RolloutOperation::Guard,
    ] {
        requests.push(roll(operation).into());
    }
    requests.push(template().into());
    requests
}

#[test]
fn conditions_reach_every_part_of_a_command() {
    let conditions = [
        (r#"context.run == "backup""#, true),
        (r#"context.run == "restore""#, false),
        (r#"context.namespace == "3scale""#, true),
        (r#"context.commandLine like "mysqldump *""#, true),
        (
            r#"context.words.hasTag("3") && context.words.getTag("3") == "system""#,
            true,
        ),
        (r#"context.wordCount == 4"#, true),
        (
            r#"context.holes.hasTag("database") && context.holes.getTag("database").text == "system""#,
            true,
        ),
        (
            r#"context.holes.hasTag("jobs") && context.holes.getTag("jobs") has number && context.holes.getTag("jobs").number <= 4"#,
            true,
        ),
        (
            r#"context.holes.hasTag("jobs") && context.holes.getTag("jobs") has number && context.holes.getTag("jobs").number > 4"#,
            false,
        ),
        (
            r#"context.holeNames.containsAll(["database", "jobs"])"#,
            true,
        ),
        (
            r#"context.environment == ["MYSQL_PWD=pod:MYSQL_ROOT_PASSWORD"]"#,
            true,
        ),
        (r#"context.stdin == "none" && !(context has script)"#, true),
        (r#"context.timeoutSeconds <= 21600"#, true),
        (
            r#"resource in Target::"threescale/system-database/server""#,
            true,
        ),
        (r#"resource in Application::"threescale""#, true),
        (r#"resource in Application::"other""#, false),
        (r#"principal.digest == "sha256:0""#, false),
        (r#"principal has signer"#, false),
    ];
    let mut asked = dump();
    asked.holes.insert("jobs".into(), Value::Integer(4));
    for (condition, holds) in conditions {
        let text = format!(
            r#"permit (principal is Module, action == Action::"run-command", resource) when {{ {condition} }};"#
        );
        let answer = ask(&policy(&text), &mysql(RunKind::Backup), asked.clone());
        assert_eq!(answer.starts_with("ok"), holds, "{condition}: {answer}");
    }
}

#[test]
fn conditions_reach_every_part_of_a_template() {
    let conditions = [
        (r#"context.template == "application""#, true),
        (
            r#"resource.kind == "Template" && resource.name == "amp""#,
            true,
        ),
        (
            r#"context.sources.contains("SYSTEM_DATABASE_ROOT_PASSWORD=Secret/system-database/URL#password")"#,
            true,
        ),
        (
            r#"context.sources.contains("APP_LABEL=ConfigMap/system-environment@app")"#,
            true,
        ),
        (
            r#"context.kinds == ["v1/Secret", "apps/v1/Deployment"]"#,
            true,
        ),
        (
            r#"context.kinds.contains("rbac.authorization.k8s.io/v1/RoleBinding")"#,
            false,
        ),
    ];
    for (condition, holds) in conditions {
        let text = format!(
            r#"permit (principal is Module, action == Action::"process-template", resource) when {{ {condition} }};"#
        );
        let answer = ask(&policy(&text), &redis(RunKind::Restore), template());
        assert_eq!(answer.starts_with("ok"), holds, "{condition}: {answer}");
    }
}

#[test]
fn the_number_of_replicas_that_is_set_for_good_can_be_bounded() {
    let bounded = policy(
        r#"permit (principal is Module, action == Action::"set-replicas", resource) when { context.replicas <= 4 };"#,
    );
    for (replicas, holds) in [(4, true), (5, false)] {
        let request = roll(RolloutOperation::SetReplicas { replicas });
        let answer = ask(&bounded, &redis(RunKind::Restore), request);
        assert_eq!(answer.starts_with("ok"), holds, "{answer}");
    }
}

#[test]
fn a_denial_keeps_what_a_terminal_would_obey_out() {
    let mut bad = object("Config\u{1b}[2JMap", "redis-config", ObjectOperation::Get);
    bad.kind.api_version = "v1".into();
    check(
        "",
        &redis(RunKind::Backup),
        bad,
        "policy does not allow `get-object` on Config\\u{1b}[2JMap redis-config: no rule permits it",
    );
}

#[test]
fn a_caller_with_little_stack_left_gets_the_same_decision() {
    // A guest's call stands on a fiber whose stack is unknown to Cedar; a small thread is alike.
    let decide = || {
        let policy = policy("@id(\"all\") permit (principal, action, resource);");
        stacker::grow(64 * 1024, || ask(&policy, &mysql(RunKind::Backup), dump()))
    };
    assert_eq!(
        decide(),
        ask(
            &policy("@id(\"all\") permit (principal, action, resource);"),
            &mysql(RunKind::Backup),
            dump()
        )
    );
}
