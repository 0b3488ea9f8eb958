//! The module against a server that behaves as Redis does: it loads what its configuration lets it
//! load when it starts, and overwrites its dump when it shuts down with save points on.

use std::cell::RefCell;
use std::rc::Rc;

use cofferdam_guest_sdk::testing::{Answer, World};
use cofferdam_guest_sdk::{DataSet, Error, Evidence, Level};

use crate::Redis;
use crate::rdb::tests::REAL;

mod access;
mod backup;
mod restore;

const DUMP: &str = "/var/lib/redis/data/dump.rdb";
const FILE: &str = "/var/lib/redis/data/appendonly.aof";
const FOLDER: &str = "/var/lib/redis/data/appendonlydir/appendonly.aof.1.base.rdb";
const CONFIGURATION: &str =
    "port 6379\nsave 900 1\nsave 300 10\ndbfilename dump.rdb\nappendonly yes\n";
/// What the old server has on its disk. Only its name matters.
const OLD: &[u8] = b"the old dump";
/// The keys of the fixture, and of the server before a restore.
const KEYS: u64 = 5;
const OLD_KEYS: u64 = 2;

/// A server as far as this module can tell it from a real one.
#[derive(Debug, Clone)]
struct Simulated {
    version: &'static str,
    keys: u64,
    expiring: u64,
    save: String,
    append_only: bool,
    /// The trap of 6.2: commented or missing `save` lines mean the compiled-in ones.
    ignores_configuration: bool,
    saves: u64,
    save_status: &'static str,
    /// Looks at `INFO` that still show a child at work.
    bgsave_looks: u32,
    rewrite_looks: u32,
    rewrite_status: &'static str,
    loading_looks: u32,
    /// Keys that the next load loses.
    loses: u64,
    /// Restarts so far, and the one that the cluster loses.
    restarts: u32,
    lost_restart: u32,
}

impl Default for Simulated {
    fn default() -> Self {
        Self {
            version: "7.0.15",
            keys: OLD_KEYS,
            expiring: 0,
            save: "900 1 300 10".to_owned(),
            append_only: true,
            ignores_configuration: false,
            saves: 3,
            save_status: "ok",
            bgsave_looks: 0,
            rewrite_looks: 0,
            rewrite_status: "ok",
            loading_looks: 0,
            loses: 0,
            restarts: 0,
            lost_restart: 0,
        }
    }
}

impl Simulated {
    fn info(&mut self) -> String {
        let shows = |looks: &mut u32| -> u32 {
            let on = u32::from(*looks > 0);
            *looks = looks.saturating_sub(1);
            on
        };
        let (loading, bgsave) = (
            shows(&mut self.loading_looks),
            shows(&mut self.bgsave_looks),
        );
        let rewrite = shows(&mut self.rewrite_looks);
        let keyspace = match self.keys {
            0 => String::new(),
            keys => format!("db0:keys={keys},expires={},avg_ttl=0\r\n", self.expiring),
        };
        format!(
            "# Server\r\nredis_version:{}\r\n# Persistence\r\nloading:{loading}\r\nrdb_bgsave_in_progress:{bgsave}\r\nrdb_last_save_time:{}\r\nrdb_last_bgsave_status:{}\r\naof_enabled:{}\r\naof_rewrite_in_progress:{rewrite}\r\naof_rewrite_scheduled:0\r\naof_last_bgrewrite_status:{}\r\n# Keyspace\r\n{keyspace}",
            self.version,
            self.saves,
            self.save_status,
            u32::from(self.append_only),
            self.rewrite_status,
        )
    }

    /// Shuts down and starts as a real server would, with the configuration of the cluster.
    fn restart(&mut self, world: &World) {
        self.restarts += 1;
        if self.restarts == self.lost_restart {
            return;
        }
        if !self.save.is_empty() {
            // "Saving the final RDB snapshot before exiting"
            world.put_file(DUMP, format!("saved at shutdown with {} keys", self.keys));
        }
        let file = world
            .config_map_text("configuration", "redis-config", "redis.conf")
            .expect("its configuration");
        if !self.ignores_configuration {
            self.append_only = file.lines().any(|line| line == "appendonly yes");
            self.save = if file.lines().any(|line| line == "save \"\"") {
                String::new()
            } else {
                "900 1 300 10".to_owned()
            };
        }
        let append_only = world.file(FILE).or_else(|| world.file(FOLDER));
        let loads = if self.append_only {
            append_only
        } else {
            world.file(DUMP)
        };
        self.keys = match loads {
            Some(bytes) if bytes == REAL || bytes == b"append-only of the new data" => {
                KEYS - self.loses
            }
            Some(_) => OLD_KEYS,
            None => 0,
        };
        self.expiring = u64::from(self.keys >= KEYS);
        self.loading_looks = 2;
    }
}

