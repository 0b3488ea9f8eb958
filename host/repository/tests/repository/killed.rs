//! A writing process that is killed outright: the list is as before, and the next one finds its way.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use cofferdam_repository::Location;

use crate::workbench::{Workbench, alone, description, name, noise, password, read, write};

const FOLDER: &str = "COFFERDAM_TEST_KILLED_FOLDER";

/// Not a test by itself: the process that the tests below kill.
#[tokio::test]
#[ignore = "started by the tests that kill it"]
#[expect(
    clippy::disallowed_methods,
    reason = "a test binary takes no arguments of ours"
)]
async fn child_that_writes_until_it_is_killed() {
    let folder = std::env::var(FOLDER).unwrap();
    let location = Location::Folder(folder.into());
    let repository = cofferdam_repository::Repository::open(&location, &password())
        .await
        .unwrap();
    let writer = repository.begin(description("db")).await.unwrap();
    let mut artifact = writer
        .create(name("endless"), "text/plain".to_owned())
        .await
        .unwrap();
    for seed in 1_u64.. {
        artifact.write(noise(1_000_000, seed).into()).await.unwrap();
        println!("written {seed}");
    }
    drop(writer);
}

fn kill_a_writer_of(workbench: &Workbench) -> u32 {
    let mut child = alone("killed::child_that_writes_until_it_is_killed")
        .env(FOLDER, workbench.folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let seen = lines
        .map(Result::unwrap)
        .any(|line| line.contains("written 40"));
    assert!(seen, "the child ended by itself");
    child.kill().unwrap();
    child.wait().unwrap();
    child.id()
}

#[tokio::test]
async fn a_killed_writer_leaves_the_list_unchanged_and_the_check_clean() {
    let workbench = Workbench::new().await;
    let before = write(&workbench.repository, description("db"), &[("a", b"x")])
        .await
        .unwrap();
    let known = workbench.files("data").len();
    let process_id = kill_a_writer_of(&workbench);
    // Whole packs and, where the kill came in the middle of a write, an unfinished file.
    let left = workbench.files("data").len() - known;
    assert!(left > 1, "it had stored packs");

    let again = workbench.open_again().await;
    assert_eq!(again.list().await.unwrap(), std::slice::from_ref(&before));
    let report = again.check(true).await.unwrap();
    assert!(report.is_clean(), "{report:?}");

    let writer = again.begin(description("db")).await.unwrap();
    assert_eq!(writer.broken_locks()[0].process_id, process_id);
    let mut artifact = writer
        .create(name("a"), "text/plain".to_owned())
        .await
        .unwrap();
    artifact
        .write(Bytes::from(noise(1_000_000, 1)))
        .await
        .unwrap();
    artifact.commit(Vec::new()).await.unwrap();
    writer.finish(serde_json::Value::Null).await.unwrap();
    let packs = workbench.files("data");
    // Only looked at: a prune that changes something marks them, and then its mark decides.
    assert_eq!(
        again.prune(true).await.unwrap().leftovers_removed,
        0,
        "they are too young"
    );
    assert_eq!(workbench.files("data"), packs);
    for pack in &packs {
        let time = SystemTime::now() - Duration::from_secs(24 * 3600);
        fs_err::OpenOptions::new()
            .write(true)
            .open(pack)
            .unwrap()
            .set_modified(time)
            .unwrap();
    }
    let report = again.prune(false).await.unwrap();
    assert_eq!(report.leftovers_removed, left as u64, "{report:?}");
    assert_eq!(workbench.files("data").len(), packs.len() - left);
    assert_eq!(read(&again, &before, "a").await.unwrap(), b"x");
    let report = again.check(true).await.unwrap();
    assert!(report.is_clean(), "{report:?}");
}
