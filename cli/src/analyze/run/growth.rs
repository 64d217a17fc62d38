//! What the report's plots show over time: the split, and the effect as units joined.
//!
//! The effect is drawn for the units that had joined by each moment, with all that they did until now, so a single reading
//! suffices; it ends in the analysis itself. Intervals are those of the chosen way of looking.

use sidetrack::plan::{Experiment, VariantId};
use sidetrack::quantity::Timestamp;
use sidetrack_stats::accumulate::Pairs;
use sidetrack_stats::ratio;
use sidetrack_stats::result::Comparison;
use sidetrack_stats::strata::{self, Side};

use super::estimate::{Data, EMPTY};
use super::judge::{Look, Names};
use super::ledger::Unit;
use super::metric::{Kind, Metric, Role};
use super::strata::Strata;

/// How many moments are drawn.
const MOMENTS: usize = 48;

/// Everything that is drawn and not in the analysis.
#[derive(Default)]
pub(crate) struct Plots {
    /// Milliseconds since 1970.
    pub(crate) span: (u64, u64),
    /// Of the first primary metric that has one: its name, and a line for each candidate.
    pub(crate) growth: Option<(String, Vec<Growth>)>,
    /// Share of units by moment, observed and expected, for each candidate.
    pub(crate) split: Vec<Split>,
    /// For each variant, its latencies in milliseconds and the share of requests up to them.
    pub(crate) latencies: Vec<(String, Vec<(f64, f64)>)>,
}

/// A candidate's effect over time.
pub(crate) struct Growth {
    pub(crate) variant: String,
    pub(crate) points: Vec<Point>,
}

/// An effect at a moment.
pub(crate) struct Point {
    pub(crate) time: u64,
    pub(crate) difference: f64,
    pub(crate) interval: Option<(f64, f64)>,
}

/// A candidate's share of the units over time.
pub(crate) struct Split {
    pub(crate) variant: String,
    /// Moment, observed share, expected share.
    pub(crate) points: Vec<(u64, f64, f64)>,
}

pub(super) fn plots(
    data: &Data<'_>,
    metrics: &[Metric],
    look: Look,
    names: &Names<'_>,
    strata: &Strata,
    experiment: &Experiment,
) -> Plots {
    let Some(span) = data.ledger.span else { return Plots::default() };
    let name = |variant: usize| names.variants.get(variant).copied().unwrap_or("?").to_owned();
    let candidates: Vec<usize> = experiment.candidates().map(VariantId::index).collect();
    let drawn = |metric: &&Metric| {
        metric.role == Role::Primary && !matches!(metric.kind, Kind::Quantile(_))
    };
    let metric = metrics.iter().find(drawn).filter(|_| data.units);
    let growth = metric.map(|metric| {
        let slices = slices(data, metric, span);
        let line = |&candidate: &usize| Growth {
            variant: name(candidate),
            points: points(data, &slices, candidate, look, span),
        };
        (metric.name.clone(), candidates.iter().map(line).collect())
    });
    Plots {
        span,
        growth,
        split: split(data, strata, experiment, span, &candidates, &name),
        latencies: (0..data.arms).map(|arm| (name(arm), latencies(data, arm))).collect(),
    }
}

/// Which moment a time belongs to.
fn moment(time: u64, (first, last): (u64, u64)) -> usize {
    let length = u128::from(last - first) + 1;
    usize::try_from(u128::from(time.saturating_sub(first)) * MOMENTS as u128 / length)
        .unwrap_or(0)
        .min(MOMENTS - 1)
}

/// When a moment ends.
fn end(moment: usize, (first, last): (u64, u64)) -> u64 {
    first + (last - first) / MOMENTS as u64 * (moment as u64 + 1)
}

/// Sums by moment of joining and slot, each with all moments before it.
fn slices(data: &Data<'_>, metric: &Metric, span: (u64, u64)) -> Vec<Vec<Pairs>> {
    let mut slices = vec![vec![Pairs::default(); data.strata * data.arms]; MOMENTS];
    data.each_unit(metric, |joined, values| {
        let Some(slice) = slices.get_mut(moment(joined, span)) else { return };
        for (slot, y, x) in values {
            slice.get_mut(*slot).map(|pairs| pairs.add(*y, *x).ok());
        }
    });
    let mut sums = vec![Pairs::default(); data.strata * data.arms];
    for slice in &mut slices {
        for (sum, pairs) in sums.iter_mut().zip(slice) {
            sum.merge(pairs);
            *pairs = *sum;
        }
    }
    slices
}

