//! A realistic SQL dump of any size: the layout of `mysqldump`, rows of names, hashes, amounts and
//! sentences. The same bytes on every machine; never all in memory.

use std::io::{self, BufWriter, Write};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use crate::interrupt;
use crate::process;

/// Words of log messages, so that the text compresses as real text does.
const WORDS: [&str; 24] = [
    "invoice",
    "account",
    "application",
    "was",
    "created",
    "for",
    "the",
    "plan",
    "usage",
    "limit",
    "exceeded",
    "token",
    "expired",
    "service",
    "metric",
    "hits",
    "provider",
    "notified",
    "by",
    "email",
    "after",
    "payment",
    "of",
    "failed",
];

/// Rows of one INSERT statement, about what `mysqldump --extended-insert` makes of a megabyte.
const ROWS: u64 = 4000;

/// Runs a command with a dump as its stdin.
pub(super) fn feed(command: &mut Command, size: u64, seed: u64) -> anyhow::Result<()> {
    interrupt::check()?;
    let shown = process::shown(command);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .with_context(|| format!("failed to start `{shown}`"))?;
    let listed = interrupt::list(child.id());
    let stdin = child.stdin.take().context("the child has no stdin")?;
    // A mebibyte at a time: a pipe's own size would make this the slowest part of the bench.
    let mut stdin = BufWriter::with_capacity(1 << 20, stdin);
    write(&mut stdin, size, seed).with_context(|| format!("failed to feed `{shown}`"))?;
    drop(stdin);
    let status = child
        .wait()
        .with_context(|| format!("failed to wait for `{shown}`"))?;
    drop(listed);
    interrupt::check()?;
    if !status.success() {
        bail!("`{shown}`, fed with a dump, ended with {status}");
    }
    Ok(())
}

/// Writes a dump of at least `size` bytes, ended by the trailer of a whole one. Two seeds make two dumps
/// that share nothing a repository could keep once.
fn write(out: &mut impl Write, size: u64, seed: u64) -> io::Result<u64> {
    let mut out = Counted { out, count: 0 };
    let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ (seed << 32));
    writeln!(
        out,
        "-- MariaDB dump 10.19  Distrib 10.11.19-MariaDB\n--\n-- Host: localhost    Database: system\n"
    )?;
    writeln!(
        out,
        "DROP TABLE IF EXISTS `log_entries`;\nCREATE TABLE `log_entries` (\n  `id` bigint(20) NOT NULL AUTO_INCREMENT,\n  `token` char(32) NOT NULL,\n  `amount` decimal(20,4) NOT NULL,\n  `created_at` datetime NOT NULL,\n  `description` text NOT NULL,\n  PRIMARY KEY (`id`)\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;\n"
    )?;
    let mut id = 0;
    while out.count < size {
        write!(out, "INSERT INTO `log_entries` VALUES ")?;
        for row in 0..ROWS {
            id += 1;
            let comma = if row == 0 { "" } else { "," };
            let (high, low) = (random.next(), random.next());
            let (day, second) = (1 + high % 28, low % 60);
            write!(
                out,
                "{comma}\n({id},'{high:016x}{low:016x}',{}.{:04},'2024-{:02}-{day:02} 11:{second:02}:00','",
                high % 90_000,
                low % 10_000,
                1 + low % 12
            )?;
            for _ in 0..6 + high % 12 {
                let index = usize::try_from(random.next() % 24).unwrap_or_default();
                write!(out, "{} ", WORDS.get(index).copied().unwrap_or_default())?;
            }
            write!(out, "{}')", low % 1_000_000)?;
            if out.count >= size {
                break;
            }
        }
        writeln!(out, ";")?;
    }
    writeln!(out, "\n-- Dump completed on 2024-06-30 12:00:00")?;
    out.flush()?;
    Ok(out.count)
}

/// Xorshift: repeatable, fast, and good enough to look like tokens.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

struct Counted<'a, W> {
    out: &'a mut W,
    count: u64,
}

impl<W: Write> Write for Counted<'_, W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.out.write(buffer)?;
        self.count += u64::try_from(written).expect("a count of bytes fits 64 bits");
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_is_as_long_as_asked_and_ends_as_a_whole_one() {
        let mut dump = Vec::new();
        let size = write(&mut dump, 100_000, 0).unwrap();
        assert_eq!(size, u64::try_from(dump.len()).unwrap());
        assert!((100_000..110_000).contains(&dump.len()), "{}", dump.len());
        let text = String::from_utf8(dump).unwrap();
        assert!(
            text.trim_end()
                .ends_with("-- Dump completed on 2024-06-30 12:00:00")
        );
        assert!(text.contains(");\n"));
    }

    #[test]
    fn two_dumps_of_one_seed_are_the_same_and_of_two_are_not() {
        let (mut one, mut other) = (Vec::new(), Vec::new());
        write(&mut one, 10_000, 1).unwrap();
        write(&mut other, 10_000, 1).unwrap();
        assert_eq!(one, other);
        other.clear();
        write(&mut other, 10_000, 2).unwrap();
        assert_ne!(one, other);
    }
}
