//! Failed requests: whether the lines of a candidate's failures were lost.
//!
//! Such a loss is invisible in the split and hardly visible in the number of requests per unit, but it makes the candidate
//! look free of errors: filters of logs by status, and samplers, lose just these lines.

use sidetrack_stats::float;

use super::{Arms, requests};
use crate::check::{Check, CheckName};
use crate::sums::Balance;

/// The probability that no unit of a candidate has a failure, if as many have one as of the baseline.
const NONE: f64 = 1e-6;
/// Requests per unit that are so many standard errors above what the loss would leave refute it.
const REFUTED: f64 = 3.0;

/// A candidate without failures.
struct Spotless {
    arm: usize,
    /// Units of the baseline with a failure.
    failing: u64,
    /// The probability of none in the candidate.
    p: f64,
}

impl Arms<'_> {
    /// Whether a candidate has no failed request at all, although many would be expected.
    pub(super) fn failed(&self, balance: &Balance) -> Check {
        let spotless = self.shape.candidates().filter_map(|arm| self.spotless(balance, arm));
        let worst = spotless.min_by(|a, b| a.p.total_cmp(&b.p));
        let failed = worst
            .as_ref()
            .filter(|found| found.p < NONE && !self.has_all_requests(balance, found.arm));
        let message = match failed {
            Some(found) => format!(
                "{} has no failed request, although {} units of the baseline have one (p < {NONE:e}). \
                 Lines of failed requests are missing (a filter by status, a sampler), or the \
                 variant really has none",
                self.name(found.arm),
                found.failing
            ),
            None => "no variant lacks the failed requests that the baseline has".to_owned(),
        };
        let variants = self.by_variant(|arm| {
            let (failing, units) = self.failing(balance, arm);
            (units > 0).then(|| float(failing) / float(units))
        });
        let limits = (worst.as_ref().map(|found| found.p), NONE);
        self.check(CheckName::FailedLines, None, failed.is_some(), limits, variants, message)
    }

    /// Units with a failure, and all units.
    fn failing(&self, balance: &Balance, arm: usize) -> (u64, u64) {
        let slots = (0..self.shape.strata).map(|stratum| self.shape.slot(stratum, arm));
        slots.fold((0, 0), |(failing, units), slot| {
            let of = |counts: &[u64]| counts.get(slot).copied().unwrap_or(0);
            (failing + of(&balance.failing), units + of(&self.sums.firsts))
        })
    }

    /// A candidate without failures. By Fisher's exact test within each stratum: which units fail is a draw without
    /// replacement.
    fn spotless(&self, balance: &Balance, arm: usize) -> Option<Spotless> {
        if self.failing(balance, arm).0 > 0 {
            return None;
        }
        let (mut failing, mut ln) = (0, 0.0);
        for stratum in 0..self.shape.strata {
            let slots = [self.shape.baseline, arm].map(|arm| self.shape.slot(stratum, arm));
            let of = |counts: &[u64], slot: usize| counts.get(slot).copied().unwrap_or(0);
            let [baseline, candidate] = slots.map(|slot| of(&self.sums.firsts, slot));
            let among = of(&balance.failing, slots[0]);
            failing += among;
            for drawn in 0..among {
                ln += (float(baseline - drawn) / float(baseline + candidate - drawn)).ln();
            }
        }
        (failing > 0).then(|| Spotless { arm, failing, p: ln.exp() })
    }

    /// Whether the candidate has more requests per unit than it could have without its failed ones.
    fn has_all_requests(&self, balance: &Balance, arm: usize) -> bool {
        let (mut failed, mut all) = (0, 0);
        for stratum in 0..self.shape.strata {
            let slot = self.shape.slot(stratum, self.shape.baseline);
            let Some(totals) = self.sums.totals.get(slot) else { continue };
            failed += totals.failed;
            all += totals.requests;
        }
        let lost = if all == 0 { 0.0 } else { float(failed) / float(all) };
        let found = self.compare(&requests(balance), arm);
        found.is_some_and(|found| found.difference - (-lost).ln_1p() > REFUTED * found.error)
    }
}
