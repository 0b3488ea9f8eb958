//! An operator of 3scale lets the files be written by looking, and backs up and restores with them,
//! in each era; half an upgrade is refused; a backup of one era is restored into another namespace.
#![expect(
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "what is missing fails its story either way"
)]

use e2e::servers::{DATABASE_CLIENT, MYSQL};
use e2e::{NAMESPACE, Site};
use local_cluster::demo::{self, Era};

const COPY: &str = "copy";

/// An installation on a site.
struct Installation<'a> {
    site: &'a Site,
    namespace: &'a str,
    era: Era,
    system: System,
}

/// Where the accounts are.
#[derive(Clone, Copy, PartialEq)]
enum System {
    Mysql,
    Postgresql,
}

impl System {
    const fn workload(self) -> &'static str {
        match self {
            Self::Mysql => "system-mysql",
            Self::Postgresql => "system-postgresql",
        }
    }
}

impl Installation<'_> {
    /// Runs a shell line in the one pod of a workload, found by the label of its era.
    #[track_caller]
    fn within(&self, workload: &str, container: &str, line: &str) -> String {
        let label = match self.era {
            Era::A => "deploymentConfig",
            Era::B | Era::C => "deployment",
        };
        let selector = format!("{label}={workload}");
        let pods = [
            "get",
            "pods",
            "-l",
            &selector,
            "-o",
            "name",
            "-n",
            self.namespace,
        ];
        let pods = self.site.kubectl(&pods);
        let pods: Vec<&str> = pods.lines().collect();
        assert_eq!(pods.len(), 1, "{workload}: {pods:?}");
        let mut words = vec!["exec", pods[0], "-n", self.namespace, "-c", container];
        words.extend(["--", "sh", "-c", line]);
        self.site.kubectl(&words)
    }

    fn seed(&self) {
        self.accounts(match self.system {
            System::Mysql => "CREATE TABLE accounts AS SELECT seq AS id, CONCAT('n', seq) AS name FROM seq_1_to_1000",
            System::Postgresql => "CREATE TABLE accounts AS SELECT id, concat('n', id) AS name FROM generate_series(1, 1000) AS id",
        });
        self.files("mkdir -p logos && seq 1 5000 > logos/acme.svg && ln -s acme.svg logos/link && chmod 640 logos/acme.svg");
        let sql = "CREATE TABLE jobs AS SELECT generate_series(1, 300) AS id";
        self.zync(sql);
        for redis in ["backend-redis", "system-redis"] {
            let line = format!("seq 1 500 | sed 's/.*/SET {redis}:& value&/' | redis-cli --pipe");
            self.within(redis, redis, &line);
        }
    }

    /// Runs a statement in the system database.
    fn accounts(&self, sql: &str) -> String {
        let client = match self.system {
            System::Mysql => format!("{MYSQL} system -e"),
            System::Postgresql => "psql -qtAU postgres system -c".to_owned(),
        };
        let workload = self.system.workload();
        self.within(workload, workload, &format!("{client} \"{sql}\""))
    }

    fn files(&self, line: &str) -> String {
        let line = format!("cd /opt/system/public/system && {line}");
        self.within("system-app", "system-master", &line)
    }

    /// What the operator makes everything from, and says of it.
    fn api_manager(&self) -> String {
        let manager = "apiVersion: apps.3scale.net/v1alpha1\nkind: APIManager\nmetadata: { name: apimanager }\nspec: { wildcardDomain: 3scale.example.com }\n";
        let namespace = ["-n", self.namespace];
        let apply = ["apply", "-f", "-", "-n", self.namespace];
        self.site.kubectl_fed(&apply, manager);
        let available = r#"{"status":{"conditions":[{"type":"Available","status":"True"}]}}"#;
        let name = "apimanager/apimanager";
        let subresource = "--subresource=status";
        let mut patch = vec!["patch", name, subresource, "--type=merge", "-p", available];
        patch.extend(namespace);
        self.site.kubectl(&patch);
        let mut get = vec!["get", name, "-o", "jsonpath={.metadata.uid}"];
        get.extend(namespace);
        self.site.kubectl(&get)
    }

    /// The mark by which the operator's workloads are known.
    fn belongs_to_an_api_manager(&self) {
        let uid = self.api_manager();
        let owner = format!(
            r#"{{"metadata":{{"ownerReferences":[{{"apiVersion":"apps.3scale.net/v1alpha1","kind":"APIManager","name":"apimanager","uid":"{uid}","controller":true}}]}}}}"#
        );
        let kind = match self.era {
            Era::A => "deploymentconfig",
            Era::B | Era::C => "deployment",
        };
        for workload in self.site.kubectl(&["get", kind, "-o", "name"]).lines() {
            self.site
                .kubectl(&["patch", workload, "--type=merge", "-p", &owner]);
        }
    }

    fn zync(&self, sql: &str) -> String {
        let line = format!("psql -qtAU postgres zync_production -c '{sql}'");
        self.within("zync-database", "postgresql", &line)
    }

    fn destroy(&self) {
        self.files("find . -mindepth 1 -delete");
        for object in ["secret/system-seed", "secret/zync", "configmap/system"] {
            self.site.kubectl(&["delete", object]);
        }
        self.zync("DROP TABLE jobs");
        match self.system {
            System::Mysql => self.accounts("DROP DATABASE system"),
            System::Postgresql => self.accounts("DROP TABLE accounts; DROP ROLE clerk"),
        };
        for redis in ["backend-redis", "system-redis"] {
            self.within(redis, redis, "redis-cli FLUSHALL");
        }
    }

    fn proof(&self) -> String {
        let mut proof = self.accounts(match self.system {
            System::Mysql => "CHECKSUM TABLE accounts",
            System::Postgresql => "SELECT count(*), md5(string_agg(id || name, ',' ORDER BY id)) FROM accounts; SELECT rolname FROM pg_roles WHERE rolname = 'clerk'",
        });
        proof.push_str(&self.zync("SELECT count(*), sum(id) FROM jobs"));
        proof.push_str(
            &self.files(
                "find . -mindepth 1 -printf '%P %y %m %l\\n' | sort; sha256sum logos/acme.svg",
            ),
        );
        for object in ["secret/system-seed", "secret/zync", "configmap/system"] {
            let data = [
                "get",
                object,
                "-n",
                self.namespace,
                "-o",
                "jsonpath={.data}",
            ];
            proof.push_str(&self.site.kubectl(&data));
        }
        for redis in ["backend-redis", "system-redis"] {
            let line = "redis-cli --scan | sort | while read -r key; do echo \"$key $(redis-cli GET \"$key\")\"; done | sha256sum; redis-cli DBSIZE; redis-cli CONFIG GET save; redis-cli CONFIG GET appendonly";
            proof.push_str(&self.within(redis, redis, line));
        }
        proof
    }
}

