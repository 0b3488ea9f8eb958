//! Folder trees: between a folder of a pod and the repository.
//!
//! The cluster lists, packs and unpacks; the repository compares, keeps and checks. Here they are joined, and what the pod
//! says becomes a path of a tree or an error. Must never begin to change a folder before all was decided that can be.

use async_trait::async_trait;
use bytes::Bytes;
use cofferdam_cluster::{FileKind, Packed, Room};
use cofferdam_engine::host::{HostError, LoadOptions, PodId, Source, TreeSummary};
use cofferdam_policy::Permit;
use cofferdam_policy::name::{ArtifactName, PathName};
use cofferdam_policy::request::{AccessFile, ArtifactOperation, FileOperation, UseArtifact};
use cofferdam_repository::{
    FileTime, LinkTarget, LoadChoice, LoadCounts, Names, TreeArchive, TreeCounts, TreeEntry,
    TreeKind, TreePath, TreeWriter,
};

use super::artifacts::{Meter, stored_name};
use super::{Granted, Pending, Session, Store};
use crate::audit::Ending;
use crate::blame::Trouble;

/// A pod of this session and what may be done there.
struct Folder<'a> {
    session: &'a Session,
    pod: cofferdam_cluster::Pod,
    permit: Permit<AccessFile>,
}

impl Session {
    /// Saves a folder as an artifact.
    pub(super) async fn save_folder(
        &self,
        pod: &PodId,
        path: &PathName,
        artifact: &ArtifactName,
    ) -> Result<TreeSummary, HostError> {
        let pod = self.pod(pod)?;
        let request = self.file(path, FileOperation::SaveTree)?;
        let Granted { permit, record } = self.permit(request)?;
        let kept = self.permit(UseArtifact {
            artifact: artifact.clone(),
            operation: ArtifactOperation::Create,
        })?;
        let folder = Folder {
            session: self,
            pod,
            permit,
        };
        let saved = tokio::select! {
            saved = folder.save(artifact) => saved,
            () = self.shared.cancel.cancelled() => Err(HostError::Cancelled),
        };
        end([&kept.record, &record], &saved, |(summary, counts, _)| {
            (counts.bytes, &summary.sha256)
        });
        let (summary, counts, moved) = saved?;
        self.committed
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .push(summary);
        Ok(saved_summary(counts, moved))
    }

    /// Loads a folder from an artifact, all of it or some.
    pub(super) async fn load_folder(
        &self,
        pod: &PodId,
        artifact: &ArtifactName,
        path: &PathName,
        options: LoadOptions,
        only: &[String],
    ) -> Result<TreeSummary, HostError> {
        let pod = self.pod(pod)?;
        let only = only
            .iter()
            .map(|one| TreePath::from_text(one))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| HostError::Invalid(error.to_string()))?;
        let request = self.file(path, FileOperation::LoadTree)?;
        let Granted { permit, record } = self.permit(request)?;
        let opened = self.permit(UseArtifact {
            artifact: artifact.clone(),
            operation: ArtifactOperation::Open,
        })?;
        let folder = Folder {
            session: self,
            pod,
            permit,
        };
        let loaded = tokio::select! {
            loaded = folder.load(artifact, options, only) => loaded,
            () = self.shared.cancel.cancelled() => Err(HostError::Cancelled),
        };
        end([&opened.record, &record], &loaded, |(counts, sha256)| {
            (counts.bytes, sha256)
        });
        Ok(loaded_summary(loaded?.0))
    }

    /// A tree of the snapshot as a stream.
    pub(super) async fn tree_stream(
        &self,
        name: &ArtifactName,
        record: Pending,
    ) -> Result<Box<dyn Source>, HostError> {
        let id = self.snapshot(|snapshot| snapshot.id.clone()).await?;
        let tree = self
            .shared
            .repository
            .open_tree(&id, &stored_name(name)?)
            .await
            .map_err(|error| self.trouble.repository(&error))?;
        let sha256 = tree.summary().sha256.clone();
        let archive = tree
            .archive()
            .await
            .map_err(|error| self.trouble.repository(&error))?;
        let progress = self.meter(name.as_str(), Some(archive.length()));
        Ok(Box::new(Packing {
            archive,
            sha256,
            progress,
            record,
            trouble: self.trouble.clone(),
        }))
    }
}

