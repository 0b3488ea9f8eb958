//! Folder trees: kept, compared, loaded, and read by the real restic and the real tar.

mod loading;
mod members;
mod saving;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use bytes::Bytes;
use cofferdam_repository::{
    Error, FileTime, LinkTarget, LoadChoice, LoadPlan, Names, Repository, Snapshot, SnapshotWriter,
    TreeCounts, TreeEntry, TreeKind, TreePath, TreeWriter,
};

use crate::workbench::{description, name, noise};

/// Long after every file was made, so that none is taken for one that may change within a tick.
const LATER: FileTime = FileTime(4_000_000_000, 0);

fn entry(root: &Path, path: &[u8]) -> Option<TreeEntry> {
    let place = root.join(OsStr::from_bytes(path));
    let metadata = std::fs::symlink_metadata(&place).ok()?;
    let kind = metadata.file_type();
    let kind = match () {
        () if kind.is_file() => TreeKind::File,
        () if kind.is_dir() => TreeKind::Folder,
        () if kind.is_symlink() => TreeKind::Link,
        () => TreeKind::Other,
    };
    let is_file = kind == TreeKind::File;
    let target = std::fs::read_link(&place).unwrap_or_default();
    Some(TreeEntry {
        path: TreePath::new(path).unwrap(),
        kind,
        mode: metadata.mode() & 0o7777,
        owner: metadata.uid(),
        group: metadata.gid(),
        modified: FileTime(metadata.mtime(), metadata.mtime_nsec().try_into().unwrap()),
        changed: FileTime(metadata.ctime(), metadata.ctime_nsec().try_into().unwrap()),
        inode: metadata.ino(),
        links: if is_file { metadata.nlink() } else { 1 },
        size: if is_file { metadata.size() } else { 0 },
        sparse: is_file && metadata.blocks() * 512 < metadata.size(),
        target: LinkTarget(target.as_os_str().as_bytes().to_vec()),
    })
}

fn listing(root: &Path) -> Vec<TreeEntry> {
    let mut entries = vec![entry(root, b"").unwrap()];
    let mut folders = vec![Vec::new()];
    while let Some(folder) = folders.pop() {
        for found in std::fs::read_dir(root.join(OsStr::from_bytes(&folder))).unwrap() {
            let name = found.unwrap().file_name();
            let path = if folder.is_empty() {
                name.as_bytes().to_vec()
            } else {
                [folder.as_slice(), b"/", name.as_bytes()].concat()
            };
            let entry = entry(root, &path).unwrap();
            if entry.kind == TreeKind::Folder {
                folders.push(path);
            }
            entries.push(entry);
        }
    }
    entries
}

/// Begins a snapshot of one tree.
async fn begin(repository: &Repository) -> Result<(SnapshotWriter, TreeWriter), Error> {
    let writer = repository.begin(description("system-storage")).await?;
    let tree = writer.create_tree(name("files")).await?;
    Ok((writer, tree))
}

/// Lists all of a tree: what has to be read of it.
async fn list(
    tree: &mut TreeWriter,
    entries: impl IntoIterator<Item = TreeEntry>,
) -> Result<Names, Error> {
    tree.begin_listing(LATER).await?;
    for entry in entries {
        tree.list(entry)?;
    }
    tree.plan().await
}

/// What the pod's side does, from a folder of this machine. `meddle` strikes before each fetch.
async fn keep(
    tree: &mut TreeWriter,
    root: &Path,
    mut meddle: impl FnMut(u32),
) -> Result<Vec<Vec<u8>>, Error> {
    let mut read = Vec::new();
    for round in 1.. {
        let mut wanted = list(tree, listing(root)).await?;
        if wanted.count() == 0 {
            break;
        }
        meddle(round);
        let mut names = Vec::new();
        while let Some(bytes) = wanted.read()? {
            names.extend_from_slice(&bytes);
        }
        for name in names
            .split(|byte| *byte == 0)
            .filter(|name| !name.is_empty())
        {
            let path = name.strip_prefix(b"./").unwrap();
            let place = root.join(OsStr::from_bytes(path));
            let Ok(content) = std::fs::read(&place) else {
                continue;
            };
            read.push(path.to_vec());
            let size = content.len() as u64;
            tree.begin_file(&TreePath::new(path).unwrap(), size).await?;
            for part in content.chunks(4096) {
                if part.iter().all(|byte| *byte == 0) && part.len() == 4096 {
                    tree.hole(4096).await?;
                } else {
                    tree.write(Bytes::copy_from_slice(part)).await?;
                }
            }
            tree.end_file().await?;
        }
    }
    Ok(read)
}

async fn save(
    repository: &Repository,
    root: &Path,
) -> Result<(Snapshot, TreeCounts, Vec<Vec<u8>>), Error> {
    let (writer, mut tree) = begin(repository).await?;
    let read = keep(&mut tree, root, |_| {}).await?;
    let (_, counts) = tree.commit(Vec::new()).await?;
    let snapshot = writer.finish(serde_json::Value::Null).await?;
    Ok((snapshot, counts, read))
}

