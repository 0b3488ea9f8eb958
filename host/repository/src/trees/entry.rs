//! What a tree has: paths, kinds, times, and the record of an entry with its content.
//!
//! Paths come from containers and are not trusted: a [`TreePath`] is relative, has no `..`, and cannot be built
//! otherwise. Names need not be UTF-8; as text they are escaped as restic escapes them.

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;

use rustic_core::DataId;
use rustic_core::repofile::{Metadata, Node, NodeType};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The longest path and the longest name of Linux, in bytes.
const LONGEST_PATH: usize = 4095;
const LONGEST_NAME: usize = 255;

/// A path below the folder of a tree; the empty one is the folder itself.
///
/// Sorted so that a folder comes right before what is in it, and neighbours by their bytes: the order of the format.
#[derive(Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TreePath(Vec<u8>);

impl TreePath {
    /// Takes the bytes of a path, such as `a/b`.
    ///
    /// # Errors
    /// [`Error::Tree`] for an absolute path, `.`, `..`, an empty name, a zero byte, and what is too long for Linux.
    pub fn new(bytes: &[u8]) -> Result<Self> {
        let refuse = |reason: &str| {
            Err(Error::Tree {
                reason: format!("`{}` is no path within a tree: {reason}", shown(bytes)),
            })
        };
        if bytes.len() > LONGEST_PATH {
            return refuse("it is longer than 4095 bytes");
        }
        if bytes.contains(&0) {
            return refuse("it has a zero byte");
        }
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        for name in bytes.split(|byte| *byte == b'/') {
            match name {
                b"" => return refuse("it is absolute or has an empty name"),
                b"." | b".." => return refuse("`.` and `..` are not allowed"),
                _ if name.len() > LONGEST_NAME => return refuse("a name is longer than 255 bytes"),
                _ => {}
            }
        }
        Ok(Self(bytes.to_vec()))
    }

    /// Takes a path as people write it: escaped as the listing shows it, with `./` before and `/` behind or not.
    ///
    /// # Errors
    /// As [`TreePath::new`].
    pub fn from_text(text: &str) -> Result<Self> {
        let text = text.strip_prefix("./").unwrap_or(text);
        Self::new(&unescape(text.strip_suffix('/').unwrap_or(text)))
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether it is the folder of the tree itself.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Its last name; empty for the root.
    pub(crate) fn name(&self) -> &[u8] {
        self.0
            .rsplit(|byte| *byte == b'/')
            .next()
            .unwrap_or_default()
    }

    /// The folder it is in; the root is in itself.
    pub(crate) fn parent(&self) -> &[u8] {
        let end = self.0.iter().rposition(|byte| *byte == b'/');
        end.and_then(|end| self.0.get(..end)).unwrap_or_default()
    }

    /// The path of `below` seen from the folder that this path is in.
    ///
    /// # Errors
    /// [`Error::Tree`] for what gets too long for Linux.
    pub fn join(&self, below: &Self) -> Result<Self> {
        match (self.is_root(), below.is_root()) {
            (true, _) => Ok(below.clone()),
            (_, true) => Ok(self.clone()),
            (false, false) => Self::new(&[self.0.as_slice(), b"/", &below.0].concat()),
        }
    }

    /// Whether it is below `folder`, however deep.
    #[must_use]
    pub fn is_below(&self, folder: &Self) -> bool {
        folder.is_root() && !self.is_root()
            || self
                .0
                .strip_prefix(folder.0.as_slice())
                .is_some_and(|rest| rest.first() == Some(&b'/'))
    }
}

impl Ord for TreePath {
    fn cmp(&self, other: &Self) -> Ordering {
        // No name has a zero byte, so this puts the contents of `a` between `a` and `a!`.
        let key = |byte: &u8| if *byte == b'/' { 0 } else { *byte };
        self.0.iter().map(key).cmp(other.0.iter().map(key))
    }
}

impl PartialOrd for TreePath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&shown(&self.0))
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "TreePath({})", shown(&self.0))
    }
}

impl TryFrom<String> for TreePath {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        Self::new(&unescape(&text))
    }
}

impl From<TreePath> for String {
    fn from(path: TreePath) -> Self {
        escape(&path.0)
    }
}

/// Bytes as the format writes names: what is not UTF-8 as `\xff`, a backslash doubled.
pub(crate) fn escape(bytes: &[u8]) -> String {
    Node::new_node(
        OsStr::from_bytes(bytes),
        NodeType::File,
        Metadata::default(),
    )
    .name
}

fn unescape(text: &str) -> Vec<u8> {
    let node = Node {
        name: text.to_owned(),
        ..Node::default()
    };
    node.name().as_bytes().to_vec()
}

/// A name for a message: nothing that a terminal obeys, and not endless.
fn shown(bytes: &[u8]) -> String {
    let text = escape(bytes);
    let mut shown: String = text
        .chars()
        .take(200)
        .map(|character| {
            if character.is_control() {
                '?'
            } else {
                character
            }
        })
        .collect();
    if text.chars().nth(200).is_some() {
        shown.push('…');
    }
    shown
}