/// A world with this server; the handle shows and changes it.
fn world_with(server: Simulated) -> (World, Rc<RefCell<Simulated>>) {
    let world = World::new(include_str!("../module.toml"));
    let server = Rc::new(RefCell::new(server));
    world
        .put_file(DUMP, OLD)
        .put_file(FILE, "append-only of the old data")
        .put_config_map("configuration", "redis-config", "redis.conf", CONFIGURATION);
    let at = Rc::clone(&server);
    world.on("info", move |_, _| Answer::prints(at.borrow_mut().info()));
    let at = Rc::clone(&server);
    world.on("get-setting", move |call, _| {
        let name = call
            .holes
            .get("setting")
            .map(String::as_str)
            .unwrap_or_default();
        let server = at.borrow();
        let value = match name {
            "save" => server.save.clone(),
            "appendonly" => if server.append_only { "yes" } else { "no" }.to_owned(),
            "dir" => "/var/lib/redis/data".to_owned(),
            "dbfilename" => "dump.rdb".to_owned(),
            "appendfilename" => "appendonly.aof".to_owned(),
            // Redis 6 does not know it, and answers with nothing.
            "appenddirname" if server.version.starts_with('6') => return Answer::prints("\n"),
            "appenddirname" => "appendonlydir".to_owned(),
            other => panic!("nobody asks for {other}"),
        };
        Answer::prints(format!("{name}\n{value}\n"))
    });
    let at = Rc::clone(&server);
    world.on("save", move |_, world| {
        let mut server = at.borrow_mut();
        server.bgsave_looks = 2;
        server.saves += 1;
        if server.save_status == "ok" {
            world.put_file(DUMP, REAL);
        }
        Answer::prints("Background saving started\n")
    });
    world.answers("check-dump", [Answer::prints(
        "[offset 0] Checking RDB file dump.rdb\n[offset 140] Checksum OK\n[info] 5 keys read\n[info] 1 expires\n[info] 0 already expired\n",
    )]);
    let at = Rc::clone(&server);
    world.on("append-only-on", move |_, world| {
        let mut server = at.borrow_mut();
        server.append_only = true;
        server.rewrite_looks = server.rewrite_looks.max(2);
        if server.rewrite_status == "ok" {
            world.put_file(FILE, "append-only of the new data");
        }
        Answer::prints("OK\n")
    });
    let at = Rc::clone(&server);
    world.on_restart("server", move |world| at.borrow_mut().restart(world));
    (world, server)
}

fn evidence() -> Evidence {
    Evidence::new()
        .with("bytes", REAL.len())
        .with("keys", KEYS)
        .with("keys-expiring", 1)
        .with("keys-counted-in", "dump")
}

/// A world in whose snapshot the fixture is.
fn restorable(server: Simulated) -> (World, Rc<RefCell<Simulated>>) {
    let (world, server) = world_with(server);
    world.put_artifact("dump.rdb", REAL, evidence());
    (world, server)
}

#[track_caller]
fn check_refused(result: Result<(), Error>, words: &str) {
    let error = result.expect_err("refused");
    assert!(error.to_string().contains(words), "{error}");
}

/// The place of a call in the order of calls.
#[track_caller]
fn place(world: &World, beginning: &str) -> usize {
    let calls = world.calls();
    calls
        .iter()
        .position(|call| call.starts_with(beginning))
        .unwrap_or_else(|| panic!("`{beginning}` was not asked: {calls:#?}"))
}

#[test]
fn verify_finds_a_flipped_byte_and_a_cut() {
    let (world, _) = restorable(Simulated::default());
    Redis::verify(&world).expect("whole");
    let mut damaged = REAL.to_vec();
    damaged[100] ^= 0x20;
    world.put_artifact("dump.rdb", damaged, evidence());
    check_refused(Redis::verify(&world), "checksum");
    world.put_artifact("dump.rdb", &REAL[..REAL.len() - 20], evidence());
    check_refused(Redis::verify(&world), "no end mark");
    assert!(!world.was_asked("target"));
    assert!(world.logged(Level::Info, "140 bytes in format 10"));
}
