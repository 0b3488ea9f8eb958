//! A compressed SQL dump, decompressed in constant memory and proven from its first line to its
//! trailer and its CRC.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use sha2::{Digest, Sha256};

/// Bytes that go on at once; as in a run, large enough that the way does not matter.
pub(super) const CHUNK: usize = 256 * 1024;
/// A SQL dump shrinks to a third or, of very dull rows, to a hundredth. Deflate itself ends at a
/// thousandth, which only a file made for it reaches.
const LARGEST_RATIO: u64 = 400;
/// So many bytes are not worth a question.
const ALWAYS_ALLOWED: u64 = 64 * 1024 * 1024;
/// Enough for the comment lines before the first statement.
const HEAD: usize = 4096;
/// Enough for the last line and the empty lines behind it.
const TAIL: usize = 4096;

/// Which dump program's words are expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// `mysqldump`, `mariadb-dump`.
    MySql,
    /// `pg_dumpall`.
    Postgres,
}

/// Why the reading of a file ended early.
#[derive(Debug)]
pub(super) enum Stop {
    /// The file is not what it should be.
    Problem(String),
    /// Whoever takes the bytes has gone; their error is the one to tell.
    Taker,
}

impl Stop {
    pub(super) fn problem(text: impl Into<String>) -> Self {
        Self::Problem(text.into())
    }
}

/// What was found out about a file.
#[derive(Debug, Default)]
pub(super) struct Proof {
    /// Bytes of the file itself.
    pub(super) file_bytes: u64,
    /// Their SHA-256.
    pub(super) file_sha256: String,
    /// What else is evidence.
    pub(super) pairs: Vec<(String, String)>,
}

/// Counts and hashes what is read through it.
pub(super) struct Counted<R> {
    inner: R,
    hasher: Sha256,
    pub(super) bytes: u64,
}

impl<R: Read> Counted<R> {
    pub(super) fn new(inner: R) -> Self {
        Self {
            inner,
            hasher: Sha256::new(),
            bytes: 0,
        }
    }

    pub(super) fn proof(self) -> Proof {
        Proof {
            file_bytes: self.bytes,
            file_sha256: hex::encode(self.hasher.finalize()),
            pairs: Vec::new(),
        }
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(buffer.get(..count).unwrap_or_default());
        self.bytes += count as u64;
        Ok(count)
    }
}

/// Reads a compressed dump to its end and hands on what is in it. What it hands on counts only
/// when it returns a proof.
pub(super) fn read(
    file: File,
    dialect: Dialect,
    take: &mut dyn FnMut(Bytes) -> Result<(), Stop>,
) -> Result<Proof, Stop> {
    let mut compressed = BufReader::with_capacity(CHUNK, Counted::new(file));
    check_magic(&mut compressed)?;
    let mut plain = MultiGzDecoder::new(compressed);
    let (mut bytes, mut head, mut tail) = (0_u64, Vec::new(), Vec::new());
    loop {
        let chunk = fill(&mut plain, bytes)?;
        if bytes == 0 {
            head = chunk.iter().copied().take(HEAD).collect();
            check_head(&head, dialect)?;
        }
        if chunk.is_empty() {
            break;
        }
        bytes += chunk.len() as u64;
        let read = plain.get_ref().get_ref().bytes;
        if bytes > ALWAYS_ALLOWED && bytes / read.max(1) > LARGEST_RATIO {
            return Err(Stop::problem(format!(
                "grows to more than {LARGEST_RATIO} times its size, as no dump does: it was given up after {bytes} bytes"
            )));
        }
        tail.extend_from_slice(
            chunk
                .get(chunk.len().saturating_sub(TAIL)..)
                .unwrap_or_default(),
        );
        tail.drain(..tail.len().saturating_sub(TAIL));
        take(chunk)?;
    }
    let trailer = find_trailer(&tail, dialect)?;
    let mut proof = plain.into_inner().into_inner().proof();
    proof.pairs = vec![
        ("trailer".to_owned(), trailer),
        (
            "checked".to_owned(),
            "gzip length and CRC-32 to its end, first line and trailer of the dump".to_owned(),
        ),
        (
            "not-checked".to_owned(),
            "which server wrote it, and its tables and rows: no server was asked".to_owned(),
        ),
    ];
    if let Some(server) = server_version(&head, dialect) {
        // Not `server-version`: that is what a server said of itself.
        proof.pairs.push(("dumped-from".to_owned(), server));
    }
    Ok(proof)
}

