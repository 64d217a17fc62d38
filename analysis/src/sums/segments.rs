//! Sums by segment: the same as for all units, of the metrics that decide.

use std::collections::BTreeMap;

use sidetrack_stats::accumulate::Pairs;
use sidetrack_stats::ratio;

use super::values::Values;
use super::{MetricSums, Products, Summation, Sums, Value, add_one, products};
use crate::answer::Role;
use crate::error::Error;
use crate::join::{Unit, UnitTable};
use crate::metric::{Measure, Metric};
use crate::segments::Sizes;

/// The sums of a dimension.
#[derive(Clone, Debug, Default)]
pub(crate) struct SegmentSums {
    /// By segment and slot: units, each once, in the slot of its first request.
    pub(crate) firsts: Vec<Vec<u64>>,
    /// Units whose value was recorded after their first request.
    pub(crate) later: u64,
    /// By metric and segment; empty for metrics that are not compared by segment.
    pub(crate) metrics: Vec<Vec<MetricSums>>,
}

/// Whether a metric is compared by segment: those that decide, unless they are quantiles.
pub(crate) fn is_segmented(metric: &Metric) -> bool {
    metric.role != Role::Exploratory && !matches!(metric.measure, Measure::Quantile(_))
}

impl SegmentSums {
    fn new(segments: usize, slots: usize, metrics: &[Metric]) -> Self {
        let of = |metric: &Metric| {
            let pairs = vec![Pairs::default(); slots];
            let empty = MetricSums { pairs, ..MetricSums::default() };
            vec![empty; if is_segmented(metric) { segments } else { 0 }]
        };
        Self {
            firsts: vec![vec![0; slots]; segments],
            later: 0,
            metrics: metrics.iter().map(of).collect(),
        }
    }

    pub(super) fn unit(&mut self, segment: usize, slot: usize, is_later: bool) {
        if let Some(counts) = self.firsts.get_mut(segment) {
            add_one(counts, slot);
        }
        self.later += u64::from(is_later);
    }

    /// Adds a unit's value in a slot, of the metric with this index.
    pub(super) fn value(&mut self, metric: usize, segment: usize, value: &Value) {
        let sums = self.metrics.get_mut(metric).and_then(|metric| metric.get_mut(segment));
        if let Some(pairs) = sums.and_then(|sums| sums.pairs.get_mut(value.slot)) {
            pairs.add(value.y, value.x).ok();
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (sums, more) in self.firsts.iter_mut().zip(&other.firsts) {
            sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
        }
        self.later += other.later;
        let metrics = self.metrics.iter_mut().zip(&other.metrics);
        for (sum, more) in metrics.flat_map(|(sums, more)| sums.iter_mut().zip(more)) {
            sum.merge(more);
        }
    }
}

/// By dimension, metric and segment.
type Crossings = Vec<Vec<Vec<Products>>>;

impl Summation<'_> {
    /// How many units have each value of each dimension.
    ///
    /// # Errors
    /// A temporary file cannot be read.
    pub(crate) fn segment_sizes(&self, dimensions: usize) -> Result<Vec<Sizes>, Error> {
        if dimensions == 0 {
            return Ok(Vec::new());
        }
        let shards = self.each(|table| {
            let mut sizes = vec![Sizes::new(); dimensions];
            for unit in table.units() {
                for (dimension, sizes) in sizes.iter_mut().enumerate() {
                    *sizes.entry(unit.segment(dimension).value).or_default() += 1;
                }
            }
            sizes
        })?;
        let mut all = vec![Sizes::new(); dimensions];
        for shard in &shards {
            for (sizes, more) in all.iter_mut().zip(shard) {
                more.iter().for_each(|(value, units)| *sizes.entry(*value).or_default() += units);
            }
        }
        Ok(all)
    }

    pub(super) fn empty_segments(&self) -> Vec<SegmentSums> {
        let dimensions = self.segments.dimensions.iter().filter(|_| self.units);
        let slots = self.shape.slots();
        dimensions.map(|chosen| SegmentSums::new(chosen.len(), slots, self.metrics)).collect()
    }

    /// Adds what units in several slots have there to the sums of their segments.
    ///
    /// # Errors
    /// A temporary file cannot be read.
    pub(super) fn cross_segments(&self, sums: &mut Sums) -> Result<(), Error> {
        if sums.segments.is_empty() {
            return Ok(());
        }
        let shards = self.each(|table| self.segment_crossings(table, sums))?;
        for dimensions in shards {
            for (sums, metrics) in sums.segments.iter_mut().zip(dimensions) {
                let metrics = sums.metrics.iter_mut().zip(metrics);
                for (sums, more) in metrics.flat_map(|(sums, more)| sums.iter_mut().zip(more)) {
                    for (slots, product) in more {
                        *sums.crossings.entry(slots).or_default() += product;
                    }
                }
            }
        }
        Ok(())
    }

    fn segment_crossings(&self, table: &UnitTable, sums: &Sums) -> Crossings {
        let ratio = |pairs: &Pairs| ratio::ratio(pairs).ok().map(|ratio| ratio.value);
        let ratios = |sums: &MetricSums| sums.pairs.iter().map(ratio).collect::<Vec<_>>();
        let by_segment = |sums: &Vec<MetricSums>| sums.iter().map(ratios).collect::<Vec<_>>();
        let of =
            |dimension: &SegmentSums| dimension.metrics.iter().map(by_segment).collect::<Vec<_>>();
        let ratios: Vec<_> = sums.segments.iter().map(of).collect();
        let empty = |metric: &Vec<MetricSums>| vec![BTreeMap::new(); metric.len()];
        let empty = |sums: &SegmentSums| sums.metrics.iter().map(empty).collect();
        let mut found: Crossings = sums.segments.iter().map(empty).collect();
        let mut values = Values::new();
        for unit in table.units().filter(|unit| unit.cells().nth(1).is_some()) {
            let Some((first, cell)) = unit.first() else { continue };
            let own = self.segments.of(unit, cell.first);
            for (index, metric) in
                self.metrics.iter().enumerate().filter(|(_, it)| is_segmented(it))
            {
                self.values(index, metric, table, unit, first, &mut values);
                let dimensions = ratios.iter().zip(&mut found).zip(&own);
                for ((ratios, found), (segment, _)) in dimensions {
                    let ratios = ratios.get(index).and_then(|metric| metric.get(*segment));
                    let found = found.get_mut(index).and_then(|metric| metric.get_mut(*segment));
                    if let Some((ratios, found)) = ratios.zip(found) {
                        products(&mut values, ratios, found);
                    }
                }
            }
        }
        found
    }

    /// Adds a unit to the sums of its segments.
    pub(super) fn segmented(
        &self,
        sums: &mut Sums,
        unit: Unit<'_>,
        slot: usize,
        first: u64,
    ) -> Vec<(usize, bool)> {
        let own = self.segments.of(unit, first);
        for (sums, (segment, is_later)) in sums.segments.iter_mut().zip(&own) {
            sums.unit(*segment, slot, *is_later);
        }
        own
    }
}
