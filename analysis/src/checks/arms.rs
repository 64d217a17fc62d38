//! Checks by variant: are the data of the variants equally complete?
//!
//! A variant whose lines or labels are lost more often than the others' shows an effect that is none. These checks hold at
//! every look: their p-values are always valid, and the one by day shares its level among the days. docs/analysis.md gives
//! the limits and their reasons.

mod coverage;
mod failed;
mod heavy;
mod served;

pub(super) use heavy::chernoff;

use std::collections::BTreeMap;

use sidetrack_stats::accumulate::{Moments, Pairs};
use sidetrack_stats::float;
use sidetrack_stats::input::Fraction;
use sidetrack_stats::result::Estimate;
use sidetrack_stats::sequential::ConfidenceSequence;
use sidetrack_stats::srm::{Counts, Shares};

use crate::check::{Check, CheckName, CheckState};
use crate::join::Shape;
use crate::metric::Metric;
use crate::phases::Phase;
use crate::sums::{Balance, Sums};

/// The level of each check by variant: all of them together raise less than one false alarm in a hundred experiments.
const LEVEL: f64 = 0.001;
/// The level of the check by day, shared among the days so far: a daily look for two weeks adds up to three times this.
const DAILY: f64 = 0.0005;
/// Requests per unit may differ by so much: a variant may change how often its users return.
const RETURNS: f64 = 0.02;
/// As many units assigned to two variants are a sign of two salts, or of two files.
const TORN: f64 = 0.01;
/// Below, a variant decides nothing anyway.
const FEW: u64 = 100;
/// Expected units of a variant on a day, for the chi-square test far in its tail.
const EXPECTED: f64 = 50.0;

/// What is compared.
pub(crate) struct Arms<'a> {
    pub(crate) sums: &'a Sums,
    pub(crate) shape: Shape,
    pub(crate) phases: &'a [Phase],
    pub(crate) names: &'a [&'a str],
    pub(crate) metrics: &'a [Metric],
    pub(crate) by_request: bool,
    /// The number of units around which the tests are sharpest.
    pub(crate) planned: u64,
}

/// The difference of a candidate from the baseline.
#[derive(Clone, Copy)]
pub(super) struct Difference {
    difference: f64,
    error: f64,
    pub(super) p: f64,
}

