//! What `policy check` points at.

use cofferdam_policy::finding::{Concern, Inspection};
use cofferdam_policy::grant::Grant;
use cofferdam_policy::request::*;
use cofferdam_policy::{Pin, smallest_policy};

use crate::world::*;

fn check(text: &str, expected: &[(&str, Option<usize>, Concern)]) {
    let findings = policy(text).findings();
    let found: Vec<(&str, Option<usize>, Concern)> = findings
        .iter()
        .map(|finding| (finding.rule.as_str(), finding.line, finding.concern))
        .collect();
    assert_eq!(found, expected, "{findings:#?}");
}

const MODULE: &str = r#"principal == Module::"redis""#;
const INSIDE: &str = r#"resource in DataSet::"threescale/backend-redis""#;

#[test]
fn a_narrow_rule_has_no_findings() {
    check(
        &format!(
            r#"permit ({MODULE}, action == Action::"run-command", {INSIDE}) when {{ context.stdin == "none" }};"#
        ),
        &[],
    );
    check("forbid (principal, action, resource);", &[]);
}

#[test]
fn a_permit_that_names_no_module_or_resource_is_found() {
    check(
        r#"@id("all") permit (principal, action == Action::"restart", resource);"#,
        &[
            ("all", Some(1), Concern::AnyPrincipal),
            ("all", Some(1), Concern::AnyResource),
        ],
    );
    check(
        &format!(
            r#"
            @id("module") permit (principal is Module, action == Action::"restart", {INSIDE});
            @id("resource") permit ({MODULE}, action == Action::"restart", resource is Workload);"#
        ),
        &[
            ("module", Some(2), Concern::AnyPrincipal),
            ("resource", Some(3), Concern::AnyResource),
        ],
    );
}

#[test]
fn a_rule_that_can_never_match_is_found() {
    check(
        &format!(
            r#"
            @id("wrong resource") permit ({MODULE}, action == Action::"restart", resource == Path::"threescale/backend-redis/dump");
            @id("false") permit ({MODULE}, action == Action::"restart", {INSIDE}) when {{ false }};"#
        ),
        &[
            ("wrong resource", Some(2), Concern::NeverMatches),
            ("false", Some(3), Concern::NeverMatches),
        ],
    );
}

#[test]
fn a_rule_about_put_back_is_found_to_have_no_effect() {
    check(
        r#"@id("mine") forbid (principal is Host, action == Action::"put-back", resource);"#,
        &[("mine", Some(1), Concern::NoEffect)],
    );
}

#[test]
fn free_input_is_found() {
    let found = &[("site.cedar:1", Some(1), Concern::FreeInput)];
    let rule = |condition: &str| {
        format!(r#"permit ({MODULE}, action == Action::"run-command", {INSIDE}) {condition};"#)
    };
    check(&rule(""), found);
    check(&rule(r#"when { context.stdin == "free" }"#), found);
    check(
        &rule(r#"when { ["none", "free"].contains(context.stdin) }"#),
        found,
    );
    check(&rule(r#"when { context.stdin != "free" }"#), &[]);
    check(&rule(r#"unless { context.stdin == "free" }"#), &[]);
    check(
        &rule(r#"when { ["none", "artifact"].contains(context.stdin) }"#),
        &[],
    );
}

#[test]
fn writing_a_file_and_running_a_command_are_found_together() {
    let run = format!(
        r#"@id("run") permit ({MODULE}, action == Action::"run-command", {INSIDE}) when {{ context.stdin == "none" }};"#
    );
    let write =
        format!(r#"@id("write") permit ({MODULE}, action == Action::"load-tree", {INSIDE});"#);
    let other = write.replace("Module::\"redis\"", "Module::\"files\"");
    check(
        &format!("{run}\n{write}"),
        &[("run", Some(1), Concern::WritesAndRuns)],
    );
    check(&format!("{run}\n{other}"), &[]);
    let group =
        format!(r#"@id("changes") permit ({MODULE}, action in Action::"change", {INSIDE});"#);
    check(
        &group,
        &[
            ("changes", Some(1), Concern::FreeInput),
            ("changes", Some(1), Concern::WritesAndRuns),
        ],
    );
}

#[test]
fn letters_that_look_like_others_are_found() {
    check(
        // The `е` of `rеdis` is Cyrillic.
        &format!(
            "@id(\"odd\") permit (principal == Module::\"r\u{435}dis\", action == Action::\"restart\", {INSIDE});"
        ),
        &[("odd", Some(1), Concern::Confusing)],
    );
}

#[test]
fn an_inspection_says_what_is_denied_and_what_to_look_at_twice() {
    let scope = redis(RunKind::Restore);
    let mut shell = dump();
    shell.target = target("backend-redis");
    shell.stdin = Stdin::Free;
    let write = file("dump", FileOperation::Write);
    let wished = [
        Grant::request(&scope, shell.clone()),
        Grant::request(&scope, write),
    ];
    let mut grants = wished.to_vec();
    grants.push(Grant::request(&scope, TakeLease { change: scale(0) }));
    let Inspection {
        allowed,
        denied,
        findings,
    } = policy(&smallest_policy(&wished, Pin::Digest)).inspect(&grants);
    assert_eq!(allowed, 2);
    let denied: Vec<String> = denied.iter().map(ToString::to_string).collect();
    assert_eq!(
        denied,
        [
            "policy does not allow `lease-scale` on deployment/backend-redis (to 0 replicas): no rule permits it"
        ]
    );
    let found: Vec<(Concern, &str)> = findings
        .iter()
        .map(|finding| (finding.concern, finding.message.as_str()))
        .collect();
    assert_eq!(
        found,
        [
            (
                Concern::FreeInput,
                "command `dump` in deployment/backend-redis (container backend-redis) may be fed with whatever module `redis` writes"
            ),
            (
                Concern::WritesAndRuns,
                "module `redis` may write path `dump` (/var/lib/redis/data/dump) in deployment/backend-redis (container backend-redis) and run command `dump` in deployment/backend-redis (container backend-redis): together that may be running anything there"
            ),
        ]
    );
}
