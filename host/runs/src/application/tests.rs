//! Application files that are read, and those that are refused with what is wrong.

use super::*;

const HEAD: &str = "apiVersion: cofferdam.dev/v1alpha1\nkind: Application\nmetadata: { name: threescale, namespace: 3scale }\nspec:\n  dataSets:\n";

fn check(data_sets: &str, wanted: &str) {
    let text = format!("{HEAD}{data_sets}");
    match Application::parse(&text) {
        Ok(application) => {
            let names: Vec<&str> = application
                .data_sets
                .iter()
                .map(|data_set| data_set.name.as_str())
                .collect();
            assert_eq!(names.join(" "), wanted);
        }
        Err(error) => assert!(
            error.to_string().contains(wanted),
            "{error}\n does not contain\n{wanted}"
        ),
    }
}

#[test]
fn the_file_of_the_contract_is_read() {
    check(
        "    - name: system-database\n      module: { name: mysql, version: \"0.1\" }\n      targets: { server: { workload: deployment/system-mysql, container: system-mysql } }\n      parameters: { database: system }\n    - name: backend-redis\n      module: { name: redis }\n      restore: { after: [system-database] }\n",
        "system-database backend-redis",
    );
}

#[test]
fn a_misspelt_key_is_refused_by_name() {
    check(
        "    - name: a\n      module: { name: mysql }\n      paramters: {}\n",
        "unknown field `paramters`",
    );
}

#[test]
fn a_wrong_type_is_refused() {
    check("    - name: a\n      module: mysql\n", "invalid type");
    check(
        "    - name: [a]\n      module: { name: mysql }\n",
        "invalid type",
    );
}

#[test]
fn a_hostile_name_is_refused() {
    check(
        "    - name: ../../etc\n      module: { name: mysql }\n",
        "is no data set name",
    );
}

#[test]
fn a_circle_is_refused_and_named() {
    check(
        "    - { name: a, module: { name: m }, restore: { after: [b] } }\n    - { name: b, module: { name: m }, restore: { after: [c] } }\n    - { name: c, module: { name: m }, restore: { after: [a] } }\n",
        "the restore order goes round in a circle: a after b after c after a",
    );
}

#[test]
fn what_quiesces_stands_among_the_data_sets_once_and_leaves_others() {
    let check = |quiesce: &str, more: &str, wanted: &str| {
        let text = format!(
            "{}    - {{ name: a, module: {{ name: m }}{more} }}\n    - {{ name: b, module: {{ name: m }} }}\n    - {{ name: e, external: why }}\n",
            HEAD.replace("  dataSets", &format!("  quiesce: [{quiesce}]\n  dataSets"))
        );
        let told = match Application::parse(&text) {
            Ok(application) => format!("{:?}", application.quiesce.len()),
            Err(error) => error.to_string(),
        };
        assert_eq!(told, wanted);
    };
    check("b", "", "1");
    check(
        "c",
        "",
        "`quiesce` names `c`, but there is no such data set",
    );
    check("e", "", "`quiesce` names `e`, which is external");
    check("b, b", "", "`quiesce` names `b`, twice");
    check(
        "b, a",
        "",
        "all data sets of the application `threescale` stand in `quiesce`: nothing would be kept",
    );
}

#[test]
fn a_circle_through_what_quiesces_is_refused_and_named() {
    let text = format!(
        "{}    - {{ name: a, module: {{ name: m }}, backup: {{ after: [b] }} }}\n    - {{ name: b, module: {{ name: m }} }}\n    - {{ name: c, module: {{ name: m }} }}\n",
        HEAD.replace("  dataSets", "  quiesce: [a, b]\n  dataSets")
    );
    let error = Application::parse(&text).expect_err("a circle");
    assert_eq!(
        error.to_string(),
        "the backup --quiesce order goes round in a circle: a after b after a"
    );
}

#[test]
fn an_order_after_nothing_is_refused() {
    check(
        "    - { name: a, module: { name: m }, backup: { after: [b] } }\n",
        "there is no data set `b`",
    );
}

#[test]
fn what_is_external_is_named_and_takes_no_part() {
    let text = format!(
        "{HEAD}    - {{ name: system-database, external: \"Oracle of the DBA team\" }}\n    - {{ name: a, module: {{ name: m }}, restore: {{ after: [system-database] }} }}\n"
    );
    let application = Application::parse(&text).expect("read");
    assert_eq!(
        application.external[0].state(),
        "external, not covered: Oracle of the DBA team"
    );
    assert_eq!(application.data_sets.len(), 1);
    assert!(application.data_sets[0].restore_after.is_empty());
}

#[test]
fn a_data_set_has_a_module_or_says_why_it_has_none() {
    check("    - { name: a }\n", "data set `a` has no `module`");
    check(
        "    - { name: a, module: { name: m }, external: why }\n",
        "data set `a` has a module and is called `external`",
    );
    for entry in [
        "{ name: a, external: \" \" }",
        "{ name: a, external: \"two\\nlines\" }",
        "{ name: a, external: why, parameters: { b: c } }",
    ] {
        check(&format!("    - {entry}\n"), "data set `a` is external");
    }
    check(
        "    - { name: a, external: why }\n    - { name: a, module: { name: m } }\n",
        "two data sets are called `a`",
    );
}

#[test]
fn two_of_one_name_are_refused() {
    check(
        "    - { name: a, module: { name: m } }\n    - { name: a, module: { name: m } }\n",
        "two data sets are called `a`",
    );
}

#[test]
fn a_pod_is_no_workload() {
    check(
        "    - { name: a, module: { name: m }, targets: { server: { workload: pod/x, container: c } } }\n",
        "data set `a`, target `server`: `pod` is no kind of workload",
    );
}

#[test]
fn another_version_is_refused_with_the_one_that_is_read() {
    let error = Application::parse(&HEAD.replace("v1alpha1", "v9")).expect_err("refused");
    assert!(
        error.to_string().contains("missing field") || error.to_string().contains("v1alpha1"),
        "{error}"
    );
    let error = Application::parse(
        "apiVersion: v1\nkind: Secret\nmetadata: { name: a, namespace: b }\nspec: { dataSets: [] }",
    )
    .expect_err("refused");
    assert_eq!(
        error.to_string(),
        "the application file is `v1 Secret`; this host reads `cofferdam.dev/v1alpha1` `Application`"
    );
}

#[test]
fn an_empty_file_is_refused() {
    assert!(Application::parse("").is_err());
    let text = "apiVersion: cofferdam.dev/v1alpha1\nkind: Application\nmetadata: { name: a, namespace: b }\nspec: { dataSets: [] }";
    assert_eq!(
        Application::parse(text).expect_err("refused").to_string(),
        "the application `a` has no data set"
    );
}
