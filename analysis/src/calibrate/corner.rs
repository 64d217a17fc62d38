//! The cases in which the usual formulas err most, each with the rate at which they do.

use serde::Serialize;

use super::cell::{Cell, Looks, errors, latency, primary};
use super::crowd::Crowd;
use super::rates::Counts;
use super::{BOTH_SIDES, ONE_SIDE};

/// A case, and how often the decision in question is wrong.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Corner {
    /// The decision that is wrong.
    pub wrong: Wrong,
    /// How often the usual formulas err, from and to: Wald's tests with each arm's own variance, and the jackknife of
    /// quantiles.
    pub before: [f64; 2],
    /// How often `analyze run` errs.
    pub now: f64,
    /// How often it may.
    pub nominal: f64,
}

/// A decision that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Wrong {
    /// An equal candidate is promoted.
    Promoted,
    /// An equal candidate is promoted, or found worse.
    Different,
    /// A candidate that is worse by the margin is within it.
    Passed,
    /// A candidate that is worse by the margin is beyond it.
    Broken,
}

impl Corner {
    /// How often the wrong decision was made.
    pub(super) const fn count(&self, counts: &Counts) -> u64 {
        match self.wrong {
            Wrong::Promoted => counts.promoted,
            Wrong::Different => counts.promoted + counts.worse,
            Wrong::Passed => counts.non_inferior,
            Wrong::Broken => counts.inferior,
        }
    }

    pub(super) const fn with(self, now: f64) -> Self {
        Self { now, ..self }
    }
}

/// All of them. The measurements of the usual formulas are those of users.
pub(super) fn corners() -> Vec<Cell> {
    use Looks::{Beyond, Daily, Fixed};
    use Wrong::{Broken, Different, Passed, Promoted};
    let faulty = Crowd::Errors(0.02);
    let (paying, skewed) = (Crowd::ZeroInflated, Crowd::Skewed);
    let quantile = Crowd::Latency;
    [
        (Promoted, [0.33, 0.33], primary(faulty, Daily, 0.05, 7000)),
        (Promoted, [0.0, 0.0], primary(faulty, Daily, 0.5, 7000)),
        (Promoted, [0.36, 0.38], primary(faulty, Fixed, 0.05, 1000)),
        (Promoted, [0.36, 0.38], primary(faulty, Fixed, 0.05, 4000)),
        (Passed, [0.085, 0.085], errors((0.02, 0.02), Fixed, 0.05, 1000)),
        (Passed, [0.21, 0.21], errors((0.005, 0.01), Fixed, 0.05, 2000)),
        (Different, [0.36, 0.36], primary(paying, Daily, 0.05, 7000)),
        (Different, [0.23, 0.23], primary(skewed, Daily, 0.05, 7000)),
        (Different, [0.15, 0.27], primary(paying, Fixed, 0.05, 1000)),
        (Different, [0.15, 0.27], primary(skewed, Fixed, 0.05, 1000)),
        (Different, [0.08, 0.22], primary(quantile(0.95), Fixed, 0.05, 2000)),
        (Different, [0.08, 0.22], primary(quantile(0.99), Fixed, 0.05, 10_000)),
        // Measured with equal variants: 5 of 110.
        (Broken, [0.045, 0.045], latency(0.95, Fixed, 0.05, 1000)),
        (Different, [0.13, 0.13], primary(Crowd::Share(0.1), Beyond, 0.5, 7000)),
        (Different, [0.12, 0.18], primary(Crowd::VeryHeavy, Fixed, 0.2, 2000)),
        (Different, [0.12, 0.18], primary(Crowd::Heavy, Fixed, 0.2, 2000)),
    ]
    .into_iter()
    .map(|(wrong, before, cell)| {
        let nominal = if wrong == Different { BOTH_SIDES } else { ONE_SIDE };
        Cell { corner: Some(Corner { wrong, before, now: 0.0, nominal }), ..cell }
    })
    .collect()
}
