//! State of one variant on one worker: outcomes that are not shared yet, and the current streak of
//! failures.
//!
//! Counting an outcome makes no host call. A worker shares its counts on the next tick. A streak
//! that is long enough to open the breaker does not wait for the tick.

use super::{Breaker, Counts, Ended, Rule};
use crate::quantity::Timestamp;

/// Ticks that a long streak waits for a baseline without outcomes, unless the streak grows to
/// [`LONG`] before. This is enough for a baseline that gets one request in ten to show that it
/// shares the outage.
const WAIT_FOR_BASELINE: u8 = 30;

/// The multiple of `consecutive` from which a streak opens the breaker although the baseline has no
/// new outcome.
const LONG: u32 = 20;

/// How long a worker may go without reading or writing the shared record.
const STALE_AFTER: u64 = 1000;

/// The outcomes of one variant on one worker, in one epoch.
#[derive(Clone, Debug, Default)]
pub(super) struct LocalOutcomes {
    epoch: u32,
    pending: Counts,
    /// Failures since the last success.
    streak: u32,
    /// The number of the streak's second outcome; the first may be chance.
    streak_began: u64,
    /// The number of the latest outcome.
    latest: u64,
    /// The latest outcomes, one bit each, 1 for a failure, the latest in the lowest bit.
    recent: u32,
    /// How many of these bits are outcomes.
    known: u32,
    /// Ticks since the streak became long enough.
    waited: u8,
}

/// What failures in a row mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Streak {
    /// There are too few.
    Short,
    /// The baseline fails in the same way, or has had no outcome since they began.
    Undecided,
    /// Only the candidate fails, this many times in a row.
    Trips(u32),
}

impl LocalOutcomes {
    /// Counts an outcome, the `number`th on this worker, of a request that was decided in `epoch`.
    #[inline]
    pub(super) fn count(&mut self, ended: Ended, epoch: u32, number: u64) {
        if epoch != self.epoch {
            return;
        }
        let one =
            Counts { requests: 1, errors: u32::from(ended.failed), slow: u32::from(ended.slow) };
        self.pending = self.pending.plus(one);
        self.latest = number;
        self.recent = self.recent << 1 | u32::from(ended.failed);
        self.known = u32::BITS.min(self.known + 1);
        if !ended.failed {
            self.streak = 0;
            self.waited = 0;
        } else {
            if self.streak <= 1 {
                self.streak_began = number;
            }
            self.streak = self.streak.saturating_add(1);
        }
    }

    /// The outcomes that are not in the shared record yet.
    #[inline]
    pub(super) const fn pending(&self) -> Counts {
        self.pending
    }

    /// Notes that the shared record has all outcomes.
    pub(super) fn clear_pending(&mut self) {
        self.pending = Counts::default();
    }

    /// Starts counting for this epoch. Outcomes of an earlier epoch are dropped.
    #[inline]
    pub(super) fn enter_epoch(&mut self, epoch: u32) {
        if epoch != self.epoch {
            *self = Self { epoch, ..Self::default() };
        }
    }

    /// Whether this epoch has had an outcome on this worker.
    #[inline]
    pub(super) const fn is_used(&self) -> bool {
        self.latest > 0
    }

    /// Judges the candidate's failures in a row by the baseline's outcomes on the same worker.
    #[inline]
    pub(super) fn streak(&self, rule: &Rule, baseline: &Self) -> Streak {
        if rule.consecutive == 0 || self.streak < rule.consecutive {
            return Streak::Short;
        }
        let is_comparable = baseline.latest > self.streak_began;
        let undecided = if is_comparable {
            baseline.streak > 0 || !baseline.would_be_surprised(rule, self.streak)
        } else {
            let is_long = self.streak >= rule.consecutive.saturating_mul(LONG);
            baseline.is_used() && self.waited < WAIT_FOR_BASELINE && !is_long
        };
        if rule.compare && undecided { Streak::Undecided } else { Streak::Trips(self.streak) }
    }

    /// Whether a streak of this length is improbable here too, by the last 8 and by the last 32
    /// outcomes.
    fn would_be_surprised(&self, rule: &Rule, streak: u32) -> bool {
        [8, u32::BITS].into_iter().all(|length| {
            let outcomes = self.recent & (u32::MAX >> (u32::BITS - length));
            rule.is_surprising(streak, outcomes.count_ones(), self.known.min(length))
        })
    }

    /// Counts a tick that a long streak has waited for an outcome of the baseline.
    #[inline]
    pub(super) fn count_wait(&mut self, rule: &Rule) {
        if rule.consecutive > 0 && self.streak >= rule.consecutive {
            self.waited = self.waited.saturating_add(1);
        }
    }
}

/// One variant as a worker sees it: its own outcomes, and the shared breaker as last read.
#[derive(Clone, Debug)]
pub(super) struct LocalView {
    /// The outcomes on this worker.
    pub(super) local: LocalOutcomes,
    /// The shared breaker as last read.
    pub(super) shared: Breaker,
    /// When this worker last wrote the shared record.
    pub(super) synced: Timestamp,
}

impl LocalView {
    /// Starts with this breaker and no outcomes.
    pub(super) fn new(shared: Breaker, now: Timestamp) -> Self {
        let mut local = LocalOutcomes::default();
        local.enter_epoch(shared.epoch());
        Self { local, shared, synced: now }
    }

    /// Takes over the shared breaker; if it is in another epoch, outcomes start anew.
    pub(super) fn adopt(&mut self, shared: Breaker) {
        self.local.enter_epoch(shared.epoch());
        self.shared = shared;
    }

    /// Whether to read, judge and write the shared record now.
    #[inline]
    pub(super) fn is_due(&self, rule: &Rule, now: Timestamp) -> bool {
        let wakes = self.shared.wakes_at().is_some_and(|wakes| wakes <= now);
        // Every second in any case: outcomes leave the window without new ones, which can raise a
        // rate; the clock may have been set back; and this worker may have missed another worker's
        // transition.
        let is_stale = now.get().abs_diff(self.synced.get()) >= STALE_AFTER;
        rule.is_active() && (!self.local.pending().is_empty() || wakes || is_stale)
    }
}
