//! The judgment of a candidate: the streak or the rate that opens its breaker, unless its baseline
//! has the same fault.

use super::units::Units;
use super::{Breaker, Counts, Kind, Rule, Why};
use crate::quantity::{Millis, Ppm, Timestamp};

/// How old a failure must be to count in a streak that all workers share: by then all of them have
/// had a tick, and have reported their successes before it.
const SETTLED_AFTER: Millis = Millis::new(200);

/// How long a streak waits for an outcome of the baseline, unless it grows to [`LONG`] before. This
/// is enough for a baseline that gets one request in ten to show that it shares the outage.
const WAIT_FOR_BASELINE: Millis = Millis::new(3000);

/// The multiple of `consecutive` from which a streak opens the breaker although the baseline has no
/// new outcome.
const LONG: u32 = 20;

impl Breaker {
    /// The streak that opens the breaker, if there is one that the baseline does not share.
    pub(super) fn failing_streak<'a>(
        &self,
        rule: &Rule,
        uptime: Millis,
        baseline: impl FnOnce() -> Option<&'a Self>,
    ) -> Option<Why> {
        let need = rule.streak(self.are_few(&Units::NONE));
        let settled = Millis::new(uptime.get().saturating_sub(SETTLED_AFTER.get()));
        let failures = self.streak.complete(need, settled)?;
        let is_shared = baseline().is_some_and(|baseline| {
            baseline.shares_streak(rule, failures, self.streak.began(), uptime, false)
        });
        (!is_shared).then_some(Why::Streak(failures))
    }

    /// Whether this baseline may have the same fault as a candidate with so many failures in a row
    /// since `began`: it fails too, or it has not had the time to show that it does not. `is_used`:
    /// it has requests that are not counted here yet.
    #[inline(never)]
    pub(super) fn shares_streak(
        &self,
        rule: &Rule,
        failures: u32,
        began: Millis,
        uptime: Millis,
        is_used: bool,
    ) -> bool {
        let is_long = failures >= rule.consecutive.saturating_mul(LONG);
        let has_failed = match self.streak.failures() {
            // A single failure may be chance.
            [one] => one.at > began && !is_long,
            failures => failures.last().is_some_and(|last| last.at > began),
        };
        if has_failed || self.answered > began {
            return has_failed || !rule.are_surprising(failures, self.recent);
        }
        let may_show = self.recent.known > 0 || is_used;
        may_show && uptime.since(began) < WAIT_FOR_BASELINE && !is_long
    }

    /// The rate that opens the breaker, if there is one that is worse than the baseline's.
    pub(super) fn failing_rate<'a>(
        &self,
        rule: &Rule,
        now: Timestamp,
        baseline: impl Fn() -> Option<&'a Self>,
    ) -> Option<Why> {
        let (all, burst) = self.window.total_and_burst(now);
        rule.limits().find_map(|(kind, limit)| {
            let seen = match kind {
                // Many clients that leave at the same moment have a reason of their own, such as a
                // load balancer that restarts.
                Kind::Abandoned => all.without(kind, burst),
                Kind::Errors | Kind::Slow => all,
            };
            if kind.of(seen).1 < rule.min_requests || !self.can_judge(kind) {
                return None;
            }
            // What is left without the requests above the cap may be less than `min_requests`.
            let capped = rule.padded(self.evidence_of(rule, kind, limit, seen));
            if !rule.is_above(kind, capped, limit) {
                return None;
            }
            let baseline = baseline().map(|baseline| baseline.evidence(rule, now));
            let is_shared = rule.shares(kind, capped, baseline);
            (!is_shared).then_some(Why::Rate { kind, seen: capped, baseline })
        })
    }

    /// Whether a share of this kind says anything. Of few units, one impatient client may abandon
    /// most of the requests.
    pub(super) fn can_judge(&self, kind: Kind) -> bool {
        kind != Kind::Abandoned || !self.are_few(&Units::NONE)
    }

    /// What a baseline has to say: its window, and what was just before if that is little. Its
    /// units are not capped: with the caps of many units, it would seem better than a candidate
    /// with few.
    #[inline(never)]
    pub(super) fn evidence(&self, rule: &Rule, now: Timestamp) -> Counts {
        let seen = self.window.total(now);
        let is_thin = seen.requests < rule.min_requests;
        if is_thin { self.window.total_and_before(now) } else { seen }
    }

    /// What counts of this kind with each unit capped.
    #[inline(never)]
    fn evidence_of(&self, rule: &Rule, kind: Kind, limit: Ppm, seen: Counts) -> Counts {
        let others = self.capped(kind, seen, rule.cap(limit, 0));
        self.capped(kind, seen, rule.cap(limit, others.requests))
    }

    /// What counts of this kind if a unit has at most `cap` of it.
    pub(super) fn capped(&self, kind: Kind, seen: Counts, cap: u32) -> Counts {
        match self.are_few(&Units::NONE) {
            true => seen,
            false => seen.without(kind, self.window.offenders.excess(kind, cap)),
        }
    }
}