impl Arms<'_> {
    /// All checks by variant.
    pub(crate) fn checks(&self) -> Vec<Check> {
        let balance = &self.sums.balance;
        let requests = self.requests(balance);
        let is_uneven = requests.blocks();
        let mut checks = vec![requests];
        checks.extend(self.coverage(balance));
        checks.push(self.days(balance));
        checks.push(self.failed(balance));
        checks.push(self.client_errors(balance));
        checks.push(self.never_served());
        checks.push(self.effective(balance));
        checks.push(self.heavy(balance, is_uneven));
        checks.push(self.torn());
        checks.extend(self.skewness());
        checks.extend(self.covariates());
        checks
    }

    /// Requests per unit, on a logarithmic scale: a few heavy units must not hide or make a difference.
    fn requests(&self, balance: &Balance) -> Check {
        let worst = self.worst(&requests(balance));
        let ratio = worst.map(|(_, found)| found.difference.exp());
        let beyond = ratio.is_some_and(|ratio| (ratio - 1.0).abs() > RETURNS);
        let failed = beyond && worst.is_some_and(|(_, found)| found.p < LEVEL);
        let variants = self.by_variant(|arm| {
            let weights = balance.weights.get(arm)?;
            (weights.units > 0).then(|| float(weights.sum) / float(weights.units))
        });
        let message = match (failed, worst, ratio) {
            (true, Some((arm, _)), Some(ratio)) => format!(
                "requests per unit differ: {} has {:.1} % {} than the baseline (p < {LEVEL}). Lines of \
                 a variant are missing, or the variant changes how often its units return",
                self.name(arm),
                (ratio - 1.0).abs() * 100.0,
                if ratio < 1.0 { "fewer" } else { "more" }
            ),
            _ => "requests per unit do not differ by more than 2 %".to_owned(),
        };
        let value = ratio.map(|ratio| (ratio - 1.0).abs());
        self.check(CheckName::RequestsPerUnit, None, failed, (value, RETURNS), variants, message)
    }

    /// New units of each day against the shares of their phase.
    fn days(&self, balance: &Balance) -> Check {
        let mut tests = 0;
        let mut worst: Option<(u64, f64)> = None;
        for (day, counts) in &balance.days {
            for (stratum, phase) in self.phases.iter().enumerate() {
                let slots = (0..self.shape.arms).map(|arm| self.shape.slot(stratum, arm));
                let counts: Vec<u64> =
                    slots.map(|slot| counts.get(slot).copied().unwrap_or(0)).collect();
                let all: u64 = counts.iter().sum();
                let shares = phase.shares.iter().filter(|share| **share > 0.0);
                if shares.clone().any(|share| share * float(all) < EXPECTED) {
                    continue;
                }
                let tested =
                    Shares::new(&phase.shares).and_then(|shares| Counts::new(&shares, &counts));
                let Ok(tested) = tested else { continue };
                tests += 1;
                let p = tested.test().p.get();
                if worst.is_none_or(|(_, smallest)| p < smallest) {
                    worst = Some((*day, p));
                }
            }
        }
        let adjusted = worst.map(|(_, p)| p * float(tests));
        let failed = adjusted.is_some_and(|p| p < DAILY);
        let message = match worst.filter(|_| failed) {
            Some((day, p)) => format!(
                "the new units of {} are not split as configured (p = {p:.1e}): lines of a variant \
                 are missing on that day",
                date(day)
            ),
            None => "the new units of each day are split as configured".to_owned(),
        };
        let limits = (adjusted.map(|p| p.min(1.0)), DAILY);
        self.check(CheckName::UnitsPerDay, None, failed, limits, BTreeMap::new(), message)
    }

    /// Units that were assigned to two variants under the same weights.
    fn torn(&self) -> Check {
        let units: u64 = self.sums.firsts.iter().sum();
        let share = super::share(self.sums.torn, units.saturating_sub(self.sums.torn));
        let failed = share > TORN && units >= FEW;
        let message = format!(
            "{} of {units} units ({:.2} %) were assigned to two variants within one phase",
            self.sums.torn,
            share * 100.0
        );
        let limits = (Some(share), TORN);
        self.check(CheckName::TornUnits, None, failed, limits, BTreeMap::new(), message)
    }

    /// The candidate whose ratio differs most surely from the baseline's: strata compared separately and merged.
    pub(super) fn worst(&self, pairs: &[Pairs]) -> Option<(usize, Difference)> {
        self.differences(pairs).into_iter().next()
    }

    /// Every candidate's difference from the baseline, the surest one first.
    fn differences(&self, pairs: &[Pairs]) -> Vec<(usize, Difference)> {
        let candidates = self.shape.candidates();
        let mut found: Vec<(usize, Difference)> =
            candidates.filter_map(|arm| Some((arm, self.compare(pairs, arm)?))).collect();
        found.sort_by(|a, b| a.1.p.total_cmp(&b.1.p));
        found
    }

    fn compare(&self, pairs: &[Pairs], arm: usize) -> Option<Difference> {
        let (mut sum, mut variance, mut weights, mut units) = (0.0, 0.0, 0.0, 0);
        for stratum in 0..self.shape.strata {
            let of = |arm| pairs.get(self.shape.slot(stratum, arm)).copied().unwrap_or_default();
            let (one, two) = (of(self.shape.baseline), of(arm));
            let mut both = one;
            both.merge(&two);
            let (a, b) = (float(one.count()), float(two.count()));
            let ratio = |pairs: &Pairs| pairs.means().0 / pairs.means().1;
            if one.count() < 2 || two.count() < 2 || one.means().1 <= 0.0 || two.means().1 <= 0.0 {
                continue;
            }
            // Under equality all units have one ratio and one variance, so a small variant borrows the other's.
            let (r, x) = (ratio(&both), both.means().1);
            let (vy, vx) = both.variances();
            let residual = (vy - 2.0 * r * both.covariance() + r * r * vx).max(0.0) / (x * x);
            let weight = a * b / (a + b);
            sum += weight * (ratio(&two) - ratio(&one));
            variance += weight * weight * residual * (1.0 / a + 1.0 / b);
            weights += weight;
            units += one.count() + two.count();
        }
        if weights <= 0.0 {
            return None;
        }
        let difference = sum / weights;
        let estimate = Estimate { difference, variance: variance / (weights * weights), df: None };
        let level = Fraction::new(LEVEL).ok()?;
        let sequence = ConfidenceSequence::new(self.planned.max(FEW), level).ok()?;
        // Each candidate is tested, at its part of the level.
        let candidates = float(self.shape.candidates().count() as u64);
        let p = sequence.p_value(estimate, units).map_or(1.0, |p| (p.get() * candidates).min(1.0));
        Some(Difference { difference, error: estimate.se(), p })
    }

    fn name(&self, arm: usize) -> &str {
        self.names.get(arm).copied().unwrap_or("?")
    }

    pub(super) fn by_variant(&self, value: impl Fn(usize) -> Option<f64>) -> BTreeMap<String, f64> {
        let values =
            (0..self.shape.arms).filter_map(|arm| Some((self.name(arm).to_owned(), value(arm)?)));
        values.collect()
    }

    fn check(
        &self,
        name: CheckName,
        subject: Option<String>,
        failed: bool,
        (value, limit): (Option<f64>, f64),
        variants: BTreeMap<String, f64>,
        message: String,
    ) -> Check {
        let state = if failed { CheckState::Blocking } else { CheckState::Ok };
        Check { name, state, subject, value, limit, variants, message }
    }
}

/// The logarithms of requests by slot, as numerators of units.
fn requests(balance: &Balance) -> Vec<Pairs> {
    let pairs = |moments: &Moments| {
        let (means, variances) = ((moments.mean(), 1.0), (moments.variance(), 0.0));
        Pairs::of_summary(moments.count(), means, variances, 0.0).unwrap_or_default()
    };
    balance.requests.iter().map(pairs).collect()
}

/// A day since 1970 as a date.
fn date(day: u64) -> String {
    let time = sidetrack::quantity::Timestamp::new(day * 86_400_000).to_string();
    time.split('T').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests;
