//! Histories out of made-up snapshots and journals.

use cofferdam_policy::name::{DataSetName, Namespace, ObjectName};
use cofferdam_policy::request::{Change, Workload, WorkloadKind};
use serde_json::{Value, json};

use super::*;
use crate::journal::Journal;
use crate::run::kept_runs;
use crate::state::ApplicationState;

const FIRST: &str = "20261121T090000Z-000001";
const SECOND: &str = "20261122T090000Z-000002";

fn snapshot(run: &str, data_set: &str, evidence: Value, sha256: char) -> Snapshot {
    let day = &run[6..8];
    let id: String = format!("{run}{data_set}")
        .bytes()
        .map(|b| format!("{b:02x}"))
        .collect();
    serde_json::from_value(json!({
        "id": format!("{id:0<64.64}"),
        "description": {
            "application": "threescale", "namespace": "3scale", "run": run, "dataSet": data_set,
            "module": { "name": "mysql", "version": "0.1.0", "digest": "sha256:00" },
            "expectedDataSets": ["system-database", "backend-redis"],
            "started": format!("2026-11-{day}T09:00:00Z"),
            "hostVersion": "0.1.0",
            "details": { "cluster": "https://cluster" },
        },
        "finished": format!("2026-11-{day}T09:00:10Z"),
        "artifacts": [{
            "name": "dump.sql", "mediaType": "application/sql", "bytes": 100, "storedBytes": 10,
            "sha256": sha256.to_string().repeat(64), "evidence": evidence,
        }],
        "metadata": { "callMilliseconds": 4000 },
        "proofs": [],
    }))
    .expect("a snapshot")
}

fn kept() -> Vec<KeptRun> {
    kept_runs(vec![
        snapshot(
            FIRST,
            "system-database",
            json!([["tables", "3"], ["rows-of-tables-1", "a=1 b=2"]]),
            '1',
        ),
        snapshot(FIRST, "backend-redis", json!([["keys", "7"]]), '2'),
        snapshot(
            SECOND,
            "system-database",
            json!([
                ["tables", "3"],
                ["rows-of-tables-1", "a=1"],
                ["rows-of-tables-2", "b=5 c=1"]
            ]),
            '3',
        ),
        snapshot(SECOND, "backend-redis", json!([["keys", "7"]]), '2'),
    ])
}

fn machine(run: &str, records: Vec<Record>) -> (tempfile::TempDir, RunFolder) {
    let root = tempfile::tempdir().expect("a folder");
    let state = ApplicationState::open(root.path(), &application()).expect("opened");
    let folder = state.begin(&run.parse().expect("an id")).expect("begun");
    if !records.is_empty() {
        let journal = Journal::open(&folder.journal()).expect("a journal");
        for record in records {
            journal.write(record).expect("written");
        }
    }
    (root, folder)
}

fn application() -> ApplicationName {
    ApplicationName::parse("threescale").expect("a name")
}

fn name(text: &str) -> DataSetName {
    DataSetName::parse(text).expect("a name")
}

fn begun(kind: RunKind, from: Option<&str>) -> Record {
    Record::RunBegun {
        run: SECOND.into(),
        kind,
        cluster: "https://cluster".into(),
        namespace: None,
        from: from.map(str::to_owned),
        data_sets: vec![name("system-database"), name("backend-redis")],
        process_id: 1,
    }
}

fn lease(number: u64) -> Record {
    Record::LeaseIntended {
        lease: number,
        data_set: name("backend-redis"),
        change: Change::Scale {
            namespace: Namespace::parse("3scale").expect("a name"),
            workload: Workload {
                kind: WorkloadKind::Deployment,
                name: ObjectName::parse("zync").expect("a name"),
            },
            replicas: 0,
        },
        original: json!({ "replicas": 2 }),
    }
}

fn ended(data_set: &str, error: Option<&str>) -> Record {
    Record::DataSetFinished {
        data_set: name(data_set),
        error: error.map(str::to_owned),
    }
}

fn check(run: &str, records: Vec<Record>) -> Option<History> {
    let (_root, folder) = machine(run, records);
    history(
        &run.parse().expect("an id"),
        &application(),
        &kept(),
        &folder,
    )
}

#[test]
fn a_run_of_another_machine_is_told_from_its_snapshots() {
    let history = check(SECOND, Vec::new()).expect("known");
    assert_eq!(history.outcome, Outcome::KeptWhole);
    assert_eq!(
        (history.journal, history.audit),
        (Found::Missing, Found::Missing)
    );
    let took: Vec<_> = history.data_sets.iter().map(DataSetHistory::took).collect();
    assert_eq!(took, [Some(SignedDuration::from_secs(4)); 2]);
    assert_eq!(history.cluster.as_deref(), Some("https://cluster"));
}

