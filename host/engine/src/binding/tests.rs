//! What fills a hole, and what does not.

use super::*;

const MANIFEST: &str = r#"
[module]
name = "sample"
version = "0.1.0"
summary = "for the tests"
[targets.server]
summary = "the server"
[parameters.database]
type = "identifier"
default = "system"
[parameters.folder]
type = "path"
default = "/var/lib/data"
[parameters.extra]
type = "object-names"
default = []
[parameters.kind]
type = "object-kind"
default = "apps.3scale.net/v1alpha1/APIManager"
[commands.dump]
target = "server"
argv = ["dump", "--user={user}", "{table}", "{database}", "{note}{count}"]
stdout = "stream"
timeout = "6h"
holes.user = { type = "text" }
holes.table = { type = "text", default = "all" }
holes.note = { type = "text", default = "" }
holes.count = { type = "integer", default = 3 }
[paths.dump]
target = "server"
path = "{folder}/dump.rdb"
access = "read"
[objects.all]
kind = "ConfigMap"
names = ["first", "{extra}"]
verbs = ["get"]
[objects.custom]
kind = "{kind}"
names = ["first"]
verbs = ["save"]
"#;

fn binding(values: serde_json::Value) -> Result<Binding, BindingError> {
    let manifest = Arc::new(Manifest::parse(MANIFEST).expect("manifest"));
    Binding::new(manifest, serde_json::from_value(values).expect("names"))
}

fn check(holes: &[(&str, &str)], expected: &str) {
    let binding = binding(serde_json::json!({})).expect("binding");
    let holes: Vec<_> = holes
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    let command = CommandName::parse("dump").expect("name");
    let result = match binding.fill(&command, &holes) {
        Ok(invocation) => invocation.argv.join("|"),
        Err(error) => error.to_string(),
    };
    assert_eq!(result, expected);
}

#[test]
fn a_command_is_filled_by_module_default_and_site() {
    check(&[("user", "root")], "dump|--user=root|all|system|3");
    check(
        &[("user", "-r"), ("table", "a b")],
        "dump|--user=-r|a b|system|3",
    );
}

#[test]
fn a_word_that_begins_with_a_hole_never_begins_with_a_dash() {
    let refused = "command `dump`: the value of `{table}` begins with `-` and would be an option";
    check(&[("user", "u"), ("table", "--all")], refused);
    check(
        &[("user", "u"), ("count", "-5")],
        "command `dump`: the value of `{note}{count}` begins with `-` and would be an option",
    );
}

#[test]
fn a_hole_that_is_not_the_modules_to_fill_is_refused() {
    check(
        &[("user", "u"), ("database", "mysql")],
        "command `dump`: hole `database` is filled from the parameter of that name, not by the module",
    );
    check(
        &[("user", "u"), ("password", "x")],
        "command `dump`: it has no hole `password`",
    );
    check(
        &[("user", "u"), ("user", "v")],
        "command `dump`: hole `user` is given twice",
    );
    check(&[], "command `dump`: hole `user` has no value");
    check(
        &[("user", "u"), ("count", "x")],
        "command `dump`: hole `count` is no whole number",
    );
    check(
        &[("user", "a\nb")],
        "command `dump`: hole `user` holds control characters",
    );
}

#[test]
fn an_undeclared_command_is_named() {
    let binding = binding(serde_json::json!({})).expect("binding");
    let error = binding
        .fill(&CommandName::parse("drop").expect("name"), &[])
        .expect_err("undeclared");
    assert_eq!(error.to_string(), "the manifest declares no command `drop`");
}

#[test]
fn every_wrong_value_of_a_site_is_said_at_once() {
    let error =
        binding(serde_json::json!({ "database": "a-b", "folder": "relative", "colour": 1 }))
            .expect_err("wrong");
    assert_eq!(error.problems.len(), 3, "{error}");
    let error = binding(serde_json::json!({ "extra": "one" })).expect_err("no list");
    assert_eq!(error.problems, ["parameter `extra` is no list of names"]);
}