/// From an empty folder to a proven restore.
fn whole_way(site: &Site, era: Era, system: System) {
    let (letter, kind) = match era {
        Era::A => ("a", "deploymentconfig"),
        Era::B | Era::C => ("b", "deployment"),
    };
    let there = Installation {
        site,
        namespace: NAMESPACE,
        era,
        system,
    };
    there.seed();
    there.belongs_to_an_api_manager();
    let before = there.proof();
    let written = site
        .report(&["init", "threescale", "--namespace", NAMESPACE])
        .exits(0);
    assert_eq!(written.json()["era"], letter, "{written}");
    let file = std::fs::read_to_string(site.path("cofferdam.yaml")).expect("written");
    for line in [
        format!("threescale: {{ era: \"{letter}\" }}"),
        format!("workload: {kind}/{0}, container: {0}", system.workload()),
        format!("workload: {kind}/backend-redis, container: backend-redis"),
        "kind: apps.3scale.net/v1alpha1/APIManager".to_owned(),
        "folder: \"/opt/system/public/system\"".to_owned(),
    ] {
        assert!(file.contains(&line), "no `{line}` in\n{file}");
    }
    let _made = site.cofferdam(&["repository", "init"]).exits(0);
    let said = format!("3scale era {} ", letter.to_uppercase());
    let checked = site.cofferdam(&["check"]).exits(0);
    assert!(checked.stdout().contains(&said), "{checked}");
    let plan = site.cofferdam(&["backup", "--dry-run"]).exits(0);
    assert!(plan.stdout().contains(&said), "{plan}");

    // All that writes is stopped for the time of it, and is back afterwards.
    let backup = site.report(&["backup", "--quiesce"]).exits(0);
    site.wait_for_workloads(NAMESPACE, era);
    let known = &backup.json()["era"];
    assert_eq!(known["era"], letter, "{backup}");
    assert_eq!(known["by"], "looking", "{backup}");
    there.destroy();
    assert_ne!(proof_or_none(&there), before);
    let _restored = site.report(&["restore", "latest", "--yes"]).exits(0);
    assert_eq!(there.proof(), before);
    // Since its own rollout system-sidekiq was told these: the index, and then the routes.
    let told = there.within("system-sidekiq", "system-sidekiq", "cat /tmp/told");
    assert_eq!(
        told,
        "exec rake searchd:optimal_index\nexec rake zync:resync:domains\n"
    );
}

