//! The measures of each kind of column, from pairs and their units.

use std::collections::BTreeMap;

use sidetrack_stats::clustered::{self, Estimated};
use sidetrack_stats::input::Fraction;
use sidetrack_stats::result::Undefined;

use super::ShadowSettings;
use super::answer::{Change, Classes, Estimate, Failures, Latency, Quantile, Scores, Side};
use super::pairs::Pairs;
use crate::source::outcomes::{Cell, Column};

/// The quantiles of differences and latencies.
const QUANTILES: [f64; 5] = [0.01, 0.05, 0.5, 0.95, 0.99];
/// How many changes of a class are listed.
const CHANGES: usize = 10;

impl From<Result<Estimated, Undefined>> for Estimate {
    fn from(found: Result<Estimated, Undefined>) -> Self {
        found.map_or_else(
            |_| Self::default(),
            |found| Self {
                value: Some(found.value),
                ci: Some([found.interval.low, found.interval.high]),
            },
        )
    }
}

const fn number(cell: Cell) -> Option<f64> {
    match cell {
        Cell::Number(number) => Some(number),
        Cell::Missing | Cell::Word(_) => None,
    }
}

/// The numbers of pairs in which both sides have one.
fn numbers(values: &[[Cell; 2]]) -> impl Iterator<Item = Option<[f64; 2]>> {
    values.iter().map(|[one, other]| Some([number(*one)?, number(*other)?]))
}

fn count(values: impl Iterator<Item = bool>) -> u64 {
    values.filter(|value| *value).count() as u64
}

fn mean(pairs: &Pairs, values: impl Iterator<Item = Option<f64>>, alpha: Fraction) -> Estimate {
    let units = clustered::pairs(pairs.by_unit(values));
    units.map_or_else(|_| Estimate::default(), |units| clustered::mean(&units, alpha).into())
}

fn share(pairs: &Pairs, values: impl Iterator<Item = Option<bool>>, alpha: Fraction) -> Estimate {
    let values = values.map(|value| value.map(|value| f64::from(u8::from(value))));
    let units = clustered::pairs(pairs.by_unit(values));
    units.map_or_else(|_| Estimate::default(), |units| clustered::share(&units, alpha).into())
}

fn quantiles(
    pairs: &Pairs,
    values: impl Iterator<Item = Option<f64>>,
    alpha: Fraction,
) -> Vec<Quantile> {
    let known = pairs.units.iter().zip(values);
    let mut sorted: Vec<(f64, u32)> =
        known.filter_map(|(unit, value)| Some((value?, *unit))).collect();
    sorted.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1)));
    let of = |quantile: f64| {
        let level = Fraction::new(quantile).ok()?;
        let found = clustered::quantile(&sorted, pairs.count, level, alpha);
        Some(Quantile { quantile, estimate: found.into() })
    };
    QUANTILES.into_iter().filter_map(of).collect()
}

pub(super) fn classes(
    column: &Column,
    values: &[[Cell; 2]],
    pairs: &Pairs,
    settings: &ShadowSettings,
) -> Option<Classes> {
    let both = |[one, other]: &[Cell; 2]| *one != Cell::Missing && *other != Cell::Missing;
    let known = || values.iter().filter(|pair| both(pair));
    let total = count(values.iter().map(both));
    if total == 0 {
        return None;
    }
    let name = |cell: Cell| match cell {
        Cell::Missing => String::new(),
        Cell::Number(number) => number.to_string(),
        Cell::Word(word) => column.words.get(word as usize).cloned().unwrap_or_default(),
    };
    let mut table: BTreeMap<(String, String), u64> = BTreeMap::new();
    let mut margins: BTreeMap<String, [u64; 2]> = BTreeMap::new();
    for [one, other] in known() {
        let (one, other) = (name(*one), name(*other));
        margins.entry(one.clone()).or_default()[0] += 1;
        margins.entry(other.clone()).or_default()[1] += 1;
        *table.entry((one, other)).or_default() += 1;
    }
    let equal = count(known().map(|[one, other]| one == other));
    let all = sidetrack_stats::float(total);
    let by_chance: f64 = margins
        .values()
        .map(|[one, other]| {
            sidetrack_stats::float(*one) / all * sidetrack_stats::float(*other) / all
        })
        .sum();
    let observed = sidetrack_stats::float(equal) / all;
    let kappa = (by_chance < 1.0).then(|| (observed - by_chance) / (1.0 - by_chance));
    let mut changes: Vec<Change> = table
        .into_iter()
        .filter(|((one, other), _)| one != other)
        .map(|((baseline, mirror), pairs)| Change { baseline, mirror, pairs })
        .collect();
    changes.sort_by_key(|change| std::cmp::Reverse(change.pairs));
    changes.truncate(CHANGES);
    let same = values.iter().map(|pair| both(pair).then(|| pair[0] == pair[1]));
    Some(Classes {
        column: column.name.clone(),
        pairs: total,
        equal,
        agreement: share(pairs, same, settings.alpha),
        kappa,
        changes,
    })
}

