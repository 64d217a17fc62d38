//! Sums by day and by days since the first request, of the metrics that decide.
//!
//! Each unit counts in its first phase only, as it was assigned there, so that the slots of a day are independent. On one
//! day, the units are those that were there; a day has no share of what they did on others.

use std::collections::BTreeMap;

use sidetrack_stats::accumulate::Pairs;
use sidetrack_stats::ratio;

use super::segments::is_segmented;
use super::values::value;
use super::{Summation, Sums};
use crate::error::Error;
use crate::join::{Cell, Unit, UnitTable, day};
use crate::metric::{Metric, Origin};
use crate::model::ModelMetric;

/// How many days since the first request are looked at, the first one among them.
pub const MOST_DAYS_SINCE: u32 = 28;

/// The sums of a metric.
#[derive(Clone, Debug, Default)]
pub(crate) struct DaySums {
    /// By day since 1970 and slot.
    pub(crate) days: BTreeMap<u32, Vec<Pairs>>,
    /// By days since the first request of the unit and slot.
    pub(crate) since: BTreeMap<u32, Vec<Pairs>>,
    /// By slot: for pairs of days since, the product of a unit's residuals there, summed over units.
    pub(crate) products: Vec<BTreeMap<(u32, u32), f64>>,
}

impl DaySums {
    fn add(&mut self, slots: usize, slot: usize, (day, since): (u32, u32), (y, x): (f64, f64)) {
        let new = || vec![Pairs::default(); slots];
        if let Some(pairs) = self.days.entry(day).or_insert_with(new).get_mut(slot) {
            pairs.add(y, x).ok();
        }
        if since < MOST_DAYS_SINCE
            && let Some(pairs) = self.since.entry(since).or_insert_with(new).get_mut(slot)
        {
            pairs.add(y, x).ok();
        }
    }

    fn merge(&mut self, other: &Self) {
        let parts = [(&mut self.days, &other.days), (&mut self.since, &other.since)];
        for (sums, more) in parts {
            for (day, more) in more {
                let sums = sums.entry(*day).or_insert_with(|| vec![Pairs::default(); more.len()]);
                sums.iter_mut().zip(more).for_each(|(sum, more)| sum.merge(more));
            }
        }
    }
}

/// A unit's day, days since its first request, numerator and denominator.
type OnDay = (u32, u32, f64, f64);

/// Whether a metric has values by day: those of requests, of which the day is known. A linearized metric has one value of
/// a unit in a phase.
pub(crate) fn has_days(metric: &Metric, by_unit: bool) -> bool {
    is_segmented(metric)
        && metric.model.is_none_or(ModelMetric::is_mean)
        && !(by_unit && matches!(metric.origin, Origin::Column(_)))
}

impl Summation<'_> {
    /// Adds the sums by day, once the others are known.
    ///
    /// # Errors
    /// A temporary file cannot be read.
    pub(super) fn add_days(&self, sums: &mut Sums) -> Result<(), Error> {
        if !self.units {
            return Ok(());
        }
        sums.days = vec![DaySums::default(); self.metrics.len()];
        for shard in self.each(|table| self.days(table))? {
            sums.days.iter_mut().zip(&shard).for_each(|(sum, more)| sum.merge(more));
        }
        let slots = self.shape.slots();
        for shard in self.each(|table| self.day_products(table, sums))? {
            for (sums, more) in sums.days.iter_mut().zip(shard) {
                sums.products.resize(slots, BTreeMap::new());
                for (products, more) in sums.products.iter_mut().zip(more) {
                    for (days, product) in more {
                        *products.entry(days).or_default() += product;
                    }
                }
            }
        }
        Ok(())
    }

    /// A unit's slot, and its values on the days of its first phase.
    fn on_days(
        &self,
        metric: &Metric,
        table: &UnitTable,
        unit: Unit<'_>,
    ) -> Option<(usize, Vec<OnDay>)> {
        let (number, cell) = unit.first()?;
        let column = match metric.origin {
            Origin::Column(column) => Some(column),
            _ => None,
        };
        if column.is_some() && self.is_open(cell) {
            return None;
        }
        let of_column = |column: Option<usize>| {
            let whole = column.map_or((0.0, 0), |column| table.column(column, number));
            whole.0.is_finite().then(|| table.days_of(number, cell, column, whole))
        };
        let days = of_column(column)?;
        // Of a ratio of two columns: the same days with the denominator.
        let per = metric.per.map_or(Some(Vec::new()), |per| of_column(Some(per)))?;
        let first = day(cell.first);
        let of = |(at, (day, cell, values)): (usize, (u32, Cell, (f64, u32)))| {
            let found = match per.get(at) {
                Some((.., (x, rows))) => (values.1 + rows > 0).then_some((values.0, *x)),
                None => value(metric, &cell, values),
            };
            let (y, x) = found.filter(|_| cell.requests > 0)?;
            Some((day, day.saturating_sub(first), y, x))
        };
        let days = days.into_iter().enumerate().filter_map(of);
        Some((self.slot(cell), days.collect()))
    }

    fn days(&self, table: &UnitTable) -> Vec<DaySums> {
        let slots = self.shape.slots();
        let mut sums = vec![DaySums::default(); self.metrics.len()];
        let by_unit = self.placed.is_some();
        for (metric, sums) in self.metrics.iter().zip(&mut sums) {
            for unit in table.units().filter(|_| has_days(metric, by_unit)) {
                let Some((slot, days)) = self.on_days(metric, table, unit) else { continue };
                for (day, since, y, x) in days {
                    sums.add(slots, slot, (day, since), (y, x));
                }
            }
        }
        sums
    }

    /// By metric and slot: products of residuals on two days since the first request.
    fn day_products(&self, table: &UnitTable, sums: &Sums) -> Vec<Vec<BTreeMap<(u32, u32), f64>>> {
        let slots = self.shape.slots();
        let by_unit = self.placed.is_some();
        let of = |(metric, sums): (&Metric, &DaySums)| {
            let mut found = vec![BTreeMap::new(); slots];
            let ratio = |pairs: &Pairs| ratio::ratio(pairs).ok().map(|ratio| ratio.value);
            let ratios: BTreeMap<u32, Vec<Option<f64>>> = sums
                .since
                .iter()
                .map(|(since, pairs)| (*since, pairs.iter().map(ratio).collect()))
                .collect();
            for unit in table.units().filter(|_| has_days(metric, by_unit)) {
                let Some((slot, days)) = self.on_days(metric, table, unit) else { continue };
                let residual = |(_, since, y, x): &(u32, u32, f64, f64)| {
                    let ratio = ratios.get(since)?.get(slot).copied().flatten()?;
                    Some((*since, y - ratio * x))
                };
                let residuals: Vec<(u32, f64)> = days.iter().filter_map(residual).collect();
                let Some(products) = found.get_mut(slot) else { continue };
                for (at, (one, a)) in residuals.iter().enumerate() {
                    for (two, b) in residuals.iter().skip(at + 1) {
                        *products.entry((*one, *two)).or_default() += a * b;
                    }
                }
            }
            found
        };
        self.metrics.iter().zip(&sums.days).map(of).collect()
    }
}