/// What is left in Redis; the database is gone.
fn proof_or_none(there: &Installation<'_>) -> String {
    there.within("backend-redis", "backend-redis", "redis-cli DBSIZE")
}

#[test]
fn era_a_is_found_and_goes_the_whole_way_and_on_into_era_b_elsewhere() {
    let site = Site::of_era(Era::A);
    whole_way(&site, Era::A, System::Mysql);
    let there = Installation {
        site: &site,
        namespace: NAMESPACE,
        era: Era::A,
        system: System::Mysql,
    };
    let before = there.proof();

    let copy = demo::manifests_of(Era::B, "none")
        .replace("namespace: 3scale\n", "namespace: copy\n")
        .replace("  name: 3scale\n", "  name: copy\n");
    site.kubectl_fed(&["apply", "-f", "-", "--namespace", COPY], &copy);
    site.wait_for_workloads(COPY, Era::B);
    let copied = Installation {
        site: &site,
        namespace: COPY,
        era: Era::B,
        system: System::Mysql,
    };
    // Its operator is there already.
    copied.api_manager();
    let elsewhere = ["restore", "latest", "--yes", "--to-namespace", COPY];

    let _same = site
        .cofferdam(&["restore", "latest", "--yes", "--to-namespace", NAMESPACE])
        .exits(2)
        .says("is the namespace of the application itself");
    // What the site allows, it allows in the application's own namespace.
    let _denied = site
        .cofferdam(&elsewhere)
        .exits(3)
        .says("policy does not allow");
    let _written = site
        .cofferdam(&[
            "policy",
            "init",
            "--to-namespace",
            COPY,
            "--policy",
            "elsewhere.cedar",
        ])
        .exits(0);
    let mut allowed = elsewhere.to_vec();
    allowed.extend(["--policy", "elsewhere.cedar", "--output", "json"]);
    let restored = site.cofferdam(&allowed).exits(0);
    let report = restored.json();
    assert_eq!(report["namespace"], COPY, "{restored}");
    assert_eq!(report["era"]["era"], "b", "{restored}");
    assert_eq!(copied.proof(), before);
    assert_eq!(there.proof(), before, "the source was touched");

    // Now the source's Secret leads to the source by name: the copy would write there.
    let url = r#"{"stringData":{"URL":"mysql2://root:pw@system-mysql.3scale.svc/system"}}"#;
    site.kubectl(&[
        "patch",
        "secret",
        "system-database",
        "--type=merge",
        "-p",
        url,
    ]);
    let _kept = site.cofferdam(&["backup", "--only", "objects"]).exits(0);
    let mut objects = allowed.clone();
    objects.extend(["--only", "objects"]);
    let _refused = site
        .cofferdam(&objects)
        .exits(2)
        .says("names hosts in namespace `3scale`")
        .says("Secret/system-database `URL`")
        .never_says("root:pw");
}

#[test]
fn era_b_is_found_and_goes_the_whole_way() {
    let site = Site::of_era(Era::B);
    whole_way(&site, Era::B, System::Mysql);
}

