//! ConfigMaps as keys and values.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::host::Host;

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
}
