//! The folders of the host behind a pod's volumes.
//!
//! Everything that ends with a pod lies under the pod's own scratch folder; a folder that outlives
//! it is made if missing and never removed.

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, ensure};

use super::spec::{ContainerSpec, MountSpec, VolumeSource, VolumeSpec};
use super::wire::{PlannedMount, SizedFolder};

/// The link in a volume of files that is turned over to replace all of them at once.
const CURRENT: &str = "..data";

/// The volumes of one pod, ready to be mounted.
#[derive(Debug)]
pub(crate) struct Volumes {
    ready: BTreeMap<String, Volume>,
}

/// What the kubelet has in the path of an emptyDir: who looks at the mounts of a pod knows it by that.
const EMPTY_DIR: &str = "kubernetes.io~empty-dir";

#[derive(Debug)]
struct Volume {
    folder: PathBuf,
    size_limit: Option<u64>,
    holds_files: bool,
}

impl Volumes {
    /// Makes the folders. Those that end with the pod are made below `scratch`.
    pub(crate) fn prepare(scratch: &Path, specs: &[VolumeSpec]) -> anyhow::Result<Self> {
        let mut ready = BTreeMap::new();
        for spec in specs {
            check_word(&spec.name)?;
            let own = scratch.join(&spec.name);
            let volume = match &spec.source {
                VolumeSource::HostFolder(folder) => {
                    open_to_all(folder)?;
                    let folder = fs_err::canonicalize(folder)?;
                    Volume {
                        folder,
                        size_limit: None,
                        holds_files: false,
                    }
                }
                VolumeSource::EmptyDir { size_limit } => {
                    let folder = scratch.join(EMPTY_DIR).join(&spec.name);
                    open_to_all(&folder)?;
                    Volume {
                        folder,
                        size_limit: *size_limit,
                        holds_files: false,
                    }
                }
                VolumeSource::Files(files) => {
                    fs_err::create_dir_all(&own)?;
                    replace_files(&own, files)?;
                    Volume {
                        folder: own,
                        size_limit: None,
                        holds_files: true,
                    }
                }
            };
            ready.insert(spec.name.clone(), volume);
        }
        Ok(Self { ready })
    }

    /// The folders that are to be covered by file systems of a limited size.
    pub(crate) fn sized_folders(&self) -> Vec<SizedFolder> {
        let sized = |volume: &Volume| {
            Some(SizedFolder {
                path: volume.folder.clone(),
                bytes: volume.size_limit?,
            })
        };
        self.ready.values().filter_map(sized).collect()
    }

    /// What a container mounts, and where.
    pub(crate) fn plan(&self, container: &ContainerSpec) -> anyhow::Result<Vec<PlannedMount>> {
        container
            .mounts
            .iter()
            .map(|mount| self.plan_one(mount))
            .collect()
    }

    fn plan_one(&self, mount: &MountSpec) -> anyhow::Result<PlannedMount> {
        let MountSpec {
            volume: name,
            path,
            read_only,
            sub_path,
        } = mount;
        let volume = self
            .ready
            .get(name)
            .with_context(|| format!("the pod has no volume `{name}`"))?;
        ensure!(
            path.starts_with('/'),
            "the mount path `{path}` is not absolute"
        );
        check_no_way_up(Path::new(path))?;
        let sub_path = sub_path.as_ref().filter(|path| !path.is_empty());
        if let Some(sub_path) = sub_path {
            ensure!(
                !sub_path.starts_with('/'),
                "the sub-path `{sub_path}` is absolute"
            );
            check_no_way_up(Path::new(sub_path))?;
        }
        Ok(PlannedMount {
            source: volume.folder.clone(),
            sub_path: sub_path.cloned(),
            target: path.clone(),
            read_only: *read_only || volume.holds_files,
        })
    }

    /// Replaces all files of a volume made of files, in one step for whoever reads them.
    pub(crate) fn replace(
        &self,
        name: &str,
        files: &BTreeMap<String, Vec<u8>>,
    ) -> anyhow::Result<()> {
        let volume = self
            .ready
            .get(name)
            .with_context(|| format!("the pod has no volume `{name}`"))?;
        ensure!(
            volume.holds_files,
            "the volume `{name}` is not made of files"
        );
        replace_files(&volume.folder, files)
    }
}

/// A folder that any user of a container may write to, as provisioners make them. One that holds
/// something already has got its owner and mode from a server, which must find them again.
fn open_to_all(folder: &Path) -> anyhow::Result<()> {
    fs_err::create_dir_all(folder)?;
    if fs_err::read_dir(folder)?.next().is_none() {
        fs_err::set_permissions(folder, std::fs::Permissions::from_mode(0o777))?;
    }
    Ok(())
}

