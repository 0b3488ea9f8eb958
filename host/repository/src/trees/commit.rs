//! The listing and the folders of a tree that is whole.
//!
//! It must never store a file without content, nor anything that a listing does not show.

use std::sync::Arc;

use bytes::Bytes;
use rustic_core::TreeId;
use sha2::{Digest, Sha256};

use crate::chunker::Chunker;
use crate::error::{Error, Result};
use crate::tree::StoredFile;
use crate::trees::archive::{Links, Measure};
use crate::trees::build::TreeBuilder;
use crate::trees::entry::{FileTime, Record, TreeKind};
use crate::trees::save::TreeCounts;
use crate::trees::spool::{Records, line};
use crate::writer::Common;

/// What a tree is in the repository.
pub(super) struct Built {
    pub(super) root: TreeId,
    pub(super) listing: StoredFile,
    pub(super) listing_sha256: String,
    pub(super) tree_sha256: String,
    pub(super) archive_bytes: u64,
    pub(super) counts: TreeCounts,
    pub(super) stored_bytes: u64,
}

/// Writes listing and folders. Blocks.
pub(super) fn build(common: &Common, records: Records) -> Result<Built> {
    let ingest = &common.ingest;
    let mut counts = TreeCounts::default();
    let mut builder = TreeBuilder::new(ingest);
    let mut chunker = Chunker::new(Arc::clone(&common.repository.cut));
    let (mut listing, mut stored_bytes) = (
        StoredFile {
            bytes: 0,
            content: Vec::new(),
        },
        0,
    );
    let (mut listing_hash, mut tree_hash) = (Sha256::new(), Sha256::new());
    let (mut measure, mut links) = (Measure::default(), Links::default());
    for record in records {
        let mut record = record?;
        match record.entry.kind {
            TreeKind::File => {
                counts.files += 1;
                counts.bytes += record.entry.size;
                counts.unchanged += u64::from(!record.fresh);
                if record.content.is_none() {
                    return Err(Error::Tree {
                        reason: format!("`{}` was not read", record.entry.path),
                    });
                }
            }
            TreeKind::Folder => counts.folders += 1,
            TreeKind::Link => counts.links += 1,
            TreeKind::Other => {}
        }
        record.fresh = false;
        let line = line(&record)?;
        listing.bytes += line.len() as u64;
        listing_hash.update(&line);
        tree_hash.update(portable(&record));
        let mut rest = Bytes::from(line);
        while !rest.is_empty() {
            if let Some(chunk) = chunker.push(&mut rest, Vec::new) {
                let stored = ingest.store_chunk(chunk)?;
                listing.content.push(stored.id);
                stored_bytes += stored.stored_bytes;
            }
        }
        links.resolve(&mut record);
        measure.add(&record)?;
        builder.push(record)?;
    }
    let rest = chunker.finish();
    if !rest.is_empty() {
        let stored = ingest.store_chunk(rest)?;
        listing.content.push(stored.id);
        stored_bytes += stored.stored_bytes;
    }
    let (root, folders) = builder.finish()?;
    Ok(Built {
        root,
        listing,
        listing_sha256: hex::encode(listing_hash.finalize()),
        tree_sha256: hex::encode(tree_hash.finalize()),
        archive_bytes: measure.total(),
        counts,
        stored_bytes: stored_bytes + folders,
    })
}

/// What is the same after a restore elsewhere: neither inode, owner, nor the time of the last change, nor what happens
/// to the folder itself.
fn portable(record: &Record) -> Vec<u8> {
    let entry = &record.entry;
    let mut bytes = entry.path.as_bytes().to_vec();
    if !entry.path.is_root() {
        // Not every tar sets the time of a link.
        let modified = match entry.kind {
            TreeKind::Link => FileTime::default(),
            TreeKind::File | TreeKind::Folder | TreeKind::Other => entry.modified,
        };
        let sha256 = record
            .content
            .as_ref()
            .map_or("", |content| &content.sha256);
        bytes.extend_from_slice(
            format!(
                "\0{:?} {:o} {} {sha256} {:?}\0",
                entry.kind, entry.mode, entry.size, modified
            )
            .as_bytes(),
        );
        bytes.extend_from_slice(&entry.target.0);
    }
    bytes.push(b'\n');
    bytes
}
