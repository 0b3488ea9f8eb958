//! Trees going in: compared, read again, refused.

use std::path::Path;

use bytes::Bytes;
use cofferdam_repository::{
    Error, LoadChoice, Repository, Snapshot, TreeEntry, TreeKind, TreePath,
};

use super::{begin, difficult, entry, keep, list, listing, load, save, state};
use crate::workbench::{Workbench, alone};

const ENTRIES: u64 = 1_000_000;
/// It takes 140 MB, and 370 MB when all entries are in memory at once.
const MOST_KILOBYTES: u64 = 200_000;
/// What the process says before that number.
const PEAK: &str = "most memory in kB: ";

/// A repository, and a folder with files of these names.
async fn with_files(names: &[&str]) -> (Workbench, tempfile::TempDir) {
    let root = tempfile::tempdir().unwrap();
    for name in names {
        std::fs::write(root.path().join(name), "12345678").unwrap();
    }
    (Workbench::new().await, root)
}

/// Loads into an empty folder, and insists that it is then as `root` is.
async fn comes_back(repository: &Repository, snapshot: &Snapshot, root: &Path) {
    let target = tempfile::tempdir().unwrap();
    load(repository, snapshot, target.path(), LoadChoice::default())
        .await
        .unwrap();
    assert!(state(target.path()) == state(root));
}

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
    comes_back(&repository, &third, root.path()).await;
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_read_is_read_again() {
    let (workbench, root) = with_files(&["grows", "shrinks", "vanishes", "turns"]).await;
    let at = |name: &str| root.path().join(name);
    let (writer, mut tree) = begin(&workbench.repository).await.unwrap();
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
    comes_back(&workbench.repository, &snapshot, root.path()).await;
}

#[tokio::test]
async fn a_file_that_never_stands_still_fails_the_tree_by_its_name() {
    let (workbench, root) = with_files(&["calm", "busy.log"]).await;
    let busy = root.path().join("busy.log");
    let (writer, mut tree) = begin(&workbench.repository).await.unwrap();
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
    let (workbench, root) = with_files(&["first"]).await;
    let (writer, mut tree) = begin(&workbench.repository).await.unwrap();
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
    let (workbench, root) = with_files(&["a", "b", "c"]).await;
    for sequence in [&["x"][..], &["b", "b"], &["b", "a"], &["c", "d"]] {
        let (_writer, mut tree) = begin(&workbench.repository).await.unwrap();
        let wanted = list(&mut tree, listing(root.path())).await.unwrap();
        assert_eq!(wanted.count(), 3);
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
    let (workbench, root) = with_files(&["file"]).await;
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
        let (_writer, mut tree) = begin(&workbench.repository).await.unwrap();
        let planned = list(&mut tree, entries).await;
        assert!(
            matches!(planned, Err(Error::Tree { .. })),
            "{what}: {planned:?}"
        );
    }
}

#[test]
fn a_million_entries_take_bounded_memory() {
    // Its peak is that of a process, and this one has the other tests in it.
    let output = alone("trees::saving::child_that_saves_a_million_entries")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let peak = said.lines().find_map(|line| line.strip_prefix(PEAK));
    let kilobytes: u64 = peak
        .unwrap_or_else(|| panic!("{output:?}"))
        .parse()
        .unwrap();
    assert!(kilobytes < MOST_KILOBYTES, "{kilobytes} kB");
}

/// Not a test by itself: the process whose memory the test above looks at.
#[tokio::test]
#[ignore = "started by the test that looks at its memory"]
async fn child_that_saves_a_million_entries() {
    let workbench = Workbench::new().await;
    let template = entry(workbench.folder.path(), b"").unwrap();
    let files = (0..ENTRIES).map(|number| TreeEntry {
        path: TreePath::new(format!("file-{:07}", number * 7_919 % ENTRIES).as_bytes()).unwrap(),
        kind: TreeKind::File,
        inode: 1000 + number,
        links: 1,
        ..template.clone()
    });
    let (writer, mut tree) = begin(&workbench.repository).await.unwrap();
    let wanted = list(&mut tree, std::iter::once(template.clone()).chain(files))
        .await
        .unwrap();
    assert_eq!(wanted.count(), 0, "empty files need no reading");
    let (_, counts) = tree.commit(Vec::new()).await.unwrap();
    assert_eq!(counts.files, ENTRIES);
    writer.finish(serde_json::Value::Null).await.unwrap();
    println!("{PEAK}{}", peak_kilobytes());
}

/// The most memory that this process ever had.
fn peak_kilobytes() -> u64 {
    let status = fs_err::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = peak.unwrap().split_whitespace().next();
    number.unwrap().parse().unwrap()
}
