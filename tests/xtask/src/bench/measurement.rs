//! One line of the bench: two medians, their ratio, and whether that is good enough. What is no number
//! is never met.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::interrupt;

/// One compared pair.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Measurement {
    /// What of ours was measured.
    pub(super) name: String,
    /// What it was held against.
    pub(super) against: String,
    /// Ours by theirs.
    pub(super) ratio: f64,
    /// The most that the ratio may be.
    pub(super) goal: f64,
    /// Whether it is.
    pub(super) met: bool,
    /// The figures.
    pub(super) measured: String,
}

impl Measurement {
    /// A pair of figures in the same unit.
    pub(super) fn new(
        name: &str,
        against: &str,
        ours: f64,
        theirs: f64,
        goal: f64,
        unit: &str,
    ) -> Self {
        let ratio = ours / theirs;
        Self {
            name: name.to_owned(),
            against: against.to_owned(),
            ratio,
            goal,
            met: ratio <= goal,
            measured: format!("{ours:.3} {unit} to {theirs:.3} {unit}"),
        }
    }
}

/// Seconds that something took.
pub(super) fn seconds(work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    interrupt::check()?;
    let started = Instant::now();
    work()?;
    Ok(started.elapsed().as_secs_f64())
}

/// The middle figure; of an even number the mean of the two in the middle.
pub(super) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let upper = figures.len() / 2;
    let lower = figures.len().saturating_sub(1) / 2;
    let at = |index: usize| figures.get(index).copied().unwrap_or(f64::NAN);
    f64::midpoint(at(lower), at(upper))
}

/// Milliseconds with their fractions.
pub(super) fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_of_the_sorted_figures() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median(vec![4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < f64::EPSILON);
    }

    #[test]
    fn a_ratio_above_the_goal_is_not_met() {
        assert!(Measurement::new("a", "b", 0.4, 1.0, 0.4, "s").met);
        assert!(!Measurement::new("a", "b", 0.401, 1.0, 0.4, "s").met);
    }

    #[test]
    fn what_is_no_number_is_not_met() {
        assert!(!Measurement::new("a", "b", median(Vec::new()), 1.0, 1.0, "s").met);
    }
}
