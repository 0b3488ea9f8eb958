//! Measures: reads standard input into a repository, or an artifact back, and says how long it took and how much
//! memory it needed. For choosing numbers, never for backups: the password is fixed.
//!
//! `measure FOLDER write [STREAMS]` writes standard input as STREAMS data sets at once; `measure FOLDER read` reads all
//! artifacts of the newest snapshot.

use std::io::Read;
use std::path::PathBuf;
use std::time::Instant;

use bytes::Bytes;
use cofferdam_repository::{Location, ModuleReference, Password, Repository, SnapshotDescription};

fn description(data_set: String) -> SnapshotDescription {
    SnapshotDescription {
        application: "measure".to_owned(),
        namespace: "measure".to_owned(),
        run: "measure".to_owned(),
        data_set,
        module: ModuleReference {
            name: "measure".to_owned(),
            version: "0".to_owned(),
            digest: "none".to_owned(),
        },
        expected_data_sets: Vec::new(),
        started: jiff::Timestamp::now(),
        host_version: "0".to_owned(),
        details: serde_json::Value::Null,
    }
}

async fn write(repository: &Repository, streams: usize) -> Result<u64, Box<dyn std::error::Error>> {
    let mut senders = Vec::new();
    let mut tasks = Vec::new();
    for stream in 0..streams {
        let (sender, mut receiver) = tokio::sync::mpsc::channel::<Bytes>(4);
        senders.push(sender);
        let repository = repository.clone();
        tasks.push(tokio::spawn(async move {
            let writer = repository
                .begin(description(format!("stream-{stream}")))
                .await?;
            let mut artifact = writer
                .create("dump".parse()?, "text/plain".to_owned())
                .await?;
            while let Some(bytes) = receiver.recv().await {
                artifact.write(bytes).await?;
            }
            artifact.commit(Vec::new()).await?;
            writer.finish(serde_json::Value::Null).await
        }));
    }
    tokio::task::spawn_blocking(move || -> std::io::Result<()> {
        let mut input = std::io::stdin().lock();
        loop {
            let mut buffer = vec![0; 256 * 1024];
            let length = input.read(&mut buffer)?;
            if length == 0 {
                return Ok(());
            }
            buffer.truncate(length);
            // Each stream gets other bytes, or all but the first would only be deduplicated.
            for (stream, sender) in senders.iter().enumerate() {
                let mut own = buffer.clone();
                if stream > 0 {
                    for byte in own.iter_mut().step_by(512) {
                        *byte = byte.wrapping_add(u8::try_from(stream).unwrap_or(u8::MAX));
                    }
                }
                if sender.blocking_send(own.into()).is_err() {
                    return Ok(());
                }
            }
        }
    })
    .await??;
    let mut bytes = 0;
    for task in tasks {
        bytes += task
            .await??
            .artifacts
            .iter()
            .map(|artifact| artifact.bytes)
            .sum::<u64>();
    }
    Ok(bytes)
}

async fn read(repository: &Repository) -> Result<u64, Box<dyn std::error::Error>> {
    let mut bytes = 0;
    if let Some(snapshot) = repository.list().await?.first() {
        for artifact in &snapshot.artifacts {
            let mut reader = repository
                .open_artifact(&snapshot.id, &artifact.name)
                .await?;
            while let Some(chunk) = reader.read().await? {
                bytes += chunk.len() as u64;
            }
        }
    }
    Ok(bytes)
}

#[tokio::main(worker_threads = 2)]
#[expect(
    clippy::print_stdout,
    reason = "a measuring tool says what it measured"
)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("a folder is missing")?);
    let mode = arguments.next().ok_or("`write` or `read` is missing")?;
    let streams = arguments.next().map_or(Ok(1), |text| text.parse())?;
    let password = Password::new("measure".to_owned())?;
    let location = Location::Folder(folder);
    let repository = if Repository::exists(&location).await? {
        Repository::open(&location, &password).await?
    } else {
        Repository::init(&location, &password).await?
    };
    let started = Instant::now();
    let bytes = if mode == "write" {
        write(&repository, streams).await?
    } else {
        read(&repository).await?
    };
    let seconds = started.elapsed().as_secs_f64();
    let status = fs_err::read_to_string("/proc/self/status")?;
    let peak = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap_or_default();
    println!("{bytes} bytes in {seconds:.2} s; {peak}");
    Ok(())
}
