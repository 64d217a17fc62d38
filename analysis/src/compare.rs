//! Comparisons of each candidate with the baseline: stratum by stratum, then merged.
//!
//! The unit of analysis is the unit of randomization. Metrics per request are ratios of sums over units (the delta method),
//! so a user with a thousand requests is one user. A unit in several strata counts in each, as it was assigned there, and
//! the variance accounts for it being the same unit. Without units, each request is taken as one.

mod adjusted;
mod by_request;
mod order;
mod quantile;
mod scored;

pub(crate) use adjusted::Adjusted;
pub(crate) use scored::Scored;

use sidetrack_stats::accumulate::Pairs;
use sidetrack_stats::distribution::beta::Beta;
use sidetrack_stats::input::{Fraction, Proportion};
use sidetrack_stats::result::{Comparison, Undefined};
use sidetrack_stats::score::Score;
use sidetrack_stats::strata::{self, Side};
use sidetrack_stats::{float, means, ratio};

use crate::join::{Shape, Totals};
use crate::metric::{Measure, Metric};
use crate::sums::{MetricSums, Sums};

/// The sums to compare.
pub(crate) struct Data<'d> {
    pub(crate) sums: &'d Sums,
    pub(crate) shape: Shape,
    /// Whether units are compared.
    pub(crate) units: bool,
    pub(crate) level: Fraction,
}

/// A candidate against the baseline in one metric.
#[derive(Clone, Debug)]
pub(crate) struct Compared {
    pub(crate) candidate: usize,
    /// Units behind the baseline's and the candidate's value.
    pub(crate) sizes: (u64, u64),
    pub(crate) comparison: Result<Comparison, Undefined>,
    /// What was computed, in words.
    pub(crate) method: String,
    /// The same within each stratum that has both.
    pub(crate) strata: Vec<Within>,
    /// What is known of both shares, if there is one stratum of shares.
    pub(crate) posteriors: Option<(Beta, Beta)>,
    /// Of shares and quantiles: the test and the intervals, for any number of looks.
    pub(crate) score: Option<Scored>,
    /// If covariates adjusted it.
    pub(crate) adjusted: Option<Adjusted>,
}

/// A comparison within one stratum.
#[derive(Clone, Debug)]
pub(crate) struct Within {
    pub(crate) stratum: usize,
    /// Units behind the baseline's and the candidate's value.
    pub(crate) sizes: (u64, u64),
    pub(crate) comparison: Comparison,
    pub(crate) score: Option<Scored>,
}

