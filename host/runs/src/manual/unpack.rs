//! Members of an archive become files below a folder that nobody else writes in.
//!
//! The archive is one of ours and still not trusted: a member whose name climbs, whose folder is not one that was made
//! here, or whose kind is a device ends it. Must never write outside of the folder.

use std::fs::File;
use std::io::{Read, Seek as _, SeekFrom, Write as _};

use cofferdam_repository::{FileTime, TreePath};
use tar::{Archive, Entry, EntryType};

use super::ManualError;
use super::beneath::{Beneath, settle};
use super::sink::unpack;

/// What is read at once; where a file has holes, so many zeros at least are left out.
const CHUNK: usize = 64 * 1024;

/// A folder that is open for what is in it; it gets mode and time when that is there.
struct Open {
    path: TreePath,
    mode: u32,
    modified: FileTime,
}

/// Unpacks all of `members` into the folder.
///
/// # Errors
/// What `failed` makes of a member's name and an error; errors of ours that came through `members` as they are.
pub(super) fn unpack_members(
    members: &mut (dyn Read + '_),
    folder: &mut Beneath,
    failed: &dyn Fn(String, std::io::Error) -> ManualError,
) -> Result<(), ManualError> {
    let shown = |path: &TreePath, error| unpack(error, |error| failed(path.to_string(), error));
    let unknown = |error| unpack(error, |error| failed("a member".to_owned(), error));
    let mut archive = Archive::new(members);
    let mut open: Vec<Open> = Vec::new();
    for member in archive.entries().map_err(unknown)? {
        let mut member = member.map_err(unknown)?;
        let path = path_of(&member.path_bytes()).map_err(unknown)?;
        leave(&mut open, Some(&path), folder).map_err(|error| shown(&path, error))?;
        let entered = put(&mut member, &path, folder).map_err(|error| shown(&path, error))?;
        open.extend(entered);
    }
    leave(&mut open, None, folder).map_err(unknown)?;
    // Behind the last member there is nothing but the proof of the last file.
    let rest = std::io::copy(&mut archive.into_inner(), &mut std::io::sink());
    rest.map(drop).map_err(unknown)
}

fn refuse(what: impl Into<String>) -> std::io::Error {
    std::io::Error::other(what.into())
}

/// The path of a member: `./` before and `/` behind are a matter of form, everything else is not.
fn path_of(bytes: &[u8]) -> std::io::Result<TreePath> {
    let bytes = bytes.strip_prefix(b"./").unwrap_or(bytes);
    let path = TreePath::new(bytes.strip_suffix(b"/").unwrap_or(bytes));
    let path = path.map_err(|error| refuse(error.to_string()))?;
    if path.is_root() {
        return Err(refuse("a member without a name"));
    }
    Ok(path)
}

/// Settles the folders that `path` is not in: all that was to come into them has come.
fn leave(
    open: &mut Vec<Open>,
    path: Option<&TreePath>,
    folder: &mut Beneath,
) -> std::io::Result<()> {
    while let Some(last) = open.pop_if(|last| path.is_none_or(|path| !path.is_below(&last.path))) {
        folder.settle_folder(&last.path, last.mode, last.modified)?;
    }
    Ok(())
}

fn put<R: Read>(
    member: &mut Entry<'_, R>,
    path: &TreePath,
    folder: &mut Beneath,
) -> std::io::Result<Option<Open>> {
    let kind = member.header().entry_type();
    let mode = member.header().mode()?;
    let modified = modified(member)?;
    match kind {
        EntryType::Directory => {
            folder.make_folder(path)?;
            let path = path.clone();
            return Ok(Some(Open {
                path,
                mode,
                modified,
            }));
        }
        EntryType::Regular | EntryType::GNUSparse => {
            let mut file = folder.make_file(path)?;
            if kind == EntryType::GNUSparse {
                write_with_holes(member, &mut file)?;
            } else {
                std::io::copy(member, &mut file)?;
            }
            settle(&file, mode, modified)?;
        }
        EntryType::Link => folder.make_twin(path, &path_of(&target(member)?)?)?,
        EntryType::Symlink => folder.make_link(path, &target(member)?, modified)?,
        other => return Err(refuse(format!("a member of kind {other:?}"))),
    }
    Ok(None)
}

fn target<R: Read>(member: &Entry<'_, R>) -> std::io::Result<Vec<u8>> {
    let target = member.link_name_bytes();
    let target = target.ok_or_else(|| refuse("a link that leads nowhere"))?;
    Ok(target.into_owned())
}

/// The time of a member, with the nanoseconds that stand before it.
fn modified<R: Read>(member: &mut Entry<'_, R>) -> std::io::Result<FileTime> {
    let seconds = i64::try_from(member.header().mtime()?).unwrap_or(0);
    let Some(extensions) = member.pax_extensions()? else {
        return Ok(FileTime(seconds, 0));
    };
    for extension in extensions {
        let extension = extension?;
        if extension.key_bytes() == b"mtime" {
            let text = extension.value().unwrap_or_default();
            return precise(text).ok_or_else(|| refuse("a time that is none"));
        }
    }
    Ok(FileTime(seconds, 0))
}

/// Reads `-3.250000000`: nanoseconds count upwards, also before 1970.
fn precise(text: &str) -> Option<FileTime> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = format!("{fraction:0<9}");
    if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let nanoseconds: u32 = digits.get(..9)?.parse().ok()?;
    match seconds.strip_prefix('-') {
        None => Some(FileTime(seconds.parse().ok()?, nanoseconds)),
        Some(before) => {
            let seconds = i64::try_from(before.parse::<u64>().ok()?)
                .ok()?
                .checked_neg()?;
            match 1_000_000_000_u32.checked_sub(nanoseconds)? {
                1_000_000_000 => Some(FileTime(seconds, 0)),
                rest => Some(FileTime(seconds.checked_sub(1)?, rest)),
            }
        }
    }
}

