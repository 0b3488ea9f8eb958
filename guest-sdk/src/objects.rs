//! ConfigMaps as keys and values, and workloads that a site may leave out.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::host::{Host, Target};

/// What a module may know of a ConfigMap.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct ConfigMap {
    /// Its keys and texts.
    #[serde(default)]
    pub data: BTreeMap<String, String>,
}

impl dyn Host + '_ {
    /// The workload of a role that is `optional` in the manifest: `None` when the site binds none.
    ///
    /// # Errors
    /// What [`Host::target`] fails with otherwise.
    pub fn target_if_bound(&self, role: &str) -> Result<Option<Box<dyn Target>>> {
        match self.target(role) {
            Ok(target) => Ok(Some(target)),
            Err(error) if error.code() == Some("not-bound") => Ok(None),
            Err(error) => Err(error),
        }
    }

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
}
