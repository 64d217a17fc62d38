//! Failed requests: whether the lines of a variant's failures were lost.
//!
//! Such a loss is invisible in the split and hardly visible in the number of requests per unit, but it makes a variant
//! look free of errors: filters of logs by status, and samplers, lose just these lines. A variant that really fails less
//! looks alike. Two facts tell them apart: how much less it fails, and whether its requests are all there.
//!
//! - A candidate with less than an eighth of the baseline's failures is stopped, unless its requests per unit show that
//!   no line is missing. Few candidates repair so much, and a wrong promotion would rest on it. Of candidates that really
//!   have an eighth of the failures or more, at most [`RARE`] are stopped.
//! - A baseline with so few failures beside a candidate's is what a faulty candidate looks like, so it stops the analysis
//!   only if its requests per unit show the loss.

use sidetrack_stats::float;

use super::{Arms, requests};
use crate::check::{Check, CheckName, CheckState};
use crate::sums::Balance;

/// The probability of as few failures if the variants failed equally often: a smaller one is worth a warning.
const UNEQUAL: f64 = 1e-6;
/// What part of the other variant's failures a variant may really have,
const PART: f64 = 0.125;
/// and the probability of as few failures with that part, below which its lines are taken for lost.
const RARE: f64 = 0.001;
/// Requests per unit that are so many standard errors above what the loss would leave refute it.
const REFUTED: f64 = 3.0;
/// A likelihood ratio of loss against none above this: without a loss, a thousandth of all experiments ever reach it,
/// however often they are looked at (Ville's inequality).
const LIKELY: f64 = 1000.0;

/// A variant with hardly any failure beside another one.
struct Spotless {
    arm: usize,
    /// The variant that it is compared with.
    other: usize,
    /// Units with a failure: its own, and the other's.
    failing: [u64; 2],
    /// The probability of as few, if both failed equally often.
    p: f64,
    lost: bool,
}

