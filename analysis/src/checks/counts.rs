//! Counts of the data: units and requests of each variant, lines and rows by what became of them.

use std::collections::{BTreeMap, BTreeSet};

use sidetrack::plan::Experiment;
use sidetrack::quantity::Timestamp;

use crate::answer::{
    ExcludedCounts, LineCounts, OtherTrial, OutcomeCounts, PhaseTraffic, UnreadableColumn, Variant,
    VariantRole,
};
use crate::join::{Shape, Tally, Totals};
use crate::phases::Phase;
use crate::row::{Excluded, MINUTE};
use crate::summary::RowFacts;
use crate::sums::{Before, Placed, Sums};

/// The first and the last request of a phase, and the minute in which it really began if that is another one.
type Span = (Option<(u64, u64)>, Option<u64>);

/// Of so many requests of a phase, one may have a wrong time.
const STRAYS: u64 = 1000;

/// Units by stratum and variant, each once, by its first request; requests if there are no units.
pub(crate) fn observed(sums: &Sums, shape: Shape, units: bool) -> Vec<Vec<u64>> {
    let requests = || sums.totals.iter().map(|totals| totals.requests).collect();
    let counts: Vec<u64> = if units { sums.firsts.clone() } else { requests() };
    counts.chunks(shape.arms.max(1)).map(<[u64]>::to_vec).collect()
}

/// Units by stratum and variant, each in all strata in which it was seen; requests if there are no units.
pub(crate) fn seen(sums: &Sums, shape: Shape, units: bool) -> Vec<Vec<u64>> {
    if !units {
        return observed(sums, shape, units);
    }
    let of =
        |stratum| (0..shape.arms).map(move |arm| sums.presence.units(shape.slot(stratum, arm)));
    (0..shape.strata).map(|stratum| of(stratum).collect()).collect()
}

/// Units and requests of each variant. A unit counts once, for the variant of the last phase in which it was seen.
pub(crate) fn variants(
    experiment: &Experiment,
    sums: &Sums,
    shape: Shape,
    units: bool,
) -> Vec<Variant> {
    let sum = |arm: usize, count: fn(&Totals) -> u64| -> u64 {
        sums.totals.iter().skip(arm).step_by(shape.arms.max(1)).map(count).sum()
    };
    let variant = |(arm, variant): (usize, &sidetrack::plan::Variant)| Variant {
        name: variant.name.clone(),
        role: if arm == shape.baseline { VariantRole::Baseline } else { VariantRole::Candidate },
        units: if units {
            sums.presence.lasts.get(arm).copied().unwrap_or(0)
        } else {
            sum(arm, |totals| totals.requests)
        },
        requests: sum(arm, |totals| totals.requests),
        served_elsewhere: sum(arm, |totals| totals.elsewhere),
    };
    experiment.variants.iter().enumerate().map(variant).collect()
}

