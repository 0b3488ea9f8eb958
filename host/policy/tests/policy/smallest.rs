//! The policy writer: what is wished is allowed, every neighbour of it is denied.

use std::collections::BTreeMap;

use cofferdam_policy::grant::{Grant, OwnedRequest, ValueKind, Wish};
use cofferdam_policy::request::*;
use cofferdam_policy::{Pin, Policy, smallest_policy};

use crate::neighbours::{NEIGHBOURS, identity};
use crate::world::*;

/// What the modules of a small application wish for.
fn wishes() -> Vec<Grant> {
    let backup = mysql(RunKind::Backup);
    let restore = mysql(RunKind::Restore);
    let mut grants = vec![
        Grant::request(
            &backup,
            ResolveTarget {
                target: target("system-mysql"),
            },
        ),
        Grant::request(
            &restore,
            ResolveTarget {
                target: target("system-mysql"),
            },
        ),
        Grant::request(&backup, dump()),
        Grant::request(&restore, load()),
        Grant::request(&restore, script()),
        Grant {
            scope: backup.clone(),
            wish: open_command(),
        },
        Grant::request(&backup, artifact(ArtifactOperation::Create)),
        Grant {
            scope: restore.clone(),
            wish: Wish::AnyArtifact(ArtifactOperation::Open),
        },
    ];
    let redis = redis(RunKind::Restore);
    for operation in [
        FileOperation::Stat,
        FileOperation::Read,
        FileOperation::Write,
    ] {
        grants.push(Grant::request(&redis, file("dump", operation)));
    }
    grants.push(Grant::request(&redis, rename()));
    for operation in [ObjectOperation::Get, ObjectOperation::Wait] {
        grants.push(Grant::request(
            &redis,
            object("ConfigMap", "redis-config", operation),
        ));
    }
    grants.push(Grant::request(
        &redis,
        object("Secret", "zync", ObjectOperation::Load),
    ));
    grants.push(Grant::request(&redis, roll(RolloutOperation::Restart)));
    grants.push(Grant::request(&redis, roll(RolloutOperation::Wait)));
    let replicas = RolloutOperation::SetReplicas { replicas: 3 };
    grants.push(Grant::request(&redis, roll(replicas)));
    grants.push(Grant::request(&redis, template()));
    grants.push(Grant::request(&redis, TakeLease { change: scale(0) }));
    grants.push(Grant::request(&redis, TakeLease { change: edit() }));
    grants
}

/// A command whose table and limit the module chooses as it goes.
fn open_command() -> Wish {
    let mut command = dump();
    command.command = name("checksum");
    command.argv = words(&[
        "mysql",
        "--execute=CHECKSUM TABLE {table} * 1",
        "{limit}",
        "system",
    ]);
    command.stdin = Stdin::Template {
        text: "\\u {table}\n".into(),
    };
    Wish::OpenCommand {
        command,
        open_holes: BTreeMap::from([
            ("table".into(), ValueKind::Identifier),
            ("limit".into(), ValueKind::Integer),
        ]),
    }
}

#[test]
fn every_wish_is_allowed_under_every_pin() {
    for pin in [Pin::Name, Pin::Version, Pin::Digest] {
        let text = smallest_policy(&wishes(), pin);
        let policy = policy(&text);
        for grant in wishes() {
            let answer = ask(&policy, &grant.scope, grant.sample());
            assert!(answer.starts_with("ok: threescale/"), "{answer}\n{text}");
        }
        let inspection = policy.inspect(&wishes());
        assert_eq!(inspection.allowed, wishes().len());
    }
}

#[test]
fn the_written_file_has_no_findings_but_the_pair_it_was_asked_for() {
    let findings = policy(&smallest_policy(&wishes(), Pin::Digest)).findings();
    assert_eq!(findings, [], "redis writes files and runs nothing");
}