impl Folder<'_> {
    async fn save(
        &self,
        artifact: &ArtifactName,
    ) -> Result<(cofferdam_repository::ArtifactSummary, TreeCounts, u64), HostError> {
        let store = self.session.store.read().await;
        let Store::Writing(writer) = &*store else {
            return Err(HostError::Invalid(
                "artifacts are created in a backup only".into(),
            ));
        };
        let mut tree = writer
            .create_tree(stored_name(artifact)?)
            .await
            .map_err(|error| self.kept(&error))?;
        let mut progress = self.session.meter(artifact.as_str(), None);
        match self.rounds(&mut tree, &mut progress).await {
            Ok(moved) => {
                let (summary, counts) = tree
                    .commit(Vec::new())
                    .await
                    .map_err(|error| self.kept(&error))?;
                Ok((summary, counts, moved))
            }
            Err(error) => {
                // The module may answer the error; only if it began nothing else is there no snapshot.
                tree.discard();
                Err(error)
            }
        }
    }

    /// Lists and reads until a listing shows nothing that was not read.
    async fn rounds(&self, tree: &mut TreeWriter, progress: &mut Meter) -> Result<u64, HostError> {
        let mut complaint = None;
        let mut moved = 0;
        loop {
            let mut listing = self
                .cluster()
                .list_tree(&self.permit, &self.pod)
                .await
                .map_err(|error| self.told(error))?;
            let begun = tree.begin_listing(FileTime(listing.clock, 0)).await;
            begun.map_err(|error| self.kept(&error))?;
            while let Some(entry) = listing.next().await.map_err(|error| self.told(error))? {
                let taken = entry_of(entry).and_then(|entry| tree.list(entry));
                taken.map_err(|error| self.kept(&error))?;
            }
            let wanted = match tree.plan().await {
                Ok(wanted) => wanted,
                Err(error) => return Err(self.changing(&error, complaint.as_deref())),
            };
            if wanted.count() == 0 {
                return Ok(moved);
            }
            let (bytes, said) = self.fetch(tree, wanted, progress).await?;
            moved += bytes;
            complaint = said;
        }
    }

    /// Reads what is wanted; the names go in while the files come out.
    async fn fetch(
        &self,
        tree: &mut TreeWriter,
        mut wanted: Names,
        progress: &mut Meter,
    ) -> Result<(u64, Option<String>), HostError> {
        let (mut names, mut packed) = self
            .cluster()
            .pack_tree(&self.permit, &self.pod, wanted.bytes())
            .await
            .map_err(|error| self.told(error))?;
        let asking = async move {
            while let Some(bytes) = wanted.read().map_err(|error| self.kept(&error))? {
                // A command that ended early says why at the end of what it packed.
                if names.write(bytes).await.is_err() {
                    return Ok(());
                }
            }
            let _ended = names.close().await;
            Ok::<_, HostError>(())
        };
        let taking = async {
            while let Some(step) = packed.next().await.map_err(|error| self.told(error))? {
                let taken = match step {
                    Packed::Begin { path, size } => match TreePath::new(&path) {
                        Ok(path) => tree.begin_file(&path, size).await,
                        Err(error) => Err(error),
                    },
                    Packed::Data(bytes) => {
                        progress.add(bytes.len());
                        tree.write(bytes).await
                    }
                    Packed::Hole(length) => tree.hole(length).await,
                    Packed::End => tree.end_file().await,
                };
                taken.map_err(|error| self.kept(&error))?;
            }
            Ok::<_, HostError>(())
        };
        tokio::try_join!(asking, taking)?;
        Ok((packed.bytes(), packed.complaint().map(str::to_owned)))
    }

    async fn load(
        &self,
        artifact: &ArtifactName,
        options: LoadOptions,
        only: Vec<TreePath>,
    ) -> Result<(LoadCounts, String), HostError> {
        let kept = |error: cofferdam_repository::Error| self.kept(&error);
        let id = self
            .session
            .snapshot(|snapshot| snapshot.id.clone())
            .await?;
        let name = stored_name(artifact)?;
        let repository = &self.session.shared.repository;
        let tree = repository.open_tree(&id, &name).await.map_err(kept)?;
        let sha256 = tree.summary().sha256.clone();
        let mut listing = self
            .cluster()
            .list_tree(&self.permit, &self.pod)
            .await
            .map_err(|error| self.told(error))?;
        if options.keep_owner && listing.user != 0 {
            return Err(HostError::Invalid(format!(
                "owners can be set by root only, and the container runs as user {}: load without `keep-owner`",
                listing.user
            )));
        }
        let choice = LoadChoice {
            delete_extraneous: options.delete_extraneous,
            keep_newer: options.keep_newer,
            only,
            user: listing.user,
        };
        let mut comparison = tree.compare(choice.clone());
        while let Some(entry) = listing.next().await.map_err(|error| self.told(error))? {
            let taken = entry_of(entry).and_then(|entry| comparison.list(entry));
            taken.map_err(kept)?;
        }
        let plan = comparison.plan().await.map_err(kept)?;
        let counts = plan.counts;
        enough_room(listing.room, &counts)?;
        let (clear, remove, mut archive) = plan.split();
        self.remove(clear).await?;
        if counts.files + counts.folders + counts.links > 0 {
            let mut progress = self
                .session
                .meter(artifact.as_str(), Some(archive.length()));
            self.unpack(&mut archive, options.keep_owner, &mut progress)
                .await
                .map_err(|error| interrupted(error, &archive, counts.files))?;
        }
        self.remove(remove).await?;
        // What counts is what is there now, not what the programs of the pod said.
        let mut again = repository
            .open_tree(&id, &name)
            .await
            .map_err(kept)?
            .compare(choice);
        let mut listing = self
            .cluster()
            .list_tree(&self.permit, &self.pod)
            .await
            .map_err(|error| self.told(error))?;
        while let Some(entry) = listing.next().await.map_err(|error| self.told(error))? {
            let taken = entry_of(entry).and_then(|entry| again.list(entry));
            taken.map_err(kept)?;
        }
        let (differing, names) = again.differences().await.map_err(kept)?;
        if differing > 0 {
            return Err(HostError::Failed {
                code: "not-the-same",
                message: format!(
                    "{differing} entries of the folder are not as saved after they were loaded: {names}"
                ),
            });
        }
        Ok((counts, sha256))
    }

    async fn unpack(
        &self,
        archive: &mut TreeArchive,
        keep_owner: bool,
        progress: &mut Meter,
    ) -> Result<(), HostError> {
        let mut feed = self
            .cluster()
            .unpack_tree(&self.permit, &self.pod, keep_owner, archive.length())
            .await
            .map_err(|error| self.told(error))?;
        while let Some(bytes) = archive.read().await.map_err(|error| self.kept(&error))? {
            progress.add(bytes.len());
            if let Err(refused) = feed.write(bytes).await {
                return Err(self.told(feed.reason(refused).await));
            }
        }
        feed.finish().await.map_err(|error| self.told(error))
    }

    async fn remove(&self, mut names: Names) -> Result<(), HostError> {
        if names.count() == 0 {
            return Ok(());
        }
        let mut feed = self
            .cluster()
            .clear_tree(&self.permit, &self.pod, names.bytes())
            .await
            .map_err(|error| self.told(error))?;
        while let Some(bytes) = names.read().map_err(|error| self.kept(&error))? {
            if let Err(refused) = feed.write(bytes).await {
                return Err(self.told(feed.reason(refused).await));
            }
        }
        feed.finish().await.map_err(|error| self.told(error))
    }

    fn kept(&self, error: &cofferdam_repository::Error) -> HostError {
        self.session.trouble.repository(error)
    }

    fn told(&self, error: cofferdam_cluster::Error) -> HostError {
        self.session.trouble.cluster(error)
    }

    /// Files that never stood still, with what the pod's `tar` said of them.
    fn changing(&self, error: &cofferdam_repository::Error, complaint: Option<&str>) -> HostError {
        match (self.kept(error), complaint) {
            (HostError::Failed { code, message }, Some(said)) if !said.is_empty() => {
                HostError::Failed {
                    code,
                    message: format!("{message}; the pod said: {said}"),
                }
            }
            (told, _) => told,
        }
    }

    fn cluster(&self) -> &cofferdam_cluster::Cluster {
        &self.session.shared.cluster
    }
}

