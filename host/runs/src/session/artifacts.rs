//! Artifacts: into the snapshot of this run, or out of the one that is restored or verified.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use cofferdam_engine::host::{ArtifactSink, HostError, Sink, Source};
use cofferdam_policy::name::{ArtifactName, DataSetName};
use cofferdam_policy::request::{ArtifactOperation, UseArtifact};
use cofferdam_repository::{ArtifactReader, ArtifactSummary, ArtifactWriter, Snapshot};

use super::{Granted, Pending, Session, Store};
use crate::audit::Ending;
use crate::blame::Trouble;
use crate::event::Event;

/// A person does not read faster, and a busy stream would otherwise tell thousands a second.
const BETWEEN_PROGRESS: Duration = Duration::from_millis(200);

impl Session {
    /// Writing an artifact, once policy allows it: for the module and for the host's own savers.
    pub(super) async fn new_artifact(
        &self,
        name: &ArtifactName,
        media_type: &str,
    ) -> Result<Box<dyn ArtifactSink>, HostError> {
        let request = UseArtifact {
            artifact: name.clone(),
            operation: ArtifactOperation::Create,
        };
        let Granted { record, .. } = self.permit(request)?;
        let stored_name = stored_name(name)?;
        let store = self.store.read().await;
        let Store::Writing(writer) = &*store else {
            return Err(HostError::Invalid(
                "artifacts are created in a backup only".into(),
            ));
        };
        let writer = writer
            .create(stored_name, media_type.to_owned())
            .await
            .map_err(|error| self.trouble.repository(&error))?;
        Ok(Box::new(Writing {
            writer: Some(writer),
            committed: self.committed.clone(),
            progress: self.meter(name.as_str(), None),
            trouble: self.trouble.clone(),
            record,
        }))
    }

    /// Reading an artifact, once policy allows it.
    pub(super) async fn stored_artifact(
        &self,
        name: &ArtifactName,
    ) -> Result<Box<dyn Source>, HostError> {
        let request = UseArtifact {
            artifact: name.clone(),
            operation: ArtifactOperation::Open,
        };
        let Granted { record, .. } = self.permit(request)?;
        let stored_name = stored_name(name)?;
        let is_tree = self.snapshot(|snapshot| {
            snapshot.artifacts.iter().any(|kept| {
                kept.name == stored_name && kept.media_type == cofferdam_repository::TREE_MEDIA_TYPE
            })
        });
        if is_tree.await? {
            return self.tree_stream(name, record).await;
        }
        let id = self.snapshot(|snapshot| snapshot.id.clone()).await?;
        let reader = self
            .shared
            .repository
            .open_artifact(&id, &stored_name)
            .await
            .map_err(|error| self.trouble.repository(&error))?;
        let total = reader.summary().bytes;
        Ok(Box::new(Reading {
            reader,
            progress: self.meter(name.as_str(), Some(total)),
            trouble: self.trouble.clone(),
            record,
        }))
    }

    pub(super) async fn artifact_names(&self) -> Result<Vec<ArtifactName>, HostError> {
        let names = self.snapshot(|snapshot| {
            snapshot
                .artifacts
                .iter()
                .map(|kept| kept.name.to_string())
                .collect::<Vec<_>>()
        });
        // A repository that others write to may hold other names: those are not this module's.
        Ok(names
            .await?
            .iter()
            .filter_map(|name| ArtifactName::parse(name).ok())
            .collect())
    }

    pub(super) async fn artifact_evidence(
        &self,
        name: &ArtifactName,
    ) -> Result<Vec<(String, String)>, HostError> {
        let find = |snapshot: &Snapshot| {
            snapshot
                .artifacts
                .iter()
                .find(|kept| kept.name.as_ref() == name.as_str())
                .map(|kept| kept.evidence.clone())
        };
        let found = self.snapshot(find).await?;
        found.ok_or_else(|| HostError::NotFound(format!("the snapshot has no artifact `{name}`")))
    }

