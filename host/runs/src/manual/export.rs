//! Writes the files of the manual procedure from a run's snapshots, with the way back by hand.
//!
//! Every artifact is read to its end, where the repository compares length and digest; one that is
//! not what was written ends the export, and nothing of it stays.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::PathBuf;

use bytes::{Buf, Bytes};
use cofferdam_policy::name::{DataSetName, PodPath, RoleName};
use cofferdam_policy::request::Target;
use cofferdam_repository::{
    ArtifactReader, ArtifactSummary, Repository, Snapshot, TREE_MEDIA_TYPE, TreeArchive, TreePath,
};
use flate2::Compression;
use flate2::read::GzEncoder;
use jiff::Timestamp;
use serde::Serialize;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::ManualError;
use super::guide::{self, Restorable};
use super::names::{FOLDER_PATH, Form, OBJECTS, TREE, dump_file, object_file, server};
use super::objects::{self, Object};
use super::sink::{FolderSink, Sink, TarSink, carry, unpack};
use crate::run::KeptRun;

/// As much of a list of objects as is read: the same as a restore reads.
const MAXIMUM_LIST: u64 = 256 * 1024 * 1024;
/// The file that says how to restore.
const GUIDE: &str = "RESTORE.md";
/// Enough of a dump to see its comment lines.
const HEAD: usize = 4096;

/// Where files go.
pub enum Destination {
    /// A folder that is not there yet, or is empty.
    Folder(PathBuf),
    /// One tar stream.
    Stream(Box<dyn Write + Send>),
}

impl std::fmt::Debug for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder(path) => f.debug_tuple("Folder").field(path).finish(),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

/// What is written, from where.
#[derive(Debug, Clone)]
pub struct Export {
    /// The repository.
    pub repository: Repository,
    /// The run.
    pub run: KeptRun,
    /// Only these data sets; all when empty.
    pub only: Vec<DataSetName>,
    /// Cancels it: nothing of it stays then.
    pub cancel: CancellationToken,
}

/// What was written.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Exported {
    /// The run.
    pub run: String,
    /// The files.
    pub files: Vec<ExportedFile>,
    /// What the run kept and the manual procedure has no file for.
    pub left_out: Vec<LeftOut>,
}

/// One file.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExportedFile {
    /// Its name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Of which data set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_set: Option<String>,
    /// Whether it holds a Secret, in base64 and no more.
    pub is_secret: bool,
}

/// Something that was not written.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LeftOut {
    /// The data set.
    pub data_set: String,
    /// The artifact; all of the data set when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact: Option<String>,
    /// Why.
    pub reason: String,
}

/// A dump that becomes a file.
struct Dump<'a> {
    data_set: &'a str,
    snapshot: &'a Snapshot,
    artifact: &'a ArtifactSummary,
    form: Form,
    file: String,
    target: Option<Target>,
}

/// A tree that becomes a folder.
struct Tree<'a> {
    data_set: &'a str,
    snapshot: &'a Snapshot,
    artifact: &'a ArtifactSummary,
    target: Option<Target>,
    /// Its place in the pod, where the run wrote it down.
    place: Option<PodPath>,
}

impl Tree<'_> {
    /// As `oc rsync POD:/opt/system/public/system ./system-storage` makes it.
    fn folder(&self) -> String {
        let inner = self.place.as_ref().and_then(|place| {
            let name = place.as_str().rsplit('/').next();
            name.map(str::to_owned)
        });
        format!(
            "{}/{}",
            self.data_set,
            inner.unwrap_or_else(|| TREE.to_owned())
        )
    }
}

/// What a run has for the manual procedure.
#[derive(Default)]
struct Sorted<'a> {
    dumps: Vec<Dump<'a>>,
    lists: Vec<List<'a>>,
    trees: Vec<Tree<'a>>,
    left_out: Vec<LeftOut>,
}

/// A list of objects that becomes a file each.
struct List<'a> {
    data_set: &'a str,
    snapshot: &'a Snapshot,
    artifact: &'static str,
    kind: &'static str,
}

/// An object, its data set and its file.
type Written<'a> = (&'a str, String, Object);

