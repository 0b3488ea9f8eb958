//! A listing against what is known of a tree: what is taken over, and what has to be read.
//!
//! A file is taken over only if size, times and inode are the same, it was not changed within the second before it was
//! listed, and the repository has all of its chunks. It does no I/O but in temporary files.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::trees::entry::{Content, FileTime, TreeEntry, TreeKind, TreePath};
use crate::trees::spool::{Names, NamesWriter, Pairs, Records, Spool, SpoolWriter};
use crate::writer::Common;

/// From this round on entries that were not there before wait for the next backup, or a busy folder never ends.
const SETTLED: u32 = 3;
/// How many names an error tells.
const TOLD: usize = 5;

/// What a comparison found.
pub(super) struct Plan {
    pub(super) taken: Spool,
    pub(super) wanted: Spool,
    pub(super) names: Names,
    pub(super) told: Vec<String>,
    pub(super) left_out: u64,
    pub(super) late: u64,
}

pub(super) fn compare(
    common: &Common,
    listed: Records,
    known: Records,
    round: u32,
    at: FileTime,
) -> Result<Plan> {
    let (mut taken, mut wanted, mut names) = (
        SpoolWriter::new()?,
        SpoolWriter::new()?,
        NamesWriter::new()?,
    );
    let (mut told, mut left_out, mut late) = (Vec::new(), 0, 0);
    let mut shape = Shape::default();
    // The first of each group of hard links is read, the others have its content.
    let mut linked: HashMap<u64, (TreeEntry, Option<Content>)> = HashMap::new();
    let mut pairs = Pairs::new(listed, known);
    while let Some((listed, known)) = pairs.next()? {
        let Some(mut record) = listed else {
            continue;
        };
        let entry = &record.entry;
        if entry.kind == TreeKind::Other {
            left_out += 1;
            continue;
        }
        if round >= SETTLED && known.is_none() {
            late += 1;
            continue;
        }
        shape.check(entry)?;
        if entry.kind != TreeKind::File {
            taken.push(&record)?;
            continue;
        }
        record.recent = entry.changed.0 + 1 >= at.0;
        let earlier = known.filter(|known| known.entry.is_same(entry));
        let trusted = earlier.filter(|known| known.fresh || !known.recent && common.has(known));
        let twin = linked
            .get(&entry.inode)
            .filter(|(twin, _)| entry.links > 1 && twin.is_same(entry));
        let is_twin = twin.is_some();
        if let Some((_, content)) = twin {
            record.content.clone_from(content);
            record.fresh = trusted.is_none_or(|known| known.fresh);
        } else if let Some(known) = trusted
            && known.content.is_some()
        {
            record.content = known.content;
            record.fresh = known.fresh;
        } else if entry.size == 0 {
            record.fresh = true;
            record.content = Some(Content {
                sha256: hex::encode(Sha256::digest([])),
                chunks: Vec::new(),
                data: None,
            });
        }
        if entry.links > 1 && !is_twin {
            linked.insert(entry.inode, (entry.clone(), record.content.clone()));
        }
        if record.content.is_some() || is_twin {
            taken.push(&record)?;
        } else {
            names.push(&record.entry.path)?;
            if told.len() < TOLD {
                told.push(record.entry.path.to_string());
            }
            wanted.push(&record)?;
        }
    }
    shape.end()?;
    Ok(Plan {
        taken: taken.finish()?,
        wanted: wanted.finish()?,
        names: names.finish()?,
        told,
        left_out,
        late,
    })
}

/// Holds the records of an order to the shape of a tree: a root, each path once, each in a folder.
#[derive(Debug, Default)]
pub(crate) struct Shape {
    folders: Vec<TreePath>,
    last: Option<TreePath>,
}

impl Shape {
    pub(crate) fn check(&mut self, entry: &TreeEntry) -> Result<()> {
        let path = &entry.path;
        let refuse = |what: &str| {
            Err(Error::Tree {
                reason: format!("`{path}` {what}"),
            })
        };
        if self.last.as_ref().is_some_and(|last| last >= path) {
            return refuse("is listed twice or out of order");
        }
        if path.is_root() != self.last.is_none() {
            return refuse("comes where the folder of the tree itself must be");
        }
        if path.is_root() && entry.kind != TreeKind::Folder {
            return refuse("must be a folder");
        }
        while self
            .folders
            .last()
            .is_some_and(|folder| !path.is_below(folder))
        {
            self.folders.pop();
        }
        let parent = self.folders.last().map(TreePath::as_bytes);
        if !path.is_root() && parent != Some(path.parent()) {
            return refuse("is in no folder of the tree");
        }
        self.last = Some(path.clone());
        if entry.kind == TreeKind::Folder {
            self.folders.push(path.clone());
        }
        Ok(())
    }

    pub(crate) fn end(&self) -> Result<()> {
        if self.last.is_some() {
            return Ok(());
        }
        Err(Error::Tree {
            reason: "its listing is empty, without even the folder itself".to_owned(),
        })
    }
}
