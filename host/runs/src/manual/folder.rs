//! A folder of somebody's files: files and folders of it by name, and nothing that it points to.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use cofferdam_repository::TreePath;

use super::ManualError;
use super::beneath::Beneath;

/// Names of files that are said not to have been read; more than this would only be noise.
const NAMED: usize = 20;

/// A folder and the names in it.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    path: PathBuf,
    names: BTreeSet<String>,
}

impl Folder {
    pub(super) fn open(path: &Path) -> Result<Self, ManualError> {
        let failed = |source| ManualError::Disk {
            action: "read the folder",
            path: path.to_owned(),
            source,
        };
        let mut names = BTreeSet::new();
        for entry in std::fs::read_dir(path).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            names.insert(name.to_string_lossy().into_owned());
        }
        Ok(Self {
            path: path.to_owned(),
            names,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Whether a name is that of a folder, and of no link to one.
    pub(super) fn is_folder(&self, name: &str) -> bool {
        std::fs::symlink_metadata(self.path.join(name)).is_ok_and(|metadata| metadata.is_dir())
    }

    /// Whether all that a folder in it has is one folder of that name.
    pub(super) fn has_only_folder(&self, name: &str, inner: &str) -> bool {
        let place = self.path.join(name);
        let Ok(entries) = std::fs::read_dir(&place) else {
            return false;
        };
        let mut names = entries.map_while(Result::ok).map(|entry| entry.file_name());
        self.is_folder(name)
            && names.next().is_some_and(|only| only == inner)
            && names.next().is_none()
            && std::fs::symlink_metadata(place.join(inner)).is_ok_and(|one| one.is_dir())
    }

    /// Opens a folder of the folder, by one name or more. A symbolic link is refused, since it could bring any folder
    /// of this machine into the backup.
    pub(super) fn folder(&self, place: &[String]) -> Result<Beneath, String> {
        let shown = place.join("/");
        let failed = |error: std::io::Error| match error.raw_os_error() {
            Some(libc::ELOOP | libc::ENOTDIR) => format!(
                "`{shown}` is no folder, and a symbolic link is not followed: put the folder itself there"
            ),
            _ => format!("failed to open the folder `{shown}`: {error}"),
        };
        let path = TreePath::new(shown.as_bytes()).map_err(|error| error.to_string())?;
        let mut around = Beneath::open(&self.path).map_err(failed)?;
        around.within(&path).map_err(failed)
    }

    /// Opens a regular file of the folder itself. A symbolic link is refused, since it could bring
    /// any file of this machine into the backup; so is a pipe, which could never end.
    pub(super) fn file(&self, name: &str) -> Result<File, String> {
        let path = self.path.join(name);
        let opened = std::fs::OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(&path);
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
                return Err(format!(
                    "`{name}` is a symbolic link, which is not followed: put the file itself there"
                ));
            }
            Err(error) => return Err(format!("failed to open `{name}`: {error}")),
        };
        match file.metadata() {
            Ok(metadata) if metadata.is_file() => Ok(file),
            Ok(_) => Err(format!("`{name}` is no regular file")),
            Err(error) => Err(format!("failed to look at `{name}`: {error}")),
        }
    }

    /// The files of the folder that nothing has asked for, as a sentence.
    pub(super) fn unread(&self, read: &BTreeSet<String>) -> Option<String> {
        let left: Vec<String> = self
            .names
            .difference(read)
            .map(|name| format!("`{}`", name.escape_debug()))
            .collect();
        let shown: Vec<&str> = left.iter().take(NAMED).map(String::as_str).collect();
        let more = left.len() - shown.len();
        match (shown.is_empty(), more) {
            (true, _) => None,
            (false, 0) => Some(format!("not imported: {}", shown.join(", "))),
            (false, more) => Some(format!(
                "not imported: {} and {more} more",
                shown.join(", ")
            )),
        }
    }
}
