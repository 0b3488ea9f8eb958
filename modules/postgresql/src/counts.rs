//! What databases have, counted: objects by kind, rows of tables, where sequences stand.
//!
//! Each is an entry `database/kind`, `database/rows/table` or `database/sequence/name` with a value.
//! An entry that is the same before and after a dump can be held against a restore; one that is not
//! is kept as `before..after` and held against nothing.

use std::collections::{BTreeMap, BTreeSet};

use cofferdam_guest_sdk::{Context, Error, Evidence, Host, Result};

use crate::hex;
use crate::server::{Database, Server};

/// What is counted by kind, in the order of the evidence.
pub(crate) const KINDS: [&str; 11] = [
    "tables",
    "views",
    "materialized-views",
    "sequences",
    "functions",
    "triggers",
    "indexes",
    "constraints",
    "schemas",
    "extensions",
    "large-objects",
];
/// Evidence takes 4 KiB a value and 64 pairs: entries are packed into values of this many bytes.
const PACKED: usize = 4000;
/// So many values at most. 160 KB hold some 3,000 tables; of more only their number is kept.
const VALUES: usize = 40;
/// What the evidence says then.
const TOO_MANY: &str = "too many tables: their rows are not kept one by one";
/// The key of each such value, with a number behind it.
const KEY: &str = "counts-";

/// Entries and their values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Counts(BTreeMap<String, String>);

impl Counts {
    /// Counts in each database. Rows are left out where the site does not want them.
    pub(crate) fn of_all(host: &dyn Host, server: &Server, databases: &[Database]) -> Result<Self> {
        let with_rows = host.required("count-rows")? == "yes";
        let mut counts = Self::default();
        for database in databases {
            let name = hex::hole(&database.digits);
            let holes = [("maintenance", server.maintenance), ("name", name.as_str())];
            let mut commands = vec!["count-objects"];
            commands.extend(with_rows.then_some("count-rows"));
            for command in commands {
                let said = server.pod.capture(command, &holes).context(format!(
                    "failed to count what database `{}` has",
                    database.name
                ))?;
                counts.add(&database.name, &said)?;
            }
        }
        Ok(counts)
    }

    fn add(&mut self, database: &str, said: &str) -> Result<()> {
        let database = escaped(database);
        for line in said.lines().filter(|line| !line.is_empty()) {
            let unknown =
                || Error::failed("unknown-answer", format!("the server counted `{line}`"));
            let (word, rest) = line.split_once('|').ok_or_else(unknown)?;
            let entry = if KINDS.contains(&word) {
                let _is_number: u64 = rest.parse().map_err(|_| unknown())?;
                (format!("{database}/{word}"), rest.to_owned())
            } else {
                let (digits, value) = rest.split_once('|').ok_or_else(unknown)?;
                if !["rows", "sequence"].contains(&word) {
                    return Err(unknown());
                }
                let name = escaped(&hex::decode(digits)?);
                let value = value.replace('|', ",");
                (format!("{database}/{word}/{name}"), value)
            };
            self.0.insert(entry.0, entry.1);
        }
        Ok(())
    }

    /// The sum over all databases of a kind, or of all rows.
    pub(crate) fn sum(&self, kind: &str) -> u64 {
        let of_kind = self
            .0
            .iter()
            .filter(|(entry, _)| entry.split('/').nth(1) == Some(kind));
        of_kind
            .filter_map(|(_, value)| value.parse::<u64>().ok())
            .sum()
    }

    /// What is not as the evidence says, and what there is more of, as phrases.
    pub(crate) fn against(&self, evidence: &Evidence) -> (Vec<String>, Vec<String>) {
        let (mut wrong, mut more) = (Vec::new(), Vec::new());
        for (entry, kept) in entries(evidence).filter(|(_, kept)| !kept.contains("..")) {
            let words = described(entry);
            match self.0.get(entry) {
                Some(found) if found == kept => {}
                Some(found) if is_more(entry, found, kept) => {
                    more.push(format!("{words}: {found} where the backup has {kept}"));
                }
                Some(found) => {
                    wrong.push(format!("{words}: {found} where the backup has {kept}"));
                }
                // Rows may be left out now where they were counted then.
                None if !self.counts_rows() && entry.contains("/rows/") => {}
                None => wrong.push(format!("{words} is missing")),
            }
        }
        (wrong, more)
    }

