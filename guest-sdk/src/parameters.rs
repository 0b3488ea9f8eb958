//! Parameters as the types that modules need, and the roles that a site may leave unbound.
//!
//! The host has checked each against the manifest; what is wrong here is the module's fault, and
//! is said as that.

use std::str::FromStr;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::host::{Host, Target};

impl dyn Host + '_ {
    /// The workload of a role that the manifest declares `optional`: `None` where the site leaves it
    /// unbound. A workload that is bound and does not exist is still an error.
    ///
    /// # Errors
    /// What [`Host::target`] fails with, but `not-bound`.
    pub fn target_if_bound(&self, role: &str) -> Result<Option<Box<dyn Target>>> {
        match self.target(role) {
            Ok(target) => Ok(Some(target)),
            Err(error) if error.code() == Some("not-bound") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A parameter that must have a value.
    ///
    /// # Errors
    /// `Invalid` when the site set none and the manifest has no default.
    pub fn required(&self, name: &str) -> Result<String> {
        self.parameter(name)
            .ok_or_else(|| Error::invalid(format!("parameter `{name}` is not set")))
    }

    /// A parameter as a type that can be parsed: a number of `integer` or `bytes`, an enum of the
    /// module's own.
    ///
    /// # Errors
    /// `Invalid` when it is not set or does not parse.
    pub fn parsed<T: FromStr>(&self, name: &str) -> Result<T> {
        let text = self.required(name)?;
        text.parse().map_err(|_| {
            Error::invalid(format!(
                "parameter `{name}` is `{text}`, which this module cannot read"
            ))
        })
    }

    /// A parameter of the type `duration`.
    ///
    /// # Errors
    /// `Invalid` when it is not set or is no number of seconds.
    pub fn duration(&self, name: &str) -> Result<Duration> {
        self.parsed(name).map(Duration::from_secs)
    }

    /// A parameter that is a list of names. Not set and empty are the same.
    pub fn list(&self, name: &str) -> Vec<String> {
        let text = self.parameter(name).unwrap_or_default();
        text.split(',')
            .map(str::trim)
            .filter(|one| !one.is_empty())
            .map(str::to_owned)
            .collect()
    }
}
