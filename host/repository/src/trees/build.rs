//! From sorted records to folders of the restic format, one folder in one blob.
//!
//! A folder is written while its entries come: hashed, and compressed once it is large, so that only the compressed form of
//! the open folders is in memory. It does no I/O but through `ingest`.

use std::ffi::OsStr;
use std::fmt;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use jiff::Timestamp;
use rustic_core::repofile::{Metadata, Node, NodeType};
use rustic_core::{Id, TreeId};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::ingest::Ingest;
use crate::seal::{SealedBlob, Sealer};
use crate::trees::entry::{FileTime, Record, TreeKind};

/// From here on a folder is compressed while it grows.
const LARGE: usize = 1024 * 1024;

fn failed(reason: &'static str) -> Error {
    Error::Limit {
        attempt: "write a folder of a tree",
        reason,
    }
}

/// The blob of one folder, growing.
struct Blob {
    hasher: Sha256,
    length: u64,
    buffer: Vec<u8>,
    encoder: Option<zstd::stream::write::Encoder<'static, Vec<u8>>>,
}

impl Blob {
    fn new() -> Self {
        Self {
            hasher: Sha256::new(),
            length: 0,
            buffer: Vec::new(),
            encoder: None,
        }
    }

    fn push(&mut self, bytes: &[u8], level: i32) -> Result<()> {
        let refused = |_| failed("it cannot be compressed");
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        if self.encoder.is_none() && self.buffer.len() + bytes.len() > LARGE {
            let mut encoder =
                zstd::stream::write::Encoder::new(Vec::new(), level).map_err(refused)?;
            encoder
                .write_all(&std::mem::take(&mut self.buffer))
                .map_err(refused)?;
            self.encoder = Some(encoder);
        }
        match &mut self.encoder {
            Some(encoder) => encoder.write_all(bytes).map_err(refused),
            None => {
                self.buffer.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    fn id(&self) -> TreeId {
        Id::new(self.hasher.clone().finalize().into()).into()
    }

    fn seal(self, sealer: &Sealer) -> Result<SealedBlob> {
        let Some(encoder) = self.encoder else {
            return sealer.seal_blob(&self.buffer);
        };
        let compressed = encoder
            .finish()
            .map_err(|_| failed("it cannot be compressed"))?;
        let plain_length =
            u32::try_from(self.length).map_err(|_| failed("its entries pass 4 GiB"))?;
        Ok(SealedBlob {
            bytes: sealer.seal(&compressed)?,
            plain_length,
        })
    }
}

/// A folder whose entries are still coming.
struct Open {
    record: Record,
    blob: Blob,
    entries: u64,
}

/// Builds the folders of one tree.
pub(crate) struct TreeBuilder<'a> {
    ingest: &'a Ingest,
    stack: Vec<Open>,
    pub(crate) stored_bytes: u64,
}

impl fmt::Debug for TreeBuilder<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "TreeBuilder({} open)", self.stack.len())
    }
}

impl<'a> TreeBuilder<'a> {
    pub(crate) fn new(ingest: &'a Ingest) -> Self {
        Self {
            ingest,
            stack: Vec::new(),
            stored_bytes: 0,
        }
    }

    /// Takes the next record of the order, beginning with the root.
    pub(crate) fn push(&mut self, record: Record) -> Result<()> {
        while let Some(top) = self.stack.last()
            && top.record.entry.path.as_bytes() != record.entry.path.parent()
        {
            self.close()?;
        }
        match record.entry.kind {
            TreeKind::Folder => {
                let mut blob = Blob::new();
                blob.push(b"{\"nodes\":[", self.ingest.level())?;
                self.stack.push(Open {
                    record,
                    blob,
                    entries: 0,
                });
                Ok(())
            }
            TreeKind::File | TreeKind::Link => self.add(&record, None),
            TreeKind::Other => Err(failed("it has an entry of a kind that is not kept")),
        }
    }

    /// Closes all folders; the id of the root's.
    pub(crate) fn finish(mut self) -> Result<(TreeId, u64)> {
        let mut root = None;
        while !self.stack.is_empty() {
            root = Some(self.close()?);
        }
        let root = root.ok_or_else(|| failed("it has no root"))?;
        Ok((root, self.stored_bytes))
    }

    fn close(&mut self) -> Result<TreeId> {
        let mut open = self
            .stack
            .pop()
            .ok_or_else(|| failed("an entry has no folder"))?;
        open.blob.push(b"]}\n", self.ingest.level())?;
        let id = open.blob.id();
        self.stored_bytes += self
            .ingest
            .store_tree(id, |sealer| open.blob.seal(sealer))?;
        if !self.stack.is_empty() {
            self.add(&open.record, Some(id))?;
        }
        Ok(id)
    }

    fn add(&mut self, record: &Record, subtree: Option<TreeId>) -> Result<()> {
        let level = self.ingest.level();
        let open = self
            .stack
            .last_mut()
            .ok_or_else(|| failed("an entry has no folder"))?;
        let node = node(record, subtree);
        let json = serde_json::to_vec(&node).map_err(|_| failed("it cannot be serialized"))?;
        if open.entries > 0 {
            open.blob.push(b",", level)?;
        }
        open.entries += 1;
        open.blob.push(&json, level)
    }
}

fn node(record: &Record, subtree: Option<TreeId>) -> Node {
    let entry = &record.entry;
    let kind = match entry.kind {
        TreeKind::Folder => NodeType::Dir,
        TreeKind::Link => NodeType::from_link(Path::new(OsStr::from_bytes(&entry.target.0))),
        TreeKind::File | TreeKind::Other => NodeType::File,
    };
    let name = OsStr::from_bytes(entry.path.name());
    let mut node = Node::new_node(name, kind, metadata(record));
    node.subtree = subtree;
    if entry.kind == TreeKind::File {
        let chunks = record
            .content
            .as_ref()
            .map(|content| content.chunks.clone());
        node.content = Some(chunks.unwrap_or_default());
    }
    node
}

pub(crate) fn metadata(record: &Record) -> Metadata {
    let entry = &record.entry;
    let modified = timestamp(entry.modified);
    Metadata {
        mode: Some(mode(entry.kind, entry.mode)),
        mtime: Some(modified),
        atime: Some(modified),
        ctime: Some(timestamp(entry.changed)),
        uid: Some(entry.owner),
        gid: Some(entry.group),
        inode: entry.inode,
        size: entry.size,
        links: entry.links,
        ..Metadata::default()
    }
}

/// A mode as Go writes it: the kind and the three special bits lie elsewhere than in Unix.
fn mode(kind: TreeKind, mode: u32) -> u32 {
    let mut go = mode & 0o777;
    for (unix, bit) in [(0o4000, 23), (0o2000, 22), (0o1000, 20)] {
        if mode & unix != 0 {
            go |= 1 << bit;
        }
    }
    match kind {
        TreeKind::Folder => go | 1 << 31,
        TreeKind::Link => go | 1 << 27,
        TreeKind::File | TreeKind::Other => go,
    }
}

/// A time that the format can hold: beyond the year 9999 it is the beginning of 1970.
fn timestamp(time: FileTime) -> Timestamp {
    let nanoseconds = i32::try_from(time.1).unwrap_or(0);
    Timestamp::new(time.0, nanoseconds).unwrap_or(Timestamp::UNIX_EPOCH)
}
