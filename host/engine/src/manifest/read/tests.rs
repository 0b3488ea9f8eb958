//! What a manifest may say, and how it is told what is wrong.

use super::*;
use crate::manifest::{DeclaredStdin, DeclaredStdout, ObjectVerb};

const GOOD: &str = r#"
[module]
name = "mysql"
version = "0.1.0"
summary = "MySQL and MariaDB by logical dump"
[targets.server]
summary = "the database server"
[parameters.database]
type = "identifier"
default = "system"
summary = "the database"
[secrets.root-password]
summary = "of root"
[commands.dump]
target = "server"
argv = ["mysqldump", "--single-transaction", "--user={user}", "{database}"]
environment = { MYSQL_PWD = { pod = "MYSQL_ROOT_PASSWORD" }, OTHER = { secret = "root-password" } }
stdin = "none"
stdout = "stream"
timeout = "6h"
holes.user = { type = "identifier" }
[commands.count]
target = "server"
argv = ["mysql", "-N"]
stdin = "template"
script = "select count(*) from {database}.t"
stdout = "capture(64KiB)"
timeout = "60s"
[paths.data]
target = "server"
path = "/var/lib/mysql/data"
access = "read"
[objects.configuration]
kind = "ConfigMap"
names = ["redis-config"]
verbs = ["get", "lease"]
keys = ["redis.conf"]
[rollouts]
server = ["restart", "wait"]
"#;

#[test]
fn the_manifest_of_the_contract_is_read() {
    let manifest = manifest(GOOD).expect("good");
    let dump =
        &manifest.commands[&name::<cofferdam_policy::name::CommandName>("", "dump").expect("name")];
    assert_eq!(
        dump.line(),
        "mysqldump --single-transaction --user={user} {database}"
    );
    assert_eq!(
        dump.environment_line(),
        [
            "MYSQL_PWD=pod:MYSQL_ROOT_PASSWORD",
            "OTHER=secret:root-password"
        ]
    );
    let count = &manifest.commands
        [&name::<cofferdam_policy::name::CommandName>("", "count").expect("name")];
    assert_eq!(count.stdout, DeclaredStdout::Capture(65536));
    assert!(matches!(count.stdin, DeclaredStdin::Template(_)));
    assert!(
        manifest
            .objects
            .values()
            .all(|group| group.verbs.contains(&ObjectVerb::Lease))
    );
    let actions: Vec<_> = manifest
        .capabilities()
        .into_iter()
        .map(|c| format!("{} {}", c.action, c.name))
        .collect();
    assert_eq!(
        actions,
        [
            "resolve-target server",
            "run-command count",
            "run-command dump",
            "use-secret root-password",
            "stat-file data",
            "read-file data",
            "get-object configuration",
            "lease-edit configuration",
            "restart server",
            "wait-rollout server",
        ]
    );
}

/// Replaces `from` by `to` in the good manifest; the error must begin with `expected`.
#[track_caller]
fn check(from: &str, to: &str, expected: &str) {
    assert!(GOOD.contains(from), "`{from}` is not in the good manifest");
    let error = manifest(&GOOD.replacen(from, to, 1))
        .map(|_| ())
        .expect_err("the manifest was accepted")
        .to_string();
    assert!(
        error.starts_with(expected),
        "got: {error}\nwanted: {expected}"
    );
}

#[test]
fn an_unknown_key_is_refused_with_its_place() {
    check(
        "stdin = \"none\"",
        "stdin = \"none\"\nsandbox = true",
        "`commands.dump.sandbox` in the manifest: unknown field `sandbox`",
    );
    check(
        "[rollouts]",
        "[rights]\n[rollouts]",
        "`rights` in the manifest: unknown field `rights`",
    );
    check("[module]", "[module", "the manifest is no TOML: line 2");
    check(
        "timeout = \"6h\"",
        "timeout = 6",
        "`commands.dump.timeout` in the manifest: invalid type: integer `6`",
    );
    check(
        "timeout = \"6h\"\n",
        "",
        "`commands.dump` in the manifest: missing field `timeout`",
    );
}