/// Lays the files out as Kubernetes does: each name links through `..data` to the current folder.
fn replace_files(volume: &Path, files: &BTreeMap<String, Vec<u8>>) -> anyhow::Result<()> {
    let old = fs_err::read_link(volume.join(CURRENT)).ok();
    let generation = fresh_name(volume, old.as_deref());
    fs_err::create_dir(volume.join(&generation))?;
    for (name, bytes) in files {
        check_word(name)?;
        fs_err::write(volume.join(&generation).join(name), bytes)?;
    }
    let turned = volume.join("..data_new");
    symlink(&generation, &turned)
        .with_context(|| format!("failed to link `{}`", turned.display()))?;
    fs_err::rename(turned, volume.join(CURRENT))?;
    for name in files.keys() {
        let link = volume.join(name);
        if !link.is_symlink() {
            let target = Path::new(CURRENT).join(name);
            symlink(target, &link)
                .with_context(|| format!("failed to link `{}`", link.display()))?;
        }
    }
    for entry in fs_err::read_dir(volume)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with("..") && !files.contains_key(&name) {
            fs_err::remove_file(entry.path())?;
        }
    }
    if let Some(old) = old {
        fs_err::remove_dir_all(volume.join(old))?;
    }
    Ok(())
}

fn fresh_name(volume: &Path, old: Option<&Path>) -> String {
    (1..)
        .map(|number: u64| format!("..{number}"))
        .find(|name| Some(Path::new(name)) != old && !volume.join(name).exists())
        .unwrap_or_default()
}

/// Refuses a name that would lead out of the folder it is put in.
pub(crate) fn check_word(word: &str) -> anyhow::Result<()> {
    let is_word = !word.is_empty() && word != "." && word != ".." && !word.contains(['/', '\0']);
    ensure!(
        is_word,
        "`{}` cannot be the name of a file",
        word.escape_debug()
    );
    Ok(())
}

fn check_no_way_up(path: &Path) -> anyhow::Result<()> {
    let is_plain = !path.components().any(|part| part == Component::ParentDir);
    ensure!(is_plain, "the path `{}` has a `..` in it", path.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(pairs: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
        pairs
            .iter()
            .map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec()))
            .collect()
    }

    fn prepare(scratch: &Path, name: &str, source: VolumeSource) -> anyhow::Result<Volumes> {
        Volumes::prepare(
            scratch,
            &[VolumeSpec {
                name: name.to_owned(),
                source,
            }],
        )
    }

    fn mount(path: &str, sub_path: Option<&str>) -> MountSpec {
        let sub_path = sub_path.map(str::to_owned);
        MountSpec {
            volume: "settings".to_owned(),
            path: path.to_owned(),
            read_only: false,
            sub_path,
        }
    }

    #[test]
    fn files_are_replaced_as_a_whole_and_old_ones_go() {
        let scratch = tempfile::tempdir().unwrap();
        let volumes = prepare(
            scratch.path(),
            "settings",
            VolumeSource::Files(files(&[("a", "1"), ("b", "2")])),
        )
        .unwrap();
        let folder = scratch.path().join("settings");
        assert_eq!(fs_err::read_to_string(folder.join("a")).unwrap(), "1");
        assert_eq!(
            fs_err::read_link(folder.join("b")).unwrap(),
            Path::new("..data/b")
        );
        for text in ["3", "4"] {
            volumes.replace("settings", &files(&[("a", text)])).unwrap();
            assert_eq!(fs_err::read_to_string(folder.join("a")).unwrap(), text);
        }
        assert!(!folder.join("b").is_symlink());
        // The link, the file and one folder of contents.
        assert_eq!(fs_err::read_dir(&folder).unwrap().count(), 3);
    }

    #[test]
    fn files_are_read_only_even_if_the_mount_does_not_say_so() {
        let scratch = tempfile::tempdir().unwrap();
        let volumes = prepare(scratch.path(), "settings", VolumeSource::Files(files(&[]))).unwrap();
        assert!(
            volumes
                .plan_one(&mount("/etc/settings", None))
                .unwrap()
                .read_only
        );
    }

    #[test]
    fn a_path_that_leads_out_of_its_folder_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let volumes = prepare(
            scratch.path(),
            "settings",
            VolumeSource::EmptyDir { size_limit: None },
        )
        .unwrap();
        for (path, sub_path) in [
            ("/a", Some("../b")),
            ("/a", Some("/b")),
            ("/a/../b", None),
            ("a", None),
        ] {
            volumes.plan_one(&mount(path, sub_path)).unwrap_err();
        }
        let planned = volumes.plan_one(&mount("/a", Some("b/c"))).unwrap();
        let place = scratch.path().join("kubernetes.io~empty-dir/settings");
        assert_eq!(planned.source, place);
        prepare(
            scratch.path(),
            "../x",
            VolumeSource::EmptyDir { size_limit: None },
        )
        .unwrap_err();
        prepare(
            scratch.path(),
            "x",
            VolumeSource::Files(files(&[("../y", "")])),
        )
        .unwrap_err();
    }

    #[test]
    fn a_folder_with_contents_keeps_its_mode() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("data");
        fs_err::create_dir(&folder).unwrap();
        let mode = || fs_err::metadata(&folder).unwrap().permissions().mode() & 0o777;
        prepare(
            scratch.path(),
            "data",
            VolumeSource::HostFolder(folder.clone()),
        )
        .unwrap();
        assert_eq!(mode(), 0o777);
        fs_err::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).unwrap();
        fs_err::write(folder.join("table"), "").unwrap();
        prepare(
            scratch.path(),
            "data",
            VolumeSource::HostFolder(folder.clone()),
        )
        .unwrap();
        assert_eq!(mode(), 0o700);
    }
}
