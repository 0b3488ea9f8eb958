//! The emergency exit: plain restic, 0.14 or newer, reads what this program wrote.

use std::path::Path;
use std::process::{Command, Output};

use cofferdam_repository::Retention;

use crate::workbench::{PASSWORD, Workbench, description, dump, noise, read, write};

/// The restic to use: `COFFERDAM_TEST_RESTIC`, or the one on the path.
#[expect(
    clippy::disallowed_methods,
    reason = "a test binary takes no arguments of ours"
)]
fn program() -> String {
    std::env::var("COFFERDAM_TEST_RESTIC").unwrap_or_else(|_| "restic".to_owned())
}

pub(crate) fn restic(folder: &Path, arguments: &[&str]) -> Output {
    let output = Command::new(program())
        .args(["--no-cache", "--repo"])
        .arg(folder)
        .args(arguments)
        .env("RESTIC_PASSWORD", PASSWORD)
        .output()
        .unwrap_or_else(|error| {
            panic!(
                "restic is needed: apt-get install restic, or set COFFERDAM_TEST_RESTIC: {error}"
            )
        });
    assert!(
        output.status.success(),
        "restic {arguments:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

#[tokio::test]
async fn restic_checks_dumps_and_restores_what_was_written_here() {
    let workbench = Workbench::new().await;
    let folder = workbench.folder.path();
    let (large, middle) = (dump(30_000_000, 1), noise(3_000_000, 2));
    let artifacts: [(&str, &[u8]); 4] = [
        ("system.sql", &large),
        ("dump.rdb", &middle),
        ("empty", b""),
        ("Secret.json", b"{}\n"),
    ];
    let snapshot = write(
        &workbench.repository,
        description("system-database"),
        &artifacts,
    )
    .await
    .unwrap();
    write(
        &workbench.repository,
        description("backend-redis"),
        &[("dump.rdb", &middle)],
    )
    .await
    .unwrap();

    let checked = restic(folder, &["check", "--read-data"]);
    let text = String::from_utf8_lossy(&checked.stdout);
    assert!(text.contains("no errors were found"), "{text}");
    let listed = restic(folder, &["snapshots", "--json"]);
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    let found = listed
        .as_array()
        .unwrap()
        .iter()
        .find(|found| found["id"] == snapshot.id.as_ref())
        .unwrap();
    assert_eq!(found["hostname"], "threescale");
    assert_eq!(found["paths"][0], "/system-database");
    let tags = found["tags"].to_string();
    for tag in [
        "cofferdam",
        "namespace=3scale",
        "module=mysql@0.1.0",
        "run=",
    ] {
        assert!(tags.contains(tag), "{tags}");
    }

    let target = tempfile::tempdir().unwrap();
    let into = target.path().to_str().unwrap();
    restic(folder, &["restore", snapshot.id.as_ref(), "--target", into]);
    for (artifact, content) in artifacts {
        let path = format!("/system-database/{artifact}");
        let dumped = restic(folder, &["dump", snapshot.id.as_ref(), &path]);
        assert!(dumped.stdout == content, "dump {artifact}");
        let restored = fs_err::read(target.path().join("system-database").join(artifact)).unwrap();
        assert!(
            restored == content,
            "restore {artifact}: {} bytes",
            restored.len()
        );
    }
    let evidence = fs_err::read(target.path().join("evidence.json")).unwrap();
    let evidence: serde_json::Value = serde_json::from_slice(&evidence).unwrap();
    assert_eq!(evidence["dataSet"], "system-database");
    assert_eq!(evidence["artifacts"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn restic_and_this_program_share_a_repository() {
    let workbench = Workbench::new().await;
    let folder = workbench.folder.path();
    let source = tempfile::tempdir().unwrap();
    fs_err::write(source.path().join("file"), noise(2_000_000, 3)).unwrap();
    restic(folder, &["backup", source.path().to_str().unwrap()]);
    let content = dump(3_000_000, 4);
    let ours = write(&workbench.repository, description("db"), &[("a", &content)])
        .await
        .unwrap();
    assert_eq!(
        workbench.repository.list().await.unwrap().len(),
        1,
        "restic's is not ours"
    );

    // restic rewrites a snapshot file and drops what it does not know; the evidence is in the tree as well.
    restic(folder, &["tag", "--add", "precious", ours.id.as_ref()]);
    let again = workbench.open_again().await;
    let listed = again.list().await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_ne!(listed[0].id, ours.id);
    assert_eq!(listed[0].artifacts, ours.artifacts);
    assert!(read(&again, &listed[0], "a").await.unwrap() == content);

    again
        .forget(
            &Retention {
                last: Some(1),
                ..Retention::default()
            },
            false,
        )
        .await
        .unwrap();
    again.prune(false).await.unwrap();
    restic(folder, &["check", "--read-data"]);
    let left = restic(folder, &["snapshots", "--json"]);
    let left: serde_json::Value = serde_json::from_slice(&left.stdout).unwrap();
    assert_eq!(
        left.as_array().unwrap().len(),
        2,
        "restic's own snapshot is never forgotten"
    );
}
