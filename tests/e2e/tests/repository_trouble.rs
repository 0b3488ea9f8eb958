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
    let _verified = site.report(&["verify", "latest"]).exits(1);
    let _restored = site.report(&["restore", "latest", "--yes"]).exits(1);
}

#[test]
fn a_wrong_password_is_the_users_move() {
    let site = site();
    site.write("password", "wrong\n");
    let _refused = site
        .cofferdam(&["list"])
        .exits(2)
        .says("password")
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
