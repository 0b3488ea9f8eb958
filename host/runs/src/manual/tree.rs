//! A folder of this machine becomes a tree: listed and read as a folder in a pod is, until a listing shows nothing that
//! was not read.
//!
//! What stands in the folder is not trusted: links are kept as they are and never followed, and what is neither a file,
//! a folder nor a link is refused by its name. Must never hand on a file as another than it was listed as.

use std::fs::{File, Metadata};
use std::io::{Read as _, Seek as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};

use bytes::Bytes;
use cofferdam_repository::{
    FileTime, LinkTarget, Names, TreeEntry, TreeKind, TreePath, TreeWriter,
};
use jiff::Timestamp;
use rustix::fs::SeekFrom;
use rustix::io::Errno;
use tokio::sync::mpsc;

use super::ManualError;
use super::beneath::{Beneath, is_gone};
use super::dump::{CHUNK, Stop};
use super::import::Trouble;

/// Steps between the thread that reads and the repository.
const AHEAD: usize = 16;
/// Entries that are handed on at once: more would wait, fewer would make the hand-over dear.
const ENTRIES: usize = 256;

/// A part of what is read.
enum Step {
    Begin(TreePath, u64),
    Data(Bytes),
    Hole(u64),
    End,
}

/// Saves a folder; `open` opens it anew each time. Cancelled by dropping it.
pub(super) async fn save(
    tree: &mut TreeWriter,
    open: impl Fn() -> Result<Beneath, String>,
) -> Result<(), Trouble> {
    let opened = || open().map_err(|problem| Trouble::Files(vec![problem]));
    loop {
        tree.begin_listing(FileTime(Timestamp::now().as_second(), 0))
            .await?;
        let folder = opened()?;
        let (send, mut receive) = mpsc::channel(AHEAD);
        let listing = tokio::task::spawn_blocking(move || list(folder, &send));
        while let Some(entries) = receive.recv().await {
            for entry in entries {
                tree.list(entry)?;
            }
        }
        ended(listing.await)?;
        let wanted = tree.plan().await.map_err(|error| match error {
            // Not the repository's fault, and not the end of the other data sets.
            cofferdam_repository::Error::TreeChanging { .. } => {
                Trouble::Files(vec![error.to_string()])
            }
            error => error.into(),
        })?;
        if wanted.count() == 0 {
            return Ok(());
        }
        let folder = opened()?;
        let (send, mut receive) = mpsc::channel(AHEAD);
        let reading = tokio::task::spawn_blocking(move || read_all(folder, wanted, &send));
        while let Some(step) = receive.recv().await {
            match step {
                Step::Begin(path, size) => tree.begin_file(&path, size).await?,
                Step::Data(bytes) => tree.write(bytes).await?,
                Step::Hole(length) => tree.hole(length).await?,
                Step::End => tree.end_file().await?,
            }
        }
        ended(reading.await)?;
    }
}

fn ended(ended: Result<Result<(), Stop>, tokio::task::JoinError>) -> Result<(), Trouble> {
    let ended = ended.map_err(|source| ManualError::Task {
        attempt: "read a folder of the manual procedure",
        source,
    })?;
    match ended {
        Ok(()) => Ok(()),
        Err(Stop::Problem(text)) => Err(Trouble::Files(vec![text])),
        Err(Stop::Taker) => Err(Trouble::All(ManualError::Cancelled)),
    }
}

fn problem(path: &TreePath, what: impl std::fmt::Display) -> Stop {
    if path.is_root() {
        return Stop::problem(format!("the folder itself {what}"));
    }
    Stop::problem(format!("`{path}` {what}"))
}

