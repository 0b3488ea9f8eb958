//! From a pod object to what the runtime starts: environment, command, volumes. What a pod names
//! and the cluster lacks is an error for the pod's status; values of Secrets are in no error.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::document;
use crate::faults::{Board, Circumstance, Fault};
use crate::pods::{ContainerSpec, MountSpec, VolumeSource, VolumeSpec};
use crate::store::Store;

/// Why a pod cannot start yet, in the words of the kubelet.
pub(crate) type Obstacle = String;

/// Where the pieces come from.
pub(crate) struct Sources<'a> {
    pub(crate) store: &'a Store,
    pub(crate) faults: &'a Board,
    pub(crate) volumes: &'a Path,
    pub(crate) pod: &'a Value,
    /// The pod's address, for `status.podIP`.
    pub(crate) address: String,
}

impl Sources<'_> {
    fn namespace(&self) -> &str {
        document::namespace(self.pod)
    }

    /// A container ready to start.
    pub(crate) fn container(&self, container: &Value) -> Result<ContainerSpec, Obstacle> {
        let env = self.environment(container)?;
        let mut command = document::texts(container, "/command");
        command.extend(document::texts(container, "/args"));
        if command.is_empty() {
            return Err("container has no command, and a local cluster has no images".to_owned());
        }
        let command = command.iter().map(|word| expand(word, &env)).collect();
        let user = document::number(container, "/securityContext/runAsUser")
            .or_else(|| document::number(self.pod, "/spec/securityContext/runAsUser"))
            .and_then(|user| u32::try_from(user).ok());
        let folder = document::text(container, "/workingDir");
        let mounts = document::items(container, "/volumeMounts")
            .iter()
            .map(|mount| MountSpec {
                volume: document::text(mount, "/name").to_owned(),
                path: document::text(mount, "/mountPath").to_owned(),
                read_only: document::flag(mount, "/readOnly"),
                sub_path: Some(document::text(mount, "/subPath").to_owned())
                    .filter(|path| !path.is_empty()),
            })
            .collect();
        Ok(ContainerSpec {
            name: document::text(container, "/name").to_owned(),
            command,
            env,
            working_dir: Some(folder.to_owned()).filter(|folder| !folder.is_empty()),
            run_as_user: user,
            mounts,
        })
    }

    fn environment(&self, container: &Value) -> Result<Vec<(String, String)>, Obstacle> {
        let mut env: Vec<(String, String)> = Vec::new();
        for source in document::items(container, "/envFrom") {
            let prefix = document::text(source, "/prefix");
            for (kind, member) in [("ConfigMap", "configMapRef"), ("Secret", "secretRef")] {
                let Some(reference) = source.get(member) else {
                    continue;
                };
                for (key, value) in self.data(kind, reference, "/name")? {
                    put(&mut env, format!("{prefix}{key}"), lossy(&value));
                }
            }
        }
        for variable in document::items(container, "/env") {
            let name = document::text(variable, "/name").to_owned();
            let value = match variable.get("valueFrom") {
                None => Some(expand(document::text(variable, "/value"), &env)),
                Some(source) => self.value_from(source)?,
            };
            if let Some(value) = value {
                put(&mut env, name, value);
            }
        }
        Ok(env)
    }

    fn value_from(&self, source: &Value) -> Result<Option<String>, Obstacle> {
        for (kind, member) in [("ConfigMap", "configMapKeyRef"), ("Secret", "secretKeyRef")] {
            let Some(reference) = source.get(member) else {
                continue;
            };
            let key = document::text(reference, "/key");
            let optional = document::flag(reference, "/optional");
            return match self.data(kind, reference, "/name")?.get(key) {
                Some(value) => Ok(Some(lossy(value))),
                None if optional => Ok(None),
                None => Err(format!(
                    "couldn't find key {key} in {kind} {}/{}",
                    self.namespace(),
                    document::text(reference, "/name")
                )),
            };
        }
        let field = document::text(source, "/fieldRef/fieldPath");
        if field == "status.podIP" {
            return Ok(Some(self.address.clone()));
        }
        let pointer = match field.split_once("['") {
            Some((map, key)) => {
                let key = document::segment(key.trim_end_matches("']"));
                format!("/{}/{key}", map.replace('.', "/"))
            }
            None => format!("/{}", field.replace('.', "/")),
        };
        Ok(Some(document::text(self.pod, &pointer).to_owned()))
    }

    /// The entries of a ConfigMap or Secret; none if the reference is optional and it is missing.
    fn data(
        &self,
        kind: &str,
        reference: &Value,
        name: &str,
    ) -> Result<BTreeMap<String, Vec<u8>>, Obstacle> {
        let name = document::text(reference, name);
        let collection = if kind == "Secret" {
            "secrets"
        } else {
            "configmaps"
        };
        let Some(object) = self.store.get(collection, self.namespace(), name) else {
            if document::flag(reference, "/optional") {
                return Ok(BTreeMap::new());
            }
            return Err(format!("{} \"{name}\" not found", kind.to_lowercase()));
        };
        let mut data = BTreeMap::new();
        for (key, value) in document::entries(&object, "/data") {
            let text = value.as_str().unwrap_or_default();
            let bytes = if kind == "Secret" {
                STANDARD.decode(text).unwrap_or_default()
            } else {
                text.as_bytes().to_vec()
            };
            data.insert(key.to_owned(), bytes);
        }
        for (key, value) in document::entries(&object, "/binaryData") {
            let bytes = STANDARD
                .decode(value.as_str().unwrap_or_default())
                .unwrap_or_default();
            data.insert(key.to_owned(), bytes);
        }
        Ok(data)
    }

    /// The volumes of the pod.
    pub(crate) fn volumes(&self) -> Result<Vec<VolumeSpec>, Obstacle> {
        document::items(self.pod, "/spec/volumes")
            .iter()
            .map(|volume| {
                let name = document::text(volume, "/name").to_owned();
                Ok(VolumeSpec {
                    name,
                    source: self.volume(volume)?,
                })
            })
            .collect()
    }

    fn volume(&self, volume: &Value) -> Result<VolumeSource, Obstacle> {
        if let Some(source) = volume.get("configMap") {
            return self
                .files("ConfigMap", source, "/name")
                .map(VolumeSource::Files);
        }
        if let Some(source) = volume.get("secret") {
            return self
                .files("Secret", source, "/secretName")
                .map(VolumeSource::Files);
        }
        if let Some(source) = volume.get("projected") {
            let mut files = BTreeMap::new();
            for source in document::items(source, "/sources") {
                for (kind, member) in [("ConfigMap", "configMap"), ("Secret", "secret")] {
                    if let Some(source) = source.get(member) {
                        files.extend(self.files(kind, source, "/name")?);
                    }
                }
            }
            return Ok(VolumeSource::Files(files));
        }
        if let Some(source) = volume.get("persistentVolumeClaim") {
            return self.claim(document::text(source, "/claimName"));
        }
        if let Some(source) = volume.get("emptyDir") {
            let size_limit = quantity(document::text(source, "/sizeLimit"));
            return Ok(VolumeSource::EmptyDir { size_limit });
        }
        let name = document::text(volume, "/name");
        Err(format!(
            "volume \"{name}\" is of a kind that a local cluster does not have"
        ))
    }

    fn files(
        &self,
        kind: &str,
        source: &Value,
        name: &str,
    ) -> Result<BTreeMap<String, Vec<u8>>, Obstacle> {
        let data = self.data(kind, source, name)?;
        let items = document::items(source, "/items");
        if items.is_empty() {
            return Ok(data);
        }
        let mut chosen = BTreeMap::new();
        for item in items {
            let key = document::text(item, "/key");
            let Some(bytes) = data.get(key) else {
                return Err(format!("references non-existent key: {key}"));
            };
            chosen.insert(document::text(item, "/path").to_owned(), bytes.clone());
        }
        Ok(chosen)
    }

    fn claim(&self, name: &str) -> Result<VolumeSource, Obstacle> {
        let limit = self.faults.strike(
            Circumstance {
                name,
                ..Circumstance::default()
            },
            |fault| match fault {
                Fault::LimitVolume { bytes } => Some(*bytes),
                _ => None,
            },
        );
        if limit.is_some() {
            return Ok(VolumeSource::EmptyDir { size_limit: limit });
        }
        let claim = self
            .store
            .get("persistentvolumeclaims", self.namespace(), name);
        let Some(claim) = claim else {
            return Err(format!("persistentvolumeclaim \"{name}\" not found"));
        };
        let volume = document::text(&claim, "/spec/volumeName");
        if volume.is_empty() || document::text(&claim, "/status/phase") != "Bound" {
            return Err(format!("persistentvolumeclaim \"{name}\" is not bound"));
        }
        Ok(VolumeSource::HostFolder(
            PathBuf::from(self.volumes).join(volume),
        ))
    }
}

