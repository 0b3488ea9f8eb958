//! What a database has, counted: tables, views, routines, triggers, events, and rows of tables.

use std::collections::BTreeMap;

use cofferdam_guest_sdk::{Context, Error, Evidence, Host, Result};

use crate::tools::Server;

/// What is counted by kind, in the order of the evidence.
const KINDS: [&str; 5] = ["tables", "views", "routines", "triggers", "events"];
/// Evidence takes 4 KiB a value and 64 pairs: tables are packed into values of this many bytes.
const PACKED: usize = 4000;
/// So many values at most. 160 KB hold some 6,000 tables; of more only the sum is kept.
const VALUES: usize = 40;
/// The key of each such value, with a number behind it.
const KEY: &str = "rows-of-tables-";

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
    let mut values = vec![String::new()];
    for (table, rows) in &before.0 {
        let now = after
            .0
            .get(table)
            .map_or_else(|| "gone".to_owned(), u64::to_string);
        let table = escaped(table);
        let one = if now == rows.to_string() {
            format!("{table}={rows}")
        } else {
            format!("{table}={rows}..{now}")
        };
        match values.last_mut() {
            Some(value) if value.is_empty() => *value = one,
            Some(value) if value.len() + 1 + one.len() <= PACKED => {
                value.push(' ');
                value.push_str(&one);
            }
            Some(_) | None => values.push(one),
        }
    }
    if values.len() > VALUES {
        return;
    }
    for (number, value) in values
        .iter()
        .enumerate()
        .filter(|(_, value)| !value.is_empty())
    {
        evidence.set(&format!("{KEY}{}", number + 1), value);
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