fn points(
    data: &Data<'_>,
    slices: &[Vec<Pairs>],
    candidate: usize,
    look: Look,
    span: (u64, u64),
) -> Vec<Point> {
    let side = |pairs: &[Pairs], stratum: usize, arm: usize| {
        let pairs = pairs.get(stratum * data.arms + arm).copied().unwrap_or_default();
        ratio::ratio(&pairs).map_or(EMPTY, |r| Side {
            value: r.value,
            variance: r.variance,
            units: pairs.count(),
        })
    };
    let mut points = Vec::new();
    for (index, pairs) in slices.iter().enumerate() {
        let sides: Vec<(Side, Side)> = (0..data.strata)
            .map(|s| (side(pairs, s, data.baseline), side(pairs, s, candidate)))
            .collect();
        let Ok(comparison) = strata::merge(&sides, 0.0, data.level) else { continue };
        let units: u64 = sides.iter().map(|(one, two)| one.units + two.units).sum();
        points.push(Point {
            time: end(index, span),
            difference: comparison.estimate.difference,
            interval: interval(&comparison, units, look),
        });
    }
    points
}

fn interval(comparison: &Comparison, units: u64, look: Look) -> Option<(f64, f64)> {
    let interval = match look {
        Look::Fixed => comparison.interval,
        Look::Always(sequence) => sequence.interval(comparison.estimate, units).ok(),
    };
    interval.map(|interval| (interval.low, interval.high))
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn split(
    data: &Data<'_>,
    strata: &Strata,
    experiment: &Experiment,
    span: (u64, u64),
    candidates: &[usize],
    name: &dyn Fn(usize) -> String,
) -> Vec<Split> {
    // New units by moment, stratum and variant.
    let mut joined = vec![vec![0u64; data.strata * data.arms]; MOMENTS];
    for (_, cell) in data.ledger.units().filter_map(Unit::first) {
        let slot = usize::from(cell.stratum) * data.arms + usize::from(cell.arm);
        if let Some(count) =
            joined.get_mut(moment(cell.first, span)).and_then(|slots| slots.get_mut(slot))
        {
            *count += 1;
        }
    }
    let shares: Vec<Vec<f64>> = strata
        .list
        .iter()
        .map(|stratum| {
            experiment.shares_of(&stratum.weights).iter().map(|share| share.fraction()).collect()
        })
        .collect();
    let line = |&candidate: &usize| {
        let (mut all, mut own, mut expected) = (0.0, 0.0, 0.0);
        let mut points = Vec::new();
        for (index, slots) in joined.iter().enumerate() {
            for (stratum, counts) in slots.chunks(data.arms.max(1)).enumerate() {
                let units: u64 = counts.iter().sum();
                all += units as f64;
                own += counts.get(candidate).copied().unwrap_or(0) as f64;
                let share = shares
                    .get(stratum)
                    .and_then(|shares| shares.get(candidate))
                    .copied()
                    .unwrap_or(0.0);
                expected += share * units as f64;
            }
            if all > 0.0 {
                points.push((end(index, span), own / all, expected / all));
            }
        }
        Split { variant: name(candidate), points }
    };
    candidates.iter().map(line).collect()
}

/// All strata together: how latencies look, not how they compare.
fn latencies(data: &Data<'_>, arm: usize) -> Vec<(f64, f64)> {
    let mut all = super::histogram::Counts::default();
    for stratum in 0..data.strata {
        if let Some(totals) = data.ledger.totals(stratum, arm) {
            all.merge(&totals.histogram.total());
        }
    }
    all.cumulative()
}

/// `11-23 09:00`: a moment on an axis.
pub(crate) fn on_axis(time: u64, span: (u64, u64)) -> String {
    let text = Timestamp::new(time).to_string();
    let (date, clock) = (text.get(5..10).unwrap_or_default(), text.get(11..16).unwrap_or_default());
    if span.1 - span.0 > 3 * 86_400_000 { date.to_owned() } else { format!("{date} {clock}") }
}
