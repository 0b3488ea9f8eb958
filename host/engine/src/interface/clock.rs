//! `clock`: the time, and sleep that ends with the run.

use super::wait_time;
use crate::bindings::cofferdam::module::clock;
use crate::fault::Answer;
use crate::state::CallState;

impl clock::Host for CallState {
    async fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(self.host.now())
    }

    async fn sleep(&mut self, milliseconds: u64) -> Answer<()> {
        let slept = self.host.sleep(wait_time(milliseconds)?).await;
        self.answered(slept)
    }
}
