//! Folders by the real `find` and `tar` of this machine.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use bytes::Bytes;
use cofferdam_policy::request::FileOperation;

use super::super::tests::{access, machine};
use super::unpack::Packed;
use super::{TreeEntry, TreeFeed};
use crate::cluster::Cluster;
use crate::error::Error;
use crate::files::FileKind;
use crate::testing::{permit, pod};

async fn list(cluster: &Cluster, folder: &Path) -> Result<Vec<TreeEntry>, Error> {
    let permit = permit(access(folder, FileOperation::LoadTree));
    let mut listing = cluster.list_tree(&permit, &pod()).await?;
    let mut entries = Vec::new();
    while let Some(entry) = listing.next().await? {
        entries.push(entry);
    }
    entries.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(entries)
}

#[tokio::test]
async fn a_listing_has_modes_times_links_and_names_of_any_bytes() {
    let folder = tempfile::tempdir().expect("a folder");
    let odd = std::ffi::OsString::from_vec(b"\xff\n'$(id)'".to_vec());
    std::fs::write(folder.path().join(&odd), "odd").expect("written");
    std::fs::create_dir(folder.path().join("empty")).expect("made");
    std::fs::set_permissions(
        folder.path().join("empty"),
        PermissionsExt::from_mode(0o2750),
    )
    .expect("set");
    symlink("/etc/passwd", folder.path().join("link")).expect("linked");
    std::fs::hard_link(folder.path().join(&odd), folder.path().join("twin")).expect("linked");
    std::fs::File::create(folder.path().join("hole"))
        .and_then(|file| file.set_len(1 << 20))
        .expect("made");
    let cluster = machine().await;
    let entries = list(&cluster, folder.path()).await.expect("listed");
    let names: Vec<&[u8]> = entries.iter().map(|entry| entry.path.as_slice()).collect();
    assert_eq!(
        names,
        [
            &b""[..],
            b"empty",
            b"hole",
            b"link",
            b"twin",
            b"\xff\n'$(id)'"
        ]
    );
    let by_name = |name: &[u8]| {
        entries
            .iter()
            .find(|entry| entry.path == name)
            .expect("listed")
    };
    assert_eq!(by_name(b"empty").mode, 0o2750);
    assert_eq!(by_name(b"link").kind, FileKind::Link);
    assert_eq!(by_name(b"link").target, b"/etc/passwd");
    assert!(by_name(b"hole").sparse && by_name(b"hole").size == 1 << 20);
    let (twin, odd) = (by_name(b"twin"), by_name(b"\xff\n'$(id)'"));
    assert_eq!((twin.inode, twin.links, twin.size), (odd.inode, 2, 3));
    let metadata = std::fs::metadata(folder.path().join("twin")).expect("there");
    let modified = std::os::unix::fs::MetadataExt::mtime_nsec(&metadata);
    assert_eq!(i64::from(twin.modified.1), modified);
}

use std::os::unix::ffi::OsStringExt as _;

#[tokio::test]
async fn what_is_no_folder_is_refused_with_what_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("file"), "x").expect("written");
    symlink("/etc", folder.path().join("link")).expect("linked");
    let cluster = machine().await;
    for (name, expected) in [
        ("file", "no folder"),
        ("link", "is a link"),
        ("none", "/none` in pod"),
    ] {
        let error = list(&cluster, &folder.path().join(name))
            .await
            .expect_err(name);
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn files_come_in_the_order_asked_and_the_missing_do_not_come() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["b", "a", "-rf"] {
        std::fs::write(folder.path().join(name), name.repeat(1000)).expect("written");
    }
    let cluster = machine().await;
    let permit = permit(access(folder.path(), FileOperation::SaveTree));
    let asked = b"./b\0./gone\0./a\0./-rf\0";
    let (mut names, mut packed) = cluster
        .pack_tree(&permit, &pod(), asked.len() as u64)
        .await
        .expect("started");
    names.write(Bytes::from_static(asked)).await.expect("taken");
    names.close().await.expect("closed");
    let mut came = Vec::new();
    while let Some(step) = packed.next().await.expect("whole") {
        if let Packed::Begin { path, .. } = step {
            came.push(path);
        }
    }
    assert_eq!(came, [&b"b"[..], b"a", b"-rf"]);
    assert!(packed.complaint().expect("said").contains("gone"));
}

async fn fed(feed: Result<TreeFeed, Error>, bytes: &[u8]) -> Result<(), Error> {
    let mut feed = feed?;
    feed.write(Bytes::copy_from_slice(bytes)).await?;
    feed.finish().await
}

#[tokio::test]
async fn removal_takes_a_link_and_not_what_it_leads_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let outside = tempfile::tempdir().expect("a folder");
    std::fs::write(outside.path().join("precious"), "x").expect("written");
    symlink(outside.path(), folder.path().join("link")).expect("linked");
    std::fs::create_dir_all(folder.path().join("-rf/deep")).expect("made");
    std::fs::write(folder.path().join("kept"), "x").expect("written");
    let cluster = machine().await;
    let permit = permit(access(folder.path(), FileOperation::LoadTree));
    let names = b"./link\0./-rf\0";
    let feed = cluster
        .clear_tree(&permit, &pod(), names.len() as u64)
        .await;
    fed(feed, names).await.expect("removed");
    let left = list(&cluster, folder.path()).await.expect("listed");
    assert_eq!(left.len(), 2, "the folder and `kept`: {left:?}");
    assert!(outside.path().join("precious").exists());
}

#[tokio::test]
async fn an_archive_replaces_a_file_and_does_not_write_through_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let outside = tempfile::tempdir().expect("a folder");
    let precious = outside.path().join("precious");
    std::fs::write(&precious, "precious").expect("written");
    symlink(&precious, folder.path().join("soft")).expect("linked");
    std::fs::hard_link(&precious, folder.path().join("hard")).expect("linked");
    let mut archive = Vec::new();
    for name in [b"./soft", b"./hard"] {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..6].copy_from_slice(name);
        header.set_mode(0o600);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1);
        header.set_size(3);
        header.set_cksum();
        archive.extend_from_slice(header.as_bytes());
        archive.extend_from_slice(b"new");
        archive.resize(archive.len() + 509, 0);
    }
    archive.resize(archive.len() + 1024, 0);
    let cluster = machine().await;
    let permit = permit(access(folder.path(), FileOperation::LoadTree));
    let feed = cluster
        .unpack_tree(&permit, &pod(), false, archive.len() as u64)
        .await;
    fed(feed, &archive).await.expect("unpacked");
    assert_eq!(std::fs::read(&precious).expect("there"), b"precious");
    for name in ["soft", "hard"] {
        let path = folder.path().join(name);
        assert!(std::fs::symlink_metadata(&path).expect("there").is_file());
        assert_eq!(std::fs::read(path).expect("there"), b"new");
    }
}

#[tokio::test]
async fn a_permit_to_save_writes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = machine().await;
    let permit = permit(access(folder.path(), FileOperation::SaveTree));
    let unpack = cluster.unpack_tree(&permit, &pod(), false, 0).await;
    assert!(matches!(unpack, Err(Error::WrongPermit { .. })));
    let clear = cluster.clear_tree(&permit, &pod(), 0).await;
    assert!(matches!(clear, Err(Error::WrongPermit { .. })));
}
