//! What of a tree has to be loaded into a folder: decided here, from two listings, before anything is changed.
//!
//! A file counts as unchanged only if size, times and inode are those of the saved one: a restore must not trust a size
//! and a time that anybody can set. Must never name a path outside of the folder, nor one below something that is a
//! link in the folder.

use std::fmt;

use crate::error::{Error, Result};
use crate::repository::blocking;
use crate::trees::archive::{Links, Measure, TreeArchive};
use crate::trees::compare::Shape;
use crate::trees::entry::{Record, TreeEntry, TreeKind, TreePath};
use crate::trees::reader::TreeReader;
use crate::trees::spool::{Names, NamesWriter, Pairs, Sorter, Spool, SpoolWriter};

/// How many conflicts an error tells.
const TOLD: usize = 5;
/// Every ext file system has one at its root; it is nobody's data and root's alone.
const LOST_AND_FOUND: &[u8] = b"lost+found";

/// How a tree is loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadChoice {
    /// Remove what the tree does not have, and replace what is of another kind.
    pub delete_extraneous: bool,
    /// Leave files that are newer in the folder.
    pub keep_newer: bool,
    /// Only these files and folders, with what is in them; empty means all.
    pub only: Vec<TreePath>,
    /// Who writes: folders of others are left as they are, unless it is 0.
    pub user: u32,
}

/// What a load does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadCounts {
    /// Files that are written.
    pub files: u64,
    /// Folders that are made or set.
    pub folders: u64,
    /// Symbolic links that are made.
    pub links: u64,
    /// Bytes that are written.
    pub bytes: u64,
    /// Files and links that are there already and the same.
    pub unchanged: u64,
    /// Files left because they are newer.
    pub kept_newer: u64,
    /// Folders of another owner, whose mode and time are left.
    pub left_folders: u64,
    /// Entries that are removed.
    pub removed: u64,
    /// Bytes of files that are replaced, removed or make room before.
    pub freed: u64,
    /// Entries that were not there before.
    pub added: u64,
}

/// A comparison that still takes the entries of the folder.
pub struct TreeLoad {
    reader: TreeReader,
    choice: LoadChoice,
    there: Sorter,
}

impl fmt::Debug for TreeLoad {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "TreeLoad({})", self.reader.summary.name)
    }
}

impl TreeLoad {
    pub(crate) fn new(reader: TreeReader, choice: LoadChoice) -> Self {
        Self {
            reader,
            choice,
            there: Sorter::default(),
        }
    }

    /// Takes an entry of the folder, in any order.
    ///
    /// # Errors
    /// When the temporary file cannot be written.
    pub fn list(&mut self, entry: TreeEntry) -> Result<()> {
        self.there.push(Record::new(entry))
    }

    /// After a load: how many entries are not as they were saved, and some of them with why.
    ///
    /// # Errors
    /// [`Error::Tree`], and when a temporary file cannot be read.
    pub async fn differences(self) -> Result<(u64, String)> {
        blocking("compare a folder with what was loaded", move || {
            Planner::new(self.choice.clone())?.differences(self)
        })
        .await
    }

    /// Decides what has to be done.
    ///
    /// # Errors
    /// [`Error::TreeConflict`] where the folder has a link or a file in the place of a folder, or a folder in the place
    /// of something else, unless extraneous entries are deleted; [`Error::NoSuchEntry`]; [`Error::Tree`].
    pub async fn plan(self) -> Result<LoadPlan> {
        blocking("compare a tree with a folder", move || {
            Planner::new(self.choice.clone())?.run(self)
        })
        .await
    }
}

/// What a load does, and the archive that does it.
#[derive(Debug)]
pub struct LoadPlan {
    reader: TreeReader,
    write: Spool,
    /// What it does.
    pub counts: LoadCounts,
    /// To be removed before the archive is unpacked, because it stands in the way.
    pub clear: Names,
    /// To be removed after the archive was unpacked.
    pub remove: Names,
    /// The length of the archive.
    pub archive_bytes: u64,
}

impl LoadPlan {
    /// The archive: what has to be written, in order.
    #[must_use]
    pub fn into_archive(self) -> TreeArchive {
        TreeArchive::new(self.reader, self.write, self.archive_bytes)
    }

    /// Splits off what is removed, and the rest.
    #[must_use]
    pub fn split(self) -> (Names, Names, TreeArchive) {
        let archive = TreeArchive::new(self.reader, self.write, self.archive_bytes);
        (self.clear, self.remove, archive)
    }
}

