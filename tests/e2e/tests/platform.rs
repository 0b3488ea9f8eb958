//! An operator of 3scale restores what stands around the databases: the custom resource, the
//! workloads, the rake tasks, and the application by its Template.
#![expect(clippy::disallowed_methods, reason = "helpers of tests are test code")]

use e2e::{NAMESPACE, Site, audit, place};

/// A workload whose pods only wait, with more lines for its container.
fn waits(kind: &str, name: &str, container: &str, replicas: u32, more: &str) -> String {
    let (api_version, selector) = match kind {
        "DeploymentConfig" => (
            "apps.openshift.io/v1",
            format!("selector: {{ deploymentConfig: {name} }}"),
        ),
        _ => (
            "apps/v1",
            format!("selector: {{ matchLabels: {{ deployment: {name} }} }}"),
        ),
    };
    let image =
        std::env::var("COFFERDAM_TEST_IMAGE").unwrap_or_else(|_| "local-cluster/layer".to_owned());
    let label = match kind {
        "DeploymentConfig" => "deploymentConfig",
        _ => "deployment",
    };
    format!(
        "apiVersion: {api_version}
kind: {kind}
metadata: {{ name: {name}, namespace: {NAMESPACE} }}
spec:
  replicas: {replicas}
  {selector}
  template:
    metadata: {{ labels: {{ {label}: {name} }} }}
    spec:
      terminationGracePeriodSeconds: 2
      containers:
        - name: {container}
          image: \"{image}\"
          command: [sh, -c, 'set -e; eval \"$PREPARE\"; trap \"exit 0\" TERM; while :; do sleep 3600 & wait \"$!\"; done']
{more}"
    )
}

fn applied(site: &Site, objects: &[String]) {
    site.kubectl_fed(&["apply", "-f", "-"], &objects.join("---\n"));
}

fn awaited(site: &Site, workload: &str) {
    site.kubectl(&["rollout", "status", workload, "--timeout=120s"]);
}

fn field(site: &Site, object: &str, path: &str) -> String {
    site.kubectl(&["get", object, "-o", &format!("jsonpath={{{path}}}")])
}

const OPERATOR: &str = "threescale-operator-controller-manager-v2";

#[test]
fn an_api_manager_comes_back_behind_its_held_back_operator_and_counts_once_available() {
    let site = Site::with_objects_only();
    let manager = "apiVersion: apps.3scale.net/v1alpha1
kind: APIManager
metadata: { name: apimanager }
spec: { wildcardDomain: 3scale.example.com, system: { appSpec: { replicas: 2 } } }
";
    let operator = waits("Deployment", OPERATOR, "manager", 1, "");
    applied(&site, &[manager.to_owned(), operator]);
    awaited(&site, &format!("deployment/{OPERATOR}"));
    // What the operator would say, and what is no part of a backup.
    let available = |site: &Site| {
        let status = r#"{"status":{"conditions":[{"type":"Available","status":"True"}]}}"#;
        let resource = "apimanager/apimanager";
        site.kubectl(&[
            "patch",
            resource,
            "--subresource=status",
            "--type=merge",
            "-p",
            status,
        ]);
    };
    available(&site);
    site.prepare(&format!(
        "    - name: objects
      module: {{ name: kube-objects }}
      parameters: {{ secrets: [system-seed], configmaps: [system-environment] }}
    - name: apimanager
      module: {{ name: custom-resource }}
      targets: {{ operator: {{ workload: deployment/{OPERATOR}, container: manager }} }}
      parameters: {{ kind: apps.3scale.net/v1alpha1/APIManager, names: [apimanager] }}
      restore: {{ after: [objects] }}
"
    ));
    let _kept = site.report(&["backup"]).exits(0);

    site.kubectl(&["delete", "apimanager/apimanager"]);
    site.kubectl(&["delete", "secret/system-seed"]);
    let mut run = site.begin(&["restore", "latest", "--yes"]);
    site.wait_until("the APIManager", || {
        let found = site.kubectl(&["get", "apimanager", "-o", "name"]);
        found.contains("apimanager").then_some(())
    });
    assert_eq!(field(&site, "apimanager/apimanager", ".status"), "");
    assert_eq!(
        field(
            &site,
            "apimanager/apimanager",
            ".spec.system.appSpec.replicas"
        ),
        "2"
    );
    // It came after the Secrets, and the run waits for what only the operator can say.
    assert_eq!(
        site.kubectl(&["get", "secret/system-seed", "-o", "name"])
            .trim(),
        "secret/system-seed"
    );
    site.wait_until("the operator to be back", || {
        (field(&site, &format!("deployment/{OPERATOR}"), ".spec.replicas") == "1").then_some(())
    });
    assert!(run.try_wait().expect("alive").is_none(), "it did not wait");
    available(&site);
    assert!(run.wait().expect("ended").success());

    let lines = audit(&site);
    let order = [
        place(&lines, &["lease-scale", OPERATOR]),
        place(&lines, &["load-object", "APIManager apimanager"]),
        place(&lines, &["put-back", OPERATOR]),
        place(&lines, &["wait-object", "APIManager apimanager"]),
    ];
    assert!(order.is_sorted(), "{order:?}\n{}", lines.join("\n"));

    // Another content is a decision of the site, and the operator is back all the same.
    let other = r#"{"spec":{"wildcardDomain":"other.example.com"}}"#;
    site.kubectl(&[
        "patch",
        "apimanager/apimanager",
        "--type=merge",
        "-p",
        other,
    ]);
    let refused = site
        .report(&["restore", "latest", "--yes", "--only", "apimanager"])
        .exits(1)
        .says("`APIManager/apimanager`");
    assert!(refused.to_string().contains("when-present"), "{refused}");
    assert_eq!(
        field(&site, &format!("deployment/{OPERATOR}"), ".spec.replicas"),
        "1"
    );
    assert_eq!(
        field(&site, "apimanager/apimanager", ".spec.wildcardDomain"),
        "other.example.com"
    );
}

