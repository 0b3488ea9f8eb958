//! The listing of a folder, as `find` prints it: one line of numbers, a name and a link's target for each entry.

use std::collections::VecDeque;

use bytes::Bytes;

use super::super::{FileKind, Place, judge};
use crate::error::Error;
use crate::process::{Process, Stdout};

/// Behind `ENTER`. First the clock, the user and the room, so that nobody has to ask again.
/// `-ignore_readdir_race`: what vanishes while it is listed is gone, and no failure.
pub(super) const LIST: &str = r#"case "$(find --version 2>/dev/null)" in *GNU*) ;; *) exit 50 ;; esac
printf '%s %s %s\0' "$(date +%s)" "$(id -u)" "$(stat -f -c '%a %S %c %d' . 2>/dev/null)"
exec find . -ignore_readdir_race -printf '%y %m %U %G %s %b %T@ %C@ %i %n %D\0%P\0%l\0'"#;

/// Longer than any path of Linux; what is longer did not come from `find`.
const LONGEST_FIELD: usize = 8192;
/// A file may be kept without blocks of its own when it is this small: that makes no hole.
const SMALLEST_SPARSE: u64 = 64 * 1024;

/// An entry of a folder, as the pod says it is. The path is relative to the folder, empty for the folder itself, and
/// not checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeEntry {
    /// Where it is.
    pub path: Vec<u8>,
    /// What it is; links are not followed.
    pub kind: FileKind,
    /// The permission bits.
    pub mode: u32,
    /// The owner's number.
    pub owner: u32,
    /// The group's number.
    pub group: u32,
    /// Bytes of a file.
    pub size: u64,
    /// Whether it has fewer blocks than bytes.
    pub sparse: bool,
    /// When its content changed: seconds since 1970, and nanoseconds.
    pub modified: (i64, u32),
    /// When anything about it changed.
    pub changed: (i64, u32),
    /// Its inode.
    pub inode: u64,
    /// Its hard links, 1 on another file system than the folder's.
    pub links: u64,
    /// Where a symbolic link leads.
    pub target: Vec<u8>,
}

/// What room a folder's file system has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes free for the container's user.
    pub bytes: u64,
    /// The size of a block.
    pub block: u64,
    /// Files that can still be made; `None` where there is no limit.
    pub files: Option<u64>,
}

/// The entries of a folder, in no order.
#[derive(Debug)]
pub struct TreeListing {
    process: Option<Process>,
    stdout: Option<Stdout>,
    path: String,
    pod: String,
    fields: Fields,
    /// The clock of the pod, in seconds since 1970.
    pub clock: i64,
    /// The number of the container's user.
    pub user: u32,
    /// The room on the disk, where it is known.
    pub room: Option<Room>,
    device: Option<String>,
}

impl TreeListing {
    pub(super) async fn begin(
        process: Process,
        stdout: Option<Stdout>,
        place: &Place<'_>,
    ) -> Result<Self, Error> {
        let mut listing = Self {
            process: Some(process),
            stdout,
            path: place.path.to_owned(),
            pod: place.pod.name().to_owned(),
            fields: Fields::default(),
            clock: 0,
            user: 0,
            room: None,
            device: None,
        };
        let Some(head) = listing.field().await? else {
            return Err(listing.failed("it lists nothing"));
        };
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut words = head.split(' ');
        let mut number = || words.next()?.parse::<u64>().ok();
        let (clock, user) = (number(), number());
        let (free, block, most, left) = (number(), number(), number(), number());
        let clock = clock.and_then(|clock| i64::try_from(clock).ok());
        let user = user.and_then(|user| u32::try_from(user).ok());
        let (Some(clock), Some(user)) = (clock, user) else {
            return Err(listing.failed("its answer is not understood"));
        };
        (listing.clock, listing.user) = (clock, user);
        listing.room = free.zip(block).map(|(free, block)| Room {
            bytes: free.saturating_mul(block),
            block,
            files: left.filter(|_| most.is_some_and(|most| most > 0)),
        });
        Ok(listing)
    }

    /// The next entry; `None` is the proven end of a whole listing.
    ///
    /// # Errors
    /// [`Error::NoFile`], [`Error::File`] for what is no folder, has parts that may not be read, or is listed in another
    /// form than asked for, and the errors of a command.
    pub async fn next(&mut self) -> Result<Option<TreeEntry>, Error> {
        let Some(numbers) = self.field().await? else {
            return Ok(None);
        };
        let (path, target) = (self.field().await?, self.field().await?);
        let (Some(path), Some(target)) = (path, target) else {
            return Err(self.failed("its listing ends within an entry"));
        };
        let numbers = String::from_utf8_lossy(&numbers).into_owned();
        match self.entry(&numbers, path, target) {
            Some(entry) => Ok(Some(entry)),
            None => Err(self.failed("a line of its listing is not understood")),
        }
    }