#[test]
fn every_neighbour_of_a_wish_is_denied() {
    let text = smallest_policy(&wishes(), Pin::Digest);
    let policy = policy(&text);
    let mut tried = BTreeMap::new();
    for grant in wishes() {
        for (what, change) in NEIGHBOURS {
            let (mut scope, mut request) = (grant.scope.clone(), grant.sample());
            let before = (scope.clone(), request.clone());
            if !change(&mut scope, &mut request) || before == (scope.clone(), request.clone()) {
                continue;
            }
            // What was wished beside this very grant is no neighbour.
            if grants_it(&scope, &request) {
                continue;
            }
            *tried.entry(*what).or_insert(0) += 1;
            let answer = ask(&policy, &scope, request.clone());
            assert!(
                !answer.starts_with("ok"),
                "{what}: {answer}\n{request:?}\n{text}"
            );
        }
    }
    let untried: Vec<&str> = NEIGHBOURS
        .iter()
        .map(|(what, _)| *what)
        .filter(|what| !tried.contains_key(what))
        .collect();
    assert!(
        untried.is_empty(),
        "no wish has such a neighbour: {untried:?}"
    );
}

/// Whether a neighbour is a wish itself. Only these two can be.
fn grants_it(scope: &Scope, request: &OwnedRequest) -> bool {
    wishes()
        .iter()
        .any(|grant| grant.scope == *scope && grant.sample() == *request)
}

#[test]
fn open_holes_take_their_type_and_nothing_else() {
    let grants = [Grant {
        scope: mysql(RunKind::Backup),
        wish: open_command(),
    }];
    let policy = policy(&smallest_policy(&grants, Pin::Name));
    let filled = |table: Value, word: &str, limit: &str| {
        let OwnedRequest::RunCommand(mut command) = grants[0].sample() else {
            panic!("a command");
        };
        command.argv[1] = format!("--execute=CHECKSUM TABLE {word} * 1");
        command.argv[2] = limit.to_owned();
        command.stdin = Stdin::Template {
            text: format!("\\u {word}\n"),
        };
        command.holes.insert("table".into(), table);
        command.holes.insert("limit".into(), Value::Integer(7));
        ask(&policy, &mysql(RunKind::Backup), command).starts_with("ok")
    };
    let users = || Value::Identifier("users".into());
    assert!(filled(users(), "users", "7"));
    assert!(
        !filled(Value::Text("users".into()), "users", "7"),
        "another type"
    );
    assert!(
        !filled(users(), "users", "8"),
        "a word that its hole does not hold"
    );
}

#[test]
fn other_versions_pass_only_where_the_pin_lets_them() {
    let grants = [Grant::request(&mysql(RunKind::Backup), dump())];
    let mut upgraded = mysql(RunKind::Backup);
    identity(&mut upgraded, |module| {
        module.version = "0.2.0".into();
        module.digest = format!("sha256:{}", "c".repeat(64));
    });
    let mut rebuilt = mysql(RunKind::Backup);
    identity(&mut rebuilt, |module| {
        module.digest = format!("sha256:{}", "c".repeat(64));
    });
    let expected = [
        (Pin::Name, true, true),
        (Pin::Version, false, true),
        (Pin::Digest, false, false),
    ];
    for (pin, upgrade_passes, rebuild_passes) in expected {
        let policy = policy(&smallest_policy(&grants, pin));
        assert_eq!(
            ask(&policy, &upgraded, dump()).starts_with("ok"),
            upgrade_passes,
            "{pin:?}"
        );
        assert_eq!(
            ask(&policy, &rebuilt, dump()).starts_with("ok"),
            rebuild_passes,
            "{pin:?}"
        );
        let mut other_line = dump();
        other_line.argv.push("--all-databases".into());
        assert!(
            !ask(&policy, &upgraded, other_line).starts_with("ok"),
            "{pin:?}"
        );
    }
}

