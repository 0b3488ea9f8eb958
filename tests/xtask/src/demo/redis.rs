//! The demo's Redis data: keys of every type in two databases, their proof and their destruction, with
//! the plain client in the pod. Knows nothing of `redis-config` or of the restore's dance.

use anyhow::{Context as _, bail};

use crate::kubectl::{Kubectl, Place};

/// Writes keys the way backend-listener and sidekiq do, from their numbers alone.
const SEED: &str = include_str!("seed.lua");

/// One digest over all keys of all databases in the order of their names, each with its type, its
/// expiry and its members in an order that does not depend on the server's memory.
const PROOF: &str = include_str!("proof.lua");

/// Fills the server with `count` keys and a few hundred more.
pub(super) fn seed(kubectl: &Kubectl, place: &Place, count: u32) -> anyhow::Result<()> {
    let answer = client(kubectl, place, &["EVAL", SEED, "0", &count.to_string()])?;
    if answer != "seeded" {
        bail!("failed to seed Redis: {answer}");
    }
    Ok(())
}

/// A digest of all keys, types, values and expiries.
pub(crate) fn proof(kubectl: &Kubectl, place: &Place) -> anyhow::Result<String> {
    let answer = client(kubectl, place, &["EVAL", PROOF, "0"])?;
    let digest = answer.rsplit(' ').next().unwrap_or_default();
    if answer != "empty"
        && !(digest.len() == 40 && digest.bytes().all(|digit| digit.is_ascii_hexdigit()))
    {
        bail!("Redis could not be proven: {answer}");
    }
    Ok(answer)
}

/// Destroys all keys, in memory and on disk, as an administrator's slip would.
pub(crate) fn destroy(kubectl: &Kubectl, place: &Place) -> anyhow::Result<()> {
    let answer = client(kubectl, place, &["FLUSHALL"])?;
    if answer != "OK" {
        bail!("failed to empty Redis: {answer}");
    }
    Ok(())
}

fn client(kubectl: &Kubectl, place: &Place, words: &[&str]) -> anyhow::Result<String> {
    let mut command = vec!["redis-cli", "--raw"];
    command.extend(words);
    let answer = kubectl.exec(place, &command, b"")?;
    let answer = String::from_utf8(answer).context("redis-cli did not print UTF-8")?;
    Ok(answer.trim_end().to_owned())
}
