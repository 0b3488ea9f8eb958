//! Takes over the files of the manual procedure: each is checked while it is stored, and snapshots
//! are written only when all of them are what they should be.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use cofferdam_engine::host::SEALED;
use cofferdam_policy::name::DataSetName;
use cofferdam_policy::request::RunKind;
use cofferdam_repository::{
    ArtifactSummary, ModuleReference, Repository, SnapshotDescription, SnapshotWriter,
};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::dump::{self, Dialect, Proof, Stop};
use super::folder::Folder;
use super::names::{Form, TREE};
use super::sources::{Files, Group, Sources};
use super::{ManualError, objects, rdb, tree};
use crate::audit::{Audit, Entry};
use crate::journal::{Journal, JournalError, Record};
use crate::plan::{Prepared, PreparedDataSet};
use crate::report::{DataSetReport, RunReport};
use crate::state::{ApplicationState, RunId};

/// Chunks between the reader of a file and the repository: enough that neither waits for the other.
const AHEAD: usize = 4;

/// What is taken over, from where to where.
#[derive(Debug)]
pub struct Import<'a> {
    /// The repository.
    pub repository: &'a Repository,
    /// The state folder.
    pub state: &'a Path,
    /// The application and its modules: they say which files there should be.
    pub prepared: &'a Prepared,
    /// The folder with the files.
    pub folder: &'a Path,
    /// Cancels it: nothing is kept then.
    pub cancel: &'a CancellationToken,
}

/// What was taken over.
#[derive(Debug)]
pub struct Imported {
    /// As of any backup.
    pub report: RunReport,
    /// The data sets that had no file there.
    pub missing: Vec<DataSetName>,
}

/// A data set whose artifacts are stored and whose snapshot is not yet written.
struct Stored<'a> {
    prepared: &'a PreparedDataSet,
    writer: SnapshotWriter,
    begun: Timestamp,
    took: u64,
}

/// Why one data set cannot be taken over: its files, or something that ends all of it.
pub(super) enum Trouble {
    Files(Vec<String>),
    All(ManualError),
}

impl From<ManualError> for Trouble {
    fn from(error: ManualError) -> Self {
        Self::All(error)
    }
}

impl From<JournalError> for Trouble {
    fn from(error: JournalError) -> Self {
        Self::All(error.into())
    }
}

impl From<cofferdam_repository::Error> for Trouble {
    fn from(error: cofferdam_repository::Error) -> Self {
        Self::All(error.into())
    }
}

impl Import<'_> {
    /// Takes over the files of the prepared data sets, as one run.
    ///
    /// # Errors
    /// [`ManualError::Refused`] names every file that is wrong; then and after any other error the
    /// repository lists nothing new.
    pub async fn carry_out(&self) -> Result<Imported, ManualError> {
        let folder = Folder::open(self.folder)?;
        let sources = Sources::find(self.prepared, &folder)?;
        let application = &self.prepared.application;
        let state = ApplicationState::open(self.state, &application.name)?;
        let _lock = state.lock()?;
        let run = RunId::now();
        let place = state.begin(&run)?;
        let journal = Journal::open(&place.journal())?;
        let audit = Audit::begin(&place.audit(), run.as_str())?;
        let started = Timestamp::now();
        journal.write(Record::RunBegun {
            run: run.to_string(),
            kind: RunKind::Backup,
            cluster: self.origin(),
            namespace: Some(application.namespace.clone()),
            from: None,
            data_sets: sources.files.keys().cloned().collect(),
            process_id: std::process::id(),
        })?;
        for text in &sources.warnings {
            let (data_set, text) = (None, text.clone());
            journal.note(Record::Warned { data_set, text })?;
        }
        let recorded = Recorded {
            import: self,
            run: &run,
            started,
            journal: &journal,
            audit: &audit,
        };
        let report = recorded.all(&folder, &sources.files).await;
        let succeeded = report
            .as_ref()
            .is_ok_and(|reports| reports.iter().all(|report| report.failure.is_none()));
        audit.write("host", None, Entry::RunFinished { succeeded })?;
        journal.write(Record::RunFinished { succeeded })?;
        let report = RunReport {
            run,
            kind: RunKind::Backup,
            application: application.name.clone(),
            namespace: application.namespace.clone(),
            from: None,
            started,
            finished: Timestamp::now(),
            era: self.prepared.era.clone(),
            data_sets: report?,
            // When the files were taken nobody has written down.
            taken: None,
            left_out: Vec::new(),
            external: self.prepared.external.clone(),
            warnings: sources.warnings,
        };
        Ok(Imported {
            report,
            missing: sources.missing,
        })
    }

    fn origin(&self) -> String {
        let shown: String = self
            .folder
            .display()
            .to_string()
            .chars()
            .filter(|letter| !letter.is_control())
            .take(200)
            .collect();
        format!("imported from {shown}")
    }
}

