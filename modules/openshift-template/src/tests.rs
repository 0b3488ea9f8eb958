//! The module against a cluster in memory, which cannot process templates: what it says is scripted.

use cofferdam_guest_sdk::testing::World;
use cofferdam_guest_sdk::{DataSet, Error, Evidence, Level, Loaded, Processed};

use crate::OpenshiftTemplate;

const MANIFEST: &str = include_str!("../module.toml");

/// The parameters of the manual procedure's `oc new-app`, in its order.
const MANUAL: [&str; 33] = [
    "APP_LABEL",
    "TENANT_NAME",
    "SYSTEM_DATABASE_USER",
    "SYSTEM_DATABASE_PASSWORD",
    "SYSTEM_DATABASE",
    "SYSTEM_DATABASE_ROOT_PASSWORD",
    "WILDCARD_DOMAIN",
    "SYSTEM_BACKEND_USERNAME",
    "SYSTEM_BACKEND_PASSWORD",
    "SYSTEM_BACKEND_SHARED_SECRET",
    "SYSTEM_APP_SECRET_KEY_BASE",
    "ADMIN_PASSWORD",
    "ADMIN_USERNAME",
    "ADMIN_EMAIL",
    "ADMIN_ACCESS_TOKEN",
    "MASTER_NAME",
    "MASTER_USER",
    "MASTER_PASSWORD",
    "MASTER_ACCESS_TOKEN",
    "RECAPTCHA_PUBLIC_KEY",
    "RECAPTCHA_PRIVATE_KEY",
    "SYSTEM_REDIS_URL",
    "SYSTEM_MESSAGE_BUS_REDIS_URL",
    "SYSTEM_REDIS_NAMESPACE",
    "SYSTEM_MESSAGE_BUS_REDIS_NAMESPACE",
    "ZYNC_DATABASE_PASSWORD",
    "ZYNC_SECRET_KEY_BASE",
    "ZYNC_AUTHENTICATION_TOKEN",
    "APICAST_ACCESS_TOKEN",
    "APICAST_MANAGEMENT_API",
    "APICAST_OPENSSL_VERIFY",
    "APICAST_RESPONSE_CODES",
    "APICAST_REGISTRY_URL",
];

fn world() -> World {
    let world = World::new(MANIFEST);
    let template = serde_json::json!({
        "apiVersion": "template.openshift.io/v1", "kind": "Template",
        "metadata": { "name": "3scale-api-management" },
        "message": "Login as ${ADMIN_USERNAME}/${ADMIN_PASSWORD}",
        "parameters": [{ "name": "TENANT_NAME" }], "objects": [],
    });
    world
        .put_object("template", "3scale-api-management", template)
        .processes(Ok(processed(&[("created", "Service/zync")])));
    world
}

fn with_backup() -> World {
    let world = world();
    OpenshiftTemplate::backup(&world).expect("the backup");
    world
}

fn processed(objects: &[(&str, &str)]) -> Processed {
    let pair = |(name, state): (&str, &str)| (name.to_owned(), state.to_owned());
    let parameters = [
        ("TENANT_NAME", "filled"),
        ("AMP_RELEASE", "unnamed"),
        ("SYSTEM_REDIS_NAMESPACE", "missing"),
        ("NEW_TOKEN", "generated"),
        ("WILDCARD_DOMAIN", "unknown"),
    ];
    Processed {
        objects: objects
            .iter()
            .map(|(result, name)| Loaded {
                name: (*name).to_owned(),
                result: (*result).to_owned(),
                details: Vec::new(),
            })
            .collect(),
        parameters: parameters.map(pair).to_vec(),
        details: Vec::new(),
    }
}

#[track_caller]
fn check_refused(result: Result<(), Error>, words: &str) {
    let error = result.expect_err("refused");
    assert!(error.to_string().contains(words), "{error}");
}