#[test]
fn one_table_that_grew_is_one_difference_wherever_the_list_was_cut() {
    let since = check(SECOND, Vec::new())
        .expect("known")
        .since
        .expect("an earlier run");
    assert_eq!(since.run, FIRST);
    let of = |name: &str| {
        since
            .data_sets
            .iter()
            .find(|one| one.name == name)
            .expect("there")
    };
    let said: Vec<String> = of("system-database")
        .differences
        .iter()
        .map(|one| format!("{}: {:?} {:?}", one.what, one.before, one.now))
        .collect();
    assert_eq!(
        said,
        [
            "dump.sql, rows-of-tables b: Some(\"2\") Some(\"5\")",
            "dump.sql, rows-of-tables c: None Some(\"1\")"
        ]
    );
    assert!(!of("system-database").same_bytes);
    assert!(of("backend-redis").same_bytes && of("backend-redis").differences.is_empty());
}

#[test]
fn a_run_has_no_difference_from_itself_nor_from_later_ones() {
    assert!(check(FIRST, Vec::new()).expect("known").since.is_none());
}

#[test]
fn the_journal_of_a_restore_tells_steps_leases_and_failures() {
    let restore = "20261123T090000Z-000003";
    let step = |step: &str| Record::StepBegun {
        data_set: name("backend-redis"),
        step: step.into(),
    };
    let history = check(
        restore,
        vec![
            begun(RunKind::Restore, Some(SECOND)),
            Record::DataSetBegun {
                data_set: name("backend-redis"),
            },
            lease(1),
            lease(2),
            Record::LeaseShared {
                lease: 2,
                data_set: name("system-database"),
            },
            step("check"),
            Record::StepFinished {
                data_set: name("backend-redis"),
                step: "check".into(),
            },
            step("exchange"),
            Record::LeaseReleased {
                lease: 2,
                outcome: "restored".into(),
            },
            Record::Warned {
                data_set: Some(name("backend-redis")),
                text: "slow".into(),
            },
            ended("backend-redis", Some("the pod is gone")),
            Record::RunFinished { succeeded: false },
        ],
    )
    .expect("known");
    assert_eq!(
        (history.kind, history.outcome),
        (RunKind::Restore, Outcome::Failed)
    );
    assert_eq!(history.from.as_deref(), Some(SECOND));
    assert_eq!(history.namespace.as_deref(), Some("3scale"));
    let [redis, database] = history.data_sets.as_slice() else {
        panic!("{:?}", history.data_sets)
    };
    assert_eq!(redis.failure.as_deref(), Some("the pod is gone"));
    let steps: Vec<bool> = redis
        .steps
        .iter()
        .map(|step| step.ended.is_some())
        .collect();
    assert_eq!(steps, [true, false]);
    assert_eq!(redis.bytes(), 100);
    assert_eq!(database.failure.as_deref(), Some("it was not begun"));
    let released: Vec<_> = history
        .leases
        .iter()
        .map(|one| one.outcome.as_deref())
        .collect();
    assert_eq!(released, [None, Some("restored")]);
    assert_eq!(history.leases[1].shared_with, ["system-database"]);
    assert_eq!(history.warnings[0].text, "slow");
}

#[test]
fn a_journal_without_an_end_is_never_a_success() {
    let history = check(
        SECOND,
        vec![
            begun(RunKind::Backup, None),
            Record::DataSetBegun {
                data_set: name("system-database"),
            },
        ],
    )
    .expect("known");
    assert_eq!(
        (history.outcome, history.finished),
        (Outcome::Unfinished, None)
    );
}

