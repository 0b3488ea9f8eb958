//! Backups beside each other, prune and forget alone.

use std::path::Path;

use bytes::Bytes;
use cofferdam_repository::{Error, Retention};

use crate::workbench::{Workbench, description, name, noise, read, write};

fn keep_one() -> Retention {
    Retention {
        last: Some(1),
        ..Retention::default()
    }
}

#[tokio::test]
async fn prune_and_forget_are_refused_beside_a_backup_that_then_ends_whole() {
    let workbench = Workbench::new().await;
    let content = noise(2_000_000, 1);
    let writer = workbench.repository.begin(description("db")).await.unwrap();
    let mut artifact = writer
        .create(name("a"), "text/plain".to_owned())
        .await
        .unwrap();
    artifact.write(content.clone().into()).await.unwrap();

    let other = workbench.open_again().await;
    for error in [
        other.prune(false).await.unwrap_err(),
        other.forget(&keep_one(), false).await.unwrap_err(),
    ] {
        let Error::Locked { owner } = &error else {
            panic!("{error:?}")
        };
        assert_eq!(owner.process_id, std::process::id());
        assert!(
            error.to_string().contains("backup of `threescale`"),
            "{error}"
        );
        assert!(error.hint().unwrap().contains("wait until process"));
    }
    // Another backup is welcome.
    write(&other, description("other"), &[("b", b"b")])
        .await
        .unwrap();
    artifact.commit(Vec::new()).await.unwrap();
    let snapshot = writer.finish(serde_json::Value::Null).await.unwrap();
    assert!(read(&other, &snapshot, "a").await.unwrap() == content);
    assert!(
        other.locks().await.unwrap().is_empty(),
        "finish gives the lock back"
    );
    other.prune(false).await.unwrap();
}

/// Makes the lock in the repository that of a process that is gone.
fn bury_its_holder(file: &Path) {
    let mut body: serde_json::Value = serde_json::from_slice(&fs_err::read(file).unwrap()).unwrap();
    body["process_id"] = 4_194_305.into();
    fs_err::write(file, serde_json::to_vec(&body).unwrap()).unwrap();
}

#[tokio::test]
async fn the_lock_of_a_dead_backup_is_broken_and_reported() {
    let workbench = Workbench::new().await;
    let writer = workbench.repository.begin(description("db")).await.unwrap();
    bury_its_holder(&workbench.files("cofferdam/locks")[0]);
    let other = workbench.open_again().await;
    let report = other.prune(false).await.unwrap();
    assert_eq!(report.broken_locks.len(), 1);
    assert_eq!(report.broken_locks[0].process_id, 4_194_305);

    // Had it not been dead, its snapshot would count on packs that the prune may have marked.
    let mut artifact = writer
        .create(name("a"), "text/plain".to_owned())
        .await
        .unwrap();
    artifact.write(Bytes::from_static(b"late")).await.unwrap();
    artifact.commit(Vec::new()).await.unwrap();
    let error = writer.finish(serde_json::Value::Null).await.unwrap_err();
    assert!(matches!(error, Error::LockLost { .. }), "{error}");
    assert!(other.list().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_backup_waits_for_nobody_but_is_refused_beside_a_prune() {
    let workbench = Workbench::new().await;
    let writer = workbench.repository.begin(description("db")).await.unwrap();
    let file = workbench.files("cofferdam/locks").remove(0);
    let mut body: serde_json::Value =
        serde_json::from_slice(&fs_err::read(&file).unwrap()).unwrap();
    drop(writer);
    while !workbench.files("cofferdam/locks").is_empty() {
        tokio::task::yield_now().await;
    }
    body["kind"] = "exclusive".into();
    body["purpose"] = "prune".into();
    fs_err::write(&file, serde_json::to_vec(&body).unwrap()).unwrap();
    let error = workbench
        .repository
        .begin(description("db"))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("(prune, since"), "{error}");
}

#[tokio::test]
async fn reading_listing_and_checking_write_nothing() {
    let workbench = Workbench::new().await;
    let snapshot = write(&workbench.repository, description("db"), &[("a", b"x")])
        .await
        .unwrap();
    let before = workbench.files("");
    let modified = |files: &[std::path::PathBuf]| -> Vec<_> {
        files
            .iter()
            .map(|file| file.metadata().unwrap().modified().unwrap())
            .collect()
    };
    let times = modified(&before);
    let again = workbench.open_again().await;
    again.list().await.unwrap();
    again.check(true).await.unwrap();
    read(&again, &snapshot, "a").await.unwrap();
    assert_eq!(workbench.files(""), before);
    assert_eq!(modified(&before), times);
}