fn put(env: &mut Vec<(String, String)>, name: String, value: String) {
    env.retain(|(known, _)| *known != name);
    env.push((name, value));
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Replaces `$(NAME)` by a variable that is known; `$$(NAME)` stays as `$(NAME)`.
fn expand(text: &str, env: &[(String, String)]) -> String {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        if let Some(escaped) = after.strip_prefix('$') {
            expanded.push('$');
            rest = escaped;
            continue;
        }
        let reference = after
            .strip_prefix('(')
            .and_then(|after| after.split_once(')'));
        let known = reference.and_then(|(name, after)| {
            env.iter()
                .find(|(known, _)| known == name)
                .map(|(_, value)| (value, after))
        });
        match known {
            Some((value, after)) => {
                expanded.push_str(value);
                rest = after;
            }
            None => {
                expanded.push('$');
                rest = after;
            }
        }
    }
    expanded + rest
}

/// The bytes of a quantity such as `64Mi`.
fn quantity(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let number: u64 = digits.parse().ok()?;
    let factor = match text.get(digits.len()..)? {
        "" => 1,
        "k" => 1000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_expand_as_the_kubelet_does_it() {
        let env = [("A".to_owned(), "1".to_owned())];
        assert_eq!(expand("x$(A)y$(B)z$$(A)", &env), "x1y$(B)z$(A)");
        assert_eq!(expand("cost $5 $(A", &env), "cost $5 $(A");
    }

    #[test]
    fn quantities_are_bytes() {
        assert_eq!(quantity("64Mi"), Some(64 << 20));
        assert_eq!(quantity("5M"), Some(5_000_000));
        assert_eq!(quantity("x"), None);
    }
}