/// How a path relates to the entries that were asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// It is one of them, or below one.
    Yes,
    /// One of them is below it.
    Above,
    No,
}

struct Planner {
    choice: LoadChoice,
    found: Vec<bool>,
    counts: LoadCounts,
    measure: Measure,
    write: SpoolWriter,
    clear: NamesWriter,
    remove: NamesWriter,
    conflicts: (Vec<String>, u64),
    /// The folder whose removal takes all below it along.
    removed: Option<TreePath>,
    links: Links,
}

impl Planner {
    fn new(choice: LoadChoice) -> Result<Self> {
        Ok(Self {
            found: vec![false; choice.only.len()],
            choice,
            counts: LoadCounts::default(),
            measure: Measure::default(),
            write: SpoolWriter::new()?,
            clear: NamesWriter::new()?,
            remove: NamesWriter::new()?,
            conflicts: (Vec::new(), 0),
            removed: None,
            links: Links::default(),
        })
    }

    fn run(mut self, load: TreeLoad) -> Result<LoadPlan> {
        let TreeLoad { reader, there, .. } = load;
        let mut pairs = Pairs::new(reader.listing.read()?, there.sorted()?);
        let (mut saved_shape, mut there_shape) = (Shape::default(), Shape::default());
        while let Some((saved, there)) = pairs.next()? {
            if let Some(saved) = &saved {
                saved_shape.check(&saved.entry)?;
            }
            if let Some(there) = &there {
                there_shape.check(&there.entry)?;
            }
            let Some(path) = saved
                .as_ref()
                .or(there.as_ref())
                .map(|record| &record.entry.path)
            else {
                continue;
            };
            // The folder itself is the site's: it may belong to root, and a volume may be mounted on it.
            let asked = self.asked(path, saved.is_some());
            if path.is_root() || asked == Asked::No {
                continue;
            }
            match (saved, there) {
                (Some(saved), there) => self.saved(saved, there.map(|there| there.entry), asked)?,
                (None, Some(there)) if asked == Asked::Yes => self.extraneous(&there.entry)?,
                (None, _) => {}
            }
        }
        saved_shape.end()?;
        if let Some((path, _)) = self
            .choice
            .only
            .iter()
            .zip(&self.found)
            .find(|(_, found)| !**found)
        {
            return Err(Error::NoSuchEntry {
                name: reader.summary.name.clone(),
                path: path.to_string(),
            });
        }
        if self.conflicts.1 > 0 {
            return Err(Error::TreeConflict {
                names: self.conflicts.0.join(", "),
                count: self.conflicts.1,
            });
        }
        Ok(LoadPlan {
            reader,
            write: self.write.finish()?,
            counts: self.counts,
            clear: self.clear.finish()?,
            remove: self.remove.finish()?,
            archive_bytes: self.measure.total(),
        })
    }

    fn differences(mut self, load: TreeLoad) -> Result<(u64, String)> {
        let TreeLoad { reader, there, .. } = load;
        let mut pairs = Pairs::new(reader.listing.read()?, there.sorted()?);
        let (mut names, mut count) = (Vec::new(), 0);
        while let Some((saved, there)) = pairs.next()? {
            let Some(saved) = saved else {
                continue;
            };
            let asked = self.asked(&saved.entry.path, true);
            if saved.entry.path.is_root() || asked != Asked::Yes {
                continue;
            }
            let there = there.map(|there| there.entry);
            if let Some(what) = self.difference(&saved.entry, there.as_ref()) {
                if names.len() < TOLD {
                    names.push(format!("`{}` {what}", saved.entry.path));
                }
                count += 1;
            }
        }
        Ok((count, names.join(", ")))
    }

