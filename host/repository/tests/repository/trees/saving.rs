//! Trees going in: compared, read again, refused.

use bytes::Bytes;
use cofferdam_repository::{Error, LoadChoice, TreeEntry, TreeKind, TreePath};

use super::{LATER, difficult, entry, keep, listing, load, save, state};
use crate::workbench::{Workbench, description, name};

#[tokio::test]
async fn only_what_changed_is_read_again() {
    let workbench = Workbench::new().await;
    let root = difficult();
    let (first, counts, read) = save(&workbench.repository, root.path()).await.unwrap();
    assert_eq!(counts.unchanged, 0);
    assert!(!read.contains(&b"zero".to_vec()), "nothing to read");
    let both = [b"large".to_vec(), b"a/twin".to_vec()].map(|name| read.contains(&name));
    assert_eq!(
        both.iter().filter(|is| **is).count(),
        1,
        "a hard link is read once"
    );

    let repository = workbench.open_again().await;
    let (second, counts, read) = save(&repository, root.path()).await.unwrap();
    assert_eq!(read, Vec::<Vec<u8>>::new());
    assert_eq!(counts.unchanged, counts.files);
    assert_eq!(first.artifacts[0].sha256, second.artifacts[0].sha256);
    assert_eq!(
        second.artifacts[0].stored_bytes, 0,
        "nothing is stored twice"
    );

    std::fs::write(root.path().join("a!"), "sorts Between").unwrap();
    std::fs::write(root.path().join("new"), "new").unwrap();
    std::fs::remove_file(root.path().join("-rf")).unwrap();
    let (third, _, read) = save(&repository, root.path()).await.unwrap();
    assert_eq!(read, [b"a!".to_vec(), b"new".to_vec()]);
    let target = tempfile::tempdir().unwrap();
    load(&repository, &third, target.path(), LoadChoice::default())
        .await
        .unwrap();
    assert!(state(target.path()) == state(root.path()));
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_read_is_read_again() {
    let workbench = Workbench::new().await;
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    for name in ["grows", "shrinks", "vanishes", "turns"] {
        std::fs::write(at(name), "12345678").unwrap();
    }
    let writer = workbench
        .repository
        .begin(description("system-storage"))
        .await
        .unwrap();
    let mut tree = writer.create_tree(name("files")).await.unwrap();
    let read = keep(&mut tree, root.path(), |round| {
        if round == 1 {
            std::fs::write(at("grows"), "123456789").unwrap();
            std::fs::write(at("shrinks"), "1").unwrap();
            std::fs::remove_file(at("vanishes")).unwrap();
            std::fs::remove_file(at("turns")).unwrap();
            std::fs::create_dir(at("turns")).unwrap();
            std::fs::write(at("turns/new"), "new").unwrap();
        }
    })
    .await
    .unwrap();
    assert_eq!(read.iter().filter(|path| **path == b"grows").count(), 2);
    let (_, counts) = tree.commit(Vec::new()).await.unwrap();
    assert_eq!((counts.files, counts.rounds), (3, 3));
    let snapshot = writer.finish(serde_json::Value::Null).await.unwrap();
    let target = tempfile::tempdir().unwrap();
    load(
        &workbench.repository,
        &snapshot,
        target.path(),
        LoadChoice::default(),
    )
    .await
    .unwrap();
    assert!(state(target.path()) == state(root.path()));
}

#[tokio::test]
async fn a_file_that_never_stands_still_fails_the_tree_by_its_name() {
    let workbench = Workbench::new().await;
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("calm"), "calm").unwrap();
    let busy = root.path().join("busy.log");
    std::fs::write(&busy, "line\n").unwrap();
    let writer = workbench
        .repository
        .begin(description("system-storage"))
        .await
        .unwrap();
    let mut tree = writer.create_tree(name("files")).await.unwrap();
    let error = keep(&mut tree, root.path(), |round| {
        std::fs::write(&busy, "line\n".repeat(round as usize + 1)).unwrap();
    })
    .await
    .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("`busy.log`") && !text.contains("calm"),
        "{text}"
    );
    drop(tree);
    writer.finish(serde_json::Value::Null).await.unwrap_err();
    assert!(workbench.repository.list().await.unwrap().is_empty());
}

#[tokio::test]
async fn files_that_come_all_the_time_are_left_to_the_next_backup() {
    let workbench = Workbench::new().await;
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("first"), "first").unwrap();
    let writer = workbench
        .repository
        .begin(description("system-storage"))
        .await
        .unwrap();
    let mut tree = writer.create_tree(name("files")).await.unwrap();
    keep(&mut tree, root.path(), |round| {
        std::fs::write(root.path().join(format!("late-{round}")), "late").unwrap();
    })
    .await
    .unwrap();
    let (_, counts) = tree.commit(Vec::new()).await.unwrap();
    assert!(counts.late > 0 && counts.files >= 2, "{counts:?}");
    writer.finish(serde_json::Value::Null).await.unwrap();
}

