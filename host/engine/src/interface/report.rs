//! `report`: log lines and progress, through the gate that cleans and bounds them.

use crate::bindings::cofferdam::module::report;
use crate::host::Level;
use crate::state::CallState;

impl report::Host for CallState {
    async fn log(&mut self, level: report::Level, message: String) -> wasmtime::Result<()> {
        let level = match level {
            report::Level::Debug => Level::Debug,
            report::Level::Info => Level::Info,
            report::Level::Warn => Level::Warn,
            report::Level::Error => Level::Error,
        };
        self.log_gate().line(level, &message);
        Ok(())
    }

    async fn progress(
        &mut self,
        step: String,
        done: u64,
        total: Option<u64>,
        unit: String,
    ) -> wasmtime::Result<()> {
        self.log_gate().progress(&step, done, total, &unit);
        Ok(())
    }
}
