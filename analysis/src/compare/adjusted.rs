//! Comparisons with the noise of the past taken away: CUPED, by what is known of units from before their first exposure.

use sidetrack_stats::cuped::fit;
use sidetrack_stats::vectors::Vectors;

use super::{Compared, Data, method, sizes, usable};
use crate::metric::{Measure, Metric};
use crate::sums::{Adjusting, MetricSums};

/// How a comparison was adjusted.
#[derive(Clone, Debug)]
pub(crate) struct Adjusted {
    /// By covariate: how much of the metric goes with one unit of it.
    pub(crate) theta: Vec<f64>,
    /// The share of the difference's variance that went away.
    pub(crate) reduction: f64,
    /// The comparison without covariates.
    pub(crate) plain: Box<Compared>,
}

impl Data<'_> {
    /// Adjusts a comparison, if its metric has covariates and it can be judged without them.
    pub(super) fn adjusted(
        &self,
        metric: &Metric,
        sums: &MetricSums,
        candidate: usize,
        plain: Compared,
    ) -> Compared {
        let adjusted = sums.covariates.as_ref();
        let adjusted = adjusted.and_then(|of| self.adjust(metric, sums, of, candidate, &plain));
        let Some((compared, theta, reduction)) = adjusted else { return plain };
        let plain = Box::new(plain);
        Compared { adjusted: Some(Adjusted { theta, reduction, plain }), ..compared }
    }

    fn adjust(
        &self,
        metric: &Metric,
        sums: &MetricSums,
        of: &Adjusting,
        candidate: usize,
        plain: &Compared,
    ) -> Option<(Compared, Vec<f64>, f64)> {
        // A share of too few events cannot be judged either way.
        let before = plain.comparison.as_ref().ok().filter(|found| found.test.is_ok())?;
        if plain.score.as_ref().is_some_and(|score| score.test().is_err()) {
            return None;
        }
        let none = Vectors::default();
        let arm = |stratum, arm| of.vectors.get(self.shape.slot(stratum, arm)).unwrap_or(&none);
        let strata: Vec<(&Vectors, &Vectors)> = (0..self.shape.strata)
            .map(|stratum| (arm(stratum, self.shape.baseline), arm(stratum, candidate)))
            .collect();
        let fit = fit(&strata, 2 * of.gaps.len()).ok()?;
        let sides = fit.sides();
        // A unit's residual is that of its numerator, without what the covariates explain.
        let coefficients = |slot: usize| -> Vec<f64> {
            let scale = of.vectors.get(slot).map_or(0.0, |sums| sums.mean(1));
            std::iter::once(1.0).chain(fit.theta().iter().map(|theta| -scale * theta)).collect()
        };
        let products = of.crossings.iter().map(|((one, two), products)| {
            let (a, b) = (coefficients(*one), coefficients(*two));
            let pairs = a.iter().flat_map(|a| b.iter().map(move |b| a * b));
            ((*one, *two), pairs.zip(products).map(|(pair, product)| pair * product).sum())
        });
        let covariance = self.crossed(&sides, sums, candidate, products);
        let used = usable(&sides).len();
        let comparison = match metric.measure {
            Measure::Mean | Measure::Proportion if used == 1 => fit.of_means(self.level),
            _ => fit.comparison(covariance, self.level),
        };
        let comparison = comparison.ok().filter(|found| found.test.is_ok())?;
        let word = match metric.measure {
            Measure::Ratio => "ratio over units, delta method, adjusted by covariates (CUPED)",
            Measure::Proportion => "shares of units, adjusted by covariates (CUPED)",
            _ => "means per unit, adjusted by covariates (CUPED)",
        };
        let compared = Compared {
            candidate,
            sizes: sizes(&sides),
            comparison: Ok(comparison),
            method: method(word, used),
            strata: self.within(&sides),
            posteriors: None,
            score: None,
            adjusted: None,
        };
        let theta = fit.theta().iter().take(of.gaps.len()).copied().collect();
        let reduction = 1.0 - comparison.estimate.variance / before.estimate.variance;
        Some((compared, theta, reduction))
    }
}