#[test]
fn an_edit_lease_on_fewer_keys_is_part_of_the_wish() {
    let with = |keys: &[&str]| {
        let mut change = edit();
        if let Change::EditObject { changes, .. } = &mut change {
            *changes = keys
                .iter()
                .map(|key| (name(key), "any value".to_owned()))
                .collect();
        }
        TakeLease { change }
    };
    let scope = redis(RunKind::Restore);
    let wish = Grant::request(&scope, with(&["redis.conf", "users.acl"]));
    let policy = policy(&smallest_policy(&[wish], Pin::Digest));
    assert!(ask(&policy, &scope, with(&["redis.conf"])).starts_with("ok"));
    assert!(ask(&policy, &scope, with(&["users.acl", "redis.conf"])).starts_with("ok"));
    assert!(!ask(&policy, &scope, with(&["redis.conf", "tls.crt"])).starts_with("ok"));
}

#[test]
fn a_signer_is_pinned_where_there_is_one() {
    let mut signed = mysql(RunKind::Backup);
    identity(&mut signed, |module| module.signer = Some("stock".into()));
    let policy = policy(&smallest_policy(
        &[Grant::request(&signed, dump())],
        Pin::Name,
    ));
    assert!(ask(&policy, &signed, dump()).starts_with("ok"));
    assert!(
        !ask(&policy, &mysql(RunKind::Backup), dump()).starts_with("ok"),
        "unsigned"
    );
}

#[test]
fn words_of_a_manifest_cannot_write_policy() {
    let mut evil = dump();
    evil.argv = words(&[
        "a\n}; permit (principal, action, resource);\n//",
        "\" || true || \"",
        "*",
        "\u{202e}\u{2028}",
    ]);
    evil.stdin = Stdin::Template {
        text: "x\r}; permit (principal, action, resource); //".into(),
    };
    evil.holes
        .insert("q\") || true || (\"\n".into(), Value::Text("\"\\*".into()));
    let scope = mysql(RunKind::Backup);
    let open = Wish::OpenCommand {
        command: evil.clone(),
        open_holes: BTreeMap::from([("o\n\"*".into(), ValueKind::Text)]),
    };
    let grants = [
        Grant::request(&scope, evil.clone()),
        Grant {
            scope: scope.clone(),
            wish: open,
        },
    ];
    let text = smallest_policy(&grants, Pin::Digest);
    let policy = policy(&text);
    assert_eq!(text.matches("\npermit (").count(), 2, "{text}");
    for grant in &grants {
        let answer = ask(&policy, &grant.scope, grant.sample());
        assert!(answer.starts_with("ok"), "{answer}\n{text}");
    }
    let answer = ask(&policy, &scope, dump());
    assert!(answer.ends_with("no rule permits it"), "{answer}");
    let comments = text.lines().filter(|line| line.starts_with("//"));
    for line in comments {
        assert!(line.is_ascii(), "{line:?}");
    }
}

#[test]
fn the_file_reads_like_one_that_people_write() {
    let backup = mysql(RunKind::Backup);
    let mut grants = vec![
        Grant::request(&backup, dump()),
        Grant::request(&mysql(RunKind::Verify), dump()),
        Grant::request(&mysql(RunKind::Restore), load()),
    ];
    for operation in [FileOperation::Stat, FileOperation::Read] {
        grants.push(Grant::request(
            &redis(RunKind::Backup),
            file("dump", operation),
        ));
    }
    let expected = include_str!("smallest.cedar");
    let written = smallest_policy(&grants, Pin::Version);
    assert_eq!(written, expected, "\n{written}");
}

#[test]
fn what_the_base_decides_is_not_written() {
    let grants = [Grant::request(&host(), PutBack { change: scale(1) })];
    let text = smallest_policy(&grants, Pin::Digest);
    assert!(!text.contains("permit ("), "{text}");
    assert!(Policy::parse(&[("empty.cedar".into(), text)]).is_ok());
}
