//! What people do with kubectl: get, exec, cp, apply from both sides, rollout, wait, scale, logs and
//! delete.

use std::path::PathBuf;

use crate::Bed;

/// A pod that writes a line and waits, in a Deployment.
const SLEEPER: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata:
  name: sleeper
  labels: { app: demo }
spec:
  replicas: 1
  strategy: { type: Recreate }
  selector:
    matchLabels: { deployment: sleeper }
  template:
    metadata:
      labels: { deployment: sleeper }
    spec:
      terminationGracePeriodSeconds: 2
      containers:
        - name: main
          image: none
          command: ["sh", "-c", "echo started; trap 'exit 0' TERM; while :; do sleep 60 & wait $!; done"]
          env:
            - { name: GREETING, value: hello }
          volumeMounts:
            - { name: data, mountPath: /data }
      volumes:
        - name: data
          persistentVolumeClaim: { claimName: data }
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: { name: data }
spec:
  accessModes: [ReadWriteOnce]
  resources: { requests: { storage: 1Mi } }
"#;

/// A cluster with the sleeper running.
fn bed() -> Bed {
    let bed = Bed::new("default");
    bed.feed(&["apply", "-f", "-"], SLEEPER);
    bed.run(&["rollout", "status", "deployment/sleeper", "--timeout=60s"]);
    bed
}

/// The name of the sleeper's pod.
fn sleeper(bed: &Bed) -> String {
    bed.run(&["get", "pods", "-l", "deployment=sleeper", "-o", "name"])
        .trim()
        .to_owned()
}

#[test]
fn get_shows_tables_names_and_fields() {
    let bed = bed();
    let table = bed.run(&["get", "pods"]);
    assert!(
        table.contains("1/1") && table.contains("Running"),
        "{table}"
    );
    assert!(
        bed.run(&["get", "deploy,cm", "-o", "name"])
            .contains("deployment.apps/sleeper")
    );
    let ready = "jsonpath={.status.readyReplicas}";
    assert_eq!(bed.run(&["get", "deployment", "sleeper", "-o", ready]), "1");
    let missing = bed.try_feed(&["get", "secret", "nope"], "");
    let error = String::from_utf8(missing.stderr).unwrap();
    assert_eq!(
        error.trim(),
        "Error from server (NotFound): secrets \"nope\" not found"
    );
    assert!(
        bed.run(&["auth", "can-i", "create", "pods/exec"])
            .contains("yes")
    );
    // What kubectl makes by itself it sends in another encoding than what it is fed.
    bed.run(&[
        "create",
        "configmap",
        "made",
        "--from-literal=key=some value",
    ]);
    bed.run(&[
        "create",
        "secret",
        "generic",
        "made",
        "--from-literal=key=a secret",
    ]);
    let key = "jsonpath={.data.key}";
    assert_eq!(
        bed.run(&["get", "configmap", "made", "-o", key]),
        "some value"
    );
    assert_eq!(
        bed.run(&["get", "secret", "made", "-o", key]),
        "YSBzZWNyZXQ="
    );
    assert!(bed.run(&["describe", &sleeper(&bed)]).contains("sleeper"));
    assert!(bed.run(&["api-resources"]).contains("deploymentconfigs"));
}

#[test]
fn exec_moves_input_output_and_the_exit_code() {
    let bed = bed();
    let pod = sleeper(&bed);
    let text = "a line\n".repeat(100_000);
    let back = bed.feed(&["exec", "-i", &pod, "--", "cat"], &text);
    assert!(
        back == text,
        "{} bytes came back of {}",
        back.len(),
        text.len()
    );
    let greeting = bed.run(&[
        "exec",
        &pod,
        "-c",
        "main",
        "--",
        "sh",
        "-c",
        "echo $GREETING",
    ]);
    assert_eq!(greeting, "hello\n");
    let failed = bed.try_feed(
        &["exec", &pod, "--", "sh", "-c", "echo bad >&2; exit 7"],
        "",
    );
    assert_eq!(failed.status.code(), Some(7));
    assert!(
        String::from_utf8(failed.stderr)
            .unwrap()
            .starts_with("bad\n")
    );
    let missing = bed.try_feed(&["exec", &pod, "--", "no-such-program"], "");
    assert!(!missing.status.success());
    assert!(
        String::from_utf8(missing.stderr)
            .unwrap()
            .contains("executable file not found")
    );
}