impl Data<'_> {
    /// Compares every candidate in a metric, given its sums.
    pub(crate) fn compare(&self, metric: &Metric, sums: &MetricSums) -> Vec<Compared> {
        let compare = |candidate| match metric.measure {
            Measure::Quantile(share) => self.quantile(candidate, share),
            _ if self.units => {
                let plain = self.by_unit(metric, sums, candidate);
                self.adjusted(metric, sums, candidate, plain)
            }
            _ => self.by_request(metric, candidate),
        };
        self.shape.candidates().map(compare).collect()
    }

    fn totals(&self, stratum: usize, arm: usize) -> Option<&Totals> {
        self.sums.totals.get(self.shape.slot(stratum, arm))
    }

    /// Both arms in each stratum.
    pub(crate) fn arms(&self, pairs: &[Pairs], candidate: usize) -> Vec<(Pairs, Pairs)> {
        let arm = |stratum: usize, arm: usize| {
            pairs.get(self.shape.slot(stratum, arm)).copied().unwrap_or_default()
        };
        (0..self.shape.strata)
            .map(|stratum| (arm(stratum, self.shape.baseline), arm(stratum, candidate)))
            .collect()
    }

    /// Both sides in each stratum; a side that cannot be judged has no units.
    pub(crate) fn sides(&self, pairs: &[Pairs], candidate: usize) -> Vec<(Side, Side)> {
        let side = |pairs: &Pairs, floor: f64| {
            ratio::ratio(pairs).map_or(EMPTY, |found| Side {
                value: found.value,
                variance: found.variance.max(floor),
                units: pairs.count(),
            })
        };
        let both = |(one, two): &(Pairs, Pairs)| {
            let floors = ratio::common_variances(one, two);
            (side(one, floors.0), side(two, floors.1))
        };
        self.arms(pairs, candidate).iter().map(both).collect()
    }

    /// The scores of a metric whose values are shares; `None` for other metrics.
    pub(crate) fn score(
        &self,
        metric: &Metric,
        arms: &[(Pairs, Pairs)],
        stretch: f64,
    ) -> Option<Result<Score, Undefined>> {
        let usable = |(one, two): &&(Pairs, Pairs)| one.count().min(two.count()) > 1;
        match metric.measure {
            Measure::Proportion => {
                let shares = arms.iter().filter(usable);
                let shares = shares.filter_map(|(one, two)| share_of(one).zip(share_of(two)));
                Some(Score::of_shares(&shares.collect::<Vec<_>>(), stretch))
            }
            // Values beyond 0 to 1 are no shares, whatever the name says.
            Measure::Ratio if metric.is_share() => match Score::of_ratios(arms, stretch) {
                Err(Undefined::ZeroBaseline) => None,
                score => Some(score),
            },
            _ => None,
        }
    }

    fn by_unit(&self, metric: &Metric, sums: &MetricSums, candidate: usize) -> Compared {
        let arms = self.arms(&sums.pairs, candidate);
        let sides = self.sides(&sums.pairs, candidate);
        let used = usable(&sides);
        let covariance = self.covariance(&sides, sums, candidate);
        let scored = self.score(metric, &arms, stretch(&arms, covariance));
        let (comparison, word) = match (&scored, metric.measure, used.as_slice()) {
            (Some(score), measure, _) => (
                score.as_ref().map(|score| score.comparison(self.level)).map_err(|why| *why),
                if measure == Measure::Proportion {
                    "score test of shares of units"
                } else {
                    "score test of shares over units, design effect"
                },
            ),
            (None, Measure::Mean, &[stratum]) => {
                let (one, two) = arms.get(stratum).copied().unwrap_or_default();
                means_of(&one, &two, self.level)
            }
            (None, Measure::Ratio, _) => {
                (strata::merge(&sides, covariance, self.level), "ratio over units, delta method")
            }
            _ => (strata::merge(&sides, covariance, self.level), "means per unit"),
        };
        // A single stratum whose units are in no other one is the whole.
        let whole = scored.as_ref().and_then(|score| score.as_ref().ok());
        let whole = whole.filter(|_| used.len() == 1 && covariance == 0.0).zip(comparison.ok());
        let within = |within: Within| {
            if let Some((score, comparison)) = whole {
                return Within { comparison, score: Some(Scored::Shares(score.clone())), ..within };
            }
            let own = arms.get(within.stratum..=within.stratum).unwrap_or_default();
            within.scored(self.score(metric, own, 1.0).and_then(Result::ok), self.level)
        };
        Compared {
            candidate,
            sizes: sizes(&sides),
            comparison,
            method: method(word, used.len()),
            strata: self.within(&sides).into_iter().map(within).collect(),
            posteriors: scored.as_ref().and_then(|score| score.as_ref().ok()?.posteriors()),
            score: scored.and_then(Result::ok).map(Scored::Shares),
            adjusted: None,
        }
    }

    /// The comparison within each stratum that has both sides.
    fn within(&self, sides: &[(Side, Side)]) -> Vec<Within> {
        let within = usable(sides).into_iter().filter_map(|stratum| {
            let sides = *sides.get(stratum)?;
            let compared = strata::merge(&[sides], 0.0, self.level).ok()?;
            let sizes = (sides.0.units, sides.1.units);
            Some(Within { stratum, sizes, comparison: compared, score: None })
        });
        within.collect()
    }

    /// What units in several strata add to the variance of the merged difference: twice the sum, over pairs of slots, of
    /// both weights and the product of the residuals.
    fn covariance(&self, sides: &[(Side, Side)], sums: &MetricSums, candidate: usize) -> f64 {
        let products = sums.crossings.iter().map(|(slots, product)| (*slots, *product));
        self.crossed(sides, sums, candidate, products)
    }

    /// The same, given the products.
    fn crossed(
        &self,
        sides: &[(Side, Side)],
        sums: &MetricSums,
        candidate: usize,
        products: impl Iterator<Item = ((usize, usize), f64)>,
    ) -> f64 {
        let sizes: Vec<(u64, u64)> =
            sides.iter().map(|(one, two)| (one.units, two.units)).collect();
        let weights = strata::weights(&sizes);
        // How far a residual of one in a slot moves the merged difference.
        let pull = |slot: usize| -> Option<f64> {
            let (stratum, arm) = (slot / self.shape.arms, slot % self.shape.arms);
            let weight = weights.get(stratum).copied().filter(|weight| *weight > 0.0)?;
            let sign = match arm {
                _ if arm == self.shape.baseline => -1.0,
                _ if arm == candidate => 1.0,
                _ => return None,
            };
            let pairs = sums.pairs.get(slot)?;
            Some(sign * weight / (pairs.means().1 * float(pairs.count())))
        };
        products
            .filter_map(|((one, two), product)| Some(2.0 * pull(one)? * pull(two)? * product))
            .sum()
    }

    /// Units with a response, by slot; requests with a response if there are no units.
    fn sizes_by_slot(&self) -> Vec<u64> {
        if self.units {
            return self.sums.answered.clone();
        }
        self.sums.totals.iter().map(|totals| totals.requests - totals.aborted).collect()
    }
}