#[test]
fn paths_and_names_follow_the_parameters() {
    let binding =
        binding(serde_json::json!({ "folder": "/srv", "extra": ["b", "first"] })).expect("binding");
    let (_, path) = binding
        .path(&PathName::parse("dump").expect("name"))
        .expect("declared");
    assert_eq!(path.as_str(), "/srv/dump.rdb");
    let names = binding.object_names(&GroupName::parse("all").expect("name"));
    assert_eq!(
        names.iter().map(ObjectName::as_str).collect::<Vec<_>>(),
        ["first", "b"]
    );
}

const WITH_WORDS: &str = r#"
[module]
name = "sample"
version = "0.1.0"
summary = "for the tests"
[targets.server]
summary = "the server"
[parameters.encryption]
type = "words"
words = { off = [], tls = ["--tls", "--cacert", "{ca-file}"] }
default = "off"
[parameters.ca-file]
type = "path"
default = "/etc/ca.crt"
[commands.ask]
target = "server"
argv = ["ask", "{encryption}", "{what}"]
stdout = "stream"
timeout = "6h"
holes.what = { type = "text" }
"#;

#[test]
fn the_site_chooses_words_of_the_manifest_and_the_module_cannot() {
    let manifest = Arc::new(Manifest::parse(WITH_WORDS).expect("manifest"));
    let fill = |site: serde_json::Value, holes: &[(&str, &str)]| {
        let values = serde_json::from_value(site).expect("names");
        let binding = Binding::new(manifest.clone(), values).map_err(|error| error.to_string())?;
        let holes: Vec<_> = holes
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        let command = CommandName::parse("ask").expect("name");
        match binding.fill(&command, &holes) {
            Ok(filled) => Ok((filled.argv.join("|"), filled.holes.len())),
            Err(error) => Err(error.to_string()),
        }
    };
    let what = [("what", "all")];
    assert_eq!(
        fill(serde_json::json!({}), &what),
        Ok(("ask|all".into(), 1))
    );
    let tls = serde_json::json!({ "encryption": "tls", "ca-file": "/tls/ca" });
    assert_eq!(
        fill(tls, &what),
        Ok(("ask|--tls|--cacert|/tls/ca|all".into(), 2)),
        "policy sees the hole that was filled"
    );
    let own = fill(serde_json::json!({ "encryption": "--insecure" }), &what);
    let refused = own.expect_err("not a word of the manifest");
    assert!(
        refused.ends_with("parameter `encryption` is not one of off, tls"),
        "{refused}"
    );
    let module = fill(
        serde_json::json!({}),
        &[("what", "all"), ("encryption", "tls")],
    );
    let refused = module.expect_err("not the module's");
    assert!(refused.contains("not by the module"), "{refused}");
}

#[test]
fn a_reviewer_reads_the_words_that_a_site_may_choose() {
    let manifest = Manifest::parse(WITH_WORDS).expect("manifest");
    let capabilities = manifest.capabilities();
    let ask = capabilities
        .iter()
        .find(|one| one.name == "ask")
        .expect("it");
    assert_eq!(
        ask.text,
        "ask {encryption} {what}  {encryption}: nothing | --tls --cacert {ca-file}"
    );
}

#[test]
fn the_kind_of_a_group_is_the_manifests_or_the_sites_and_never_a_secret() {
    let kind = |values, group: &str| {
        let binding = binding(values).map_err(|error| error.to_string())?;
        let group = GroupName::parse(group).expect("a name");
        let kind = binding.object_kind(&group).map(ToString::to_string);
        kind.ok_or_else(|| "none".to_owned())
    };
    let none = || serde_json::json!({});
    assert_eq!(kind(none(), "all").as_deref(), Ok("v1/ConfigMap"));
    assert_eq!(
        kind(none(), "custom").as_deref(),
        Ok("apps.3scale.net/v1alpha1/APIManager")
    );
    let tenant = serde_json::json!({ "kind": "capabilities.3scale.net/v1beta1/Tenant" });
    assert_eq!(
        kind(tenant, "custom").as_deref(),
        Ok("capabilities.3scale.net/v1beta1/Tenant")
    );
    let secret = kind(serde_json::json!({ "kind": "v1/Secret" }), "custom");
    let error = secret.expect_err("a Secret");
    assert!(
        error.contains("parameter `kind` is no kind of a group with a dot"),
        "{error}"
    );
}
