//! The repository is full, locked, damaged or opened with a wrong password.

use std::path::{Path, PathBuf};

use e2e::Site;

const DATA_SETS: &str = "    - name: objects
      module: { name: kube-objects }
      parameters: { secrets: [system-database, system-app], configmaps: [redis-config] }
";

/// All stories of this file need a cluster only to have something to keep.
fn site() -> Site {
    let site = Site::with_objects_only();
    site.prepare(DATA_SETS);
    site
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

#[test]
fn a_flipped_byte_in_a_pack_is_found_by_check_and_by_verify() {
    let site = site();
    let _backup = site.report(&["backup"]).exits(0);
    let _clean = site
        .report(&["repository", "check", "--read-data"])
        .exits(0);
    for pack in files(&site.repository().join("data")) {
        let mut bytes = std::fs::read(&pack).expect("a pack");
        let middle = bytes.len() / 3;
        bytes[middle] ^= 1;
        let mut permissions = std::fs::metadata(&pack).expect("metadata").permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o600);
        std::fs::set_permissions(&pack, permissions).expect("writable");
        std::fs::write(&pack, bytes).expect("damaged");
    }
    let report = site
        .report(&["repository", "check", "--read-data"])
        .exits(1)
        .json();
    assert!(
        report["findings"]
            .as_array()
            .is_some_and(|findings| !findings.is_empty()),
        "{report}"
    );
    let before = site.versions();
    let verify: &[&str] = &["verify", "latest"];
    for words in [verify, &["restore", "latest", "--yes"]] {
        let failed = site.report(words).exits(1);
        let failure = failed.data_set("objects")["failure"].clone();
        assert!(
            failure["hint"]
                .as_str()
                .is_some_and(|hint| hint.contains("repository check --read-data")),
            "{failed}"
        );
    }
    assert_eq!(site.versions(), before, "damaged bytes reached the cluster");
}

/// A ConfigMap that no compressor makes small, as one of the data set.
const LARGE: &str = "    - name: objects
      module: { name: kube-objects }
      parameters: { secrets: [], configmaps: [large] }
";

/// Hex digits without a pattern: half of what it is long stays after compression.
fn noise(length: usize) -> String {
    use std::fmt::Write;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut text = String::new();
    while text.len() < length {
        // Xorshift: the same in every run.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        write!(text, "{state:016x}").expect("a string takes all");
    }
    text
}

#[test]
fn a_full_repository_is_said_with_the_way_out_and_what_it_keeps_stays_whole() {
    let site = Site::with_objects_only();
    let map = format!(
        "{{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{{\"name\":\"large\"}},\"data\":{{\"noise\":\"{}\"}}}}",
        noise(900_000)
    );
    // Created, not applied: an applied object would hold its text twice.
    site.kubectl_fed(&["create", "-f", "-"], &map);
    site.application(LARGE);
    let _written = site.cofferdam(&["policy", "init"]).exits(0);
    let answer = site
        .on_a_small_disk(
            "256k",
            r#"
            "$0" repository init > init.txt
            "$0" backup --output json > full.json && echo "it had room" && exit 9
            "$0" list --output json > list.json
            "$0" repository check --read-data > check.txt
            mount -o remount,size=16m "$COFFERDAM_REPOSITORY"
            "$0" backup --output json > roomy.json
            "$0" verify latest > verify.txt
            "$0" list --output json
            "#,
        )
        .exits(0)
        .says("make room");
    let read = |name: &str| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(site.path(name)).expect("written")).expect("JSON")
    };
    let full = read("full.json");
    let failure = &full["dataSets"][0]["failure"];
    assert_eq!(failure["blame"], "world", "{full}");
    assert!(
        failure["message"]
            .as_str()
            .is_some_and(|message| message.contains("No space left on device")),
        "{full}"
    );
    assert_eq!(read("list.json")["runs"], serde_json::json!([]));
    assert_eq!(answer.json()["runs"][0]["run"], read("roomy.json")["run"]);
    assert_eq!(answer.json()["runs"][0]["whole"], true);
}

#[test]
fn a_wrong_password_is_the_users_move() {
    let site = site();
    site.write("password", "wrong\n");
    let _refused = site
        .cofferdam(&["list"])
        .exits(2)
        .says("password")
        .says("hint")
        .never_says("correct horse");
}

#[test]
fn a_repository_that_is_not_there_says_how_to_make_one() {
    let site = Site::without_cluster();
    let _refused = site.cofferdam(&["list"]).exits(2).says("repository init");
}

#[test]
fn making_a_repository_twice_is_refused_and_harms_nothing() {
    let site = site();
    let _backup = site.report(&["backup"]).exits(0);
    let _refused = site.cofferdam(&["repository", "init"]).exits(2);
    assert_eq!(site.runs().len(), 1);
}

#[test]
fn prune_keeps_what_the_rule_keeps_and_what_stays_is_whole() {
    let site = site();
    for _ in 0..3 {
        let _backup = site.report(&["backup"]).exits(0);
    }
    let _would = site
        .report(&["prune", "--keep-last", "1", "--dry-run"])
        .exits(0);
    assert_eq!(site.runs().len(), 3);
    let _pruned = site.report(&["prune", "--keep-last", "1"]).exits(0);
    assert_eq!(site.runs().len(), 1);
    let _clean = site
        .report(&["repository", "check", "--read-data"])
        .exits(0);
    let _verified = site.report(&["verify", "latest"]).exits(0);
    let _refused = site.cofferdam(&["prune"]).exits(2);
}

#[test]
fn a_new_password_opens_and_an_old_one_can_be_removed() {
    let site = site();
    let new = site.write("new-password", "another\n");
    let _added = site
        .cofferdam(&[
            "repository",
            "key",
            "add",
            "--new-password-file",
            &new.display().to_string(),
        ])
        .exits(0);
    let keys = site.report(&["repository", "key", "list"]).exits(0).json();
    let old = keys
        .as_array()
        .expect("keys")
        .iter()
        .find(|key| key["current"] == true)
        .expect("a key in use")["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let path = new.display().to_string();
    let _removed = site
        .cofferdam(&[
            "repository",
            "key",
            "remove",
            &old,
            "--password-file",
            &path,
        ])
        .exits(0);
    let _opens = site.cofferdam(&["list", "--password-file", &path]).exits(0);
    let _refused = site.cofferdam(&["list"]).exits(2);
}