impl<'a> Sorted<'a> {
    /// Takes an artifact that has a place in the manual procedure; says whether it has one.
    fn take(
        &mut self,
        data_set: &'a str,
        snapshot: &'a Snapshot,
        artifact: &'a ArtifactSummary,
        form: Form,
    ) -> bool {
        let name = artifact.name.as_ref();
        let target = target_of(snapshot);
        let is_tree = artifact.media_type == TREE_MEDIA_TYPE;
        match form {
            Form::Objects => {
                let list = OBJECTS.iter().find(|(list, _, _)| *list == name);
                let lists = list.map(|(artifact, _, kind)| List {
                    data_set,
                    snapshot,
                    artifact,
                    kind,
                });
                let before = self.lists.len();
                self.lists.extend(lists);
                self.lists.len() > before
            }
            Form::Folder if is_tree && name == TREE => {
                self.trees.push(Tree {
                    data_set,
                    snapshot,
                    artifact,
                    target,
                    place: place_of(snapshot),
                });
                true
            }
            Form::Folder => false,
            Form::MySqlDump | Form::PostgresDump | Form::RedisDump => {
                let workload = target.as_ref().map(|target| target.workload.name.as_str());
                let is_own = form.artifact().is_some_and(|(own, _)| own == name);
                match dump_file(form, workload, data_set) {
                    Some(file) if is_own && !is_tree => {
                        self.dumps.push(Dump {
                            data_set,
                            snapshot,
                            artifact,
                            form,
                            file,
                            target,
                        });
                        true
                    }
                    Some(_) | None => false,
                }
            }
        }
    }
}

impl Export {
    /// Writes the files.
    ///
    /// # Errors
    /// [`ManualError`]; a folder is then as it was, a stream has no end.
    pub async fn carry_out(self, to: Destination) -> Result<Exported, ManualError> {
        let handle = Handle::current();
        let working = tokio::task::spawn_blocking(move || self.blocking(to, &handle));
        working.await.map_err(|source| ManualError::Task {
            attempt: "export the files",
            source,
        })?
    }

    fn blocking(&self, to: Destination, handle: &Handle) -> Result<Exported, ManualError> {
        let Sorted {
            dumps,
            lists,
            trees,
            left_out,
        } = self.sort();
        let objects = self.objects(&lists, handle)?;
        check_names(&dumps, &objects)?;
        if dumps.is_empty() && objects.is_empty() && trees.is_empty() {
            return Err(ManualError::NothingToExport {
                run: self.run.run.clone(),
            });
        }
        let mut sink: Box<dyn Sink> = match to {
            Destination::Folder(place) => Box::new(FolderSink::new(&place)?),
            Destination::Stream(stream) => {
                let at = u64::try_from(self.run.started.as_second()).unwrap_or(0);
                Box::new(TarSink::new(stream, at))
            }
        };
        let (mut files, mut restorable) = (Vec::new(), Vec::new());
        for (data_set, file, object) in &objects {
            let mut text = serde_json::to_vec_pretty(&object.value)
                .map_err(|error| unfit(data_set, object.kind, error.to_string()))?;
            text.push(b'\n');
            let bytes = sink.put(file, &|| Ok(Box::new(text.as_slice())))?;
            files.push(ExportedFile {
                name: file.clone(),
                bytes,
                data_set: Some((*data_set).to_owned()),
                is_secret: object.kind == "Secret",
            });
        }
        restorable.extend(objects.iter().map(|(_, file, object)| Restorable::Object {
            file: file.clone(),
            kind: object.kind,
        }));
        for dump in &dumps {
            let bytes = sink.put(&dump.file, &|| self.contents(dump, handle))?;
            files.push(ExportedFile {
                name: dump.file.clone(),
                bytes,
                data_set: Some(dump.data_set.to_owned()),
                is_secret: false,
            });
            restorable.push(self.restorable(dump, handle)?);
        }
        for tree in &trees {
            let folder = tree.folder();
            let mut members = self.members(tree, &folder, handle)?;
            sink.put_tree(tree.data_set, &mut members)?;
            files.push(ExportedFile {
                name: format!("{folder}/"),
                bytes: tree.artifact.bytes,
                data_set: Some(tree.data_set.to_owned()),
                is_secret: false,
            });
            let entries = value(tree.artifact, "entries");
            restorable.push(Restorable::tree(
                folder,
                tree.target.as_ref(),
                tree.place.as_ref(),
                entries == Some("1"),
            ));
        }
        let text = guide::text(&self.run, &restorable, &left_out, Timestamp::now());
        let bytes = sink.put(GUIDE, &|| Ok(Box::new(text.as_bytes())))?;
        files.push(ExportedFile {
            name: GUIDE.to_owned(),
            bytes,
            data_set: None,
            is_secret: false,
        });
        sink.finish()?;
        Ok(Exported {
            run: self.run.run.clone(),
            files,
            left_out,
        })
    }

