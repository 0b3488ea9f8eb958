//! The beginning and the end of a dump.

use cofferdam_guest_sdk::{Error, Result, last_line};

use crate::TRAILER;

/// MariaDB's dump programs since 10.5.25, 10.6.18, 10.11.8, 11.0.6, 11.1.5, 11.2.4 and 11.4.2
/// begin with this, so that a dump cannot run shell commands through the client that loads it.
const SANDBOX: &str = "/*M!999999\\-";

/// The first releases of each line of MariaDB whose client knows the sandbox line; later lines do.
const SANDBOX_CLIENTS: [(u32, u32, u32); 7] = [
    (10, 5, 25),
    (10, 6, 18),
    (10, 11, 8),
    (11, 0, 6),
    (11, 1, 5),
    (11, 2, 4),
    (11, 4, 2),
];

/// Insists on the words with which dumps of MySQL and MariaDB begin.
pub(crate) fn check_head(head: &[u8]) -> Result<()> {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.lines().skip_while(|line| is_preamble(line));
    let first = lines.next().unwrap_or_default();
    if first.starts_with("-- MySQL dump") || first.starts_with("-- MariaDB dump") {
        return Ok(());
    }
    let first: String = first.chars().take(80).collect();
    Err(Error::failed(
        "not-a-dump",
        format!("this is no dump of MySQL or MariaDB: it begins with `{first}`"),
    ))
}

fn is_preamble(line: &str) -> bool {
    line.trim().is_empty() || line.starts_with(SANDBOX)
}

/// Insists on the line that dump programs write last.
pub(crate) fn check_trailer(tail: &[u8]) -> Result<()> {
    let last = last_line(tail);
    if last.starts_with(TRAILER) {
        return Ok(());
    }
    Err(Error::failed(
        "no-trailer",
        format!("the dump does not end with `{TRAILER}`: it is not whole"),
    ))
}

/// Whether the first line of a dump is MariaDB's sandbox line.
pub(crate) fn has_sandbox_line(head: &[u8]) -> bool {
    head.starts_with(SANDBOX.as_bytes())
}

/// Whether a client, by what it says to `--version`, knows the sandbox line.
///
/// `mysql  Ver 15.1 Distrib 10.11.19-MariaDB, for ...` and, from 11 on,
/// `mariadb from 11.4.2-MariaDB, client 15.2 for ...`.
pub(crate) fn knows_sandbox_line(client: &str) -> bool {
    let Some((before, _)) = client.split_once("-MariaDB") else {
        return false;
    };
    let version = before.rsplit(' ').next().unwrap_or_default();
    let mut numbers = version
        .split('.')
        .map(|number| number.parse::<u32>().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    let (major, minor, patch) = (next(), next(), next());
    let same_line = SANDBOX_CLIENTS
        .iter()
        .find(|known| (known.0, known.1) == (major, minor));
    match same_line {
        Some((_, _, first)) => patch >= *first,
        // 11.3 ended before the change; every later line was born with it.
        None => (major, minor) > (11, 4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dumps_of_both_kinds_are_known() {
        check_head(b"-- MySQL dump 10.13  Distrib 8.0.36\n").expect("MySQL");
        check_head(b"/*M!999999\\- enable the sandbox mode */ \n-- MariaDB dump 10.19\n")
            .expect("MariaDB");
        assert!(check_head(b"CREATE TABLE a (b int);\n").is_err());
        assert!(check_head(b"").is_err());
    }

    #[test]
    fn only_newer_clients_of_mariadb_know_the_sandbox_line() {
        for knows in [
            "mysql  Ver 15.1 Distrib 10.11.19-MariaDB, for debian-linux-gnu (x86_64)",
            "mariadb from 11.4.2-MariaDB, client 15.2 for Linux (x86_64)",
            "mariadb from 11.8.1-MariaDB, client 15.2 for Linux (x86_64)",
        ] {
            assert!(knows_sandbox_line(knows), "{knows}");
        }
        for does_not in [
            "mysql  Ver 8.0.36 for Linux on x86_64 (MySQL Community Server - GPL)",
            "mysql  Ver 15.1 Distrib 10.11.6-MariaDB, for debian-linux-gnu (x86_64)",
            "mysql  Ver 15.1 Distrib 10.3.39-MariaDB, for debian-linux-gnu (x86_64)",
            "mariadb from 11.3.2-MariaDB, client 15.2",
            "",
        ] {
            assert!(!knows_sandbox_line(does_not), "{does_not}");
        }
    }

    #[test]
    fn a_trailer_in_the_middle_is_none() {
        check_trailer(b"x\n-- Dump completed on 2026-11-22 10:00:00\n").expect("a trailer");
        check_trailer(b"x\n-- Dump completed\n").expect("a trailer without a date");
        assert!(check_trailer(b"-- Dump completed\nINSERT INTO a VALUES (1\n").is_err());
    }
}
