//! What a database has, counted: tables, views, routines, triggers, events, and rows of tables; and
//! the checksums of its small tables, which reach into every column.

use std::collections::BTreeMap;

use cofferdam_guest_sdk::{Context, Error, Evidence, Host, Result};

use crate::tools::Server;

/// What is counted by kind, in the order of the evidence.
const KINDS: [&str; 5] = ["tables", "views", "routines", "triggers", "events"];
/// Evidence takes 4 KiB a value and 64 pairs: tables are packed into values of this many bytes.
const PACKED: usize = 4000;
/// So many values of rows at most. 120 KB hold some 4,500 tables; of more only the sum is kept.
const VALUES: usize = 30;
/// So many values of checksums at most, for some 2,000 small tables; of more none is kept.
const SUM_VALUES: usize = 15;
/// The key of each value of rows, with a number behind it.
const KEY: &str = "rows-of-tables-";
/// The key of each value of checksums, with a number behind it.
const SUM_KEY: &str = "checksums-of-tables-";

/// How many of each kind there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Contents(BTreeMap<String, u64>);

impl Contents {
    pub(crate) fn count(server: &Server) -> Result<Self> {
        let said = server
            .capture("count-contents", &[])
            .context("failed to count what the database has")?;
        let counts = pairs(&said)?;
        match KINDS.iter().find(|kind| !counts.contains_key(**kind)) {
            Some(kind) => Err(Error::failed(
                "unknown-answer",
                format!("the server did not count its {kind}"),
            )),
            None => Ok(Self(counts)),
        }
    }

    pub(crate) fn get(&self, kind: &str) -> u64 {
        self.0.get(kind).copied().unwrap_or(0)
    }

    pub(crate) fn is_empty(&self) -> bool {
        KINDS.iter().all(|kind| self.get(kind) == 0)
    }

    pub(crate) fn record(&self, evidence: &mut Evidence) {
        for kind in KINDS {
            evidence.set(kind, self.get(kind));
        }
    }

    /// What is missing of what the evidence has, and what there is more, as phrases.
    pub(crate) fn against(&self, evidence: &Evidence) -> (Vec<String>, Vec<String>) {
        let (mut missing, mut more) = (Vec::new(), Vec::new());
        for kind in KINDS {
            let Some(kept) = evidence.number(kind) else {
                continue;
            };
            let found = self.get(kind);
            let phrase = format!("{found} {kind} where the backup has {kept}");
            match found.cmp(&kept) {
                std::cmp::Ordering::Less => missing.push(phrase),
                std::cmp::Ordering::Greater => more.push(phrase),
                std::cmp::Ordering::Equal => {}
            }
        }
        (missing, more)
    }
}

/// The rows of each table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RowCounts(BTreeMap<String, u64>);

impl RowCounts {
    /// Counts them, unless the site does not want that.
    pub(crate) fn of_all(host: &dyn Host, server: &Server) -> Result<Option<Self>> {
        if host.required("count-rows")? == "no" {
            return Ok(None);
        }
        let said = server
            .capture("count-rows", &[])
            .context("failed to count the rows of the tables")?;
        pairs(&said).map(|counts| Some(Self(counts)))
    }

    fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// The tables whose rows are not those of the evidence, as phrases. Only tables that stood
    /// still during the dump are held to it.
    pub(crate) fn against(&self, evidence: &Evidence) -> Vec<String> {
        let found: BTreeMap<String, u64> = self
            .0
            .iter()
            .map(|(table, rows)| (escaped(table), *rows))
            .collect();
        let kept = evidence
            .under(KEY)
            .flat_map(|(_, packed)| packed.split(' '));
        kept.filter_map(|one| one.rsplit_once('='))
            .filter_map(|(table, rows)| Some((table, rows.parse::<u64>().ok()?)))
            .filter_map(|(table, kept)| match found.get(table) {
                Some(found) if *found == kept => None,
                Some(found) => Some(format!(
                    "`{table}` has {found} rows where the backup has {kept}"
                )),
                None => Some(format!("`{table}` is missing")),
            })
            .collect()
    }
}

