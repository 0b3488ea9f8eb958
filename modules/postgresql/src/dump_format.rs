//! The beginning and the end of a dump, and which clients can read it.

use cofferdam_guest_sdk::{Error, Result};

use crate::Scope;

/// What `pg_dumpall` writes first, behind a line with `--`.
const HEAD: &str = "-- PostgreSQL database cluster dump";
/// What it writes last, before a line with `--`.
pub(crate) const TRAILER: &str = "-- PostgreSQL database cluster dump complete";
/// The first five bytes of a custom-format archive.
const MAGIC: &[u8] = b"PGDMP";
/// The byte of a custom-format archive that names the format, and its value for `custom`.
const FORMAT: (usize, u8) = (10, 1);

/// The first releases whose `psql` knows `\restrict`, with which dump programs of the same releases
/// begin. 18 and later were born with it, those before 13 never had it.
const RESTRICT_CLIENTS: [(u32, u32); 5] = [(13, 22), (14, 19), (15, 14), (16, 10), (17, 6)];

/// Insists on the marks of a format.
pub(crate) fn check(scope: Scope, head: &[u8], tail: &[u8]) -> Result<()> {
    check_head(scope, head)?;
    match scope {
        Scope::Cluster => check_trailer(tail),
        // An archive ends with the last of its data: its proof is the exit code and the digest.
        Scope::Database => Ok(()),
    }
}

pub(crate) fn check_head(scope: Scope, head: &[u8]) -> Result<()> {
    match scope {
        Scope::Cluster => {
            let text = String::from_utf8_lossy(head);
            let first = text
                .lines()
                .map(str::trim)
                .find(|line| !line.is_empty() && *line != "--")
                .unwrap_or_default();
            if first == HEAD {
                return Ok(());
            }
            let first: String = first.chars().take(80).collect();
            Err(not_a_dump(&format!("it begins with `{first}`")))
        }
        Scope::Database => {
            if !head.starts_with(MAGIC) {
                return Err(not_a_dump("it does not begin with `PGDMP`"));
            }
            let (place, custom) = FORMAT;
            match head.get(place) {
                Some(format) if *format == custom => Ok(()),
                Some(format) => Err(not_a_dump(&format!(
                    "its format is {format}, not {custom} for custom"
                ))),
                None => Err(not_a_dump("it ends within its header")),
            }
        }
    }
}

fn not_a_dump(why: &str) -> Error {
    Error::failed(
        "not-a-dump",
        format!("this is no dump of PostgreSQL of this kind: {why}"),
    )
}

/// Insists on the last comment of `pg_dumpall`: nothing but empty comments comes behind it.
pub(crate) fn check_trailer(tail: &[u8]) -> Result<()> {
    let text = String::from_utf8_lossy(tail);
    let last = text
        .lines()
        .map(str::trim)
        .rfind(|line| !line.is_empty() && *line != "--")
        .unwrap_or_default();
    if last == TRAILER {
        return Ok(());
    }
    Err(Error::failed(
        "no-trailer",
        format!("the dump does not end with `{TRAILER}`: it is not whole"),
    ))
}

/// The version of an archive's format, such as `1.14`.
pub(crate) fn archive_version(head: &[u8]) -> String {
    match head.get(5..7) {
        Some([major, minor]) => format!("{major}.{minor}"),
        _ => "?".to_owned(),
    }
}

/// Refuses a client that would stumble over the dump's `\restrict` lines, before anything is dropped.
pub(crate) fn check_client(head: &[u8], client: &str) -> Result<()> {
    let text = String::from_utf8_lossy(head);
    let has_restrict = text.lines().any(|line| line.starts_with("\\restrict "));
    if !has_restrict || knows_restrict(client) {
        return Ok(());
    }
    Err(Error::failed(
        "old-client",
        format!(
            "the dump has `\\restrict` lines, which `{client}` does not know: restore with a `psql` of 13.22, 14.19, 15.14, 16.10, 17.6 or later"
        ),
    ))
}

/// Whether a client, by what it says to `--version`, knows `\restrict`: `psql (PostgreSQL) 15.18 ...`.
fn knows_restrict(client: &str) -> bool {
    let version = client
        .split_whitespace()
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()))
        .unwrap_or_default();
    let mut numbers = version.split('.').map(|part| {
        let end = part.find(|c: char| !c.is_ascii_digit());
        let digits = part.get(..end.unwrap_or(part.len())).unwrap_or_default();
        digits.parse::<u32>().unwrap_or(0)
    });
    let (major, minor) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    match RESTRICT_CLIENTS.iter().find(|(known, _)| *known == major) {
        Some((_, first)) => minor >= *first,
        None => major > 17,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_dump_is_known_by_both_ends() {
        let dump = b"--\n-- PostgreSQL database cluster dump\n--\n\nSELECT 1;\n\n--\n-- PostgreSQL database cluster dump complete\n--\n\n";
        check(Scope::Cluster, dump, dump).expect("whole");
        let cut = b"--\n-- PostgreSQL database dump complete\n--\n";
        assert!(check_trailer(cut).is_err());
        let middle = b"-- PostgreSQL database cluster dump complete\nSELECT 1;\n";
        assert!(check_trailer(middle).is_err());
        assert!(check_head(Scope::Cluster, b"-- PostgreSQL database dump\n").is_err());
        assert!(check_head(Scope::Cluster, b"PGDMP").is_err());
    }

    #[test]
    fn an_archive_is_known_by_magic_and_format() {
        let head = b"PGDMP\x01\x0e\x00\x04\x08\x01";
        check_head(Scope::Database, head).expect("an archive");
        assert_eq!(archive_version(head), "1.14");
        assert!(check_head(Scope::Database, b"PGDMP\x01\x0e\x00\x04\x08\x03").is_err());
        assert!(check_head(Scope::Database, b"PGDMP\x01").is_err());
        assert!(check_head(Scope::Database, b"--\n-- PostgreSQL").is_err());
    }

    #[test]
    fn only_newer_clients_know_restrict() {
        let head = b"--\n-- PostgreSQL database cluster dump\n--\n\n\\restrict Zza\n";
        for knows in [
            "psql (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)",
            "psql (PostgreSQL) 13.22",
            "psql (PostgreSQL) 18.6",
            "psql (PostgreSQL) 18beta3",
            "psql (PostgreSQL) 19devel",
        ] {
            check_client(head, knows).expect(knows);
        }
        for does_not in [
            "psql (PostgreSQL) 15.13",
            "psql (PostgreSQL) 10.23",
            "psql (PostgreSQL) 9.6.24",
            "",
        ] {
            let error = check_client(head, does_not).expect_err(does_not);
            assert_eq!(error.code(), Some("old-client"));
            check_client(b"SET x = 1;\n", does_not).expect("nothing to know");
        }
    }
}
