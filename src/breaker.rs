//! The circuit breaker of one candidate: it moves the candidate's units to the baseline, and back
//! in stages.
//!
//! A [`Breaker`] is a value, not a task: outcomes and the time go in, transitions come out. The
//! workers of a proxy share it as a record in a [`Store`]; a worker that loses a race retries with
//! the winner's record, see [`Fleet`]. So each transition happens once, and the state survives the
//! loss of a worker.
//!
//! ```text
//!          too many failures                 open_for has passed
//!  Closed ───────────────────▶ Open(level) ─────────────────────▶ HalfOpen 5 % ─▶ 25 % ─▶ 100 %
//!    ▲                          ▲                                   │ a stage fails          │
//!    │                          └───────────────────────────────────┘ (twice as long)        │
//!    └───────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Each transition starts a new epoch. An outcome counts only in the epoch in which its request was
//! decided, so late outcomes change nothing. There are no permits that could be lost: a stage whose
//! units send no requests widens to the next one.

mod event;
mod experiment;
mod fleet;
mod local;
mod record;
mod rule;
mod shared;
mod store;
mod streak;
#[cfg(test)]
mod tests;
mod ticket;
mod units;
mod waiting;
mod window;

pub use event::{Event, Kind, Why};
pub use fleet::{Fleet, Served, Transition};
pub use local::News;
pub use rule::Rule;
pub use store::{Store, SwapError};
pub use ticket::{End, Ticket};
pub use window::Counts;

use core::cell::LazyCell;

use streak::{Recent, Streak};
use units::{Offenders, SeenUnits, Units};
use window::Window;

use crate::decide::Gate;
use crate::names::breaker_state;
use crate::plan::BreakerMode;
use crate::quantity::{Bucket, Millis, Ppm, Timestamp};

/// The shares of a candidate's units that it serves while it recovers. Each stage includes the
/// units of the stage before.
pub const STAGES: [Ppm; 3] = [Ppm::new(50_000).unwrap(), Ppm::new(250_000).unwrap(), Ppm::ALL];

/// The largest step back of the clock that is taken for readings of two workers in the wrong order.
const READING_NOISE: Millis = Millis::new(1000);

/// The time without an outcome, and without a request that waits, after which a stage of the
/// recovery widens.
const WIDEN_AFTER: Millis = Millis::new(5000);

/// How old a failure must be to count in a streak that all workers share: by then all of them have
/// had a tick, and have reported their successes before it.
const SETTLED_AFTER: Millis = Millis::new(200);

/// How long a streak waits for an outcome of the baseline, unless it grows to [`LONG`] before. This
/// is enough for a baseline that gets one request in ten to show that it shares the outage.
const WAIT_FOR_BASELINE: Millis = Millis::new(3000);

/// The multiple of `consecutive` from which a streak opens the breaker although the baseline has no
/// new outcome.
const LONG: u32 = 20;

/// How far each recovery moves the range of units that try the candidate, in buckets. Two
/// recoveries in a row have no unit in common up to the second stage, and twenty reach all units in
/// the first.
const NEXT_RECOVERY: u32 = 350_000;

/// The shortest time that a candidate must stay healthy until a past trip is forgotten.
const FORGET_AFTER: Millis = Millis::new(60_000);

/// Whether a candidate serves its units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It serves all of them, since this moment.
    Closed(Timestamp),
    /// The baseline serves them, until this moment.
    Open(Timestamp),
    /// It serves a share of them: the index of the stage, and its counts so far.
    HalfOpen(usize, Counts),
}

/// The breaker of a candidate, or the counts of a baseline, whose breaker is always closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// The number of transitions.
    epoch: u32,
    /// The number of trips that lengthen the next one: those in a row that are not forgotten.
    level: u8,
    /// The latest time seen.
    clock: Timestamp,
    state: State,
    /// The number of all trips.
    trips: u32,
    /// When the present stage last had an outcome or a request that waited, by the uptime.
    active: Millis,
    window: Window,
    units: SeenUnits,
    streak: Streak,
    recent: Recent,
    /// When the latest good answer began, by the uptime.
    answered: Millis,
}

/// The first bucket of the probe draw that takes part in the recovery from this trip, counted from
/// 1.
#[must_use]
pub fn first_probe(trip: u32) -> Bucket {
    let moved = u64::from(trip.saturating_sub(1)) * u64::from(NEXT_RECOVERY);
    let bucket = u32::try_from(moved % u64::from(Bucket::COUNT)).unwrap_or(0);
    Bucket::new(bucket).unwrap_or_default()
}

impl Breaker {
    /// A closed breaker without a history.
    #[must_use]
    pub const fn new(rule: &Rule, now: Timestamp) -> Self {
        Self {
            epoch: 0,
            level: 0,
            clock: now,
            state: State::Closed(now),
            trips: 0,
            active: Millis::ZERO,
            window: Window::new(rule.width),
            units: SeenUnits::new(),
            streak: Streak::new(),
            recent: Recent { bits: 0, known: 0 },
            answered: Millis::ZERO,
        }
    }