/// Lists the folder itself and all below it.
fn list(mut folder: Beneath, send: &mpsc::Sender<Vec<TreeEntry>>) -> Result<(), Stop> {
    let root = TreePath::default();
    let status = folder
        .status(&root)
        .map_err(|error| problem(&root, format!("cannot be looked at: {error}")))?;
    let device = status.dev();
    let mut entries = vec![entry(&mut folder, root.clone(), &status, device)?];
    let mut pending = vec![root];
    while let Some(path) = pending.pop() {
        let names = match folder.names(&path) {
            Ok(names) => names,
            Err(error) if is_gone(&error) => continue,
            Err(error) => return Err(problem(&path, format!("cannot be read: {error}"))),
        };
        for found in names {
            let found =
                found.map_err(|error| problem(&path, format!("cannot be read: {error}")))?;
            let name = found.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let below = TreePath::new(name)
                .and_then(|name| path.join(&name))
                .map_err(|error| Stop::problem(error.to_string()))?;
            let status = match folder.status(&below) {
                Ok(status) => status,
                Err(error) if is_gone(&error) => continue,
                Err(error) => return Err(problem(&below, format!("cannot be looked at: {error}"))),
            };
            let entry = entry(&mut folder, below, &status, device)?;
            if entry.kind == TreeKind::Folder {
                pending.push(entry.path.clone());
            }
            entries.push(entry);
            if entries.len() >= ENTRIES {
                let full = std::mem::take(&mut entries);
                send.blocking_send(full).map_err(|_| Stop::Taker)?;
            }
        }
    }
    send.blocking_send(entries).map_err(|_| Stop::Taker)
}

fn entry(
    folder: &mut Beneath,
    path: TreePath,
    status: &Metadata,
    device: u64,
) -> Result<TreeEntry, Stop> {
    let is = status.file_type();
    let kind = if is.is_file() {
        TreeKind::File
    } else if is.is_dir() {
        TreeKind::Folder
    } else if is.is_symlink() {
        TreeKind::Link
    } else {
        let what = match (is.is_fifo(), is.is_socket()) {
            (true, _) => "a pipe",
            (_, true) => "a socket",
            (false, false) => "a device",
        };
        let text = format!("is {what}, which no backup keeps: remove it");
        return Err(problem(&path, text));
    };
    let target = match kind {
        TreeKind::Link => folder
            .target(&path)
            .map_err(|error| problem(&path, format!("cannot be read: {error}")))?,
        TreeKind::File | TreeKind::Folder | TreeKind::Other => Vec::new(),
    };
    let nanoseconds = |count: i64| u32::try_from(count).unwrap_or(0);
    let is_file = kind == TreeKind::File;
    Ok(TreeEntry {
        path,
        kind,
        mode: status.mode() & 0o7777,
        owner: status.uid(),
        group: status.gid(),
        modified: FileTime(status.mtime(), nanoseconds(status.mtime_nsec())),
        changed: FileTime(status.ctime(), nanoseconds(status.ctime_nsec())),
        inode: status.ino(),
        // Inodes of another disk may be those of other files here.
        links: if is_file && status.dev() == device {
            status.nlink()
        } else {
            1
        },
        size: if is_file { status.len() } else { 0 },
        sparse: is_file && status.blocks().saturating_mul(512) < status.len(),
        target: LinkTarget(target),
    })
}

/// Reads the files that are wanted. One that is gone does not come, and shows in the next listing.
fn read_all(mut folder: Beneath, mut wanted: Names, send: &mpsc::Sender<Step>) -> Result<(), Stop> {
    let mut rest = Vec::new();
    while let Some(bytes) = wanted
        .read()
        .map_err(|error| Stop::problem(error.to_string()))?
    {
        rest.extend_from_slice(&bytes);
        let whole = rest.iter().rposition(|byte| *byte == 0);
        let behind = rest.split_off(whole.map_or(0, |last| last + 1));
        let names = std::mem::replace(&mut rest, behind);
        for name in names
            .split(|byte| *byte == 0)
            .filter(|name| !name.is_empty())
        {
            let path = TreePath::new(name.strip_prefix(b"./").unwrap_or(name))
                .map_err(|error| Stop::problem(error.to_string()))?;
            match folder.read(&path) {
                Ok(file) => read_one(file, path, send)?,
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(problem(&path, format!("cannot be opened: {error}"))),
            }
        }
    }
    Ok(())
}