#[test]
fn a_hole_never_becomes_an_option_or_a_program() {
    check(
        "\"mysqldump\",",
        "\"{database}\",",
        "`commands.dump.argv` in the manifest: the first word names the program",
    );
    check(
        "--user={user}",
        "--{user}",
        "`commands.dump.argv` in the manifest: `--{user}`: a hole after nothing but dashes",
    );
    check(
        "\"mysqldump\", \"--single-transaction\",",
        "\"/bin/sh\", \"-ec\", \"echo {database}\",",
        "`commands.dump.argv` in the manifest: a hole in a script of `sh` would be a program",
    );
    check(
        "type = \"identifier\"\ndefault",
        "type = \"text\"\ndefault",
        "`commands.count.script` in the manifest: `{database}`: text and paths",
    );
}

#[test]
fn a_hole_without_a_type_is_refused() {
    check(
        "\"{database}\"]",
        "\"{databases}\"]",
        "`commands.dump` in the manifest: `{databases}` is neither",
    );
    check(
        "--user={user}",
        "--user=root",
        "`commands.dump.holes.user` in the manifest: is used nowhere",
    );
    check(
        "holes.user",
        "holes.database = { type = \"text\" }\nholes.user",
        "`commands.dump.holes.database` in the manifest: is a parameter too",
    );
}

#[test]
fn the_contents_of_a_secret_never_reach_a_module() {
    check(
        "kind = \"ConfigMap\"",
        "kind = \"Secret\"",
        "`objects.configuration.verbs` in the manifest: `get` is not for Secrets",
    );
    check(
        "kind = \"ConfigMap\"",
        "kind = \"Service\"",
        "`objects.configuration.verbs` in the manifest: `lease` is for ConfigMaps only",
    );
}

#[test]
fn what_is_referred_to_exists() {
    check(
        "target = \"server\"\nargv = [\"mysql\"",
        "target = \"client\"\nargv = [\"mysql\"",
        "`commands.count.target` in the manifest: `targets` has no `client`",
    );
    check(
        "secret = \"root-password\"",
        "secret = \"password\"",
        "`commands.dump.environment.OTHER` in the manifest: `secrets` has no `password`",
    );
    check(
        "names = [\"redis-config\"]",
        "names = [\"{redis}\"]",
        "`objects.configuration.names` in the manifest: `{redis}` is no parameter",
    );
    check(
        "path = \"/var/lib/mysql/data\"",
        "path = \"/var/../etc\"",
        "`paths.data.path` in the manifest: ",
    );
}

#[test]
fn numbers_are_bounded() {
    check(
        "capture(64KiB)",
        "capture(64MiB)",
        "`commands.count.stdout` in the manifest: captures 67108864 bytes",
    );
    check(
        "timeout = \"6h\"",
        "timeout = \"9d\"",
        "`commands.dump.timeout` in the manifest: `9d`: use `1s` to `7d`",
    );
    let long = format!("{GOOD}\n#{}", "x".repeat(limits::MANIFEST_BYTES));
    assert_eq!(
        manifest(&long).map(|_| ()),
        Err(ManifestError::TooLong {
            limit: limits::MANIFEST_BYTES
        })
    );
}

