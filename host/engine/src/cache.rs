//! Compiled modules, kept between runs.
//!
//! Machine code from a file is run as it is, so a file counts only where this cache itself wrote
//! it: the folder and the key are readable by their owner alone, and each file begins with a MAC over
//! its content, the digest of its module and the compiler's settings. Must never hand out bytes
//! whose MAC is wrong: such a file is compiled anew and written over.

use std::hash::{Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use fs_err as fs;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

use crate::limits;

/// Bytes of the key and of a MAC.
const KEY_BYTES: usize = 32;
const KEY_FILE: &str = "key";
const EXTENSION: &str = "module";
/// What the MAC is for: another use of the key would have another word here.
const PURPOSE: &[u8] = b"cofferdam compiled module 1";

/// A folder of compiled modules.
#[derive(Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
    key: Key,
    /// The compiler's version and settings.
    compiler: [u8; 32],
}

struct Key([u8; KEY_BYTES]);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({KEY_BYTES} bytes)")
    }
}

/// Feeds what is hashed to SHA-256: the hasher of the standard library may change its mind.
#[derive(Default)]
struct Stable(Sha256);

impl Hasher for Stable {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let digest = self.0.clone().finalize();
        digest
            .iter()
            .take(8)
            .fold(0, |number, byte| (number << 8) | u64::from(*byte))
    }
}

impl Cache {
    /// Opens the cache in `folder`, which is made with its key where it is missing.
    pub(crate) fn open(folder: &Path, engine: &wasmtime::Engine) -> io::Result<Self> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
        let metadata = fs::metadata(folder)?;
        if metadata.mode() & 0o077 != 0 {
            // Only the owner can do this: in a folder of someone else's the cache cannot be used.
            fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))?;
        }
        let mut compiler = Stable::default();
        engine.precompile_compatibility_hash().hash(&mut compiler);
        Ok(Self {
            folder: folder.to_owned(),
            key: key(&folder.join(KEY_FILE))?,
            compiler: compiler.0.finalize().into(),
        })
    }

    /// The compiled form of the module with this digest. `None` where there is none that is ours.
    pub(crate) fn read(&self, digest: &str) -> Option<Vec<u8>> {
        let path = self.path(digest);
        let content = match read_bounded(&path) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(%error, "the cache of compiled modules could not be read");
                return None;
            }
        };
        let (mac, compiled) = content.split_at_checked(KEY_BYTES)?;
        if self.mac(digest, compiled).verify_slice(mac).is_err() {
            tracing::warn!(path = %path.display(), "a compiled module was not written by this cache: compiling it anew");
            return None;
        }
        Some(compiled.to_vec())
    }

    /// Keeps a compiled module, and drops the oldest where there are too many.
    pub(crate) fn write(&self, digest: &str, compiled: &[u8]) -> io::Result<()> {
        let mut file = tempfile::Builder::new()
            .permissions(std::fs::Permissions::from_mode(0o600))
            .tempfile_in(&self.folder)?;
        file.write_all(&self.mac(digest, compiled).finalize().into_bytes())?;
        file.write_all(compiled)?;
        file.persist(self.path(digest))
            .map_err(|error| error.error)?;
        self.drop_oldest()
    }

    fn path(&self, digest: &str) -> PathBuf {
        let compiler = hex::encode(self.compiler.get(..8).unwrap_or_default());
        let digest = digest.trim_start_matches("sha256:");
        self.folder.join(format!("{digest}-{compiler}.{EXTENSION}"))
    }

    fn mac(&self, digest: &str, compiled: &[u8]) -> Hmac<Sha256> {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.key.0).expect("HMAC takes a key of any length");
        mac.update(PURPOSE);
        mac.update(&self.compiler);
        // The digest has a fixed length, so nothing can slide from one field into the next.
        mac.update(&Sha256::digest(digest));
        mac.update(compiled);
        mac
    }

    fn drop_oldest(&self) -> io::Result<()> {
        let mut kept = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let path = entry.path();
            if path
                .extension()
                .is_some_and(|extension| extension == EXTENSION)
            {
                kept.push((entry.metadata()?.modified()?, path));
            }
        }
        kept.sort();
        let surplus = kept.len().saturating_sub(limits::CACHED_MODULES);
        for (_, path) in kept.iter().take(surplus) {
            fs::remove_file(path)?;
        }
        Ok(())
    }
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let file = fs::File::open(path)?;
    if file.metadata()?.len() > limits::CACHED_BYTES {
        return Err(io::Error::other(
            "the compiled module is larger than any can be",
        ));
    }
    let mut content = Vec::new();
    file.take(limits::CACHED_BYTES).read_to_end(&mut content)?;
    Ok(content)
}

/// Reads the key, or makes one.
fn key(path: &Path) -> io::Result<Key> {
    if let Some(key) = read_key(path)? {
        return Ok(key);
    }
    let mut bytes = [0; KEY_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    // Whole before it has its name: another process may look for it at the same time.
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .permissions(std::fs::Permissions::from_mode(0o600))
        .tempfile_in(folder)?;
    file.write_all(&bytes)?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(Key(bytes)),
        Err(refused) if refused.error.kind() == io::ErrorKind::AlreadyExists => {
            read_key(path)?.ok_or_else(|| io::Error::other("the key of the cache came and went"))
        }
        Err(refused) => Err(refused.error),
    }
}

fn read_key(path: &Path) -> io::Result<Option<Key>> {
    let mut file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if file.metadata()?.mode() & 0o077 != 0 {
        return Err(io::Error::other(format!(
            "`{}` can be read by others: remove it, and a new one is made",
            path.display()
        )));
    }
    let mut bytes = [0; KEY_BYTES];
    file.read_exact(&mut bytes).map_err(|error| {
        io::Error::other(format!(
            "`{}` is cut off: remove it, and a new one is made ({error})",
            path.display()
        ))
    })?;
    Ok(Some(Key(bytes)))
}

#[cfg(test)]
mod tests;
