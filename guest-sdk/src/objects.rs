//! Kubernetes objects: ConfigMaps as keys and values, and what became of objects that were loaded.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::host::{Host, Level, Loaded, WhenPresent};

/// What a module may know of a ConfigMap.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct ConfigMap {
    /// Its keys and texts.
    #[serde(default)]
    pub data: BTreeMap<String, String>,
}

impl dyn Host + '_ {
    /// A ConfigMap of a group of the manifest.
    ///
    /// # Errors
    /// `NotFound` when the cluster does not have it, `Failed` when the answer is no ConfigMap.
    pub fn config_map(&self, group: &str, name: &str) -> Result<ConfigMap> {
        let json = self.object(group, name)?;
        serde_json::from_str(&json).map_err(|error| {
            Error::failed(
                "not-a-config-map",
                format!("`{name}` is no ConfigMap: {error}"),
            )
        })
    }

    /// What the site says in the parameter `when-present`, an enum of `keep`, `replace` and `fail`.
    ///
    /// # Errors
    /// `Invalid` when it is another word, or not set.
    pub fn when_present(&self) -> Result<WhenPresent> {
        match self.required("when-present")?.as_str() {
            "keep" => Ok(WhenPresent::Keep),
            "replace" => Ok(WhenPresent::Replace),
            "fail" => Ok(WhenPresent::Fail),
            other => Err(Error::invalid(format!(
                "parameter `when-present` is `{other}`"
            ))),
        }
    }

    /// Logs what became of each object: a warning for what was replaced or kept. Returns the names of
    /// those that were refused, in backticks.
    ///
    /// # Errors
    /// `Failed` with `unknown-answer` when the host says a word that this SDK does not know: a module
    /// must not take it for success.
    pub fn log_loaded(&self, loaded: &[Loaded]) -> Result<Vec<String>> {
        let mut refused = Vec::new();
        for one in loaded {
            let why: String = one
                .details
                .iter()
                .map(|(key, value)| format!(", {key} {value}"))
                .collect();
            let level = match one.result.as_str() {
                "created" | "equal" => Level::Info,
                "replaced" | "kept" => Level::Warn,
                "refused" => {
                    refused.push(format!("`{}`", one.name));
                    Level::Error
                }
                other => {
                    return Err(Error::failed(
                        "unknown-answer",
                        format!(
                            "the host says that `{}` is `{other}`, which this module does not know",
                            one.name
                        ),
                    ));
                }
            };
            self.log(level, &format!("`{}`: {}{why}", one.name, one.result));
        }
        Ok(refused)
    }
}
