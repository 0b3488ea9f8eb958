//! What the tests share: repositories in temporary folders, and data to put in.

use std::path::PathBuf;
use std::process::Command;

use bytes::Bytes;
use cofferdam_repository::{
    ArtifactName, Error, Location, ModuleReference, Password, Repository, Snapshot,
    SnapshotDescription,
};
use jiff::Timestamp;

pub(crate) const PASSWORD: &str = "correct horse";

pub(crate) fn password() -> Password {
    Password::new(PASSWORD.to_owned()).unwrap()
}

/// A repository in a folder that goes away with it.
pub(crate) struct Workbench {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) repository: Repository,
}

impl Workbench {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let location = Location::Folder(folder.path().to_owned());
        let repository = Repository::init(&location, &password()).await.unwrap();
        Self { folder, repository }
    }

    pub(crate) fn location(&self) -> Location {
        Location::Folder(self.folder.path().to_owned())
    }

    /// Opens the same repository as another process would.
    pub(crate) async fn open_again(&self) -> Repository {
        Repository::open(&self.location(), &password())
            .await
            .unwrap()
    }

    /// The files below one of the repository's folders.
    pub(crate) fn files(&self, below: &str) -> Vec<PathBuf> {
        let mut folders = vec![self.folder.path().join(below)];
        let mut files = Vec::new();
        while let Some(folder) = folders.pop() {
            let Ok(entries) = fs_err::read_dir(folder) else {
                continue;
            };
            for entry in entries.map(Result::unwrap) {
                if entry.file_type().unwrap().is_dir() {
                    folders.push(entry.path());
                } else {
                    files.push(entry.path());
                }
            }
        }
        files.sort();
        files
    }
}

/// A command that carries out one ignored test of this binary, in a process of its own.
pub(crate) fn alone(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--ignored", "--nocapture"]);
    command
}

pub(crate) fn name(name: &str) -> ArtifactName {
    name.parse().unwrap()
}

pub(crate) fn description(data_set: &str) -> SnapshotDescription {
    SnapshotDescription {
        application: "threescale".to_owned(),
        namespace: "3scale".to_owned(),
        run: "2026-11-22T10-00-00Z-1".to_owned(),
        data_set: data_set.to_owned(),
        module: ModuleReference {
            name: "mysql".to_owned(),
            version: "0.1.0".to_owned(),
            digest: "sha256:00".to_owned(),
        },
        expected_data_sets: vec!["system-database".to_owned()],
        started: "2026-11-22T10:00:00Z".parse().unwrap(),
        host_version: "0.1.0".to_owned(),
        details: serde_json::json!({ "kind": "test" }),
    }
}

/// A description of a run that started at another time.
pub(crate) fn started(data_set: &str, time: &str) -> SnapshotDescription {
    let started: Timestamp = time.parse().unwrap();
    SnapshotDescription {
        started,
        run: format!("run of {time}"),
        ..description(data_set)
    }
}

/// Writes a snapshot with the given artifacts, in portions as an exec stream has them.
pub(crate) async fn write(
    repository: &Repository,
    description: SnapshotDescription,
    artifacts: &[(&str, &[u8])],
) -> Result<Snapshot, Error> {
    let writer = repository.begin(description).await?;
    for (artifact, content) in artifacts {
        let mut artifact = writer
            .create(name(artifact), "application/sql".to_owned())
            .await?;
        for portion in content.chunks(200_000) {
            artifact.write(Bytes::copy_from_slice(portion)).await?;
        }
        artifact
            .commit(vec![("exit".to_owned(), "0".to_owned())])
            .await?;
    }
    writer.finish(serde_json::json!({ "tables": 3 })).await
}

/// Reads an artifact to its proven end.
pub(crate) async fn read(
    repository: &Repository,
    snapshot: &Snapshot,
    artifact: &str,
) -> Result<Vec<u8>, Error> {
    let mut reader = repository
        .open_artifact(&snapshot.id, &name(artifact))
        .await?;
    let mut content = Vec::new();
    while let Some(bytes) = reader.read().await? {
        content.extend_from_slice(&bytes);
    }
    Ok(content)
}

/// Bytes without a pattern, the same for the same seed.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Something like a dump: rows that compress to a third or so.
pub(crate) fn dump(length: usize, seed: u64) -> Vec<u8> {
    let noise = noise(length / 8 + 64, seed);
    let mut bytes = Vec::with_capacity(length + 128);
    for (row, values) in noise.chunks_exact(8).cycle().enumerate() {
        if bytes.len() >= length {
            break;
        }
        let value = u64::from_le_bytes(values.try_into().unwrap());
        bytes.extend_from_slice(
            format!(
                "INSERT INTO `accounts` VALUES ({row},'user{value:x}@example.com','active');\n"
            )
            .as_bytes(),
        );
    }
    bytes.truncate(length);
    bytes
}
