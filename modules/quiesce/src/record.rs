//! What a backup notes of a workload that it stopped.
//!
//! The artifact is a few lines for people and other tools. It counts only where its evidence says
//! the same.

use std::collections::BTreeMap;

use cofferdam_guest_sdk::{Context, Error, Evidence, Host, Result};

use crate::queues::Depth;

/// The artifact of this module.
pub(crate) const ARTIFACT: &str = "quiesce.txt";
/// More than 500 queues with names of 4 KiB do not come together.
const MOST_BYTES: usize = 4 * 1024 * 1024;
/// One read.
const READ_BYTES: u32 = 64 * 1024;

/// A workload as it was when it was stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) kind: String,
    pub(crate) name: String,
    /// How many it had before.
    pub(crate) replicas: u32,
    /// What was queued once it had stopped; `None` where no queues are bound.
    pub(crate) depth: Option<Depth>,
}

impl Record {
    pub(crate) fn keep(&self, host: &dyn Host) -> Result<()> {
        let mut artifact = host.new_artifact(ARTIFACT, "text/plain")?;
        artifact
            .sink()
            .write(self.text().as_bytes())
            .context("failed to write the note")?;
        artifact.commit(&self.evidence())
    }

    pub(crate) fn read(host: &dyn Host) -> Result<Self> {
        let evidence = host.evidence(ARTIFACT)?;
        let text = read_text(host)?;
        let record = Self::parse(&text).filter(|record| record.text() == text);
        record
            .filter(|record| record.evidence() == evidence)
            .ok_or_else(|| {
                Error::failed(
                    "not-a-note",
                    format!("artifact `{ARTIFACT}` is not what its evidence says"),
                )
            })
    }

    fn evidence(&self) -> Evidence {
        let evidence = Evidence::new()
            .with("kind", &self.kind)
            .with("name", &self.name)
            .with("replicas", self.replicas);
        match &self.depth {
            None => evidence.with("drained", "not looked at"),
            Some(depth) => evidence
                .with("drained", if depth.jobs() == 0 { "yes" } else { "no" })
                .with("queues", depth.queues.len())
                .with("jobs", depth.jobs())
                .with("jobs-for-later", depth.later()),
        }
    }

    /// A fact a line. Names stand last: whatever a queue is called, it has no line break, since it was
    /// one line of the server's answer.
    fn text(&self) -> String {
        let mut text = format!(
            "workload {} {}\nreplicas {}\n",
            self.kind, self.name, self.replicas
        );
        let Some(depth) = &self.depth else {
            return text;
        };
        let drained = if depth.jobs() == 0 { "yes" } else { "no" };
        text.push_str(&format!("drained {drained}\n"));
        for (word, of) in [("queue", &depth.queues), ("later", &depth.later)] {
            for (name, count) in of {
                text.push_str(&format!("{word} {count} {name}\n"));
            }
        }
        text
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let (kind, name) = lines.next()?.strip_prefix("workload ")?.split_once(' ')?;
        let replicas = lines.next()?.strip_prefix("replicas ")?.parse().ok()?;
        let mut record = Self {
            kind: kind.to_owned(),
            name: name.to_owned(),
            replicas,
            depth: None,
        };
        if lines.next().is_none() {
            return Some(record);
        }
        let (mut queues, mut later) = (BTreeMap::new(), BTreeMap::new());
        for line in lines {
            let (word, rest) = line.split_once(' ')?;
            let (count, name) = rest.split_once(' ')?;
            let of = match word {
                "queue" => &mut queues,
                "later" => &mut later,
                _ => return None,
            };
            of.insert(name.to_owned(), count.parse().ok()?);
        }
        record.depth = Some(Depth { queues, later });
        Some(record)
    }
}

fn read_text(host: &dyn Host) -> Result<String> {
    let mut source = host.open_artifact(ARTIFACT)?;
    let mut bytes = Vec::new();
    loop {
        let part = source.read(READ_BYTES)?;
        if part.is_empty() {
            break;
        }
        bytes.extend(part);
        if bytes.len() > MOST_BYTES {
            return Err(Error::failed(
                "not-a-note",
                format!("artifact `{ARTIFACT}` is longer than any note"),
            ));
        }
    }
    String::from_utf8(bytes)
        .map_err(|_| Error::failed("not-a-note", format!("artifact `{ARTIFACT}` is no text")))
}
