//! Retention, prune in two phases, and the sweeping of leftovers.

use std::time::{Duration, SystemTime};

use cofferdam_repository::{Error, Proof, Retention};
use jiff::ToSpan;

use crate::workbench::{Workbench, description, noise, read, started, write};

const TIMES: [&str; 9] = [
    "2024-12-31T23:00:00Z",
    "2025-12-30T01:00:00Z",
    "2026-01-15T01:00:00Z",
    "2026-02-01T01:00:00Z",
    "2026-02-02T01:00:00Z",
    "2026-02-03T01:00:00Z",
    "2026-02-03T02:00:00Z",
    "2026-02-03T02:30:00Z",
    "2026-02-03T02:40:00Z",
];

/// Which of [`TIMES`] a rule keeps, by their place.
async fn kept(repository: &cofferdam_repository::Repository, rule: &Retention) -> Vec<usize> {
    let report = repository.forget(rule, true).await.unwrap();
    assert_eq!(report.decisions.len(), TIMES.len());
    let mut kept: Vec<usize> = report
        .decisions
        .iter()
        .filter(|decision| decision.keep)
        .map(|decision| {
            TIMES
                .iter()
                .position(|time| time.parse::<jiff::Timestamp>().unwrap() == decision.started)
                .unwrap()
        })
        .collect();
    kept.sort_unstable();
    kept
}

#[tokio::test]
async fn each_rule_keeps_what_it_says_and_rules_add_up() {
    let workbench = Workbench::new().await;
    let repository = &workbench.repository;
    let mut ids = Vec::new();
    for time in TIMES {
        ids.push(
            write(repository, started("db", time), &[("a", b"x")])
                .await
                .unwrap()
                .id,
        );
    }
    let rule = Retention::default;
    for (rule, expected) in [
        (
            Retention {
                last: Some(2),
                ..rule()
            },
            vec![7, 8],
        ),
        (
            Retention {
                hourly: Some(2),
                ..rule()
            },
            vec![5, 8],
        ),
        (
            Retention {
                daily: Some(3),
                ..rule()
            },
            vec![3, 4, 8],
        ),
        (
            Retention {
                weekly: Some(2),
                ..rule()
            },
            vec![3, 8],
        ),
        (
            Retention {
                monthly: Some(3),
                ..rule()
            },
            vec![1, 2, 8],
        ),
        (
            Retention {
                yearly: Some(2),
                ..rule()
            },
            vec![1, 8],
        ),
        // The oldest stands for its period while there is room.
        (
            Retention {
                yearly: Some(9),
                ..rule()
            },
            vec![0, 1, 8],
        ),
        (
            Retention {
                within: Some(90.minutes()),
                ..rule()
            },
            vec![6, 7, 8],
        ),
        (
            Retention {
                last: Some(1),
                yearly: Some(2),
                ..rule()
            },
            vec![1, 8],
        ),
        (
            Retention {
                last: Some(99),
                ..rule()
            },
            (0..TIMES.len()).collect(),
        ),
    ] {
        assert_eq!(kept(repository, &rule).await, expected, "{rule:?}");
    }
    for empty in [
        rule(),
        Retention {
            last: Some(0),
            ..rule()
        },
        Retention {
            keep_proven: true,
            ..rule()
        },
    ] {
        let error = repository.forget(&empty, false).await.unwrap_err();
        assert!(matches!(error, Error::EmptyRetention), "{error}");
    }

    for proven in [1, 3] {
        let proof = Proof {
            at: jiff::Timestamp::now(),
            run: "verify".to_owned(),
            kind: "verify".to_owned(),
            details: serde_json::Value::Null,
        };
        repository.record_proof(&ids[proven], proof).await.unwrap();
    }
    let last_and_proven = Retention {
        last: Some(1),
        keep_proven: true,
        ..rule()
    };
    assert_eq!(kept(repository, &last_and_proven).await, [3, 8]);
    let report = repository.forget(&last_and_proven, false).await.unwrap();
    let reasons: Vec<_> = report
        .decisions
        .iter()
        .flat_map(|decision| &decision.reasons)
        .collect();
    assert_eq!(reasons, ["last", "newest proven"]);
    let left: Vec<_> = repository
        .list()
        .await
        .unwrap()
        .into_iter()
        .map(|snapshot| snapshot.id)
        .collect();
    assert_eq!(left, [ids[8].clone(), ids[3].clone()]);
    assert_eq!(
        workbench.files("cofferdam/proofs").len(),
        1,
        "proofs go with their snapshots"
    );
}

