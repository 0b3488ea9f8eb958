//! Trees coming out: by this program, by the real tar, by the real restic.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt, symlink};

use cofferdam_repository::{Error, LoadChoice, Snapshot, TreePath};

use super::{difficult, load, plan, save, state};
use crate::restic::restic;
use crate::workbench::{Workbench, name, noise};

#[tokio::test]
async fn restic_checks_lists_and_restores_a_tree() {
    let workbench = Workbench::new().await;
    let root = difficult();
    let (snapshot, counts, _) = save(&workbench.repository, root.path()).await.unwrap();
    assert_eq!((counts.links, counts.folders), (3, 5));
    let folder = workbench.folder.path();
    let checked = restic(folder, &["check", "--read-data"]);
    let text = String::from_utf8_lossy(&checked.stdout);
    assert!(text.contains("no errors were found"), "{text}");
    assert!(workbench.repository.check(true).await.unwrap().is_clean());
    let listed = restic(
        folder,
        &["ls", snapshot.id.as_ref(), "/system-storage/files/a"],
    );
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.contains("/system-storage/files/a/twin"), "{listed}");

    let target = tempfile::tempdir().unwrap();
    let into = target.path().to_str().unwrap();
    restic(folder, &["restore", snapshot.id.as_ref(), "--target", into]);
    let restored = target.path().join("system-storage/files");
    let (mut expected, mut found) = (state(root.path()), state(&restored));
    // Older versions of restic know no link target that is not UTF-8.
    expected.remove(&b"a/absolute"[..]).unwrap();
    found.remove(&b"a/absolute"[..]).unwrap();
    assert_eq!(
        expected.keys().collect::<Vec<_>>(),
        found.keys().collect::<Vec<_>>()
    );
    for (path, kept) in &expected {
        assert!(found.get(path) == Some(kept), "{}", path.escape_ascii());
    }
    let inode = |name: &str| std::fs::metadata(restored.join(name)).unwrap().ino();
    assert_eq!(inode("large"), inode("a/twin"), "still one file");
}

/// Reads all of a tree; how long its archive is.
async fn repository_archive(workbench: &Workbench, snapshot: &Snapshot) -> u64 {
    let name = name("files");
    let tree = workbench.repository.open_tree(&snapshot.id, &name);
    let mut archive = tree.await.unwrap().archive().await.unwrap();
    while archive.read().await.unwrap().is_some() {}
    archive.bytes()
}

#[tokio::test]
async fn a_loaded_tree_is_what_was_saved() {
    let workbench = Workbench::new().await;
    let root = difficult();
    let (snapshot, ..) = save(&workbench.repository, root.path()).await.unwrap();
    let whole = repository_archive(&workbench, &snapshot).await;
    let evidence = &snapshot.artifacts[0].evidence;
    let told = evidence.iter().find(|(key, _)| key == "archive-bytes");
    assert_eq!(told.unwrap().1, whole.to_string(), "verify counts on it");
    let target = tempfile::tempdir().unwrap();
    let counts = load(
        &workbench.repository,
        &snapshot,
        target.path(),
        LoadChoice::default(),
    )
    .await
    .unwrap();
    assert!(
        counts.bytes < 8_000_000,
        "holes are not written: {counts:?}"
    );
    let (expected, found) = (state(root.path()), state(target.path()));
    assert_eq!(
        expected.keys().collect::<Vec<_>>(),
        found.keys().collect::<Vec<_>>()
    );
    for (path, kept) in &expected {
        assert!(found.get(path) == Some(kept), "{}", path.escape_ascii());
    }
    let metadata = |name: &str| std::fs::metadata(target.path().join(name)).unwrap();
    assert_eq!(metadata("large").ino(), metadata("a/twin").ino());
    assert!(
        metadata("sparse").blocks() * 512 < 2 << 20,
        "still with holes"
    );

    // What is the same everywhere has the same digest, wherever it was saved from.
    let (again, ..) = save(&workbench.repository, target.path()).await.unwrap();
    let digest = |snapshot: &Snapshot| {
        let evidence = &snapshot.artifacts[0].evidence;
        evidence
            .iter()
            .find(|(key, _)| key == "tree-sha256")
            .unwrap()
            .1
            .clone()
    };
    assert_eq!(digest(&snapshot), digest(&again));
}

