//! The files that a container sees, put together from the host, the layer and its volumes.
//!
//! Runs in process 1 of the container, inside its own mount namespace, so that every mount ends
//! with it. Nothing here may write to the host outside the volumes it was given.

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::Mode;
use nix::unistd::{chdir, pivot_root};

use super::kernel;
use super::wire::{ContainerPlan, Ground, PlannedMount};

/// Where the host's files hang for a moment while the volumes are bound in.
const HOST: &str = "/.host";
/// The folder bound in from the host that holds the names of the services.
const NAMES: &str = "/run/service-names";

/// Folders of the root file system that belong to it and not to a layer.
const FOLDERS: [&str; 12] = [
    "usr",
    "etc",
    "var",
    "proc",
    "dev",
    "dev/shm",
    "run",
    "root",
    "mnt",
    "opt",
    "srv",
    "run/service-names",
];
/// Folders that every user of the container may write to, as a server's image has them.
const OPEN_FOLDERS: [&str; 11] = [
    "tmp",
    "dev/shm",
    "var/tmp",
    "var/log",
    "var/lib/mysql",
    "var/lib/pgsql",
    "var/lib/redis",
    "run/mysqld",
    "run/postgresql",
    "run/redis",
    "opt/system",
];
/// The devices of the host that are harmless and that programs expect.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
const ACCOUNTS: &str = "root:x:0:0:root:/root:/bin/bash
mysql:x:100:100:MariaDB:/var/lib/mysql:/bin/sh
redis:x:101:101:Redis:/var/lib/redis:/bin/sh
postgres:x:102:102:PostgreSQL:/var/lib/pgsql:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
";
const GROUPS: &str = "root:x:0:\nmysql:x:100:\nredis:x:101:\npostgres:x:102:\nnogroup:x:65534:\n";

/// Builds the container's root over `ground.stage` and moves into it.
pub(crate) fn enter(ground: &Ground, plan: &ContainerPlan, rootless: bool) -> anyhow::Result<()> {
    let stage = ground.stage.as_path();
    // A tmpfs over the stage holds the root and, out of the container's sight, what it overlays.
    put("tmpfs", "tmpfs", stage, MsFlags::MS_NOSUID, "mode=0755")?;
    let root = stage.join("root");
    fs_err::create_dir(&root)?;
    bind(&root, &root)?;
    for folder in FOLDERS {
        fs_err::create_dir(root.join(folder))?;
    }
    link_system_folders(&root)?;
    overlay_usr(ground, &root)?;
    overlay_etc(ground, plan, &root, rootless)?;
    overlay_var(ground, &root, rootless)?;
    for folder in OPEN_FOLDERS {
        make_open_folder(&root.join(folder))?;
    }
    make_devices(&root)?;
    put("proc", "proc", &root.join("proc"), quiet(), "")
        .context("is the host's `/proc` covered in parts, as inside a container?")?;
    let host = root.join(HOST.trim_start_matches('/'));
    fs_err::create_dir(&host)?;
    pivot_root(&root, &host).context("failed to make the new root the root")?;
    chdir("/").context("failed to enter the new root")?;
    protect_kernel_settings()?;
    bind_volume(&PlannedMount {
        source: plan.names.clone(),
        sub_path: None,
        target: NAMES.to_owned(),
        read_only: true,
    })?;
    for volume in outer_first(&plan.mounts) {
        bind_volume(volume)
            .with_context(|| format!("failed to mount a volume at `{}`", volume.target))?;
    }
    umount2(HOST, MntFlags::MNT_DETACH).context("failed to let go of the host's files")?;
    fs_err::remove_dir(HOST)?;
    Ok(())
}

/// `/bin`, `/lib` and their like, as the host has them: links into `usr`.
fn link_system_folders(root: &Path) -> anyhow::Result<()> {
    for name in ["bin", "sbin", "lib", "lib32", "lib64", "libx32"] {
        let original = Path::new("/").join(name);
        if let Ok(target) = fs_err::read_link(&original) {
            symlink(target, root.join(name))
                .with_context(|| format!("failed to link `/{name}`"))?;
        } else {
            ensure!(
                !original.is_dir(),
                "`/{name}` is no link into `/usr`: this needs a host with merged `/usr`"
            );
        }
    }
    Ok(())
}

