//! What a container finds in its volumes, and for how long.

use std::collections::BTreeMap;
use std::time::Duration;

use local_cluster::pods::{ExecStatus, MountSpec, VolumeSource};

use super::{WAITS, container, ground, mount, output, pod, run, volume};

#[tokio::test]
async fn volumes_live_as_long_as_they_should() {
    let ground = ground();
    let kept = ground.folder.path().join("claims/data");
    let spec = |name: &str| {
        let mut container = container(WAITS);
        container.mounts = vec![
            mount("kept", "/var/lib/data"),
            mount("scratch", "/var/lib/data/scratch"),
        ];
        let scratch = VolumeSource::EmptyDir { size_limit: None };
        let volumes = vec![
            volume("scratch", scratch),
            volume("kept", VolumeSource::HostFolder(kept.clone())),
        ];
        pod(name, vec![container], volumes)
    };
    let first = ground.runtime.start(spec("first")).await.unwrap();
    output(
        &first,
        "echo row > /var/lib/data/table; echo gone > /var/lib/data/scratch/note",
    )
    .await;
    first.stop(Duration::ZERO).await;
    let second = ground.runtime.start(spec("second")).await.unwrap();
    assert_eq!(
        output(
            &second,
            "cat /var/lib/data/table; ls -A /var/lib/data/scratch"
        )
        .await,
        "row"
    );
    assert_eq!(fs_err::read_to_string(kept.join("table")).unwrap(), "row\n");
}

#[tokio::test]
async fn a_sized_volume_runs_full() {
    let ground = ground();
    let mut container = container(WAITS);
    container.run_as_user = Some(101);
    container.mounts = vec![mount("small", "/data")];
    let small = VolumeSource::EmptyDir {
        size_limit: Some(1 << 20),
    };
    let pod = ground
        .start("till", vec![container], vec![volume("small", small)])
        .await;
    output(&pod, "head -c 500000 /dev/zero > /data/fits").await;
    let outcome = run(&pod, "head -c 2000000 /dev/zero > /data/bursts").await;
    assert_ne!(outcome.status, ExecStatus::Code(0));
    assert!(
        outcome.stderr.contains("No space left on device"),
        "{}",
        outcome.stderr
    );
}

#[tokio::test]
async fn files_are_read_only_can_be_mounted_singly_and_are_replaced_at_once() {
    let ground = ground();
    let mut container = container(WAITS);
    let single = MountSpec {
        sub_path: Some("server.conf".to_owned()),
        ..mount("settings", "/etc/server/one.conf")
    };
    container.mounts = vec![mount("settings", "/etc/all"), single];
    let files = |text: &str| BTreeMap::from([("server.conf".to_owned(), text.as_bytes().to_vec())]);
    let source = VolumeSource::Files(files("port 1\n"));
    let pod = ground
        .start("till", vec![container], vec![volume("settings", source)])
        .await;
    assert_eq!(
        output(&pod, "cat /etc/all/server.conf /etc/server/one.conf").await,
        "port 1\nport 1"
    );
    for path in [
        "/etc/all/server.conf",
        "/etc/all/new",
        "/etc/server/one.conf",
    ] {
        let outcome = run(&pod, &format!("echo x > {path}")).await;
        assert!(
            outcome.stderr.contains("Read-only file system"),
            "{path}: {}",
            outcome.stderr
        );
    }
    pod.replace_files("settings", &files("port 2\n")).unwrap();
    assert_eq!(output(&pod, "cat /etc/all/server.conf").await, "port 2");
}