#[tokio::test]
async fn what_stands_in_the_way_is_refused_or_removed() {
    let workbench = Workbench::new().await;
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("folder")).unwrap();
    std::fs::write(root.path().join("folder/file"), "saved").unwrap();
    std::fs::write(root.path().join("file"), "saved").unwrap();
    let (snapshot, ..) = save(&workbench.repository, root.path()).await.unwrap();
    let repository = &workbench.repository;

    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("file"), "precious").unwrap();
    let target = tempfile::tempdir().unwrap();
    symlink(outside.path(), target.path().join("folder")).unwrap();
    std::fs::create_dir_all(target.path().join("file/deep")).unwrap();
    std::fs::write(target.path().join("more"), "more").unwrap();
    let error = plan(repository, &snapshot, target.path(), LoadChoice::default())
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("`folder` is a link instead of a folder"),
        "{text}"
    );
    assert!(
        text.contains("`file` is a folder instead of a file"),
        "{text}"
    );

    let choice = LoadChoice {
        delete_extraneous: true,
        ..LoadChoice::default()
    };
    let counts = load(repository, &snapshot, target.path(), choice)
        .await
        .unwrap();
    assert_eq!(
        counts.removed, 4,
        "the link, the folder and what is in it, `more`"
    );
    assert!(state(target.path()) == state(root.path()));
    assert_eq!(
        std::fs::read(outside.path().join("file")).unwrap(),
        b"precious"
    );
}

#[tokio::test]
async fn the_choices_of_a_load_are_kept() {
    let workbench = Workbench::new().await;
    let root = tempfile::tempdir().unwrap();
    for folder in ["a", "b"] {
        std::fs::create_dir(root.path().join(folder)).unwrap();
        std::fs::write(root.path().join(folder).join("file"), "saved").unwrap();
    }
    let (snapshot, ..) = save(&workbench.repository, root.path()).await.unwrap();
    let repository = &workbench.repository;
    let content = |name: &str| fs_err::read_to_string(root.path().join(name)).unwrap();

    let same = plan(repository, &snapshot, root.path(), LoadChoice::default())
        .await
        .unwrap();
    assert_eq!((same.counts.files, same.counts.unchanged), (0, 2));

    std::fs::write(root.path().join("a/file"), "newer").unwrap();
    std::fs::write(root.path().join("b/file"), "newer").unwrap();
    std::fs::write(root.path().join("b/more"), "more").unwrap();
    let keep_newer = LoadChoice {
        keep_newer: true,
        ..LoadChoice::default()
    };
    assert_eq!(
        load(repository, &snapshot, root.path(), keep_newer)
            .await
            .unwrap()
            .kept_newer,
        2
    );
    assert_eq!(content("a/file"), "newer");

    let only = |path: &str| LoadChoice {
        delete_extraneous: true,
        only: vec![TreePath::from_text(path).unwrap()],
        ..LoadChoice::default()
    };
    load(repository, &snapshot, root.path(), only("./a/"))
        .await
        .unwrap();
    assert_eq!(
        (content("a/file"), content("b/file")),
        ("saved".into(), "newer".into())
    );
    load(repository, &snapshot, root.path(), only("b/file"))
        .await
        .unwrap();
    assert_eq!(
        (content("b/file"), content("b/more")),
        ("saved".into(), "more".into())
    );
    let error = plan(repository, &snapshot, root.path(), only("b/none"))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::NoSuchEntry { .. }), "{error}");

    // A folder of somebody else is left as it is; root may do all.
    let stranger = LoadChoice {
        user: 4_000_000,
        ..LoadChoice::default()
    };
    let counts = plan(repository, &snapshot, root.path(), stranger)
        .await
        .unwrap()
        .counts;
    assert_eq!(counts.left_folders, 2);
}

#[tokio::test]
async fn damage_shows_when_a_tree_is_read() {
    let workbench = Workbench::new().await;
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("file"), noise(3_000_000, 7)).unwrap();
    let (snapshot, ..) = save(&workbench.repository, root.path()).await.unwrap();
    let largest = workbench
        .files("data")
        .into_iter()
        .max_by_key(|file| std::fs::metadata(file).unwrap().len())
        .unwrap();
    let mut bytes = std::fs::read(&largest).unwrap();
    bytes[100_000] ^= 1;
    std::fs::set_permissions(&largest, PermissionsExt::from_mode(0o644)).unwrap();
    std::fs::write(&largest, bytes).unwrap();
    let repository = workbench.open_again().await;
    let tree = repository
        .open_tree(&snapshot.id, &name("files"))
        .await
        .unwrap();
    let mut archive = tree.archive().await.unwrap();
    let failed = loop {
        match archive.read().await {
            Ok(Some(_)) => {}
            Ok(None) => break false,
            Err(_) => break true,
        }
    };
    assert!(failed, "a damaged chunk must not pass");
    assert!(archive.read().await.is_err(), "silence is no end");
}
