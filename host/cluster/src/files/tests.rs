//! Files by the fixed scripts, run by a server that starts real processes in a temporary folder.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Stdio;

use bytes::Bytes;
use cofferdam_policy::name::{PathName, PodPath};
use cofferdam_policy::request::{AccessFile, FileOperation};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::cluster::Cluster;
use crate::error::Error;
use crate::files::{FileKind, read_state};
use crate::testing::{Plan, Wanted, Wire, permit, pod, receive, send, server, succeed, target};

fn pod_path(path: &Path) -> PodPath {
    PodPath::parse(path.to_str().expect("text")).expect("a path")
}

pub(super) fn access(path: &Path, operation: FileOperation) -> AccessFile {
    AccessFile {
        target: target(),
        name: PathName::parse("data").expect("a name"),
        path: pod_path(path),
        operation,
    }
}

/// Runs what is wanted as a process of this machine, with at most `limit` bytes of input.
async fn really_run(mut wire: Wire, wanted: Wanted, limit: usize) {
    let (program, arguments) = wanted.command.split_first().expect("a program");
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("started");
    let mut stdin = child.stdin.take().expect("a pipe");
    let mut taken = 0;
    while wanted.stdin && taken < limit {
        match receive(&mut wire).await.as_deref() {
            Some([0, data @ ..]) => {
                taken += data.len();
                stdin.write_all(data).await.expect("written");
            }
            Some([255, 0]) => break,
            // The connection is gone: as a real runtime does, close the command's input.
            _ => break,
        }
    }
    drop(stdin);
    let output = child.wait_with_output().await.expect("it ends");
    send(&mut wire, 1, &output.stdout).await;
    send(&mut wire, 2, &output.stderr).await;
    match output.status.code() {
        Some(0) => succeed(&mut wire).await,
        code => {
            let code = code.unwrap_or(137);
            let status = format!(
                r#"{{"status":"Failure","reason":"NonZeroExitCode","details":{{"causes":[{{"reason":"ExitCode","message":"{code}"}}]}}}}"#
            );
            send(&mut wire, 3, status.as_bytes()).await;
        }
    }
}

pub(super) async fn machine() -> Cluster {
    let (cluster, _) = server(|wanted| {
        let wanted = wanted.clone();
        Plan::run("v5.channel.k8s.io", move |wire| {
            really_run(wire, wanted, usize::MAX)
        })
    })
    .await;
    cluster
}

async fn read(cluster: &Cluster, path: &Path) -> Result<Vec<u8>, String> {
    let permit = permit(access(path, FileOperation::Read));
    let mut reader = cluster
        .read_file(&permit, &pod())
        .await
        .map_err(|error| error.to_string())?;
    let mut content = Vec::new();
    while let Some(bytes) = reader.next().await.map_err(|error| error.to_string())? {
        content.extend_from_slice(&bytes);
    }
    Ok(content)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut names: Vec<String> = entries
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("text")
        })
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_file_is_written_beside_and_renamed_into_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("it's $(id) data.rdb");
    std::fs::write(&path, "old").expect("written");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).expect("set");
    let stale = folder.path().join(".cofferdam-partial-data.run-1");
    std::fs::write(&stale, "left by a run that died").expect("written");
    let cluster = machine().await;
    let permit = permit(access(&path, FileOperation::Write));
    let mut writer = cluster
        .write_file(&permit, &pod(), "run-2", None)
        .await
        .expect("started");
    let content = vec![b'x'; 300_000];
    writer
        .write(Bytes::from(content.clone()))
        .await
        .expect("taken");
    assert_eq!(
        std::fs::read(&path).expect("there"),
        b"old",
        "nothing is in place yet"
    );
    assert_eq!(writer.finish().await.expect("finished"), 300_000);
    assert_eq!(std::fs::read(&path).expect("there"), content);
    let mode = std::fs::metadata(&path)
        .expect("there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o640, "the mode is kept");
    assert_eq!(names(folder.path()), ["it's $(id) data.rdb"]);
    assert_eq!(read(&cluster, &path).await, Ok(content));
}

#[tokio::test]
async fn a_write_that_is_given_up_leaves_the_old_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("dump.rdb");
    std::fs::write(&path, "old").expect("written");
    let cluster = machine().await;
    let permit = permit(access(&path, FileOperation::Write));
    let mut writer = cluster
        .write_file(&permit, &pod(), "run", None)
        .await
        .expect("started");
    writer.write(Bytes::from("half")).await.expect("taken");
    writer.abandon().await;
    assert_eq!(std::fs::read(&path).expect("there"), b"old");
}

#[tokio::test]
async fn a_pod_that_kept_less_than_was_sent_gets_no_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("dump.rdb");
    let (cluster, _) = server(|wanted| {
        let wanted = wanted.clone();
        Plan::run("v5.channel.k8s.io", move |wire| {
            really_run(wire, wanted, 65536)
        })
    })
    .await;
    let permit = permit(access(&path, FileOperation::Write));
    let mut writer = cluster
        .write_file(&permit, &pod(), "run", None)
        .await
        .expect("started");
    writer
        .write(Bytes::from(vec![b'x'; 100_000]))
        .await
        .expect("taken");
    let error = writer.finish().await.expect_err("too few");
    assert!(
        error
            .to_string()
            .ends_with("the pod has another number of bytes than were sent"),
        "{error}"
    );
    assert!(!path.exists());
}

