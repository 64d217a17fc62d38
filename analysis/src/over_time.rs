//! Series over time, for plots: the lift as units joined, the split, and the distribution of latencies.
//!
//! The effect at a moment is that of the units that had joined by then, with all that they did until now, so a single pass
//! over the data suffices; the last moment equals the analysis. Intervals are those of the chosen look.

use sidetrack_stats::input::Fraction;
use sidetrack_stats::result::Comparison;
use sidetrack_stats::{float, strata};

use crate::answer::Role;
use crate::compare::Data;
use crate::histogram::Counts;
use crate::judge::{Look, Names};
use crate::metric::{Measure, Metric};
use crate::phases::Phase;
use crate::sums::end;

/// Everything that is plotted and not in the analysis.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// The first and the last request, in milliseconds since 1970.
    pub span: (u64, u64),
    /// Of the first primary metric that is not a quantile: its name, and a line for each candidate.
    pub lift: Option<(String, Vec<LiftOverTime>)>,
    /// The share of units, for each candidate.
    pub split: Vec<SplitOverTime>,
    /// For each variant, latencies in milliseconds and the share of requests up to them.
    pub latencies: Vec<(String, Vec<(f64, f64)>)>,
}

/// A candidate's effect over time.
#[derive(Clone, Debug)]
pub struct LiftOverTime {
    /// The candidate.
    pub variant: String,
    /// In the order of time.
    pub points: Vec<Point>,
}

/// An effect at a moment.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    /// Milliseconds since 1970.
    pub time: u64,
    /// Candidate minus baseline.
    pub difference: f64,
    /// Its interval.
    pub interval: Option<(f64, f64)>,
}

/// A candidate's share of the units over time: of those seen in the phase of the moment so far.
#[derive(Clone, Debug)]
pub struct SplitOverTime {
    /// The candidate.
    pub variant: String,
    /// Moment, observed share, expected share.
    pub points: Vec<(u64, f64, f64)>,
}

pub(crate) fn series(
    data: &Data<'_>,
    metrics: &[Metric],
    look: Look,
    names: &Names<'_>,
    strata: &[Phase],
    span: Option<(u64, u64)>,
) -> Series {
    let Some(span) = span else { return Series::default() };
    let plotted = |metric: &&Metric| {
        metric.role == Role::Primary && !matches!(metric.measure, Measure::Quantile(_))
    };
    let metric = metrics.iter().find(plotted).filter(|_| data.units);
    let lift = metric.map(|metric| {
        let line = |candidate| LiftOverTime {
            variant: names.variant(candidate),
            points: points(data, metric, candidate, look, span),
        };
        (metric.name.clone(), data.shape.candidates().map(line).collect())
    });
    let split = |candidate| SplitOverTime {
        variant: names.variant(candidate),
        points: split(data, strata, span, candidate),
    };
    let latencies = |arm| (names.variant(arm), latencies(data, arm));
    Series {
        span,
        lift,
        split: data.shape.candidates().map(split).collect(),
        latencies: (0..data.shape.arms).map(latencies).collect(),
    }
}

fn points(
    data: &Data<'_>,
    metric: &Metric,
    candidate: usize,
    look: Look,
    span: (u64, u64),
) -> Vec<Point> {
    let mut points = Vec::new();
    for (index, pairs) in data.sums.over_time.accumulated().iter().enumerate() {
        let sides = data.sides(pairs, candidate);
        if let Some(score) = data.score(metric, &data.arms(pairs, candidate), 1.0) {
            let Ok(score) = score else { continue };
            let units: u64 = sides.iter().map(|(one, two)| one.units + two.units).sum();
            let z = look.critical(data.level, units);
            let interval = z.ok().map(|z| score.interval(z));
            points.push(Point {
                time: end(index, span),
                difference: score.difference(),
                interval: interval.map(|interval| (interval.low, interval.high)),
            });
            continue;
        }
        let Ok(comparison) = strata::merge(&sides, 0.0, data.level) else { continue };
        let units: u64 = sides.iter().map(|(one, two)| one.units + two.units).sum();
        points.push(Point {
            time: end(index, span),
            difference: comparison.estimate.difference,
            interval: interval(&comparison, units, look, data.level),
        });
    }
    points
}