/// The traffic of each phase, in the order of their first requests: phases themselves know only minutes. A unit counts in
/// each phase in which it was seen.
pub(crate) fn phases(
    experiment: &Experiment,
    phases: &[Phase],
    tally: &Tally,
    sums: &Sums,
    (shape, units): (Shape, bool),
    refusing: &[Vec<usize>],
) -> Vec<PhaseTraffic> {
    let requests = || sums.totals.iter().map(|totals| totals.requests).collect();
    let counts: Vec<u64> = if units { sums.answered.clone() } else { requests() };
    let names = || experiment.variants.iter().map(|variant| variant.name.clone());
    let time = |time| Timestamp::new(time).to_string();
    let spans = tally.spans.iter().copied().chain(std::iter::repeat(None));
    let steady = tally.active.iter().map(|active| steady_from(active, tally));
    let spans = spans.zip(steady.chain(std::iter::repeat(None)));
    let each = phases.iter().zip(counts.chunks(shape.arms.max(1))).zip(spans).enumerate();
    let of = |stratum: usize, count: &dyn Fn(&Totals) -> u64| -> BTreeMap<String, u64> {
        let totals = sums.totals.iter().skip(shape.slot(stratum, 0)).map(count);
        names().zip(totals).collect()
    };
    let refusing = |stratum: usize| -> Vec<String> {
        let arms = refusing.get(stratum).into_iter().flatten();
        arms.filter_map(|arm| names().nth(*arm)).collect()
    };
    let traffic = |stratum, phase: &Phase, counts: &[u64], (span, steady): Span| PhaseTraffic {
        phase: phase.name.clone(),
        from: span.map(|(from, _)| time(from)),
        steady_from: steady.map(time),
        to: span.map(|(_, to)| time(to)),
        shares: names().zip(phase.shares.iter().copied()).collect(),
        units: names().zip(counts.iter().copied()).collect(),
        requests: of(stratum, &|totals| totals.requests),
        asked: of(stratum, &Totals::asked),
        refusing: refusing(stratum),
    };
    let mut all: Vec<(Option<u64>, PhaseTraffic)> = each
        .map(|(stratum, ((phase, counts), span))| {
            let from = span.1.or_else(|| span.0.map(|(from, _)| from));
            (from, traffic(stratum, phase, counts, span))
        })
        .collect();
    all.sort_by_key(|(from, _)| *from);
    all.into_iter().map(|(_, traffic)| traffic).collect()
}

/// The minute in which the requests of these minutes really began, if that is not the first one: one request of a
/// thousand, or one, may have a wrong time.
fn steady_from(active: &BTreeSet<u64>, tally: &Tally) -> Option<u64> {
    let requests = |minute: &u64| -> u64 {
        let arms = tally.minutes.get(minute).into_iter().flatten();
        arms.map(|counts| u64::from(counts.requests)).sum()
    };
    let all: u64 = active.iter().map(requests).sum();
    let strays = (all / STRAYS).max(1).min(all.saturating_sub(1));
    let mut so_far = 0;
    let minute = active.iter().find(|minute| {
        so_far += requests(minute);
        so_far > strays
    })?;
    (active.first() != Some(minute)).then_some(minute * MINUTE)
}

/// What became of the lines.
pub(crate) fn line_counts(tally: &Tally, files: &[String]) -> LineCounts {
    let aborted = tally.aborted();
    let file = |file: usize| files.get(file).map_or("", String::as_str);
    let examples = tally
        .examples
        .iter()
        .map(|(place, problem)| format!("{}:{}: {problem}", file(place.file), place.line));
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
    outcomes: &RowFacts,
    placed: Option<&Placed>,
    variants: &[&str],
) -> OutcomeCounts {
    let classes = variants.iter().zip(&outcomes.known).filter(|(_, counts)| **counts != [0, 0]);
    let classes: BTreeMap<String, [u64; 2]> =
        classes.map(|(name, counts)| ((*name).to_owned(), *counts)).collect();
    let rows = outcomes.rows;
    let [met, shared] = outcomes.met;
    let (matched, unmatched, early, other_trial) = match placed {
        Some(placed) => (placed.matched, placed.unmatched, placed.early, placed.other_trial),
        None => {
            let other_trial = outcomes.of_other_trials;
            (met, rows - met - other_trial, 0, other_trial)
        }
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
        shared,
        early,
        shortly_before: placed.map_or(0, |placed| placed.shortly),
        before: placed.map_or_else(Before::default, |placed| placed.before),
        sharing: outcomes.sharing,
        echoes: placed.map_or_else(Vec::new, |placed| {
            let names = variants.iter().map(|name| (*name).to_owned());
            names.zip(placed.echoes.iter().copied()).collect()
        }),
        classes,
        other_time: placed.map_or(0, |placed| placed.other_time),
        other_trial,
        ambiguous: placed.map_or(0, |placed| placed.ambiguous),
        examples: outcomes.examples.clone(),
        unreadable: unreadable.collect(),
        ignored_columns: outcomes.ignored.iter().map(ToString::to_string).collect(),
        nameless_columns: outcomes.nameless as u64,
        logged: outcomes.logged.clone(),
        files: outcomes.files.clone(),
    }
}
