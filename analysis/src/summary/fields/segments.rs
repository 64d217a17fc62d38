//! The sums by segment and by day.

use std::collections::BTreeMap;

use super::super::exchange::{Exchange, Lists};
use super::numbers;
use crate::figures::visible;
use crate::metric::{Measure, Metric};
use crate::segments::{Chosen, ChosenValues};
use crate::sums::{DaySums, MetricSums, SegmentSums};

/// Exchanges the segments of each dimension, and their sums.
pub(super) fn exchange(
    sums: &mut Vec<SegmentSums>,
    chosen: &mut Chosen,
    x: &mut Exchange<'_>,
    metrics: &[Metric],
) {
    let of = |it: &ChosenValues| (u64::from(it.in_outcomes), it.name.clone());
    let mut dimensions: Vec<(u64, String)> = chosen.dimensions.iter().map(of).collect();
    x.texts("segment", "dimension", &mut dimensions);
    chosen.dimensions.resize(dimensions.len(), ChosenValues::default());
    sums.resize(dimensions.len(), SegmentSums::default());
    let all = chosen.dimensions.iter_mut().zip(sums).zip(dimensions);
    for ((chosen, sums), (in_outcomes, name)) in all {
        chosen.in_outcomes = in_outcomes > 0;
        let mut values: Vec<(u64, String)> =
            chosen.values.iter().map(|value| (0, value.clone())).collect();
        x.texts("segment_value", &name, &mut values);
        chosen.values = values.into_iter().map(|(_, value)| visible(&value)).collect();
        x.count("segment_values", &name, &mut chosen.distinct);
        x.count("segment_later", &name, &mut sums.later);
        let segments = chosen.len();
        sums.firsts.resize(segments, Vec::new());
        for (at, counts) in (0..).zip(&mut sums.firsts) {
            x.counts("segment_units", &name, Some(at), counts);
        }
        sums.metrics.resize(metrics.len(), Vec::new());
        for (metric, sums) in metrics.iter().zip(&mut sums.metrics) {
            if matches!(metric.measure, Measure::Quantile(_)) {
                continue;
            }
            if !x.writes() {
                sums.resize(segments, MetricSums::default());
            }
            for (at, sums) in (0..).zip(sums) {
                let place = format!("{name}/{}", metric.name);
                x.pairs("segment_metric", &place, Some(at), &mut sums.pairs);
                x.crossings(&format!("{place}/{at}"), &mut sums.crossings);
            }
        }
        chosen.name = name;
    }
}

/// Exchanges the sums by day, and by days since the first request.
pub(super) fn days(
    sums: &mut Vec<DaySums>,
    x: &mut Exchange<'_>,
    metrics: &[Metric],
    slots: usize,
) {
    sums.resize(metrics.len(), DaySums::default());
    for (metric, sums) in metrics.iter().zip(sums) {
        let name = &metric.name;
        for (kind, days) in [("day", &mut sums.days), ("day_since", &mut sums.since)] {
            let known = days.keys().map(|day| vec![i64::from(*day)]).collect();
            let mut list = Lists::new();
            list.insert((None, None, None), known);
            let is_empty = days.is_empty();
            if !(x.writes() && is_empty) {
                x.lists(&format!("{kind}s"), name, &mut list);
            }
            if !x.writes() {
                let known = list.into_values().flatten();
                let day = |item: Vec<i64>| u32::try_from(numbers::<1>(&item)[0]).ok();
                *days = known.filter_map(day).map(|day| (day, Vec::new())).collect();
            }
            for (day, pairs) in days {
                x.pairs(kind, name, Some(u64::from(*day)), pairs);
            }
        }
        products(&mut sums.products, x, name, slots);
    }
}

/// By slot, products of residuals of two days, as a metric of slots per day.
fn products(
    products: &mut Vec<BTreeMap<(u32, u32), f64>>,
    x: &mut Exchange<'_>,
    name: &str,
    slots: usize,
) {
    const DAYS: u64 = 32;
    if !x.writes() {
        products.resize(slots, BTreeMap::new());
    }
    for one in 0..DAYS {
        for two in one + 1..DAYS {
            let (Ok(first), Ok(second)) = (u32::try_from(one), u32::try_from(two)) else {
                continue;
            };
            let place = one * DAYS + two;
            let mut row: Vec<Option<f64>> =
                products.iter().map(|of| of.get(&(first, second)).copied()).collect();
            x.fractions_by_slot("day_product", name, place, &mut row);
            for (of, product) in products.iter_mut().zip(row) {
                if let Some(product) = product {
                    of.insert((first, second), product);
                }
            }
        }
    }
}
