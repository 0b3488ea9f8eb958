//! The demo's folder of files: odd names, modes, links and a file of some size, their proof and their
//! destruction, with plain programs in the pod.

use anyhow::Context as _;

use crate::kubectl::{Kubectl, Place};

/// What a developer portal holds, and what is hard to keep: from numbers alone.
const SEED: &str = "mkdir -p logos css empty && chmod 2770 css \
    && i=0; while [ $i -lt 300 ]; do seq $i $((i * 7)) > css/style-$i.css; i=$((i + 1)); done \
    && seq 1 400000 > large.js && chmod 640 large.js \
    && printf png > logos/acme.png && ln logos/acme.png twin.png && ln -s logos/acme.png link \
    && printf odd > \"$(printf 'line\\nbreak \\344')\" && : > ./-rf \
    && touch -d '2001-02-03 04:05:06.789' logos/acme.png";

/// Names, kinds, modes, times of files, targets of links, and every byte.
const PROOF: &str = "export LC_ALL=C; count=$(find . -mindepth 1 -printf . | wc -c) \
    && [ \"$count\" -gt 0 ] || { echo empty; exit; } \
    && { find . -mindepth 1 ! -type f -printf '%P %y %m %l\\0' | sort -z; \
         find . -type f -printf '%P %y %m %n %T@\\0' | sort -z; \
         find . -type f -print0 | sort -z | xargs -0 sha256sum; } | sha256sum \
    | { read -r digest _; echo \"$count entries $digest\"; }";

/// Fills the folder.
pub(super) fn seed(kubectl: &Kubectl, place: &Place, folder: &str) -> anyhow::Result<()> {
    shell(kubectl, place, folder, SEED).map(drop)
}

/// How many entries there are, and a digest of all that is to come back; `empty` when there is nothing.
pub(crate) fn proof(kubectl: &Kubectl, place: &Place, folder: &str) -> anyhow::Result<String> {
    shell(kubectl, place, folder, PROOF)
}

/// Removes all of it, as an administrator's slip would.
pub(crate) fn destroy(kubectl: &Kubectl, place: &Place, folder: &str) -> anyhow::Result<()> {
    shell(kubectl, place, folder, "find . -mindepth 1 -delete").map(drop)
}

/// Runs a shell line in the folder.
pub(crate) fn shell(
    kubectl: &Kubectl,
    place: &Place,
    folder: &str,
    line: &str,
) -> anyhow::Result<String> {
    let words = ["sh", "-c", "cd \"$1\" && eval \"$2\"", "sh", folder, line];
    let answer = kubectl.exec(place, &words, b"")?;
    let answer = String::from_utf8(answer).context("the shell did not print UTF-8")?;
    Ok(answer.trim_end().to_owned())
}