    pub(super) async fn snapshot<T>(
        &self,
        look: impl FnOnce(&Snapshot) -> T,
    ) -> Result<T, HostError> {
        match &*self.store.read().await {
            Store::Reading(snapshot) => Ok(look(snapshot)),
            Store::Writing(_) | Store::Closed => Err(HostError::Invalid(
                "artifacts are read in a restore or a verify only".into(),
            )),
        }
    }

    pub(super) fn meter(&self, step: &str, total: Option<u64>) -> Meter {
        Meter {
            observer: self.shared.observer.clone(),
            data_set: self.data_set.name.clone(),
            step: step.to_owned(),
            done: 0,
            total,
            told: Instant::now(),
        }
    }
}

pub(super) fn stored_name(
    name: &ArtifactName,
) -> Result<cofferdam_repository::ArtifactName, HostError> {
    name.as_str()
        .parse()
        .map_err(|error| HostError::Invalid(format!("{error}")))
}

/// Counts bytes and tells now and then.
pub(super) struct Meter {
    observer: Arc<dyn crate::event::Observer>,
    data_set: DataSetName,
    step: String,
    done: u64,
    total: Option<u64>,
    told: Instant,
}

impl Meter {
    pub(super) fn add(&mut self, bytes: usize) {
        self.done += bytes as u64;
        if self.told.elapsed() >= BETWEEN_PROGRESS {
            self.told = Instant::now();
            self.observer.event(&Event::Progress {
                data_set: self.data_set.clone(),
                step: self.step.clone(),
                done: self.done,
                total: self.total,
                unit: "bytes".into(),
            });
        }
    }
}

/// Dropped without a commit it is discarded: then the name is free again, and whether the module
/// meant that is for the end of the call to judge.
struct Writing {
    writer: Option<ArtifactWriter>,
    committed: Arc<Mutex<Vec<ArtifactSummary>>>,
    progress: Meter,
    trouble: Trouble,
    record: Pending,
}

#[async_trait]
impl Sink for Writing {
    async fn write(&mut self, bytes: Bytes) -> Result<(), HostError> {
        let length = bytes.len();
        let writer = self
            .writer
            .as_mut()
            .ok_or_else(|| HostError::Invalid("the artifact is committed".into()))?;
        writer
            .write(bytes)
            .await
            .map_err(|error| self.trouble.repository(&error))?;
        self.progress.add(length);
        Ok(())
    }
}

#[async_trait]
impl ArtifactSink for Writing {
    async fn commit(self: Box<Self>, evidence: Vec<(String, String)>) -> Result<(), HostError> {
        let mut this = self;
        let writer = this
            .writer
            .take()
            .ok_or_else(|| HostError::Invalid("the artifact is committed".into()))?;
        match writer.commit(evidence).await {
            Ok(summary) => {
                let ending = Ending {
                    bytes: Some(summary.bytes),
                    sha256: Some(summary.sha256.clone()),
                    error: None,
                };
                this.record.end(ending);
                this.committed
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(summary);
                Ok(())
            }
            Err(error) => {
                this.record.end(Ending {
                    error: Some(error.to_string()),
                    ..Ending::default()
                });
                Err(this.trouble.repository(&error))
            }
        }
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        if let Some(writer) = self.writer.take() {
            writer.discard();
        }
    }
}

struct Reading {
    reader: ArtifactReader,
    progress: Meter,
    trouble: Trouble,
    record: Pending,
}

#[async_trait]
impl Source for Reading {
    async fn next(&mut self) -> Result<Option<Bytes>, HostError> {
        match self.reader.read().await {
            Ok(Some(bytes)) => {
                self.progress.add(bytes.len());
                Ok(Some(bytes))
            }
            Ok(None) => {
                let sha256 = Some(self.reader.summary().sha256.clone());
                self.record.end(Ending {
                    bytes: Some(self.progress.done),
                    sha256,
                    error: None,
                });
                Ok(None)
            }
            Err(error) => {
                let bytes = Some(self.progress.done);
                self.record.end(Ending {
                    error: Some(error.to_string()),
                    bytes,
                    sha256: None,
                });
                Err(self.trouble.repository(&error))
            }
        }
    }
}
