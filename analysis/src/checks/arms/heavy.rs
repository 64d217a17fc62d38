//! Heavy units: whether a few units carry a variant, and whether the heaviest are split as configured.
//!
//! Users with heavy tails are sound: they are in all variants alike, and the variance knows them. Bots and load tests are
//! not: many are in one variant, and they agree with each other.

use sidetrack_stats::float;

use super::{Arms, FEW};
use crate::check::{Check, CheckName, CheckState};
use crate::sums::Balance;

/// Below so many clusters, tests that are robust for clusters reject too often (Cameron and Miller, Journal of Human
/// Resources 2015); what counts is the effective number (Carter, Schnepel and Steigerwald, 2017).
const EFFECTIVE: f64 = 50.0;
/// A variant may have half as many heavy units again as its share, since it may change how often users return.
const UNEVEN: f64 = 1.5;
/// The probability of an uneven split by chance. The bound holds for any sizes, and daily looks for two weeks add up to
/// less than fourteen times this.
const SPLIT: f64 = 1e-4;

impl Arms<'_> {
    /// The effective number of units by their requests. Never blocks: heavy tails are no mistake.
    pub(super) fn effective(&self, balance: &Balance) -> Check {
        let weights = |arm: usize| balance.weights.get(arm).copied().unwrap_or_default();
        let arms = (0..self.shape.arms).filter(|arm| weights(*arm).units > 0);
        let least = arms.min_by(|a, b| weights(*a).effective().total_cmp(&weights(*b).effective()));
        let value = least.map(|arm| weights(arm).effective());
        let few = value.is_some_and(|value| value < EFFECTIVE)
            && least.is_some_and(|arm| weights(arm).units >= FEW);
        let message = match least {
            Some(arm) => {
                let weights = weights(arm);
                let (units, effective) = (weights.units, weights.effective());
                let name = self.name(arm);
                let mut message = format!(
                    "by their requests, the {units} units of {name} are worth {effective:.0} units of equal \
                     weight; the heaviest has {:.1} % of the requests",
                    100.0 * weights.share().unwrap_or_default()
                );
                if few {
                    message += ". Look for bots and tests, and for metrics per request prefer a \
                                metric per unit";
                }
                message
            }
            None => "no units".to_owned(),
        };
        let variants = self
            .by_variant(|arm| Some(weights(arm).effective()).filter(|effective| *effective > 0.0));
        let limits = (value, EFFECTIVE);
        let check = self.check(CheckName::EffectiveUnits, None, false, limits, variants, message);
        let state = if few { CheckState::Warning } else { check.state };
        Check { state, ..check }
    }

    /// Whether the heaviest units are split between the variants as configured. `is_uneven`: all units of a variant have
    /// more requests, which `requests_per_unit` reports; then it has more heavy ones as well, and this is a warning.
    pub(super) fn heavy(&self, balance: &Balance, is_uneven: bool) -> Check {
        let splits: Vec<Split> = (0..self.shape.arms).map(|arm| self.split(balance, arm)).collect();
        let all: u64 = splits.iter().map(|split| split.observed).sum();
        // Each variant is tested, in both directions.
        let p =
            |split: &Split| (split.p(float(all)) * 2.0 * float(self.shape.arms as u64)).min(1.0);
        let worst = splits.iter().min_by(|a, b| p(a).total_cmp(&p(b)));
        let failed = worst.filter(|split| split.is_uneven() && p(split) < SPLIT);
        let message = match failed {
            Some(split) => format!(
                "of the {all} heaviest units (more than {} requests each), {} has {}, and {:.0} are \
                 expected: units that visit one variant only, such as bots and load tests{}",
                self.sums.heavy,
                self.name(split.arm),
                split.observed,
                split.expected,
                if is_uneven {
                    ", or the variant makes all its units return more often"
                } else {
                    ""
                }
            ),
            None => "the heaviest units are split as configured".to_owned(),
        };
        let variants = self.by_variant(|arm| splits.get(arm).map(|split| float(split.observed)));
        let limits = (worst.map(p), SPLIT);
        let name = CheckName::HeavyUnits;
        let check = self.check(name, None, failed.is_some(), limits, variants, message);
        let state = if is_uneven && check.blocks() { CheckState::Warning } else { check.state };
        Check { state, ..check }
    }

    /// The heaviest units of a variant, and how many are expected by the shares of their phases.
    fn split(&self, balance: &Balance, arm: usize) -> Split {
        let mut split = Split { arm, observed: 0, expected: 0.0 };
        for (stratum, phase) in self.phases.iter().enumerate() {
            let of = |arm| balance.heavy.get(self.shape.slot(stratum, arm)).copied().unwrap_or(0);
            let all: u64 = (0..self.shape.arms).map(of).sum();
            split.observed += of(arm);
            split.expected += phase.shares.get(arm).copied().unwrap_or(0.0) * float(all);
        }
        split
    }
}

/// The heaviest units of a variant.
struct Split {
    arm: usize,
    observed: u64,
    expected: f64,
}

impl Split {
    fn is_uneven(&self) -> bool {
        let ratio = float(self.observed) / self.expected;
        !(1.0 / UNEVEN..=UNEVEN).contains(&ratio)
    }

    /// A bound of the probability of so many, of so many heavy units. A variant that has none and should have none is as
    /// it should be.
    fn p(&self, all: f64) -> f64 {
        chernoff(float(self.observed), self.expected, all)
    }
}

/// A bound of the probability of a count at least as far from what is expected, in its direction, of so many trials (Chernoff;
/// Hoeffding, 1963): `exp(−n KL)`. It holds for sums of trials with different shares as well.
pub(in crate::checks) fn chernoff(observed: f64, expected: f64, trials: f64) -> f64 {
    let term = |x: f64, e: f64| if x > 0.0 { x * (x / e).ln() } else { 0.0 };
    let rest = (trials - expected).max(f64::MIN_POSITIVE);
    (-term(observed, expected) - term(trials - observed, rest)).exp().min(1.0)
}

#[cfg(test)]
mod tests {
    use super::chernoff;

    #[test]
    fn the_bound_is_above_the_binomial_tail_and_of_its_order() {
        // Exact tails: P(X ≥ 20) of B(20, 1/2), P(X ≥ 25) and P(X ≤ 5) of B(30, 1/2), P(X ≥ 8) of B(30, 1/20).
        for (observed, expected, trials, tail) in [
            (20.0, 10.0, 20.0, 9.5367e-7),
            (25.0, 15.0, 30.0, 1.6246e-4),
            (5.0, 15.0, 30.0, 1.6246e-4),
            (8.0, 1.5, 30.0, 8.4647e-5),
        ] {
            let bound = chernoff(observed, expected, trials);
            assert!(
                bound >= tail && bound < 12.0 * tail,
                "{observed} of {trials}: {bound:e} {tail:e}"
            );
        }
        assert!((chernoff(15.0, 15.0, 30.0) - 1.0).abs() < 1e-12);
        assert_eq!(chernoff(0.0, 0.0, 0.0), 1.0);
    }
}