    fn entry(&mut self, numbers: &str, path: Vec<u8>, target: Vec<u8>) -> Option<TreeEntry> {
        let mut words = numbers.split(' ');
        let kind = match words.next()? {
            "f" => FileKind::File,
            "d" => FileKind::Folder,
            "l" => FileKind::Link,
            _ => FileKind::Other,
        };
        let mode = u32::from_str_radix(words.next()?, 8).ok()?;
        let (owner, group) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let size: u64 = words.next()?.parse().ok()?;
        let blocks: u64 = words.next()?.parse().ok()?;
        let (modified, changed) = (time(words.next()?)?, time(words.next()?)?);
        let inode = words.next()?.parse().ok()?;
        let links = words.next()?.parse().ok()?;
        let device = words.next()?;
        if mode > 0o7777 || i64::try_from(size).is_err() || words.next().is_some() {
            return None;
        }
        // The folder itself is listed first.
        let own = self.device.get_or_insert_with(|| device.to_owned());
        let is_file = kind == FileKind::File;
        Some(TreeEntry {
            path,
            kind,
            mode,
            owner,
            group,
            size: if is_file { size } else { 0 },
            sparse: is_file && size >= SMALLEST_SPARSE && blocks.saturating_mul(512) < size,
            modified,
            changed,
            inode,
            links: if is_file && *own == device { links } else { 1 },
            target,
        })
    }

    async fn field(&mut self) -> Result<Option<Vec<u8>>, Error> {
        loop {
            if let Some(field) = self.fields.next() {
                return Ok(Some(field));
            }
            if self.fields.rest.len() > LONGEST_FIELD {
                return Err(self.failed("a line of its listing is too long"));
            }
            let more = match &mut self.stdout {
                Some(stdout) => stdout.next().await?,
                None => None,
            };
            if let Some(bytes) = more {
                self.fields.push(bytes);
                continue;
            }
            self.stdout = None;
            if let Some(process) = self.process.take() {
                let outcome = process.wait().await?;
                let (code, said) = (outcome.exit_code, &outcome.stderr);
                judge(code, said, "list the tree", &self.path, &self.pod)?;
                if !self.fields.rest.is_empty() {
                    return Err(self.failed("its listing ends within an entry"));
                }
            }
            return Ok(None);
        }
    }

    fn failed(&self, what: &str) -> Error {
        super::super::failed("list the tree", &self.path, &self.pod, what)
    }
}

/// Cuts a stream at zero bytes.
#[derive(Debug, Default)]
struct Fields {
    whole: VecDeque<Vec<u8>>,
    rest: Vec<u8>,
}

impl Fields {
    fn push(&mut self, bytes: Bytes) {
        let mut pieces = bytes.split(|byte| *byte == 0);
        self.rest
            .extend_from_slice(pieces.next().unwrap_or_default());
        for piece in pieces {
            self.whole
                .push_back(std::mem::replace(&mut self.rest, piece.to_vec()));
        }
    }

    fn next(&mut self) -> Option<Vec<u8>> {
        self.whole.pop_front()
    }
}

/// Reads `1700000000.1234567890`: `find` prints a digit more than there are nanoseconds.
fn time(text: &str) -> Option<(i64, u32)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    let digits: String = fraction
        .chars()
        .chain("000000000".chars())
        .take(9)
        .collect();
    if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let nanoseconds: u32 = digits.parse().ok()?;
    // Before 1970 `find` prints the fraction as a part of the negative number.
    if whole.starts_with('-') && nanoseconds > 0 {
        return Some((seconds.checked_sub(1)?, 1_000_000_000 - nanoseconds));
    }
    Some((seconds, nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_all_their_digits() {
        for (text, expected) in [
            ("1700000000.1234567890", Some((1_700_000_000, 123_456_789))),
            ("1700000000.0000000000", Some((1_700_000_000, 0))),
            ("5", Some((5, 0))),
            ("-1.5000000000", Some((-2, 500_000_000))),
            ("1.+234567890", None),
            ("x.0", None),
            ("", None),
        ] {
            assert_eq!(time(text), expected, "{text}");
        }
    }

    #[test]
    fn fields_may_come_in_any_pieces() {
        let text = b"one\0\0three\0";
        for portion in 1..text.len() {
            let mut fields = Fields::default();
            for part in text.chunks(portion) {
                fields.push(Bytes::copy_from_slice(part));
            }
            let all: Vec<_> = std::iter::from_fn(|| fields.next()).collect();
            assert_eq!(all, [&b"one"[..], b"", b"three"]);
            assert!(fields.rest.is_empty());
        }
    }
}