#[test]
fn words_stand_alone_and_never_reach_a_shell_or_a_path() {
    let with = |parameter: &str, argv: &str| {
        let text = GOOD
            .replace("[secrets.root", &format!("{parameter}\n[secrets.root"))
            .replace(r#"argv = ["mysql", "-N"]"#, &format!("argv = {argv}"));
        manifest(&text).map(drop).map_err(|error| error.to_string())
    };
    let tls = "[parameters.tls]\ntype = \"words\"\nwords = { off = [], on = [\"--tls\"] }\ndefault = \"off\"";
    assert_eq!(with(tls, r#"["mysql", "{tls}"]"#), Ok(()));
    for (parameter, argv, words) in [
        (tls, r#"["mysql", "--x={tls}"]"#, "whole words"),
        (tls, r#"["{tls}", "x"]"#, "names the program"),
        (tls, r#"["sh", "{tls}", "x"]"#, "an option of a shell"),
        (
            "[parameters.tls]\ntype = \"words\"",
            r#"["mysql"]"#,
            "`parameters.tls.words` in the manifest: is missing",
        ),
        (
            "[parameters.tls]\ntype = \"words\"\nwords = { on = [\"{nobody}\"] }",
            r#"["mysql"]"#,
            "`{nobody}` is no parameter",
        ),
        (
            "[parameters.tls]\ntype = \"words\"\nwords = { on = [\"--{database}\"] }",
            r#"["mysql"]"#,
            "would name an option",
        ),
        (
            "[parameters.tls]\ntype = \"text\"\nwords = { on = [] }",
            r#"["mysql"]"#,
            "for the type `words` only",
        ),
    ] {
        let refused = with(parameter, argv).expect_err(words);
        assert!(refused.contains(words), "{refused}");
    }
    let in_a_script = GOOD
        .replace("[secrets.root", &format!("{tls}\n[secrets.root"))
        .replace("{database}.t", "{tls}");
    let refused = manifest(&in_a_script).expect_err("in a script").to_string();
    assert!(refused.contains("whole words"), "{refused}");
    let hole = GOOD.replace(
        r#"{ type = "identifier" }"#,
        r#"{ type = "words", words = { on = [] } }"#,
    );
    assert!(manifest(&hole).is_err(), "the module must not choose");
}

#[test]
fn a_secret_is_needed_unless_the_manifest_says_that_it_may_be_left_out() {
    let needed = manifest(GOOD).expect("good");
    assert!(needed.optional_secrets.is_empty());
    let text = GOOD.replace(
        "summary = \"of root\"",
        "summary = \"of root\"\noptional = true",
    );
    let manifest = manifest(&text).expect("good");
    let handles: Vec<&str> = manifest
        .optional_secrets
        .iter()
        .map(SecretHandle::as_str)
        .collect();
    assert_eq!(handles, ["root-password"]);
}

#[test]
fn a_role_is_needed_unless_the_manifest_says_that_it_may_be_left_out() {
    assert!(manifest(GOOD).expect("good").optional_targets.is_empty());
    let text = GOOD.replace(
        "[parameters.database]",
        "[targets.writer]\nsummary = \"who writes\"\noptional = true\n[parameters.database]",
    );
    let manifest = manifest(&text).expect("good");
    let roles: Vec<&str> = manifest
        .optional_targets
        .iter()
        .map(RoleName::as_str)
        .collect();
    assert_eq!(roles, ["writer"]);
    assert_eq!(manifest.targets.len(), 2);
}

#[test]
fn a_variable_of_the_pod_stands_in_for_an_optional_secret_only() {
    let both = GOOD.replace(
        "{ secret = \"root-password\" }",
        "{ secret = \"root-password\", pod = \"ROOT\" }",
    );
    let refused = manifest(&both).expect_err("always bound").to_string();
    assert!(
        refused.contains("`root-password` is always bound"),
        "{refused}"
    );
    let optional = both.replace(
        "summary = \"of root\"",
        "summary = \"of root\"\noptional = true",
    );
    let manifest = manifest(&optional).expect("good");
    let dump =
        &manifest.commands[&name::<cofferdam_policy::name::CommandName>("", "dump").expect("name")];
    assert!(
        dump.environment_line()
            .contains(&"OTHER=secret:root-password else pod:ROOT".to_owned())
    );
    for wrong in [
        "{ }",
        "{ secret = 1 }",
        "{ pod = \"A\", other = \"B\" }",
        "\"A\"",
    ] {
        let text = GOOD.replace("{ secret = \"root-password\" }", wrong);
        assert!(super::manifest(&text).is_err(), "{wrong}");
    }
}

/// The good manifest and a template of a group of Templates.
fn with_template(template: &str) -> String {
    format!(
        "{GOOD}\n[objects.template]\nkind = \"Template\"\napi-version = \"template.openshift.io/v1\"\nnames = [\"amp\"]\nverbs = [\"save\"]\n[templates.application]\n{template}"
    )
}

#[test]
fn a_template_names_the_source_of_each_parameter_and_the_kinds_that_come_of_it() {
    let text = with_template(
        r#"
group = "template"
kinds = ["v1/Secret", "apps/v1/Deployment"]
[templates.application.parameters]
APP_LABEL = { config-map = "system-environment", label = "app" }
DOMAIN = { config-map = "system-environment", key = "DOMAIN" }
PASSWORD = { secret = "system-database", key = "URL", part = "url-password", optional = true }
"#,
    );
    let read = manifest(&text).expect("good");
    let capability = read.capabilities().into_iter();
    let process = capability
        .filter(|one| one.action == "process-template")
        .map(|one| (one.text, one.warning))
        .collect::<Vec<_>>();
    let line = "Template of group template, filled with APP_LABEL=ConfigMap/system-environment@app DOMAIN=ConfigMap/system-environment/DOMAIN PASSWORD=Secret/system-database/URL#password, making apps/v1/Deployment v1/Secret";
    assert_eq!(process, [(line.to_owned(), None)]);
    let rights = text.replace("v1/Secret", "rbac.authorization.k8s.io/v1/Role");
    let read = manifest(&rights).expect("good");
    let warned = read.capabilities().into_iter();
    assert_eq!(warned.filter(|one| one.warning.is_some()).count(), 1);
}

#[test]
fn a_template_that_can_mean_two_things_is_refused() {
    let good = "group = \"template\"\nkinds = [\"v1/Secret\"]\nparameters.A = { secret = \"a\", key = \"k\" }\n";
    manifest(&with_template(good)).expect("good");
    for (from, to, expected) in [
        (
            "group = \"template\"",
            "group = \"configuration\"",
            "`templates.application.group` in the manifest: `objects` has no group `configuration` of kind",
        ),
        (
            "v1/Secret",
            "Secret",
            "`templates.application.kinds` in the manifest: `Secret` is no kind",
        ),
        (
            "[\"v1/Secret\"]",
            "[]",
            "`templates.application.kinds` in the manifest: is empty",
        ),
        (
            "secret = \"a\", key",
            "secret = \"a\", config-map = \"b\", key",
            "`templates.application.parameters.A` in the manifest: names `secret` and `key`",
        ),
        (
            "key = \"k\"",
            "label = \"k\"",
            "`templates.application.parameters.A` in the manifest: names `secret` and `key`",
        ),
        (
            "key = \"k\"",
            "key = \"k\", part = \"user\"",
            "`templates.application.parameters.A.part` in the manifest: `user` is no part",
        ),
        (
            "parameters.A",
            "parameters.A-B",
            "`templates.application.parameters.A-B` in the manifest: ",
        ),
    ] {
        assert!(good.contains(from), "{from}");
        let error = manifest(&with_template(&good.replace(from, to)))
            .map(drop)
            .expect_err("refused")
            .to_string();
        assert!(
            error.starts_with(expected),
            "got: {error}\nwanted: {expected}"
        );
    }
}

#[test]
fn a_role_is_optional_where_the_manifest_says_so() {
    let text = GOOD.replace(
        "summary = \"the database server\"",
        "summary = \"the database server\"\noptional = true",
    );
    let manifest = manifest(&text).expect("good");
    assert_eq!(manifest.optional_targets.len(), 1);
    let line = manifest.capabilities().into_iter().next().expect("one");
    assert_eq!(line.text, "the database server (optional)");
}

#[test]
fn a_kind_of_a_parameter_is_of_its_own_type_and_has_its_version_in_it() {
    let parameter = "[parameters.kind]\ntype = \"object-kind\"\n[parameters.database]";
    let of_parameter = GOOD
        .replace("[parameters.database]", parameter)
        .replace("kind = \"ConfigMap\"", "kind = \"{kind}\"")
        .replace(
            "verbs = [\"get\", \"lease\"]\nkeys = [\"redis.conf\"]",
            "verbs = [\"save\"]",
        );
    manifest(&of_parameter).expect("good");
    for (from, to, expected) in [
        (
            "kind = \"{kind}\"",
            "kind = \"{kind}\"\napi-version = \"v1\"",
            "`objects.configuration.api-version` in the manifest: is part of `{kind}`",
        ),
        (
            "kind = \"{kind}\"",
            "kind = \"{database}\"",
            "`objects.configuration.kind` in the manifest: `{database}` must be of type object-kind",
        ),
        (
            "kind = \"{kind}\"",
            "kind = \"{other}\"",
            "`objects.configuration.kind` in the manifest: `{other}` is no parameter",
        ),
        (
            "verbs = [\"save\"]",
            "verbs = [\"lease\"]\nkeys = [\"a\"]",
            "`objects.configuration.verbs` in the manifest: `lease` is for ConfigMaps only",
        ),
    ] {
        let error = manifest(&of_parameter.replace(from, to))
            .map(drop)
            .expect_err("refused")
            .to_string();
        assert!(
            error.starts_with(expected),
            "got: {error}\nwanted: {expected}"
        );
    }
}