    /// Forgets everything but the number of trips. Nothing that was decided before counts.
    fn restart(&mut self, rule: &Rule, now: Timestamp) {
        let (epoch, trips) = (self.epoch.wrapping_add(1), self.trips);
        *self = Self { epoch, trips, ..Self::new(rule, now) };
    }

    /// Whether it is as at the start, apart from what it has counted.
    const fn is_untouched(&self) -> bool {
        matches!(self.state, State::Closed(_)) && self.level == 0
    }

    /// The latest time seen.
    const fn seen_at(&self) -> Timestamp {
        self.clock
    }

    /// The number of transitions; outcomes of another epoch do not count.
    #[inline]
    #[must_use]
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Whether the candidate serves its units.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// What it lets through.
    #[inline]
    #[must_use]
    pub fn gate(&self, rule: &Rule) -> Gate {
        match self.state {
            State::Open(_) if rule.mode == BreakerMode::Enforce => Gate::Open,
            State::HalfOpen(stage, _) if rule.mode == BreakerMode::Enforce => {
                Gate::HalfOpen { share: share(stage), from: first_probe(self.trips) }
            }
            _ => Gate::Closed,
        }
    }

    /// The value of the metric [`crate::names::metric::BREAKER_STATE`]. A dry run is closed.
    #[must_use]
    pub fn code(&self, rule: &Rule) -> u64 {
        match self.gate(rule) {
            Gate::Closed => breaker_state::CLOSED,
            Gate::HalfOpen { .. } => breaker_state::HALF_OPEN,
            Gate::Open => breaker_state::OPEN,
        }
    }

    /// When the state changes without an outcome; `None` if only an outcome can change it.
    #[inline]
    #[must_use]
    pub const fn wakes_at(&self) -> Option<Timestamp> {
        if let State::Open(until) = self.state { Some(until) } else { None }
    }

    /// What the window holds at `now`.
    #[must_use]
    pub fn counts(&self, now: Timestamp) -> Counts {
        self.window.total(now)
    }

    /// Whether it has had few units lately, with these, so that none of them is capped.
    fn are_few(&self, more: &Units) -> bool {
        self.units.are_few(self.window.number(self.clock), more)
    }

    /// Whether enough failures in a row are known, though it may be too early to judge them.
    #[inline]
    fn has_streak(&self, rule: &Rule) -> bool {
        !self.streak.is_empty() && !matches!(self.state, State::Open(_)) && {
            let need = rule.streak(self.are_few(&Units::NONE));
            self.streak.complete(need, Millis::new(u64::MAX)).is_some()
        }
    }

    /// Adds outcomes of a baseline, which is never judged.
    pub fn observe(&mut self, rule: &Rule, now: Timestamp, news: &News) {
        let now = self.at(now, rule);
        self.window.add(now, news.counts, &news.offenses);
        self.note_order(rule, now, news);
    }

