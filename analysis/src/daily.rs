//! Effects by day, and whether they change with the days since a unit's first request (novelty, or learning).
//!
//! The trend is the slope of the daily differences, each weighted by `n₁ n₂ / (n₁ + n₂)` of its units. The same units come
//! again on many days, so its variance has the covariance of their residuals between days.

use std::collections::BTreeMap;

use sidetrack::quantity::Timestamp;
use sidetrack_stats::accumulate::Pairs;
use sidetrack_stats::multiplicity::holm;
use sidetrack_stats::result::{Estimate, PValue};
use sidetrack_stats::strata::{self, Side};
use sidetrack_stats::{float, ratio};

use crate::answer::{DailyCandidate, DailyResult, DayEffect, MetricResult, Trend};
use crate::check::{Check, CheckName, CheckState};
use crate::compare::Data;
use crate::figures::digits;
use crate::join::DAY;
use crate::judge::{Look, Names, Planned};
use crate::metric::Metric;
use crate::sums::DaySums;

/// How many units each side has on a day that the trend takes into account.
const FEWEST: u64 = 10;

/// The effects by day of all metrics that have them.
pub(crate) fn daily(
    data: &Data<'_>,
    metrics: &[Metric],
    look: Look,
    names: &Names<'_>,
) -> Vec<DailyResult> {
    let mut results = Vec::new();
    let mut p_values = Vec::new();
    for (metric, sums) in metrics.iter().zip(&data.sums.days) {
        // A single day is the analysis itself.
        if sums.days.len() < 2 {
            continue;
        }
        let candidates = data.shape.candidates().map(|candidate| {
            let date = |day: &u32| {
                let text = Timestamp::new(u64::from(*day) * DAY).to_string();
                text.get(..10).unwrap_or_default().to_owned()
            };
            let (trend, p) = trend(data, sums, candidate, look);
            p_values.push(p);
            DailyCandidate {
                variant: names.variant(candidate),
                days: effects(data, metric, &sums.days, candidate, date),
                since: effects(data, metric, &sums.since, candidate, u32::to_string),
                trend,
            }
        });
        let candidates = candidates.collect();
        results.push(DailyResult { metric: metric.name.clone(), candidates });
    }
    let known: Vec<PValue> = p_values.iter().flatten().copied().collect();
    let mut adjusted = holm(&known).into_iter();
    let candidates = results.iter_mut().flat_map(|result| &mut result.candidates);
    for (candidate, p) in candidates.zip(p_values) {
        if let (Some(trend), Some(_)) = (&mut candidate.trend, p) {
            trend.p_adjusted = adjusted.next().map(PValue::get);
        }
    }
    results
}

fn effects(
    data: &Data<'_>,
    metric: &Metric,
    days: &BTreeMap<u32, Vec<Pairs>>,
    candidate: usize,
    name: impl Fn(&u32) -> String,
) -> Vec<DayEffect> {
    let effect = |(day, pairs): (&u32, &Vec<Pairs>)| {
        let sides = data.sides(pairs, candidate);
        let comparison = match data.score(metric, &data.arms(pairs, candidate), 1.0) {
            Some(score) => score.ok()?.comparison(data.level),
            None => strata::merge(&sides, 0.0, data.level).ok()?,
        };
        let ends = comparison.interval.map(|it| [Some(it.low), Some(it.high)]);
        let units = |of: fn(&(Side, Side)) -> u64| sides.iter().map(of).sum();
        Some(DayEffect {
            day: name(day),
            n: [units(|(one, _)| one.units), units(|(_, two)| two.units)],
            baseline_value: comparison.values.0,
            value: comparison.values.1,
            diff: comparison.estimate.difference,
            ci: ends.unwrap_or([None; 2]),
        })
    };
    days.iter().filter_map(effect).collect()
}

/// A day since the first request: its place on the axis, its weight, its difference, and how far a residual of one in each
/// slot moves the difference.
struct Since {
    day: u32,
    size: f64,
    difference: f64,
    pulls: Vec<f64>,
    variances: Vec<f64>,
}

fn since(data: &Data<'_>, day: u32, pairs: &[Pairs], candidate: usize) -> Option<Since> {
    let ratio = |pairs: &Pairs| ratio::ratio(pairs).ok().filter(|_| pairs.count() >= FEWEST);
    let arms = data.arms(pairs, candidate);
    let both: Vec<_> = arms.iter().map(|(one, two)| ratio(one).zip(ratio(two))).collect();
    let sizes = arms
        .iter()
        .zip(&both)
        .map(|((one, two), both)| if both.is_some() { (one.count(), two.count()) } else { (0, 0) });
    let sizes: Vec<(u64, u64)> = sizes.collect();
    let weights = strata::weights(&sizes);
    let slots = data.shape.slots();
    let (mut pulls, mut variances) = (vec![0.0; slots], vec![0.0; slots]);
    let mut difference = 0.0;
    for (stratum, ((both, weight), (one, two))) in both.iter().zip(&weights).zip(&arms).enumerate()
    {
        let Some((low, high)) = both else { continue };
        difference += weight * (high.value - low.value);
        let sides = [(data.shape.baseline, -1.0, one, low), (candidate, 1.0, two, high)];
        for (arm, sign, pairs, found) in sides {
            let slot = data.shape.slot(stratum, arm);
            if let Some(pull) = pulls.get_mut(slot) {
                *pull = sign * weight / (pairs.means().1 * float(pairs.count()));
            }
            if let Some(variance) = variances.get_mut(slot) {
                *variance = weight * weight * found.variance;
            }
        }
    }
    let size = |(one, two): &(u64, u64)| {
        let (one, two) = (float(*one), float(*two));
        if one * two > 0.0 { one / (one + two) * two } else { 0.0 }
    };
    let size: f64 = sizes.iter().map(size).sum();
    (size > 0.0).then_some(Since { day, size, difference, pulls, variances })
}

