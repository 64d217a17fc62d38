//! Analyses that look valid but are not: rejected, with the valid alternative.

use std::fmt;

use crate::distribution::chi_square;
use crate::input::Proportion;
use crate::numeric::float;
use crate::result::{PValue, Test, Undefined};

/// How the data was collected, as far as it decides which analysis is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Design {
    /// What one observation is.
    pub rows: Rows,
    /// Who chose the weights.
    pub weights: Weights,
    /// Whether data of several phases or batches was summed.
    pub summed: bool,
}

/// What one observation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// What was randomized: a user, a session.
    Units,
    /// Requests, of units that make many.
    Requests,
}

/// Who chose the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weights {
    /// They never changed.
    Constant,
    /// They followed a schedule that was fixed in advance.
    Scheduled,
    /// A bandit chose them from earlier outcomes.
    Adaptive,
}

/// Why an analysis is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trap {
    /// Requests were counted, but users were randomized.
    RequestLevel,
    /// Phases with different weights were summed.
    PooledPhases,
    /// Batches of a bandit were summed.
    PooledBandit,
}

impl Trap {
    /// A stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::RequestLevel => "request_level",
            Self::PooledPhases => "pooled_phases",
            Self::PooledBandit => "pooled_bandit",
        }
    }
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RequestLevel => {
                "users were randomized, and requests of one user are not independent, so the test would report too many \
                 differences; count users instead of requests, or compare ratios of sums per user"
            }
            Self::PooledPhases => {
                "the counts are summed over phases with different weights, so a drift of the metric would appear as a \
                 difference between the variants; give --baseline and --candidate once for \
                 each phase, or use `sidetrack analyze run`, which separates the phases of a log"
            }
            Self::PooledBandit => {
                "a bandit chose the weights from earlier outcomes, so sums over batches are biased; give --baseline and \
                 --candidate once for each batch, or use `sidetrack analyze run`, which separates the batches of a log"
            }
        })
    }
}

impl std::error::Error for Trap {}

/// Rejects an invalid analysis.
///
/// # Errors
/// Why it is invalid.
pub const fn check(design: Design) -> Result<(), Trap> {
    match design {
        Design { rows: Rows::Requests, .. } => Err(Trap::RequestLevel),
        Design { weights: Weights::Adaptive, summed: true, .. } => Err(Trap::PooledBandit),
        Design { weights: Weights::Scheduled, summed: true, .. } => Err(Trap::PooledPhases),
        Design { .. } => Ok(()),
    }
}

/// Tests whether the candidate's share of the units differs between phases. If it does, phases must not
/// be summed.
///
/// The chi-square test of homogeneity.
///
/// # Errors
/// `TooFew` with fewer than two phases.
pub fn weights_changed(phases: &[(Proportion, Proportion)]) -> Result<Test, Undefined> {
    if phases.len() < 2 {
        return Err(Undefined::TooFew);
    }
    let sums = phases.iter().fold((0.0, 0.0), |sums, (b, c)| (sums.0 + b.n(), sums.1 + c.n()));
    let share = sums.1 / (sums.0 + sums.1);
    let term = |(b, c): &(Proportion, Proportion)| {
        let n = b.n() + c.n();
        (c.n() - share * n).powi(2) / (n * share * (1.0 - share))
    };
    let statistic = phases.iter().map(term).sum();
    let df = float(phases.len() as u64) - 1.0;
    Ok(Test { statistic, df: Some(df), p: PValue::of_ln(chi_square::ln_upper(statistic, df)) })
}
