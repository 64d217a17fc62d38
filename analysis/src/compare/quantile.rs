//! Comparisons of latency quantiles, from the histograms of groups of units.

use super::order::{Quantiles, Stratum};
use super::{Compared, Data, Scored, Within, method};
use crate::join::Totals;

impl Data<'_> {
    /// The difference of quantiles of the latency.
    pub(super) fn quantile(&self, candidate: usize, share: f64) -> Compared {
        let units = self.sizes_by_slot();
        let of = |stratum: usize, arm: usize| -> Option<(&Totals, u64)> {
            let totals = self.totals(stratum, arm).filter(|totals| totals.histogram.count() > 0)?;
            Some((totals, units.get(self.shape.slot(stratum, arm)).copied()?))
        };
        let both = |stratum: usize| {
            let (one, two) = (of(stratum, self.shape.baseline)?, of(stratum, candidate)?);
            Some((stratum, ((&one.0.histogram, one.1), (&two.0.histogram, two.1))))
        };
        let strata: Vec<(usize, Stratum<'_>)> = (0..self.shape.strata).filter_map(both).collect();
        let alone: Vec<_> = strata
            .iter()
            .map(|(_, table)| Quantiles::new(share, std::slice::from_ref(table)))
            .collect();
        let within = |((stratum, table), alone): (&(usize, Stratum<'_>), &Result<Quantiles, _>)| {
            let quantiles = alone.as_ref().ok()?;
            Some(Within {
                stratum: *stratum,
                sizes: (table.0.1, table.1.1),
                comparison: quantiles.comparison(self.level),
                score: Some(Scored::Quantile(quantiles.clone())),
            })
        };
        let tables: Vec<Stratum<'_>> = strata.iter().map(|(_, table)| *table).collect();
        let merged = match alone.as_slice() {
            [single] => single.clone(),
            _ => Quantiles::new(share, &tables),
        };
        let sizes = tables.iter().fold((0, 0), |sum, (one, two)| (sum.0 + one.1, sum.1 + two.1));
        Compared {
            candidate,
            sizes,
            comparison: merged
                .as_ref()
                .map(|found| found.comparison(self.level))
                .map_err(|why| *why),
            method: method("score test of quantiles, design effect", tables.len()),
            strata: strata.iter().zip(&alone).filter_map(within).collect(),
            posteriors: None,
            score: merged.ok().map(Scored::Quantile),
            adjusted: None,
        }
    }
}
