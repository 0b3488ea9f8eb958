//! Writing and reading back: what comes in comes out, and what was not finished does not exist.

use bytes::Bytes;
use cofferdam_repository::{Error, Location, Password, Proof, Repository};
use sha2::{Digest, Sha256};

use crate::workbench::{Workbench, description, dump, name, noise, password, read, write};

async fn assert_unchanged_and_clean(workbench: &Workbench, snapshots: usize) {
    let again = workbench.open_again().await;
    assert_eq!(again.list().await.unwrap().len(), snapshots);
    let report = again.check(true).await.unwrap();
    assert!(report.is_clean(), "{report:?}");
}

#[tokio::test]
async fn several_artifacts_in_any_order_come_back_as_they_were() {
    let workbench = Workbench::new().await;
    let (large, middle) = (dump(20_000_000, 1), noise(3_000_000, 2));
    let artifacts: [(&str, &[u8]); 4] = [
        ("z.sql", &large),
        ("a.bin", &middle),
        ("empty", b""),
        ("m.json", b"{}"),
    ];
    let written = write(
        &workbench.repository,
        description("system-database"),
        &artifacts,
    )
    .await
    .unwrap();

    let again = workbench.open_again().await;
    let listed = again.list().await.unwrap();
    assert_eq!(listed, std::slice::from_ref(&written));
    assert_eq!(again.snapshot(&written.id).await.unwrap(), written);
    for (artifact, content) in artifacts {
        assert!(
            read(&again, &written, artifact).await.unwrap() == content,
            "{artifact}"
        );
        let summary = written
            .artifacts
            .iter()
            .find(|found| found.name == name(artifact))
            .unwrap();
        assert_eq!(summary.bytes, content.len() as u64);
        assert_eq!(summary.sha256, hex::encode(Sha256::digest(content)));
        assert_eq!(summary.evidence, [("exit".to_owned(), "0".to_owned())]);
    }
    assert_eq!(written.metadata["tables"], 3);
    assert_eq!(written.description.details["kind"], "test");
    let stored: u64 = written
        .artifacts
        .iter()
        .map(|artifact| artifact.stored_bytes)
        .sum();
    assert!(stored > 3_000_000 && stored < 15_000_000, "{stored}");
    assert_unchanged_and_clean(&workbench, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn artifacts_and_snapshots_written_at_the_same_time_do_not_mix() {
    let workbench = Workbench::new().await;
    let repository = &workbench.repository;
    let tasks = ["one", "two", "three", "four"].map(|data_set| {
        let repository = repository.clone();
        tokio::spawn(async move {
            let writer = repository.begin(description(data_set)).await.unwrap();
            let seed = data_set.len() as u64;
            let (first, second) = (dump(6_000_000, seed), noise(2_000_000, seed));
            let mut one = writer
                .create(name("first"), "text/plain".to_owned())
                .await
                .unwrap();
            let mut other = writer
                .create(name("second"), "text/plain".to_owned())
                .await
                .unwrap();
            for (left, right) in first.chunks(600_000).zip(second.chunks(200_000)) {
                one.write(Bytes::copy_from_slice(left)).await.unwrap();
                other.write(Bytes::copy_from_slice(right)).await.unwrap();
            }
            other.commit(Vec::new()).await.unwrap();
            one.commit(Vec::new()).await.unwrap();
            let snapshot = writer.finish(serde_json::Value::Null).await.unwrap();
            assert!(read(&repository, &snapshot, "first").await.unwrap() == first);
            assert!(read(&repository, &snapshot, "second").await.unwrap() == second);
        })
    });
    for task in tasks {
        task.await.unwrap();
    }
    assert_unchanged_and_clean(&workbench, 4).await;
    assert!(repository.locks().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_the_repository_has_is_not_stored_again() {
    let workbench = Workbench::new().await;
    let content = dump(8_000_000, 3);
    let first = write(&workbench.repository, description("db"), &[("a", &content)])
        .await
        .unwrap();
    let second = write(&workbench.repository, description("db"), &[("a", &content)])
        .await
        .unwrap();
    assert!(first.artifacts[0].stored_bytes > 1_000_000);
    assert_eq!(second.artifacts[0].stored_bytes, 0);
    let mut longer = content.clone();
    longer.extend_from_slice(&dump(400_000, 4));
    let third = write(&workbench.repository, description("db"), &[("a", &longer)])
        .await
        .unwrap();
    assert!(third.artifacts[0].stored_bytes < first.artifacts[0].stored_bytes / 2);
    assert!(read(&workbench.repository, &third, "a").await.unwrap() == longer);
    assert_unchanged_and_clean(&workbench, 3).await;
}

#[tokio::test]
async fn a_source_that_fails_in_the_middle_leaves_no_snapshot() {
    let workbench = Workbench::new().await;
    write(&workbench.repository, description("db"), &[("a", b"old")])
        .await
        .unwrap();
    let writer = workbench.repository.begin(description("db")).await.unwrap();
    let mut whole = writer
        .create(name("whole"), "text/plain".to_owned())
        .await
        .unwrap();
    whole.write(Bytes::from_static(b"whole")).await.unwrap();
    whole.commit(Vec::new()).await.unwrap();
    let mut cut = writer
        .create(name("cut"), "text/plain".to_owned())
        .await
        .unwrap();
    cut.write(noise(10_000_000, 5).into()).await.unwrap();
    // The stream broke off: its reader drops the writer without a commit.
    drop(cut);
    let error = writer.finish(serde_json::Value::Null).await.unwrap_err();
    assert!(
        matches!(&error, Error::Unfinished { name: found, .. } if *found == name("cut")),
        "{error}"
    );
    assert_unchanged_and_clean(&workbench, 1).await;
}

#[tokio::test]
async fn an_artifact_that_is_still_open_forbids_the_snapshot() {
    let workbench = Workbench::new().await;
    let writer = workbench.repository.begin(description("db")).await.unwrap();
    let mut artifact = writer
        .create(name("open"), "text/plain".to_owned())
        .await
        .unwrap();
    artifact.write(Bytes::from_static(b"bytes")).await.unwrap();
    let error = writer.finish(serde_json::Value::Null).await.unwrap_err();
    assert!(
        error.to_string().contains("`open` was not committed"),
        "{error}"
    );
    assert_unchanged_and_clean(&workbench, 0).await;
}

#[tokio::test]
async fn a_dropped_snapshot_leaves_no_snapshot_and_no_lock() {
    let workbench = Workbench::new().await;
    let writer = workbench.repository.begin(description("db")).await.unwrap();
    let mut artifact = writer
        .create(name("a"), "text/plain".to_owned())
        .await
        .unwrap();
    artifact.write(noise(9_000_000, 6).into()).await.unwrap();
    artifact.commit(Vec::new()).await.unwrap();
    drop(writer);
    assert_unchanged_and_clean(&workbench, 0).await;
    while !workbench.repository.locks().await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_discarded_artifact_is_not_in_the_snapshot() {
    let workbench = Workbench::new().await;
    let writer = workbench.repository.begin(description("db")).await.unwrap();
    let content = noise(5_000_000, 8);
    let mut given_up = writer
        .create(name("a"), "text/plain".to_owned())
        .await
        .unwrap();
    given_up.write(content.clone().into()).await.unwrap();
    given_up.discard();
    let mut kept = writer
        .create(name("a"), "text/plain".to_owned())
        .await
        .unwrap();
    kept.write(content.clone().into()).await.unwrap();
    kept.commit(Vec::new()).await.unwrap();
    let snapshot = writer.finish(serde_json::Value::Null).await.unwrap();
    assert!(read(&workbench.repository, &snapshot, "a").await.unwrap() == content);
    assert_unchanged_and_clean(&workbench, 1).await;
}

#[tokio::test]
async fn nothing_and_the_same_name_twice_are_refused() {
    let workbench = Workbench::new().await;
    let writer = workbench.repository.begin(description("db")).await.unwrap();
    let error = writer.finish(serde_json::Value::Null).await.unwrap_err();
    assert!(matches!(error, Error::NoArtifacts), "{error}");
    let writer = workbench.repository.begin(description("db")).await.unwrap();
    let _one = writer
        .create(name("a"), "text/plain".to_owned())
        .await
        .unwrap();
    let error = writer
        .create(name("a"), "text/plain".to_owned())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::ArtifactExists { .. }), "{error}");
    assert_unchanged_and_clean(&workbench, 0).await;
}

#[tokio::test]
async fn hostile_descriptions_are_refused_before_anything_is_written() {
    let workbench = Workbench::new().await;
    for data_set in ["..", "a/b", "", "evidence.json", "a\n"] {
        let error = workbench
            .repository
            .begin(description(data_set))
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Name { .. }), "{data_set}: {error}");
    }
    let hostile = cofferdam_repository::SnapshotDescription {
        application: "\u{1b}[2J".to_owned(),
        ..description("db")
    };
    assert!(workbench.repository.begin(hostile).await.is_err());
    assert!(workbench.files("cofferdam").is_empty());
}

#[tokio::test]
async fn a_wrong_password_a_missing_and_a_second_repository_are_told_apart() {
    let workbench = Workbench::new().await;
    let location = workbench.location();
    let wrong = Password::new("wrong horse".to_owned()).unwrap();
    let error = Repository::open(&location, &wrong).await.unwrap_err();
    assert!(matches!(error, Error::WrongPassword { .. }), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("wrong horse"));
    let error = Repository::init(&location, &wrong).await.unwrap_err();
    assert!(matches!(error, Error::AlreadyExists { .. }), "{error}");
    let nowhere = Location::Folder(workbench.folder.path().join("nowhere"));
    let error = Repository::open(&nowhere, &password()).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
    assert!(!workbench.folder.path().join("nowhere").exists());
}

#[tokio::test]
async fn keys_are_added_and_removed_but_never_the_last_or_the_one_in_use() {
    let workbench = Workbench::new().await;
    let repository = &workbench.repository;
    let only = repository.keys().await.unwrap();
    assert_eq!(only.len(), 1);
    let error = repository.remove_key(&only[0].id).await.unwrap_err();
    assert!(matches!(error, Error::KeyInUse { .. }), "{error}");
    let second = Password::new("second horse".to_owned()).unwrap();
    let added = repository.add_key(&second).await.unwrap();
    let by_second = Repository::open(&workbench.location(), &second)
        .await
        .unwrap();
    assert_eq!(by_second.id(), repository.id());
    assert!(by_second.remove_key(&added).await.is_err(), "it is in use");
    by_second.remove_key(&only[0].id).await.unwrap();
    let error = Repository::open(&workbench.location(), &password())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::WrongPassword { .. }), "{error}");
    let error = by_second.remove_key(&only[0].id).await.unwrap_err();
    assert!(matches!(error, Error::NoSuchKey { .. }), "{error}");
}

#[tokio::test]
async fn proofs_are_kept_beside_the_snapshot_and_forged_ones_are_not_believed() {
    let workbench = Workbench::new().await;
    let repository = &workbench.repository;
    let snapshot = write(repository, description("db"), &[("a", b"x")])
        .await
        .unwrap();
    let proof = Proof {
        at: "2026-11-22T11:00:00Z".parse().unwrap(),
        run: "verify-1".to_owned(),
        kind: "verify".to_owned(),
        details: serde_json::json!({ "rows": 7 }),
    };
    repository
        .record_proof(&snapshot.id, proof.clone())
        .await
        .unwrap();
    let again = workbench.open_again().await;
    assert_eq!(
        again.snapshot(&snapshot.id).await.unwrap().proofs,
        std::slice::from_ref(&proof)
    );
    let file = workbench.files("cofferdam/proofs").remove(0);
    fs_err::write(&file, serde_json::to_vec(&proof).unwrap()).unwrap();
    assert!(again.list().await.unwrap()[0].proofs.is_empty());
}
