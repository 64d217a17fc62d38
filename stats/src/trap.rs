//! Analyses that look right and are not: refused, with the way that is right.

use std::fmt;

use crate::distribution::chi_square;
use crate::input::Proportion;
use crate::numeric::float;
use crate::result::{PValue, Test, Undefined};

/// How data came about, as far as it decides which analysis is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Design {
    /// What one observation is.
    pub rows: Rows,
    /// Who chose the weights.
    pub weights: Weights,
    /// Whether data of several phases or batches were summed up into one.
    pub summed: bool,
}

/// What one observation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// What was randomised: a user, a session.
    Units,
    /// Requests, of units that make many.
    Requests,
}

/// Who chose the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weights {
    /// They never changed.
    Constant,
    /// They followed a schedule that was written before.
    Scheduled,
    /// A bandit chose them by what it had seen.
    Adaptive,
}

/// Why an analysis is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trap {
    /// Requests were counted where users were randomised.
    RequestLevel,
    /// Phases with different weights were summed up.
    PooledPhases,
    /// A bandit's batches were summed up.
    PooledBandit,
}

impl Trap {
    /// One stable word.
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
                "these are requests, but users were randomised: requests of one user are not independent, and the test would be too \
                 sure of itself; count users, or compare ratios with each user's sums"
            }
            Self::PooledPhases => {
                "these sums are over phases with different weights: a drift of the metric would show as a difference \
                 between the variants; give each phase by itself"
            }
            Self::PooledBandit => {
                "a bandit chose the weights by what it had seen, so the sums are biased and the test too sure of itself; \
                 give each batch of constant weights by itself"
            }
        })
    }
}

impl std::error::Error for Trap {}

/// Whether a test is allowed at all.
///
/// # Errors
/// The trap that it would fall into.
pub const fn check(design: Design) -> Result<(), Trap> {
    match design {
        Design { rows: Rows::Requests, .. } => Err(Trap::RequestLevel),
        Design { weights: Weights::Adaptive, summed: true, .. } => Err(Trap::PooledBandit),
        Design { weights: Weights::Scheduled, summed: true, .. } => Err(Trap::PooledPhases),
        Design { .. } => Ok(()),
    }
}

/// Whether the candidate's share of the units differs between phases: then they must not be summed up.
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
