//! Becoming a program of the container: user, folder, environment, look-up in `PATH`.
//!
//! Runs in a child of the helper that already sees the container's files. Nothing here reads the
//! helper's own environment, so nothing of the host leaks into a pod.

use std::ffi::CString;
use std::fmt::Display;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{
    Gid, Uid, chdir, dup2_stderr, dup2_stdin, dup2_stdout, execve, fchown, setgroups, setresgid,
    setresuid,
};

use super::kernel;
use super::wire::ContainerPlan;

/// Where programs are looked for when the container's environment does not say. Debian keeps the
/// programs of PostgreSQL in a folder for each version; see `default_path`.
const BEFORE_SERVERS: &str = "/usr/local/sbin:/usr/local/bin";
const SERVERS: &str = "/usr/lib/postgresql";
const AFTER_SERVERS: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// The three streams of a program.
#[derive(Debug)]
pub(crate) struct Streams {
    pub(crate) stdin: OwnedFd,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

/// Replaces this process by the command, and returns only with the reason why it could not.
pub(crate) fn become_program(
    plan: &ContainerPlan,
    command: &[String],
    streams: Streams,
    rootless: bool,
) -> String {
    let Err(failure) = try_become(plan, command, streams, rootless);
    failure
}

fn try_become(
    plan: &ContainerPlan,
    command: &[String],
    streams: Streams,
    rootless: bool,
) -> Result<std::convert::Infallible, String> {
    let account = Account::of(plan.user);
    // Engines give the streams to the container's user, so that it can open `/dev/stdout` anew.
    for stream in [&streams.stdin, &streams.stdout, &streams.stderr] {
        let _may_be_refused = fchown(stream, Some(Uid::from_raw(plan.user)), None);
    }
    dup2_stdin(streams.stdin.as_fd()).map_err(said("failed to connect stdin"))?;
    dup2_stdout(streams.stdout.as_fd()).map_err(said("failed to connect stdout"))?;
    dup2_stderr(streams.stderr.as_fd()).map_err(said("failed to connect stderr"))?;
    let environment = environment(plan, &account);
    kernel::drop_capabilities().map_err(said("failed to drop capabilities"))?;
    take_user(&account, rootless)?;
    kernel::reset_signals().map_err(said("failed to reset signals"))?;
    let folder = plan.working_folder.as_str();
    chdir(folder).map_err(|error| {
        format!(
            "chdir to cwd (`{folder}`) failed: {}",
            error.desc().to_lowercase()
        )
    })?;
    execute(command, &environment)
}

fn said(what: &'static str) -> impl Fn(Errno) -> String {
    move |error| format!("{what}: {}", error.desc().to_lowercase())
}

/// A line of the container's `/etc/passwd`.
struct Account {
    user: u32,
    group: u32,
    home: String,
}

impl Account {
    fn of(user: u32) -> Self {
        let lines = fs_err::read_to_string("/etc/passwd").unwrap_or_default();
        lines
            .lines()
            .find_map(|line| Self::parse(line, user))
            .unwrap_or(Self {
                user,
                group: 0,
                home: "/".to_owned(),
            })
    }