impl Arms<'_> {
    /// Whether a variant has hardly any failed request although another one has many.
    pub(super) fn failed(&self, balance: &Balance) -> Check {
        let baseline = self.shape.baseline;
        let pairs = self.shape.candidates().flat_map(|arm| [(arm, baseline), (baseline, arm)]);
        let found: Vec<Spotless> =
            pairs.map(|(arm, other)| self.spotless(balance, arm, other)).collect();
        let worst = found.iter().min_by(|a, b| b.lost.cmp(&a.lost).then(a.p.total_cmp(&b.p)));
        let unequal = worst.filter(|found| found.p < UNEQUAL);
        let message = match unequal {
            Some(found) => {
                let [own, others] = found.failing;
                let what = match own {
                    0 => "no failed request".to_owned(),
                    1 => "a failed request in 1 unit".to_owned(),
                    own => format!("failed requests in {own} units"),
                };
                let cause = if found.arm == baseline {
                    format!("or {} really fails", self.name(found.other))
                } else {
                    "or the variant really fails less".to_owned()
                };
                format!(
                    "{} has {what}, and {others} units of {} have some (p < {UNEQUAL:e}). Lines of \
                     failed requests are missing (a filter by status, a sampler), {cause}",
                    self.name(found.arm),
                    self.name(found.other),
                )
            }
            None => "no variant lacks the failed requests that another one has".to_owned(),
        };
        let variants = self.by_variant(|arm| {
            let (failing, units) = self.failing(balance, arm);
            (units > 0).then(|| float(failing) / float(units))
        });
        let limits = (worst.map(|found| found.p), UNEQUAL);
        let lost = unequal.is_some_and(|found| found.lost);
        let check = self.check(CheckName::FailedLines, None, lost, limits, variants, message);
        let is_warning = unequal.is_some() && !lost;
        Check { state: if is_warning { CheckState::Warning } else { check.state }, ..check }
    }

    /// Units with a failure, and all units.
    fn failing(&self, balance: &Balance, arm: usize) -> (u64, u64) {
        let slots = (0..self.shape.strata).map(|stratum| self.shape.slot(stratum, arm));
        slots.fold((0, 0), |(failing, units), slot| {
            let of = |counts: &[u64]| counts.get(slot).copied().unwrap_or(0);
            (failing + of(&balance.failing), units + of(&self.sums.firsts))
        })
    }

    fn spotless(&self, balance: &Balance, arm: usize, other: usize) -> Spotless {
        let failing = [arm, other].map(|arm| self.failing(balance, arm).0);
        let p = self.as_few(balance, arm, other, 1.0);
        let rare = p < UNEQUAL && self.as_few(balance, arm, other, PART) < RARE;
        let lost = rare
            && if arm == self.shape.baseline {
                self.shows_loss(balance, other)
            } else {
                !self.has_all_requests(balance, arm)
            };
        Spotless { arm, other, failing, p, lost }
    }

    /// The probability of as few failing units, if the variant has this part of the other's rate. Given all failing
    /// units of a phase, its own are binomial, or less spread. Of phases with different shares, the binomial distribution
    /// with their mean has the larger tail (Hoeffding, 1956).
    fn as_few(&self, balance: &Balance, arm: usize, other: usize, part: f64) -> f64 {
        let (mut own, mut all, mut expected) = (0, 0, 0.0);
        for stratum in 0..self.shape.strata {
            let slots = [arm, other].map(|arm| self.shape.slot(stratum, arm));
            let of = |counts: &[u64], slot: usize| counts.get(slot).copied().unwrap_or(0);
            let [units, others] = slots.map(|slot| float(of(&self.sums.firsts, slot)));
            let [few, many] = slots.map(|slot| of(&balance.failing, slot));
            if units <= 0.0 || others <= 0.0 {
                continue;
            }
            own += few;
            all += few + many;
            expected += float(few + many) * part * units / (part * units + others);
        }
        binomial_tail(own, all, expected)
    }

    /// The logarithm by which the requests per unit of a candidate differ from the baseline's, and its standard error.
    fn difference_of_requests(&self, balance: &Balance, candidate: usize) -> Option<(f64, f64)> {
        let found = self.compare(&requests(balance), candidate)?;
        (found.error > 0.0).then_some((found.difference, found.error))
    }

    /// The share of the requests of a variant that failed, as the logarithm that losing them takes from its requests.
    fn loss(&self, arm: usize) -> f64 {
        let (mut failed, mut all) = (0, 0);
        for stratum in 0..self.shape.strata {
            let slot = self.shape.slot(stratum, arm);
            let Some(totals) = self.sums.totals.get(slot) else { continue };
            failed += totals.failed;
            all += totals.requests;
        }
        if all == 0 { 0.0 } else { (-(-float(failed) / float(all)).ln_1p()).max(0.0) }
    }

    /// Whether the candidate has more requests per unit than it could have without its failed ones.
    fn has_all_requests(&self, balance: &Balance, arm: usize) -> bool {
        let loss = self.loss(self.shape.baseline);
        self.difference_of_requests(balance, arm)
            .is_some_and(|(difference, error)| difference + loss > REFUTED * error)
    }

    /// Whether the baseline has fewer requests per unit than the candidate, by what the candidate's failed ones are.
    fn shows_loss(&self, balance: &Balance, candidate: usize) -> bool {
        let loss = self.loss(candidate);
        self.difference_of_requests(balance, candidate).is_some_and(|(difference, error)| {
            let log_ratio = loss * (2.0 * difference - loss) / (2.0 * error * error);
            log_ratio > LIKELY.ln()
        })
    }
}

/// The probability of at most so many of `all` trials, of which `expected` succeed on average.
fn binomial_tail(observed: u64, all: u64, expected: f64) -> f64 {
    let trials = float(all);
    if all == 0 || float(observed) >= expected - 1.0 && observed > 0 || expected >= trials {
        return 1.0;
    }
    let p = expected / trials;
    let odds = p.ln() - (-p).ln_1p();
    let mut term = trials * (-p).ln_1p();
    let mut terms = vec![term];
    for k in 0..observed {
        term += (float(all - k) / float(k + 1)).ln() + odds;
        terms.push(term);
    }
    // The last terms are the largest.
    let largest = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = terms.iter().map(|term| (term - largest).exp()).sum();
    (largest.exp() * sum).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::binomial_tail;

    #[test]
    fn the_tail_is_that_of_the_binomial_distribution() {
        // scipy.stats.binom.cdf(k, n, p)
        for (observed, all, p, wanted) in [
            (0, 20, 0.5, 9.5367e-7),
            (1, 98, 1.0 / 9.0, 1.286_08e-4),
            (3, 60, 0.2, 1.013_46e-3),
            (400, 1000, 0.5, 1.3642e-10),
        ] {
            let found = binomial_tail(observed, all, float(all) * p);
            assert!((found / wanted - 1.0).abs() < 1e-3, "{observed} of {all}: {found:e}");
        }
        assert_eq!(binomial_tail(0, 0, 0.0), 1.0);
        assert_eq!(binomial_tail(50, 100, 50.0), 1.0);
        assert!(binomial_tail(0, 10, 0.0) > 0.99);
    }

    fn float(number: u64) -> f64 {
        sidetrack_stats::float(number)
    }
}
