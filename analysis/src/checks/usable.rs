//! Whether there is anything to decide from.

use crate::answer::OutcomeCounts;
use crate::figures::visible;
use crate::join::Tally;
use crate::reason::Unusable;
use crate::row::{Excluded, is_digest};
use crate::source::Trial;
use crate::summary::RowFacts;

/// How many names are shown.
const SHOWN: usize = 5;

/// Why nothing can be decided from these lines; `None` if something can.
pub(crate) fn lines(experiment: &str, trial: Trial, tally: &Tally) -> Option<Unusable> {
    if tally.used > 0 {
        return None;
    }
    let readable = tally.lines - tally.malformed;
    let of = |why| tally.left_out(why);
    let inside = readable - of(Excluded::OtherExperiment);
    let of_trial = inside - of(Excluded::OtherTrial);
    Some(if tally.lines == 0 {
        Unusable::Empty
    } else if readable == 0 {
        let first = tally.examples.first().map(|(_, problem)| problem.clone());
        Unusable::Malformed { lines: tally.lines, first: first.unwrap_or_default() }
    } else if let (true, Some((_, first))) = (inside == 0, tally.damage.first()) {
        Unusable::Damaged { lines: tally.damage.lines(), first: first.clone() }
    } else if inside == 0 && tally.default_logs > 0 && tally.seen.experiments.is_empty() {
        Unusable::DefaultFormat { lines: tally.default_logs }
    } else if inside == 0 {
        let found = tally.seen.experiments.iter();
        let found = found.map(|(name, lines)| (visible(name), *lines)).collect();
        Unusable::OtherExperiments { experiment: experiment.to_owned(), found: first(found) }
    } else if of_trial == 0 {
        let name = |trial: &Option<_>| {
            trial.map_or_else(
                || "lines without a trial".to_owned(),
                |trial: crate::Short| trial.to_string(),
            )
        };
        let found = tally.seen.trials.iter();
        Unusable::OtherTrials {
            trial: trial.wanted.to_string(),
            found: first(found.map(|(trial, found)| (name(trial), found.lines)).collect()),
            of_file: trial.wanted == trial.of_file,
        }
    } else if of(Excluded::OtherTime) == of_trial {
        Unusable::OtherTime
    } else {
        Unusable::NoneCounts
    })
}

/// Those with the most lines.
fn first(mut found: Vec<(String, u64)>) -> Vec<(String, u64)> {
    found.sort_by_key(|(_, lines)| std::cmp::Reverse(*lines));
    found.truncate(SHOWN);
    found
}

/// Why nothing can be decided from these outcomes; `None` if something can. `ids`: the first ids of the logs.
pub(crate) fn outcomes(
    outcomes: &RowFacts,
    counts: &OutcomeCounts,
    trial: Trial,
    ids: &[String],
) -> Option<Unusable> {
    let rows = counts.rows + counts.malformed;
    // Of another trial than the file's, plain units cannot be matched with digests.
    let is_other = trial.wanted != trial.of_file && !outcomes.by_request && counts.rows > 0;
    if is_other && counts.matched == 0 && ids.iter().any(|id| is_digest(id.as_bytes())) {
        let trial = trial.wanted.to_string();
        return Some(Unusable::OtherDigests { rows: counts.rows, trial });
    }
    Some(if counts.matched > 0 {
        return None;
    } else if rows == 0 {
        Unusable::NoOutcomes
    } else if counts.rows == 0 {
        Unusable::MalformedOutcomes { rows }
    } else if counts.other_trial > 0 {
        let rows = counts.other_trial;
        Unusable::OutcomesOfOtherTrials { rows, by_request: outcomes.by_request }
    } else if counts.early > 0 {
        Unusable::Early { rows: counts.early }
    } else {
        Unusable::Unmatched {
            rows: counts.rows,
            column: if outcomes.by_request { "request_id" } else { "unit" },
            outcomes: outcomes.first.clone(),
            logs: ids.to_vec(),
        }
    })
}
