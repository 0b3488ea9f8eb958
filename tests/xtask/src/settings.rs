//! What the environment says: the only place of this crate that reads it, and it reads it once.
//!
//! It must never hold a default that names a path of one machine.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

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
        Self::from(read)
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
