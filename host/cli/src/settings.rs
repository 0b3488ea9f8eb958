//! The only reader of the environment: what was typed, then the environment, then the default.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::arguments::{Common, Format};
use crate::report::Usage;

/// What every command works with. Made once, at the start.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) format: Format,
    pub(crate) verbose: u8,
    pub(crate) file: PathBuf,
    pub(crate) policy: Vec<PathBuf>,
    pub(crate) modules: Vec<PathBuf>,
    pub(crate) repository: Option<String>,
    pub(crate) password: PasswordSource,
    pub(crate) kubeconfig: Vec<PathBuf>,
    pub(crate) context: Option<String>,
    pub(crate) state: PathBuf,
    pub(crate) cache: Option<PathBuf>,
    /// The whole environment, for what libraries define themselves (`AWS_*`).
    pub(crate) environment: BTreeMap<String, String>,
}

/// Where the password of the repository comes from.
#[derive(Clone)]
pub(crate) enum PasswordSource {
    File(PathBuf),
    Command(String),
    Environment(String),
    None,
}

impl std::fmt::Debug for PasswordSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Command(_) => f.write_str("Command"),
            Self::Environment(password) => write!(f, "Environment({} bytes)", password.len()),
            Self::None => f.write_str("None"),
        }
    }
}

/// Reads the environment and joins it with what was typed.
///
/// # Errors
/// When neither says where the home folder is and a default needs it.
pub(crate) fn read(common: Common) -> Result<Settings> {
    // Variables that are no UTF-8 are none of ours.
    let environment: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let executable = std::env::current_exe().ok();
    join(common, environment, executable)
}

fn join(
    common: Common,
    environment: BTreeMap<String, String>,
    executable: Option<PathBuf>,
) -> Result<Settings> {
    let variable = |name: &str| {
        environment
            .get(name)
            .filter(|value| !value.is_empty())
            .cloned()
    };
    let path = |name: &str| variable(name).map(PathBuf::from);
    let paths =
        |name: &str| variable(name).map(|value| std::env::split_paths(&value).collect::<Vec<_>>());
    let home = path("HOME");
    let below = |folder: &str| home.as_ref().map(|home| home.join(folder));

    let password = match (common.password_file, common.password_command) {
        (Some(file), _) => PasswordSource::File(file),
        (None, Some(command)) => PasswordSource::Command(command),
        (None, None) => match (
            path("COFFERDAM_PASSWORD_FILE"),
            variable("COFFERDAM_PASSWORD_COMMAND"),
            variable("COFFERDAM_PASSWORD"),
        ) {
            (Some(file), _, _) => PasswordSource::File(file),
            (None, Some(command), _) => PasswordSource::Command(command),
            (None, None, Some(password)) => PasswordSource::Environment(password),
            (None, None, None) => PasswordSource::None,
        },
    };
    let kubeconfig = match common.kubeconfig {
        Some(file) => vec![file],
        None => paths("KUBECONFIG").unwrap_or_else(|| {
            let usual = below(".kube/config").filter(|file| file.exists());
            usual.into_iter().collect()
        }),
    };
    let mut modules = if common.modules.is_empty() {
        paths("COFFERDAM_MODULES").unwrap_or_default()
    } else {
        common.modules
    };
    if modules.is_empty() {
        // Where a package puts them: beside the binary, or for one person.
        let beside = executable
            .as_deref()
            .and_then(std::path::Path::parent)
            .and_then(std::path::Path::parent);
        modules.extend(beside.map(|prefix| prefix.join("lib/cofferdam/modules")));
        modules.extend(
            path("XDG_DATA_HOME")
                .or_else(|| below(".local/share"))
                .map(|folder| folder.join("cofferdam/modules")),
        );
    }
    let state = common
        .state
        .or_else(|| path("COFFERDAM_STATE"))
        .or_else(|| {
            path("XDG_STATE_HOME")
                .or_else(|| below(".local/state"))
                .map(|folder| folder.join("cofferdam"))
        });
    let policy = if common.policy.is_empty() {
        paths("COFFERDAM_POLICY").unwrap_or_else(|| vec!["cofferdam.cedar".into()])
    } else {
        common.policy
    };
    Ok(Settings {
        format: common.output,
        verbose: common.verbose,
        file: common
            .file
            .or_else(|| path("COFFERDAM_FILE"))
            .unwrap_or_else(|| "cofferdam.yaml".into()),
        policy,
        modules,
        repository: common
            .repository
            .or_else(|| variable("COFFERDAM_REPOSITORY")),
        password,
        kubeconfig,
        context: common.context,
        state: state
            .context("there is no folder for journals and audit logs")
            .map_err(|error| {
                Usage::hint(
                    error,
                    "say where with `--state`, or set `COFFERDAM_STATE` or `HOME`",
                )
            })?,
        cache: path("XDG_CACHE_HOME")
            .or_else(|| below(".cache"))
            .map(|folder| folder.join("cofferdam/compiled")),
        environment,
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::arguments::Arguments;

    fn joined(typed: &[&str], environment: &[(&str, &str)]) -> Settings {
        let typed = ["cofferdam"].iter().chain(typed).chain(&["list"]);
        let arguments = Arguments::parse_from(typed);
        let environment = environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        join(arguments.common, environment, None).expect("joined")
    }

    #[test]
    fn what_was_typed_wins_over_the_environment() {
        let environment = [("COFFERDAM_REPOSITORY", "/env"), ("HOME", "/home/x")];
        assert_eq!(
            joined(&["--repository", "/typed"], &environment)
                .repository
                .as_deref(),
            Some("/typed")
        );
        assert_eq!(
            joined(&[], &environment).repository.as_deref(),
            Some("/env")
        );
    }

    #[test]
    fn the_state_folder_follows_the_base_directory_rules() {
        assert_eq!(
            joined(&[], &[("HOME", "/home/x")]).state,
            PathBuf::from("/home/x/.local/state/cofferdam")
        );
        let set = [("HOME", "/home/x"), ("XDG_STATE_HOME", "/s")];
        assert_eq!(joined(&[], &set).state, PathBuf::from("/s/cofferdam"));
    }

    #[test]
    fn a_password_in_the_environment_is_never_shown() {
        let settings = joined(&[], &[("HOME", "/h"), ("COFFERDAM_PASSWORD", "hunter2")]);
        assert!(!format!("{:?}", settings.password).contains("hunter2"));
    }

    #[test]
    fn without_a_home_the_next_step_is_said() {
        let arguments = Arguments::parse_from(["cofferdam", "list"]);
        let error = join(arguments.common, BTreeMap::new(), None).expect_err("no folder");
        assert_eq!(
            error
                .downcast_ref::<Usage>()
                .and_then(|usage| usage.next.clone())
                .as_deref(),
            Some("say where with `--state`, or set `COFFERDAM_STATE` or `HOME`")
        );
    }
}
