//! Comparisons that give their test and their intervals for any number of looks: shares and quantiles.

use sidetrack_stats::result::{Interval, Test, Undefined};
use sidetrack_stats::score::Score;

use super::order::Quantiles;

/// A test and its intervals.
#[derive(Clone, Debug)]
pub(crate) enum Scored {
    Shares(Score),
    Quantile(Quantiles),
}

impl Scored {
    /// The test that both variants are equal.
    pub(crate) fn test(&self) -> Result<Test, Undefined> {
        match self {
            Self::Shares(score) => score.test(),
            Self::Quantile(quantiles) => quantiles.test(),
        }
    }

    /// The interval of the difference at `z` standard errors.
    pub(crate) fn interval(&self, z: f64) -> Interval {
        match self {
            Self::Shares(score) => score.interval(z),
            Self::Quantile(quantiles) => quantiles.interval(z),
        }
    }

    /// The interval of the difference over the baseline's value.
    pub(crate) fn lift_interval(&self, z: f64) -> Result<Interval, Undefined> {
        match self {
            Self::Shares(score) => score.lift_interval(z),
            Self::Quantile(quantiles) => Ok(quantiles.lift_interval(z)),
        }
    }
}
