//! A folder whose entries are reached name by name from its own descriptor.
//!
//! Somebody else may have filled the folder, or fill it still: no symbolic link in it is ever followed, so nothing
//! outside of it is read or written, whatever stands in it and whenever it was put there.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::{ErrorKind, Result};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use cofferdam_repository::{FileTime, TreePath};
use rustix::fs::{
    AtFlags, Dir, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, fchmod, futimens, linkat,
    mkdirat, openat, readlinkat, symlinkat, utimensat,
};

/// For the owner alone, until an entry gets the mode that is its own.
const FOLDER_MODE: Mode = Mode::RWXU;
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);
/// Enough for going through a folder; reading its names takes more.
const THROUGH: OFlags = OFlags::PATH
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// A folder and all below it.
#[derive(Debug)]
pub(super) struct Beneath {
    root: OwnedFd,
    /// The folder that was asked for last: neighbours come one after another.
    last: Option<(Vec<u8>, OwnedFd)>,
}

impl Beneath {
    /// Opens a folder; what the path leads through is the caller's to know.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(rustix::fs::CWD, path, flags, Mode::empty())?;
        Ok(Self { root, last: None })
    }

    /// Opens a folder in it as one of its own.
    pub(super) fn within(&mut self, path: &TreePath) -> Result<Self> {
        let (holder, name) = self.holder(path)?;
        let root = openat(holder, name, THROUGH, Mode::empty())?;
        Ok(Self { root, last: None })
    }

    /// The folder that an entry is in, and the entry's name in it.
    fn holder<'path>(&mut self, path: &'path TreePath) -> Result<(&OwnedFd, &'path OsStr)> {
        let path = path.as_bytes();
        let cut = path.iter().rposition(|byte| *byte == b'/');
        let (folder, name) = match cut.and_then(|at| path.split_at_checked(at)) {
            Some((folder, rest)) => (folder, rest.get(1..).unwrap_or_default()),
            None if path.is_empty() => (path, &b"."[..]),
            None => (&b""[..], path),
        };
        let known = self.last.take_if(|(known, _)| known != folder);
        drop(known);
        if self.last.is_none() {
            let mut descriptor = self.root.try_clone()?;
            for step in folder.split(|byte| *byte == b'/') {
                if !step.is_empty() {
                    let step = OsStr::from_bytes(step);
                    descriptor = openat(&descriptor, step, THROUGH, Mode::empty())?;
                }
            }
            self.last = Some((folder.to_vec(), descriptor));
        }
        let (_, descriptor) = self.last.as_ref().expect("just filled");
        Ok((descriptor, OsStr::from_bytes(name)))
    }

    /// What an entry is; a link is a link.
    pub(super) fn status(&mut self, path: &TreePath) -> Result<Metadata> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let (holder, name) = self.holder(path)?;
        File::from(openat(holder, name, flags, Mode::empty())?).metadata()
    }

    /// The names in a folder.
    pub(super) fn names(&mut self, folder: &TreePath) -> Result<Dir> {
        Ok(Dir::new(self.folder(folder)?)?)
    }

    fn folder(&mut self, path: &TreePath) -> Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let (holder, name) = self.holder(path)?;
        Ok(openat(holder, name, flags, Mode::empty())?)
    }

    /// Where a link leads.
    pub(super) fn target(&mut self, path: &TreePath) -> Result<Vec<u8>> {
        let (holder, name) = self.holder(path)?;
        Ok(readlinkat(holder, name, Vec::new())?.into_bytes())
    }

    /// Opens what should be a regular file: neither a link nor, for ever, a pipe.
    pub(super) fn read(&mut self, path: &TreePath) -> Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let (holder, name) = self.holder(path)?;
        Ok(openat(holder, name, flags, Mode::empty())?.into())
    }

    /// Makes a folder.
    pub(super) fn make_folder(&mut self, path: &TreePath) -> Result<()> {
        let (holder, name) = self.holder(path)?;
        Ok(mkdirat(holder, name, FOLDER_MODE)?)
    }

    /// Makes a file that is not there yet.
    pub(super) fn make_file(&mut self, path: &TreePath) -> Result<File> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let (holder, name) = self.holder(path)?;
        Ok(openat(holder, name, flags, FILE_MODE)?.into())
    }

    /// Makes a symbolic link. Where it leads is only written down.
    pub(super) fn make_link(&mut self, path: &TreePath, target: &[u8], at: FileTime) -> Result<()> {
        let (holder, name) = self.holder(path)?;
        symlinkat(OsStr::from_bytes(target), holder, name)?;
        // Not every file system keeps the time of a link, and nobody compares it.
        let _kept = utimensat(holder, name, &times(at), AtFlags::SYMLINK_NOFOLLOW);
        Ok(())
    }

    /// Makes a second name of a file that is there.
    pub(super) fn make_twin(&mut self, path: &TreePath, first: &TreePath) -> Result<()> {
        let (there, there_name) = self.holder(first)?;
        let there = there.try_clone()?;
        let (holder, name) = self.holder(path)?;
        // Without `SYMLINK_FOLLOW` a link would be linked itself.
        Ok(linkat(there, there_name, holder, name, AtFlags::empty())?)
    }

    /// Gives a folder its mode and its time; of no use before all that is in it is there.
    pub(super) fn settle_folder(
        &mut self,
        path: &TreePath,
        mode: u32,
        modified: FileTime,
    ) -> Result<()> {
        settle(&File::from(self.folder(path)?), mode, modified)
    }

    /// Brings everything that was written to the disk.
    pub(super) fn sync(&mut self) -> Result<()> {
        Ok(rustix::fs::syncfs(self.folder(&TreePath::default())?)?)
    }
}