/// A time of a file: seconds since 1970, and nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FileTime(pub i64, pub u32);

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TreeKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A device, socket or pipe: never saved, never made.
    Other,
}

/// One entry of a tree, as a listing has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeEntry {
    /// Where it is.
    pub path: TreePath,
    /// What it is.
    pub kind: TreeKind,
    /// The permission bits, `0o7777` at most.
    pub mode: u32,
    /// The owner's number.
    pub owner: u32,
    /// The group's number.
    pub group: u32,
    /// When its content was last changed.
    pub modified: FileTime,
    /// When anything about it was last changed.
    pub changed: FileTime,
    /// Its inode; files with the same one are hard links of each other.
    pub inode: u64,
    /// How many hard links it has; 1 for what is not to be linked.
    pub links: u64,
    /// Bytes of a file.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub size: u64,
    /// Whether a file has fewer blocks than bytes.
    #[serde(default, skip_serializing_if = "is_false")]
    pub sparse: bool,
    /// Where a symbolic link leads.
    #[serde(default, skip_serializing_if = "LinkTarget::is_empty")]
    pub target: LinkTarget,
}

impl TreeEntry {
    /// Whether nothing speaks for a change between two looks at an entry.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.size == other.size
            && self.modified == other.modified
            && self.changed == other.changed
            && self.inode == other.inode
    }
}

/// Where a symbolic link leads: any bytes, never followed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct LinkTarget(pub Vec<u8>);

impl LinkTarget {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<String> for LinkTarget {
    fn from(text: String) -> Self {
        Self(unescape(&text))
    }
}

impl From<LinkTarget> for String {
    fn from(target: LinkTarget) -> Self {
        escape(&target.0)
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn is_false(value: &bool) -> bool {
    !*value
}

/// The stored content of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Content {
    /// SHA-256 of all bytes, 64 hexadecimal digits.
    pub(crate) sha256: String,
    /// The chunks, in order.
    pub(crate) chunks: Vec<DataId>,
    /// Where a sparse file has data: offset and length of each piece.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<Vec<(u64, u64)>>,
}

/// A line of a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) entry: TreeEntry,
    /// Of a file, once it was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) content: Option<Content>,
    /// Changed so shortly before the listing that a further change might show no other time: read again next time.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) recent: bool,
    /// Read in this run; never stored.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) fresh: bool,
    /// When it is loaded: the hard link that was written before; never stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) link_to: Option<TreePath>,
}

impl Record {
    pub(crate) fn new(entry: TreeEntry) -> Self {
        Self {
            entry,
            content: None,
            recent: false,
            fresh: false,
            link_to: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(bytes: &[u8]) -> TreePath {
        TreePath::new(bytes).unwrap()
    }

    #[test]
    fn paths_that_leave_the_tree_cannot_be_built() {
        let (long_name, long_path) = ([b'n'; 256], "a/".repeat(2100));
        let hostile: [&[u8]; 12] = [
            b"/etc/passwd",
            b"..",
            b"../x",
            b"a/../b",
            b"a/..",
            b"./a",
            b"a/./b",
            b"a//b",
            b"a/",
            b"a\0b",
            &long_name,
            long_path.as_bytes(),
        ];
        for bytes in hostile {
            let error = TreePath::new(bytes).unwrap_err().to_string();
            assert!(
                error.len() < 1200 && !error.chars().any(char::is_control),
                "{error}"
            );
        }
    }

    #[test]
    fn any_name_survives_its_text_form() {
        for bytes in [
            &b"plain"[..],
            b"\xff\xfe",
            b"a\\b",
            b"line\nbreak\t",
            b"\xc3",
            "ü/\u{202e}x".as_bytes(),
            b"-rf",
            b"..x",
        ] {
            let text = serde_json::to_string(&path(bytes)).unwrap();
            assert!(!text.contains('\n'), "{text}");
            assert_eq!(
                serde_json::from_str::<TreePath>(&text).unwrap(),
                path(bytes)
            );
        }
    }

    #[test]
    fn a_folder_comes_right_before_what_is_in_it() {
        let mut paths = [
            &b"a!"[..],
            b"a/b",
            b"b",
            b"a",
            b"a/b/c",
            b"a-",
            b"",
            b"a/a\xff",
        ]
        .map(path);
        paths.sort();
        assert_eq!(
            paths,
            [
                &b""[..],
                b"a",
                b"a/a\xff",
                b"a/b",
                b"a/b/c",
                b"a!",
                b"a-",
                b"b"
            ]
            .map(path)
        );
        assert!(path(b"a/b").is_below(&path(b"a")) && !path(b"ab").is_below(&path(b"a")));
    }

    #[test]
    fn joined_paths_stay_within_what_linux_takes() {
        assert_eq!(path(b"a/b").join(&path(b"c")).unwrap(), path(b"a/b/c"));
        assert_eq!(path(b"").join(&path(b"c")).unwrap(), path(b"c"));
        assert_eq!(path(b"a").join(&path(b"")).unwrap(), path(b"a"));
        let long = path("a/".repeat(2047).trim_end_matches('/').as_bytes());
        assert!(long.join(&path(b"bcd")).is_err());
    }
}