/// Writes in the records of artifact and folder how a tree went, with its bytes and its digest.
fn end<T>(
    records: [&Pending; 2],
    went: &Result<T, HostError>,
    told: impl FnOnce(&T) -> (u64, &String),
) {
    let ending = match went.as_ref().map(told) {
        Ok((bytes, sha256)) => Ending {
            bytes: Some(bytes),
            sha256: Some(sha256.clone()),
            error: None,
        },
        Err(error) => Ending {
            error: Some(error.to_string()),
            ..Ending::default()
        },
    };
    for record in records {
        record.end(ending.clone());
    }
}

/// A tree of the snapshot as an archive.
struct Packing {
    archive: TreeArchive,
    sha256: String,
    progress: Meter,
    record: Pending,
    trouble: Trouble,
}

#[async_trait]
impl Source for Packing {
    async fn next(&mut self) -> Result<Option<Bytes>, HostError> {
        let next = self.archive.read().await;
        let bytes = Some(self.archive.bytes());
        match &next {
            Ok(Some(bytes)) => self.progress.add(bytes.len()),
            Ok(None) => self.record.end(Ending {
                bytes,
                sha256: Some(self.sha256.clone()),
                error: None,
            }),
            Err(error) => self.record.end(Ending {
                error: Some(error.to_string()),
                bytes,
                sha256: None,
            }),
        }
        next.map_err(|error| self.trouble.repository(&error))
    }
}

