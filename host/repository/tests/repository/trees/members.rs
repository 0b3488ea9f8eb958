//! Trees coming out as members of a larger archive, by the real tar.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt};

use cofferdam_repository::{Error, TreeKind, TreePath};

use super::{difficult, feed, save, state};
use crate::workbench::{Workbench, name};

#[tokio::test]
async fn members_lie_below_their_folder_and_give_no_rights_away() {
    let workbench = Workbench::new().await;
    let root = difficult();
    let closed = root.path().join("zero");
    std::fs::set_permissions(closed, PermissionsExt::from_mode(0o020)).unwrap();
    let (snapshot, ..) = save(&workbench.repository, root.path()).await.unwrap();
    let name = name("files");
    let open = || workbench.repository.open_tree(&snapshot.id, &name);
    let folder = TreePath::new(b"outer/inner").unwrap();
    let mut members = open().await.unwrap().members(folder).await.unwrap();
    let mut bytes = Vec::new();
    while let Some(part) = members.read().await.unwrap() {
        bytes.extend_from_slice(&part);
    }
    assert_eq!(bytes.len() as u64, members.length(), "as long as announced");
    assert_eq!(bytes.len() % 512, 0, "the next member can follow");

    bytes.resize(bytes.len() + 1024, 0);
    let target = tempfile::tempdir().unwrap();
    feed(
        target.path(),
        "tar -x -p -f - --no-same-owner --delay-directory-restore",
        &bytes,
    );
    let mut expected = state(root.path());
    for (kind, mode, ..) in expected.values_mut() {
        *mode = match kind {
            TreeKind::File => *mode & 0o777 | 0o400,
            TreeKind::Folder => *mode & 0o3777 | 0o700,
            TreeKind::Link | TreeKind::Other => *mode,
        };
    }
    let inner = target.path().join("outer/inner");
    for (path, found) in state(&inner) {
        let kept = expected.remove(&path);
        assert!(kept.as_ref() == Some(&found), "{}", path.escape_ascii());
    }
    assert!(expected.is_empty(), "{:?}", expected.keys());
    let inode = |name: &str| std::fs::metadata(inner.join(name)).unwrap().ino();
    assert_eq!(inode("large"), inode("a/twin"), "still one file");

    // The longest path of the tree no longer fits.
    let far = TreePath::new("f/".repeat(1900).trim_end_matches('/').as_bytes()).unwrap();
    let refused = open().await.unwrap().members(far).await.unwrap_err();
    assert!(matches!(refused, Error::Tree { .. }), "{refused}");
}