    /// Dumps, lists of objects, trees, and what is none of them.
    fn sort(&self) -> Sorted<'_> {
        let mut sorted = Sorted::default();
        for (data_set, snapshot) in &self.run.snapshots {
            if !self.only.is_empty() && !self.only.iter().any(|name| name.as_str() == data_set) {
                continue;
            }
            let module = snapshot.description.module.name.as_str();
            let unknown = |artifact: Option<&str>, reason: String| LeftOut {
                data_set: data_set.clone(),
                artifact: artifact.map(str::to_owned),
                reason,
            };
            let Some(form) = Form::of_module(module) else {
                let reason = format!("the manual procedure has no file for module `{module}`");
                sorted.left_out.push(unknown(None, reason));
                continue;
            };
            // A name that is none could climb out of the folder; ours never are.
            if DataSetName::parse(data_set).is_err() {
                let reason = "its name is no data set name".to_owned();
                sorted.left_out.push(unknown(None, reason));
                continue;
            }
            for artifact in &snapshot.artifacts {
                if !sorted.take(data_set, snapshot, artifact, form) {
                    let reason = format!(
                        "the manual procedure has no file for this artifact of module `{module}`"
                    );
                    let name = Some(artifact.name.as_ref());
                    sorted.left_out.push(unknown(name, reason));
                }
            }
        }
        sorted
    }

    fn objects<'a>(
        &self,
        lists: &[List<'a>],
        handle: &Handle,
    ) -> Result<Vec<Written<'a>>, ManualError> {
        let mut all: Vec<(&str, Object)> = Vec::new();
        for List {
            data_set,
            snapshot,
            artifact,
            kind,
        } in lists
        {
            let mut bytes = Vec::new();
            let source = self.open(snapshot, artifact, handle)?;
            source
                .take(MAXIMUM_LIST)
                .read_to_end(&mut bytes)
                .map_err(|error| read_error(data_set, artifact, error))?;
            let list = objects::read_list(&bytes, kind)
                .map_err(|reason| unfit(data_set, artifact, reason))?;
            all.extend(list.into_iter().map(|object| (*data_set, object)));
        }
        let mut names: BTreeMap<String, usize> = BTreeMap::new();
        for (_, object) in &all {
            *names.entry(object.name.to_string()).or_default() += 1;
        }
        let file = |object: &Object| {
            let is_twice = names
                .get(object.name.as_str())
                .is_some_and(|times| *times > 1);
            object_file(object.kind, object.name.as_str(), is_twice)
        };
        Ok(all
            .into_iter()
            .map(|(data_set, object)| (data_set, file(&object), object))
            .collect())
    }

    fn open(
        &self,
        snapshot: &Snapshot,
        artifact: &str,
        handle: &Handle,
    ) -> Result<ArtifactStream, ManualError> {
        let name = artifact.parse()?;
        let reader = handle.block_on(self.repository.open_artifact(&snapshot.id, &name))?;
        Ok(ArtifactStream {
            handle: handle.clone(),
            reader,
            rest: Bytes::new(),
            cancel: self.cancel.clone(),
        })
    }

    fn members(
        &self,
        tree: &Tree<'_>,
        folder: &str,
        handle: &Handle,
    ) -> Result<TreeStream, ManualError> {
        let name = tree.artifact.name.clone();
        let below = TreePath::new(folder.as_bytes())?;
        let opened = async {
            let tree = self.repository.open_tree(&tree.snapshot.id, &name).await?;
            tree.members(below).await
        };
        Ok(TreeStream {
            archive: handle.block_on(opened)?,
            handle: handle.clone(),
            rest: Bytes::new(),
            cancel: self.cancel.clone(),
        })
    }

    fn contents(&self, dump: &Dump<'_>, handle: &Handle) -> Result<Box<dyn Read>, ManualError> {
        let stream = self.open(dump.snapshot, dump.artifact.name.as_ref(), handle)?;
        Ok(match dump.form {
            Form::MySqlDump | Form::PostgresDump => {
                Box::new(GzEncoder::new(stream, Compression::default()))
            }
            Form::RedisDump | Form::Objects | Form::Folder => Box::new(stream),
        })
    }

    fn restorable(&self, dump: &Dump<'_>, handle: &Handle) -> Result<Restorable, ManualError> {
        let mut head = Vec::new();
        let stream = self.open(dump.snapshot, dump.artifact.name.as_ref(), handle)?;
        stream
            .take(HEAD as u64)
            .read_to_end(&mut head)
            .map_err(|error| read_error(dump.data_set, dump.artifact.name.as_ref(), error))?;
        let keys = value(dump.artifact, "keys").and_then(|keys| keys.parse().ok());
        Ok(Restorable::dump(
            dump.form,
            dump.file.clone(),
            dump.target.as_ref(),
            &head,
            keys,
        ))
    }
}

