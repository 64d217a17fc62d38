//! Units in several slots: the second pass over the units, which needs the ratios of the first one.

use std::collections::BTreeMap;

use sidetrack_stats::ratio;

use super::covariates::add_products;
use super::values::{Value, Values};
use super::{MetricSums, Summation, Sums};
use crate::join::UnitTable;

/// The products of a metric's residuals, of the units of a shard.
#[derive(Clone, Debug, Default)]
pub(super) struct Crossings {
    values: BTreeMap<(usize, usize), f64>,
    covariates: BTreeMap<(usize, usize), Vec<f64>>,
}

impl Crossings {
    pub(super) fn add_to(self, sums: &mut MetricSums) {
        for (slots, product) in self.values {
            *sums.crossings.entry(slots).or_default() += product;
        }
        let Some(adjusting) = &mut sums.covariates else { return };
        for (slots, products) in self.covariates {
            let sums = adjusting.crossings.entry(slots).or_default();
            sums.resize(products.len(), 0.0);
            sums.iter_mut().zip(products).for_each(|(sum, product)| *sum += product);
        }
    }
}

impl Summation<'_> {
    /// Products of residuals, by metric.
    pub(super) fn crossings(&self, table: &UnitTable, sums: &Sums) -> Vec<Crossings> {
        let ratios: Vec<Vec<Option<f64>>> = sums
            .metrics
            .iter()
            .map(|of| {
                of.pairs
                    .iter()
                    .map(|pairs| ratio::ratio(pairs).ok().map(|ratio| ratio.value))
                    .collect()
            })
            .collect();
        let mut crossings = vec![Crossings::default(); self.metrics.len()];
        let (mut values, mut design) = (Values::new(), Vec::new());
        for unit in table.units().filter(|unit| unit.cells().nth(1).is_some()) {
            let Some((first, _)) = unit.first() else { continue };
            if let Some(covariates) = self.covariates {
                covariates.design(table, first, &mut design);
            }
            let metrics = self.metrics.iter().enumerate();
            for (((index, metric), ratios), crossings) in metrics.zip(&ratios).zip(&mut crossings) {
                if ratios.is_empty() {
                    continue;
                }
                self.values(index, metric, table, unit, first, &mut values);
                values.sort_by_key(|value| value.slot);
                let residual = |value: &Value| {
                    let ratio = ratios.get(value.slot).copied().flatten()?;
                    Some((value.slot, value.y - ratio * value.x))
                };
                let residuals: Vec<(usize, f64)> = values.iter().filter_map(residual).collect();
                for (index, (one, a)) in residuals.iter().enumerate() {
                    for (two, b) in residuals.iter().skip(index + 1) {
                        *crossings.values.entry((*one, *two)).or_default() += a * b;
                    }
                }
                let adjusting = sums.metrics.get(index).and_then(|of| of.covariates.as_ref());
                let Some(adjusting) = adjusting else { continue };
                let all = residuals.iter().map(|(slot, residual)| {
                    (*slot, adjusting.residuals(*slot, *residual, &design))
                });
                let all: Vec<(usize, Vec<f64>)> = all.collect();
                for (index, (one, a)) in all.iter().enumerate() {
                    for (two, b) in all.iter().skip(index + 1) {
                        add_products(&mut crossings.covariates, (*one, *two), a, b);
                    }
                }
            }
        }
        crossings
    }
}
