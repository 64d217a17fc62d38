//! Counts of the data: units and requests of each variant, lines and rows by what became of them.

use std::collections::BTreeMap;

use sidetrack::plan::Experiment;
use sidetrack::quantity::Timestamp;

use crate::answer::{
    ExcludedCounts, LineCounts, OtherTrial, OutcomeCounts, UnreadableColumn, Variant, VariantRole,
};
use crate::join::{Shape, Tally, Totals};
use crate::row::Excluded;
use crate::source::Logs;
use crate::source::outcomes::Outcomes;
use crate::sums::{Before, Placed, Sums};

/// Units by stratum and variant, each once, by its first request; requests if there are no units.
pub(crate) fn observed(sums: &Sums, shape: Shape, units: bool) -> Vec<Vec<u64>> {
    let requests = || sums.totals.iter().map(|totals| totals.requests).collect();
    let counts: Vec<u64> = if units { sums.firsts.clone() } else { requests() };
    counts.chunks(shape.arms.max(1)).map(<[u64]>::to_vec).collect()
}

/// Units and requests of each variant.
pub(crate) fn variants(
    experiment: &Experiment,
    sums: &Sums,
    shape: Shape,
    observed: &[Vec<u64>],
) -> Vec<Variant> {
    let sum = |arm: usize, count: fn(&Totals) -> u64| -> u64 {
        sums.totals.iter().skip(arm).step_by(shape.arms.max(1)).map(count).sum()
    };
    let variant = |(arm, variant): (usize, &sidetrack::plan::Variant)| Variant {
        name: variant.name.clone(),
        role: if arm == shape.baseline { VariantRole::Baseline } else { VariantRole::Candidate },
        units: observed.iter().filter_map(|counts| counts.get(arm)).sum(),
        requests: sum(arm, |totals| totals.requests),
        served_elsewhere: sum(arm, |totals| totals.elsewhere),
    };
    experiment.variants.iter().enumerate().map(variant).collect()
}

/// What became of the lines.
pub(crate) fn line_counts(tally: &Tally, logs: &Logs) -> LineCounts {
    let aborted = tally.aborted();
    let examples = tally
        .examples
        .iter()
        .map(|(place, problem)| format!("{}:{}: {problem}", logs.name(place.file), place.line));
    LineCounts {
        read: tally.lines,
        used: tally.used - aborted,
        malformed: tally.malformed,
        excluded: ExcludedCounts {
            other_experiment: tally.left_out(Excluded::OtherExperiment),
            overridden: tally.left_out(Excluded::Override),
            missing_unit: tally.left_out(Excluded::MissingUnit),
            breaker: tally.left_out(Excluded::Breaker),
            not_started: tally.left_out(Excluded::NotStarted),
            disabled: tally.left_out(Excluded::Disabled),
            excluded: tally.left_out(Excluded::OutsideLayer),
            aborted,
            other_weights: tally.left_out(Excluded::OtherWeights),
            other_trial: tally.left_out(Excluded::OtherTrial),
            other_time: tally.left_out(Excluded::OtherTime),
            other_variant: tally.left_out(Excluded::OtherVariant),
            repeated: tally.left_out(Excluded::Repeated),
        },
        examples: examples.collect(),
    }
}

/// The trials of the experiment that are not analyzed, the one with the most lines first.
pub(crate) fn other_trials(tally: &Tally) -> Vec<OtherTrial> {
    let time = |time| Timestamp::new(time).to_string();
    let trials = tally.seen.trials.iter();
    let mut trials: Vec<OtherTrial> = trials
        .map(|(trial, found)| OtherTrial {
            trial: trial.map(|trial| trial.to_string()),
            lines: found.lines,
            from: found.span.map(|(first, _)| time(first)),
            to: found.span.map(|(_, last)| time(last)),
        })
        .collect();
    trials.sort_by_key(|trial| std::cmp::Reverse(trial.lines));
    trials
}

/// What became of the rows of the outcomes.
pub(crate) fn outcome_counts(
    outcomes: &Outcomes,
    tally: &Tally,
    placed: Option<&Placed>,
    variants: &[&str],
) -> OutcomeCounts {
    let mut classes: BTreeMap<String, [u64; 2]> = BTreeMap::new();
    for (row, arm) in tally.rows() {
        let known = outcomes.known.get(row).copied().flatten();
        if let Some((known, name)) = known.zip(variants.get(arm)) {
            let [as_labels, others] = classes.entry((*name).to_owned()).or_default();
            *as_labels += u64::from(known);
            *others += u64::from(!known);
        }
    }
    let rows = outcomes.rows() as u64;
    let (matched, unmatched, early) = match placed {
        Some(placed) => (placed.matched, placed.unmatched, placed.early),
        None => (tally.met(1), rows - tally.met(1), 0),
    };
    let unreadable = outcomes.columns.iter().zip(&outcomes.unreadable);
    let unreadable =
        unreadable.filter(|(_, found)| found.rows > 0).map(|(column, found)| UnreadableColumn {
            column: column.clone(),
            rows: found.rows,
            examples: found.examples.clone(),
        });
    OutcomeCounts {
        rows,
        matched,
        unmatched,
        malformed: outcomes.malformed,
        repeated: outcomes.repeated,
        conflicting: outcomes.conflicting,
        shared: tally.met(2),
        early,
        shortly_before: placed.map_or(0, |placed| placed.shortly),
        before: placed.map_or_else(Before::default, |placed| placed.before),
        sharing: tally.sharing(),
        echoes: placed.map_or_else(Vec::new, |placed| {
            let names = variants.iter().map(|name| (*name).to_owned());
            names.zip(placed.echoes.iter().copied()).collect()
        }),
        classes,
        other_time: placed.map_or(0, |placed| placed.other_time),
        other_trial: placed.map_or(0, |placed| placed.other_trial),
        ambiguous: placed.map_or(0, |placed| placed.ambiguous),
        examples: outcomes.examples.clone(),
        unreadable: unreadable.collect(),
        ignored_columns: outcomes.ignored.iter().map(ToString::to_string).collect(),
        nameless_columns: outcomes.nameless as u64,
    }
}
