//! What the environment says: the only place of this crate that reads it, and it reads it once.
//!
//! It must never hold a default that names a path of one machine.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, bail};

/// Which way to the guest toolchain is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GuestChoice {
    /// The installed target, else `rustup target add`, else Debian's compiler.
    FirstThatWorks,
    /// Only Debian's compiler, unpacked into the cache, even where the target is installed.
    Debian,
}

/// The environment of this call.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Where everything fetched and unpacked lives, outside any checkout.
    pub(crate) cache: PathBuf,
    /// The cargo that called us.
    pub(crate) cargo: OsString,
    /// What that cargo told this program about its own package.
    package: Vec<OsString>,
    /// The way to the guest toolchain.
    pub(crate) guest: GuestChoice,
    /// The image that the demo's workloads name; the local cluster only records it.
    pub(crate) image: String,
}

impl Settings {
    /// Reads the environment.
    ///
    /// Fails when no cache folder can be derived or a variable has a value that means nothing.
    pub(crate) fn from_environment() -> anyhow::Result<Self> {
        let package = env::vars_os()
            .map(|(name, _)| name)
            .filter(|name| describes_a_package(name));
        Ok(Self {
            package: package.collect(),
            ..Self::from(read)?
        })
    }

    /// A call of cargo, as if it were typed.
    ///
    /// `cargo run` tells the program its package's folder, and build scripts watch that variable: handed
    /// on, it makes cargo compile `ring` and all that stands on it again in each checkout, and once more
    /// whenever a typed command and one of ours take turns.
    pub(crate) fn cargo(&self) -> Command {
        let mut cargo = Command::new(&self.cargo);
        for name in &self.package {
            cargo.env_remove(name);
        }
        cargo
    }

    fn from(read: impl Fn(&str) -> Option<OsString>) -> anyhow::Result<Self> {
        let cache = read("COFFERDAM_CACHE")
            .map(PathBuf::from)
            .or_else(|| read("XDG_CACHE_HOME").map(|home| PathBuf::from(home).join("cofferdam")))
            .or_else(|| read("HOME").map(|home| PathBuf::from(home).join(".cache/cofferdam")))
            .context(
                "no cache folder: none of `COFFERDAM_CACHE`, `XDG_CACHE_HOME` and `HOME` is set",
            )?;
        if !cache.is_absolute() {
            bail!(
                "the cache folder `{}` is not an absolute path",
                cache.display()
            );
        }
        let guest = match read("COFFERDAM_GUEST_TOOLCHAIN")
            .as_deref()
            .map(|choice| choice.to_str())
        {
            None => GuestChoice::FirstThatWorks,
            Some(Some("debian")) => GuestChoice::Debian,
            Some(_) => bail!("`COFFERDAM_GUEST_TOOLCHAIN` may only be `debian`"),
        };
        Ok(Self {
            cache,
            cargo: read("CARGO").unwrap_or_else(|| "cargo".into()),
            package: Vec::new(),
            guest,
            image: match read("COFFERDAM_TEST_IMAGE") {
                None => "localhost/cofferdam-demo:latest".to_owned(),
                Some(image) => image
                    .into_string()
                    .ok()
                    .context("`COFFERDAM_TEST_IMAGE` is not UTF-8")?,
            },
        })
    }
}

fn describes_a_package(variable: &OsStr) -> bool {
    let name = variable.to_string_lossy();
    name.starts_with("CARGO_MANIFEST_") || name.starts_with("CARGO_PKG_")
}

#[expect(
    clippy::disallowed_methods,
    reason = "this file is the one reader of the environment"
)]
fn read(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> anyhow::Result<Settings> {
        Settings::from(|name| {
            variables
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| value.into())
        })
    }

    #[test]
    fn cargo_is_called_without_the_package_of_this_program() {
        // Cargo runs tests with its description of their package too.
        let settings = Settings::from_environment().unwrap();
        let removed: Vec<OsString> = settings
            .cargo()
            .get_envs()
            .filter(|(_, value)| value.is_none())
            .map(|(name, _)| name.to_owned())
            .collect();
        for name in ["CARGO_MANIFEST_DIR", "CARGO_PKG_NAME", "CARGO_PKG_VERSION"] {
            assert!(removed.contains(&name.into()), "{name}: {removed:?}");
        }
        assert!(!removed.contains(&"CARGO_TARGET_DIR".into()));
    }

    #[test]
    fn the_cache_is_the_named_one_before_the_users_before_the_home() {
        let home = ("HOME", "/home/a");
        let user = ("XDG_CACHE_HOME", "/cache");
        let named = ("COFFERDAM_CACHE", "/named");
        let cache = |variables: &[(&str, &str)]| settings(variables).unwrap().cache;
        assert_eq!(cache(&[home]), PathBuf::from("/home/a/.cache/cofferdam"));
        assert_eq!(cache(&[home, user]), PathBuf::from("/cache/cofferdam"));
        assert_eq!(cache(&[home, user, named]), PathBuf::from("/named"));
    }

    #[test]
    fn a_relative_cache_is_refused() {
        let error = settings(&[("COFFERDAM_CACHE", "here")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the cache folder `here` is not an absolute path"
        );
    }

    #[test]
    fn an_unknown_guest_toolchain_is_refused() {
        assert!(settings(&[("HOME", "/h"), ("COFFERDAM_GUEST_TOOLCHAIN", "wasi")]).is_err());
    }
}
