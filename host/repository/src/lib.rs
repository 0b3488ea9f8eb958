//! Snapshots in a restic-format repository, in a local folder or on S3: the only room that knows how backups lie on disk.
//!
//! It knows bytes. It must never learn what a pod, a module or a policy is, and no other crate of the host is
//! named here.
//!
//! # How a byte gets from a stream into a pack
//!
//! [`SnapshotWriter::create`] opens an artifact; [`ArtifactWriter::write`] hashes the stream and cuts it into chunks
//! (`chunker`); `ingest` hashes each chunk, drops those that the repository already has, compresses and seals the
//! others (`seal`) and gathers them in a pack (`pack`), which goes to the object store (`store`) once it is full.
//! [`SnapshotWriter::finish`] writes the last pack, the trees with the sizes now known, the index, and, as its very
//! last act and after a look at the lock, the snapshot file.
//!
//! # What `rustic_core` does and what this crate does
//!
//! `rustic_core` opens and initializes repositories, keeps the keys, reads the index and the blobs, checks, plans
//! and carries out the two-phase prune, and decides what a retention rule keeps. The way *in* for streams is ours:
//! `rustic_core`'s `archive` turns a failing source into a warning and saves the snapshot all the same, gives files of
//! unknown length the size 0, and skips a stream whose name it has seen. None of the three can happen here, because a
//! snapshot file is written in one place only, after every artifact was committed with its length and digest.
//!
//! # Folder trees
//!
//! [`SnapshotWriter::create_tree`] keeps a folder as one artifact: files that are as they were in the newest snapshot of
//! the same data set are taken over unread, the others go through `ingest`. [`Repository::open_tree`] gives it back as
//! a tar archive, whole or only what differs from a folder. The module `trees` says what bounds the memory.

mod backend;
mod check;
mod chunker;
mod error;
mod evidence;
#[cfg(test)]
mod faults;
mod foreign;
mod holder;
mod ingest;
mod keys;
mod location;
mod lock;
mod names;
mod pack;
mod password;
mod prune;
mod reader;
mod repository;
mod retention;
mod seal;
mod snapshots;
mod tree;
mod trees;
mod writer;

pub use check::{CheckReport, Finding, Severity};
pub use error::{Blame, Error, Result};
pub use evidence::{ArtifactSummary, ModuleReference, Proof, Snapshot, SnapshotDescription};
pub use holder::LockOwner;
pub use keys::KeyInfo;
pub use location::{Location, S3Location};
pub use lock::{LockInfo, LockKind};
pub use names::{ArtifactName, KeyId, SnapshotId};
pub use password::Password;
pub use prune::PruneReport;
pub use reader::ArtifactReader;
pub use repository::Repository;
pub use retention::{ForgetDecision, ForgetReport, Retention};
pub use trees::TREE_MEDIA_TYPE;
pub use trees::archive::TreeArchive;
pub use trees::entry::{FileTime, LinkTarget, TreeEntry, TreeKind, TreePath};
pub use trees::load::{LoadChoice, LoadCounts, LoadPlan, TreeLoad};
pub use trees::reader::TreeReader;
pub use trees::save::{TreeCounts, TreeWriter};
pub use trees::spool::Names;
pub use writer::{ArtifactWriter, SnapshotWriter};
