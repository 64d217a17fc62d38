//! Who answered, and how: candidates that refuse requests, and candidates that serve none.
//!
//! A status of 300 to 499 does not count as an error. But if a candidate answers many more requests with one than the
//! baseline, the variants do not do the same work: such answers are quick and empty.

use sidetrack_stats::float;

use super::{Arms, Difference};
use crate::check::{Check, CheckName};
use crate::sums::Balance;

/// As many more points of the requests may end with a redirect or a 4xx: a variant may be stricter.
const MORE: f64 = 0.01;
/// The level of the test: a change of 4xx may be meant, so only what is certain blocks.
const CERTAIN: f64 = 1e-6;
/// A candidate that serves less than this share of its requests shows the effect of the others.
const SERVED: f64 = 0.01;

impl Arms<'_> {
    /// By stratum: the candidates that alone there answer clearly more requests with a redirect or a 4xx than the baseline.
    pub(crate) fn refusing(&self) -> Vec<Vec<usize>> {
        let within = |stratum: usize| {
            let all = self.differences(&self.sums.presence.refused_in(stratum, self.shape));
            all.into_iter().filter(|(_, found)| is_refusing(*found)).map(|(arm, _)| arm).collect()
        };
        (0..self.shape.strata).map(within).collect()
    }

    /// Whether a candidate answers clearly more requests with a redirect or a 4xx than the baseline.
    pub(super) fn client_errors(&self, balance: &Balance) -> Check {
        let all = self.differences(&balance.refused);
        let worst = all.iter().find(|(_, found)| is_refusing(*found));
        let largest = all.iter().map(|(_, found)| found.difference).max_by(f64::total_cmp);
        let value = worst.map(|(_, found)| found.difference).or(largest);
        let message = match worst {
            Some((arm, found)) => format!(
                "{} answers {:.1} points more of its requests with a status of 300 to 499 than the \
                 baseline (p < {CERTAIN:e}). Such answers are no errors and often quick: the variant \
                 lacks a path, a right or a field that its clients use, redirects them, or refuses more",
                self.name(*arm),
                found.difference * 100.0
            ),
            None => {
                "no variant answers clearly more requests with a status of 300 to 499 than the \
                     baseline"
                    .to_owned()
            }
        };
        let variants = self.by_variant(|arm| {
            let slots = (0..self.shape.strata).map(|stratum| self.shape.slot(stratum, arm));
            let sums = slots.filter_map(|slot| balance.refused.get(slot)).map(|pairs| {
                let (refused, requests) = pairs.means();
                (refused * float(pairs.count()), requests * float(pairs.count()))
            });
            let (refused, requests) = sums.fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
            (requests > 0.0).then(|| refused / requests)
        });
        let name = CheckName::ClientErrors;
        self.check(name, None, worst.is_some(), (value, MORE), variants, message)
    }

    /// Whether a candidate served hardly any of its requests itself. One that failed first, and whose requests were then
    /// sent to the baseline, was asked.
    pub(super) fn never_served(&self) -> Check {
        let served = |arm: usize| {
            let slots = (0..self.shape.strata).map(|stratum| self.shape.slot(stratum, arm));
            let totals = slots.filter_map(|slot| self.sums.totals.get(slot));
            let (requests, asked) = totals.fold((0, 0), |(requests, asked), totals| {
                (requests + totals.requests, asked + totals.asked())
            });
            (requests > 0).then_some((asked, requests))
        };
        let share = |(asked, requests): (u64, u64)| float(asked) / float(requests);
        let candidates = self.shape.candidates();
        let asked = candidates.filter_map(|arm| Some((arm, served(arm)?)));
        let least = asked.min_by(|a, b| share(a.1).total_cmp(&share(b.1)));
        let failed = least.filter(|(_, counts)| share(*counts) < SERVED);
        let message = match failed {
            Some((arm, (own, requests))) => format!(
                "{} was assigned {requests} requests and asked for {own} of them: another variant \
                 answered the others, so its numbers say nothing of it. Is its route or its cluster \
                 missing, or was its breaker open all the time?",
                self.name(arm)
            ),
            None => "every candidate with requests serves some itself".to_owned(),
        };
        let variants = self.by_variant(|arm| served(arm).map(share));
        let value = least.map(|(_, counts)| share(counts));
        let name = CheckName::NeverServed;
        self.check(name, None, failed.is_some(), (value, SERVED), variants, message)
    }
}

const fn is_refusing(found: Difference) -> bool {
    found.difference > MORE && found.p < CERTAIN
}