fn overlay_usr(ground: &Ground, root: &Path) -> anyhow::Result<()> {
    let layer = ground.layer.join("usr");
    let options = format!("lowerdir={}:/usr", layer.display());
    put(
        "overlay",
        "overlay",
        &root.join("usr"),
        MsFlags::MS_RDONLY,
        &options,
    )?;
    // What the machine's owner has installed by hand is no part of any image.
    let local = root.join("usr/local");
    if local.is_dir() {
        let empty = ground.stage.join("usr-local");
        fs_err::create_dir(&empty)?;
        bind(&empty, &local)?;
    }
    Ok(())
}

fn overlay_etc(
    ground: &Ground,
    plan: &ContainerPlan,
    root: &Path,
    rootless: bool,
) -> anyhow::Result<()> {
    let upper = upper(ground, "etc")?;
    let mut accounts = ACCOUNTS.to_owned();
    let marker = format!(":x:{}:", plan.user);
    if !ACCOUNTS.contains(&marker) {
        let user = plan.user;
        accounts.push_str(&format!("user{user}:x:{user}:0:user {user}:/:/bin/sh\n"));
    }
    let files = [
        ("passwd", accounts.as_str()),
        ("group", GROUPS),
        ("shadow", ""),
        ("gshadow", ""),
        ("hostname", plan.host_name.as_str()),
        // Nobody answers outside this network, so nobody is asked.
        ("resolv.conf", ""),
        (
            "nsswitch.conf",
            "passwd: files\ngroup: files\nhosts: files\n",
        ),
    ];
    for (name, text) in files {
        fs_err::write(upper.join(name), text)?;
    }
    symlink(format!("{NAMES}/hosts"), upper.join("hosts"))
        .context("failed to link `/etc/hosts`")?;
    let layer = ground.layer.join("etc");
    let lower = if layer.is_dir() {
        format!("{}:/etc", layer.display())
    } else {
        "/etc".to_owned()
    };
    overlay(ground, "etc", &lower, root, rootless)
}

/// `/var` is the layer's alone: what the host keeps there is nobody's business.
fn overlay_var(ground: &Ground, root: &Path, rootless: bool) -> anyhow::Result<()> {
    let layer = ground.layer.join("var");
    if layer.is_dir() {
        upper(ground, "var")?;
        overlay(ground, "var", &layer.display().to_string(), root, rootless)?;
    }
    let run = root.join("var/run");
    if !run.is_symlink() && !run.exists() {
        symlink("/run", run).context("failed to link `/var/run`")?;
    }
    fs_err::create_dir_all(root.join("var/lib"))?;
    Ok(())
}

fn upper(ground: &Ground, name: &str) -> anyhow::Result<PathBuf> {
    let upper = ground.stage.join(format!("{name}-upper"));
    fs_err::create_dir(&upper)?;
    fs_err::create_dir(ground.stage.join(format!("{name}-work")))?;
    Ok(upper)
}

fn overlay(
    ground: &Ground,
    name: &str,
    lower: &str,
    root: &Path,
    rootless: bool,
) -> anyhow::Result<()> {
    let stage = ground.stage.display();
    // Only root may set the `trusted` attributes that overlays use by default.
    let attributes = if rootless { ",userxattr" } else { "" };
    let options = format!(
        "lowerdir={lower},upperdir={stage}/{name}-upper,workdir={stage}/{name}-work{attributes}"
    );
    put(
        "overlay",
        "overlay",
        &root.join(name),
        MsFlags::empty(),
        &options,
    )
}

fn make_open_folder(path: &Path) -> anyhow::Result<()> {
    fs_err::create_dir_all(path)?;
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o1777))?;
    Ok(())
}

