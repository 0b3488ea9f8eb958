//! Who a container is, whom it reaches, and what it cannot touch.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use local_cluster::pods::{ExecStatus, VolumeSource};

use super::{WAITS, container, ground, mount, output, run, run_in, runtime_with, until, volume};

#[tokio::test]
async fn containers_share_the_network_and_volumes_but_not_processes() {
    let ground = ground();
    let (mut left, mut right) = (container(WAITS), container(WAITS));
    right.name = "right".to_owned();
    left.mounts = vec![mount("shared", "/shared")];
    right.mounts = vec![mount("shared", "/elsewhere")];
    let volumes = vec![volume(
        "shared",
        VolumeSource::EmptyDir { size_limit: None },
    )];
    let pod = ground.start("till", vec![left, right], volumes).await;
    output(&pod, "echo note > /shared/note; touch /tmp/mine").await;
    assert_eq!(
        run_in(&pod, "right", "cat /elsewhere/note").await.stdout,
        "note\n"
    );
    assert_eq!(run_in(&pod, "right", "ls /tmp").await.stdout, "");
    let network = run_in(&pod, "right", "readlink /proc/self/ns/net")
        .await
        .stdout;
    assert_eq!(
        output(&pod, "readlink /proc/self/ns/net").await,
        network.trim_end()
    );
    let processes = run_in(&pod, "right", "readlink /proc/self/ns/pid")
        .await
        .stdout;
    assert_ne!(
        output(&pod, "readlink /proc/self/ns/pid").await,
        processes.trim_end()
    );
}

#[tokio::test]
async fn a_container_runs_as_the_user_it_names() {
    let ground = ground();
    let mut named = container(WAITS);
    named.run_as_user = Some(102);
    named.mounts = vec![mount("data", "/var/lib/pgsql/data")];
    let data = VolumeSource::HostFolder(ground.folder.path().join("data"));
    let pod = ground
        .start("named", vec![named], vec![volume("data", data)])
        .await;
    assert_eq!(
        output(&pod, "id -u; id -un; echo $HOME").await,
        "102\npostgres\n/var/lib/pgsql"
    );
    let script =
        "mkdir -m 700 /var/lib/pgsql/data/userdata && stat -c %u /var/lib/pgsql/data/userdata";
    assert_eq!(output(&pod, script).await, "102");
    assert_eq!(output(&pod, "echo hello > /dev/stdout").await, "hello");
    let mut unnamed = container(WAITS);
    unnamed.run_as_user = Some(1_000_620_000);
    let pod = ground.start("unnamed", vec![unnamed], vec![]).await;
    assert_eq!(
        output(&pod, "id -u; id -g; echo $HOME").await,
        "1000620000\n0\n/"
    );
}

/// A helper that is started as `nobody`, if this test itself runs as root.
fn helper_of_an_ordinary_user(folder: &Path) -> PathBuf {
    let original = Path::new(env!("CARGO_BIN_EXE_local-cluster"));
    if !nix::unistd::geteuid().is_root() {
        return original.to_owned();
    }
    let (program, wrapper) = (folder.join("program"), folder.join("wrapper"));
    fs_err::copy(original, &program).unwrap();
    let script = format!(
        "#!/bin/sh\nexec setpriv --reuid 65534 --regid 65534 --clear-groups {} \"$@\"\n",
        program.display()
    );
    fs_err::write(&wrapper, script).unwrap();
    for path in [folder, &wrapper] {
        fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    wrapper
}

#[tokio::test]
async fn an_ordinary_user_can_run_pods_with_any_user_id_in_them() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = runtime_with(folder.path(), helper_of_an_ordinary_user(folder.path()));
    let mut container = container(WAITS);
    container.run_as_user = Some(102);
    container.mounts = vec![mount("data", "/var/lib/pgsql/data")];
    let data = volume("data", VolumeSource::HostFolder(folder.path().join("data")));
    let pod = runtime
        .start(super::pod("till", vec![container], vec![data]))
        .await
        .unwrap();
    assert_eq!(
        output(&pod, "id -u; grep -c eth0 /proc/net/dev").await,
        "102\n1"
    );
    assert_eq!(
        output(
            &pod,
            "cd /var/lib/pgsql/data; echo x > table; stat -c %u table"
        )
        .await,
        "102"
    );
    assert_eq!(run(&pod, "kill -9 $$").await.status, ExecStatus::Code(137));
    pod.stop(Duration::from_secs(10)).await;
    assert_eq!(pod.exited("main").await, 0);
}

/// A server in one line; every Debian has this much of Perl.
const SERVER: &str = r#"exec perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(LocalPort => 6379, Listen => 5, ReuseAddr => 1) or die; while ($c = $s->accept) { print $c $ENV{NAME}; close $c }'"#;

fn dial(host: &str, port: u16) -> String {
    format!(
        "perl -MIO::Socket::INET -e '$c = IO::Socket::INET->new(PeerAddr => \"{host}\", PeerPort => {port}, \
         Timeout => 2) or die $@; print <$c>'"
    )
}

#[tokio::test]
async fn pods_have_ports_of_their_own_and_find_each_other_by_name() {
    let ground = ground();
    let server = |name: &str| {
        let mut container = container(SERVER);
        container.env = vec![("NAME".to_owned(), name.to_owned())];
        container
    };
    let left = ground.start("left-0", vec![server("left")], vec![]).await;
    let right = ground.start("right-0", vec![server("right")], vec![]).await;
    let name = "right.shop.svc.cluster.local".to_owned();
    ground.runtime.set_hosts(
        "shop",
        vec![("right".to_owned(), right.ip()), (name, right.ip())],
    );
    until("both listen", async || {
        run(&left, &dial("localhost", 6379)).await.stdout == "left"
            && run(&right, &dial("localhost", 6379)).await.stdout == "right"
    })
    .await;
    for host in [
        "right",
        "right.shop.svc.cluster.local",
        "right-0",
        &right.ip().to_string(),
    ] {
        assert_eq!(output(&left, &dial(host, 6379)).await, "right", "{host}");
    }
    right.stop(Duration::ZERO).await;
    assert_ne!(
        run(&left, &dial("right-0", 6379)).await.status,
        ExecStatus::Code(0)
    );
}

#[tokio::test]
async fn a_pod_cannot_reach_the_host() {
    let ground = ground();
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let pod = ground.waiting("till").await;
    let outcome = run(&pod, &dial("127.0.0.1", port)).await;
    assert!(outcome.stderr.contains("refused"), "{}", outcome.stderr);
    assert_eq!(
        output(
            &pod,
            "ls /sys/class/net 2>/dev/null; cut -d: -f1 -s /proc/net/dev | tr -d ' ' | sort"
        )
        .await,
        "eth0\nlo"
    );
    assert_eq!(
        output(
            &pod,
            "tail -n +2 /proc/net/route | awk '$2 == \"00000000\"' | wc -l"
        )
        .await,
        "0"
    );
    assert_ne!(
        run(&pod, "echo 1 > /proc/sys/vm/drop_caches").await.status,
        ExecStatus::Code(0)
    );
    assert_ne!(
        run(&pod, "mount -t tmpfs none /mnt").await.status,
        ExecStatus::Code(0)
    );
    assert_ne!(
        run(&pod, "touch /usr/proof").await.status,
        ExecStatus::Code(0)
    );
}