    /// The same, as if database `now` were called `then`.
    pub(crate) fn renamed(self, now: &str, then: &str) -> Self {
        let (now, then) = (escaped(now), escaped(then));
        let renamed = |entry: String| match entry.split_once('/') {
            Some((database, rest)) if database == now => format!("{then}/{rest}"),
            _ => entry,
        };
        Self(
            self.0
                .into_iter()
                .map(|(entry, value)| (renamed(entry), value))
                .collect(),
        )
    }

    fn counts_rows(&self) -> bool {
        self.0.keys().any(|entry| entry.contains("/rows/"))
    }
}

/// More objects of a kind are what was there before; more rows or a sequence elsewhere are wrong.
fn is_more(entry: &str, found: &str, kept: &str) -> bool {
    let numbers = (found.parse::<u64>(), kept.parse::<u64>());
    is_kind(entry) && matches!(numbers, (Ok(found), Ok(kept)) if found > kept)
}

/// Whether an entry is the number of objects of a kind.
fn is_kind(entry: &str) -> bool {
    entry.split('/').count() == 2
}

/// `system/rows/public.accounts` for people.
fn described(entry: &str) -> String {
    let mut parts = entry.splitn(3, '/');
    let database = parts.next().unwrap_or_default();
    match (parts.next().unwrap_or_default(), parts.next()) {
        ("rows", Some(table)) => format!("rows of `{table}` in database `{database}`"),
        ("sequence", Some(name)) => format!("sequence `{name}` in database `{database}`"),
        (kind, _) => format!("{kind} in database `{database}`"),
    }
}

/// The databases that the evidence has counts of, as the evidence writes them.
pub(crate) fn databases(evidence: &Evidence) -> BTreeSet<String> {
    entries(evidence)
        .filter_map(|(entry, _)| entry.split('/').next())
        .map(str::to_owned)
        .collect()
}

fn entries(evidence: &Evidence) -> impl Iterator<Item = (&str, &str)> {
    let packed = evidence.under(KEY);
    packed
        .flat_map(|(_, packed)| packed.split(' '))
        .filter_map(|one| one.rsplit_once('='))
}

/// Records sums and, as far as they fit, entries.
pub(crate) fn record(evidence: &mut Evidence, before: &Counts, after: &Counts) {
    for kind in KINDS {
        evidence.set(kind, before.sum(kind));
    }
    if before.counts_rows() {
        evidence.set("rows", before.sum("rows"));
    } else {
        evidence.set("rows", "not counted");
    }
    evidence.set("stood-still", if before == after { "yes" } else { "no" });
    let mut values = packed(before, after, |_| true);
    if values.len() > VALUES {
        evidence.set("counts", TOO_MANY);
        values = packed(before, after, is_kind);
    }
    if values.len() > VALUES {
        return;
    }
    for (number, value) in values.iter().enumerate() {
        if !value.is_empty() {
            evidence.set(&format!("{KEY}{}", number + 1), value);
        }
    }
}

/// Entries, packed into values of evidence.
fn packed(before: &Counts, after: &Counts, wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let mut values = vec![String::new()];
    for (entry, value) in before.0.iter().filter(|(entry, _)| wanted(entry)) {
        let now = after.0.get(entry).map_or("gone", String::as_str);
        let one = if now == value {
            format!("{entry}={value}")
        } else {
            format!("{entry}={value}..{now}")
        };
        match values.last_mut() {
            Some(packed) if packed.is_empty() => *packed = one,
            Some(packed) if packed.len() + 1 + one.len() <= PACKED => {
                packed.push(' ');
                packed.push_str(&one);
            }
            Some(_) | None => values.push(one),
        }
    }
    values
}

/// A name without what evidence cannot hold or what would end it: percent-encoded.
pub(crate) fn escaped(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_$.-".contains(&byte);
    name.bytes()
        .map(|byte| {
            if plain(byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}
