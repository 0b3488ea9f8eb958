//! `steps`: named steps of the run's journal.

use super::plain;
use crate::bindings::cofferdam::module::steps;
use crate::fault::Answer;
use crate::host::StepState;
use crate::state::CallState;

impl steps::Host for CallState {
    async fn begin(&mut self, name: String) -> Answer<steps::State> {
        let state = self
            .host
            .begin_step(plain("the name of a step", &name)?)
            .await;
        Ok(match self.answered(state)? {
            StepState::Fresh => steps::State::Fresh,
            StepState::Interrupted => steps::State::Interrupted,
            StepState::Done => steps::State::Done,
        })
    }

    async fn finish(&mut self, name: String) -> Answer<()> {
        let finished = self
            .host
            .finish_step(plain("the name of a step", &name)?)
            .await;
        self.answered(finished)
    }
}
