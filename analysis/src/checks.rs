//! Checks of the data, before any comparison: the split, open breakers, lines and rows that do not count.

mod arms;
mod breaker;
mod classes;
mod counts;
mod covariates;
mod ends;
mod few;
mod identity;
mod labels;
mod lines;
mod notes;
mod rows;
mod scale;
mod skewness;
mod srm;
mod unmatched;
mod usable;

use std::collections::BTreeMap;

use crate::answer::OutcomeCounts;
use crate::check::{Check, CheckName, CheckState};
use crate::join::Joined;
use crate::metric::Metric;
use crate::summary::RowFacts;
pub(crate) use arms::Arms;
pub(crate) use breaker::{Touched, breaker};
pub(crate) use classes::classes;
pub(crate) use counts::{
    line_counts, observed, other_trials, outcome_counts, phases, seen, variants,
};
pub(crate) use ends::ends;
pub(crate) use few::few_units;
pub(crate) use identity::{named_twice, twice, untold};
pub(crate) use labels::labels;
pub(crate) use notes::{Evidence, notes};
pub(crate) use scale::scales;
pub(crate) use srm::srm;
pub(crate) use unmatched::{Sample, Unmatched};
pub(crate) use usable::{lines as unusable_lines, outcomes as unusable_outcomes};

/// Checks of the data that may block a decision. `allowed`: the user accepts what they find.
///
/// The split of each day is a part of the split, so `allow_srm` accepts it as well.
pub(crate) fn checks(
    outcomes: Option<(&RowFacts, &OutcomeCounts)>,
    joined: &Joined,
    arms: Option<&Arms<'_>>,
    more: impl IntoIterator<Item = Check>,
    metrics: &[Metric],
    allowed: &[CheckName],
    allow_srm: bool,
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
        } else if check.blocks() && allow_srm && check.name == CheckName::UnitsPerDay {
            check.state = CheckState::Accepted;
            check.message += BY_SRM;
        }
    }
    checks
}

/// Replaces the checks that could not be done, each with its reason.
pub(crate) fn not_checked(checks: &mut Vec<Check>, names: &BTreeMap<CheckName, String>) {
    checks.retain(|check| !names.contains_key(&check.name));
    checks.extend(names.iter().map(|(name, why)| Check {
        name: *name,
        state: CheckState::NotChecked,
        subject: None,
        value: None,
        limit: 0.0,
        variants: BTreeMap::new(),
        message: why.clone(),
    }));
}

/// What ends the message of a check that was accepted with the split.
pub(crate) const BY_SRM: &str = " (accepted by --allow-srm, as a part of the split)";

/// `part` of `part + rest`.
pub(crate) fn share(part: u64, rest: u64) -> f64 {
    let float = sidetrack_stats::float;
    if part + rest == 0 { 0.0 } else { float(part) / float(part + rest) }
}

#[cfg(test)]
mod sound;