/// The workload behind a snapshot's server, as the run wrote it down; only what parses counts.
fn target_of(snapshot: &Snapshot) -> Option<Target> {
    let targets = snapshot.metadata.get("targets")?.clone();
    let targets: BTreeMap<RoleName, Target> = serde_json::from_value(targets).ok()?;
    server(&targets).cloned()
}

/// Where the folder of a snapshot lies in its pod, as the run wrote it down; only what parses counts.
fn place_of(snapshot: &Snapshot) -> Option<PodPath> {
    let place = snapshot.metadata.get("paths")?.get(FOLDER_PATH)?;
    PodPath::parse(place.as_str()?).ok()
}

/// A value of an artifact's evidence.
fn value<'a>(artifact: &'a ArtifactSummary, key: &str) -> Option<&'a str> {
    let mut pairs = artifact.evidence.iter();
    let (_, value) = pairs.find(|(name, _)| name == key)?;
    Some(value)
}

fn check_names(dumps: &[Dump<'_>], objects: &[Written<'_>]) -> Result<(), ManualError> {
    let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
    let files = dumps
        .iter()
        .map(|dump| (dump.file.as_str(), dump.data_set))
        .chain(
            objects
                .iter()
                .map(|(data_set, file, _)| (file.as_str(), *data_set)),
        );
    for (file, data_set) in files {
        if let Some(first) = owners.insert(file, data_set) {
            return Err(ManualError::SameFile {
                file: file.to_owned(),
                first: first.to_owned(),
                second: data_set.to_owned(),
            });
        }
    }
    Ok(())
}

fn unfit(data_set: &str, artifact: &str, reason: String) -> ManualError {
    ManualError::Unfit {
        data_set: data_set.to_owned(),
        artifact: artifact.to_owned(),
        reason,
    }
}

fn read_error(data_set: &str, artifact: &str, error: std::io::Error) -> ManualError {
    unpack(error, |other| unfit(data_set, artifact, other.to_string()))
}

/// An artifact for code that reads and waits.
struct ArtifactStream {
    handle: Handle,
    reader: ArtifactReader,
    rest: Bytes,
    cancel: CancellationToken,
}

impl Read for ArtifactStream {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.rest.is_empty() {
            if self.cancel.is_cancelled() {
                return Err(carry(ManualError::Cancelled));
            }
            match self.handle.block_on(self.reader.read()) {
                Ok(Some(bytes)) => self.rest = bytes,
                Ok(None) => return Ok(0),
                Err(error) => return Err(carry(error)),
            }
        }
        Ok(hand_on(&mut self.rest, buffer))
    }
}

/// The members of a tree for code that reads and waits.
struct TreeStream {
    handle: Handle,
    archive: TreeArchive,
    rest: Bytes,
    cancel: CancellationToken,
}

impl Read for TreeStream {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.rest.is_empty() {
            if self.cancel.is_cancelled() {
                return Err(carry(ManualError::Cancelled));
            }
            match self.handle.block_on(self.archive.read()) {
                Ok(Some(bytes)) => self.rest = bytes,
                Ok(None) => return Ok(0),
                Err(error) => return Err(carry(error)),
            }
        }
        Ok(hand_on(&mut self.rest, buffer))
    }
}

/// As much of the rest as the reader has room for.
fn hand_on(rest: &mut Bytes, buffer: &mut [u8]) -> usize {
    let count = rest.len().min(buffer.len());
    rest.copy_to_slice(buffer.get_mut(..count).unwrap_or_default());
    count
}
