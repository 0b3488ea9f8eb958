//! The snapshots of a repository: listed, read, and the proofs recorded for them.
//!
//! Snapshots that other programs wrote into the same repository are neither shown nor touched. Nothing here writes but
//! the recording and removing of proofs, which lie beside the restic repository, sealed with its key.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode, PutOptions};
use rustic_core::repofile::SnapshotFile;
use rustic_core::{FileType, Id};

use crate::backend::path;
use crate::error::{Error, Result};
use crate::evidence::{Evidence, FILE, Proof, Snapshot, is_ours};
use crate::names::{ArtifactName, SnapshotId};
use crate::reader::ArtifactReader;
use crate::repository::{Inner, Repository, blocking};
use crate::tree::artifact_path;
use crate::trees::TREE_MEDIA_TYPE;

impl Repository {
    /// The snapshots that this program wrote, newest first.
    ///
    /// A snapshot file that cannot be read is left out with a warning in the log; `check` tells more.
    ///
    /// # Errors
    /// What the store says.
    pub async fn list(&self) -> Result<Vec<Snapshot>> {
        let mut proofs = self.inner.proofs(None).await?;
        let mut snapshots = Vec::new();
        for (id, file) in self.inner.snapshot_files().await? {
            if !is_ours(&file) {
                continue;
            }
            let proofs = proofs.remove(&id).unwrap_or_default();
            match self.inner.evidence(&id, &file).await {
                Ok(evidence) => snapshots.push(evidence.into_snapshot(id, proofs)),
                Err(error) => tracing::warn!(snapshot = %id, %error, "left out a snapshot"),
            }
        }
        snapshots.sort_by(|one, other| {
            let key = |snapshot: &Snapshot| (snapshot.description.started, snapshot.finished);
            key(other)
                .cmp(&key(one))
                .then_with(|| one.id.cmp(&other.id))
        });
        Ok(snapshots)
    }

    /// One snapshot.
    ///
    /// # Errors
    /// [`Error::NoSuchSnapshot`] if there is none of ours with this id.
    pub async fn snapshot(&self, id: &SnapshotId) -> Result<Snapshot> {
        let file = self.inner.snapshot_file(id).await?;
        let evidence = self.inner.evidence(id, &file).await?;
        let proofs = self
            .inner
            .proofs(Some(id))
            .await?
            .remove(id)
            .unwrap_or_default();
        Ok(evidence.into_snapshot(id.clone(), proofs))
    }

    /// Opens an artifact for reading.
    ///
    /// # Errors
    /// [`Error::NoSuchSnapshot`], [`Error::NoSuchArtifact`].
    pub async fn open_artifact(
        &self,
        snapshot: &SnapshotId,
        name: &ArtifactName,
    ) -> Result<ArtifactReader> {
        let file = self.inner.snapshot_file(snapshot).await?;
        let evidence = self.inner.evidence(snapshot, &file).await?;
        let Some(summary) = evidence
            .artifacts
            .into_iter()
            .find(|found| found.name == *name)
        else {
            let (snapshot, name) = (snapshot.clone(), name.clone());
            return Err(Error::NoSuchArtifact { snapshot, name });
        };
        if summary.media_type == TREE_MEDIA_TYPE {
            return Err(Error::WrongKind {
                name: name.clone(),
                what: "a folder tree, which is no stream",
            });
        }
        let path = artifact_path(&evidence.description.data_set, name);
        let index = self.inner.index().await?;
        let attempt = format!("find artifact `{name}` in snapshot `{}`", snapshot.short());
        let (found, tree) = (Arc::clone(&index), file.tree);
        let node = blocking("find an artifact", move || {
            found
                .repository
                .node_from_path(tree, &path)
                .map_err(Error::format(attempt))
        })
        .await?;
        Ok(ArtifactReader::new(index, snapshot.clone(), summary, node))
    }

    /// Records that a snapshot was proven restorable; retention can keep the newest of these.
    ///
    /// # Errors
    /// [`Error::NoSuchSnapshot`], and what the store says.
    pub async fn record_proof(&self, snapshot: &SnapshotId, proof: Proof) -> Result<()> {
        self.inner.snapshot_file(snapshot).await?;
        let attempt = format!("record a proof for snapshot `{}`", snapshot.short());
        let plain = serde_json::to_vec(&proof).map_err(|source| Error::Content {
            attempt: attempt.clone(),
            source,
        })?;
        let sealed = self.inner.shared.sealer.seal(&plain)?;
        let name = crate::seal::hash(&sealed).to_hex().as_str().to_owned();
        let options = PutOptions {
            mode: PutMode::Create,
            ..PutOptions::default()
        };
        let path = proofs_folder().join(snapshot.as_ref()).join(name);
        self.inner
            .store()
            .put_opts(&path, sealed.into(), options)
            .await
            .map(drop)
            .map_err(Error::store(attempt))
    }
}

fn proofs_folder() -> Path {
    Path::from_iter(["cofferdam", "proofs"])
}

