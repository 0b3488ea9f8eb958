//! What a run tells while it goes on, for a screen or a log.
//!
//! Texts from modules are already bounded and without control characters.

use cofferdam_engine::host::Level;
use cofferdam_policy::name::DataSetName;
use cofferdam_policy::request::RunKind;

use crate::report::DataSetReport;
use crate::state::RunId;

/// Something that happened in a run.
#[derive(Debug, Clone)]
pub enum Event {
    /// The run begins.
    RunBegun {
        /// Its id.
        run: RunId,
        /// What it does.
        kind: RunKind,
        /// The data sets, in the order in which they may start.
        data_sets: Vec<DataSetName>,
    },
    /// An earlier run had left something, and it was put in order.
    Recovered {
        /// The earlier run.
        run: RunId,
        /// A sentence.
        text: String,
    },
    /// Something a person should look at.
    Warning {
        /// A sentence.
        text: String,
    },
    /// A data set begins.
    DataSetBegun {
        /// Which.
        data_set: DataSetName,
    },
    /// How far a step has come.
    Progress {
        /// Whose.
        data_set: DataSetName,
        /// The step.
        step: String,
        /// How much is done.
        done: u64,
        /// Of how much, where that is known.
        total: Option<u64>,
        /// Of what, such as `bytes`.
        unit: String,
    },
    /// A module says something.
    Log {
        /// Whose.
        data_set: DataSetName,
        /// How loud.
        level: Level,
        /// What.
        message: String,
    },
    /// A temporary change was made.
    LeaseTaken {
        /// For whom.
        data_set: DataSetName,
        /// The change, for people.
        change: String,
    },
    /// A temporary change was put back.
    LeaseReleased {
        /// For whom.
        data_set: DataSetName,
        /// The change, for people.
        change: String,
        /// What was found, such as `restored`.
        outcome: String,
    },
    /// A data set ended.
    DataSetFinished(DataSetReport),
}

/// Whoever wants to know. Called from many tasks; must not block.
pub trait Observer: Send + Sync + std::fmt::Debug {
    /// Something happened.
    fn event(&self, event: &Event);
}

/// An observer that does not look.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nobody;

impl Observer for Nobody {
    fn event(&self, _event: &Event) {}
}