    fn parse(line: &str, user: u32) -> Option<Self> {
        let mut fields = line.split(':').skip(2);
        if fields.next()?.parse() != Ok(user) {
            return None;
        }
        let group = fields.next()?.parse().ok()?;
        Some(Self {
            user,
            group,
            home: fields.nth(1)?.to_owned(),
        })
    }
}

/// Becomes the container's user.
///
/// Without root only one user id exists; then the process enters a further user namespace in
/// which that one id is called as the container wants, and so are the owners of all its files.
fn take_user(account: &Account, rootless: bool) -> Result<(), String> {
    if rootless {
        if account.user == 0 {
            return Ok(());
        }
        unshare(CloneFlags::CLONE_NEWUSER).map_err(said("failed to make the user's namespace"))?;
        return write_maps(account.user, 0, account.group, 0);
    }
    setgroups(&[]).map_err(said("failed to drop groups"))?;
    let group = Gid::from_raw(account.group);
    setresgid(group, group, group).map_err(said("failed to set the group"))?;
    let user = Uid::from_raw(account.user);
    setresuid(user, user, user).map_err(said("failed to set the user"))
}

/// Names the one user and the one group of the user namespace that this process has just made.
pub(crate) fn write_maps(
    user: u32,
    outer_user: u32,
    group: u32,
    outer_group: u32,
) -> Result<(), String> {
    let write = |path: &str, text: String| {
        fs_err::write(path, text).map_err(|error| format!("failed to map the user: {error}"))
    };
    write("/proc/self/setgroups", "deny".to_owned())?;
    write("/proc/self/uid_map", format!("{user} {outer_user} 1"))?;
    write("/proc/self/gid_map", format!("{group} {outer_group} 1"))
}

fn environment(plan: &ContainerPlan, account: &Account) -> Vec<(String, String)> {
    let mut environment = plan.environment.clone();
    let path = default_path(Path::new(SERVERS));
    let defaults = [
        ("PATH", path.as_str()),
        ("HOSTNAME", plan.host_name.as_str()),
        ("HOME", account.home.as_str()),
    ];
    for (name, value) in defaults {
        if !environment.iter().any(|(known, _)| known == name) {
            environment.push((name.to_owned(), value.to_owned()));
        }
    }
    environment
}

/// Like an image of a server, whose `psql` is the program itself and not Debian's wrapper around it.
fn default_path(servers: &Path) -> String {
    let mut folders = vec![BEFORE_SERVERS.to_owned()];
    let versions = fs_err::read_dir(servers)
        .into_iter()
        .flatten()
        .filter_map(Result::ok);
    let mut versions: Vec<_> = versions
        .map(|version| version.path().join("bin").display().to_string())
        .collect();
    versions.sort();
    folders.append(&mut versions);
    folders.push(AFTER_SERVERS.to_owned());
    folders.join(":")
}

fn execute(
    command: &[String],
    environment: &[(String, String)],
) -> Result<std::convert::Infallible, String> {
    let Some(program) = command.first() else {
        return Err("no command specified".to_owned());
    };
    let arguments = command.iter().map(to_c).collect::<Result<Vec<_>, _>>()?;
    let variables = environment
        .iter()
        .map(|(name, value)| to_c(&format!("{name}={value}")))
        .collect::<Result<Vec<_>, _>>()?;
    let path = environment
        .iter()
        .rev()
        .find_map(|(name, value)| (name == "PATH").then_some(value.as_str()));
    let mut refusal = None;
    for candidate in candidates(program, path.unwrap_or_default()) {
        let Err(error) = execve(&to_c(&candidate)?, &arguments, &variables);
        // Like a shell: a file that may not be run is passed over, but remembered.
        if !matches!(error, Errno::ENOENT | Errno::ENOTDIR) {
            refusal.get_or_insert(error);
        }
    }
    Err(match refusal {
        Some(error) => format!("exec: \"{program}\": {}", error.desc().to_lowercase()),
        None if program.contains('/') => {
            format!("exec: \"{program}\": stat {program}: no such file or directory")
        }
        None => format!("exec: \"{program}\": executable file not found in $PATH"),
    })
}

fn candidates(program: &str, path: &str) -> Vec<String> {
    if program.contains('/') {
        return vec![program.to_owned()];
    }
    path.split(':')
        .filter(|folder| !folder.is_empty())
        .map(|folder| format!("{folder}/{program}"))
        .collect()
}

fn to_c(word: &(impl AsRef<str> + Display + ?Sized)) -> Result<CString, String> {
    CString::new(word.as_ref())
        .map_err(|_| format!("`{}` has a zero byte", word.to_string().escape_debug()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_without_a_slash_is_looked_up_folder_by_folder() {
        assert_eq!(candidates("psql", "/a::/b"), ["/a/psql", "/b/psql"]);
        assert_eq!(candidates("./psql", "/a"), ["./psql"]);
    }

    #[test]
    fn an_account_is_found_by_its_number_and_not_by_its_group() {
        let line = "redis:x:101:7:redis:/var/lib/redis:/bin/sh";
        assert!(Account::parse(line, 7).is_none());
        let account = Account::parse(line, 101).unwrap();
        assert_eq!(
            (account.group, account.home.as_str()),
            (7, "/var/lib/redis")
        );
    }

    #[test]
    fn what_the_container_sets_wins_over_the_defaults() {
        let plan = ContainerPlan {
            host_name: "till".to_owned(),
            command: vec![],
            environment: vec![("HOME".to_owned(), "/elsewhere".to_owned())],
            working_folder: "/".to_owned(),
            user: 0,
            mounts: vec![],
            names: "/".into(),
        };
        let account = Account {
            user: 0,
            group: 0,
            home: "/root".to_owned(),
        };
        let environment = environment(&plan, &account);
        assert_eq!(
            environment
                .iter()
                .filter(|(name, _)| name == "HOME")
                .count(),
            1
        );
        assert!(environment.contains(&("HOME".to_owned(), "/elsewhere".to_owned())));
        assert!(environment.contains(&("HOSTNAME".to_owned(), "till".to_owned())));
    }

    #[test]
    fn the_programs_of_every_installed_postgresql_are_found_before_their_wrappers() {
        let servers = tempfile::tempdir().unwrap();
        fs_err::create_dir_all(servers.path().join("15/bin")).unwrap();
        let path = default_path(servers.path());
        let bin = servers.path().join("15/bin").display().to_string();
        assert_eq!(
            path.split(':').position(|folder| folder == bin),
            Some(2),
            "{path}"
        );
        assert!(default_path(Path::new("/no/such")).ends_with("/usr/bin:/sbin:/bin"));
    }

    #[test]
    fn a_zero_byte_in_an_argument_is_refused() {
        assert!(to_c("a\0b").is_err());
    }
}
