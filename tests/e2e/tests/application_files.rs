//! A site engineer makes mistakes in the application file: each gets a clear error before anything
//! is asked of a cluster.

use e2e::Site;

#[track_caller]
fn check(data_sets: &str, wanted: &str) {
    let site = Site::without_cluster();
    site.application(data_sets);
    let _answer = site
        .cofferdam(&["backup"])
        .exits(2)
        .says(wanted)
        .says("hint");
}

#[test]
fn a_wrong_key_is_named() {
    check(
        "    - { name: a, module: { name: mysql }, paramters: {} }\n",
        "unknown field `paramters`",
    );
}

#[test]
fn a_wrong_type_is_named() {
    check("    - { name: a, module: mysql }\n", "invalid type");
}

#[test]
fn a_module_that_is_not_there_is_named() {
    check(
        "    - { name: a, module: { name: informix } }\n",
        "there is no module `informix`",
    );
}

#[test]
fn a_module_of_another_version_is_refused() {
    check(
        "    - { name: a, module: { name: mysql, version: \"9.9\" } }\n",
        "no module file fits `mysql 9.9",
    );
}

#[test]
fn a_cycle_is_named() {
    check(
        "    - { name: a, module: { name: mysql }, restore: { after: [b] } }\n    - { name: b, module: { name: mysql }, restore: { after: [a] } }\n",
        "the restore order goes round in a circle: a after b after a",
    );
}

#[test]
fn a_role_that_is_not_bound_is_named() {
    check(
        "    - { name: a, module: { name: mysql } }\n",
        "no workload is bound to the role `server`",
    );
}

#[test]
fn a_parameter_of_the_wrong_type_is_named() {
    check(
        "    - { name: a, module: { name: mysql }, targets: { server: { workload: deployment/m, container: m } }, parameters: { database: \"a b; DROP\" } }\n",
        "database",
    );
}

#[test]
fn a_missing_file_says_how_to_write_one() {
    let site = Site::without_cluster();
    let _answer = site
        .cofferdam(&["backup"])
        .exits(2)
        .says("cofferdam.yaml")
        .says("cofferdam init");
}
