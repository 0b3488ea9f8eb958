//! A store that runs full or loses its mind, for tests: no half snapshot may come of it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use crate::backend::StoreBackend;
use crate::evidence::{ModuleReference, SnapshotDescription};
use crate::{ArtifactName, Error, Location, Password, Repository};

/// Takes so many more objects and then says that it is full.
#[derive(Debug)]
struct Small {
    inner: InMemory,
    room: AtomicU64,
}

impl fmt::Display for Small {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Small")
    }
}

#[async_trait]
impl ObjectStore for Small {
    async fn put_opts(
        &self,
        to: &Path,
        content: PutPayload,
        with: PutOptions,
    ) -> Result<PutResult> {
        let taken = self
            .room
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |room| {
                room.checked_sub(1)
            });
        if taken.is_err() {
            let source = std::io::Error::from(std::io::ErrorKind::StorageFull);
            return Err(object_store::Error::Generic {
                store: "Small",
                source: source.into(),
            });
        }
        self.inner.put_opts(to, content, with).await
    }

    async fn put_multipart_opts(
        &self,
        to: &Path,
        with: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(to, with).await
    }

    async fn get_opts(&self, from: &Path, with: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(from, with).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, with: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, with).await
    }
}

async fn repository() -> (Arc<Small>, Repository) {
    let store = Arc::new(Small {
        inner: InMemory::new(),
        room: AtomicU64::new(u64::MAX),
    });
    let backend = StoreBackend::new(Arc::clone(&store) as _, "memory".to_owned());
    // The location is only shown; the store is the one above.
    let location = Location::Folder("memory".into());
    let password = Password::new("correct horse".to_owned()).unwrap();
    (
        store,
        Repository::init_on(&location, Arc::new(backend), &password)
            .await
            .unwrap(),
    )
}

fn description() -> SnapshotDescription {
    SnapshotDescription {
        application: "threescale".to_owned(),
        namespace: "3scale".to_owned(),
        run: "1".to_owned(),
        data_set: "db".to_owned(),
        module: ModuleReference {
            name: "mysql".to_owned(),
            version: "0.1.0".to_owned(),
            digest: "sha256:00".to_owned(),
        },
        expected_data_sets: vec!["db".to_owned()],
        started: jiff::Timestamp::UNIX_EPOCH,
        host_version: "0.1.0".to_owned(),
        details: serde_json::Value::Null,
    }
}

fn noise(length: usize) -> Bytes {
    let mut bytes = vec![0; length];
    getrandom::fill(&mut bytes).unwrap();
    bytes.into()
}

async fn backup(repository: &Repository, content: &Bytes) -> crate::Result<()> {
    let writer = repository.begin(description()).await?;
    let name: ArtifactName = "a".parse()?;
    let mut artifact = writer.create(name, "text/plain".to_owned()).await?;
    for portion in content.chunks(500_000) {
        artifact.write(content.slice_ref(portion)).await?;
    }
    artifact.commit(Vec::new()).await?;
    writer.finish(serde_json::Value::Null).await.map(drop)
}

#[tokio::test]
async fn a_store_that_runs_full_at_any_point_leaves_no_snapshot_and_says_so() {
    let content = noise(20_000_000);
    let mut whole = 0;
    for room in 0.. {
        let (store, repository) = repository().await;
        backup(&repository, &noise(1000)).await.unwrap();
        store.room.store(room, Ordering::SeqCst);
        let Err(error) = backup(&repository, &content).await else {
            whole = room;
            break;
        };
        assert!(
            error.is_storage_full() || matches!(error, Error::AlreadyFailed { .. }),
            "{room}: {error:?}"
        );
        assert_eq!(repository.list().await.unwrap().len(), 1, "{room}");
        let report = repository.check(true).await.unwrap();
        assert!(report.is_clean(), "{room}: {report:?}");
        // With room again, the same process goes on.
        store.room.store(u64::MAX, Ordering::SeqCst);
        backup(&repository, &content).await.unwrap();
        assert_eq!(repository.list().await.unwrap().len(), 2, "{room}");
        assert!(repository.check(true).await.unwrap().is_clean(), "{room}");
    }
    // The lock, three packs of data, one of trees, the index, the snapshot: each was refused once.
    assert_eq!(whole, 7);
}

#[tokio::test]
async fn once_a_chunk_failed_nothing_of_the_snapshot_counts_any_more() {
    let (store, repository) = repository().await;
    let writer = repository.begin(description()).await.unwrap();
    let content = noise(12_000_000);
    let mut failing = writer
        .create("a".parse().unwrap(), "text/plain".to_owned())
        .await
        .unwrap();
    store.room.store(0, Ordering::SeqCst);
    let failed =
        failing.write(content.clone()).await.is_err() || failing.commit(Vec::new()).await.is_err();
    assert!(failed);
    store.room.store(u64::MAX, Ordering::SeqCst);
    // The same bytes again: the chunks look known, but the pack they were in was never stored.
    let mut other = writer
        .create("b".parse().unwrap(), "text/plain".to_owned())
        .await
        .unwrap();
    let written = other.write(content).await;
    assert!(written.is_err() || other.commit(Vec::new()).await.is_err());
    assert!(writer.finish(serde_json::Value::Null).await.is_err());
    assert!(repository.list().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_write_that_was_interrupted_fails_the_artifact() {
    let (_, repository) = repository().await;
    let writer = repository.begin(description()).await.unwrap();
    let mut artifact = writer
        .create("a".parse().unwrap(), "text/plain".to_owned())
        .await
        .unwrap();
    let chunks = &repository.inner.shared.chunks;
    let taken = chunks
        .acquire_many(u32::try_from(chunks.available_permits()).unwrap())
        .await;
    {
        let mut write = std::pin::pin!(artifact.write(noise(10_000_000)));
        assert!(futures::poll!(write.as_mut()).is_pending());
    }
    drop(taken);
    assert!(artifact.write(Bytes::from_static(b"more")).await.is_err());
    assert!(artifact.commit(Vec::new()).await.is_err());
    assert!(writer.finish(serde_json::Value::Null).await.is_err());
    assert!(repository.list().await.unwrap().is_empty());
}
