//! The sums by slot.

use super::super::exchange::{Exchange, Lists};
use super::numbers;
use crate::join::{Shape, Totals};
use crate::metric::{Measure, Metric};
use crate::sums::{Balance, MetricSums, OverTime, Sums, Tails, Weights, needs_tails};

/// Picks a count of a slot or an arm.
type Count<T> = fn(&mut T) -> &mut u64;

/// Exchanges all sums. `columns`: those of the outcomes.
pub(super) fn exchange(
    sums: &mut Sums,
    x: &mut Exchange<'_>,
    metrics: &[Metric],
    (shape, units): (Shape, bool),
    columns: &[String],
) {
    totals(&mut sums.totals, x, shape, if units { &[] } else { columns });
    for (name, counts) in [
        ("first", &mut sums.firsts),
        ("answered", &mut sums.answered),
        ("open_window", &mut sums.open),
    ] {
        x.counts("units", name, None, counts);
    }
    for (name, count) in [
        ("torn", &mut sums.torn),
        ("moved", &mut sums.moved),
        ("with_trial", &mut sums.told.all),
        ("without_trial", &mut sums.told.none),
        ("with_both", &mut sums.told.some),
    ] {
        x.count("units", name, count);
    }
    x.maybe("units", "last_window_ends", &mut sums.closes);
    let mut heavy = Some(sums.heavy).filter(|heavy| *heavy < u64::MAX);
    x.maybe("units", "heavy_above", &mut heavy);
    sums.heavy = heavy.unwrap_or(u64::MAX);
    sums.metrics.resize(metrics.len(), MetricSums::default());
    if units {
        for (metric, of) in metrics.iter().zip(&mut sums.metrics) {
            if !matches!(metric.measure, Measure::Quantile(_)) {
                of_metric(of, metric, x);
            }
        }
    }
    over_time(&mut sums.over_time, x);
    balance(&mut sums.balance, x, shape, columns);
    x.pairs("client_errors_by_phase", "", None, &mut sums.presence.refused);
    x.by_arm("units", "last", &mut sums.presence.lasts);
    super::covariates::exchange(sums, x, metrics);
}

/// Sums of requests. Values by request are compared only without units.
fn totals(totals: &mut Vec<Totals>, x: &mut Exchange<'_>, shape: Shape, columns: &[String]) {
    totals.resize(shape.slots(), Totals::default());
    let counts: [(&str, Count<Totals>); 5] = [
        ("all", |of| &mut of.requests),
        ("failed", |of| &mut of.failed),
        ("aborted", |of| &mut of.aborted),
        ("elsewhere", |of| &mut of.elsewhere),
        ("rescued", |of| &mut of.rescued),
    ];
    for (name, field) in counts {
        let mut all: Vec<u64> = totals.iter_mut().map(|of| *field(of)).collect();
        x.counts("requests", name, None, &mut all);
        totals.iter_mut().zip(all).for_each(|(of, count)| *field(of) = count);
    }
    let mut latencies: Vec<_> = totals.iter().map(|of| of.latency).collect();
    x.moments("request_latency", "", &mut latencies);
    totals.iter_mut().zip(latencies).for_each(|(of, latency)| of.latency = latency);
    for (column, name) in columns.iter().enumerate() {
        let of = |totals: &Totals| totals.outcomes.get(column).copied().unwrap_or_default();
        let mut all: Vec<_> = totals.iter().map(of).collect();
        x.moments("request_value", name, &mut all);
        for (of, value) in totals.iter_mut().zip(all) {
            of.outcomes.resize(columns.len(), Default::default());
            if let Some(place) = of.outcomes.get_mut(column) {
                *place = value;
            }
        }
    }
    histograms(totals, x, shape);
}

