//! The dance of a restore: its order, its traps, and what each failure leaves.

use super::*;

fn aside(world: &World) -> Vec<String> {
    world
        .files()
        .into_iter()
        .filter(|name| name.contains("before-restore"))
        .collect()
}

/// The server runs with its own configuration and files again, and nothing is held.
#[track_caller]
fn check_undone(world: &World, server: &Rc<RefCell<Simulated>>) {
    let file = world.config_map_text("configuration", "redis-config", "redis.conf");
    assert_eq!(file.as_deref(), Some(CONFIGURATION));
    assert_eq!(world.leases_held(), 0);
    assert_eq!(
        world.file(FILE).as_deref(),
        Some(&b"append-only of the old data"[..])
    );
    assert_eq!(aside(world), Vec::<String>::new());
    assert_eq!(server.borrow().keys, OLD_KEYS);
    assert!(server.borrow().append_only);
}

#[test]
fn a_restore_loads_the_dump_and_leaves_the_configuration_as_it_was() {
    let (world, server) = restorable(Simulated::default());
    Redis::restore(&world).expect("the restore");
    assert_eq!(server.borrow().keys, KEYS);
    assert!(server.borrow().append_only);
    assert_eq!(server.borrow().save, "900 1 300 10");
    let file = world.config_map_text("configuration", "redis-config", "redis.conf");
    assert_eq!(file.as_deref(), Some(CONFIGURATION));
    assert_eq!(world.leases_held(), 0);
    assert_eq!(aside(&world), Vec::<String>::new());
    assert!(world.logged(Level::Warn, "has 2 keys, which are replaced"));
    let restarts = world
        .calls()
        .iter()
        .filter(|call| *call == "restart server")
        .count();
    assert_eq!(restarts, 3);
}

#[test]
fn the_order_of_the_dance_is_the_safe_one() {
    let (world, _) = restorable(Simulated::default());
    Redis::restore(&world).expect("the restore");
    let order = [
        "open dump.rdb",
        "run server get-setting setting=save",
        "edit configuration redis-config",
        "restart server",
        "run server get-setting setting=appendonly",
        "rename dump dump-aside",
        "rename append-only-file append-only-file-aside",
        "write dump",
        "finish /var/lib/redis/data/dump.rdb",
        "begin load",
        "run server append-only-on",
        "release edit configuration redis-config",
        "begin persistence-on",
        "remove dump-aside",
    ];
    let places: Vec<usize> = order.iter().map(|call| place(&world, call)).collect();
    assert!(places.is_sorted(), "{:#?}", world.calls());
}

#[test]
fn redis_7_and_its_folder_are_set_aside_too() {
    let (world, server) = restorable(Simulated::default());
    world
        .remove_file(FILE)
        .put_file(FOLDER, "append-only of the old data");
    Redis::restore(&world).expect("the restore");
    assert_eq!(server.borrow().keys, KEYS);
    assert!(world.was_asked("rename append-only-folder append-only-folder-aside"));
    assert_eq!(aside(&world), Vec::<String>::new());
}

#[test]
fn the_save_trap_is_found_before_anything_is_copied() {
    let (world, server) = restorable(Simulated {
        save: "3600 1 300 100 60 10000".to_owned(),
        ignores_configuration: true,
        ..Simulated::default()
    });
    check_refused(
        Redis::restore(&world),
        "still has save points `3600 1 300 100 60 10000`",
    );
    assert!(!world.was_asked("write dump"));
    assert!(!world.was_asked("rename"));
    check_undone(&world, &server);
}

#[test]
fn a_server_that_was_not_restarted_in_the_end_is_not_proven() {
    // It still runs as the lease had it, with the append-only file switched on by hand.
    let (world, _) = restorable(Simulated {
        lost_restart: 3,
        ..Simulated::default()
    });
    check_refused(
        Redis::restore(&world),
        "runs without save points, which it had before",
    );
}

#[test]
fn a_configuration_that_is_not_taken_is_found_before_anything_is_copied() {
    let (world, server) = restorable(Simulated {
        save: String::new(),
        ignores_configuration: true,
        ..Simulated::default()
    });
    check_refused(Redis::restore(&world), "still has `appendonly yes`");
    assert!(!world.was_asked("write dump"));
    check_undone(&world, &server);
}

#[test]
fn a_damaged_artifact_touches_nothing() {
    let (world, _) = restorable(Simulated::default());
    let mut damaged = REAL.to_vec();
    damaged[90] ^= 1;
    world.put_artifact("dump.rdb", damaged, evidence());
    check_refused(Redis::restore(&world), "checksum");
    assert!(!world.was_asked("edit"));
    assert!(!world.was_asked("restart"));
}

#[test]
fn a_copy_that_breaks_off_is_undone() {
    let (world, server) = restorable(Simulated::default());
    world.fail_once(
        "finish",
        Error::failed("disk-full", "no space left on device"),
    );
    let result = Redis::restore(&world);
    check_refused(result.clone(), "the old data are back");
    check_refused(result, "no space left on device");
    check_undone(&world, &server);
}