fn read_one(mut file: File, path: TreePath, send: &mpsc::Sender<Step>) -> Result<(), Stop> {
    let failed = |error: std::io::Error| problem(&path, format!("cannot be read: {error}"));
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        // It was a file when it was listed; the next listing says what it is now.
        return Ok(());
    }
    let size = metadata.len();
    let give = |step| send.blocking_send(step).map_err(|_| Stop::Taker);
    give(Step::Begin(path.clone(), size))?;
    let mut at = 0;
    while at < size {
        let data = match rustix::fs::seek(&file, SeekFrom::Data(at)) {
            Ok(data) => data.min(size),
            // Nothing but a hole from here to the end.
            Err(Errno::NXIO) => size,
            Err(error) => return Err(failed(error.into())),
        };
        if data > at {
            give(Step::Hole(data - at))?;
        }
        if data >= size {
            break;
        }
        let end = match rustix::fs::seek(&file, SeekFrom::Hole(data)) {
            Ok(end) => end.min(size),
            // Cut off meanwhile.
            Err(Errno::NXIO) => break,
            Err(error) => return Err(failed(error.into())),
        };
        if end <= data {
            break;
        }
        file.seek(std::io::SeekFrom::Start(data)).map_err(failed)?;
        let mut left = end - data;
        while left > 0 {
            let most = left.min(CHUNK as u64);
            let mut chunk = Vec::with_capacity(usize::try_from(most).unwrap_or(CHUNK));
            let read = (&mut file).take(most).read_to_end(&mut chunk);
            let read = read.map_err(failed)? as u64;
            if read == 0 {
                // It has become shorter: what came is not whole, and is asked for again.
                return give(Step::End);
            }
            left -= read;
            give(Step::Data(chunk.into()))?;
        }
        at = end;
    }
    give(Step::End)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileExt as _, symlink};

    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::new(text.as_bytes()).expect("a path")
    }

    fn listed(root: &std::path::Path) -> Result<Vec<TreeEntry>, Stop> {
        let (send, mut receive) = mpsc::channel(1000);
        list(Beneath::open(root).expect("opened"), &send)?;
        drop(send);
        let mut entries = Vec::new();
        while let Some(more) = receive.blocking_recv() {
            entries.extend(more);
        }
        Ok(entries)
    }

    fn read(root: &std::path::Path, name: &str) -> Vec<Step> {
        let (send, mut receive) = mpsc::channel(1000);
        let mut folder = Beneath::open(root).expect("opened");
        let file = folder.read(&path(name)).expect("opened");
        read_one(file, path(name), &send).expect("read");
        drop(send);
        std::iter::from_fn(|| receive.blocking_recv()).collect()
    }

    #[test]
    fn a_folder_is_listed_with_all_below_it_and_links_are_links() {
        let root = tempfile::tempdir().expect("a folder");
        let at = |name: &str| root.path().join(name);
        std::fs::create_dir_all(at("a/b")).expect("made");
        std::fs::write(at("a/b/file"), "four").expect("written");
        std::fs::hard_link(at("a/b/file"), at("twin")).expect("linked");
        symlink("/etc", at("a/link")).expect("linked");
        let entries = listed(root.path()).expect("listed");
        let mut names: Vec<(&[u8], TreeKind, u64)> = entries
            .iter()
            .map(|entry| (entry.path.as_bytes(), entry.kind, entry.links))
            .collect();
        names.sort_unstable_by_key(|(name, _, _)| *name);
        assert_eq!(
            names,
            [
                (&b""[..], TreeKind::Folder, 1),
                (b"a", TreeKind::Folder, 1),
                (b"a/b", TreeKind::Folder, 1),
                (b"a/b/file", TreeKind::File, 2),
                (b"a/link", TreeKind::Link, 1),
                (b"twin", TreeKind::File, 2),
            ]
        );
        let link = entries.iter().find(|entry| entry.kind == TreeKind::Link);
        assert_eq!(link.expect("a link").target.0, b"/etc");
        drop(std::os::unix::net::UnixListener::bind(at("a/b/socket")).expect("bound"));
        let Err(Stop::Problem(text)) = listed(root.path()) else {
            panic!("a socket was listed");
        };
        assert!(text.contains("`a/b/socket` is a socket"), "{text}");
    }

    #[test]
    fn a_file_with_holes_is_read_as_data_and_holes() {
        let root = tempfile::tempdir().expect("a folder");
        let file = File::create(root.path().join("holes")).expect("made");
        file.set_len(8 << 20).expect("long");
        file.write_all_at(&[7; 4096], 1 << 20).expect("written");
        let steps = read(root.path(), "holes");
        let (mut data, mut holes) = (0, 0);
        for step in &steps {
            match step {
                Step::Data(bytes) => data += bytes.len() as u64,
                Step::Hole(length) => holes += length,
                Step::Begin(_, size) => assert_eq!(*size, 8 << 20),
                Step::End => {}
            }
        }
        assert_eq!(data + holes, 8 << 20);
        // A file system without holes gives all of it as data, which is right as well.
        assert!(data >= 4096 && matches!(steps.last(), Some(Step::End)));
    }
}
