//! Debian packages, fetched and unpacked without being installed: apt-get finds and checks them,
//! dpkg-deb unpacks them, and no script of a package ever runs. Works without root; only a missing
//! package list needs root, and that is said.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use fs_err as fs;

use super::cache::{Cache, Key, Lock};
use crate::process;

/// A package in the one version that this machine would install today.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Package {
    name: String,
    version: String,
}

/// The state of this machine as far as packages go: two equal states need the same packages.
pub(crate) fn machine_state(name: &'static str, recipe: &[&str]) -> anyhow::Result<Key> {
    let release =
        fs::read("/etc/os-release").context("this is no Linux distribution that set-up knows")?;
    let installed = fs::read("/var/lib/dpkg/status")
        .context("set-up needs Debian or a distribution made from it")?;
    let recipe = recipe.iter().map(|part| part.as_bytes());
    Ok(Key::new(
        name,
        [release.as_slice(), installed.as_slice()]
            .into_iter()
            .chain(recipe),
    ))
}

/// Makes a thing of the cache out of packages, if it is not there: downloads them, unpacks them into
/// one tree and lets `fill` complete it.
///
/// Where the package lists are missing or older than the archive they are refreshed, if that may be.
pub(crate) fn obtain(
    cache: &Cache,
    lock: &Lock,
    name: &'static str,
    recipe: &str,
    wanted: impl Fn() -> anyhow::Result<Vec<Package>>,
    fill: impl FnOnce(&Path) -> anyhow::Result<()>,
) -> anyhow::Result<(Key, PathBuf)> {
    let mut packages = match wanted() {
        Ok(packages) => packages,
        Err(_) => refresh_lists().and_then(|()| wanted())?,
    };
    let mut thing = key(name, recipe, &packages)?;
    if let Some(path) = cache.find(&thing) {
        return Ok((thing, path));
    }
    let downloads = match download(&packages) {
        Ok(downloads) => downloads,
        Err(_) => {
            // Old lists name files that the archive has replaced.
            refresh_lists()?;
            packages = wanted()?;
            thing = key(name, recipe, &packages)?;
            download(&packages).context("failed to download Debian packages")?
        }
    };
    let path = cache.make(&thing, lock, |root| {
        unpack(downloads.path(), root)?;
        fill(root)
    })?;
    Ok((thing, path))
}

/// The named packages and everything they need that this machine does not have.
pub(crate) fn with_dependencies(names: &[&str]) -> anyhow::Result<Vec<Package>> {
    let mut command = apt("apt-get");
    command.args(["install", "-s", "-q", "--no-install-recommends"]);
    let plan = process::capture(command.args(names))?;
    let planned = planned(&plan).map(|package| (package.name.clone(), package));
    let mut all: BTreeMap<String, Package> = planned.collect();
    // A package that is installed already is not in the plan, and is wanted all the same.
    for package in alone(names)? {
        all.entry(package.name.clone()).or_insert(package);
    }
    Ok(all.into_values().collect())
}

/// The named packages alone.
pub(crate) fn alone(names: &[&str]) -> anyhow::Result<Vec<Package>> {
    let policy = process::capture(apt("apt-cache").arg("policy").args(names))?;
    let found: Vec<Package> = offered(&policy).collect();
    for name in names {
        if !found.iter().any(|package| package.name == *name) {
            bail!("the package lists of this machine know no package `{name}`");
        }
    }
    Ok(found)
}

/// The key of what is made from these packages on this release.
fn key(name: &'static str, recipe: &str, packages: &[Package]) -> anyhow::Result<Key> {
    let release = fs::read("/etc/os-release")?;
    let versions = packages
        .iter()
        .map(|package| format!("{}={}", package.name, package.version).into_bytes());
    let parts = [release, recipe.as_bytes().to_vec()];
    Ok(Key::new(name, parts.into_iter().chain(versions)))
}

/// Downloads the packages, in exactly these versions, into a folder that goes when it is let go.
fn download(packages: &[Package]) -> anyhow::Result<tempfile::TempDir> {
    let folder = tempfile::tempdir().context("failed to make a folder for packages")?;
    let names = packages
        .iter()
        .map(|package| format!("{}={}", package.name, package.version));
    let mut command = apt("apt-get");
    process::quietly(
        command
            .args(["download", "-q"])
            .args(names)
            .current_dir(folder.path()),
    )?;
    Ok(folder)
}

