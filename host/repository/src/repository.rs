//! A repository: made, opened once, and what all its users share: index, lock, limits.
//!
//! Opening by password costs a quarter of a second and 128 MiB, so it is done once and the master key is kept. Reading
//! takes no lock and writes nothing, so a repository on a read-only mount can be listed, checked and restored from.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Weak};

use bytesize::ByteSize;
use object_store::ObjectStoreExt;
use rustic_core::repofile::IndexId;
use rustic_core::{
    ConfigOptions, Credentials, DataId, FileType, Id, IndexedFullStatus, KeyOptions, OpenStatus,
    RepositoryBackends, RepositoryOptions, TreeId, WriteBackend,
};
use tokio::sync::{Mutex, Semaphore};

use crate::backend::{StoreBackend, path};
use crate::chunker::Cut;
use crate::error::{Error, Result};
use crate::evidence::SnapshotDescription;
use crate::foreign;
use crate::ingest::{Ingest, Shared};
use crate::location::Location;
use crate::lock::{Lock, LockInfo, LockKind};
use crate::password::Password;
use crate::seal::Sealer;
use crate::writer::SnapshotWriter;

/// The zstd level of new blobs.
const LEVEL: i32 = 1;
/// The size a pack is stored at, in bytes.
pub(crate) const PACK_SIZE: u32 = 8 * 1024 * 1024;

/// Runs work that blocks.
pub(crate) async fn blocking<T: Send + 'static>(
    attempt: &'static str,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|source| Error::Task {
            attempt: attempt.to_owned(),
            source,
        })?
}

/// A repository with its index in memory: about 50 bytes a chunk, so 50 MB for a TiB.
pub(crate) struct Indexed {
    pub(crate) repository: rustic_core::Repository<IndexedFullStatus>,
}

impl fmt::Debug for Indexed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Indexed")
    }
}

impl Indexed {
    pub(crate) fn has_data(&self, id: &DataId) -> bool {
        self.repository.get_index_entry(id).is_ok()
    }

    pub(crate) fn has_tree(&self, id: &TreeId) -> bool {
        self.repository.get_index_entry(id).is_ok()
    }
}

/// What is known of an open repository.
pub(crate) struct Inner {
    pub(crate) location: Location,
    pub(crate) rustic: rustic_core::Repository<OpenStatus>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) cut: Arc<Cut>,
    /// The index, and the files it was read from.
    indexed: Mutex<Option<(BTreeSet<IndexId>, Arc<Indexed>)>>,
    /// The lock that all snapshots of this process share.
    lock: Mutex<Weak<Lock>>,
}

impl fmt::Debug for Inner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Repository({})", self.location)
    }
}

/// An open repository. Clones are cheap and share index, lock and limits.
#[derive(Clone, Debug)]
pub struct Repository {
    pub(crate) inner: Arc<Inner>,
}

fn options() -> RepositoryOptions {
    let mut options = RepositoryOptions::default();
    // A cache in the user's home would be a second place where a repository's metadata lies.
    options.no_cache = true;
    options
}

/// A handle of `rustic_core` that is not opened yet.
fn handle(backend: Arc<dyn WriteBackend>) -> Result<rustic_core::Repository<()>> {
    rustic_core::Repository::new(&options(), &RepositoryBackends::new(backend, None))
        .map_err(Error::format("set up the repository"))
}

fn backend(location: &Location) -> Result<Arc<StoreBackend>> {
    Ok(Arc::new(StoreBackend::new(
        location.store()?,
        location.to_string(),
    )))
}

async fn has_config(backend: &StoreBackend, location: &Location) -> Result<bool> {
    match backend
        .store()
        .head(&path(FileType::Config, &Id::default()))
        .await
    {
        Ok(_) => Ok(true),
        Err(object_store::Error::NotFound { .. }) => Ok(false),
        Err(source) => Err(Error::Store {
            attempt: format!("look for a repository at `{location}`"),
            source,
        }),
    }
}