fn trend(
    data: &Data<'_>,
    sums: &DaySums,
    candidate: usize,
    look: Look,
) -> (Option<Trend>, Option<PValue>) {
    let days = sums.since.iter().filter_map(|(day, pairs)| since(data, *day, pairs, candidate));
    let days: Vec<Since> = days.collect();
    let all: f64 = days.iter().map(|it| it.size).sum();
    let center = days.iter().map(|it| it.size * f64::from(it.day)).sum::<f64>() / all;
    let spread: f64 = days.iter().map(|it| it.size * (f64::from(it.day) - center).powi(2)).sum();
    if days.len() < 3 || spread <= 0.0 {
        return (None, None);
    }
    let lever = |it: &Since| it.size * (f64::from(it.day) - center) / spread;
    let slope: f64 = days.iter().map(|it| lever(it) * it.difference).sum();
    let own = |it: &Since| lever(it).powi(2) * it.variances.iter().sum::<f64>();
    let mut variance: f64 = days.iter().map(own).sum();
    let place: BTreeMap<u32, &Since> = days.iter().map(|it| (it.day, it)).collect();
    for (slot, products) in sums.products.iter().enumerate() {
        for ((one, two), product) in products {
            let Some((one, two)) = place.get(one).zip(place.get(two)) else { continue };
            let pull = |it: &Since| lever(it) * it.pulls.get(slot).copied().unwrap_or_default();
            variance += 2.0 * pull(one) * pull(two) * product;
        }
    }
    let estimate = Estimate { difference: slope, variance: variance.max(0.0), df: None };
    let units = |arm: usize| -> u64 {
        data.sums.firsts.iter().skip(arm).step_by(data.shape.arms.max(1)).sum()
    };
    let units = units(data.shape.baseline) + units(candidate);
    let test = estimate.test();
    let p = match look {
        Look::Fixed => test.map(|test| test.p),
        Look::Always(sequence) | Look::Planned(Planned { always: sequence, .. }) => {
            test.and_then(|_| sequence.p_value(estimate, units))
        }
    };
    let reach = look.critical(data.level, units).ok().map(|critical| critical * estimate.se());
    let trend = Trend {
        slope,
        ci: reach.map_or([None; 2], |reach| [Some(slope - reach), Some(slope + reach)]),
        statistic: test.ok().map(|test| test.statistic),
        p_value: p.ok().map(PValue::get),
        p_adjusted: None,
    };
    (Some(trend), p.ok())
}

/// Whether an effect changes with the days since the first request.
pub(crate) fn check(daily: &[DailyResult], metrics: &[MetricResult], alpha: f64) -> Option<Check> {
    let all = daily.iter().flat_map(|result| {
        result.candidates.iter().map(move |candidate| (&result.metric, candidate))
    });
    let all: Vec<_> = all.filter_map(|(name, it)| Some((name, it, it.trend.as_ref()?))).collect();
    let least = all.iter().filter_map(|(_, _, trend)| trend.p_adjusted).fold(1.0, f64::min);
    let words = |(name, candidate, trend): &(&String, &DailyCandidate, &Trend)| {
        let metric = metrics.iter().find(|metric| metric.name == **name)?;
        trend.p_adjusted.filter(|p| *p < alpha)?;
        let first = candidate.since.first().map_or(0.0, |effect| effect.diff);
        let how = if first * trend.slope < 0.0 { "wears off" } else { "grows" };
        let change = metric.scale().change(trend.slope);
        Some(format!("{} on {name} {how} ({change} a day)", candidate.variant))
    };
    let found: Vec<String> = all.iter().filter_map(words).collect();
    let message = if found.is_empty() {
        format!(
            "no effect changes significantly with the days since the first request (p {})",
            digits(least, 3)
        )
    } else {
        format!(
            "with the days since a unit's first request, the effect of {}: the total is not what \
             users will see in the long run",
            found.join(", of ")
        )
    };
    (!all.is_empty()).then(|| Check {
        name: CheckName::EffectTrend,
        state: if found.is_empty() { CheckState::Ok } else { CheckState::Warning },
        subject: None,
        value: Some(least),
        limit: alpha,
        variants: BTreeMap::new(),
        message,
    })
}
