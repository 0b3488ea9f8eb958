//! Opens a tree of a snapshot: its listing, proven by its digest, in a temporary file.
//!
//! Nothing of a tree is given out before its listing was read to the proven end and holds together.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::evidence::{ArtifactSummary, Evidence, SnapshotDescription, is_ours};
use crate::names::{ArtifactName, SnapshotId};
use crate::reader::ArtifactReader;
use crate::repository::{Indexed, Inner, Repository, blocking};
use crate::tree::listing_path;
use crate::trees::TREE_MEDIA_TYPE;
use crate::trees::archive::{Links, Measure, TreeArchive};
use crate::trees::compare::Shape;
use crate::trees::entry::{Record, TreeKind, TreePath};
use crate::trees::load::{LoadChoice, TreeLoad};
use crate::trees::spool::{Spool, SpoolWriter};

/// A tree of a snapshot.
#[derive(Debug)]
pub struct TreeReader {
    pub(crate) index: Arc<Indexed>,
    pub(crate) snapshot: SnapshotId,
    pub(crate) summary: ArtifactSummary,
    pub(crate) listing: Spool,
}

impl TreeReader {
    /// What the evidence says about the tree.
    #[must_use]
    pub fn summary(&self) -> &ArtifactSummary {
        &self.summary
    }

    /// Begins a comparison with a folder, whose entries the caller then lists.
    #[must_use]
    pub fn compare(self, choice: LoadChoice) -> TreeLoad {
        TreeLoad::new(self, choice)
    }

    /// All of it as a tar archive. Its end is given out only after all files had their digests.
    ///
    /// # Errors
    /// [`Error::Tree`] if the listing does not hold together.
    pub async fn archive(self) -> Result<TreeArchive> {
        let plan = self.compare(LoadChoice::default()).plan().await?;
        Ok(plan.into_archive())
    }

    /// All of it as members of a larger tar archive, below `folder` and with the tree's own folder as `folder`.
    ///
    /// For people who take files out of a backup: nothing of it is set-user-id or set-group-id to whoever unpacks it,
    /// and that one can read all files and enter all folders. The members end with nothing, and without an error only
    /// after all files had their digests.
    ///
    /// # Errors
    /// [`Error::Tree`] if the listing does not hold together, or gets paths that are too long.
    pub async fn members(self, folder: TreePath) -> Result<TreeArchive> {
        let (reader, write, length) = blocking("put a tree below a folder", move || {
            let (mut shape, mut links) = (Shape::default(), Links::default());
            let (mut measure, mut write) = (Measure::default(), SpoolWriter::new()?);
            for record in self.listing.read()? {
                let mut record = record?;
                shape.check(&record.entry)?;
                record.entry.path = folder.join(&record.entry.path)?;
                if record.entry.path.is_root() {
                    continue;
                }
                record.entry.mode = handed_out(&record);
                links.resolve(&mut record);
                measure.add(&record)?;
                write.push(&record)?;
            }
            shape.end()?;
            Ok((self, write.finish()?, measure.members()))
        })
        .await?;
        Ok(TreeArchive::new(reader, write, length).without_end())
    }
}

/// The mode of an entry that somebody takes out of a backup.
fn handed_out(record: &Record) -> u32 {
    match record.entry.kind {
        TreeKind::File => record.entry.mode & 0o777 | 0o400,
        TreeKind::Folder => record.entry.mode & 0o3777 | 0o700,
        TreeKind::Link | TreeKind::Other => record.entry.mode & 0o777,
    }
}

impl Repository {
    /// Opens a folder tree for reading.
    ///
    /// # Errors
    /// [`Error::NoSuchSnapshot`], [`Error::NoSuchArtifact`], [`Error::WrongKind`] for a stream, and [`Error::Damaged`].
    pub async fn open_tree(
        &self,
        snapshot: &SnapshotId,
        name: &ArtifactName,
    ) -> Result<TreeReader> {
        let file = self.inner.snapshot_file(snapshot).await?;
        let evidence = self.inner.evidence(snapshot, &file).await?;
        let found = evidence.artifacts.iter().find(|found| found.name == *name);
        let Some(summary) = found.cloned() else {
            let (snapshot, name) = (snapshot.clone(), name.clone());
            return Err(Error::NoSuchArtifact { snapshot, name });
        };
        if summary.media_type != TREE_MEDIA_TYPE {
            return Err(Error::WrongKind {
                name: name.clone(),
                what: "a stream, and no folder tree",
            });
        }
        let index = self.inner.index().await?;
        let listing = listing(&index, snapshot, &evidence, file.tree, &summary).await?;
        Ok(TreeReader {
            index,
            snapshot: snapshot.clone(),
            summary,
            listing,
        })
    }
}

async fn listing(
    index: &Arc<Indexed>,
    snapshot: &SnapshotId,
    evidence: &Evidence,
    tree: rustic_core::TreeId,
    summary: &ArtifactSummary,
) -> Result<Spool> {
    let path = listing_path(&evidence.description.data_set, &summary.name);
    let attempt = format!(
        "find the listing of tree `{}` in snapshot `{}`",
        summary.name,
        snapshot.short()
    );
    let found = Arc::clone(index);
    let node = blocking("find the listing of a tree", move || {
        found
            .repository
            .node_from_path(tree, &path)
            .map_err(Error::format(attempt))
    })
    .await?;
    let of_listing = ArtifactSummary {
        bytes: node.meta.size,
        ..summary.clone()
    };
    let mut reader = ArtifactReader::new(Arc::clone(index), snapshot.clone(), of_listing, node);
    let mut spool = SpoolWriter::new()?;
    while let Some(bytes) = reader.read().await? {
        spool.raw(&bytes)?;
    }
    spool.finish()
}

impl Inner {
    /// The listing of the newest tree of this name of the same data set.
    pub(crate) async fn latest_listing(
        self: &Arc<Self>,
        description: &SnapshotDescription,
        name: &ArtifactName,
    ) -> Result<Option<Spool>> {
        let mut newest: Option<(SnapshotId, Evidence, rustic_core::TreeId)> = None;
        for (id, file) in self.snapshot_files().await? {
            // Before the evidence is read: the application and its data set.
            if !is_ours(&file) || file.hostname != description.application {
                continue;
            }
            let evidence = match self.evidence(&id, &file).await {
                Ok(evidence) => evidence,
                Err(error) => {
                    tracing::warn!(snapshot = %id, %error, "left out a snapshot");
                    continue;
                }
            };
            let of = &evidence.description;
            let fits = of.namespace == description.namespace
                && of.data_set == description.data_set
                && evidence
                    .artifacts
                    .iter()
                    .any(|found| found.name == *name && found.media_type == TREE_MEDIA_TYPE);
            let newer = newest
                .as_ref()
                .is_none_or(|(_, known, _)| known.finished < evidence.finished);
            if fits && newer {
                newest = Some((id, evidence, file.tree));
            }
        }
        let Some((id, evidence, tree)) = newest else {
            return Ok(None);
        };
        let found = evidence.artifacts.iter().find(|found| found.name == *name);
        let Some(summary) = found.cloned() else {
            return Ok(None);
        };
        let index = self.index().await?;
        let listing = listing(&index, &id, &evidence, tree, &summary).await?;
        Ok(Some(listing))
    }
}