#[tokio::test]
async fn what_nobody_asked_for_is_refused() {
    let workbench = Workbench::new().await;
    let root = tempfile::tempdir().unwrap();
    for name in ["a", "b", "c"] {
        std::fs::write(root.path().join(name), "x").unwrap();
    }
    for sequence in [&["x"][..], &["b", "b"], &["b", "a"], &["c", "d"]] {
        let writer = workbench
            .repository
            .begin(description("system-storage"))
            .await
            .unwrap();
        let mut tree = writer.create_tree(name("files")).await.unwrap();
        tree.begin_listing(LATER).await.unwrap();
        for entry in listing(root.path()) {
            tree.list(entry).unwrap();
        }
        assert_eq!(tree.plan().await.unwrap().count(), 3);
        let mut refused = false;
        for path in sequence {
            let path = TreePath::new(path.as_bytes()).unwrap();
            match tree.begin_file(&path, 1).await {
                Ok(()) => {
                    tree.write(Bytes::from_static(b"x")).await.unwrap();
                    tree.end_file().await.unwrap();
                }
                Err(error) => {
                    assert!(error.to_string().contains("not asked for"), "{error}");
                    refused = true;
                }
            }
        }
        assert!(refused, "{sequence:?}");
        assert!(
            tree.commit(Vec::new()).await.is_err(),
            "not read to its end"
        );
    }
}

#[tokio::test]
async fn a_listing_that_no_tree_has_is_refused() {
    let workbench = Workbench::new().await;
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("file"), "x").unwrap();
    let good = listing(root.path());
    let with = |path: &str, kind| TreeEntry {
        path: TreePath::new(path.as_bytes()).unwrap(),
        kind,
        ..good[0].clone()
    };
    let cases = [
        (
            "twice",
            vec![good[0].clone(), good[1].clone(), good[1].clone()],
        ),
        ("without a root", vec![good[1].clone()]),
        ("empty", vec![]),
        ("a root that is a link", vec![with("", TreeKind::Link)]),
        (
            "in no folder",
            vec![good[0].clone(), with("none/x", TreeKind::Folder)],
        ),
        (
            "below a file",
            vec![
                good[0].clone(),
                good[1].clone(),
                with("file/x", TreeKind::Folder),
            ],
        ),
        (
            "below a link",
            vec![
                good[0].clone(),
                with("link", TreeKind::Link),
                with("link/x", TreeKind::Folder),
            ],
        ),
    ];
    for (what, entries) in cases {
        let writer = workbench
            .repository
            .begin(description("system-storage"))
            .await
            .unwrap();
        let mut tree = writer.create_tree(name("files")).await.unwrap();
        tree.begin_listing(LATER).await.unwrap();
        for entry in entries {
            tree.list(entry).unwrap();
        }
        let planned = tree.plan().await;
        assert!(
            matches!(planned, Err(Error::Tree { .. })),
            "{what}: {planned:?}"
        );
    }
}

/// A million entries in one folder, in bounded memory. Takes a minute: run it with `--ignored`.
#[tokio::test]
#[ignore = "takes a minute and half a gigabyte of temporary files"]
async fn a_million_entries_take_bounded_memory() {
    let workbench = Workbench::new().await;
    let template = entry(workbench.folder.path(), b"").unwrap();
    let writer = workbench
        .repository
        .begin(description("system-storage"))
        .await
        .unwrap();
    let mut tree = writer.create_tree(name("files")).await.unwrap();
    tree.begin_listing(LATER).await.unwrap();
    tree.list(template.clone()).unwrap();
    for number in 0..1_000_000_u64 {
        tree.list(TreeEntry {
            path: TreePath::new(format!("file-{:07}", number * 7_919 % 1_000_000).as_bytes())
                .unwrap(),
            kind: TreeKind::File,
            inode: 1000 + number,
            links: 1,
            ..template.clone()
        })
        .unwrap();
    }
    assert_eq!(
        tree.plan().await.unwrap().count(),
        0,
        "empty files need no reading"
    );
    let (_, counts) = tree.commit(Vec::new()).await.unwrap();
    assert_eq!(counts.files, 1_000_000);
    writer.finish(serde_json::Value::Null).await.unwrap();
    let status = fs_err::read_to_string("/proc/self/status").unwrap();
    let peak = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap();
    let kilobytes: u64 = peak.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(kilobytes < 400_000, "{peak}");
}
