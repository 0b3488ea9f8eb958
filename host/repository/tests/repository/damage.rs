//! Bytes that changed on disk are found, by `check` and by whoever reads them.

use std::path::Path;

use cofferdam_repository::{Error, Severity};

use crate::workbench::{Workbench, description, dump, name, noise, read, write};

fn flip(file: &Path, position: usize) {
    let mut bytes = fs_err::read(file).unwrap();
    bytes[position] ^= 1;
    fs_err::write(file, bytes).unwrap();
}

fn largest(files: Vec<std::path::PathBuf>) -> std::path::PathBuf {
    files
        .into_iter()
        .max_by_key(|file| file.metadata().unwrap().len())
        .unwrap()
}

#[tokio::test]
async fn a_flipped_byte_in_a_pack_is_found_by_a_check_of_all_data_and_by_reading() {
    let workbench = Workbench::new().await;
    let content = noise(6_000_000, 1);
    let snapshot = write(&workbench.repository, description("db"), &[("a", &content)])
        .await
        .unwrap();
    flip(&largest(workbench.files("data")), 4_000_000);
    let again = workbench.open_again().await;
    let without_data = again.check(false).await.unwrap();
    assert!(
        without_data.is_clean(),
        "only all data show it: {without_data:?}"
    );
    let report = again.check(true).await.unwrap();
    assert!(!report.is_clean());
    assert!(
        report
            .findings
            .iter()
            .all(|finding| !finding.text.contains('\n'))
    );

    let mut reader = again.open_artifact(&snapshot.id, &name("a")).await.unwrap();
    let error = loop {
        match reader.read().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("a damaged artifact ended as if it were whole"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Format { .. }), "{error:?}");
    assert!(
        reader.read().await.is_err(),
        "silence after an error must not look like the end"
    );
}

#[tokio::test]
async fn a_pack_that_is_gone_is_found_without_reading_data() {
    let workbench = Workbench::new().await;
    let content = dump(6_000_000, 1);
    let snapshot = write(&workbench.repository, description("db"), &[("a", &content)])
        .await
        .unwrap();
    fs_err::remove_file(largest(workbench.files("data"))).unwrap();
    let again = workbench.open_again().await;
    assert!(!again.check(false).await.unwrap().is_clean());
    assert!(read(&again, &snapshot, "a").await.is_err());
}

#[tokio::test]
async fn a_damaged_index_or_snapshot_file_is_a_finding_and_not_a_failure() {
    for folder in ["index", "snapshots"] {
        let workbench = Workbench::new().await;
        write(&workbench.repository, description("db"), &[("a", b"x")])
            .await
            .unwrap();
        let kept = write(&workbench.repository, description("db"), &[("a", b"y")])
            .await
            .unwrap();
        let spared = format!("{}", kept.id);
        let file = workbench
            .files(folder)
            .into_iter()
            .find(|file| !file.ends_with(&spared))
            .unwrap();
        flip(&file, 20);
        let again = workbench.open_again().await;
        let report = again.check(true).await.unwrap();
        assert!(
            report
                .findings
                .iter()
                .any(|finding| finding.severity == Severity::Error),
            "{folder}: {report:?}"
        );
        if folder == "snapshots" {
            let listed = again.list().await.unwrap();
            assert_eq!(listed.len(), 1, "the other snapshot is still listed");
            assert_eq!(listed[0].id, kept.id);
        }
    }
}
