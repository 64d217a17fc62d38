//! Whether a conclusion rests on a few units: it must not vanish without them.
//!
//! The hundredth of the units of all variants with the most requests is left out, and each conclusion is looked at again;
//! then the hundredth with the largest values. Users with heavy tails pass, since a difference between the variants shows
//! in the others as well. Bots and test purchases do not: what one variant owes to them is gone without them.

use std::collections::BTreeMap;

use sidetrack_stats::accumulate::Pairs;
use sidetrack_stats::float;
use sidetrack_stats::result::Estimate;
use sidetrack_stats::vectors::Vectors;

use crate::answer::{CandidateResult, Conclusion, Goal, MetricResult, Role};
use crate::check::{Check, CheckName, CheckState};
use crate::compare::Data;
use crate::figures::digits;
use crate::metric::Metric;
use crate::sums::{Adjusting, MetricSums};

/// How many standard errors of a difference must be left. At random, less is left of three (the first always-valid
/// significance) in less than one of a thousand cases, and of two in one of a hundred.
const LEFT: f64 = 1.0;
/// A guardrail is broken beyond so many standard errors (one-sided 2.5 %).
const BROKEN: f64 = 1.96;

/// A conclusion without the heaviest units.
struct Found<'r> {
    metric: &'r str,
    /// The place of the metric.
    index: usize,
    arm: usize,
    variant: &'r str,
    conclusion: Conclusion,
    /// Standard errors in the direction of the conclusion; `None`: it cannot be judged.
    left: Option<f64>,
}

impl Found<'_> {
    fn rests_on_few(&self) -> bool {
        self.left.is_none_or(|left| left < LEFT)
    }

    const fn words(&self) -> &'static str {
        match self.conclusion {
            Conclusion::Better => "better",
            Conclusion::Worse => "worse",
            Conclusion::Inferior => "beyond its margin",
            Conclusion::NonInferior => "within its margin",
            Conclusion::NoDifferenceShown | Conclusion::Undefined => "decided",
        }
    }
}

/// Checks every conclusion of metrics that decide. `results` are in the order of `metrics`.
pub(crate) fn few_units(
    data: &Data<'_>,
    metrics: &[Metric],
    results: &[MetricResult],
    names: &[&str],
) -> Vec<Check> {
    let without = |rest: fn(&MetricSums) -> MetricSums| conclusions(data, metrics, results, rest);
    let found = without(|sums| remaining(&sums.light, sums, |of| &of.light));
    let heaviest = heaviest(data, &found, names);
    let found = without(|sums| remaining(&sums.small, sums, |of| &of.small));
    vec![heaviest, largest(data, &found, names)]
}

/// The sums of the units that stay. What covariates adjusted is adjusted without the others as well: values that are not
/// adjusted may well show nothing.
fn remaining(
    pairs: &[Pairs],
    sums: &MetricSums,
    vectors: fn(&Adjusting) -> &Vec<Vectors>,
) -> MetricSums {
    let covariates = sums.covariates.as_ref().map(|of| {
        let (vectors, gaps) = (vectors(of).clone(), of.gaps.clone());
        Box::new(Adjusting { vectors, gaps, ..Adjusting::default() })
    });
    MetricSums { pairs: pairs.to_vec(), covariates, ..MetricSums::default() }
}

/// The conclusions without some units.
fn conclusions<'r>(
    data: &Data<'_>,
    metrics: &'r [Metric],
    results: &'r [MetricResult],
    remaining: fn(&MetricSums) -> MetricSums,
) -> Vec<Found<'r>> {
    let mut found = Vec::new();
    let all = metrics.iter().zip(&data.sums.metrics).zip(results).enumerate();
    for (index, ((metric, sums), result)) in all {
        let rest = remaining(sums);
        if metric.role == Role::Exploratory || rest.pairs.is_empty() {
            continue;
        }
        let candidates = data.compare(metric, &rest).into_iter().zip(&result.candidates);
        found.extend(candidates.filter(|(_, full)| shows_itself(metric, full)).map(
            |(rest, full)| {
                let estimate = rest.comparison.ok().map(|comparison| comparison.estimate);
                let margin = full.margin.unwrap_or(0.0);
                Found {
                    metric: &metric.name,
                    index,
                    arm: rest.candidate,
                    variant: &full.variant,
                    conclusion: full.decision,
                    left: left(full.decision, metric.goal, margin, estimate),
                }
            },
        ));
    }
    found
}

/// Whether the difference shows in the data of all units. A prior may conclude something that it does not; that rests on no
/// unit.
fn shows_itself(metric: &Metric, full: &CandidateResult) -> bool {
    let Some(difference) = full.diff.filter(|_| full.posterior.is_some()) else { return true };
    let is_gain = (difference > 0.0) == (metric.goal == Goal::Increase);
    let is_settled = full.ci.iter().all(|end| end.is_some_and(|end| end > 0.0))
        || full.ci.iter().all(|end| end.is_some_and(|end| end < 0.0));
    match full.decision {
        Conclusion::Better => is_gain && is_settled,
        Conclusion::Worse => !is_gain && is_settled,
        _ => true,
    }
}