/// Unpacks all packages of a folder into one tree.
fn unpack(packages: &Path, root: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(packages)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            process::quietly(
                Command::new("dpkg-deb")
                    .arg("-x")
                    .args([path.as_path(), root]),
            )?;
        }
    }
    merge_usr(root)
}

/// Moves `bin`, `sbin` and `lib*` of older packages to where a merged-/usr system looks for them.
fn merge_usr(root: &Path) -> anyhow::Result<()> {
    for folder in ["bin", "sbin", "lib", "lib32", "lib64"] {
        let from = root.join(folder);
        if from.is_dir() && !from.is_symlink() {
            let into = root.join("usr").join(folder);
            fs::create_dir_all(&into)?;
            process::quietly(Command::new("cp").args(["-a", "-T"]).args([&from, &into]))?;
            fs::remove_dir_all(&from)?;
        }
    }
    Ok(())
}

/// Reads lines such as `Inst redis-server (5:7.0.15-1 Debian:12 [amd64])`, also with the old
/// version in brackets before the new one.
fn planned(plan: &str) -> impl Iterator<Item = Package> {
    plan.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("Inst ")?.split_once(' ')?;
        let version = rest.split_once('(')?.1.split_whitespace().next()?;
        Some(Package {
            name: name.to_owned(),
            version: version.to_owned(),
        })
    })
}

/// Reads the answer of `apt-cache policy`: a name with a colon, then indented facts.
fn offered(policy: &str) -> impl Iterator<Item = Package> {
    let mut name = String::new();
    policy.lines().filter_map(move |line| {
        if let Some(heading) = line.strip_suffix(':').filter(|line| !line.starts_with(' ')) {
            heading.clone_into(&mut name);
        }
        let version = line.trim().strip_prefix("Candidate: ")?;
        (version != "(none)").then(|| Package {
            name: name.clone(),
            version: version.to_owned(),
        })
    })
}

fn refresh_lists() -> anyhow::Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!(
            "the package lists of this machine are missing or old\nhint: run `sudo apt-get update`"
        );
    }
    process::quietly(apt("apt-get").args(["update", "-q"]))
        .context("failed to refresh the package lists")
}

/// An apt command that answers in the language this file reads.
fn apt(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("LC_ALL", "C");
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(packages: impl Iterator<Item = Package>) -> Vec<String> {
        packages
            .map(|package| format!("{}={}", package.name, package.version))
            .collect()
    }

    #[test]
    fn new_and_upgraded_packages_are_read_from_a_plan() {
        let plan = "Reading package lists...\n\
            Inst perl-base [5.36.0-7+deb12u2] (5.36.0-7+deb12u4 Debian:12.9/stable [amd64]) [perl:amd64 ]\n\
            Inst redis-server (5:7.0.15-1~deb12u10 Debian-Security:12/oldstable [amd64])\n\
            Conf redis-server (5:7.0.15-1~deb12u10 Debian-Security:12/oldstable [amd64])\n";
        assert_eq!(
            shown(planned(plan)),
            [
                "perl-base=5.36.0-7+deb12u4",
                "redis-server=5:7.0.15-1~deb12u10"
            ]
        );
    }

    #[test]
    fn a_package_without_a_candidate_is_not_offered() {
        let policy = "restic:\n  Installed: (none)\n  Candidate: 0.14.0-1+b5\n  Version table:\n     0.14.0-1+b5 500\n\
            ghost:\n  Installed: 1.0\n  Candidate: (none)\n";
        assert_eq!(shown(offered(policy)), ["restic=0.14.0-1+b5"]);
    }

    #[test]
    fn an_old_lib_folder_is_merged_into_usr() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("lib/x")).unwrap();
        std::fs::create_dir_all(root.path().join("usr/lib/x")).unwrap();
        std::fs::write(root.path().join("lib/x/old"), "old").unwrap();
        std::fs::write(root.path().join("usr/lib/x/new"), "new").unwrap();
        merge_usr(root.path()).unwrap();
        assert!(!root.path().join("lib").exists());
        assert!(root.path().join("usr/lib/x/old").exists());
        assert!(root.path().join("usr/lib/x/new").exists());
    }
}