/// Writes a file and leaves out what is nothing but zeros.
fn write_with_holes(source: &mut impl Read, file: &mut File) -> std::io::Result<()> {
    let mut length = 0;
    loop {
        let mut chunk = Vec::with_capacity(CHUNK);
        let read = source.by_ref().take(CHUNK as u64).read_to_end(&mut chunk)?;
        if read == 0 {
            break;
        }
        length += read as u64;
        if chunk.iter().all(|byte| *byte == 0) {
            file.seek(SeekFrom::Start(length))?;
        } else {
            file.write_all(&chunk)?;
        }
    }
    file.set_len(length)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use tar::{Builder, Header};

    use super::*;

    fn member(archive: &mut Builder<Vec<u8>>, name: &str, kind: EntryType, link: &str) {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_mtime(1);
        // The crate refuses to write what a hostile archive has, so the fields are filled here.
        for (place, byte) in header.as_old_mut().name.iter_mut().zip(name.bytes()) {
            *place = byte;
        }
        for (place, byte) in header.as_old_mut().linkname.iter_mut().zip(link.bytes()) {
            *place = byte;
        }
        let content = if kind == EntryType::Regular {
            "new"
        } else {
            ""
        };
        header.set_size(content.len() as u64);
        header.set_cksum();
        archive
            .append(&header, content.as_bytes())
            .expect("written");
    }

    fn unpacked(root: &std::path::Path, members: &[(&str, EntryType, &str)]) -> Result<(), String> {
        let mut archive = Builder::new(Vec::new());
        for (name, kind, link) in members {
            member(&mut archive, name, *kind, link);
        }
        let bytes = archive.into_inner().expect("ended");
        let mut folder = Beneath::open(root).expect("opened");
        unpack_members(&mut bytes.as_slice(), &mut folder, &|name, source| {
            ManualError::Stream { name, source }
        })
        .map_err(|error| crate::blame::with_causes(&error))
    }

    #[test]
    fn nothing_is_written_outside_whatever_the_archive_says() {
        use EntryType::{Block, Char, Directory, Fifo, Link, Regular, Symlink};
        let outside = tempfile::tempdir().expect("a folder");
        std::fs::write(outside.path().join("precious"), "precious").expect("written");
        let out = outside.path().to_str().expect("text");
        let through = format!("{out}/precious");
        let hostile: [&[(&str, EntryType, &str)]; 12] = [
            &[("../new", Regular, "")],
            &[("./a/../../new", Regular, "")],
            &[("/tmp/cofferdam-new", Regular, "")],
            &[("./a/new", Regular, "")],
            &[("./link", Symlink, out), ("./link/new", Regular, "")],
            &[("./link", Symlink, out), ("./link", Directory, "")],
            &[("./link", Symlink, &through), ("./link", Regular, "")],
            &[("./twin", Link, &through)],
            &[("./twin", Link, "../precious")],
            &[("./null", Char, "")],
            &[("./disk", Block, "")],
            &[("./pipe", Fifo, "")],
        ];
        for members in hostile {
            let root = tempfile::tempdir_in(outside.path()).expect("a folder");
            let refused = unpacked(root.path(), members);
            assert!(refused.is_err(), "{members:?}");
        }
        let there: Vec<_> = std::fs::read_dir(outside.path()).expect("read").collect();
        assert_eq!(there.len(), 1, "{there:?}");
        let kept = fs_err::read_to_string(outside.path().join("precious"));
        assert_eq!(kept.expect("read"), "precious");
    }

    #[test]
    fn a_whole_archive_becomes_files_folders_and_links() {
        use EntryType::{Directory, Link, Regular, Symlink};
        let root = tempfile::tempdir().expect("a folder");
        unpacked(
            root.path(),
            &[
                ("./top/", Directory, ""),
                ("./top/file", Regular, ""),
                ("./top/inner/", Directory, ""),
                ("./top/inner/twin", Link, "./top/file"),
                ("./top/link", Symlink, "/nowhere"),
            ],
        )
        .expect("unpacked");
        let at = |name: &str| root.path().join(name);
        assert_eq!(fs_err::read_to_string(at("top/file")).expect("read"), "new");
        let inode = |name: &str| at(name).metadata().expect("there").ino();
        assert_eq!(inode("top/file"), inode("top/inner/twin"));
        let leads = std::fs::read_link(at("top/link")).expect("a link");
        assert_eq!(leads.as_os_str(), "/nowhere");
        assert_eq!(at("top").metadata().expect("there").mtime(), 1);
        assert_eq!(at("top/inner").metadata().expect("there").mtime(), 1);
    }

    #[test]
    fn times_are_read_as_they_are_written() {
        for (text, time) in [
            ("7", FileTime(7, 0)),
            ("1350244992.023960108", FileTime(1_350_244_992, 23_960_108)),
            ("-0.750000000", FileTime(-1, 250_000_000)),
            ("-3.000000000", FileTime(-3, 0)),
            ("-2.5", FileTime(-3, 500_000_000)),
        ] {
            assert_eq!(precise(text), Some(time), "{text}");
        }
        for bad in ["", ".", "x", "1.x", "1.+2", "--1", "9999999999999999999"] {
            assert_eq!(precise(bad), None, "{bad}");
        }
    }
}