    fn difference(&self, saved: &TreeEntry, there: Option<&TreeEntry>) -> Option<&'static str> {
        let Some(there) = there else {
            return Some("is missing");
        };
        if saved.kind != there.kind {
            return Some("is of another kind");
        }
        // The special bits and the group are the pod's to give.
        let same_mode = saved.mode & 0o777 == there.mode & 0o777;
        match saved.kind {
            TreeKind::File if self.choice.keep_newer && there.modified > saved.modified => None,
            TreeKind::File if saved.size != there.size => Some("has another size"),
            TreeKind::File if saved.modified != there.modified => Some("has another time"),
            TreeKind::File if !same_mode => Some("has another mode"),
            TreeKind::Folder if self.choice.user == 0 || self.choice.user == there.owner => {
                (!same_mode).then_some("has another mode")
            }
            TreeKind::Link if saved.target != there.target => Some("leads elsewhere"),
            TreeKind::File | TreeKind::Folder | TreeKind::Link | TreeKind::Other => None,
        }
    }

    fn asked(&mut self, path: &TreePath, is_saved: bool) -> Asked {
        if self.choice.only.is_empty() {
            return Asked::Yes;
        }
        let mut asked = Asked::No;
        for (only, found) in self.choice.only.iter().zip(&mut self.found) {
            if path == only || path.is_below(only) {
                *found |= is_saved && path == only;
                asked = Asked::Yes;
            } else if only.is_below(path) && asked == Asked::No {
                asked = Asked::Above;
            }
        }
        asked
    }

    fn conflict(&mut self, there: &TreeEntry, saved: TreeKind) {
        if self.conflicts.0.len() < TOLD {
            let word = |kind| match kind {
                TreeKind::File => "a file",
                TreeKind::Folder => "a folder",
                TreeKind::Link => "a link",
                TreeKind::Other => "a device or pipe",
            };
            self.conflicts.0.push(format!(
                "`{}` is {} instead of {}",
                there.path,
                word(there.kind),
                word(saved)
            ));
        }
        self.conflicts.1 += 1;
    }

    fn saved(&mut self, saved: Record, there: Option<TreeEntry>, asked: Asked) -> Result<()> {
        let entry = &saved.entry;
        // What is below a folder or link that is cleared away is gone when the archive comes.
        let there = there.filter(|there| {
            !self
                .removed
                .as_ref()
                .is_some_and(|gone| there.path.is_below(gone))
        });
        let Some(there) = there else {
            self.counts.added += 1;
            return self.put(saved);
        };
        match (entry.kind, there.kind) {
            (TreeKind::Folder, TreeKind::Folder) => {
                if asked == Asked::Above {
                    return Ok(());
                }
                if self.choice.user != 0 && self.choice.user != there.owner {
                    self.counts.left_folders += 1;
                    return Ok(());
                }
                self.put(saved)
            }
            // A link in the place of a folder would lead everything below it elsewhere.
            (TreeKind::Folder, _) | (_, TreeKind::Folder) => {
                if !self.choice.delete_extraneous || asked == Asked::Above {
                    self.conflict(&there, entry.kind);
                    return Ok(());
                }
                self.counts.removed += 1;
                self.clear.push(&there.path)?;
                self.removed = Some(there.path);
                self.put(saved)
            }
            (TreeKind::File, TreeKind::File) => {
                if entry.is_same(&there) && entry.mode == there.mode && entry.links <= 1 {
                    self.counts.unchanged += 1;
                    return Ok(());
                }
                if self.choice.keep_newer && there.modified > entry.modified {
                    self.counts.kept_newer += 1;
                    return Ok(());
                }
                if there.links <= 1 && !there.sparse {
                    self.counts.freed += there.size;
                }
                self.put(saved)
            }
            (TreeKind::Link, TreeKind::Link) if entry.target == there.target => {
                self.counts.unchanged += 1;
                Ok(())
            }
            (TreeKind::File | TreeKind::Link | TreeKind::Other, _) => self.put(saved),
        }
    }

    fn put(&mut self, mut saved: Record) -> Result<()> {
        self.links.resolve(&mut saved);
        let entry = &saved.entry;
        match entry.kind {
            TreeKind::Folder => self.counts.folders += 1,
            TreeKind::Link => self.counts.links += 1,
            TreeKind::File => {
                self.counts.files += 1;
                if saved.link_to.is_none() {
                    self.counts.bytes += held(&saved);
                }
            }
            TreeKind::Other => {
                return Err(Error::Tree {
                    reason: format!("`{}` is of a kind that is not loaded", entry.path),
                });
            }
        }
        self.measure.add(&saved)?;
        self.write.push(&saved)
    }

    fn extraneous(&mut self, there: &TreeEntry) -> Result<()> {
        if !self.choice.delete_extraneous || there.path.as_bytes() == LOST_AND_FOUND {
            return Ok(());
        }
        self.counts.removed += 1;
        if self
            .removed
            .as_ref()
            .is_some_and(|gone| there.path.is_below(gone))
        {
            return Ok(());
        }
        // A file that is a mount point or open is removed all the same; what cannot be is said by the pod.
        self.remove.push(&there.path)?;
        self.removed = Some(there.path.clone());
        Ok(())
    }
}

/// Bytes of a file that take room.
fn held(record: &Record) -> u64 {
    let data = record
        .content
        .as_ref()
        .and_then(|content| content.data.as_ref());
    data.map_or(record.entry.size, |data| {
        data.iter().map(|(_, length)| length).sum()
    })
}
