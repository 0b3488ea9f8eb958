//! Policy files that are wrong: each problem with its file, line, column and help.

use cofferdam_policy::{Policy, PolicyErrors};

fn problems(files: &[(&str, &str)]) -> Vec<String> {
    let files: Vec<(String, String)> = files
        .iter()
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
        .collect();
    let errors: PolicyErrors = Policy::parse(&files).expect_err("a wrong policy");
    errors.problems.iter().map(ToString::to_string).collect()
}

#[test]
fn a_text_that_is_no_cedar_is_refused_with_its_place() {
    assert_eq!(
        problems(&[(
            "a.cedar",
            "permit (principal, action, resource);\n\n  permt (principal, action, resource);\n"
        )]),
        [
            "a.cedar:3:3: invalid policy effect: permt (help: effect must be either `permit` or `forbid`)"
        ]
    );
}

#[test]
fn a_capability_that_does_not_exist_is_refused() {
    assert_eq!(
        problems(&[(
            "a.cedar",
            "permit (principal,\n  action == Action::\"run-comand\",\n  resource);"
        )]),
        [
            "a.cedar:2:13: for policy `a.cedar:1`, unrecognized action `Action::\"run-comand\"` (help: did you mean `Action::\"run-command\"`?)"
        ]
    );
}

#[test]
fn an_attribute_that_does_not_exist_is_refused() {
    assert_eq!(
        problems(&[(
            "a.cedar",
            "permit (principal, action == Action::\"restart\", resource)\nwhen { context.holes == 3 };"
        )]),
        [
            "a.cedar:2:8: for policy `a.cedar:1`, attribute `holes` in context for Action::\"restart\" not found (help: did you mean `run`?)"
        ]
    );
}

#[test]
fn a_template_is_refused() {
    assert_eq!(
        problems(&[(
            "a.cedar",
            "// all\npermit (principal == ?principal, action, resource);"
        )]),
        [
            "a.cedar:2:1: templates are not supported (help: write the rule out for each module or resource)"
        ]
    );
}

#[test]
fn an_id_is_used_once_and_is_not_the_hosts() {
    let rule = "(principal == Module::\"a\", action == Action::\"restart\", resource);\n";
    let first = format!("@id(\"one\") permit {rule}@id(\"one\") permit {rule}");
    let second = format!(
        "\n@id(\"one\") permit {rule}@id(\"\") permit {rule}@id(\"host:mine\") permit {rule}"
    );
    assert_eq!(
        problems(&[("a.cedar", &first), ("b.cedar", &second)]),
        [
            "a.cedar:2:1: the id `one` is used twice in this file (help: give the rule an `@id` of its own)",
            "b.cedar:2:1: the id `one` is used already in a.cedar:1 (help: give the rule an `@id` of its own)",
            "b.cedar:3:1: the `@id` of a rule is empty (help: give the rule an `@id` of its own)",
            "b.cedar:4:1: `@id(\"host:mine\")`: ids that begin with `host:` belong to the base policy (help: give the rule an `@id` of its own)",
        ]
    );
}

#[test]
fn all_problems_of_all_files_are_said_at_once() {
    let problems = problems(&[
        (
            "a.cedar",
            "permit (principal, action == Action::\"fly\", resource);",
        ),
        ("b.cedar", "permit"),
    ]);
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].starts_with("a.cedar:1:"), "{problems:?}");
    assert!(problems[1].starts_with("b.cedar:1:"), "{problems:?}");
}

#[test]
fn a_column_counts_characters() {
    let text =
        "@id(\"Sicherung für äöü\") permit (principal, action == Action::\"fly\", resource);";
    let problems = problems(&[("a.cedar", text)]);
    let column = text.chars().take_while(|char| *char != 'A').count() + 1;
    assert!(
        problems[0].starts_with(&format!("a.cedar:1:{column}: ")),
        "{problems:?}"
    );
}