fn check_magic(compressed: &mut BufReader<Counted<File>>) -> Result<(), Stop> {
    use std::io::BufRead;
    let first = compressed
        .fill_buf()
        .map_err(|error| Stop::problem(format!("cannot be read: {error}")))?;
    match first {
        [0x1f, 0x8b, ..] => Ok(()),
        [] => Err(Stop::problem("is empty")),
        _ => Err(Stop::problem(
            "is not compressed with gzip: it begins with other bytes",
        )),
    }
}

/// Reads until a chunk is full or the stream has ended.
fn fill(plain: &mut impl Read, before: u64) -> Result<Bytes, Stop> {
    let mut chunk = Vec::with_capacity(CHUNK);
    match plain.take(CHUNK as u64).read_to_end(&mut chunk) {
        Ok(_) => Ok(chunk.into()),
        Err(error) => {
            let at = before + chunk.len() as u64;
            Err(Stop::problem(match error.kind() {
                ErrorKind::UnexpectedEof => {
                    format!("is cut: it ends in the middle, after {at} bytes of the dump")
                }
                ErrorKind::InvalidData | ErrorKind::InvalidInput => {
                    format!("is damaged after {at} bytes of the dump: {error}")
                }
                _ => format!("cannot be read: {error}"),
            }))
        }
    }
}

/// MariaDB's dump programs may begin with this line, before the one that counts.
const SANDBOX: &str = "/*M!999999\\-";

fn check_head(head: &[u8], dialect: Dialect) -> Result<(), Stop> {
    let text = String::from_utf8_lossy(head);
    let first_lines = text.lines().take(40).collect::<Vec<_>>();
    if text
        .split_inclusive('\n')
        .next()
        .is_some_and(|line| line.ends_with("\r\n"))
    {
        return Err(Stop::problem(
            "went through a terminal: its lines end with carriage returns, and bytes of its columns may be changed; dump again without `-t`",
        ));
    }
    let begins = |words: [&str; 2]| {
        let mut lines = first_lines.iter().skip_while(|line| {
            line.trim().is_empty() || **line == "--" || line.starts_with(SANDBOX)
        });
        lines
            .next()
            .is_some_and(|line| words.iter().any(|word| line.starts_with(word)))
    };
    let (mysql, postgres) = (
        begins(["-- MySQL dump", "-- MariaDB dump"]),
        begins([
            "-- PostgreSQL database cluster dump",
            "-- PostgreSQL database dump",
        ]),
    );
    if dialect == Dialect::Postgres && begins(["-- PostgreSQL database dump"; 2]) {
        return Err(Stop::problem(
            "is a dump of one database by `pg_dump`, where one of all by `pg_dumpall` belongs: take it again with `pg_dumpall -c --if-exists`",
        ));
    }
    match (dialect, mysql, postgres) {
        (Dialect::MySql, true, _) | (Dialect::Postgres, _, true) => Ok(()),
        (Dialect::MySql, false, true) => Err(Stop::problem(
            "is a dump of PostgreSQL, where one of MySQL belongs",
        )),
        (Dialect::Postgres, true, false) => Err(Stop::problem(
            "is a dump of MySQL, where one of PostgreSQL belongs",
        )),
        (Dialect::MySql | Dialect::Postgres, false, false) => {
            let first: String = text.chars().take(60).flat_map(char::escape_debug).collect();
            Err(Stop::problem(format!(
                "is no dump of this kind: it begins with `{first}`"
            )))
        }
    }
}

fn find_trailer(tail: &[u8], dialect: Dialect) -> Result<String, Stop> {
    let text = String::from_utf8_lossy(tail);
    // PostgreSQL frames its trailer with empty comments.
    let last = text
        .lines()
        .rfind(|line| !line.trim().is_empty() && *line != "--")
        .unwrap_or_default();
    let wanted = match dialect {
        Dialect::MySql => "-- Dump completed",
        Dialect::Postgres => "-- PostgreSQL database cluster dump complete",
    };
    if last.starts_with(wanted) {
        return Ok(last.chars().take(100).collect());
    }
    Err(Stop::problem(format!(
        "does not end with `{wanted}`: the dump is not whole"
    )))
}

/// The version of the server, where the dump says it in one of its first lines.
fn server_version(head: &[u8], dialect: Dialect) -> Option<String> {
    let word = match dialect {
        Dialect::MySql => "-- Server version",
        Dialect::Postgres => "-- Dumped from database version",
    };
    let text = String::from_utf8_lossy(head).into_owned();
    let said = text.lines().find_map(|line| line.strip_prefix(word))?;
    let clean: String = said
        .trim()
        .chars()
        .filter(|letter| !letter.is_control())
        .take(100)
        .collect();
    (!clean.is_empty()).then_some(clean)
}

#[cfg(test)]
mod tests;