fn make_devices(root: &Path) -> anyhow::Result<()> {
    let devices = root.join("dev");
    for name in DEVICES {
        let target = devices.join(name);
        fs_err::write(&target, "")?;
        bind(&Path::new("/dev").join(name), &target)?;
    }
    for (name, target) in [
        ("fd", "fd"),
        ("stdin", "fd/0"),
        ("stdout", "fd/1"),
        ("stderr", "fd/2"),
    ] {
        symlink(Path::new("/proc/self").join(target), devices.join(name))
            .with_context(|| format!("failed to link `/dev/{name}`"))?;
    }
    Ok(())
}

/// The settings under `/proc` are the machine's, not the pod's.
fn protect_kernel_settings() -> anyhow::Result<()> {
    for path in ["/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus"] {
        if Path::new(path).exists() {
            bind(Path::new(path), Path::new(path))?;
            kernel::make_read_only(path).with_context(|| format!("failed to protect `{path}`"))?;
        }
    }
    Ok(())
}

/// Mounts inside others come after them, whatever the order they were written in.
fn outer_first(mounts: &[PlannedMount]) -> Vec<&PlannedMount> {
    let mut mounts: Vec<_> = mounts.iter().collect();
    mounts.sort_by_key(|mount| Path::new(&mount.target).components().count());
    mounts
}

fn bind_volume(volume: &PlannedMount) -> anyhow::Result<()> {
    let folder = Path::new(HOST).join(volume.source.strip_prefix("/").unwrap_or(&volume.source));
    let root = open(&folder, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
        .with_context(|| format!("failed to open `{}`", volume.source.display()))?;
    let source = match &volume.sub_path {
        None => root,
        Some(path) => open_beneath(&root, &folder, path)?,
    };
    let source = format!("/proc/self/fd/{}", source.as_raw_fd());
    let target = Path::new(&volume.target);
    if Path::new(&source).is_dir() {
        fs_err::create_dir_all(target)?;
    } else if !target.exists() {
        fs_err::create_dir_all(target.parent().unwrap_or(Path::new("/")))?;
        fs_err::write(target, "")?;
    }
    bind(Path::new(&source), target)?;
    if volume.read_only {
        kernel::make_read_only(&volume.target).context("failed to make it read-only")?;
    }
    Ok(())
}

/// Opens a part of a volume; links that lead out of the volume are refused.
fn open_beneath(root: &OwnedFd, folder: &Path, path: &str) -> anyhow::Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_BENEATH);
    if let Err(nix::errno::Errno::ENOENT) = openat2(root, path, how) {
        fs_err::create_dir_all(folder.join(path))?;
    }
    openat2(root, path, how).with_context(|| format!("failed to open `{path}` in the volume"))
}

fn quiet() -> MsFlags {
    MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC
}

fn bind(source: &Path, target: &Path) -> anyhow::Result<()> {
    mount(
        Some(source),
        target,
        None::<&str>,
        MsFlags::MS_BIND | MsFlags::MS_REC,
        None::<&str>,
    )
    .with_context(|| {
        format!(
            "failed to bind `{}` to `{}`",
            source.display(),
            target.display()
        )
    })
}

fn put(
    kind: &str,
    source: &str,
    target: &Path,
    flags: MsFlags,
    options: &str,
) -> anyhow::Result<()> {
    mount(Some(source), target, Some(kind), flags, Some(options)).with_context(|| {
        format!(
            "failed to mount {kind} at `{}` with `{options}`",
            target.display()
        )
    })
}

/// Covers a folder of the host by a tmpfs of a limited size, in the calling mount namespace only.
pub(crate) fn cover(path: &Path, bytes: u64) -> anyhow::Result<()> {
    put(
        "tmpfs",
        "tmpfs",
        path,
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
        &format!("size={bytes},mode=0777"),
    )
}

/// Takes the cover away again.
pub(crate) fn uncover(path: &Path) -> anyhow::Result<()> {
    umount2(path, MntFlags::MNT_DETACH)
        .with_context(|| format!("failed to unmount `{}`", path.display()))
}

/// Cuts the calling mount namespace off, so that nothing mounted in it shows on the host.
pub(crate) fn make_private() -> anyhow::Result<()> {
    let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, flags, None::<&str>)
        .context("failed to make the mounts private")
}
