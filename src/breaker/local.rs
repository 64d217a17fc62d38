//! State of one variant on one worker: outcomes that are not shared yet, and the current streak of
//! failures.
//!
//! Counting an outcome makes no host call. A worker shares its counts on the next tick. A streak
//! that is long enough to open the breaker does not wait for the tick.

use super::ticket::{Marks, Request};
use super::{Breaker, Counts, Rule};
use crate::quantity::{Millis, Timestamp};

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
    /// Failures since the last answer that ended in order.
    streak: u32,
    /// Answers that have begun and are not over.
    streams: u32,
    /// As many of them had begun when the streak began.
    streamed_before: u32,
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
    /// Counts good response headers: a success, unless more is known already. `number` counts the
    /// outcomes on this worker.
    #[inline]
    pub(super) fn answer(&mut self, request: &mut Request, uptime: Millis, number: u64) {
        if request.epoch == self.epoch {
            self.count_request(request, uptime);
            if !request.marks.has(Marks::FAILED) {
                self.note(false, number);
            }
            if request.marks.set(Marks::STREAMS) {
                self.streams += 1;
            }
        }
    }

    /// Counts an answer that is slow, or will be.
    pub(super) fn be_slow(&mut self, request: &mut Request, uptime: Millis) {
        if request.epoch == self.epoch && request.marks.set(Marks::SLOW) {
            self.count_request(request, uptime);
            self.pending.slow = self.pending.slow.saturating_add(1);
        }
    }

    /// Counts an answer that ended in order.
    #[inline]
    pub(super) fn complete(&mut self, request: &mut Request, uptime: Millis, number: u64) {
        if request.epoch == self.epoch {
            if !request.marks.has(Marks::COUNTED) {
                self.note(false, number);
            }
            self.count_request(request, uptime);
            self.stop_streaming(request);
            if !request.marks.has(Marks::FAILED) {
                self.streak = 0;
                self.waited = 0;
            }
        }
    }

    /// Counts a failure, also of a request that counted as a success. Returns whether it is new.
    pub(super) fn fail(
        &mut self,
        rule: &Rule,
        request: &mut Request,
        uptime: Millis,
        number: u64,
    ) -> bool {
        if request.epoch != self.epoch {
            return false;
        }
        self.stop_streaming(request);
        if !request.marks.set(Marks::FAILED) {
            return false;
        }
        // Its success may have left the window. Then the failure brings the request with it.
        if uptime.since(request.counted) >= rule.window().thousandths(900) {
            request.marks.take(Marks::COUNTED);
        }
        self.count_request(request, uptime);
        self.pending.errors = self.pending.errors.saturating_add(1);
        self.note(true, number);
        if self.streak <= 1 {
            self.streak_began = number;
        }
        if self.streak == 0 {
            self.streamed_before = self.streams;
        }
        self.streak = self.streak.saturating_add(1);
        true
    }

    /// Forgets a request whose end says nothing about the variant.
    pub(super) fn leave(&mut self, request: &mut Request) {
        if request.epoch == self.epoch {
            self.stop_streaming(request);
        }
    }

    #[inline]
    fn count_request(&mut self, request: &mut Request, uptime: Millis) {
        if request.marks.set(Marks::COUNTED) {
            request.counted = uptime;
            self.pending.requests = self.pending.requests.saturating_add(1);
        }
    }

    #[inline]
    fn note(&mut self, failed: bool, number: u64) {
        self.latest = number;
        self.recent = self.recent << 1 | u32::from(failed);
        self.known = u32::BITS.min(self.known + 1);
    }

    #[inline]
    fn stop_streaming(&mut self, request: &mut Request) {
        if request.marks.take(Marks::STREAMS) {
            self.streams = self.streams.saturating_sub(1);
        }
    }

    /// Failures since the last answer that ended in order, less the answers that have begun since
    /// the first of them: those may end in order yet.
    #[inline]
    fn failures_in_a_row(&self) -> u32 {
        let begun = self.streams.saturating_sub(self.streamed_before);
        self.streak.saturating_sub(begun)
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
        let streak = self.failures_in_a_row();
        if rule.consecutive == 0 || streak < rule.consecutive {
            return Streak::Short;
        }
        let is_comparable = baseline.latest > self.streak_began;
        let undecided = if is_comparable {
            baseline.streak > 0 || !baseline.would_be_surprised(rule, streak)
        } else {
            let is_long = streak >= rule.consecutive.saturating_mul(LONG);
            baseline.is_used() && self.waited < WAIT_FOR_BASELINE && !is_long
        };
        if rule.compare && undecided { Streak::Undecided } else { Streak::Trips(streak) }
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
        if rule.consecutive > 0 && self.failures_in_a_row() >= rule.consecutive {
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
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        let wakes = self.shared.wakes_at().is_some_and(|wakes| wakes <= now);
        // Every second in any case: outcomes leave the window without new ones, which can raise a
        // rate; the clock may have been set back; and this worker may have missed another worker's
        // transition.
        let is_stale = now.get().abs_diff(self.synced.get()) >= STALE_AFTER;
        !self.local.pending().is_empty() || wakes || is_stale
    }
}