#[test]
fn a_run_that_a_later_one_settled_was_interrupted_and_ended_when_it_last_spoke() {
    let restore = "20261123T090000Z-000003";
    let (_root, folder) = machine(
        restore,
        vec![
            begun(RunKind::Restore, Some(SECOND)),
            Record::DataSetBegun {
                data_set: name("backend-redis"),
            },
            lease(1),
        ],
    );
    let killed = journal::read(&folder.journal()).expect("read");
    let spoke = killed.last().expect("lines").at;
    let journal = Journal::open(&folder.journal()).expect("opened");
    for record in [
        Record::LeaseReleased {
            lease: 1,
            outcome: "restored".into(),
        },
        Record::RunFinished { succeeded: false },
    ] {
        journal.write(record).expect("written");
    }
    let run = restore.parse().expect("an id");
    let history = history(&run, &application(), &kept(), &folder).expect("known");
    assert_eq!(history.outcome, Outcome::Interrupted);
    assert_eq!(history.finished, Some(spoke));
    assert!(history.settled > history.finished);
    let failures: Vec<_> = history
        .data_sets
        .iter()
        .map(|one| one.failure.as_deref())
        .collect();
    assert_eq!(
        failures,
        [
            Some("it was interrupted: the run was killed before it ended"),
            Some("it was not begun")
        ]
    );
}

#[test]
fn a_backup_killed_behind_its_snapshot_has_kept_that_data_set() {
    let begun_one = |data_set: &str| Record::DataSetBegun {
        data_set: name(data_set),
    };
    let history = check(
        SECOND,
        vec![
            begun(RunKind::Backup, None),
            begun_one("system-database"),
            begun_one("backend-redis"),
            ended("system-database", None),
            Record::RunFinished { succeeded: false },
        ],
    )
    .expect("known");
    assert_eq!(history.outcome, Outcome::Interrupted);
    assert!(history.data_sets.iter().all(|one| one.failure.is_none()));
}

#[test]
fn what_nobody_covers_is_told_once_and_not_as_a_warning() {
    let mut snapshot = snapshot(SECOND, "backend-redis", json!([]), '2');
    let external = json!([{ "name": "system-database", "why": "Oracle" }]);
    snapshot.description.details = json!({ "external": external });
    let warned = |text: &str| Record::Warned {
        data_set: Some(name("system-database")),
        text: text.into(),
    };
    let (_root, folder) = machine(
        SECOND,
        vec![
            begun(RunKind::Backup, None),
            warned("external, not covered: Oracle"),
            warned("something else"),
        ],
    );
    let run = SECOND.parse().expect("an id");
    let kept = kept_runs(vec![snapshot]);
    let history = history(&run, &application(), &kept, &folder).expect("known");
    assert_eq!(history.external.len(), 1);
    let warnings: Vec<_> = history.warnings.iter().map(|one| &one.text).collect();
    assert_eq!(warnings, ["something else"]);
}

#[test]
fn the_time_of_what_a_run_wrote_or_read_is_told_of_that_alone() {
    let moment = |data_set: &str, begun: &str, quiet: bool| {
        let mut snapshot = snapshot(SECOND, data_set, json!([]), '2');
        snapshot.description.details = json!({ "quiesce": ["stop-app"] });
        snapshot.metadata = json!({ "begun": begun, "quiet": quiet });
        snapshot
    };
    let kept = kept_runs(vec![
        moment("system-database", "2026-11-22T09:00:08Z", true),
        moment("backend-redis", "2026-11-22T09:00:01Z", false),
    ]);
    let told = |run: &str, records: Vec<Record>| {
        let (_root, folder) = machine(run, records);
        let run = run.parse().expect("an id");
        let history = history(&run, &application(), &kept, &folder).expect("known");
        let taken = history.taken.expect("a time");
        format!("{} outside {:?}", taken.from, taken.outside)
    };
    let whole = "2026-11-22T09:00:01Z outside [\"backend-redis\"]";
    assert_eq!(told(SECOND, Vec::new()), whole);
    let mut restored = begun(RunKind::Restore, Some(SECOND));
    if let Record::RunBegun { data_sets, .. } = &mut restored {
        data_sets.retain(|one| one.as_str() == "system-database");
    }
    let restore = "20261123T090000Z-000003";
    let only = "2026-11-22T09:00:08Z outside []";
    assert_eq!(told(restore, vec![restored]), only);
}

#[test]
fn a_damaged_journal_is_said_and_the_snapshots_still_speak() {
    let (_root, folder) = machine(SECOND, vec![begun(RunKind::Backup, None)]);
    std::fs::write(folder.journal(), "nonsense\n").expect("written");
    let run = SECOND.parse().expect("an id");
    let history = history(&run, &application(), &kept(), &folder).expect("known");
    assert!(
        matches!(history.journal, Found::Damaged(_)),
        "{:?}",
        history.journal
    );
    assert_eq!(history.outcome, Outcome::KeptWhole);
}

#[test]
fn a_run_that_nobody_knows_has_no_history() {
    assert!(check("20261101T090000Z-000009", Vec::new()).is_none());
}