/// One more PostgreSQL with a database `system`, made like zync-database, on a volume of its own.
fn one_more_postgresql(site: &Site, name: &str) {
    let claim = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: { name: postgresql-data }\nspec: { accessModes: [ReadWriteOnce], resources: { requests: { storage: 1Gi } } }\n";
    site.kubectl_fed(&["apply", "-f", "-", "--namespace", NAMESPACE], claim);
    let zync = site.kubectl(&["get", "deployment/zync-database", "-o", "json"]);
    let text = zync
        .replace("zync-database", name)
        .replace("zync_production", "system");
    let made: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let mut spec = made["spec"].clone();
    let pod = &mut spec["template"]["spec"];
    pod["containers"][0]["name"] = name.into();
    pod["volumes"][0] = serde_json::json!({
        "name": format!("{name}-data"),
        "persistentVolumeClaim": { "claimName": "postgresql-data" },
    });
    let deployment = serde_json::json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": name, "namespace": NAMESPACE },
        "spec": spec,
    });
    site.kubectl_fed(&["apply", "-f", "-"], &deployment.to_string());
    site.wait_for_workloads(NAMESPACE, Era::B);
}

#[test]
fn era_b_with_a_postgresql_for_the_system_goes_the_whole_way() {
    let site = Site::of_era(Era::B);
    site.kubectl(&["delete", "deployment/system-mysql"]);
    one_more_postgresql(&site, "system-postgresql");
    let role = "psql -qtAU postgres system -c 'CREATE ROLE clerk'";
    site.in_pod("deployment/system-postgresql", "system-postgresql", role);
    whole_way(&site, Era::B, System::Postgresql);
}

#[test]
fn era_c_ends_with_what_is_external_and_not_with_success() {
    let site = Site::of_era(Era::C);
    let written = site
        .cofferdam(&["init", "threescale", "--namespace", NAMESPACE])
        .exits(0);
    assert!(
        written.stdout().contains("not covered: system-database: "),
        "{written}"
    );
    let _made = site.cofferdam(&["repository", "init"]).exits(0);
    let checked = site.cofferdam(&["check"]).exits(4);
    for name in ["system-database", "backend-redis", "system-redis"] {
        let line = format!("warning  {name}: external, not covered: ");
        assert!(checked.stdout().contains(&line), "{checked}");
    }

    let backup = site.report(&["backup"]).exits(4);
    let report = backup.json();
    assert_eq!(report["era"]["era"], "c", "{backup}");
    let external: Vec<&str> = report["external"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|one| one["name"].as_str())
        .collect();
    assert_eq!(
        external,
        ["system-database", "backend-redis", "system-redis"]
    );
    assert!(backup.data_set("objects")["snapshot"].is_string());
    let runs = site.runs();
    assert_eq!(runs[0]["whole"], false, "{runs:?}");
    let listed = site.cofferdam(&["list"]).exits(0);
    let line = "external, not covered: system-database, backend-redis, system-redis";
    assert!(listed.stdout().contains(line), "{listed}");
    let shown = site.cofferdam(&["show", "latest"]).exits(0);
    assert!(
        shown
            .stdout()
            .contains("system-database: external, not covered: "),
        "{shown}"
    );

    site.kubectl(&["delete", "secret", "system-app"]);
    let _restored = site.cofferdam(&["restore", "latest", "--yes"]).exits(4);
    site.kubectl(&["get", "secret", "system-app"]);
    let _named = site.cofferdam(&["backup", "--only", "objects"]).exits(0);
    let _asked = site
        .cofferdam(&["backup", "--only", "system-database"])
        .exits(2)
        .says("data set `system-database` is external, not covered");
}

/// How the pods reach the server that is outside.
const OUTSIDE: &str = "apiVersion: v1
kind: Service
metadata: { name: outside, namespace: 3scale }
spec: { selector: { deployment: outside }, ports: [ { port: 5432 } ] }
";

const BOUND: &str = "    - name: system-database
      module: { name: postgresql }
      targets:
        server: { workload: deployment/database-client, container: client }
        writer: { workload: deployment/system-app, container: system-master }
        second-writer: { workload: deployment/system-sidekiq, container: system-sidekiq }
      secrets: { password: { secret: zync, key: ZYNC_DATABASE_PASSWORD } }
      parameters: { scope: database, database: system, user: zync, host: outside }
      restore: { after: [objects] }
";