#[tokio::test]
async fn data_sets_are_counted_by_themselves() {
    let workbench = Workbench::new().await;
    let repository = &workbench.repository;
    for (data_set, time) in [("one", TIMES[0]), ("one", TIMES[1]), ("two", TIMES[0])] {
        write(repository, started(data_set, time), &[("a", b"x")])
            .await
            .unwrap();
    }
    repository
        .forget(
            &Retention {
                last: Some(1),
                ..Retention::default()
            },
            false,
        )
        .await
        .unwrap();
    let mut left: Vec<_> = repository
        .list()
        .await
        .unwrap()
        .into_iter()
        .map(|snapshot| snapshot.description.data_set)
        .collect();
    left.sort();
    assert_eq!(left, ["one", "two"]);
}

#[tokio::test]
async fn prune_marks_first_and_what_is_used_stays() {
    let workbench = Workbench::new().await;
    let repository = &workbench.repository;
    let (old, new) = (noise(9_000_000, 1), noise(9_000_000, 2));
    write(repository, started("db", TIMES[0]), &[("a", &old)])
        .await
        .unwrap();
    let kept = write(repository, started("db", TIMES[1]), &[("a", &new)])
        .await
        .unwrap();
    repository
        .forget(
            &Retention {
                last: Some(1),
                ..Retention::default()
            },
            false,
        )
        .await
        .unwrap();
    let packs = workbench.files("data");
    let planned = repository.prune(true).await.unwrap();
    assert_eq!(workbench.files("data"), packs, "a dry run changes nothing");
    let report = repository.prune(false).await.unwrap();
    assert_eq!(planned.bytes_marked, report.bytes_marked);
    assert!(report.bytes_marked > 8_000_000, "{report:?}");
    assert_eq!(report.packs_removed, 0);
    assert!(
        packs.iter().all(|pack| pack.exists()),
        "nothing is deleted at once"
    );
    let second = repository.prune(false).await.unwrap();
    assert_eq!(
        (second.packs_marked, second.packs_removed),
        (0, 0),
        "{second:?}"
    );
    let again = workbench.open_again().await;
    assert!(read(&again, &kept, "a").await.unwrap() == new);
    assert!(again.check(true).await.unwrap().is_clean());
    // A marked pack whose data are needed again is not counted on: they are stored once more or taken back.
    let back = write(&again, description("db"), &[("a", &old)])
        .await
        .unwrap();
    again.prune(false).await.unwrap();
    assert!(read(&again, &back, "a").await.unwrap() == old);
    assert!(again.check(true).await.unwrap().is_clean());
}

#[tokio::test]
async fn a_pack_that_is_needed_only_in_part_is_repacked_in_a_small_repository_too() {
    let workbench = Workbench::new().await;
    let repository = &workbench.repository;
    let (needed, other) = (noise(2_000_000, 1), noise(2_000_000, 2));
    write(
        repository,
        started("db", TIMES[0]),
        &[("a", &needed), ("b", &other)],
    )
    .await
    .unwrap();
    let kept = write(repository, started("db", TIMES[1]), &[("a", &needed)])
        .await
        .unwrap();
    let rule = Retention {
        last: Some(1),
        ..Retention::default()
    };
    repository.forget(&rule, false).await.unwrap();
    let report = repository.prune(false).await.unwrap();
    assert!(report.bytes_repacked > 1_900_000, "{report:?}");
    assert!(report.bytes_marked > 3_900_000, "{report:?}");
    let second = repository.prune(false).await.unwrap();
    assert_eq!(second.bytes_repacked, 0, "{second:?}");
    let again = workbench.open_again().await;
    assert!(read(&again, &kept, "a").await.unwrap() == needed);
    assert!(again.check(true).await.unwrap().is_clean());
}

#[tokio::test]
async fn leftovers_are_swept_once_they_are_old_and_nothing_else_is() {
    let workbench = Workbench::new().await;
    let repository = &workbench.repository;
    let snapshot = write(repository, description("db"), &[("a", b"x")])
        .await
        .unwrap();
    let root = workbench.folder.path();
    let id = "0".repeat(64);
    let old = [
        root.join(format!("data/{id}-tmp-123")),
        root.join(format!("snapshots/{id}#1")),
    ];
    let kept = [
        root.join(format!("index/{id}#1")),
        root.join("unrelated#1"),
        root.join("data/notes"),
    ];
    fs_err::create_dir_all(root.join("data")).unwrap();
    for file in old.iter().chain(&kept) {
        fs_err::write(file, "x").unwrap();
    }
    for file in old.iter().chain(&kept[1..]) {
        let time = SystemTime::now() - Duration::from_secs(7200);
        fs_err::OpenOptions::new()
            .write(true)
            .open(file)
            .unwrap()
            .set_modified(time)
            .unwrap();
    }
    assert_eq!(repository.prune(true).await.unwrap().leftovers_removed, 2);
    assert!(old.iter().all(|file| file.exists()));
    assert_eq!(repository.prune(false).await.unwrap().leftovers_removed, 2);
    assert!(old.iter().all(|file| !file.exists()));
    assert!(kept.iter().all(|file| file.exists()));
    assert_eq!(read(repository, &snapshot, "a").await.unwrap(), b"x");
}