#[test]
fn a_move_that_fails_half_way_is_undone() {
    let (world, server) = restorable(Simulated::default());
    world.fail_once(
        "rename append-only-file",
        Error::failed("pod-gone", "the pod is gone"),
    );
    check_refused(Redis::restore(&world), "the pod is gone");
    check_undone(&world, &server);
}

#[test]
fn fewer_keys_than_the_backup_has_are_no_restore() {
    let (world, server) = restorable(Simulated {
        loses: 2,
        ..Simulated::default()
    });
    check_refused(
        Redis::restore(&world),
        "has 3 keys after loading, but the backup has 5",
    );
    check_undone(&world, &server);
}

#[test]
fn a_key_that_may_have_expired_is_not_missed() {
    let (world, _) = restorable(Simulated {
        loses: 1,
        ..Simulated::default()
    });
    Redis::restore(&world).expect("the restore");
}

#[test]
fn a_server_that_overwrites_the_dump_at_shutdown_is_caught() {
    let (world, server) = restorable(Simulated::default());
    let at = Rc::clone(&server);
    // It said that its save points are off, and saved all the same.
    world.on_restart("server", move |world| {
        let mut server = at.borrow_mut();
        if world.file(DUMP).as_deref() == Some(REAL) {
            "900 1".clone_into(&mut server.save);
        }
        server.restart(world);
    });
    check_refused(Redis::restore(&world), "overwrote it when it shut down");
    check_undone(&world, &server);
}

#[test]
fn a_rewrite_that_takes_a_while_is_awaited() {
    let (world, server) = restorable(Simulated {
        rewrite_looks: 40,
        ..Simulated::default()
    });
    Redis::restore(&world).expect("the restore");
    assert_eq!(server.borrow().rewrite_looks, 0);
    assert!(place(&world, "end rewrite") < place(&world, "release edit"));
}

#[test]
fn a_rewrite_that_never_ends_is_undone_at_the_deadline() {
    let (world, server) = restorable(Simulated {
        rewrite_looks: u32::MAX,
        ..Simulated::default()
    });
    check_refused(
        Redis::restore(&world),
        "waited 1800 s for the append-only file to be rewritten",
    );
    check_undone(&world, &server);
}

#[test]
fn a_rewrite_that_fails_is_undone() {
    let (world, server) = restorable(Simulated {
        rewrite_status: "err",
        ..Simulated::default()
    });
    check_refused(Redis::restore(&world), "ended with status `err`");
    check_undone(&world, &server);
}

#[test]
fn without_an_append_only_file_none_is_made() {
    let (world, server) = restorable(Simulated {
        append_only: false,
        ..Simulated::default()
    });
    world.remove_file(FILE);
    let file = CONFIGURATION.replace("appendonly yes", "appendonly no");
    world.put_config_map("configuration", "redis-config", "redis.conf", &file);
    Redis::restore(&world).expect("the restore");
    assert!(!world.was_asked("run server append-only-on"));
    assert_eq!(server.borrow().keys, KEYS);
}

#[test]
fn after_a_kill_the_oldest_files_are_kept_aside() {
    let (world, server) = restorable(Simulated::default());
    world.interrupt_step("set-aside");
    world
        .put_file(
            "/var/lib/redis/data/appendonly.aof.before-restore",
            "append-only of the old data",
        )
        .put_file(FILE, "append-only of a half restore")
        .fail_once(
            "finish",
            Error::failed("disk-full", "no space left on device"),
        );
    check_refused(Redis::restore(&world), "no space left on device");
    check_undone(&world, &server);
}

#[test]
fn leftovers_that_are_no_interrupted_restore_are_not_put_back() {
    let (world, server) = restorable(Simulated::default());
    world
        .put_file(
            "/var/lib/redis/data/appendonly.aof.before-restore",
            "from last year",
        )
        .fail_once(
            "finish",
            Error::failed("disk-full", "no space left on device"),
        );
    check_refused(Redis::restore(&world), "no space left on device");
    check_undone(&world, &server);
}

#[test]
fn when_undoing_fails_too_both_are_said() {
    let (world, _) = restorable(Simulated::default());
    world
        .fail_once(
            "finish",
            Error::failed("disk-full", "no space left on device"),
        )
        .fail_always(
            "rename dump-aside",
            Error::failed("pod-gone", "the pod is gone"),
        );
    let result = Redis::restore(&world);
    check_refused(result.clone(), "no space left on device");
    check_refused(result, "so did undoing it (the pod is gone)");
    // The configuration is put back all the same.
    assert_eq!(world.leases_held(), 0);
}

#[test]
fn a_configuration_that_somebody_else_changed_meanwhile_is_no_success() {
    let (world, _) = restorable(Simulated::default());
    world.fail_once(
        "release edit",
        Error::Conflict("changed by somebody else meanwhile".to_owned()),
    );
    let result = Redis::restore(&world);
    check_refused(result.clone(), "the new data are loaded");
    check_refused(result, "failed to put ConfigMap `redis-config` back");
}

#[test]
fn a_config_map_without_the_file_is_refused() {
    let (world, _) = restorable(Simulated::default());
    world.parameter("configuration-key", "valkey.conf");
    check_refused(Redis::restore(&world), "has no key `valkey.conf`");
    assert!(!world.was_asked("edit"));
}