/// The conclusion of which least is left.
fn worst<'f, 'r>(found: &'f [Found<'r>]) -> Option<&'f Found<'r>> {
    let all = found.iter();
    all.filter(|found| found.left.is_some_and(f64::is_finite) || found.rests_on_few())
        .min_by(|a, b| a.left.unwrap_or(0.0).total_cmp(&b.left.unwrap_or(0.0)))
}

/// Without the units with the most requests.
fn heaviest(data: &Data<'_>, found: &[Found<'_>], names: &[&str]) -> Check {
    let weights = |arm: usize| data.sums.balance.weights.get(arm).copied().unwrap_or_default();
    let share = |arm: usize| weights(arm).heavy_share();
    let words = |found: &Found<'_>| {
        format!(
            "{}: without the heaviest units (more than {} requests each), which have {:.1} % of the \
             requests of {}, it is not {}. Look for bots and tests, leave them out of the logs, and \
             analyze again",
            found.metric,
            data.sums.heavy,
            100.0 * share(found.arm),
            found.variant,
            found.words(),
        )
    };
    let sound = "no conclusion rests on the heaviest units";
    check(CheckName::FewUnits, found, names, sound, words, share)
}

/// Without the units with the largest values.
fn largest(data: &Data<'_>, found: &[Found<'_>], names: &[&str]) -> Check {
    let sums = |index: usize| data.sums.metrics.get(index);
    // Of the first metric, unless another one fails.
    let shown = worst(found).or_else(|| found.first()).map_or(0, |found| found.index);
    let total = |pairs: &[Pairs], arm: usize| {
        let slots = (0..data.shape.strata).map(|stratum| data.shape.slot(stratum, arm));
        let slots = slots.filter_map(|slot| pairs.get(slot));
        slots.map(|pairs| pairs.means().0 * float(pairs.count())).sum::<f64>()
    };
    let share_of = |index: usize, arm: usize| {
        let Some(sums) = sums(index) else { return 0.0 };
        let (all, small) = (total(&sums.pairs, arm), total(&sums.small, arm));
        if all == 0.0 { 0.0 } else { (all - small) / all }
    };
    let words = |found: &Found<'_>| {
        format!(
            "{}: without the units with the largest values (above {}), which have {:.1} % of the sum \
             of {}, it is not {}. Look for test purchases and fraud, leave them out of the outcomes, \
             and analyze again; or plan a cap (cap: {{{}: 99%}})",
            found.metric,
            digits(sums(found.index).map_or(0.0, |sums| sums.large), 4),
            100.0 * share_of(found.index, found.arm),
            found.variant,
            found.words(),
            found.metric,
        )
    };
    let sound = "no conclusion rests on the largest values";
    check(CheckName::LargeValues, found, names, sound, words, |arm| share_of(shown, arm))
}

/// The check that fails if a conclusion rests on the units that are left out. `share`: what they have of a variant.
fn check(
    name: CheckName,
    found: &[Found<'_>],
    names: &[&str],
    sound: &str,
    words: impl Fn(&Found<'_>) -> String,
    share: impl Fn(usize) -> f64,
) -> Check {
    let worst = worst(found);
    let failed = worst.filter(|found| found.rests_on_few());
    let share = |(arm, name): (usize, &&str)| ((*name).to_owned(), share(arm));
    Check {
        name,
        state: if failed.is_some() { CheckState::Blocking } else { CheckState::Ok },
        subject: failed.map(|found| found.metric.to_owned()),
        value: worst.and_then(|found| found.left),
        limit: LEFT,
        variants: names.iter().enumerate().map(share).collect::<BTreeMap<_, _>>(),
        message: failed.map_or_else(|| sound.to_owned(), words),
    }
}

/// What is left of a conclusion, in standard errors: infinite if it says nothing.
fn left(
    conclusion: Conclusion,
    goal: Goal,
    margin: f64,
    estimate: Option<Estimate>,
) -> Option<f64> {
    let errors = |beyond: f64| {
        let estimate = estimate.filter(|estimate| estimate.variance > 0.0)?;
        let sign = if goal == Goal::Increase { 1.0 } else { -1.0 };
        Some((sign * estimate.difference + beyond) / estimate.se())
    };
    match conclusion {
        Conclusion::Better => errors(0.0),
        Conclusion::Worse => errors(0.0).map(|better| -better),
        Conclusion::Inferior => errors(margin).map(|better| -better),
        // It holds until the others show that the guardrail is broken.
        Conclusion::NonInferior => {
            Some(errors(margin).map_or(f64::INFINITY, |better| {
                if better < -BROKEN { better } else { f64::INFINITY }
            }))
        }
        Conclusion::NoDifferenceShown | Conclusion::Undefined => Some(f64::INFINITY),
    }
}