impl Within {
    /// The same by a score, if there is one.
    fn scored(self, score: Option<Score>, level: Fraction) -> Self {
        let Some(score) = score else { return self };
        let comparison = score.comparison(level);
        Self { comparison, score: Some(Scored::Shares(score)), ..self }
    }
}

/// A side without data.
pub(crate) const EMPTY: Side = Side { value: 0.0, variance: 0.0, units: 0 };

/// Strata that have units of both.
fn usable(sides: &[(Side, Side)]) -> Vec<usize> {
    let both = |(_, (one, two)): &(usize, &(Side, Side))| one.units > 0 && two.units > 0;
    sides.iter().enumerate().filter(both).map(|(stratum, _)| stratum).collect()
}

fn sizes(sides: &[(Side, Side)]) -> (u64, u64) {
    sides.iter().fold((0, 0), |sums, (one, two)| (sums.0 + one.units, sums.1 + two.units))
}

/// The comparison of both means, and what was computed.
fn means_of(
    one: &Pairs,
    two: &Pairs,
    level: Fraction,
) -> (Result<Comparison, Undefined>, &'static str) {
    let (Ok(one), Ok(two)) = (one.first().sample(), two.first().sample()) else {
        return (Err(Undefined::TooFew), "means per unit");
    };
    let word = if means::is_pooled(one, two) {
        "t test of means per unit with the common variance"
    } else {
        "Welch's t test of means per unit"
    };
    (Ok(means::compare(one, two, level)), word)
}

/// How many times larger this covariance of units in several strata makes the variance of the merged difference.
fn stretch(arms: &[(Pairs, Pairs)], covariance: f64) -> f64 {
    let variances = arms.iter().map(|(one, two)| {
        let variance = ratio::ratio(one).ok()?.variance + ratio::ratio(two).ok()?.variance;
        Some(((one.count(), two.count()), variance))
    });
    let (sizes, variances): (Vec<_>, Vec<f64>) = variances.flatten().unzip();
    let weights = strata::weights(&sizes);
    let apart: f64 = weights.iter().zip(variances).map(|(weight, v)| weight * weight * v).sum();
    if apart > 0.0 { 1.0 + covariance / apart } else { 1.0 }
}

fn method(word: &str, strata: usize) -> String {
    if strata > 1 {
        format!("{word}, {strata} phases compared separately and merged")
    } else {
        word.to_owned()
    }
}

/// Units with a success, of all units: from pairs of 0 or 1 and 1.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a count"
)]
fn share_of(pairs: &Pairs) -> Option<Proportion> {
    let n = pairs.count();
    Proportion::new((pairs.means().0 * n as f64).round() as u64, n).ok()
}

#[cfg(test)]
mod tests;