pub(super) fn scores(
    column: &Column,
    values: &[[Cell; 2]],
    pairs: &Pairs,
    settings: &ShadowSettings,
) -> Option<Scores> {
    let known = || numbers(values);
    let total = count(known().map(|pair| pair.is_some()));
    if total == 0 {
        return None;
    }
    let difference = || known().map(|pair| pair.map(|[one, other]| other - one));
    let absolute = || difference().map(|difference| difference.map(f64::abs));
    let mut moments = sidetrack_stats::accumulate::Pairs::default();
    for [one, other] in known().flatten() {
        // Numbers of a table are finite.
        moments.add(one, other).ok();
    }
    let (baseline, mirror) = moments.means();
    let (one, other) = moments.variances();
    let spread = (one * other).sqrt();
    Some(Scores {
        column: column.name.clone(),
        pairs: total,
        equal: count(difference().map(|difference| difference == Some(0.0))),
        baseline: Some(baseline),
        mirror: Some(mirror),
        difference: mean(pairs, difference(), settings.alpha),
        absolute: mean(pairs, absolute(), settings.alpha),
        quantiles: quantiles(pairs, difference(), settings.alpha),
        correlation: (spread > 0.0).then(|| (moments.covariance() / spread).clamp(-1.0, 1.0)),
    })
}

pub(super) fn latency(
    values: &[[Cell; 2]],
    pairs: &Pairs,
    settings: &ShadowSettings,
) -> Option<Latency> {
    let known = || numbers(values);
    let total = count(known().map(|pair| pair.is_some()));
    let side = |at: usize| {
        let one = || known().map(move |pair| pair?.get(at).copied());
        let mean = mean(pairs, one(), settings.alpha);
        Side { mean, quantiles: quantiles(pairs, one(), settings.alpha) }
    };
    let difference = known().map(|pair| pair.map(|[one, other]| other - one));
    (total > 0).then(|| Latency {
        pairs: total,
        baseline: side(0),
        mirror: side(1),
        difference: mean(pairs, difference, settings.alpha),
    })
}

pub(super) fn failures(
    values: &[[Cell; 2]],
    pairs: &Pairs,
    settings: &ShadowSettings,
) -> Option<Failures> {
    let failed = |status: f64| status >= 500.0 || status == 0.0;
    let known = || numbers(values).map(|pair| pair.map(|pair| pair.map(failed)));
    let total = count(known().map(|pair| pair.is_some()));
    let side =
        |at: usize| share(pairs, known().map(move |pair| pair?.get(at).copied()), settings.alpha);
    let sign = |failed: bool| f64::from(u8::from(failed));
    let difference = known().map(|pair| pair.map(|[one, other]| sign(other) - sign(one)));
    (total > 0).then(|| Failures {
        pairs: total,
        baseline: side(0),
        mirror: side(1),
        difference: mean(pairs, difference, settings.alpha),
        mirror_only: count(known().map(|pair| pair == Some([false, true]))),
        baseline_only: count(known().map(|pair| pair == Some([true, false]))),
    })
}
