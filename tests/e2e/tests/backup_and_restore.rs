//! An operator backs up, loses everything, and gets it back: with real servers, as a user would.

use e2e::servers::{DATA_SETS, MYSQL};
use e2e::{Answer, Site};
use sha2::{Digest, Sha256};

const OBJECTS: &str = "    - name: objects
      module: { name: kube-objects }
      parameters: { secrets: [system-database, system-app], configmaps: [redis-config, system-environment] }
";

fn seed(site: &Site) {
    site.kubectl_fed(
        &["exec", "-i", "deployment/system-mysql", "-c", "system-mysql", "--", "sh", "-c", &format!("{MYSQL} system")],
        "CREATE TABLE accounts (id INT PRIMARY KEY, name VARCHAR(200) CHARACTER SET utf8mb4, blob_column VARBINARY(64));
         INSERT INTO accounts SELECT seq, CONCAT('Grüße ', seq, ' \\\\ '' \"'), UNHEX(SHA2(seq, 256)) FROM seq_1_to_5000;
         CREATE VIEW names AS SELECT name FROM accounts;
         CREATE TRIGGER touched BEFORE INSERT ON accounts FOR EACH ROW SET NEW.name = CONCAT(NEW.name, '!');
         CREATE PROCEDURE count_them() SELECT COUNT(*) FROM accounts;",
    );
    site.in_pod(
        "deployment/backend-redis",
        "backend-redis",
        "seq 1 5000 | sed 's/.*/SET service:& \"value &\"/' | redis-cli --pipe && redis-cli RPUSH queue a b c && redis-cli HSET usage day 7",
    );
}

fn mysql_proof(site: &Site) -> String {
    let line = format!(
        "{MYSQL} system -e 'CHECKSUM TABLE accounts; SELECT COUNT(*) FROM names; CALL count_them(); SHOW TRIGGERS' | cut -f1-5"
    );
    site.in_pod("deployment/system-mysql", "system-mysql", &line)
}

fn redis_proof(site: &Site) -> String {
    let line = "redis-cli DBSIZE; redis-cli --scan | sort | while read -r key; do echo \"$key $(redis-cli --no-raw DUMP \"$key\")\"; done | head -200 | sha256sum; redis-cli LRANGE queue 0 -1; redis-cli GET service:4711";
    site.in_pod("deployment/backend-redis", "backend-redis", line)
}

fn objects_proof(site: &Site) -> String {
    let all = site.kubectl(&[
        "get",
        "secret/system-database",
        "secret/system-app",
        "configmap/redis-config",
        "-o",
        "jsonpath={range .items[*]}{.kind}{.metadata.name}{.data}{end}",
    ]);
    hex::encode(Sha256::digest(all))
}

#[test]
fn what_was_destroyed_comes_back_equal_and_the_real_restic_agrees() {
    let site = Site::start();
    seed(&site);
    site.prepare(&format!("{OBJECTS}{DATA_SETS}"));
    // The server's socket lies in a volume that ends with the pod; no data do.
    let _checked = site
        .cofferdam(&["check"])
        .exits(0)
        .never_says("end with the pod");
    let before = (mysql_proof(&site), redis_proof(&site), objects_proof(&site));

    let backup = site.report(&["backup"]).exits(0);
    for name in ["objects", "system-database", "backend-redis"] {
        let data_set = backup.data_set(name);
        assert!(data_set["bytes"].as_u64().expect("bytes") > 0, "{backup}");
        assert!(data_set["snapshot"].is_string(), "{backup}");
    }
    let runs = site.runs();
    assert_eq!(runs.len(), 1, "{runs:?}");
    assert_eq!(runs[0]["whole"], true, "{runs:?}");
    let _verified = site.report(&["verify", "latest"]).exits(0);

    site.in_pod(
        "deployment/system-mysql",
        "system-mysql",
        &format!("{MYSQL} -e 'DROP DATABASE system'"),
    );
    site.in_pod(
        "deployment/backend-redis",
        "backend-redis",
        "redis-cli FLUSHALL && redis-cli SET stranger 1",
    );
    site.kubectl(&["delete", "secret/system-app", "configmap/redis-config"]);

    let refused = site.cofferdam(&["restore", "latest"]).exits(2);
    let _asked = refused.says("--yes");
    let plan = site
        .report(&["restore", "latest", "--dry-run"])
        .exits(0)
        .json();
    assert_eq!(plan["dataSets"][0]["name"], "objects", "{plan}");
    assert!(
        site.kubectl(&["get", "secret", "--ignore-not-found", "system-app"])
            .is_empty(),
        "a dry run must touch nothing"
    );

    let restored = site.report(&["restore", "latest", "--yes"]).exits(0);
    assert_eq!(mysql_proof(&site), before.0);
    assert_eq!(redis_proof(&site), before.1);
    assert_eq!(objects_proof(&site), before.2);
    let configuration = site.in_pod(
        "deployment/backend-redis",
        "backend-redis",
        "redis-cli CONFIG GET save; redis-cli CONFIG GET appendonly",
    );
    assert!(
        configuration.contains("900 1") && configuration.contains("yes"),
        "the restore mode was left on: {configuration}"
    );

    let snapshot = backup.data_set("system-database")["snapshot"]
        .as_str()
        .expect("an id")
        .to_owned();
    site.restic(&["check", "--read-data"]);
    let name = backup.data_set("system-database")["artifacts"][0]["name"]
        .as_str()
        .expect("a name")
        .to_owned();
    let dump = site.restic(&["dump", &snapshot, &format!("/system-database/{name}")]);
    let digest = backup.data_set("system-database")["artifacts"][0]["sha256"]
        .as_str()
        .expect("a digest")
        .to_owned();
    assert_eq!(hex::encode(Sha256::digest(&dump)), digest);

    let shown = site.report(&["show", "latest", "--audit"]).exits(0);
    let lines = shown.json()["audit"]
        .as_array()
        .expect("the audit log")
        .len();
    assert!(lines > 10, "{shown}");
    no_secret_is_in(&site, &[&backup, &restored, &shown]);
}

/// No value of any Secret, encoded or not, is in what was said, in anything that was written outside
/// the repository, or in a command line, which stands in the URL of its request.
fn no_secret_is_in(site: &Site, answers: &[&Answer]) {
    let template = "{{range .items}}{{range .data}}{{.}}{{\"\\n\"}}{{. | base64decode}}{{\"\\n\"}}{{end}}{{end}}";
    let all = site.kubectl(&["get", "secrets", "-o", &format!("go-template={template}")]);
    // What is shorter than a password, such as a port, is in many texts for other reasons.
    let values: Vec<&str> = all.lines().filter(|value| value.len() >= 12).collect();
    assert!(values.len() > 20, "{values:?}");
    let mut texts: Vec<(String, String)> = answers
        .iter()
        .map(|answer| ("an answer".to_owned(), answer.to_string()))
        .collect();
    for file in walk(&site.path("state")) {
        let text = String::from_utf8_lossy(&std::fs::read(&file).expect("read")).into_owned();
        texts.push((file.display().to_string(), text));
    }
    let requests = site.deeds().unwrap_or_default().join("\n");
    texts.push(("a request".to_owned(), requests));
    for (place, text) in &texts {
        for value in &values {
            assert!(!text.contains(value), "`{value}` is in {place}");
        }
    }
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(walk(&path));
        } else {
            files.push(path);
        }
    }
    files
}