    /// Adds outcomes of this epoch and judges them. Calls `baseline` for the baseline's record only
    /// if the candidate alone would trip; `jitter` is a random number, which varies the time by up
    /// to 10 percent.
    pub fn advance(
        &mut self,
        rule: &Rule,
        now: Timestamp,
        news: &News,
        baseline: impl FnOnce() -> Option<Self>,
        jitter: u64,
    ) -> Option<Event> {
        let now = self.at(now, rule);
        let baseline = LazyCell::new(|| {
            let mut baseline = baseline().filter(|_| rule.compare)?;
            baseline.window.move_to(now);
            Some(baseline)
        });
        match self.state {
            State::Open(until) if now < until => None,
            State::Open(_) if rule.mode == BreakerMode::Enforce => {
                Some(self.try_stage(0, Counts::default(), news.uptime))
            }
            State::Open(_) => Some(self.close(rule, now)),
            State::Closed(_) => {
                self.window.add(now, news.counts, &news.offenses);
                self.note_order(rule, now, news);
                let why = self.failing_streak(rule, news.uptime, || baseline.as_ref());
                let why = why.or_else(|| self.failing_rate(rule, now, || baseline.as_ref()))?;
                Some(self.trip(rule, now, why, jitter))
            }
            State::HalfOpen(stage, seen) => {
                self.window.offenders.add_all(0, &news.offenses);
                self.note_order(rule, now, news);
                let seen = seen.plus(news.counts);
                let why = self.failing_streak(rule, news.uptime, || baseline.as_ref());
                let why = why.or_else(|| self.failing_stage(rule, seen, now, || baseline.as_ref()));
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
        }
    }

    /// Notes in which order outcomes came, and whose they were.
    #[inline(never)]
    fn note_order(&mut self, rule: &Rule, now: Timestamp, news: &News) {
        let number = self.window.number(now);
        news.units.iter().for_each(|unit| self.units.note(unit, number));
        let need = rule.streak(self.are_few(&Units::NONE));
        self.streak.merge(news, need);
        self.recent.append(news.recent);
        self.answered = self.answered.max(news.answered);
    }

    /// The streak that opens the breaker, if there is one that the baseline does not share.
    fn failing_streak<'a>(
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
    fn shares_streak(
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
    fn failing_rate<'a>(
        &self,
        rule: &Rule,
        now: Timestamp,
        baseline: impl Fn() -> Option<&'a Self>,
    ) -> Option<Why> {
        let seen = self.window.total(now);
        if seen.requests < rule.min_requests {
            return None;
        }
        rule.limits().find_map(|(kind, limit)| {
            // What is left without the requests above the cap may be less than `min_requests`.
            let capped = rule.padded(self.evidence_of(rule, kind, limit, seen));
            if !rule.is_above(kind, capped, limit) {
                return None;
            }
            let baseline = baseline().map(|baseline| baseline.evidence(rule, now));
            let is_shared = baseline.is_some_and(|baseline| rule.shares(kind, capped, baseline));
            (!is_shared).then_some(Why::Rate { kind, seen: capped, baseline })
        })
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
            if is_one_unit || !rule.stage_fails(kind, capped, limit) {
                return None;
            }
            let baseline = baseline().map(|baseline| baseline.evidence(rule, now));
            let padded = rule.padded(capped);
            let is_shared = baseline.is_some_and(|baseline| rule.shares(kind, padded, baseline));
            (!is_shared).then_some(Why::Rate { kind, seen: capped, baseline })
        })
    }

    /// What a baseline has to say: its window, and what was just before if that is little. Its units
    /// are not capped: with the caps of many units, it would seem better than a candidate with few.
    #[inline(never)]
    fn evidence(&self, rule: &Rule, now: Timestamp) -> Counts {
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
    fn capped(&self, kind: Kind, seen: Counts, cap: u32) -> Counts {
        match self.are_few(&Units::NONE) {
            true => seen,
            false => seen.without(kind, self.window.offenders.excess(kind, cap)),
        }
    }

    /// Opens after failures in a row, unless it is open already.
    pub fn trip_on_streak(
        &mut self,
        rule: &Rule,
        now: Timestamp,
        failures: u32,
        jitter: u64,
    ) -> Option<Event> {
        let now = self.at(now, rule);
        match self.state {
            State::Open(_) => None,
            State::Closed(_) | State::HalfOpen(..) => {
                Some(self.trip(rule, now, Why::Streak(failures), jitter))
            }
        }
    }

    #[inline(never)]
    fn trip(&mut self, rule: &Rule, now: Timestamp, why: Why, jitter: u64) -> Event {
        self.forget(rule, now);
        self.trips = self.trips.wrapping_add(1);
        let length = rule.open_for(self.level, jitter);
        if rule.grows(self.level) {
            self.level = self.level.saturating_add(1);
        }
        self.enter(State::Open(now + length));
        Event::Opened { why, length, would: rule.mode == BreakerMode::DryRun }
    }

    #[inline(never)]
    fn try_stage(&mut self, stage: usize, seen: Counts, uptime: Millis) -> Event {
        let offenders = self.window.offenders.clone();
        self.enter(State::HalfOpen(stage, seen));
        self.active = uptime;
        if !seen.is_empty() {
            self.window.offenders = offenders;
        }
        Event::Trying(share(stage), self.trips)
    }

    #[inline(never)]
    fn close(&mut self, rule: &Rule, now: Timestamp) -> Event {
        self.window = Window::new(rule.width);
        self.enter(State::Closed(now));
        Event::Closed
    }

    #[inline(never)]
    fn enter(&mut self, state: State) {
        self.epoch = self.epoch.wrapping_add(1);
        self.state = state;
        self.window.offenders = Offenders::new();
        self.streak = Streak::new();
        self.recent = Recent::default();
    }

    /// One trip is forgotten for each period of health.
    fn forget(&mut self, rule: &Rule, now: Timestamp) {
        if let State::Closed(since) = self.state {
            let periods = now.since(since).get() / rule.open_for.max(FORGET_AFTER).get().max(1);
            self.level = self.level.saturating_sub(u8::try_from(periods).unwrap_or(u8::MAX));
        }
    }

    /// The time, which never runs backwards. If the clock was set back, moves all times of the
    /// breaker back with it: it stays open for the rest of its time, neither shorter nor longer.
    #[inline(never)]
    fn at(&mut self, now: Timestamp, rule: &Rule) -> Timestamp {
        let back = self.clock.since(now);
        if back > READING_NOISE {
            let moved = |time: Timestamp| time - back;
            self.state = match self.state {
                State::Closed(since) => State::Closed(moved(since)),
                State::Open(until) => State::Open(moved(until)),
                half_open @ State::HalfOpen(..) => half_open,
            };
            self.window = Window::new(rule.width);
            self.clock = now;
        }
        if self.window.width() != rule.width {
            self.window = Window::new(rule.width);
        }
        self.clock = self.clock.max(now);
        // It may have been opened by a rule that allowed a longer time.
        if let State::Open(until) = &mut self.state {
            *until = (self.clock + rule.longest()).min(*until);
        }
        self.clock
    }
}

fn share(stage: usize) -> Ppm {
    STAGES.get(stage).copied().unwrap_or(Ppm::ALL)
}
