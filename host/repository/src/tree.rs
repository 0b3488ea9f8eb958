//! The trees of a snapshot: `evidence.json` and a folder with the name of the data set, in it the artifacts.
//!
//! Built after the streams ended, so every node has its size: restic 0.14 restores a file of size 0 as an empty one.
//! It does no I/O.

use std::collections::BTreeMap;
use std::ffi::OsStr;

use jiff::Timestamp;
use rustic_core::repofile::{Metadata, Node, NodeType, Tree};
use rustic_core::{DataId, TreeId};

use crate::error::{Error, Result};
use crate::evidence::FILE;
use crate::names::ArtifactName;
use crate::trees::listing_name;

/// A file whose chunks are stored.
#[derive(Debug)]
pub(crate) struct StoredFile {
    pub(crate) bytes: u64,
    pub(crate) content: Vec<DataId>,
}

/// The tree of an artifact that is a folder, and its listing, which lies beside it.
#[derive(Debug)]
pub(crate) struct StoredTree {
    pub(crate) root: TreeId,
    pub(crate) listing: StoredFile,
}

/// What the folder of a data set has.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) files: BTreeMap<ArtifactName, StoredFile>,
    pub(crate) trees: BTreeMap<ArtifactName, StoredTree>,
}

/// Serialized trees, and which of them is the root.
#[derive(Debug)]
pub(crate) struct Trees {
    pub(crate) root: TreeId,
    pub(crate) blobs: Vec<(Vec<u8>, TreeId)>,
}

/// Builds the trees of a snapshot.
pub(crate) fn build(
    data_set: &str,
    artifacts: Contents,
    evidence: StoredFile,
    time: Timestamp,
) -> Result<Trees> {
    let mut files: Vec<Node> = artifacts
        .files
        .into_iter()
        .map(|(name, stored)| file(name.as_ref(), stored, time))
        .collect();
    for (name, stored) in artifacts.trees {
        files.push(file(&listing_name(&name), stored.listing, time));
        let mut tree = Node::new_node(
            OsStr::new(name.as_ref()),
            NodeType::Dir,
            metadata(0o40700, time),
        );
        tree.subtree = Some(stored.root);
        files.push(tree);
    }
    files.sort_by(|one, other| one.name.cmp(&other.name));
    let (folder_blob, folder_id) = serialize(files)?;
    let mut folder = Node::new_node(OsStr::new(data_set), NodeType::Dir, metadata(0o40700, time));
    folder.subtree = Some(folder_id);
    let mut nodes = vec![folder, file(FILE, evidence, time)];
    // The format wants nodes by name; restic finds nothing in a tree that is not sorted.
    nodes.sort_by(|one, other| one.name.cmp(&other.name));
    let (root_blob, root) = serialize(nodes)?;
    Ok(Trees {
        root,
        blobs: vec![(folder_blob, folder_id), (root_blob, root)],
    })
}

/// Where the listing of a tree lies within the snapshot.
pub(crate) fn listing_path(data_set: &str, name: &ArtifactName) -> std::path::PathBuf {
    [data_set, &listing_name(name)].iter().collect()
}

/// Where an artifact lies within the snapshot.
pub(crate) fn artifact_path(data_set: &str, name: &ArtifactName) -> std::path::PathBuf {
    [data_set, name.as_ref()].iter().collect()
}

fn file(name: &str, stored: StoredFile, time: Timestamp) -> Node {
    let mut meta = metadata(0o600, time);
    meta.size = stored.bytes;
    let mut node = Node::new_node(OsStr::new(name), NodeType::File, meta);
    node.content = Some(stored.content);
    node
}

/// A mode as Go writes it: permission bits, and the folder bit is bit 31.
fn metadata(mode: u32, time: Timestamp) -> Metadata {
    const GO_FOLDER: u32 = 1 << 31;
    let mode = if mode & 0o40000 == 0 {
        mode
    } else {
        GO_FOLDER | mode & 0o777
    };
    Metadata {
        mode: Some(mode),
        mtime: Some(time),
        atime: Some(time),
        ctime: Some(time),
        uid: Some(0),
        gid: Some(0),
        ..Metadata::default()
    }
}

fn serialize(nodes: Vec<Node>) -> Result<(Vec<u8>, TreeId)> {
    Tree { nodes }.serialize().map_err(|_| Error::Limit {
        attempt: "write a tree",
        reason: "it cannot be serialized",
    })
}
