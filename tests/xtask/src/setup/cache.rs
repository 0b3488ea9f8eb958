//! The cache folder: things that are whole or not there.
//!
//! A thing is made in a folder beside its place and renamed into it when it is complete and on disk,
//! so an interrupted download is never taken for a finished one. A finished thing is never changed.

use std::fs::TryLockError;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use fs_err as fs;
use sha2::{Digest as _, Sha256};

use crate::progress::Progress;

/// How folders under construction begin; such a folder without a holder of the lock is rubbish.
const PARTIAL: &str = "partial-";

/// The cache folder of this user.
#[derive(Debug)]
pub(crate) struct Cache {
    root: PathBuf,
    progress: Progress,
}

/// A finished thing: its name and what it was made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    name: &'static str,
    digest: String,
}

/// Holds off other set-ups of the same cache; the operating system lets go when the process ends.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: fs::File,
}

impl Key {
    /// A key over everything that decides how the thing turns out.
    pub(crate) fn new<T: AsRef<[u8]>>(
        name: &'static str,
        parts: impl IntoIterator<Item = T>,
    ) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            // The length keeps `ab`, `c` and `a`, `bc` apart.
            hasher.update(part.as_ref().len().to_le_bytes());
            hasher.update(part.as_ref());
        }
        let mut digest = hex::encode(hasher.finalize());
        // 64 bits: enough to tell the handful of things of one machine apart.
        digest.truncate(16);
        Self { name, digest }
    }

    fn file_name(&self) -> String {
        format!("{}-{}", self.name, self.digest)
    }
}

impl Cache {
    /// Opens the cache and makes its folder if it is the first time.
    pub(crate) fn open(root: &Path, progress: Progress) -> anyhow::Result<Self> {
        fs::create_dir_all(root.join("remembered")).context("failed to make the cache folder")?;
        Ok(Self {
            root: root.to_owned(),
            progress,
        })
    }

    /// Waits until no other set-up works on this cache, and clears what an interrupted one left.
    pub(crate) fn lock(&self) -> anyhow::Result<Lock> {
        let file = fs::File::create(self.root.join("lock"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                self.progress
                    .say("waiting", "another set-up is at work on the same cache");
                file.lock()?;
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).context("failed to lock the cache folder");
            }
        }
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(PARTIAL) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(Lock { _file: file })
    }

    /// The finished thing, if it is there.
    pub(crate) fn find(&self, key: &Key) -> Option<PathBuf> {
        Some(self.root.join(key.file_name())).filter(|path| path.is_dir())
    }

    /// Makes a thing: `fill` gets an empty folder; when it succeeds the folder takes its place.
    pub(crate) fn make(
        &self,
        key: &Key,
        _lock: &Lock,
        fill: impl FnOnce(&Path) -> anyhow::Result<()>,
    ) -> anyhow::Result<PathBuf> {
        if let Some(path) = self.find(key) {
            return Ok(path);
        }
        let partial = tempfile::Builder::new()
            .prefix(PARTIAL)
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .tempdir_in(&self.root)
            .context("failed to make a folder in the cache")?;
        fill(partial.path())?;
        let folder = fs::File::open(partial.path())?;
        nix::unistd::syncfs(folder.file()).context("failed to bring the cache folder to disk")?;
        let path = self.root.join(key.file_name());
        fs::rename(partial.path(), &path)?;
        // Its folder has gone to its place; there is nothing left to remove.
        let _ = partial.keep();
        Ok(path)
    }

    /// What was found for a state of the machine, so that an unchanged machine is not asked again.
    pub(crate) fn recall(&self, state: &Key) -> Option<PathBuf> {
        let name = fs::read_to_string(self.root.join("remembered").join(state.file_name())).ok()?;
        Some(self.root.join(name.trim())).filter(|path| path.is_dir())
    }

    /// Remembers a finished thing for a state of the machine.
    pub(crate) fn remember(&self, state: &Key, thing: &Key) -> anyhow::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.root)?;
        std::io::Write::write_all(&mut file, thing.file_name().as_bytes())?;
        file.persist(self.root.join("remembered").join(state.file_name()))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    fn cache() -> (tempfile::TempDir, Cache) {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path(), Progress::plain()).unwrap();
        (folder, cache)
    }

    #[test]
    fn a_thing_whose_making_failed_is_not_there_and_leaves_nothing() {
        let (folder, cache) = cache();
        let key = Key::new("thing", ["1"]);
        let lock = cache.lock().unwrap();
        let made = cache.make(&key, &lock, |path| {
            fs::write(path.join("half"), "half")?;
            bail!("cut")
        });
        assert!(made.is_err());
        assert_eq!(cache.find(&key), None);
        let left: Vec<_> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert!(
            left.iter()
                .all(|name| name == "lock" || name == "remembered"),
            "{left:?}"
        );
    }

    #[test]
    fn what_a_killed_set_up_left_is_cleared_by_the_next() {
        let (folder, cache) = cache();
        let left = folder.path().join("partial-abc");
        std::fs::create_dir(&left).unwrap();
        let _lock = cache.lock().unwrap();
        assert!(!left.exists());
    }

    #[test]
    fn a_finished_thing_is_made_once() {
        let (_folder, cache) = cache();
        let key = Key::new("thing", ["1"]);
        let lock = cache.lock().unwrap();
        let path = cache
            .make(&key, &lock, |path| Ok(fs::write(path.join("a"), "first")?))
            .unwrap();
        cache.make(&key, &lock, |_| bail!("made twice")).unwrap();
        assert_eq!(std::fs::read(path.join("a")).unwrap(), b"first");
    }

    #[test]
    fn a_remembered_thing_that_was_deleted_is_forgotten() {
        let (_folder, cache) = cache();
        let (state, key) = (Key::new("state", ["s"]), Key::new("thing", ["1"]));
        let lock = cache.lock().unwrap();
        let path = cache.make(&key, &lock, |_| Ok(())).unwrap();
        cache.remember(&state, &key).unwrap();
        assert_eq!(cache.recall(&state), Some(path.clone()));
        std::fs::remove_dir(path).unwrap();
        assert_eq!(cache.recall(&state), None);
    }

    #[test]
    fn parts_of_a_key_do_not_run_together() {
        assert_ne!(Key::new("k", ["ab", "c"]), Key::new("k", ["a", "bc"]));
    }
}