#[test]
fn the_manifest_has_every_parameter_of_the_manual_procedure_and_no_other() {
    let declared: Vec<&str> = MANIFEST
        .split_once("[templates.application.parameters]")
        .expect("the table")
        .1
        .lines()
        .filter_map(|line| line.split_once(" = {").map(|(name, _)| name))
        .collect();
    assert_eq!(declared, MANUAL);
}

#[test]
fn a_backup_keeps_the_template_past_the_module() {
    let world = with_backup();
    assert!(world.artifact("template.json").is_some());
    assert!(world.logged(Level::Info, "kept Template `3scale-api-management`"));
    assert!(!world.was_asked("get") && !world.was_asked("process"));
    OpenshiftTemplate::verify(&world).expect("whole");
}

#[test]
fn a_namespace_without_the_template_is_no_backup_and_says_the_way_out() {
    let world = world();
    world.parameter("template", "other");
    let result = OpenshiftTemplate::backup(&world);
    check_refused(result.clone(), "no Template `other`");
    check_refused(result, "`oc create -f amp.yml`");
}

#[test]
fn a_restore_says_how_the_parameters_were_filled_by_name() {
    let world = with_backup();
    OpenshiftTemplate::restore(&world).expect("the restore");
    assert!(world.was_asked("process application template.json Keep"));
    assert!(world.logged(Level::Info, "1 of 5 parameters are filled"));
    assert!(world.logged(
        Level::Warn,
        "made values up, which are not those of before, for: NEW_TOKEN"
    ));
    assert!(world.logged(Level::Warn, "for: SYSTEM_REDIS_NAMESPACE"));
    assert!(world.logged(Level::Info, "for: AMP_RELEASE"));
    assert!(world.logged(Level::Info, "nothing was read for: WILDCARD_DOMAIN"));
    assert!(world.logged(Level::Info, "`Service/zync`: created"));
}

#[test]
fn what_is_kept_or_replaced_is_said() {
    let world = with_backup();
    world
        .parameter("when-present", "replace")
        .processes(Ok(processed(&[
            ("replaced", "Secret/zync"),
            ("kept", "ConfigMap/system"),
        ])));
    OpenshiftTemplate::restore(&world).expect("the restore");
    assert!(world.was_asked("process application template.json Replace"));
    assert!(world.logged(Level::Warn, "`Secret/zync`: replaced"));
    assert!(world.logged(Level::Warn, "`ConfigMap/system`: kept"));
}

#[test]
fn a_refused_object_fails_the_restore_after_all_are_said() {
    let world = with_backup();
    world.processes(Ok(processed(&[
        ("refused", "Route/api"),
        ("created", "Service/zync"),
    ])));
    check_refused(OpenshiftTemplate::restore(&world), "`Route/api`");
    assert!(world.logged(Level::Info, "`Service/zync`: created"));
}

#[test]
fn a_value_that_is_missing_is_said_with_its_parameter() {
    let world = with_backup();
    let why = "no value for `TENANT_NAME` from Secret/system-seed/TENANT_NAME (it does not exist)";
    world.processes(Err(Error::failed("no-value", why)));
    check_refused(
        OpenshiftTemplate::restore(&world),
        "failed to process the Template: no value for `TENANT_NAME`",
    );
}

#[test]
fn an_artifact_without_one_template_does_not_verify() {
    let world = with_backup();
    let whole = world.artifact("template.json").expect("an artifact");
    for objects in [0, 2] {
        let evidence = Evidence::new().with("objects", objects);
        world.put_artifact("template.json", whole.clone(), evidence);
        check_refused(
            OpenshiftTemplate::verify(&world),
            "does not hold one Template",
        );
    }
    let evidence = Evidence::new()
        .with("objects", 1)
        .with("bytes", whole.len());
    world.put_artifact("template.json", &whole[1..], evidence);
    check_refused(OpenshiftTemplate::verify(&world), "its evidence says");
}