#[tokio::test]
async fn a_write_onto_a_folder_or_into_nothing_fails() {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = machine().await;
    let taken = folder.path().join("taken");
    std::fs::create_dir(&taken).expect("made");
    let permit_taken = permit(access(&taken, FileOperation::Write));
    let writer = cluster
        .write_file(&permit_taken, &pod(), "run", None)
        .await
        .expect("started");
    let error = writer.finish().await.expect_err("a folder");
    assert!(
        error.to_string().ends_with("a folder is in its place"),
        "{error}"
    );
    let nowhere = permit(access(
        &folder.path().join("none/file"),
        FileOperation::Write,
    ));
    let writer = cluster
        .write_file(&nowhere, &pod(), "run", None)
        .await
        .expect("started");
    let error = writer.finish().await.expect_err("no folder");
    assert!(matches!(error, Error::File { .. }), "{error}");
    let error = cluster
        .write_file(&nowhere, &pod(), "../run", None)
        .await
        .expect_err("no id");
    assert!(matches!(error, Error::WrongPermit { .. }), "{error}");
}

#[tokio::test]
async fn a_link_is_followed_only_within_its_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let mount = folder.path().join("mount");
    std::fs::create_dir_all(mount.join("..data")).expect("made");
    std::fs::write(mount.join("..data/redis.conf"), "save").expect("written");
    symlink("..data/redis.conf", mount.join("redis.conf")).expect("linked");
    std::fs::write(folder.path().join("outside"), "secret").expect("written");
    symlink("../outside", mount.join("out")).expect("linked");
    let cluster = machine().await;
    assert_eq!(
        read(&cluster, &mount.join("redis.conf")).await,
        Ok(b"save".to_vec())
    );
    let out = mount.join("out");
    let failed = |path: &Path, what: &str| {
        Err(format!(
            "failed to read `{}` in pod `p`: {what}",
            path.display()
        ))
    };
    assert_eq!(
        read(&cluster, &out).await,
        failed(&out, "it is a link that leads out of its folder")
    );
    assert_eq!(
        read(&cluster, &mount).await,
        failed(&mount, "it is no regular file")
    );
    let missing = mount.join("missing");
    assert_eq!(
        read(&cluster, &missing).await,
        Err(format!("no `{}` in pod `p`", missing.display()))
    );
}

#[tokio::test]
async fn a_file_is_looked_at_renamed_and_removed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("dump.rdb");
    std::fs::write(&path, "12345").expect("written");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o4600)).expect("set");
    let cluster = machine().await;
    let stat = |path: &Path| permit(access(path, FileOperation::Stat));
    let state = cluster
        .stat(&stat(&path), &pod())
        .await
        .expect("an answer")
        .expect("a file");
    assert_eq!(
        (state.kind, state.size, state.mode),
        (FileKind::File, 5, 0o4600)
    );
    assert!(state.modified > 1_000_000_000);
    let to = folder.path().join("dump.rdb-old");
    let rename = |to: &Path| {
        permit(access(
            &path,
            FileOperation::Rename {
                to: PathName::parse("old").expect("a name"),
                to_path: pod_path(to),
            },
        ))
    };
    let error = cluster
        .rename(&rename(folder.path()), &pod())
        .await
        .expect_err("a folder");
    assert!(
        error.to_string().ends_with("a folder is in its place"),
        "{error}"
    );
    cluster.rename(&rename(&to), &pod()).await.expect("renamed");
    assert_eq!(
        cluster.stat(&stat(&path), &pod()).await.expect("an answer"),
        None
    );
    let error = cluster
        .rename(&rename(&to), &pod())
        .await
        .expect_err("nothing there");
    assert!(matches!(error, Error::NoFile { .. }), "{error}");
    std::fs::create_dir(&path).expect("made");
    std::fs::write(path.join("appendonly.aof"), "x").expect("written");
    let remove = permit(access(&path, FileOperation::Remove));
    assert!(cluster.remove(&remove, &pod()).await.expect("removed"));
    assert!(
        !cluster
            .remove(&remove, &pod())
            .await
            .expect("nothing there")
    );
    assert_eq!(names(folder.path()), ["dump.rdb-old"]);
}

#[tokio::test]
async fn a_permit_to_look_does_not_read() {
    let cluster = machine().await;
    let permit = permit(access(Path::new("/etc/hostname"), FileOperation::Stat));
    let error = cluster
        .read_file(&permit, &pod())
        .await
        .expect_err("another operation");
    assert_eq!(
        error.to_string(),
        "the permit does not fit: it allows something else than to read `/etc/hostname`"
    );
}

#[test]
fn the_answer_of_stat_is_understood() {
    let folder = read_state("41ed 4096 -5\n").expect("a state");
    assert_eq!(
        (folder.kind, folder.mode, folder.modified),
        (FileKind::Folder, 0o755, 0)
    );
    assert_eq!(
        read_state("a1ff 7 1").expect("a state").kind,
        FileKind::Link
    );
    assert_eq!(
        read_state("21b6 0 1").expect("a state").kind,
        FileKind::Other
    );
    assert_eq!(read_state("stat: cannot"), None);
}