/// Gives a file or folder its mode and its time.
pub(super) fn settle(file: &File, mode: u32, modified: FileTime) -> Result<()> {
    fchmod(file, Mode::from_raw_mode(mode & 0o7777))?;
    Ok(futimens(file, &times(modified))?)
}

fn times(modified: FileTime) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: modified.0,
            tv_nsec: modified.1.into(),
        },
    }
}

/// Whether an entry went away, or became something else, since it was seen.
pub(super) fn is_gone(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
        || error.raw_os_error() == Some(libc::ELOOP)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::fs::symlink;

    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::new(text.as_bytes()).expect("a path")
    }

    #[test]
    fn no_link_leads_out_neither_at_the_end_nor_on_the_way() {
        let root = tempfile::tempdir().expect("a folder");
        let outside = tempfile::tempdir().expect("a folder");
        std::fs::write(outside.path().join("precious"), "precious").expect("written");
        std::fs::create_dir(root.path().join("inside")).expect("made");
        std::fs::write(root.path().join("inside/file"), "mine").expect("written");
        symlink(outside.path(), root.path().join("out")).expect("linked");
        symlink(outside.path().join("precious"), root.path().join("file")).expect("linked");
        symlink("inside", root.path().join("alias")).expect("linked");
        let mut beneath = Beneath::open(root.path()).expect("opened");
        for leads_out in ["out/precious", "file", "alias/file"] {
            let refused = beneath.read(&path(leads_out)).expect_err(leads_out);
            assert!(is_gone(&refused), "{leads_out}: {refused}");
        }
        for leads_out in ["out/new", "out", "file", "alias/new"] {
            assert!(beneath.make_file(&path(leads_out)).is_err(), "{leads_out}");
            assert!(
                beneath.make_folder(&path(leads_out)).is_err(),
                "{leads_out}"
            );
            let at = FileTime::default();
            let linked = beneath.make_link(&path(leads_out), b"x", at);
            assert!(linked.is_err(), "{leads_out}");
            let twin = beneath.make_twin(&path(leads_out), &path("inside/file"));
            assert!(twin.is_err(), "{leads_out}");
        }
        for folder in ["out", "alias"] {
            assert!(beneath.names(&path(folder)).is_err(), "{folder}");
            assert!(beneath.within(&path(folder)).is_err(), "{folder}");
            let settled = beneath.settle_folder(&path(folder), 0o700, FileTime::default());
            assert!(settled.is_err(), "{folder}");
        }
        let there: Vec<_> = std::fs::read_dir(outside.path()).expect("read").collect();
        assert_eq!(there.len(), 1);
        let mut text = String::new();
        let mut file = beneath.read(&path("inside/file")).expect("opened");
        file.read_to_string(&mut text).expect("read");
        assert_eq!(text, "mine");
    }

    #[test]
    fn what_is_made_has_its_mode_and_time_to_the_nanosecond() {
        use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
        let root = tempfile::tempdir().expect("a folder");
        let mut beneath = Beneath::open(root.path()).expect("opened");
        beneath.make_folder(&path("a")).expect("made");
        let mut file = beneath.make_file(&path("a/b")).expect("made");
        file.write_all(b"x").expect("written");
        settle(&file, 0o440, FileTime(-7, 123)).expect("settled");
        beneath.make_twin(&path("c"), &path("a/b")).expect("made");
        beneath
            .settle_folder(&path("a"), 0o2750, FileTime(9, 1))
            .expect("settled");
        let (file, twin, folder) = (
            root.path().join("a/b").metadata().expect("there"),
            root.path().join("c").metadata().expect("there"),
            root.path().join("a").metadata().expect("there"),
        );
        assert_eq!(file.ino(), twin.ino());
        assert_eq!(file.permissions().mode() & 0o7777, 0o440);
        assert_eq!((file.mtime(), file.mtime_nsec()), (-7, 123));
        assert_eq!(folder.permissions().mode() & 0o7777, 0o2750);
        assert_eq!((folder.mtime(), folder.mtime_nsec()), (9, 1));
    }
}
