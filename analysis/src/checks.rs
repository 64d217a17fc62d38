//! Checks of the data, before any comparison: the split, open breakers, lines and rows that do not count.

mod breaker;
mod counts;
mod notes;
mod srm;
mod usable;

pub(crate) use breaker::breaker;
pub(crate) use counts::{line_counts, observed, other_trials, outcome_counts, variants};
pub(crate) use notes::{Evidence, notes};
pub(crate) use srm::srm;
pub(crate) use usable::{lines as unusable_lines, outcomes as unusable_outcomes};

/// `part` of `part + rest`.
pub(crate) fn share(part: u64, rest: u64) -> f64 {
    let float = sidetrack_stats::float;
    if part + rest == 0 { 0.0 } else { float(part) / float(part + rest) }
}