/// An import that is under way and written down.
struct Recorded<'a> {
    import: &'a Import<'a>,
    run: &'a RunId,
    started: Timestamp,
    journal: &'a Journal,
    audit: &'a Audit,
}

impl Recorded<'_> {
    /// Stores the artifacts of all data sets, and only then writes their snapshots.
    async fn all(
        &self,
        folder: &Folder,
        sources: &BTreeMap<DataSetName, Files>,
    ) -> Result<Vec<DataSetReport>, ManualError> {
        let (mut stored, mut problems) = (Vec::new(), Vec::new());
        for prepared in &self.import.prepared.data_sets {
            let Some(files) = sources.get(&prepared.data_set.name) else {
                continue;
            };
            match self.store(folder, prepared, files).await {
                Ok(one) => stored.push(one),
                Err(Trouble::Files(more)) => {
                    self.failed(prepared, more.join("; "))?;
                    problems.extend(more);
                }
                Err(Trouble::All(error)) => {
                    self.failed(prepared, crate::blame::with_causes(&error))?;
                    return Err(error);
                }
            }
        }
        if !problems.is_empty() {
            for one in &stored {
                self.failed(one.prepared, "not kept: other files were refused".into())?;
            }
            return Err(ManualError::Refused { problems });
        }
        let mut reports = Vec::new();
        for one in stored {
            reports.push(self.finish(one).await?);
        }
        Ok(reports)
    }

    fn failed(&self, prepared: &PreparedDataSet, error: String) -> Result<(), JournalError> {
        self.journal.write(Record::DataSetFinished {
            data_set: prepared.data_set.name.clone(),
            error: Some(error),
        })
    }

    async fn store<'b>(
        &self,
        folder: &Folder,
        prepared: &'b PreparedDataSet,
        files: &Files,
    ) -> Result<Stored<'b>, Trouble> {
        let (begun, clock) = (Timestamp::now(), Instant::now());
        let name = &prepared.data_set.name;
        self.journal.write(Record::DataSetBegun {
            data_set: name.clone(),
        })?;
        let writer = self
            .import
            .repository
            .begin(self.description(prepared))
            .await?;
        match files {
            Files::Dump { form, file } => {
                self.store_dump(folder, name, &writer, *form, file).await?;
            }
            Files::Objects(groups) => {
                for group in groups {
                    self.store_objects(folder, name, &writer, group).await?;
                }
            }
            Files::Tree { place } => {
                self.store_tree(folder, name, &writer, place).await?;
            }
        }
        Ok(Stored {
            prepared,
            writer,
            begun,
            took: u64::try_from(clock.elapsed().as_millis()).unwrap_or(u64::MAX),
        })
    }

    fn description(&self, prepared: &PreparedDataSet) -> SnapshotDescription {
        let identity = prepared.module.identity();
        let application = &self.import.prepared.application;
        SnapshotDescription {
            application: application.name.to_string(),
            namespace: application.namespace.to_string(),
            run: self.run.to_string(),
            data_set: prepared.data_set.name.to_string(),
            module: ModuleReference {
                name: identity.name.to_string(),
                version: identity.version,
                digest: identity.digest,
            },
            expected_data_sets: application
                .data_sets
                .iter()
                .map(|data_set| &data_set.name)
                .filter(|name| !application.quiesce.contains(name))
                .map(ToString::to_string)
                .collect(),
            started: self.started,
            host_version: env!("CARGO_PKG_VERSION").to_owned(),
            details: json!({
                "cluster": self.import.origin(),
                "era": self.import.prepared.era,
                "external": application.external,
            }),
        }
    }

    async fn store_dump(
        &self,
        folder: &Folder,
        data_set: &DataSetName,
        writer: &SnapshotWriter,
        form: Form,
        file: &str,
    ) -> Result<(), Trouble> {
        let opened = folder
            .file(file)
            .map_err(|problem| Trouble::Files(vec![problem]))?;
        let before = opened
            .metadata()
            .ok()
            .map(|it| (it.len(), it.modified().ok()));
        let again = opened.try_clone().ok();
        let Some((artifact, media_type)) = form.artifact() else {
            return Ok(());
        };
        let mut sink = writer
            .create(artifact.parse()?, media_type.to_owned())
            .await?;
        let (send, mut receive) = mpsc::channel::<Bytes>(AHEAD);
        let reading = tokio::task::spawn_blocking(move || {
            let mut take = |bytes: Bytes| send.blocking_send(bytes).map_err(|_| Stop::Taker);
            match form {
                Form::RedisDump => rdb::read(opened, &mut take),
                Form::PostgresDump => dump::read(opened, Dialect::Postgres, &mut take),
                Form::MySqlDump | Form::Objects | Form::Folder => {
                    dump::read(opened, Dialect::MySql, &mut take)
                }
            }
        });
        while let Some(bytes) = receive.recv().await {
            if self.import.cancel.is_cancelled() {
                return Err(Trouble::All(ManualError::Cancelled));
            }
            sink.write(bytes).await?;
        }
        let ended = reading.await.map_err(|source| ManualError::Task {
            attempt: "read a file of the manual procedure",
            source,
        })?;
        let proof = match ended {
            Ok(proof) => proof,
            Err(Stop::Problem(text)) => {
                sink.discard();
                return Err(Trouble::Files(vec![format!("`{file}` {text}")]));
            }
            Err(Stop::Taker) => return Err(Trouble::All(ManualError::Cancelled)),
        };
        let after = again.and_then(|it| it.metadata().ok());
        if after.map(|it| (it.len(), it.modified().ok())) != before {
            sink.discard();
            return Err(Trouble::Files(vec![format!(
                "`{file}` was changed while it was read"
            )]));
        }
        let written = before.and_then(|(_, modified)| Timestamp::try_from(modified?).ok());
        let summary = sink.commit(evidence(file, written, proof)).await?;
        self.record(data_set, file, &summary)?;
        Ok(())
    }

    async fn store_tree(
        &self,
        folder: &Folder,
        data_set: &DataSetName,
        writer: &SnapshotWriter,
        place: &[String],
    ) -> Result<(), Trouble> {
        let shown = place.join("/");
        let mut tree = writer.create_tree(TREE.parse()?).await?;
        let saved = tokio::select! {
            saved = tree::save(&mut tree, || folder.folder(place)) => saved,
            () = self.import.cancel.cancelled() => Err(Trouble::All(ManualError::Cancelled)),
        };
        if let Err(trouble) = saved {
            tree.discard();
            return Err(match trouble {
                Trouble::Files(problems) => {
                    let of = |problem| format!("folder `{shown}`: {problem}");
                    Trouble::Files(problems.into_iter().map(of).collect())
                }
                Trouble::All(error) => Trouble::All(error),
            });
        }
        let pairs = [
            ("origin", format!("imported from the folder {shown}")),
            (
                "checked",
                "that every file was the same before and after it was read".to_owned(),
            ),
            (
                "not-checked",
                "whether they are those of the pod: no pod was asked, and owners are those of this machine".to_owned(),
            ),
        ];
        let pairs = pairs.map(|(key, value)| (key.to_owned(), value)).into();
        let (summary, _) = tree.commit(pairs).await?;
        self.record(data_set, &format!("{shown}/"), &summary)?;
        Ok(())
    }

    async fn store_objects(
        &self,
        folder: &Folder,
        data_set: &DataSetName,
        writer: &SnapshotWriter,
        group: &Group,
    ) -> Result<(), Trouble> {
        let (mut items, mut problems): (Vec<Value>, Vec<String>) = (Vec::new(), Vec::new());
        for (name, file) in &group.files {
            let read = folder.file(file).and_then(|opened| {
                objects::read_file(opened, group.kind, name)
                    .map_err(|problem| format!("`{file}` {problem}"))
            });
            match read {
                Ok(object) => items.push(object),
                Err(problem) => problems.push(problem),
            }
        }
        if !problems.is_empty() {
            return Err(Trouble::Files(problems));
        }
        let count = items.len();
        let bytes = objects::list(items);
        let pairs = [
            (SEALED, "objects".to_owned()),
            ("objects", count.to_string()),
            ("missing", group.missing.len().to_string()),
            ("origin", format!("imported from {count} JSON files")),
            (
                "checked",
                "JSON, kind, name and encoding of each".to_owned(),
            ),
            (
                "not-checked",
                "whether they are those of the cluster".to_owned(),
            ),
            ("sha256", hex::encode(Sha256::digest(&bytes))),
            ("bytes", bytes.len().to_string()),
        ];
        let pairs = pairs.map(|(key, value)| (key.to_owned(), value)).into();
        let mut sink = writer
            .create(group.artifact.parse()?, "application/json".to_owned())
            .await?;
        sink.write(bytes.into()).await?;
        let summary = sink.commit(pairs).await?;
        let files: Vec<&str> = group.files.iter().map(|(_, file)| file.as_str()).collect();
        self.record(data_set, &files.join(", "), &summary)?;
        Ok(())
    }

    fn record(
        &self,
        data_set: &DataSetName,
        file: &str,
        summary: &ArtifactSummary,
    ) -> Result<(), ManualError> {
        let entry = Entry::Imported {
            file: file.to_owned(),
            artifact: summary.name.to_string(),
            bytes: summary.bytes,
            sha256: summary.sha256.clone(),
        };
        self.audit.write("host", Some(data_set), entry)?;
        Ok(())
    }

    async fn finish(&self, stored: Stored<'_>) -> Result<DataSetReport, ManualError> {
        let Stored {
            prepared,
            writer,
            begun,
            took,
        } = stored;
        let metadata = json!({
            "audit": self.audit.head(),
            "targets": prepared.data_set.targets,
            "paths": prepared.paths(),
            "begun": begun,
            "callMilliseconds": took,
            "imported": true,
        });
        let (mut report, error) = match writer.finish(metadata).await {
            Ok(snapshot) => {
                let mut report = prepared.report(None);
                report.describe(&snapshot);
                (report, None)
            }
            Err(error) => {
                // Those that are written are whole; this one is not there at all.
                let failure = crate::blame::of_repository(&error);
                (prepared.report(Some(failure)), Some(error.to_string()))
            }
        };
        report.milliseconds = took;
        self.journal.write(Record::DataSetFinished {
            data_set: prepared.data_set.name.clone(),
            error,
        })?;
        Ok(report)
    }
}

/// What a person should know before trusting it: where it came from, what was checked, what was not.
fn evidence(file: &str, written: Option<Timestamp>, proof: Proof) -> Vec<(String, String)> {
    let mut pairs = vec![
        ("origin".to_owned(), format!("imported from {file}")),
        ("file-bytes".to_owned(), proof.file_bytes.to_string()),
        ("file-sha256".to_owned(), proof.file_sha256),
    ];
    if let Some(written) = written {
        pairs.push(("file-written".to_owned(), written.to_string()));
    }
    pairs.extend(proof.pairs);
    pairs
}
