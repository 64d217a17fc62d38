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
mod judge;
mod local;
mod record;
mod recovery;
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
pub use recovery::{STAGES, first_probe};
pub use rule::Rule;
pub use store::{Store, SwapError, announce};
pub use ticket::{End, Ticket};
pub use window::Counts;

use core::cell::LazyCell;

use recovery::share;
use streak::{Recent, Streak};
use units::{Offenders, SeenUnits, Units};
use window::Window;

use crate::decide::Gate;
use crate::names::breaker_state;
use crate::plan::BreakerMode;
use crate::quantity::{Millis, Timestamp};

/// The largest step back of the clock that is taken for readings of two workers in the wrong order.
const READING_NOISE: Millis = Millis::new(1000);

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
                self.recover((stage, seen), rule, now, news, || baseline.as_ref(), jitter)
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