#[test]
fn cp_copies_both_ways() {
    let bed = bed();
    let pod = sleeper(&bed).replace("pod/", "");
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    std::fs::create_dir_all(tree.join("below")).unwrap();
    std::fs::write(tree.join("below/file"), vec![7; 300_000]).unwrap();
    let (from, back) = (tree.to_str().unwrap(), folder.path().join("back"));
    bed.run(&["cp", from, &format!("default/{pod}:/data/tree")]);
    bed.run(&[
        "cp",
        &format!("default/{pod}:/data/tree"),
        back.to_str().unwrap(),
    ]);
    assert_eq!(
        std::fs::read(back.join("below/file")).unwrap(),
        vec![7; 300_000]
    );
    let folder = bed.cluster.claim_folder("default", "data").unwrap();
    assert!(
        folder.join("tree/below/file").exists(),
        "the claim is a folder of the host"
    );
}

#[test]
fn apply_works_from_the_client_side() {
    let bed = bed();
    let same = bed.feed(&["apply", "-f", "-"], SLEEPER);
    assert!(same.contains("deployment.apps/sleeper unchanged"), "{same}");
    let changed = SLEEPER.replace("value: hello", "value: goodbye");
    let changed = bed.feed(&["apply", "-f", "-"], &changed);
    assert!(
        changed.contains("deployment.apps/sleeper configured"),
        "{changed}"
    );
    bed.run(&["rollout", "status", "deployment/sleeper", "--timeout=60s"]);
    let greeting = bed.run(&["exec", &sleeper(&bed), "--", "sh", "-c", "echo $GREETING"]);
    assert_eq!(greeting, "goodbye\n");
    let dry = bed.feed(&["apply", "--dry-run=server", "-f", "-"], SLEEPER);
    assert!(dry.contains("configured (server dry run)"), "{dry}");
}

#[test]
fn apply_works_from_the_server_side_and_conflicts_are_told() {
    let bed = bed();
    let map = |value: &str| {
        format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: m}}, data: {{a: {value}}}}}")
    };
    let apply = ["apply", "--server-side", "-f", "-"];
    bed.feed(&apply, &map("one"));
    bed.run(&[
        "patch",
        "cm",
        "m",
        "--type=merge",
        "-p",
        r#"{"data": {"a": "two"}}"#,
    ]);
    let refused = bed.try_feed(&apply, &map("three"));
    let error = String::from_utf8(refused.stderr).unwrap();
    assert!(
        error.contains("conflict with \"kubectl-patch\"") && error.contains(".data.a"),
        "{error}"
    );
    bed.feed(
        &["apply", "--server-side", "--force-conflicts", "-f", "-"],
        &map("three"),
    );
    assert_eq!(
        bed.run(&["get", "cm", "m", "-o", "jsonpath={.data.a}"]),
        "three"
    );
    // From a client-side apply to a server-side one of the same object.
    let taken = bed.feed(&apply, SLEEPER);
    assert!(
        taken.contains("deployment.apps/sleeper serverside-applied"),
        "{taken}"
    );
}

#[test]
fn rollout_restart_replaces_the_pod_and_status_waits_for_it() {
    let bed = bed();
    let old = sleeper(&bed);
    bed.run(&["rollout", "restart", "deployment/sleeper"]);
    let told = bed.run(&["rollout", "status", "deployment/sleeper", "--timeout=60s"]);
    assert!(told.contains("successfully rolled out"), "{told}");
    let new = sleeper(&bed);
    assert!(new != old && new.lines().count() == 1, "{old} became {new}");
    let history = bed.run(&["rollout", "history", "deployment/sleeper"]);
    assert!(history.contains('2'), "{history}");
}

#[test]
fn wait_scale_logs_and_delete_work() {
    let bed = bed();
    let available = [
        "wait",
        "--for=condition=Available",
        "deployment/sleeper",
        "--timeout=60s",
    ];
    bed.run(&available);
    let pod = sleeper(&bed);
    assert_eq!(bed.run(&["logs", &pod]), "started\n");
    assert_eq!(
        bed.run(&["logs", "deployment/sleeper", "--tail=1"]),
        "started\n"
    );
    bed.run(&["scale", "deployment/sleeper", "--replicas=0"]);
    bed.run(&["wait", "--for=delete", &pod, "--timeout=60s"]);
    assert_eq!(sleeper(&bed), "");
    bed.run(&[
        "scale",
        "deployment/sleeper",
        "--replicas=1",
        "--current-replicas=0",
    ]);
    bed.run(&available);
    bed.run(&["delete", "deployment", "sleeper", "--timeout=60s"]);
    assert_eq!(bed.run(&["get", "deployments", "-o", "name"]), "");
    bed.run(&[
        "wait",
        "--for=delete",
        "pod",
        "-l",
        "deployment=sleeper",
        "--timeout=60s",
    ]);
}

#[test]
fn a_cluster_that_is_dropped_leaves_no_process_and_no_folder() {
    let bed = bed();
    let (process, config) = (
        bed.cluster.process_id(),
        bed.cluster.kubeconfig().to_owned(),
    );
    drop(bed);
    assert!(!config.exists());
    assert!(!PathBuf::from(format!("/proc/{process}")).exists());
}