impl Inner {
    /// All snapshot files that can be read, ours and others.
    pub(crate) async fn snapshot_files(
        self: &Arc<Self>,
    ) -> Result<Vec<(SnapshotId, SnapshotFile)>> {
        let inner = Arc::clone(self);
        blocking("list the snapshots", move || {
            let stream = inner
                .rustic
                .stream_files::<SnapshotFile>()
                .map_err(Error::format("list the snapshots"))?;
            let mut files = Vec::new();
            for item in stream {
                match item {
                    Ok((id, file)) => files.push((id.to_hex().as_str().parse()?, file)),
                    Err(error) => {
                        let error = Error::format("read a snapshot file")(error);
                        tracing::warn!(%error, "left out a snapshot file");
                    }
                }
            }
            Ok(files)
        })
        .await
    }

    /// The file of one snapshot of ours.
    pub(crate) async fn snapshot_file(self: &Arc<Self>, id: &SnapshotId) -> Result<SnapshotFile> {
        let missing = || Error::NoSuchSnapshot { id: id.clone() };
        let file_id: Id = id.as_ref().parse().map_err(|_| missing())?;
        match self.store().head(&path(FileType::Snapshot, &file_id)).await {
            Ok(_) => {}
            Err(object_store::Error::NotFound { .. }) => return Err(missing()),
            Err(source) => {
                let attempt = format!("look for snapshot `{}`", id.short());
                return Err(Error::Store { attempt, source });
            }
        }
        let inner = Arc::clone(self);
        let attempt = format!("read snapshot `{}`", id.short());
        let file = blocking("read a snapshot", move || {
            inner
                .rustic
                .get_file::<SnapshotFile>(&file_id.into())
                .map_err(Error::format(attempt))
        })
        .await?;
        if is_ours(&file) {
            Ok(file)
        } else {
            Err(missing())
        }
    }

    /// The evidence of a snapshot: from its file, or, where restic rewrote that, from its tree.
    pub(crate) async fn evidence(
        self: &Arc<Self>,
        id: &SnapshotId,
        file: &SnapshotFile,
    ) -> Result<Evidence> {
        let attempt = || format!("read the evidence of snapshot `{}`", id.short());
        if let Some(text) = &file.description {
            return Evidence::read(text.as_bytes(), attempt);
        }
        let index = self.index().await?;
        let (tree, failed) = (file.tree, attempt());
        let bytes = blocking("read the evidence of a snapshot", move || {
            let mut bytes = Vec::new();
            let node = index
                .repository
                .node_from_path(tree, std::path::Path::new(FILE));
            node.and_then(|node| index.repository.dump(&node, &mut bytes))
                .map_err(Error::format(failed))?;
            Ok(bytes)
        })
        .await?;
        Evidence::read(&bytes, attempt)
    }

    /// The proofs of one snapshot or of all, oldest first. One that was not sealed with our key is not believed.
    pub(crate) async fn proofs(
        &self,
        of: Option<&SnapshotId>,
    ) -> Result<BTreeMap<SnapshotId, Vec<Proof>>> {
        let attempt = || "read the proofs of the snapshots".to_owned();
        let folder = match of {
            Some(id) => proofs_folder().join(id.as_ref()),
            None => proofs_folder(),
        };
        let listed: Vec<_> = self
            .store()
            .list(Some(&folder))
            .try_collect()
            .await
            .map_err(Error::store(attempt()))?;
        let mut proofs = BTreeMap::<SnapshotId, Vec<Proof>>::new();
        for meta in listed {
            let Some(id) = meta
                .location
                .parts()
                .nth(2)
                .and_then(|id| id.as_ref().parse().ok())
            else {
                continue;
            };
            let sealed = match self.store().get(&meta.location).await {
                Ok(content) => content.bytes().await.map_err(Error::store(attempt()))?,
                Err(object_store::Error::NotFound { .. }) => continue,
                Err(source) => {
                    return Err(Error::Store {
                        attempt: attempt(),
                        source,
                    });
                }
            };
            let opened = self.shared.sealer.open(&sealed);
            match opened.and_then(|plain| serde_json::from_slice(&plain).ok()) {
                Some(proof) => proofs.entry(id).or_default().push(proof),
                None => tracing::warn!(proof = %meta.location, "ignored a proof that is not ours"),
            }
        }
        for proofs in proofs.values_mut() {
            proofs.sort_by_key(|proof| proof.at);
        }
        Ok(proofs)
    }

    /// Removes the proofs of a snapshot that is gone.
    pub(crate) async fn forget_proofs(&self, of: &SnapshotId) -> Result<()> {
        let attempt = || format!("remove the proofs of snapshot `{}`", of.short());
        let folder = proofs_folder().join(of.as_ref());
        let listed: Vec<_> = self
            .store()
            .list(Some(&folder))
            .try_collect()
            .await
            .map_err(Error::store(attempt()))?;
        for meta in listed {
            self.store()
                .delete(&meta.location)
                .await
                .map_err(Error::store(attempt()))?;
        }
        Ok(())
    }
}