/// What the pod says of an entry, as an entry of a tree.
fn entry_of(entry: cofferdam_cluster::TreeEntry) -> Result<TreeEntry, cofferdam_repository::Error> {
    Ok(TreeEntry {
        path: TreePath::new(&entry.path)?,
        kind: match entry.kind {
            FileKind::File => TreeKind::File,
            FileKind::Folder => TreeKind::Folder,
            FileKind::Link => TreeKind::Link,
            FileKind::Other => TreeKind::Other,
        },
        mode: entry.mode,
        owner: entry.owner,
        group: entry.group,
        modified: FileTime(entry.modified.0, entry.modified.1),
        changed: FileTime(entry.changed.0, entry.changed.1),
        inode: entry.inode,
        links: entry.links,
        size: entry.size,
        sparse: entry.sparse,
        target: LinkTarget(entry.target),
    })
}

/// Refuses before anything is changed what the disk cannot hold, where the disk tells.
fn enough_room(room: Option<Room>, counts: &LoadCounts) -> Result<(), HostError> {
    let Some(room) = room else {
        return Ok(());
    };
    let entries = counts.files + counts.folders + counts.links;
    let needed = counts
        .bytes
        .saturating_add(entries.saturating_mul(room.block.min(4096)));
    let given = room.bytes.saturating_add(counts.freed);
    let full = |what: String| {
        Err(HostError::Failed {
            code: "disk-full",
            message: format!("{what}; nothing was changed"),
        })
    };
    if needed > given {
        return full(format!(
            "the disk of the folder has room for {given} bytes, and about {needed} are needed"
        ));
    }
    match room.files {
        Some(files) if counts.added > files => full(format!(
            "the disk of the folder has room for {files} more files, and {} are needed",
            counts.added
        )),
        _ => Ok(()),
    }
}

/// What is left when a load breaks off.
fn interrupted(error: HostError, archive: &TreeArchive, files: u64) -> HostError {
    let left = format!(
        "; up to {} of {files} files were sent and are overwritten, the others are as they were, and nothing else was removed: restore again once the cause is gone",
        archive.files()
    );
    match error {
        HostError::Failed { code, message } => HostError::Failed {
            code,
            message: message + &left,
        },
        HostError::Unavailable { code, message } => HostError::Unavailable {
            code,
            message: message + &left,
        },
        other => other,
    }
}

fn saved_summary(counts: TreeCounts, moved: u64) -> TreeSummary {
    TreeSummary {
        files: counts.files,
        folders: counts.folders,
        links: counts.links,
        bytes: counts.bytes,
        unchanged: counts.unchanged,
        removed: 0,
        details: details([
            ("read-bytes", counts.read),
            ("moved-bytes", moved),
            ("rounds", counts.rounds.into()),
            ("left-out", counts.left_out),
            ("late", counts.late),
        ]),
    }
}

fn loaded_summary(counts: LoadCounts) -> TreeSummary {
    TreeSummary {
        files: counts.files,
        folders: counts.folders,
        links: counts.links,
        bytes: counts.bytes,
        unchanged: counts.unchanged,
        removed: counts.removed,
        details: details([
            ("kept-newer", counts.kept_newer),
            ("left-folders", counts.left_folders),
        ]),
    }
}

fn details<const N: usize>(pairs: [(&str, u64); N]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.to_string()))
        .collect()
}
