//! Folder trees as artifacts: incremental going in, checked coming out.
//!
//! A tree is kept twice in its snapshot: as folders of the restic format, for people who restore with restic alone, and
//! as its listing (`.NAME.listing`, one line of JSON an entry, with the digest of each file), from which this program
//! reads. The digest of the listing is the digest of the artifact, and each file's digest stands in the listing.
//!
//! Nothing here is held for all entries at once: listings are sorted in temporary files (`spool`). What grows in memory:
//! the folders open on the way down, each with its compressed entries (about 60 bytes an entry, so 60 MB for one flat
//! folder of a million files: the format wants a folder in one piece); one entry of a map for each hard-linked inode;
//! and, as for every snapshot, the index. The temporary folder needs about 400 bytes an entry.

pub(crate) mod archive;
pub(crate) mod build;
mod commit;
pub(crate) mod compare;
pub(crate) mod entry;
pub(crate) mod load;
pub(crate) mod reader;
pub(crate) mod save;
pub(crate) mod spool;

/// The media type that says that an artifact is a tree.
pub const TREE_MEDIA_TYPE: &str = "application/vnd.cofferdam.tree";

/// The file beside a tree that holds its listing. No artifact's name begins with a dot.
pub(crate) fn listing_name(artifact: &crate::ArtifactName) -> String {
    format!(".{artifact}.listing")
}
