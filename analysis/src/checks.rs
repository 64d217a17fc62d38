//! Checks of the data, before any comparison: the split, open breakers, lines and rows that do not count.

mod arms;
mod breaker;
mod counts;
mod ends;
mod few;
mod lines;
mod notes;
mod rows;
mod skewness;
mod srm;
mod usable;

use crate::answer::OutcomeCounts;
use crate::check::{Check, CheckName, CheckState};
use crate::join::Joined;
use crate::metric::Metric;
use crate::source::outcomes::Outcomes;
pub(crate) use arms::Arms;
pub(crate) use breaker::breaker;
pub(crate) use counts::{line_counts, observed, other_trials, outcome_counts, variants};
pub(crate) use ends::ends;
pub(crate) use few::few_units;
pub(crate) use notes::{Evidence, notes};
pub(crate) use srm::srm;
pub(crate) use usable::{lines as unusable_lines, outcomes as unusable_outcomes};

/// Checks of the data that may block a decision. `allowed`: the user accepts what they find.
pub(crate) fn checks(
    outcomes: Option<(&Outcomes, &OutcomeCounts)>,
    joined: &Joined,
    arms: Option<&Arms<'_>>,
    more: impl IntoIterator<Item = Check>,
    metrics: &[Metric],
    allowed: &[CheckName],
) -> Vec<Check> {
    let mut checks = lines::lines(joined);
    if let Some((outcomes, counts)) = outcomes {
        checks.extend(rows::rows(outcomes, counts, metrics));
    }
    checks.extend(arms.map(Arms::checks).into_iter().flatten());
    checks.extend(more);
    for check in &mut checks {
        if check.blocks() && allowed.contains(&check.name) {
            check.state = CheckState::Accepted;
        }
    }
    checks
}

/// `part` of `part + rest`.
pub(crate) fn share(part: u64, rest: u64) -> f64 {
    let float = sidetrack_stats::float;
    if part + rest == 0 { 0.0 } else { float(part) / float(part + rest) }
}

#[cfg(test)]
mod sound;