fn interval(
    comparison: &Comparison,
    units: u64,
    look: Look,
    level: Fraction,
) -> Option<(f64, f64)> {
    look.interval(comparison, None, units, level).map(|interval| (interval.low, interval.high))
}

fn split(
    data: &Data<'_>,
    strata: &[Phase],
    span: (u64, u64),
    candidate: usize,
) -> Vec<(u64, f64, f64)> {
    let share = |stratum: &Phase| stratum.shares.get(candidate).copied().unwrap_or(0.0);
    let shares: Vec<f64> = strata.iter().map(share).collect();
    // By phase: units so far, and the candidate's.
    let mut so_far = vec![(0_u64, 0_u64); shares.len()];
    let mut points = Vec::new();
    for (index, slots) in data.sums.over_time.units.iter().enumerate() {
        for (counts, (all, own)) in slots.chunks(data.shape.arms.max(1)).zip(&mut so_far) {
            *all += counts.iter().sum::<u64>();
            *own += counts.get(candidate).copied().unwrap_or(0);
        }
        // Phases are in the order of their beginnings, and units have the shares of the last one.
        let present = so_far.iter().zip(&shares).rev().find(|((all, _), _)| *all > 0);
        if let Some(((all, own), share)) = present {
            points.push((end(index, span), float(*own) / float(*all), *share));
        }
    }
    points
}

/// All strata together: this shows how latencies are distributed, and compares nothing.
fn latencies(data: &Data<'_>, arm: usize) -> Vec<(f64, f64)> {
    let mut all = Counts::default();
    for totals in data.sums.totals.iter().skip(arm).step_by(data.shape.arms.max(1)) {
        all.merge(&totals.histogram.total());
    }
    all.cumulative()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::join::Shape;
    use crate::phases::{Book, Timeline};
    use crate::sums::{OverTime, Sums};

    #[test]
    fn the_split_begins_with_the_first_unit() {
        let file = br#"{"experiments": [{"name": "e", "unit": [{"header": "u"}], "baseline": "b",
            "variants": [{"name": "b"}, {"name": "c", "weight": 20}]}]}"#;
        let plan = sidetrack::config::parse_json(file).unwrap();
        let experiment = plan.experiments.into_iter().next().unwrap();
        let strata = crate::strata::Strata::new(&experiment, "").unwrap();
        let book = Book::new(&experiment, &strata);
        let timeline = Timeline::new(&book, &[[0].into()], true);
        // Requests without a unit came first.
        let units = vec![vec![0, 0], vec![3, 1], vec![0, 0], vec![0, 1]];
        let sums = Sums { over_time: OverTime { units, values: Vec::new() }, ..Sums::default() };
        let data = Data {
            sums: &sums,
            shape: Shape::new(&experiment, 1),
            units: true,
            level: sidetrack_stats::input::Fraction::FIVE_PERCENT,
        };
        // 48 moments of 100 ms each.
        let points = split(&data, &timeline.phases, (1000, 5800), 1);
        assert_eq!(points, [(1200, 0.25, 0.2), (1300, 0.25, 0.2), (1400, 0.4, 0.2)]);
    }

    #[test]
    fn the_split_is_that_of_the_units_in_the_present_phase() {
        let file = br#"{"experiments": [{"name": "e", "unit": [{"header": "u"}], "baseline": "b",
            "variants": [{"name": "b"}, {"name": "c", "weight": 20}]}]}"#;
        let plan = sidetrack::config::parse_json(file).unwrap();
        let experiment = plan.experiments.into_iter().next().unwrap();
        // By moment: the first phase's units of both variants, and the second one's.
        let units = vec![vec![4, 1, 0, 0], vec![4, 1, 1, 1], vec![0, 0, 4, 4]];
        let sums = Sums { over_time: OverTime { units, values: Vec::new() }, ..Sums::default() };
        let level = sidetrack_stats::input::Fraction::FIVE_PERCENT;
        let data = Data { sums: &sums, shape: Shape::new(&experiment, 2), units: true, level };
        let phases = [[0.8, 0.2], [0.5, 0.5]].map(|shares| Phase::of_shares(&shares));
        let points = split(&data, &phases, (1000, 5800), 1);
        assert_eq!(points, [(1100, 0.2, 0.2), (1200, 0.5, 0.5), (1300, 0.5, 0.5)]);
    }
}