#[test]
fn a_site_without_an_operator_binds_none_and_a_secret_is_no_custom_resource() {
    let site = Site::with_objects_only();
    let tenant = "apiVersion: capabilities.3scale.net/v1beta1
kind: Tenant
metadata: { name: acme }
spec: { organizationName: Acme }
";
    applied(&site, &[tenant.to_owned()]);
    let data_set = |kind: &str| {
        format!(
            "    - name: tenants
      module: {{ name: custom-resource }}
      parameters: {{ kind: {kind}, names: [acme], condition: \"\" }}
"
        )
    };
    site.prepare(&data_set("capabilities.3scale.net/v1beta1/Tenant"));
    let _kept = site.report(&["backup"]).exits(0);
    site.kubectl(&["delete", "tenant/acme"]);
    let _restored = site.report(&["restore", "latest", "--yes"]).exits(0);
    assert_eq!(
        field(&site, "tenant/acme", ".spec.organizationName"),
        "Acme"
    );
    site.application(&data_set("v1/Secret"));
    let _refused = site
        .cofferdam(&["policy", "init", "--force"])
        .exits(2)
        .says("is no kind of a group with a dot");
}

#[test]
fn workloads_are_restarted_in_order_and_have_their_replicas_again() {
    let site = Site::with_objects_only();
    applied(
        &site,
        &[
            waits("Deployment", "backend-worker", "backend-worker", 2, ""),
            waits("Deployment", "system-app", "system-master", 1, ""),
            waits(
                "DeploymentConfig",
                "apicast-staging",
                "apicast-staging",
                2,
                "",
            ),
        ],
    );
    let workloads = [
        "deployment/backend-worker",
        "deployment/system-app",
        "dc/apicast-staging",
    ];
    for workload in workloads {
        site.wait_until(workload, || {
            let wanted = field(&site, workload, ".spec.replicas");
            (field(&site, workload, ".status.readyReplicas") == wanted).then_some(())
        });
    }
    site.prepare(
        "    - name: backend-worker
      module: { name: rollout }
      targets: { workload: { workload: deployment/backend-worker, container: backend-worker } }
    - name: system-app
      module: { name: rollout }
      targets: { workload: { workload: deployment/system-app, container: system-master } }
      restore: { after: [backend-worker] }
    - name: apicast-staging
      module: { name: rollout }
      targets: { workload: { workload: dc/apicast-staging, container: apicast-staging } }
      restore: { after: [system-app] }
",
    );
    let _kept = site.report(&["backup"]).exits(0);
    let pods = |site: &Site| -> Vec<String> {
        let names = site.kubectl(&["get", "pods", "-o", "name"]);
        names.lines().map(str::to_owned).collect()
    };
    let before = pods(&site);
    assert_eq!(before.len(), 5, "{before:?}");

    site.kubectl(&["scale", "deployment/backend-worker", "--replicas=0"]);
    site.kubectl(&["scale", "dc/apicast-staging", "--replicas=1"]);
    let _restored = site.report(&["restore", "latest", "--yes"]).exits(0);
    assert_eq!(
        field(&site, "deployment/backend-worker", ".spec.replicas"),
        "2"
    );
    assert_eq!(
        field(&site, "deployment/backend-worker", ".status.readyReplicas"),
        "2"
    );
    assert_eq!(field(&site, "dc/apicast-staging", ".spec.replicas"), "2");
    let after = pods(&site);
    assert_eq!(after.len(), 5, "{after:?}");
    let old: Vec<_> = after.iter().filter(|pod| before.contains(pod)).collect();
    assert!(old.is_empty(), "these were not replaced: {old:?}");

    let lines = audit(&site);
    let order = [
        place(&lines, &["set-replicas", "backend-worker"]),
        place(&lines, &["\"restart\"", "backend-worker"]),
        place(&lines, &["wait-rollout", "backend-worker"]),
        place(&lines, &["\"restart\"", "system-app"]),
        place(&lines, &["wait-rollout", "system-app"]),
        place(&lines, &["set-replicas", "apicast-staging"]),
        place(&lines, &["\"restart\"", "apicast-staging"]),
    ];
    assert!(order.is_sorted(), "{order:?}\n{}", lines.join("\n"));
    let touched = lines
        .iter()
        .any(|line| line.contains("set-replicas") && line.contains("system-app"));
    assert!(!touched, "a number that is right was set");
}

/// A `bundle` that fails twice for each task, as while databases come up, and then works.
const BUNDLE: &str = r#"          env:
            - name: PREPARE
              value: |
                mkdir -p /tmp/bin
                cat >/tmp/bin/bundle <<"END"
                #!/bin/sh
                [ "$1 $2" = "exec rake" ] || exit 64
                echo "$3" >>/tmp/tasks
                if [ "$(grep -c -x -- "$3" /tmp/tasks)" -le 2 ]; then
                  echo "rake aborted!" >&2
                  echo "Errno::ECONNREFUSED: Connection refused" >&2
                  exit 1
                fi
                echo "done with $3"
                END
                chmod 755 /tmp/bin/bundle
                echo 'export PATH=/tmp/bin:$PATH' >/tmp/enable
          readinessProbe: { exec: { command: [test, -x, /tmp/bin/bundle] }, periodSeconds: 1 }
"#;

#[test]
fn rake_tasks_run_in_order_and_again_while_the_application_comes_up() {
    let site = Site::with_objects_only();
    let path = "            - { name: PATH, value: \"/tmp/bin:/usr/sbin:/usr/bin:/sbin:/bin\" }\n";
    // As in the older images: only a shell finds the program.
    let shell = "            - { name: BASH_ENV, value: /tmp/enable }\n";
    let with =
        |line: &str| BUNDLE.replacen("          env:\n", &format!("          env:\n{line}"), 1);
    applied(
        &site,
        &[
            waits(
                "Deployment",
                "system-sidekiq",
                "system-sidekiq",
                1,
                &with(path),
            ),
            waits("Deployment", "system-app", "system-master", 2, &with(shell)),
        ],
    );
    awaited(&site, "deployment/system-sidekiq");
    awaited(&site, "deployment/system-app");
    site.prepare(
        "    - name: storage-rewrite
      module: { name: rake }
      targets: { rails: { workload: deployment/system-app, container: system-master } }
      parameters: { task: \"backend:storage:rewrite\", pause: 1s }
    - name: search-index
      module: { name: rake }
      targets: { rails: { workload: deployment/system-sidekiq, container: system-sidekiq } }
      parameters: { task: \"searchd:optimal_index\", pause: 1s }
      restore: { after: [storage-rewrite] }
    - name: resync-domains
      module: { name: rake }
      targets: { rails: { workload: deployment/system-sidekiq, container: system-sidekiq } }
      parameters: { task: \"zync:resync:domains\", pause: 1s }
      restore: { after: [search-index] }
",
    );
    let _kept = site.report(&["backup"]).exits(0);
    let tasks = |workload: &str, container: &str| {
        site.in_pod(workload, container, "cat /tmp/tasks 2>/dev/null || true")
    };
    let sidekiq = || tasks("deployment/system-sidekiq", "system-sidekiq");
    assert_eq!(sidekiq(), "", "a backup runs no task");

    let restored = site.report(&["restore", "latest", "--yes"]).exits(0);
    assert!(
        restored.stderr().contains("Errno::ECONNREFUSED"),
        "{restored}"
    );
    assert!(
        restored.stderr().contains("ended with 0 at attempt 3"),
        "{restored}"
    );
    let index = "searchd:optimal_index\n".repeat(3);
    let resync = "zync:resync:domains\n".repeat(3);
    assert_eq!(sidekiq(), format!("{index}{resync}"));

    // A task that fails for good fails its data set, with its last words, and no other one.
    site.in_pod(
        "deployment/system-sidekiq",
        "system-sidekiq",
        "printf '#!/bin/sh\\necho no such task >&2\\nexit 1\\n' >/tmp/bin/bundle",
    );
    let application = std::fs::read_to_string(site.path("cofferdam.yaml")).expect("read");
    site.write(
        "cofferdam.yaml",
        &application.replace("pause: 1s", "pause: 1s, attempts: 2"),
    );
    let failed = site
        .report(&["restore", "latest", "--yes", "--only", "resync-domains"])
        .exits(1);
    let message = failed.data_set("resync-domains")["failure"]["message"].to_string();
    assert!(
        message.contains("failed 2 times") && message.contains("no such task"),
        "{message}"
    );
}

/// A Template with parameters of every kind of source.
const TEMPLATE: &str = r#"apiVersion: template.openshift.io/v1
kind: Template
metadata: { name: 3scale-api-management }
message: Login as ${ADMIN_USERNAME}/${ADMIN_PASSWORD}
parameters:
  - { name: APP_LABEL, required: true, value: other }
  - { name: WILDCARD_DOMAIN, required: true }
  - { name: SYSTEM_DATABASE, required: true, value: system }
  - { name: SYSTEM_DATABASE_ROOT_PASSWORD, required: true, generate: expression, from: "[a-z0-9]{8}" }
  - { name: ADMIN_USERNAME, required: true, value: admin }
  - { name: ADMIN_PASSWORD, required: true, generate: expression, from: "[a-z0-9]{8}" }
  - { name: AMP_RELEASE, required: true, value: 2.6.0 }
objects:
  - apiVersion: v1
    kind: Secret
    metadata: { name: system-database, labels: { app: "${APP_LABEL}" } }
    stringData: { URL: "mysql2://root:${SYSTEM_DATABASE_ROOT_PASSWORD}@system-mysql/${SYSTEM_DATABASE}" }
  - apiVersion: v1
    kind: Secret
    metadata: { name: made-by-template, labels: { app: "${APP_LABEL}" } }
    stringData: { login: "${ADMIN_USERNAME}:${ADMIN_PASSWORD}" }
  - apiVersion: v1
    kind: ConfigMap
    metadata: { name: domains }
    data: { domain: "master.${WILDCARD_DOMAIN}", release: "${AMP_RELEASE}" }
  - apiVersion: v1
    kind: Service
    metadata: { name: zync, labels: { app: "${APP_LABEL}" } }
    spec: { ports: [{ port: 8080 }], selector: { deploymentConfig: zync } }
"#;

const TEMPLATE_DATA_SETS: &str = "    - name: objects
      module: { name: kube-objects }
      parameters: { secrets: [system-seed, system-database], configmaps: [system-environment] }
    - name: application
      module: { name: openshift-template }
      restore: { after: [objects] }
";

/// Every file that the runs left, and what was printed, has none of the values.
#[track_caller]
fn shows_no_value(site: &Site, printed: &str) {
    let mut files = vec![site.path("state")];
    let mut seen = 0;
    while let Some(path) = files.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).expect("a folder").flatten();
            files.extend(entries.map(|entry| entry.path()));
            continue;
        }
        seen += 1;
        let bytes = std::fs::read(&path).expect("read");
        let text = String::from_utf8_lossy(&bytes);
        assert!(
            !text.contains("made-up-"),
            "a value is in `{}`",
            path.display()
        );
    }
    assert!(seen > 0, "there is no state");
    assert!(!printed.contains("made-up-"), "{printed}");
}

#[test]
fn an_application_is_made_of_its_template_and_no_value_is_seen() {
    let site = Site::with_objects_only();
    site.kubectl_fed(&["apply", "-f", "-"], TEMPLATE);
    site.prepare(TEMPLATE_DATA_SETS);
    let policy = std::fs::read_to_string(site.path("cofferdam.cedar")).expect("read");
    assert!(
        policy.contains("SYSTEM_DATABASE_ROOT_PASSWORD=Secret/system-database/URL#password"),
        "{policy}"
    );
    let kept = site.report(&["backup"]).exits(0);
    shows_no_value(&site, &kept.to_string());

    // The disaster: nothing of it is left, not even the Template.
    site.kubectl(&["delete", "template/3scale-api-management"]);
    site.kubectl(&["delete", "secret", "system-seed", "system-database"]);
    site.kubectl(&["delete", "configmap/system-environment"]);
    let restored = site.report(&["restore", "latest", "--yes"]).exits(0);
    shows_no_value(&site, &restored.to_string());
    let decoded = |object: &str, path: &str| {
        let script = format!("{{{{ index {path} | base64decode }}}}");
        site.kubectl(&["get", object, "-o", &format!("go-template={script}")])
    };
    assert_eq!(
        decoded("secret/made-by-template", ".data \"login\""),
        "admin:made-up-admin-password"
    );
    assert_eq!(
        field(&site, "secret/made-by-template", ".metadata.labels.app"),
        "3scale-api-management"
    );
    assert_eq!(
        field(&site, "configmap/domains", ".data.domain"),
        "master.3scale.example.com"
    );
    assert_eq!(field(&site, "configmap/domains", ".data.release"), "2.6.0");
    assert_eq!(field(&site, "service/zync", ".spec.ports[0].port"), "8080");
    // It was restored before, with keys that the Template does not know: it stays.
    assert_eq!(
        decoded("secret/system-database", ".data \"DB_USER\""),
        "mysql"
    );
    assert!(
        restored.stderr().contains("`Service/zync`: created"),
        "{restored}"
    );
    assert!(
        restored.stderr().contains("`Secret/system-database`: kept"),
        "{restored}"
    );

    // Again: nothing is changed.
    let again = site.report(&["restore", "latest", "--yes"]).exits(0);
    assert!(
        again.stderr().contains("`ConfigMap/domains`: equal"),
        "{again}"
    );
    assert!(
        again.stderr().contains("`Secret/made-by-template`: equal"),
        "{again}"
    );

    // A source that is missing stops it before anything is made.
    site.kubectl(&["delete", "secret/system-seed"]);
    site.kubectl(&["delete", "service/zync"]);
    let refused = site
        .report(&["restore", "latest", "--yes", "--only", "application"])
        .exits(1);
    let message = refused.data_set("application")["failure"]["message"].to_string();
    assert!(
        message.contains("`ADMIN_PASSWORD` from Secret/system-seed/ADMIN_PASSWORD"),
        "{message}"
    );
    assert_eq!(
        site.kubectl(&["get", "service", "--ignore-not-found", "zync"]),
        ""
    );
}

#[test]
fn a_template_that_makes_more_than_its_module_declares_makes_nothing() {
    let site = Site::with_objects_only();
    let stranger = "  - apiVersion: apps.3scale.net/v1alpha1
    kind: APIManager
    metadata: { name: mine }
    spec: { password: \"${ADMIN_PASSWORD}\" }
";
    site.kubectl_fed(&["apply", "-f", "-"], &format!("{TEMPLATE}{stranger}"));
    site.prepare(TEMPLATE_DATA_SETS);
    let _kept = site.report(&["backup"]).exits(0);
    let refused = site
        .report(&["restore", "latest", "--yes", "--only", "application"])
        .exits(1);
    let message = refused.data_set("application")["failure"]["message"].to_string();
    assert!(
        message.contains("apps.3scale.net/v1alpha1/APIManager"),
        "{message}"
    );
    assert_eq!(
        site.kubectl(&["get", "configmap", "--ignore-not-found", "domains"]),
        ""
    );
    shows_no_value(&site, &refused.to_string());

    // A site that does not want one of the Secrets used says so, and the gate keeps to it.
    let policy = std::fs::read_to_string(site.path("cofferdam.cedar")).expect("read");
    let forbid = "@id(\"no root password\")\nforbid (principal, action == Action::\"process-template\", resource)\nwhen { context.sources.contains(\"SYSTEM_DATABASE_ROOT_PASSWORD=Secret/system-database/URL#password\") };\n";
    site.write("cofferdam.cedar", &format!("{policy}\n{forbid}"));
    let denied = site
        .report(&["restore", "latest", "--yes", "--only", "application"])
        .exits(3);
    assert!(denied.to_string().contains("no root password"), "{denied}");
}
