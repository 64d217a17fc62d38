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
//! decided, so late outcomes change nothing. There are no permits that could be lost: without
//! outcomes, a stage waits.

mod event;
mod experiment;
mod fleet;
mod local;
mod record;
mod rule;
mod shared;
mod store;
#[cfg(test)]
mod tests;
mod ticket;
mod waiting;
mod window;

pub use event::{Event, Kind, Why};
pub use fleet::{Fleet, Served, Transition};
pub use rule::Rule;
pub use store::{Store, SwapError};
pub use ticket::{End, Ticket};
pub use window::Counts;
use window::Window;

use crate::decide::Gate;
use crate::names::breaker_state;
use crate::plan::BreakerMode;
use crate::quantity::{Millis, Ppm, Timestamp};

/// The shares of a candidate's units that it serves while it recovers. Each stage includes the
/// units of the stage before.
pub const STAGES: [Ppm; 3] = [Ppm::new(50_000).unwrap(), Ppm::new(250_000).unwrap(), Ppm::ALL];

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
    window: Window,
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
            window: Window::new(rule.width),
        }
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
                Gate::HalfOpen(STAGES.get(stage).copied().unwrap_or(Ppm::ALL))
            }
            _ => Gate::Closed,
        }
    }

    /// The value of the metric [`crate::names::metric::BREAKER_STATE`]. A dry run is closed.
    #[must_use]
    pub fn code(&self, rule: &Rule) -> u64 {
        match self.gate(rule) {
            Gate::Closed => breaker_state::CLOSED,
            Gate::HalfOpen(_) => breaker_state::HALF_OPEN,
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

    /// Adds outcomes of a baseline, which is never judged.
    pub fn observe(&mut self, rule: &Rule, now: Timestamp, new: Counts) {
        let now = self.at(now, rule);
        self.window.add(now, new);
    }

    /// Adds outcomes of this epoch and judges them. Calls `baseline` only if the candidate alone
    /// would trip; `jitter` is a random number, which varies the time by up to 10 percent.
    pub fn advance(
        &mut self,
        rule: &Rule,
        now: Timestamp,
        new: Counts,
        baseline: impl FnOnce() -> Counts,
        jitter: u64,
    ) -> Option<Event> {
        let now = self.at(now, rule);
        match self.state {
            State::Closed(_) => {
                self.window.add(now, new);
                let seen = self.window.total(now);
                let why = rule.verdict(seen)?;
                let baseline = rule.compare.then(baseline);
                if baseline.is_some_and(|baseline| rule.shares(why, seen, baseline)) {
                    return None;
                }
                Some(self.trip(rule, now, Why::Rate { kind: why, seen, baseline }, jitter))
            }
            State::Open(until) if now < until => None,
            State::Open(_) if rule.mode == BreakerMode::Enforce => Some(self.try_stage(0)),
            State::Open(_) => Some(self.close(rule, now)),
            State::HalfOpen(stage, seen) => {
                let seen = seen.plus(new);
                if let Some(kind) = rule.stage_fails(seen) {
                    let why = Why::Rate { kind, seen, baseline: None };
                    return Some(self.trip(rule, now, why, jitter));
                }
                self.state = State::HalfOpen(stage, seen);
                match seen.requests >= rule.min_requests {
                    false => None,
                    true if stage + 1 < STAGES.len() => Some(self.try_stage(stage + 1)),
                    true => Some(self.close(rule, now)),
                }
            }
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

    fn trip(&mut self, rule: &Rule, now: Timestamp, why: Why, jitter: u64) -> Event {
        self.forget(rule, now);
        let length = rule.open_for(self.level, jitter);
        if rule.grows(self.level) {
            self.level = self.level.saturating_add(1);
        }
        self.enter(State::Open(now + length));
        Event::Opened { why, length, would: rule.mode == BreakerMode::DryRun }
    }

    fn try_stage(&mut self, stage: usize) -> Event {
        self.enter(State::HalfOpen(stage, Counts::default()));
        Event::Trying(STAGES.get(stage).copied().unwrap_or(Ppm::ALL))
    }

    fn close(&mut self, rule: &Rule, now: Timestamp) -> Event {
        self.window = Window::new(rule.width);
        self.enter(State::Closed(now));
        Event::Closed
    }

    fn enter(&mut self, state: State) {
        self.epoch = self.epoch.wrapping_add(1);
        self.state = state;
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
