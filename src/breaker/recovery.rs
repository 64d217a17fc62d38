//! The recovery of a candidate in stages: which units take part, and when a stage fails, succeeds
//! or widens.

use super::units::Units;
use super::{Breaker, Counts, Event, News, Rule, State, Why};
use crate::quantity::{Bucket, Millis, Ppm, Timestamp};

/// The shares of a candidate's units that it serves while it recovers. Each stage includes the
/// units of the stage before.
pub const STAGES: [Ppm; 3] = [Ppm::new(50_000).unwrap(), Ppm::new(250_000).unwrap(), Ppm::ALL];

/// The time without an outcome, and without a request that waits, after which a stage of the
/// recovery widens.
const WIDEN_AFTER: Millis = Millis::new(5000);

/// How far each recovery moves the range of units that try the candidate, in buckets. Two
/// recoveries in a row have no unit in common up to the second stage, and twenty reach all units in
/// the first.
const NEXT_RECOVERY: u32 = 350_000;

/// The first bucket of the probe draw that takes part in the recovery from this trip, counted from
/// 1.
#[must_use]
pub fn first_probe(trip: u32) -> Bucket {
    let moved = u64::from(trip.saturating_sub(1)) * u64::from(NEXT_RECOVERY);
    let bucket = u32::try_from(moved % u64::from(Bucket::COUNT)).unwrap_or(0);
    Bucket::new(bucket).unwrap_or_default()
}

pub(super) fn share(stage: usize) -> Ppm {
    STAGES.get(stage).copied().unwrap_or(Ppm::ALL)
}

impl Breaker {
    /// Adds outcomes to a stage and judges it: opens again, goes to the next stage, closes, or
    /// widens a stage whose units send no requests.
    pub(super) fn recover<'a>(
        &mut self,
        (stage, seen): (usize, Counts),
        rule: &Rule,
        now: Timestamp,
        news: &News,
        baseline: impl Fn() -> Option<&'a Self>,
        jitter: u64,
    ) -> Option<Event> {
        self.window.offenders.add_all(0, &news.offenses);
        self.note_order(rule, now, news);
        let seen = seen.plus(news.counts);
        let why = self.failing_streak(rule, news.uptime, &baseline);
        let why = why.or_else(|| self.failing_stage(rule, seen, now, &baseline));
        if let Some(why) = why {
            return Some(self.trip(rule, now, why, jitter));
        }
        self.state = State::HalfOpen(stage, seen);
        if seen.requests >= rule.min_requests {
            return Some(match stage + 1 < STAGES.len() {
                true => self.try_stage(stage + 1, Counts::default(), news.uptime),
                false => self.close(rule, now),
            });
        }
        if !news.counts.is_empty() || news.is_waiting {
            self.active = news.uptime;
        }
        let is_quiet = news.uptime.since(self.active) >= WIDEN_AFTER;
        let widens = is_quiet && stage + 1 < STAGES.len();
        widens.then(|| self.try_stage(stage + 1, seen, news.uptime))
    }

    /// The rate that ends a stage of the recovery, if there is one that is worse than the
    /// baseline's.
    fn failing_stage<'a>(
        &self,
        rule: &Rule,
        seen: Counts,
        now: Timestamp,
        baseline: impl Fn() -> Option<&'a Self>,
    ) -> Option<Why> {
        rule.limits().find_map(|(kind, limit)| {
            let cap = rule.stage_cap(limit);
            let capped = self.capped(kind, seen, cap);
            let is_one_unit = kind.of(capped).0 <= cap && !self.are_few(&Units::NONE);
            if is_one_unit || !self.can_judge(kind) || !rule.stage_fails(kind, capped, limit) {
                return None;
            }
            let baseline = baseline().map(|baseline| baseline.evidence(rule, now));
            let padded = rule.padded(capped);
            let is_shared = rule.shares(kind, padded, baseline);
            (!is_shared).then_some(Why::Rate { kind, seen: capped, baseline })
        })
    }

    #[inline(never)]
    pub(super) fn try_stage(&mut self, stage: usize, seen: Counts, uptime: Millis) -> Event {
        let offenders = self.window.offenders.clone();
        self.enter(State::HalfOpen(stage, seen));
        self.active = uptime;
        if !seen.is_empty() {
            self.window.offenders = offenders;
        }
        Event::Trying(share(stage), self.trips)
    }
}
