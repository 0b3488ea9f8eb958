//! Files of the manifest, in the pods that the site bound.

use async_trait::async_trait;
use bytes::Bytes;
use cofferdam_engine::host::{FileSink, HostError, Metadata, PodId, Sink, Source};
use cofferdam_policy::name::PathName;
use cofferdam_policy::request::{AccessFile, FileOperation};

use super::{Granted, Pending, Session, Store};
use crate::audit::Ending;
use crate::blame;

impl Session {
    pub(super) async fn stat_file(
        &self,
        pod: &PodId,
        path: &PathName,
    ) -> Result<Option<Metadata>, HostError> {
        let in_pod = self.pod(pod)?;
        let Granted { permit, record } = self.permit(self.file(path, FileOperation::Stat)?)?;
        let state = record.close(self.shared.cluster.stat(&permit, &in_pod).await)?;
        Ok(state.map(|state| Metadata {
            size: state.size,
            mode: state.mode,
            modified: state.modified,
        }))
    }

    pub(super) async fn open_file(
        &self,
        pod: &PodId,
        path: &PathName,
    ) -> Result<Box<dyn Source>, HostError> {
        let in_pod = self.pod(pod)?;
        let Granted { permit, record } = self.permit(self.file(path, FileOperation::Read)?)?;
        match self.shared.cluster.read_file(&permit, &in_pod).await {
            Ok(reader) => Ok(Box::new(FileSource { reader, record })),
            Err(error) => record.close(Err(error)),
        }
    }

    pub(super) async fn create_file(
        &self,
        pod: &PodId,
        path: &PathName,
    ) -> Result<Box<dyn FileSink>, HostError> {
        let in_pod = self.pod(pod)?;
        let length = self.sole_artifact_length().await;
        let Granted { permit, record } = self.permit(self.file(path, FileOperation::Write)?)?;
        let run = self.shared.run.as_str();
        match self
            .shared
            .cluster
            .write_file(&permit, &in_pod, run, length)
            .await
        {
            Ok(writer) => Ok(Box::new(FileWriting { writer, record })),
            Err(error) => record.close(Err(error)),
        }
    }

    pub(super) async fn rename_file(
        &self,
        pod: &PodId,
        path: &PathName,
        to: &PathName,
    ) -> Result<(), HostError> {
        let in_pod = self.pod(pod)?;
        let Some((_, to_path)) = self.binding.path(to) else {
            return Err(HostError::Invalid(format!(
                "the manifest has no path `{to}`"
            )));
        };
        let operation = FileOperation::Rename {
            to: to.clone(),
            to_path: to_path.clone(),
        };
        let Granted { permit, record } = self.permit(self.file(path, operation)?)?;
        record.close(self.shared.cluster.rename(&permit, &in_pod).await)
    }

    pub(super) async fn remove_file(&self, pod: &PodId, path: &PathName) -> Result<(), HostError> {
        let in_pod = self.pod(pod)?;
        let Granted { permit, record } = self.permit(self.file(path, FileOperation::Remove)?)?;
        record
            .close(self.shared.cluster.remove(&permit, &in_pod).await)
            .map(drop)
    }

    pub(super) fn file(
        &self,
        path: &PathName,
        operation: FileOperation,
    ) -> Result<AccessFile, HostError> {
        let Some((declared, place)) = self.binding.path(path) else {
            return Err(HostError::Invalid(format!(
                "the manifest has no path `{path}`"
            )));
        };
        Ok(AccessFile {
            target: self.bound(&declared.target)?,
            name: path.clone(),
            path: place.clone(),
            operation,
        })
    }

    /// How many bytes a restore writes: known where the snapshot has one artifact. Servers that
    /// speak only the older exec protocol need it, since they cannot half-close.
    pub(super) async fn sole_artifact_length(&self) -> Option<u64> {
        match &*self.store.read().await {
            Store::Reading(snapshot) => match snapshot.artifacts.as_slice() {
                [only] => Some(only.bytes),
                _ => None,
            },
            Store::Writing(_) | Store::Closed => None,
        }
    }
}

struct FileSource {
    reader: cofferdam_cluster::FileReader,
    record: Pending,
}

#[async_trait]
impl Source for FileSource {
    async fn next(&mut self) -> Result<Option<Bytes>, HostError> {
        let next = self.reader.next().await;
        match &next {
            Ok(Some(_)) => {}
            Ok(None) => self.record.end(Ending {
                bytes: Some(self.reader.bytes()),
                ..Ending::default()
            }),
            Err(error) => self.record.end(Ending {
                error: Some(error.to_string()),
                ..Ending::default()
            }),
        }
        next.map_err(blame::told)
    }
}

struct FileWriting {
    writer: cofferdam_cluster::FileWriter,
    record: Pending,
}

#[async_trait]
impl Sink for FileWriting {
    async fn write(&mut self, bytes: Bytes) -> Result<(), HostError> {
        self.writer.write(bytes).await.map_err(blame::told)
    }
}

#[async_trait]
impl FileSink for FileWriting {
    async fn finish(self: Box<Self>) -> Result<(), HostError> {
        let Self { writer, record } = *self;
        match writer.finish().await {
            Ok(bytes) => {
                record.end(Ending {
                    bytes: Some(bytes),
                    ..Ending::default()
                });
                Ok(())
            }
            Err(error) => record.close(Err(error)),
        }
    }
}