impl Repository {
    /// Makes a repository, and its folder if there is none.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] if there is one; it is not touched.
    pub async fn init(location: &Location, password: &Password) -> Result<Self> {
        if let Location::Folder(folder) = location {
            // restic looks at these folders to find out how a repository is laid out.
            for name in ["data", "index", "keys", "locks", "snapshots"] {
                fs_err::create_dir_all(folder.join(name)).map_err(|source| Error::File {
                    attempt: format!("make the folders of a repository at `{location}`"),
                    source,
                })?;
            }
        }
        Self::init_on(location, backend(location)?, password).await
    }

    pub(crate) async fn init_on(
        location: &Location,
        backend: Arc<StoreBackend>,
        password: &Password,
    ) -> Result<Self> {
        if has_config(&backend, location).await? {
            return Err(Error::AlreadyExists {
                location: location.to_string(),
            });
        }
        let credentials = Credentials::password(password.reveal());
        let (target, place) = (Arc::clone(&backend), location.to_string());
        let rustic = blocking("make a repository", move || {
            let mut keys = KeyOptions::default();
            keys.with_created = true;
            let mut config = ConfigOptions::default();
            // So that prune packs as small as backups do, and does not repack all of them.
            config.set_datapack_size = Some(ByteSize::b(PACK_SIZE.into()));
            config.set_datapack_growfactor = Some(0);
            handle(target)?
                .init(&credentials, &keys, &config)
                .map_err(Error::format(format!("make a repository at `{place}`")))
        })
        .await?;
        Self::from_open(location, backend, rustic)
    }

    /// Opens a repository. It writes nothing.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none, [`Error::WrongPassword`] if no key opens with the password,
    /// [`Error::OldFormat`] if it is of version 1.
    pub async fn open(location: &Location, password: &Password) -> Result<Self> {
        if !Self::exists(location).await? {
            return Err(Error::NotFound {
                location: location.to_string(),
            });
        }
        let backend = backend(location)?;
        let credentials = Credentials::password(password.reveal());
        let (target, place) = (Arc::clone(&backend), location.to_string());
        let rustic = blocking("open a repository", move || {
            let attempt = format!("open the repository at `{place}`");
            handle(target)?
                .open(&credentials)
                .map_err(Error::format(attempt))
                .map_err(|error| match error {
                    Error::Format { source, .. } if source.is_incorrect_password() => {
                        Error::WrongPassword { location: place }
                    }
                    other => other,
                })
        })
        .await?;
        Self::from_open(location, backend, rustic)
    }

    /// Whether there is a repository at a location.
    ///
    /// # Errors
    /// What the store says if it cannot tell.
    pub async fn exists(location: &Location) -> Result<bool> {
        if let Location::Folder(folder) = location
            && !folder.exists()
        {
            return Ok(false);
        }
        has_config(&*backend(location)?, location).await
    }

    fn from_open(
        location: &Location,
        backend: Arc<StoreBackend>,
        rustic: rustic_core::Repository<OpenStatus>,
    ) -> Result<Self> {
        let config = rustic.config();
        if config.version < 2 {
            return Err(Error::OldFormat {
                location: location.to_string(),
            });
        }
        // A level that someone set in the repository wins; 0 means no compression there, which our packs do not do.
        let level = config
            .compression
            .filter(|level| *level != 0)
            .unwrap_or(LEVEL);
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let shared = Shared {
            sealer: Arc::new(Sealer::new(&rustic.key(), level)?),
            backend,
            // A chunk on each core, and two that wait for the store.
            chunks: Arc::new(Semaphore::new(cores + 2)),
            spare: std::sync::Mutex::default(),
        };
        let cut = Arc::new(Cut::new(config)?);
        Ok(Self {
            inner: Arc::new(Inner {
                location: location.clone(),
                rustic,
                shared: Arc::new(shared),
                cut,
                indexed: Mutex::new(None),
                lock: Mutex::new(Weak::new()),
            }),
        })
    }

