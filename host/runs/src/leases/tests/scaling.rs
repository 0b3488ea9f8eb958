//! Leases on numbers of replicas, and pods that must stay.

use super::*;

#[test]
fn scaling_to_the_same_number_is_the_same_change() {
    let scope = stage().scope(&name("objects"));
    let scale = |replicas| Change::Scale {
        namespace: scope.namespace.clone(),
        workload: Workload {
            kind: WorkloadKind::Deployment,
            name: ObjectName::parse("system-app").expect("a name"),
        },
        replicas,
    };
    let mut table = Table::default();
    let mut take = |id, data_set, replicas| {
        let turn = table.take(LeaseId(id), &scope, &name(data_set), &scale(replicas));
        if matches!(turn, Take::Make) {
            table.made(LeaseId(id));
        }
        turn
    };
    assert!(matches!(take(1, "a", 0), Take::Make));
    assert!(matches!(take(2, "b", 0), Take::Join(_)));
    assert!(matches!(take(3, "c", 1), Take::Conflict(_)));
}

#[test]
fn while_a_workload_is_scaled_its_number_is_the_one_from_before() {
    let scope = stage().scope(&name("objects"));
    let workload = |called: &str| Workload {
        kind: WorkloadKind::Deployment,
        name: ObjectName::parse(called).expect("a name"),
    };
    let change = Change::Scale {
        namespace: scope.namespace.clone(),
        workload: workload("system-app"),
        replicas: 0,
    };
    let mut table = Table::default();
    let number = |table: &Table, called| table.replicas_before(&scope.namespace, &workload(called));
    let _make = table.take(LeaseId(1), &scope, &name("stop-app"), &change);
    assert_eq!(number(&table, "system-app"), None, "nothing is changed yet");
    table.found(LeaseId(1), Original::Replicas { replicas: 3 });
    table.made(LeaseId(1));
    assert_eq!(number(&table, "system-app"), Some(3));
    assert_eq!(number(&table, "system-sidekiq"), None);
    let elsewhere = Namespace::parse("elsewhere").expect("a name");
    let there = table.replicas_before(&elsewhere, &workload("system-app"));
    assert_eq!(there, None);
    let _last = table.leave(LeaseId(1));
    table.put_back(LeaseId(1), Ok(PutBackOutcome::Restored));
    assert_eq!(number(&table, "system-app"), None);
}

#[tokio::test]
async fn a_workload_whose_pods_must_stay_is_not_scaled_and_one_that_is_scaled_cannot_be_kept() {
    let stage = stage();
    let scope = stage.scope(&name("zync-database"));
    let target = |called: &str| Target {
        role: "server".parse().expect("a role"),
        namespace: scope.namespace.clone(),
        workload: Workload {
            kind: WorkloadKind::Deployment,
            name: ObjectName::parse(called).expect("a name"),
        },
        container: "main".parse().expect("a name"),
    };
    let scale = |called: &str| Change::Scale {
        namespace: scope.namespace.clone(),
        workload: target(called).workload,
        replicas: 0,
    };
    let desk = &stage.desk;
    let turn = |id, called| desk.turn(LeaseId(id), &scope, &name("later"), &scale(called));
    assert!(desk.check_guards(&target("zync-database")).is_ok());
    desk.guard(
        &name("zync-database"),
        &target("zync-database"),
        "it is in an emptyDir",
    )
    .expect("guarded");
    for refusal in [
        desk.check_guards(&target("zync-database"))
            .expect_err("refused"),
        turn(1, "zync-database").expect_err("refused"),
    ] {
        assert_eq!(
            refusal.to_string(),
            "the pods of deployment/zync-database must stay for the rest of this run, says data set `zync-database`: it is in an emptyDir"
        );
    }
    assert!(desk.check_guards(&target("zync")).is_ok());
    let _made = turn(2, "zync").expect("another workload");
    let refusal = desk
        .guard(&name("zync-database"), &target("zync"), "too late")
        .expect_err("refused");
    assert!(
        refusal
            .to_string()
            .contains("putting it back replaces its pods"),
        "{refusal}"
    );
}