#[test]
fn era_c_covers_a_database_outside_once_a_module_is_bound() {
    let site = Site::of_era(Era::C);
    one_more_postgresql(&site, "outside");
    site.apply(OUTSIDE);
    site.apply(DATABASE_CLIENT);
    site.wait_for_workloads(NAMESPACE, Era::C);
    let outside = |sql: &str| {
        let line = format!("psql -qtAU postgres system -c \"{sql}\"");
        site.in_pod("deployment/outside", "outside", &line)
    };
    outside(
        "SET ROLE zync; CREATE TABLE accounts AS SELECT id, concat('n', id) AS name FROM generate_series(1, 1000) AS id",
    );
    let proof = || outside("SELECT md5(string_agg(id || name, ',' ORDER BY id)) FROM accounts");
    let before = proof();

    let _written = site
        .cofferdam(&["init", "threescale", "--namespace", NAMESPACE])
        .exits(0);
    let file = std::fs::read_to_string(site.path("cofferdam.yaml")).expect("written");
    let (head, rest) = file
        .split_once("    - name: system-database\n")
        .expect("an entry");
    let (external, rest) = rest.split_once('\n').expect("one line more");
    assert!(external.starts_with("      external: "), "{external}");
    site.write("cofferdam.yaml", &[head, BOUND, rest].concat());
    let _anew = site.cofferdam(&["policy", "init", "--force"]).exits(0);
    let _made = site.cofferdam(&["repository", "init"]).exits(0);

    let backup = site.report(&["backup"]).exits(4);
    let left = backup.json()["external"].to_string();
    assert!(!left.contains("system-database"), "{left}");
    assert!(left.contains("system-redis"), "{left}");
    outside("DROP TABLE accounts");
    site.kubectl(&["delete", "secret", "system-app"]);
    let _restored = site.report(&["restore", "latest", "--yes"]).exits(4);
    assert_eq!(proof(), before);
    site.kubectl(&["get", "secret", "system-app"]);
    site.wait_for_workloads(NAMESPACE, Era::C);
}

/// A workload without pods: only its kind and name matter here.
fn bare(kind: &str, name: &str) -> String {
    let (version, selector) = match kind {
        "DeploymentConfig" => (
            "apps.openshift.io/v1",
            format!("{{ deploymentConfig: {name} }}"),
        ),
        _ => (
            "apps/v1",
            format!("{{ matchLabels: {{ deployment: {name} }} }}"),
        ),
    };
    let label = if kind == "Deployment" {
        "deployment"
    } else {
        "deploymentConfig"
    };
    format!(
        "apiVersion: {version}\nkind: {kind}\nmetadata: {{ name: {name} }}\nspec:\n  replicas: 0\n  selector: {selector}\n  template:\n    metadata: {{ labels: {{ {label}: {name} }} }}\n    spec: {{ containers: [ {{ name: {name}, image: none }} ] }}\n---\n"
    )
}

#[test]
fn half_an_upgrade_is_refused_and_a_person_may_say_which_era() {
    let site = Site::local_with(&[]);
    let init = ["init", "threescale", "--namespace", NAMESPACE];
    let _empty = site
        .cofferdam(&init)
        .exits(2)
        .says("no workload of 3scale is there");

    let mut objects = bare("DeploymentConfig", "backend-worker");
    objects.push_str(&bare("DeploymentConfig", "system-mysql"));
    objects.push_str(&bare("Deployment", "system-mysql"));
    site.kubectl_fed(&["apply", "-f", "-"], &objects);
    let _both = site
        .cofferdam(&init)
        .exits(2)
        .says("there both as a DeploymentConfig and as a Deployment: `system-mysql`")
        .says("wait until the operator has removed the DeploymentConfigs");
    assert!(!site.path("cofferdam.yaml").exists());

    let said: Vec<&str> = init.iter().copied().chain(["--era", "a"]).collect();
    let _said = site.cofferdam(&said).exits(0);
    let file = std::fs::read_to_string(site.path("cofferdam.yaml")).expect("written");
    assert!(file.contains("asserted: true"), "{file}");
    assert!(file.contains("deploymentconfig/system-mysql"), "{file}");
    let _there = site.cofferdam(&said).exits(2).says("is there already");

    // Looked for in every run, where nobody has said otherwise.
    let looked = file.replace(", asserted: true", "");
    site.write("cofferdam.yaml", &looked);
    let _refused = site
        .cofferdam(&["backup", "--dry-run"])
        .exits(2)
        .says("there both as");
    site.kubectl(&["delete", "deploymentconfig", "--all"]);
    let _another = site
        .cofferdam(&["backup", "--dry-run"])
        .exits(2)
        .says("holds era B")
        .says("init threescale --force");
}
