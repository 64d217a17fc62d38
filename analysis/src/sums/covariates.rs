//! Sums with covariates: of a metric, what the adjustment needs; of the covariates, whether the variants are alike.

use std::collections::BTreeMap;

use sidetrack_stats::accumulate::Pairs;
use sidetrack_stats::vectors::Vectors;

use super::values::Value;
use crate::covariate::{Counts, Covariates};
use crate::join::{Shape, UnitTable};
use crate::metric::{Measure, Metric, Origin};

/// A metric with its covariates.
#[derive(Clone, Debug, Default)]
pub(crate) struct Adjusting {
    /// Numerator, denominator, covariates, and whether each is unknown, by slot.
    pub(crate) vectors: Vec<Vectors>,
    /// The same without the heaviest units.
    pub(crate) light: Vec<Vectors>,
    /// The same without the units with the largest values; empty where values are not added up.
    pub(crate) small: Vec<Vectors>,
    /// For units in two slots, the products of their residuals there, summed over units: of `y − R x`, and of what adjusts
    /// from its mean; the first slot's by row.
    pub(crate) crossings: BTreeMap<(usize, usize), Vec<f64>>,
    /// By covariate.
    pub(crate) gaps: Vec<Gaps>,
}

/// Units with and without a row of the outcomes, and how many of them have no value of a covariate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gaps {
    pub(crate) with: u64,
    pub(crate) with_unknown: u64,
    pub(crate) without: u64,
    pub(crate) without_unknown: u64,
}

/// Whether covariates adjust a metric. Metrics of requests have none: rare errors are tested by scores.
pub(crate) fn is_adjusted(metric: &Metric) -> bool {
    matches!(metric.origin, Origin::Column(_)) && !matches!(metric.measure, Measure::Quantile(_))
}

impl Adjusting {
    pub(super) fn new(covariates: &Covariates, slots: usize, has_small: bool) -> Self {
        let vectors = vec![Vectors::new(2 + 2 * covariates.len()); slots];
        Self {
            light: vectors.clone(),
            small: if has_small { vectors.clone() } else { Vec::new() },
            vectors,
            crossings: BTreeMap::new(),
            gaps: vec![Gaps::default(); covariates.len()],
        }
    }

    /// Adds a unit's value in a slot. The unit is among the heaviest, or its value among the largest.
    pub(super) fn add(
        &mut self,
        value: &Value,
        design: &[f64],
        (is_heavy, is_large): (bool, bool),
    ) {
        let vector: Vec<f64> =
            [value.y, value.x].into_iter().chain(design.iter().copied()).collect();
        let sums =
            [(&mut self.vectors, true), (&mut self.light, !is_heavy), (&mut self.small, !is_large)];
        for (sums, _) in sums.into_iter().filter(|(_, counts)| *counts) {
            if let Some(vectors) = sums.get_mut(value.slot) {
                // Sums of checked numbers; one beyond 1e150 does not count.
                let _ = vectors.add(&vector);
            }
        }
        let unknown = design.iter().skip(self.gaps.len()).map(|unknown| u64::from(*unknown > 0.0));
        for (gaps, unknown) in self.gaps.iter_mut().zip(unknown) {
            if value.rows > 0 {
                gaps.with += 1;
                gaps.with_unknown += unknown;
            } else {
                gaps.without += 1;
                gaps.without_unknown += unknown;
            }
        }
    }

    /// Adds the sums of another shard.
    pub(super) fn merge(&mut self, more: &Self) {
        for (sums, more) in [
            (&mut self.vectors, &more.vectors),
            (&mut self.light, &more.light),
            (&mut self.small, &more.small),
        ] {
            sums.iter_mut().zip(more).for_each(|(sum, more)| sum.merge(more));
        }
        for (sum, more) in self.gaps.iter_mut().zip(&more.gaps) {
            sum.with += more.with;
            sum.with_unknown += more.with_unknown;
            sum.without += more.without;
            sum.without_unknown += more.without_unknown;
        }
    }

    /// The residuals of a unit in a slot, given that of its numerator.
    pub(super) fn residuals(&self, slot: usize, residual: f64, design: &[f64]) -> Vec<f64> {
        let mean = |index: usize| self.vectors.get(slot).map_or(0.0, |sums| sums.mean(index + 2));
        let design = design.iter().enumerate().map(|(index, value)| value - mean(index));
        std::iter::once(residual).chain(design).collect()
    }
}

/// Adds the products of two residuals.
pub(super) fn add_products(
    crossings: &mut BTreeMap<(usize, usize), Vec<f64>>,
    slots: (usize, usize),
    one: &[f64],
    two: &[f64],
) {
    let sums = crossings.entry(slots).or_default();
    sums.resize(one.len() * two.len(), 0.0);
    let terms = one.iter().flat_map(|a| two.iter().map(move |b| a * b));
    sums.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term);
}

/// Each covariate by variant, of units in the slot of their first request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Likeness {
    pub(crate) counts: Vec<Counts>,
    /// By covariate and slot: whether it is unknown, of 1.
    pub(crate) unknown: Vec<Vec<Pairs>>,
    /// By covariate and slot: the inverse hyperbolic sine of known values, of 1. Large values differ in it as their logarithms
    /// do, so a few of them do not make a difference.
    pub(crate) values: Vec<Vec<Pairs>>,
}

impl Likeness {
    pub(super) fn new(covariates: Option<&Covariates>, shape: Shape) -> Self {
        let counts = covariates.map_or_else(Vec::new, |found| found.counts.clone());
        let slots = vec![vec![Pairs::default(); shape.slots()]; counts.len()];
        Self { counts, unknown: slots.clone(), values: slots }
    }

    pub(super) fn add(&mut self, table: &UnitTable, first: u32, slot: usize) {
        let all = self.unknown.iter_mut().zip(&mut self.values).enumerate();
        for (covariate, (unknown, values)) in all {
            let value = table.covariate(covariate, first);
            let add = |pairs: &mut [Pairs], y: f64| {
                pairs.get_mut(slot).map(|pairs| pairs.add(y, 1.0).ok());
            };
            add(unknown, f64::from(u8::from(value.is_none())));
            if let Some(value) = value {
                add(values, value.asinh());
            }
        }
    }

    pub(super) fn merge(&mut self, more: &Self) {
        let merge = |sums: &mut [Vec<Pairs>], more: &[Vec<Pairs>]| {
            for (sums, more) in sums.iter_mut().zip(more) {
                sums.iter_mut().zip(more).for_each(|(sum, more)| sum.merge(more));
            }
        };
        merge(&mut self.unknown, &more.unknown);
        merge(&mut self.values, &more.values);
    }
}
