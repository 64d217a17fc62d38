//! Comparisons of latency quantiles, with the jackknife's variance over groups of units.

use sidetrack_stats::strata::{self, Side};

use super::{Compared, Data, EMPTY, method, sizes, usable};
use crate::histogram::GROUPS;

impl Data<'_> {
    /// The difference of quantiles of the latency, with the jackknife's variance over groups of units.
    pub(super) fn quantile(&self, candidate: usize, share: f64) -> Compared {
        // By stratum: the two quantiles, and both again without each group.
        let mut full: Vec<(Side, Side)> = Vec::new();
        let mut less: Vec<Vec<(f64, f64)>> = Vec::new();
        let units = self.sizes_by_slot();
        for stratum in 0..self.shape.strata {
            let of = |arm: usize| -> Option<(f64, Vec<f64>, u64)> {
                let histogram = &self.totals(stratum, arm)?.histogram;
                let total = histogram.total();
                let value = total.quantile(share)? / 1000.0;
                let without = |group| {
                    histogram.without(&total, group).quantile(share).map_or(value, |q| q / 1000.0)
                };
                let units = units.get(self.shape.slot(stratum, arm)).copied().unwrap_or(0);
                Some((value, (0..GROUPS).map(without).collect(), units))
            };
            match (of(self.shape.baseline), of(candidate)) {
                (Some((one, one_less, n1)), Some((two, two_less, n2))) => {
                    full.push((
                        Side { value: one, variance: jackknife(&one_less), units: n1 },
                        Side { value: two, variance: jackknife(&two_less), units: n2 },
                    ));
                    less.push(one_less.into_iter().zip(two_less).collect());
                }
                _ => {
                    full.push((EMPTY, EMPTY));
                    less.push(Vec::new());
                }
            }
        }
        let pairs: Vec<(u64, u64)> = full.iter().map(|(one, two)| (one.units, two.units)).collect();
        let weights = strata::weights(&pairs);
        let merged = |group: usize| -> f64 {
            let term = |(weight, less): (&f64, &Vec<(f64, f64)>)| {
                less.get(group).map_or(0.0, |(one, two)| weight * (two - one))
            };
            weights.iter().zip(&less).map(term).sum()
        };
        let together = jackknife(&(0..GROUPS).map(merged).collect::<Vec<_>>());
        let apart: f64 = weights
            .iter()
            .zip(&full)
            .map(|(w, (one, two))| w * w * (one.variance + two.variance))
            .sum();
        let used = usable(&full).len();
        Compared {
            candidate,
            sizes: sizes(&full),
            comparison: strata::merge(&full, together - apart, self.level),
            method: method("quantiles, jackknife over groups of units", used),
            strata: self.within(&full),
            shares: None,
            score: None,
        }
    }
}

/// The variance of an estimate, from the estimates without one group each.
#[expect(clippy::cast_precision_loss, reason = "a hundred groups")]
fn jackknife(without: &[f64]) -> f64 {
    let n = without.len() as f64;
    let mean = without.iter().sum::<f64>() / n;
    (n - 1.0) / n * without.iter().map(|value| (value - mean).powi(2)).sum::<f64>()
}