/// Records the rows of each table, `name=rows`; of a table that was written to during the dump
/// `name=before..after`.
pub(crate) fn record_rows(
    evidence: &mut Evidence,
    before: Option<&RowCounts>,
    after: Option<&RowCounts>,
) {
    let (Some(before), Some(after)) = (before, after) else {
        evidence.set("rows", "not counted");
        return;
    };
    evidence.set("rows", before.total());
    evidence.set(
        "rows-stood-still",
        if before == after { "yes" } else { "no" },
    );
    let rows = before.0.iter().map(|(table, rows)| {
        let now = after
            .0
            .get(table)
            .map_or_else(|| "gone".to_owned(), u64::to_string);
        let table = escaped(table);
        if now == rows.to_string() {
            format!("{table}={rows}")
        } else {
            format!("{table}={rows}..{now}")
        }
    });
    pack(evidence, KEY, VALUES, rows);
}

/// Packs words into as many values as they need, unless that is more than `most`.
fn pack(evidence: &mut Evidence, key: &str, most: usize, words: impl Iterator<Item = String>) {
    let mut values: Vec<String> = Vec::new();
    for word in words {
        match values.last_mut() {
            Some(value) if value.len() + 1 + word.len() <= PACKED => {
                value.push(' ');
                value.push_str(&word);
            }
            Some(_) | None => values.push(word),
        }
    }
    if values.len() > most {
        return;
    }
    for (number, value) in values.iter().enumerate() {
        evidence.set(&format!("{key}{}", number + 1), value);
    }
}

/// The checksums of the tables that are small enough to be read for it.
///
/// The same rows have the same checksum only on the same version of the same server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Checksums(BTreeMap<String, u64>);

impl Checksums {
    /// Sums them, unless the site does not want that.
    pub(crate) fn of_small(host: &dyn Host, server: &Server) -> Result<Self> {
        if host.required("checksums-up-to")? == "0" {
            return Ok(Self::default());
        }
        let said = server
            .capture("checksum-tables", &[])
            .context("failed to sum the small tables")?;
        let sums = said.lines().filter_map(|line| {
            // `database.table`, and `NULL` for a table that went away meanwhile.
            let (name, sum) = line.rsplit_once('\t')?;
            let (_, table) = name.split_once('.')?;
            Some((escaped(table), sum.trim().parse().ok()?))
        });
        Ok(Self(sums.collect()))
    }

    /// Records those that were the same before and after the dump.
    pub(crate) fn record(&self, after: &Self, evidence: &mut Evidence) {
        let steady = self
            .0
            .iter()
            .filter(|(table, sum)| after.0.get(*table) == Some(sum));
        let words = steady.map(|(table, sum)| format!("{table}={sum}"));
        pack(evidence, SUM_KEY, SUM_VALUES, words);
    }

    /// The tables whose contents are not those of the evidence, as phrases, and how many were
    /// compared. A table that was small then and is not now is not among them.
    pub(crate) fn against(&self, evidence: &Evidence) -> (Vec<String>, usize) {
        let kept = evidence
            .under(SUM_KEY)
            .flat_map(|(_, packed)| packed.split(' '));
        let pairs = kept
            .filter_map(|one| one.rsplit_once('='))
            .filter_map(|(table, sum)| Some((table, sum.parse::<u64>().ok()?, self.0.get(table)?)));
        let (mut wrong, mut compared) = (Vec::new(), 0);
        for (table, kept, found) in pairs {
            compared += 1;
            if kept != *found {
                wrong.push(format!(
                    "`{table}` has checksum {found} where the backup has {kept}"
                ));
            }
        }
        (wrong, compared)
    }
}

/// A table's name without what evidence cannot hold or what would end it: percent-encoded.
fn escaped(table: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_$.-".contains(&byte);
    table
        .bytes()
        .map(|byte| {
            if plain(byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

/// Lines of a word, a tab and a number. The word may hold whatever a table's name may.
fn pairs(said: &str) -> Result<BTreeMap<String, u64>> {
    said.lines()
        .filter(|line| !line.is_empty())
        .map(|line| {
            let pair = line
                .rsplit_once('\t')
                .and_then(|(word, number)| Some((word.to_owned(), number.trim().parse().ok()?)));
            pair.ok_or_else(|| {
                Error::failed("unknown-answer", format!("the server counted `{line}`"))
            })
        })
        .collect()
}
