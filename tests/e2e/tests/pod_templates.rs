//! 3scale's operator writes the root password of MySQL into a pod template: no copy of one is ever kept.

use e2e::Site;

const PASSWORD: &str = "hunter2-in-clear";

fn data_set(kind: &str) -> String {
    format!(
        "    - name: workload
      module: {{ name: custom-resource }}
      parameters: {{ kind: {kind}, names: [system-mysql], condition: \"\" }}
"
    )
}

#[test]
fn no_application_file_makes_a_stock_module_keep_a_workload() {
    let site = Site::with_objects_only();
    site.prepare(&data_set("capabilities.3scale.net/v1beta1/Tenant"));
    for kind in [
        "v1/Pod",
        "v1/ReplicationController",
        "apps/v1/Deployment",
        "apps/v1/StatefulSet",
        "batch/v1/CronJob",
        "apps.openshift.io/v1/DeploymentConfig",
    ] {
        site.application(&data_set(kind));
        for command in [&["policy", "init", "--force"][..], &["backup"], &["check"]] {
            let refused = site.cofferdam(command).exits(2);
            let _said = refused.says("is no kind");
        }
    }
    // The module for Secrets and ConfigMaps has no parameter for a kind.
    site.application(
        "    - name: workload
      module: { name: kube-objects }
      parameters: { kind: apps/v1/Deployment, secrets: [system-app] }
",
    );
    let refused = site.cofferdam(&["backup"]).exits(2);
    let _said = refused.says("there is no parameter `kind`");
    assert!(site.runs().is_empty());
}

#[test]
fn a_custom_resource_with_a_password_in_a_pod_template_is_refused_by_name() {
    let site = Site::with_objects_only();
    let resource = |environment: &str| {
        format!(
            "apiVersion: capabilities.3scale.net/v1beta1
kind: Tenant
metadata: {{ name: system-mysql }}
spec:
  template:
    spec:
      containers:
        - name: system-mysql
          env: [{environment}]
"
        )
    };
    site.apply(&resource(&format!(
        "{{ name: MYSQL_ROOT_PASSWORD, value: {PASSWORD} }}"
    )));
    site.prepare(&data_set("capabilities.3scale.net/v1beta1/Tenant"));
    let refused = site.cofferdam(&["backup"]).exits(1);
    let _said = refused
        .says("`Tenant/system-mysql` has a pod template")
        .says("MYSQL_ROOT_PASSWORD")
        .never_says(PASSWORD);
    assert!(site.runs().is_empty());

    // With the value where it belongs it is a resource like any other.
    site.apply(&resource(
        "{ name: MYSQL_ROOT_PASSWORD, valueFrom: { secretKeyRef: { name: system-database, key: URL } } }",
    ));
    let _kept = site.cofferdam(&["backup"]).exits(0);
}
