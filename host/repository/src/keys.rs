//! The keys of a repository: each is the master key, sealed with a password of its own.
//!
//! Removing a key does not change the master key: who had the password and copied the key file can still read.

use std::sync::Arc;

use jiff::Timestamp;
use rustic_core::repofile::KeyFile;
use rustic_core::{Id, KeyOptions};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::names::KeyId;
use crate::password::Password;
use crate::repository::{Repository, blocking};

/// A key of the repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyInfo {
    /// Its id.
    pub id: KeyId,
    /// When it was made, if it says so.
    pub created: Option<Timestamp>,
    /// The machine it was made on, if it says so.
    pub host: Option<String>,
    /// Who made it, if it says so.
    pub user: Option<String>,
    /// Whether the repository was opened with it.
    pub current: bool,
}

impl Repository {
    /// The keys of the repository, by id.
    ///
    /// # Errors
    /// What the store says, or a key file that cannot be read.
    pub async fn keys(&self) -> Result<Vec<KeyInfo>> {
        let inner = Arc::clone(&self.inner);
        blocking("list the keys", move || {
            let attempt = "read the keys of the repository";
            let current = inner.rustic.key_id().map(|id| *id);
            let mut keys = Vec::new();
            for item in inner
                .rustic
                .stream_files::<KeyFile>()
                .map_err(Error::format(attempt))?
            {
                let (id, file) = item.map_err(Error::format(attempt))?;
                keys.push(KeyInfo {
                    id: id.to_hex().as_str().parse()?,
                    created: file.created.map(|time| time.timestamp()),
                    host: file.hostname,
                    user: file.username,
                    current: current == Some(*id),
                });
            }
            keys.sort_by(|one, other| one.id.cmp(&other.id));
            Ok(keys)
        })
        .await
    }

    /// Adds a key with a password of its own.
    ///
    /// # Errors
    /// What the store says.
    pub async fn add_key(&self, password: &Password) -> Result<KeyId> {
        let (inner, password) = (Arc::clone(&self.inner), password.clone());
        blocking("add a key", move || {
            let mut options = KeyOptions::default();
            options.with_created = true;
            let id = inner
                .rustic
                .add_key(password.reveal(), &options)
                .map_err(Error::format("add a key"))?;
            id.to_hex().as_str().parse()
        })
        .await
    }

    /// Removes a key.
    ///
    /// # Errors
    /// [`Error::KeyInUse`] for the key that opened the repository and for the last one, [`Error::NoSuchKey`].
    pub async fn remove_key(&self, id: &KeyId) -> Result<()> {
        let keys = self.keys().await?;
        let Some(key) = keys.iter().find(|key| key.id == *id) else {
            return Err(Error::NoSuchKey { id: id.clone() });
        };
        if keys.len() == 1 {
            let reason = "it is the last one, and without it nobody can read the repository";
            return Err(Error::KeyInUse {
                id: id.clone(),
                reason,
            });
        }
        if key.current {
            let reason = "the repository was opened with it";
            return Err(Error::KeyInUse {
                id: id.clone(),
                reason,
            });
        }
        let (inner, id) = (Arc::clone(&self.inner), id.clone());
        blocking("remove a key", move || {
            let missing = || Error::NoSuchKey { id: id.clone() };
            let file: Id = id.as_ref().parse().map_err(|_| missing())?;
            inner
                .rustic
                .delete_key(&file.into())
                .map_err(Error::format("remove a key"))
        })
        .await
    }
}