async fn plan(
    repository: &Repository,
    snapshot: &Snapshot,
    root: &Path,
    choice: LoadChoice,
) -> Result<LoadPlan, Error> {
    let tree = repository.open_tree(&snapshot.id, &name("files")).await?;
    let mut load = tree.compare(choice);
    for entry in listing(root) {
        load.list(entry)?;
    }
    load.plan().await
}

/// Loads into a folder with the real tar and rm, and compares.
async fn load(
    repository: &Repository,
    snapshot: &Snapshot,
    root: &Path,
    choice: LoadChoice,
) -> Result<cofferdam_repository::LoadCounts, Error> {
    let plan = plan(repository, snapshot, root, choice.clone()).await?;
    let counts = plan.counts;
    let (mut clear, mut remove, mut archive) = plan.split();
    let mut bytes = Vec::new();
    while let Some(part) = archive.read().await? {
        bytes.extend_from_slice(&part);
    }
    assert_eq!(bytes.len() as u64, archive.length(), "as long as announced");
    let mut names = Vec::new();
    while let Some(part) = clear.read()? {
        names.extend_from_slice(&part);
    }
    feed(root, "xargs -0 rm -rf", &names);
    feed(
        root,
        "tar -x -p -f - --no-same-owner --delay-directory-restore",
        &bytes,
    );
    names.clear();
    while let Some(part) = remove.read()? {
        names.extend_from_slice(&part);
    }
    feed(root, "xargs -0 rm -rf", &names);
    let mut again = repository
        .open_tree(&snapshot.id, &name("files"))
        .await?
        .compare(choice);
    for entry in listing(root) {
        again.list(entry)?;
    }
    assert_eq!(again.differences().await?, (0, String::new()));
    Ok(counts)
}

fn feed(root: &Path, line: &str, input: &[u8]) {
    let mut child = Command::new("sh")
        .args(["-c", line])
        .current_dir(root)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), input).unwrap();
    assert!(child.wait().unwrap().success(), "{line}");
}

/// A folder with everything that is difficult.
fn difficult() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &[u8]| root.path().join(OsStr::from_bytes(name));
    let long = [b'l'; 250];
    std::fs::create_dir_all(at(&[&long[..], b"/", &long[..]].concat())).unwrap();
    std::fs::create_dir(at(b"empty")).unwrap();
    std::fs::set_permissions(at(b"empty"), PermissionsExt::from_mode(0o1751)).unwrap();
    std::fs::create_dir(at(b"a")).unwrap();
    for (name, content) in [
        (&b"a/b"[..], &b"in a folder"[..]),
        (b"a!", b"sorts between"),
        (b"a-", b"too"),
        (b"zero", b""),
        (b"-rf", b"an option"),
        (b"back\\slash \"quoted\" 'name'\n\t\x07", b"odd"),
        (b"\xff\xfe latin \xe4", b"no UTF-8"),
        ("ümlaut \u{202e}gpj".as_bytes(), b"UTF-8"),
        (&[&long[..], b"/", &long[..], b"/\xff"].concat(), b"deep"),
    ] {
        std::fs::write(at(name), content).unwrap();
    }
    std::fs::set_permissions(at(b"-rf"), PermissionsExt::from_mode(0o6755)).unwrap();
    std::fs::write(at(b"large"), noise(6_000_000, 5)).unwrap();
    std::fs::hard_link(at(b"large"), at(b"a/twin")).unwrap();
    symlink("../../etc/passwd", at(b"leads out")).unwrap();
    symlink(OsStr::from_bytes(b"/absolute/\xff"), at(b"a/absolute")).unwrap();
    symlink("x".repeat(300), at(b"long link")).unwrap();
    let sparse = std::fs::File::create(at(b"sparse")).unwrap();
    sparse.set_len(40 << 20).unwrap();
    for number in 0..30 {
        sparse
            .write_all_at(&[number; 8192], u64::from(number) << 20)
            .unwrap();
    }
    let time = std::time::UNIX_EPOCH + std::time::Duration::new(1_234_567_890, 987_654_321);
    std::fs::File::options()
        .write(true)
        .open(at(b"a!"))
        .unwrap()
        .set_modified(time)
        .unwrap();
    root
}

type State = BTreeMap<
    Vec<u8>,
    (
        TreeKind,
        u32,
        u64,
        Option<FileTime>,
        Vec<u8>,
        Option<Vec<u8>>,
    ),
>;

/// All that has to come back, contents too.
fn state(root: &Path) -> State {
    let entries = listing(root)
        .into_iter()
        .filter(|entry| !entry.path.is_root());
    entries
        .map(|entry| {
            let place = root.join(OsStr::from_bytes(entry.path.as_bytes()));
            let is_file = entry.kind == TreeKind::File;
            let content = is_file.then(|| std::fs::read(place).unwrap());
            let time = (entry.kind != TreeKind::Link).then_some(entry.modified);
            let path = entry.path.as_bytes().to_vec();
            (
                path,
                (
                    entry.kind,
                    entry.mode,
                    entry.size,
                    time,
                    entry.target.0,
                    content,
                ),
            )
        })
        .collect()
}