    /// Where it lies, without secrets.
    #[must_use]
    pub fn location(&self) -> String {
        self.inner.location.to_string()
    }

    /// Its id, which no other repository has.
    #[must_use]
    pub fn id(&self) -> String {
        self.inner.rustic.config().id.to_hex().as_str().to_owned()
    }

    /// Begins a snapshot and takes the shared lock, which all snapshots of this process hold together.
    ///
    /// # Errors
    /// [`Error::Name`] if the description has a text that is refused, [`Error::Locked`] while a forget or prune runs.
    pub async fn begin(&self, description: SnapshotDescription) -> Result<SnapshotWriter> {
        description.check()?;
        let purpose = format!(
            "backup of `{}` by run `{}`",
            description.application, description.run
        );
        let lock = self.inner.share_lock(&purpose).await?;
        // Only under the lock: an index from before may name blobs that a prune has since removed.
        let index = self.inner.index().await?;
        let ingest = Ingest::new(Arc::clone(&self.inner.shared), index);
        Ok(SnapshotWriter::new(
            Arc::clone(&self.inner),
            lock,
            ingest,
            description,
        ))
    }

    /// The locks in the repository, for people.
    ///
    /// # Errors
    /// What the store says.
    pub async fn locks(&self) -> Result<Vec<LockInfo>> {
        crate::lock::list(&**self.inner.store()).await
    }
}

impl Inner {
    pub(crate) fn store(&self) -> &Arc<dyn object_store::ObjectStore> {
        self.shared.backend.store()
    }

    async fn share_lock(&self, purpose: &str) -> Result<Arc<Lock>> {
        let mut shared = self.lock.lock().await;
        if let Some(lock) = shared.upgrade().filter(|lock| !lock.is_lost()) {
            return Ok(lock);
        }
        let lock = self.take_lock(LockKind::Shared, purpose).await?;
        *shared = Arc::downgrade(&lock);
        Ok(lock)
    }

    /// Takes a lock, and gives way to restic's.
    pub(crate) async fn take_lock(&self, kind: LockKind, purpose: &str) -> Result<Arc<Lock>> {
        let lock = Lock::take(self.store(), kind, purpose).await?;
        match foreign::give_way(&**self.store(), &self.shared.sealer, kind).await {
            Ok(()) => Ok(Arc::new(lock)),
            Err(error) => {
                if let Err(error) = lock.release().await {
                    tracing::warn!(%error, "failed to take back a lock");
                }
                Err(error)
            }
        }
    }

    /// A further handle of `rustic_core` on another backend, opened with the key that is known.
    pub(crate) fn reopen(
        &self,
        backend: Arc<dyn WriteBackend>,
    ) -> Result<rustic_core::Repository<OpenStatus>> {
        handle(backend)?
            .open(&Credentials::Masterkey(self.rustic.key()))
            .map_err(Error::format("open the repository again"))
    }

    /// The index, read again if the store has other index files than last time.
    pub(crate) async fn index(self: &Arc<Self>) -> Result<Arc<Indexed>> {
        let mut indexed = self.indexed.lock().await;
        let inner = Arc::clone(self);
        let files: BTreeSet<IndexId> = blocking("list the index", move || {
            inner
                .rustic
                .list()
                .map(Iterator::collect)
                .map_err(Error::format("list the index"))
        })
        .await?;
        if let Some((known, index)) = &*indexed
            && *known == files
        {
            return Ok(Arc::clone(index));
        }
        // The old one goes first, so that two are not in memory at once unless a snapshot still needs it.
        *indexed = None;
        let inner = Arc::clone(self);
        let index = blocking("read the index", move || {
            let backend: Arc<dyn WriteBackend> = Arc::clone(&inner.shared.backend) as _;
            let repository = inner
                .reopen(backend)?
                .to_indexed()
                .map_err(Error::format("read the index of the repository"))?;
            Ok(Arc::new(Indexed { repository }))
        })
        .await?;
        *indexed = Some((files, Arc::clone(&index)));
        Ok(index)
    }
}
