//! The sums with covariates.

use sidetrack_stats::accumulate::Pairs;
use sidetrack_stats::vectors::Vectors;

use super::super::exchange::Exchange;
use crate::covariate::Counts;
use crate::metric::Metric;
use crate::sums::{Adjusting, Gaps, Sums, is_adjusted};

/// Exchanges the sums with covariates, if there are any.
pub(super) fn exchange(sums: &mut Sums, x: &mut Exchange<'_>, metrics: &[Metric]) {
    let likeness = &mut sums.covariates;
    let named = likeness.counts.iter().map(|counts| (0, counts.name.clone()));
    let mut names: Vec<(u64, String)> = named.collect();
    x.texts("covariate", "", &mut names);
    if !x.writes() {
        let of = |(_, name): &(u64, String)| Counts { name: name.clone(), ..Counts::default() };
        likeness.counts = names.iter().map(of).collect();
        likeness.unknown = vec![Vec::new(); names.len()];
        likeness.values = vec![Vec::new(); names.len()];
    }
    let all = likeness.counts.iter_mut().zip(&mut likeness.unknown).zip(&mut likeness.values);
    for ((counts, unknown), values) in all {
        x.count("covariate_rows", &counts.name, &mut counts.rows);
        x.count("covariate_late_rows", &counts.name, &mut counts.late);
        x.count("covariate_several", &counts.name, &mut counts.several);
        x.pairs("covariate_unknown", &counts.name, None, unknown);
        x.pairs("covariate_values", &counts.name, None, values);
    }
    let adjusted = metrics.iter().zip(&mut sums.metrics).filter(|(metric, _)| is_adjusted(metric));
    for (metric, of) in adjusted.filter(|_| !names.is_empty()) {
        let mut adjusting = of.covariates.take().map_or_else(Adjusting::default, |it| *it);
        let width = 2 + 2 * names.len();
        vectors(&mut adjusting.vectors, "metric_with_covariates", &metric.name, width, x);
        let without = "metric_with_covariates_without_heavy";
        vectors(&mut adjusting.light, without, &metric.name, width, x);
        if of.large.is_finite() {
            let without = "metric_with_covariates_without_large";
            vectors(&mut adjusting.small, without, &metric.name, width, x);
        }
        of_metric(&mut adjusting, &metric.name, &names, x);
        of.covariates = Some(Box::new(adjusting));
    }
}

/// Exchanges sums of so many numbers per unit, entry by entry.
fn vectors(of: &mut Vec<Vectors>, kind: &str, name: &str, width: usize, x: &mut Exchange<'_>) {
    for (place, (row, column)) in (0..).zip(entries(width)) {
        let pair = |vectors: &Vectors| vectors.pair(row, column);
        let mut pairs: Vec<Pairs> = of.iter().map(pair).collect();
        x.pairs(kind, name, Some(place), &mut pairs);
        if !x.writes() {
            of.resize(pairs.len(), Vectors::new(width));
            let vectors = of.iter_mut().zip(&pairs);
            vectors.for_each(|(vectors, pair)| vectors.set(row, column, pair));
        }
    }
}

fn of_metric(of: &mut Adjusting, name: &str, covariates: &[(u64, String)], x: &mut Exchange<'_>) {
    let residuals = 1 + 2 * covariates.len();
    for place in 0..residuals * residuals {
        let product = |products: &Vec<f64>| products.get(place).copied().unwrap_or_default();
        let products = of.crossings.iter().map(|(slots, all)| (*slots, product(all)));
        let mut products = products.collect();
        x.crossings(&format!("{name} with covariates, {place}"), &mut products);
        for (slots, product) in products.into_iter().filter(|_| !x.writes()) {
            let all = of.crossings.entry(slots).or_default();
            all.resize(residuals * residuals, 0.0);
            if let Some(slot) = all.get_mut(place) {
                *slot = product;
            }
        }
    }
    of.gaps.resize(covariates.len(), Gaps::default());
    for (gaps, (_, covariate)) in of.gaps.iter_mut().zip(covariates) {
        for (kind, count) in [
            ("covariate_with_row", &mut gaps.with),
            ("covariate_unknown_with_row", &mut gaps.with_unknown),
            ("covariate_without_row", &mut gaps.without),
            ("covariate_unknown_without_row", &mut gaps.without_unknown),
        ] {
            x.count(kind, &format!("{name} by {covariate}"), count);
        }
    }
}

/// The entries of a lower triangle, row by row.
fn entries(width: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..width).flat_map(|row| (0..=row).map(move |column| (row, column)))
}
