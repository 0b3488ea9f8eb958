//! Where exported files go: a folder that takes its place when it is whole, or one tar stream.
//!
//! Everything is written for its owner alone: dumps and Secrets are no less secret than what they
//! came from. What is in a folder of the application keeps its own mode, below a folder that does not
//! let others in.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use cofferdam_repository::TreePath;

use super::ManualError;
use super::beneath::Beneath;
use super::unpack::unpack_members;

/// For the owner alone.
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;
/// What every member of an archive is a multiple of.
const TAR_BLOCK: u64 = 512;

/// Makes the bytes of a file, from the beginning, each time it is asked: a tar stream wants to know
/// how many there are before the first.
pub(super) type Contents<'a> = dyn Fn() -> Result<Box<dyn Read + 'a>, ManualError> + 'a;

/// Somewhere that files go.
pub(super) trait Sink {
    /// Writes a file; returns its length.
    fn put(&mut self, name: &str, contents: &Contents<'_>) -> Result<u64, ManualError>;

    /// Writes a folder: `members` are those of an archive without its end, all of them below `top`.
    fn put_tree(&mut self, top: &str, members: &mut (dyn Read + '_)) -> Result<(), ManualError>;

    /// All is there: only now does it count.
    fn finish(self: Box<Self>) -> Result<(), ManualError>;
}

/// A folder that is filled beside its place.
pub(super) struct FolderSink {
    place: PathBuf,
    partial: tempfile::TempDir,
}

impl FolderSink {
    /// Begins a folder at a place that is free or an empty folder.
    pub(super) fn new(place: &Path) -> Result<Self, ManualError> {
        let occupied = || ManualError::Occupied {
            path: place.to_owned(),
        };
        match std::fs::symlink_metadata(place) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => return Err(disk("look at", place, source)),
            Ok(metadata) if metadata.is_dir() => {
                let mut inside = std::fs::read_dir(place)
                    .map_err(|source| disk("read the folder", place, source))?;
                if inside.next().is_some() {
                    return Err(occupied());
                }
            }
            Ok(_) => return Err(occupied()),
        }
        // An absolute place, so that `.` and `..` have a folder that they are in.
        let absolute = std::path::absolute(place).map_err(|source| disk("find", place, source))?;
        let (Some(around), Some(_)) = (absolute.parent(), absolute.file_name()) else {
            return Err(occupied());
        };
        DirBuilder::new()
            .recursive(true)
            .create(around)
            .map_err(|source| disk("make the folder", around, source))?;
        let partial = tempfile::Builder::new()
            .prefix(".cofferdam-export-")
            .tempdir_in(around)
            .map_err(|source| disk("make a folder in", around, source))?;
        let files = partial.path().join("files");
        DirBuilder::new()
            .mode(FOLDER_MODE)
            .create(&files)
            .map_err(|source| disk("make the folder", &files, source))?;
        Ok(Self {
            place: absolute,
            partial,
        })
    }

    fn files(&self) -> PathBuf {
        self.partial.path().join("files")
    }
}

impl Sink for FolderSink {
    fn put(&mut self, name: &str, contents: &Contents<'_>) -> Result<u64, ManualError> {
        let path = self.files().join(name);
        let shown = self.place.join(name);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(&path)
            .map_err(|source| disk("make", &shown, source))?;
        let bytes = copy(&mut *contents()?, &mut file, |source| {
            disk("write", &shown, source)
        })?;
        file.sync_all()
            .map_err(|source| disk("write", &shown, source))?;
        Ok(bytes)
    }

    fn put_tree(&mut self, top: &str, members: &mut (dyn Read + '_)) -> Result<(), ManualError> {
        let shown = self.place.join(top);
        let failed = |source| disk("write the folder", &shown, source);
        let mut files = Beneath::open(&self.files()).map_err(failed)?;
        files
            .make_folder(&TreePath::new(top.as_bytes())?)
            .map_err(failed)?;
        unpack_members(members, &mut files, &|name, source| {
            disk("write", &self.place.join(name), source)
        })?;
        files.sync().map_err(failed)
    }

    fn finish(self: Box<Self>) -> Result<(), ManualError> {
        let files = self.files();
        // Onto an empty folder a rename is as good as onto nothing; onto anything else it fails.
        std::fs::rename(&files, &self.place)
            .map_err(|source| disk("put the files in place at", &self.place, source))?;
        if let Some(around) = self.place.parent() {
            File::open(around)
                .and_then(|folder| folder.sync_all())
                .map_err(|source| disk("write", around, source))?;
        }
        Ok(())
    }
}

/// A tar stream.
pub(super) struct TarSink<W: Write> {
    builder: tar::Builder<W>,
    written: u64,
}

impl<W: Write> TarSink<W> {
    /// Begins a stream; `at` is the time of its files, in seconds since 1970.
    pub(super) fn new(stream: W, at: u64) -> Self {
        Self {
            builder: tar::Builder::new(stream),
            written: at,
        }
    }
}

impl<W: Write> Sink for TarSink<W> {
    fn put(&mut self, name: &str, contents: &Contents<'_>) -> Result<u64, ManualError> {
        let failed = |source| ManualError::Stream {
            name: name.to_owned(),
            source,
        };
        let bytes = copy(&mut *contents()?, &mut std::io::sink(), failed)?;
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(FILE_MODE);
        header.set_mtime(self.written);
        header.set_size(bytes);
        let mut again = Exactly {
            inner: contents()?,
            left: bytes,
        };
        let appended = self.builder.append_data(&mut header, name, &mut again);
        appended.map_err(|error| unpack(error, failed))?;
        if again.left > 0 {
            return Err(failed(std::io::Error::other(
                "it was shorter the second time",
            )));
        }
        Ok(bytes)
    }

    fn put_tree(&mut self, top: &str, members: &mut (dyn Read + '_)) -> Result<(), ManualError> {
        let failed = |source| ManualError::Stream {
            name: top.to_owned(),
            source,
        };
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_mode(FOLDER_MODE);
        header.set_mtime(self.written);
        header.set_size(0);
        let name = format!("{top}/");
        let made = self
            .builder
            .append_data(&mut header, name, std::io::empty());
        made.map_err(failed)?;
        let bytes = copy(members, self.builder.get_mut(), failed)?;
        if bytes % TAR_BLOCK == 0 {
            return Ok(());
        }
        Err(failed(std::io::Error::other("its members end in a block")))
    }

    fn finish(self: Box<Self>) -> Result<(), ManualError> {
        let failed = |source| ManualError::Stream {
            name: "the end".to_owned(),
            source,
        };
        let mut stream = self.builder.into_inner().map_err(failed)?;
        stream.flush().map_err(failed)
    }
}

/// At most as many bytes as were announced: what came after would be read as another file.
struct Exactly<'a> {
    inner: Box<dyn Read + 'a>,
    left: u64,
}

impl Read for Exactly<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let room = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let count = self
            .inner
            .read(buffer.get_mut(..room).unwrap_or_default())?;
        self.left = self.left.saturating_sub(count as u64);
        if room > 0 && count == 0 {
            return Err(std::io::Error::other("it was shorter the second time"));
        }
        Ok(count)
    }
}

/// An error of ours on its way through code that knows only errors of input and output.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Carried(ManualError);

/// Packs an error of ours, for [`unpack`].
pub(super) fn carry(error: impl Into<ManualError>) -> std::io::Error {
    std::io::Error::other(Carried(error.into()))
}

/// An error of ours that came through such code, or what `other` makes of any other.
pub(super) fn unpack(
    error: std::io::Error,
    other: impl FnOnce(std::io::Error) -> ManualError,
) -> ManualError {
    match error.downcast::<Carried>() {
        Ok(Carried(ours)) => ours,
        Err(error) => other(error),
    }
}

/// Copies to the end. Errors of the source are the source's own, errors of the target are `failed`.
fn copy(
    source: &mut (dyn Read + '_),
    target: &mut dyn Write,
    failed: impl Fn(std::io::Error) -> ManualError,
) -> Result<u64, ManualError> {
    std::io::copy(source, target).map_err(|error| unpack(error, failed))
}

fn disk(action: &'static str, path: &Path, source: std::io::Error) -> ManualError {
    ManualError::Disk {
        action,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn contents(text: &'static str) -> impl Fn() -> Result<Box<dyn Read>, ManualError> {
        move || Ok(Box::new(text.as_bytes()))
    }

    fn entries(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .expect("read")
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_folder_is_there_whole_and_for_its_owner_alone() {
        let root = tempfile::tempdir().expect("a folder");
        let place = root.path().join("deep/export");
        let mut sink = FolderSink::new(&place).expect("begun");
        assert_eq!(sink.put("a.gz", &contents("abc")).expect("put"), 3);
        assert!(!place.exists(), "it is not whole yet");
        Box::new(sink).finish().expect("finished");
        assert_eq!(entries(&place), ["a.gz"]);
        let mode = |path: &Path| path.metadata().expect("there").permissions().mode() & 0o777;
        assert_eq!((mode(&place), mode(&place.join("a.gz"))), (0o700, 0o600));
        assert_eq!(entries(&root.path().join("deep")), ["export"]);
    }

    #[test]
    fn a_folder_that_is_given_up_leaves_nothing() {
        let root = tempfile::tempdir().expect("a folder");
        let mut sink = FolderSink::new(&root.path().join("export")).expect("begun");
        sink.put("a", &contents("abc")).expect("put");
        let broken = || -> Result<Box<dyn Read>, ManualError> { Err(ManualError::Cancelled) };
        assert!(matches!(
            sink.put("b", &broken),
            Err(ManualError::Cancelled)
        ));
        drop(sink);
        assert_eq!(entries(root.path()), Vec::<String>::new());
    }

    #[test]
    fn what_is_there_is_never_written_over() {
        let root = tempfile::tempdir().expect("a folder");
        let (full, file) = (root.path().join("full"), root.path().join("file"));
        std::fs::create_dir(&full).expect("made");
        std::fs::write(full.join("mine"), "mine").expect("written");
        std::fs::write(&file, "mine").expect("written");
        std::os::unix::fs::symlink("/nowhere", root.path().join("link")).expect("linked");
        for place in [&full, &file, &root.path().join("link")] {
            let refused = FolderSink::new(place).err();
            assert!(
                matches!(refused, Some(ManualError::Occupied { .. })),
                "{refused:?}"
            );
        }
        // Filled by somebody else in the meantime.
        let late = root.path().join("late");
        let mut sink = FolderSink::new(&late).expect("begun");
        sink.put("a", &contents("abc")).expect("put");
        std::fs::create_dir(&late).expect("made");
        std::fs::write(late.join("theirs"), "theirs").expect("written");
        assert!(Box::new(sink).finish().is_err());
        assert_eq!(entries(&late), ["theirs"]);
    }

    #[test]
    fn a_stream_has_the_same_files() {
        let mut stream = Vec::new();
        let mut sink = TarSink::new(&mut stream, 7);
        sink.put("a.json", &contents("{}")).expect("put");
        sink.put("b.gz", &contents("abc")).expect("put");
        Box::new(sink).finish().expect("finished");
        let mut archive = tar::Archive::new(stream.as_slice());
        let seen: Vec<(String, u32, String)> = archive
            .entries()
            .expect("entries")
            .map(|entry| {
                let mut entry = entry.expect("an entry");
                let mut text = String::new();
                entry.read_to_string(&mut text).expect("read");
                let name = entry.path().expect("a path").display().to_string();
                (name, entry.header().mode().expect("a mode"), text)
            })
            .collect();
        assert_eq!(
            seen,
            [
                ("a.json".into(), 0o600, "{}".into()),
                ("b.gz".into(), 0o600, "abc".into())
            ]
        );
    }

    /// A folder `top/inner` with a file in it, as the repository gives it out.
    fn members() -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for (name, kind, text) in [
            ("./top/inner/", tar::EntryType::Directory, ""),
            ("./top/inner/file", tar::EntryType::Regular, "abc"),
        ] {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_mode(0o755);
            header.set_size(text.len() as u64);
            archive
                .append_data(&mut header, name, text.as_bytes())
                .expect("written");
        }
        archive.get_ref().clone()
    }

    #[test]
    fn a_tree_is_the_same_in_a_folder_and_in_a_stream() {
        let root = tempfile::tempdir().expect("a folder");
        let place = root.path().join("export");
        let mut sink = FolderSink::new(&place).expect("begun");
        sink.put_tree("top", &mut members().as_slice())
            .expect("put");
        sink.put("a", &contents("abc")).expect("put");
        Box::new(sink).finish().expect("finished");
        let mut stream = Vec::new();
        let mut sink = TarSink::new(&mut stream, 7);
        sink.put_tree("top", &mut members().as_slice())
            .expect("put");
        sink.put("a", &contents("abc")).expect("put");
        Box::new(sink).finish().expect("finished");
        let unpacked = root.path().join("unpacked");
        tar::Archive::new(stream.as_slice())
            .unpack(&unpacked)
            .expect("unpacked");
        for place in [&place, &unpacked] {
            let mode = |name: &str| {
                let metadata = place.join(name).metadata().expect("there");
                metadata.permissions().mode() & 0o777
            };
            let modes = ["top", "top/inner", "top/inner/file"].map(mode);
            assert_eq!(modes, [0o700, 0o755, 0o755]);
            let text = fs_err::read_to_string(place.join("top/inner/file"));
            assert_eq!(text.expect("read"), "abc");
            assert_eq!(entries(place), ["a", "top"]);
        }
    }

    #[test]
    fn a_tree_that_breaks_off_leaves_nothing() {
        struct Breaks(std::io::Cursor<Vec<u8>>);
        impl Read for Breaks {
            fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
                match self.0.read(buffer)? {
                    0 => Err(carry(ManualError::Cancelled)),
                    count => Ok(count),
                }
            }
        }
        let root = tempfile::tempdir().expect("a folder");
        let mut sink = FolderSink::new(&root.path().join("export")).expect("begun");
        let mut breaks = Breaks(std::io::Cursor::new(members()));
        let broken = sink.put_tree("top", &mut breaks);
        assert!(matches!(broken, Err(ManualError::Cancelled)), "{broken:?}");
        drop(sink);
        assert_eq!(entries(root.path()), Vec::<String>::new());
    }

    #[test]
    fn a_source_that_shrinks_the_second_time_breaks_the_stream() {
        let times = std::cell::Cell::new(0);
        let shrinks = || -> Result<Box<dyn Read>, ManualError> {
            times.set(times.get() + 1);
            Ok(Box::new(
                if times.get() == 1 { "abc" } else { "a" }.as_bytes(),
            ))
        };
        let mut sink = TarSink::new(Vec::new(), 0);
        assert!(matches!(
            sink.put("a", &shrinks),
            Err(ManualError::Stream { .. })
        ));
    }
}
