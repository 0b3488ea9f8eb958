//! Era A of 3scale, seen by the real kubectl: what a label matches there, and what it does not.

use local_cluster::demo::{Era, NAMESPACE, manifests_of};

use crate::Bed;

fn pods(bed: &Bed, selector: &str) -> Vec<String> {
    let found = bed.run(&["get", "pods", "-l", selector, "-o", "name"]);
    found.lines().map(str::to_owned).collect()
}

#[test]
fn the_pods_of_era_a_have_both_spellings_and_no_label_of_era_b() {
    let bed = Bed::new(NAMESPACE);
    bed.feed(&["apply", "-f", "-"], &manifests_of(Era::A, "none"));
    bed.run(&[
        "wait",
        "--for=condition=Available",
        "deploymentconfig",
        "--all",
        "--timeout=180s",
    ]);
    let camel = pods(&bed, "deploymentConfig=backend-redis");
    assert_eq!(camel.len(), 1, "{camel:?}");
    assert_eq!(pods(&bed, "deploymentconfig=backend-redis"), camel);
    assert_eq!(pods(&bed, "deployment=backend-redis-1"), camel);
    assert!(pods(&bed, "deployment=backend-redis").is_empty());

    let containers = |name: &str| {
        let path = "jsonpath={.spec.template.spec.containers[*].name}";
        bed.run(&["get", &format!("deploymentconfig/{name}"), "-o", path])
    };
    assert_eq!(
        containers("system-app"),
        "system-master system-provider system-developer"
    );
    assert_eq!(containers("zync-database"), "postgresql");
    assert_eq!(containers("zync-que"), "que");
    let answer = bed.run(&[
        "exec",
        camel[0].as_str(),
        "-c",
        "backend-redis",
        "--",
        "redis-cli",
        "ping",
    ]);
    assert_eq!(answer.trim(), "PONG");
}
