//! `settings`: what the site set.

use cofferdam_policy::name::ParameterName;

use crate::bindings::cofferdam::module::settings;
use crate::state::CallState;

impl settings::Host for CallState {
    async fn parameter(&mut self, name: String) -> wasmtime::Result<Option<String>> {
        let name = ParameterName::parse(&name).ok();
        let setting = name.and_then(|name| self.binding.setting(&name));
        Ok(setting.map(ToString::to_string))
    }
}
