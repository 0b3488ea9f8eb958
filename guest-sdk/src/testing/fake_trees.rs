//! Folder trees of the fake host: only names and bytes, in an archive of its own.

use std::collections::BTreeMap;

use super::World;
use crate::error::{Error, Result};
use crate::evidence::Evidence;
use crate::host::{LoadOptions, TreeSummary};

/// The host's evidence of a tree, as far as modules look at it.
pub(super) fn save(world: &World, place: &str, artifact: &str) -> Result<TreeSummary> {
    let tree = below(world, place);
    if tree.is_empty() {
        return Err(Error::NotFound(format!("there is no folder `{place}`")));
    }
    let mut packed = Vec::new();
    for (name, bytes) in &tree {
        packed.extend_from_slice(format!("{name}\n{}\n", bytes.len()).as_bytes());
        packed.extend_from_slice(bytes);
    }
    let summary = summary(tree.values());
    let evidence = Evidence::new()
        .with("files", summary.files)
        .with("archive-bytes", packed.len());
    world.put_artifact(artifact, packed, evidence);
    Ok(summary)
}

pub(super) fn load(
    world: &World,
    artifact: &str,
    place: &str,
    options: LoadOptions,
    only: &[&str],
) -> Result<TreeSummary> {
    let packed = world
        .artifact(artifact)
        .ok_or_else(|| Error::NotFound(format!("there is no artifact `{artifact}`")))?;
    let saved = unpack(&packed)
        .ok_or_else(|| Error::invalid(format!("artifact `{artifact}` is no tree")))?;
    let asked = |name: &str| {
        only.is_empty()
            || only.iter().any(|one| {
                name.strip_prefix(one)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
    };
    if let Some(missing) = only.iter().find(|one| {
        !saved
            .keys()
            .any(|name| asked(name) && name.starts_with(**one))
    }) {
        return Err(Error::NotFound(format!("the tree has no `{missing}`")));
    }
    let there = below(world, place);
    let mut loaded = summary(
        saved
            .iter()
            .filter(|(name, _)| asked(name))
            .map(|(_, bytes)| bytes),
    );
    for (name, bytes) in saved.iter().filter(|(name, _)| asked(name)) {
        if there.get(name) == Some(bytes) {
            loaded.unchanged += 1;
            loaded.files -= 1;
        }
        world.put_file(&format!("{place}/{name}"), bytes.clone());
    }
    if options.delete_extraneous {
        for name in there
            .keys()
            .filter(|name| asked(name) && !saved.contains_key(*name))
        {
            world.remove_file(&format!("{place}/{name}"));
            loaded.removed += 1;
        }
    }
    Ok(loaded)
}

fn below(world: &World, place: &str) -> BTreeMap<String, Vec<u8>> {
    let folder = format!("{place}/");
    let files = world.files().into_iter();
    files
        .filter_map(|file| {
            let bytes = world.file(&file)?;
            Some((file.strip_prefix(&folder)?.to_owned(), bytes))
        })
        .collect()
}

fn summary<'a>(files: impl Iterator<Item = &'a Vec<u8>>) -> TreeSummary {
    files.fold(TreeSummary::default(), |sum, bytes| TreeSummary {
        files: sum.files + 1,
        bytes: sum.bytes + bytes.len() as u64,
        ..sum
    })
}

fn unpack(mut packed: &[u8]) -> Option<BTreeMap<String, Vec<u8>>> {
    let mut tree = BTreeMap::new();
    while !packed.is_empty() {
        let mut parts = packed.splitn(3, |byte| *byte == b'\n');
        let name = String::from_utf8(parts.next()?.to_vec()).ok()?;
        let length: usize = std::str::from_utf8(parts.next()?).ok()?.parse().ok()?;
        let (bytes, rest) = parts.next()?.split_at_checked(length)?;
        tree.insert(name, bytes.to_vec());
        packed = rest;
    }
    Some(tree)
}
