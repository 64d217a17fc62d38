//! Notes: what a reader must know before the numbers.

use crate::answer::{Breaker, OutcomeCounts};
use crate::join::Tally;
use crate::reason::{Note, RowProblem};
use crate::row::Excluded;
use crate::verdict::TOLERATED;

/// What notes are about.
pub(crate) struct Evidence<'e> {
    pub(crate) tally: &'e Tally,
    /// Whether units are compared.
    pub(crate) units: bool,
    /// How many steps of a bandit there are; `None` without a bandit.
    pub(crate) adaptive: Option<u64>,
    /// How many phases there are if the weights rose and fell as a bandit's do, although the file has no notes of one.
    pub(crate) wandering: Option<u64>,
    /// How many phases there are because the weights of the file changed; `None` with a bandit or a rollout.
    pub(crate) weights: Option<u64>,
    pub(crate) breaker: &'e Breaker,
    /// The share of requests that other weights assigned.
    pub(crate) other_weights: f64,
    pub(crate) torn: u64,
    pub(crate) moved: u64,
    /// Outcomes about units have no time.
    pub(crate) untimed: bool,
    pub(crate) outcomes: Option<&'e OutcomeCounts>,
}

/// All notes that apply.
pub(crate) fn notes(evidence: &Evidence<'_>) -> Vec<Note> {
    let tally = evidence.tally;
    let mut notes = Vec::new();
    notes.extend(evidence.adaptive.map(|steps| Note::Adaptive { steps }));
    notes.extend(evidence.wandering.map(|phases| Note::Wandering { phases }));
    let phases = evidence.weights.filter(|phases| *phases > 1);
    notes.extend(phases.map(|phases| Note::Phases { phases }));
    let breaker = evidence.breaker;
    if breaker.requests > 0 {
        notes.push(Note::BreakerOpen {
            requests: breaker.requests,
            share: breaker.share,
            minutes: breaker.minutes,
        });
    }
    let requests = tally.left_out(Excluded::OtherWeights);
    if evidence.other_weights <= TOLERATED && requests > 0 {
        notes.push(Note::OtherWeights { requests });
    }
    if evidence.torn > 0 {
        notes.push(Note::TornUnits { units: evidence.torn });
    }
    if evidence.moved > 0 {
        notes.push(Note::MovedUnits { units: evidence.moved, untimed: evidence.untimed });
    }
    let of = |why| Some(tally.left_out(why)).filter(|requests| *requests > 0);
    notes.extend(of(Excluded::OtherTrial).map(|lines| Note::OtherTrials { lines }));
    notes.extend(of(Excluded::OtherVariant).map(|requests| Note::OtherVariant { requests }));
    let nameless = if evidence.units { tally.used - tally.named } else { 0 };
    if nameless > 0 {
        notes.push(Note::WithoutUnit { requests: nameless });
    }
    if let Some(counts) = evidence.outcomes {
        let problems = [
            (counts.unmatched, RowProblem::Unmatched),
            (counts.repeated, RowProblem::Repeated),
            (counts.shared, RowProblem::Shared),
            (counts.early, RowProblem::Early),
            (counts.other_trial, RowProblem::OtherTrial),
        ];
        let problems = problems.into_iter().filter(|(rows, _)| *rows > 0);
        notes.extend(problems.map(|(rows, problem)| Note::OutcomeRows { rows, problem }));
    }
    notes
}
