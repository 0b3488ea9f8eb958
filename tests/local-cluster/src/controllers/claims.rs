//! Claims for persistent volumes: bound at once to a folder of the host, which goes when the claim
//! and the pods that mount it have gone.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use super::Ground;
use crate::document::{self, set};
use crate::volume_templates::{self, volume_of};

const COLLECTION: &str = "persistentvolumeclaims";

/// Binds new claims and removes the folders of those that are gone.
pub(crate) fn reconcile(ground: &Ground) {
    let (_, claims) = ground.store.list(COLLECTION, None);
    for claim in &claims {
        if document::is_terminating(claim) {
            release(ground, claim);
        } else if document::text(claim, "/status/phase") != "Bound" {
            bind(ground, claim);
        }
    }
    let (_, claims) = ground.store.list(COLLECTION, None);
    let kept: BTreeSet<String> = claims.iter().map(|claim| volume_of(claim)).collect();
    if let Err(error) = remove_others(ground, &kept) {
        tracing::warn!("failed to remove the volume of a claim that is gone: {error}");
    }
}

fn bind(ground: &Ground, claim: &Value) {
    let volume = volume_of(claim);
    let (namespace, name) = (document::namespace(claim), document::name(claim));
    let template = volume_templates::find(ground.templates.as_deref(), name);
    if let Err(error) = make_folder(&ground.volumes.join(&volume), template.as_deref()) {
        tracing::warn!("failed to make the volume of a claim: {error:#}");
        return;
    }
    ground.store.amend(COLLECTION, namespace, name, |claim| {
        set(claim, "/spec/volumeName", json!(volume));
        let capacity = claim
            .pointer("/spec/resources/requests")
            .cloned()
            .unwrap_or(json!({}));
        let modes = claim
            .pointer("/spec/accessModes")
            .cloned()
            .unwrap_or(json!([]));
        set(
            claim,
            "/status",
            json!({"phase": "Bound", "accessModes": modes, "capacity": capacity}),
        );
    });
}

/// Lets a deleted claim go when no pod mounts it any more.
fn release(ground: &Ground, claim: &Value) {
    let (namespace, name) = (document::namespace(claim), document::name(claim));
    let (_, pods) = ground.store.list("pods", Some(namespace));
    let mounted = pods.iter().any(|pod| {
        let volumes = document::items(pod, "/spec/volumes").iter();
        volumes
            .map(|volume| document::text(volume, "/persistentVolumeClaim/claimName"))
            .any(|claim| claim == name)
    });
    if !mounted {
        ground
            .store
            .remove(COLLECTION, namespace, name, Some(document::uid(claim)));
    }
}

/// Every user of a pod may write at the root of a volume, as with `fsGroup`.
fn make_folder(path: &Path, template: Option<&Path>) -> anyhow::Result<()> {
    match template {
        Some(template) => volume_templates::copy(template, path)?,
        None => fs_err::create_dir_all(path)?,
    }
    Ok(fs_err::set_permissions(
        path,
        std::fs::Permissions::from_mode(0o777),
    )?)
}

fn remove_others(ground: &Ground, kept: &BTreeSet<String>) -> std::io::Result<()> {
    for entry in fs_err::read_dir(&ground.volumes)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !kept.contains(&name) {
            fs_err::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}
