//! The tables of the verdict, as data.

use crate::answer::{Conclusion, Decision};

/// What the primary metrics together show of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Primary {
    /// One is better, and none is worse.
    Better,
    /// One is worse.
    Worse,
    /// None is better or worse.
    NoDifference,
    /// None can be judged.
    Undefined,
}

impl Primary {
    /// Of the conclusions of all primary metrics.
    pub(super) fn of(conclusions: &[Conclusion]) -> Self {
        if conclusions.contains(&Conclusion::Worse) {
            Self::Worse
        } else if conclusions.contains(&Conclusion::Better) {
            Self::Better
        } else if conclusions.contains(&Conclusion::NoDifferenceShown) {
            Self::NoDifference
        } else {
            Self::Undefined
        }
    }
}

/// What the guardrails together show of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guards {
    /// All are within their margins.
    Held,
    /// None is broken, and one is not settled or cannot be judged.
    Unsettled,
    /// One is worse by more than its margin.
    Broken,
}

impl Guards {
    /// Of the conclusions of all guardrails.
    pub(super) fn of(conclusions: &[Conclusion]) -> Self {
        if conclusions.contains(&Conclusion::Inferior) {
            Self::Broken
        } else if conclusions.iter().all(|found| *found == Conclusion::NonInferior) {
            Self::Held
        } else {
            Self::Unsettled
        }
    }
}

/// What all metrics show of one candidate, from worst to best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    Harms,
    NotBetter,
    Unjudged,
    Unsettled,
    Wins,
}

/// What the metrics together show of one candidate.
pub(super) const STANDINGS: [(Primary, Guards, Standing); 12] = [
    (Primary::Better, Guards::Held, Standing::Wins),
    (Primary::Better, Guards::Unsettled, Standing::Unsettled),
    (Primary::Better, Guards::Broken, Standing::Harms),
    (Primary::NoDifference, Guards::Held, Standing::NotBetter),
    (Primary::NoDifference, Guards::Unsettled, Standing::NotBetter),
    (Primary::NoDifference, Guards::Broken, Standing::Harms),
    (Primary::Undefined, Guards::Held, Standing::Unjudged),
    (Primary::Undefined, Guards::Unsettled, Standing::Unjudged),
    (Primary::Undefined, Guards::Broken, Standing::Harms),
    (Primary::Worse, Guards::Held, Standing::Harms),
    (Primary::Worse, Guards::Unsettled, Standing::Harms),
    (Primary::Worse, Guards::Broken, Standing::Harms),
];

/// What follows, with the reason that ends the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Make it the baseline.
    Promote,
    /// Every candidate harms.
    Harm,
    /// No candidate is better, and the plan is complete.
    NotBetter,
    /// The plan is complete, but a guardrail of a better candidate is not settled.
    Unsettled,
    /// The plan is complete, but no primary metric can be judged.
    Unjudged,
    /// Collect more data.
    Wait,
}

impl Outcome {
    pub(super) const fn decision(self) -> Decision {
        match self {
            Self::Promote => Decision::Promote,
            Self::Harm | Self::NotBetter => Decision::KeepBaseline,
            Self::Unsettled | Self::Unjudged | Self::Wait => Decision::Inconclusive,
        }
    }
}

/// What follows from the candidate that stands best: before the planned units are reached, and after.
pub(super) const DECISIONS: [(Standing, Outcome, Outcome); 5] = [
    (Standing::Wins, Outcome::Promote, Outcome::Promote),
    (Standing::Unsettled, Outcome::Wait, Outcome::Unsettled),
    (Standing::Unjudged, Outcome::Wait, Outcome::Unjudged),
    (Standing::NotBetter, Outcome::Wait, Outcome::NotBetter),
    (Standing::Harms, Outcome::Harm, Outcome::Harm),
];

/// The row of [`STANDINGS`]. A combination without a row would be unjudged; a test finds that none is missing.
pub(super) fn standing(primary: Primary, guards: Guards) -> Standing {
    let row = STANDINGS.iter().find(|(one, two, _)| (*one, *two) == (primary, guards));
    row.map_or(Standing::Unjudged, |(.., standing)| *standing)
}

/// The row of [`DECISIONS`].
pub(super) fn decide(best: Standing, planned_reached: bool) -> Outcome {
    let row = DECISIONS.iter().find(|(standing, ..)| *standing == best);
    row.map_or(Outcome::Wait, |(_, before, after)| if planned_reached { *after } else { *before })
}

#[cfg(test)]
mod tests;