/// Latencies: by bin, the count of each group of units.
fn histograms(totals: &mut [Totals], x: &mut Exchange<'_>, shape: Shape) {
    let mut lists = Lists::new();
    for (slot, of) in totals.iter().enumerate().filter(|_| x.writes()) {
        let phase = u32::try_from(slot / shape.arms.max(1)).ok();
        for (bin, group, count) in of.histogram.cells() {
            let key = (phase, Some(slot % shape.arms.max(1)), i64::try_from(bin).ok());
            let item = vec![i64::try_from(group).unwrap_or_default(), i64::from(count)];
            lists.entry(key).or_default().push(item);
        }
    }
    x.lists("latency_bins", "", &mut lists);
    if x.writes() {
        return;
    }
    for ((phase, arm, bin), list) in lists {
        let slot = phase.zip(arm).map(|(phase, arm)| shape.slot(phase as usize, arm));
        let of = slot.and_then(|slot| totals.get_mut(slot));
        let bin = bin.and_then(|bin| usize::try_from(bin).ok());
        let Some((of, bin)) = of.zip(bin) else {
            x.fail("latency_bins: unknown phase or variant".to_owned());
            return;
        };
        for item in list {
            let [group, count] = numbers(&item);
            let set = usize::try_from(group).ok().zip(u32::try_from(count).ok());
            if set.and_then(|(group, count)| of.histogram.set(bin, group, count)).is_none() {
                x.fail(format!("latency_bins: bin {bin}, group {group}, count {count}"));
            }
        }
    }
}

fn of_metric(of: &mut MetricSums, metric: &Metric, x: &mut Exchange<'_>) {
    let name = &metric.name;
    x.pairs("metric", name, None, &mut of.pairs);
    x.pairs("metric_without_heavy", name, None, &mut of.light);
    let mut large = Some(of.large).filter(|large| large.is_finite() && !of.small.is_empty());
    x.fraction("large_above", name, &mut large);
    of.large = f64::INFINITY;
    if let Some(large) = large {
        of.large = large;
        x.pairs("metric_without_large", name, None, &mut of.small);
    }
    x.fraction("cap_value", name, &mut of.cap);
    x.counts("capped_units", name, None, &mut of.capped);
    if of.cap.is_some() {
        x.pairs("metric_without_cap", name, None, &mut of.uncapped);
    }
    if needs_tails(metric) {
        let tails = of.tails.iter().map(|tails| (tails.units, tails.squares, tails.cubes));
        let mut tails: Vec<_> = tails.collect();
        x.sums("tails", name, &mut tails);
        let tails = tails.into_iter();
        of.tails = tails.map(|(units, squares, cubes)| Tails { units, squares, cubes }).collect();
    }
    x.crossings(name, &mut of.crossings);
}

fn over_time(of: &mut OverTime, x: &mut Exchange<'_>) {
    if !x.writes() {
        *of = OverTime::new(0);
    }
    for (at, units) in (0..).zip(&mut of.units) {
        x.counts("moment_units", "", Some(at), units);
    }
    for (at, values) in (0..).zip(&mut of.values) {
        x.pairs("moment_values", "", Some(at), values);
    }
}

fn balance(balance: &mut Balance, x: &mut Exchange<'_>, shape: Shape, columns: &[String]) {
    x.moments("log_requests", "", &mut balance.requests);
    x.pairs("client_errors", "", None, &mut balance.refused);
    if !x.writes() {
        balance.labels = vec![Vec::new(); columns.len()];
    }
    for (labels, name) in balance.labels.iter_mut().zip(columns) {
        x.pairs("labels", name, None, labels);
    }
    if !x.writes() {
        balance.days = x.places("new_units").into_iter().map(|day| (day, Vec::new())).collect();
    }
    for (day, counts) in &mut balance.days {
        x.counts("new_units", "", Some(*day), counts);
    }
    x.counts("units", "failing", None, &mut balance.failing);
    x.counts("units", "heavy", None, &mut balance.heavy);
    balance.weights.resize(shape.arms, Weights::default());
    let counts: [(&str, Count<Weights>); 4] = [
        ("units", |of| &mut of.units),
        ("requests", |of| &mut of.sum),
        ("largest", |of| &mut of.largest),
        ("heavy", |of| &mut of.heavy),
    ];
    for (name, field) in counts {
        let mut all: Vec<u64> = balance.weights.iter_mut().map(|of| *field(of)).collect();
        x.by_arm("requests_of_units", name, &mut all);
        balance.weights.iter_mut().zip(all).for_each(|(of, count)| *field(of) = count);
    }
    let mut squares: Vec<f64> = balance.weights.iter().map(|of| of.squares).collect();
    x.fractions("requests_of_units", "squares", &mut squares);
    balance.weights.iter_mut().zip(squares).for_each(|(of, sum)| of.squares = sum);
}
