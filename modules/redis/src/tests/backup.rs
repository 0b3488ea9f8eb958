//! What counts as a backup of a server, and what does not.

use super::*;

#[test]
fn a_backup_is_the_file_of_its_own_save() {
    let (world, _) = world_with(Simulated::default());
    Redis::backup(&world).expect("the backup");
    assert_eq!(world.artifact("dump.rdb").as_deref(), Some(REAL));
    let evidence = world.evidence_of("dump.rdb").expect("evidence");
    let value = |key| evidence.get(key).unwrap_or("(none)");
    assert_eq!(value("server-version"), "Redis 7.0.15");
    assert_eq!(value("format-version"), "10");
    assert_eq!(value("keys"), "5");
    assert_eq!(value("keys-expiring"), "1");
    assert_eq!(value("keys-counted-in"), "dump");
    assert_eq!(value("checksum"), "8792e170f831df23");
    assert_eq!(value("bytes"), "140");
    assert!(place(&world, "run server save") < place(&world, "read dump"));
    assert!(!world.was_asked("restart"));
}

#[test]
fn a_save_that_fails_is_no_backup() {
    let (world, _) = world_with(Simulated {
        save_status: "err",
        ..Simulated::default()
    });
    check_refused(Redis::backup(&world), "BGSAVE ended with status `err`");
    assert_eq!(world.artifact("dump.rdb"), None);
}

#[test]
fn a_save_that_never_ends_is_given_up_at_the_deadline() {
    let (world, _) = world_with(Simulated {
        bgsave_looks: u32::MAX,
        ..Simulated::default()
    });
    let start = world.milliseconds();
    check_refused(
        Redis::backup(&world),
        "waited 1800 s for the server to begin a BGSAVE",
    );
    assert_eq!(world.milliseconds() - start, 1_800_000);
}

#[test]
fn a_save_that_is_under_way_is_not_taken_for_ours() {
    let (world, _) = world_with(Simulated {
        bgsave_looks: 4,
        ..Simulated::default()
    });
    Redis::backup(&world).expect("the backup");
    let sleeps = world
        .calls()
        .iter()
        .take(place(&world, "run server save"))
        .filter(|call| call.starts_with("sleep"))
        .count();
    assert!(sleeps >= 1, "it waited for the other one");
}

#[test]
fn a_server_that_refuses_to_save_is_heard() {
    let (world, _) = world_with(Simulated::default());
    world.answers("save", [Answer::prints("ERR unknown command 'BGSAVE'\n")]);
    check_refused(
        Redis::backup(&world),
        "answered `ERR unknown command 'BGSAVE'`",
    );
}

#[test]
fn a_dump_that_the_pod_finds_damaged_is_no_backup() {
    let (world, _) = world_with(Simulated::default());
    world.answers(
        "check-dump",
        [
            Answer::prints("--- RDB ERROR DETECTED ---\n[offset 99] RDB CRC error\n")
                .then_fails(1, ""),
        ],
    );
    check_refused(Redis::backup(&world), "RDB CRC error");
    assert_eq!(world.artifact("dump.rdb"), None);
}

#[test]
fn a_file_that_is_no_dump_is_no_backup() {
    let (world, _) = world_with(Simulated::default());
    world.on("save", |_, world| {
        world.put_file(DUMP, "hello, this is no dump");
        Answer::prints("Background saving started\n")
    });
    check_refused(
        Redis::backup(&world),
        "begins with neither `REDIS` nor `VALKEY`",
    );
    world.on("save", |_, world| {
        world.put_file(DUMP, &REAL[..100]);
        Answer::prints("Background saving started\n")
    });
    check_refused(Redis::backup(&world), "no end mark");
    assert_eq!(world.artifact("dump.rdb"), None);
}

#[test]
fn without_the_check_program_the_evidence_says_so() {
    let (world, _) = world_with(Simulated::default());
    world.answers("check-dump", [Answer::missing_program()]);
    Redis::backup(&world).expect("the backup");
    let evidence = world.evidence_of("dump.rdb").expect("evidence");
    assert_eq!(evidence.get("keys-counted-in"), Some("server"));
    assert_eq!(
        evidence.get("checksum-checked"),
        Some("not before verify: no program in the pod")
    );
}

#[test]
fn a_dump_that_is_replaced_during_the_copy_is_checked_again() {
    let (world, server) = world_with(Simulated::default());
    let at = Rc::clone(&server);
    let mut first = true;
    world.on("check-dump", move |_, _| {
        if std::mem::take(&mut first) {
            at.borrow_mut().saves += 1;
        }
        Answer::prints("[info] 5 keys read\n[info] 1 expires\n")
    });
    Redis::backup(&world).expect("the backup");
    let checks = world
        .calls()
        .iter()
        .filter(|call| *call == "run server check-dump")
        .count();
    assert_eq!(checks, 2);
    let evidence = world.evidence_of("dump.rdb").expect("evidence");
    assert_eq!(evidence.get("keys-counted-in"), Some("dump"));
}

#[test]
fn a_server_with_another_folder_is_refused() {
    let (world, _) = world_with(Simulated::default());
    world.parameter("data-path", "/data");
    check_refused(Redis::backup(&world), "set parameter `data-path`");
    assert!(!world.was_asked("run server save"));
}

#[test]
fn a_server_that_wants_a_password_is_not_waited_for() {
    let (world, _) = world_with(Simulated::default());
    world.answers(
        "info",
        [Answer::prints("NOAUTH Authentication required.\n")],
    );
    let start = world.milliseconds();
    check_refused(Redis::backup(&world), "NOAUTH");
    assert_eq!(world.milliseconds(), start);
}

#[test]
fn a_server_that_comes_up_slowly_is_waited_for_and_its_words_are_kept() {
    let (world, _) = world_with(Simulated::default());
    let refused = Answer::fails(
        1,
        "Could not connect to Redis at 127.0.0.1:6379: Connection refused",
    );
    let loading = Answer::prints("LOADING Redis is loading the dataset in memory\n");
    world.answers("info", [refused.clone(), loading, refused]);
    check_refused(
        Redis::backup(&world),
        "waited 1800 s for the server to load its data: Could not connect",
    );
}

#[test]
fn a_container_without_the_client_is_said() {
    let (world, _) = world_with(Simulated::default());
    world.answers(
        "info",
        [Answer::error(Error::failed(
            "not-started",
            "executable file not found",
        ))],
    );
    check_refused(Redis::backup(&world), "does not have `redis-cli`");
}
