//! Texts that become artifacts, and artifacts that are read as texts.

use cofferdam_guest_sdk::{Error, Evidence, Host, Result};
use sha2::{Digest, Sha256};

/// What one call of the host takes and gives.
const CHUNK: u32 = 512 * 1024;
/// A log is no larger: four commands of 4 MiB each.
const LONGEST: usize = 16 * 1024 * 1024;

/// Keeps a text as an artifact, with its length and digest in the evidence.
pub(crate) fn keep(host: &dyn Host, artifact: &str, text: &str, evidence: Evidence) -> Result<()> {
    let mut new = host.new_artifact(artifact, "text/plain")?;
    for chunk in text.as_bytes().chunks(CHUNK as usize) {
        new.sink().write(chunk)?;
    }
    let evidence = evidence
        .with("bytes", text.len())
        .with("sha256", hex::encode(Sha256::digest(text.as_bytes())));
    new.commit(&evidence)
}

/// Reads a text to its proven end and holds it against its evidence.
pub(crate) fn read(host: &dyn Host, artifact: &str) -> Result<(String, Evidence)> {
    let evidence = host.evidence(artifact)?;
    let mut source = host.open_artifact(artifact)?;
    let mut bytes = Vec::new();
    loop {
        let chunk = source.read(CHUNK)?;
        if chunk.is_empty() {
            break;
        }
        bytes.extend_from_slice(&chunk);
        if bytes.len() > LONGEST {
            return Err(Error::failed(
                "too-long",
                format!("artifact `{artifact}` is longer than any that this module makes"),
            ));
        }
    }
    let digest = hex::encode(Sha256::digest(&bytes));
    if evidence.get("sha256") != Some(digest.as_str()) {
        return Err(Error::failed(
            "not-the-same",
            format!(
                "`{artifact}` has digest `{digest}`, but its evidence says `{}`",
                evidence.get("sha256").unwrap_or("none")
            ),
        ));
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| Error::failed("not-text", format!("artifact `{artifact}` is no UTF-8")))?;
    Ok((text, evidence))
}

/// A number that the evidence must have.
pub(crate) fn number(evidence: &Evidence, key: &str) -> Result<u64> {
    evidence.number(key).ok_or_else(|| {
        Error::failed(
            "no-evidence",
            format!("the evidence has no number `{key}`: this snapshot cannot be used"),
        )
    })
}

/// A word that the evidence must have.
pub(crate) fn word<'a>(evidence: &'a Evidence, key: &str) -> Result<&'a str> {
    evidence
        .get(key)
        .filter(|value| !value.is_empty())
        .ok_or_else(|| {
            Error::failed(
                "no-evidence",
                format!("the evidence has no `{key}`: this snapshot cannot be used"),
            )
        })
}

/// A text of the server in a form that evidence takes: one line, no control characters, bounded.
pub(crate) fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(400).collect()
}
