//! State of one variant on one worker: outcomes that are not shared yet, and the current streak of
//! failures.
//!
//! Counting an outcome makes no host call. A worker shares its outcomes on the next tick. A streak
//! on one worker that is long enough to open the breaker does not wait for the tick.

use super::streak::{Failure, Recent, Streak};
use super::ticket::{Marks, Request};
use super::units::{Offenses, Units};
use super::{Breaker, Counts, Kind, Rule};
use crate::quantity::{Millis, Timestamp};

/// How long a worker may go without reading or writing the shared record.
const STALE_AFTER: u64 = 1000;

/// What a worker has not shared yet.
#[derive(Clone, Copy, Debug)]
pub struct News {
    pub(super) counts: Counts,
    pub(super) offenses: Offenses,
    pub(super) units: Units,
    pub(super) recent: Recent,
    /// When the latest good answer began.
    pub(super) answered: Millis,
    pub(super) streak: Streak,
    /// Answers that have begun, less those that are over.
    pub(super) streams: i32,
    /// The same when the streak began.
    pub(super) streams_before: i32,
    /// Some request waits for an answer.
    pub(super) is_waiting: bool,
    /// The time of sharing.
    pub(super) uptime: Millis,
}

impl News {
    const NONE: Self = Self {
        counts: Counts::NONE,
        offenses: Offenses::NONE,
        units: Units::NONE,
        recent: Recent { bits: 0, known: 0 },
        answered: Millis::ZERO,
        streak: Streak::new(),
        streams: 0,
        streams_before: 0,
        is_waiting: false,
        uptime: Millis::ZERO,
    };

    /// Whether there is nothing to share.
    #[inline]
    pub(super) const fn is_empty(&self) -> bool {
        self.counts.is_empty() && self.streams == 0 && self.recent.known == 0
    }
}

/// Outcomes without units and times.
impl From<Counts> for News {
    fn from(counts: Counts) -> Self {
        Self { counts, ..Self::NONE }
    }
}

/// The outcomes of one variant on one worker, in one epoch.
#[derive(Clone, Debug)]
pub(super) struct LocalOutcomes {
    epoch: u32,
    pub(super) news: News,
    streak: Streak,
    /// The number of the streak's second outcome; the first may be chance.
    streak_began: u64,
    /// The number of the latest outcome.
    latest: u64,
    recent: Recent,
}

/// What failures in a row mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// There are too few.
    Short,
    /// The baseline fails in the same way, or has had no outcome since they began.
    Undecided,
    /// Only the candidate fails, this many times in a row.
    Trips(u32),
}

impl LocalOutcomes {
    /// No outcomes, in this epoch.
    pub(super) const fn new(epoch: u32) -> Self {
        Self {
            epoch,
            news: News::NONE,
            streak: Streak::new(),
            streak_began: 0,
            latest: 0,
            recent: Recent { bits: 0, known: 0 },
        }
    }

    /// Counts good response headers: a success, unless more is known already. `number` counts the
    /// outcomes on this worker.
    #[inline]
    pub(super) fn answer(&mut self, request: &mut Request, uptime: Millis, number: u64) {
        if request.epoch == self.epoch {
            self.count_request(request, uptime);
            if !request.marks.has(Marks::FAILED) {
                self.latest = number;
                self.news.answered = uptime;
            }
            if request.marks.set(Marks::STREAMS) {
                self.streak.streams += 1;
                self.news.streams += 1;
            }
        }
    }

    /// Counts an answer that is slow, or will be.
    #[inline(never)]
    pub(super) fn be_slow(&mut self, request: &mut Request, uptime: Millis) {
        if request.epoch == self.epoch && request.marks.set(Marks::SLOW) {
            self.count_request(request, uptime);
            self.news.counts.slow = self.news.counts.slow.saturating_add(1);
            self.news.offenses.add(request.unit, Kind::Slow);
        }
    }

    /// Counts an answer that ended in order.
    #[inline]
    pub(super) fn complete(&mut self, request: &mut Request, uptime: Millis, number: u64) {
        if request.epoch == self.epoch {
            self.count_request(request, uptime);
            self.stop_streaming(request);
            if !request.marks.has(Marks::FAILED) {
                self.latest = number;
                self.news.answered = uptime;
                self.recent.add(false);
                self.news.recent.add(false);
                // On one worker, what is counted later has happened later.
                let at = uptime.max(self.streak.ends_at());
                self.streak.succeed(at);
                self.news.streak.succeed(at);
            }
        }
    }

    /// Counts a failure, also of a request that counted as a success. Returns whether it is new.
    #[inline(never)]
    pub(super) fn fail(
        &mut self,
        rule: &Rule,
        are_few: bool,
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
        self.news.counts.errors = self.news.counts.errors.saturating_add(1);
        self.news.offenses.add(request.unit, Kind::Errors);
        self.latest = number;
        self.recent.add(true);
        self.news.recent.add(true);
        if self.streak.failures().len() <= 1 {
            self.streak_began = number;
        }
        if self.news.streak.is_empty() {
            self.news.streams_before = self.news.streams;
        }
        let at = uptime.max(self.streak.success + Millis::new(1));
        let failure = Failure { at, unit: request.unit };
        let need = rule.streak(are_few);
        self.streak.fail(failure, need);
        self.news.streak.fail(failure, need);
        true
    }

    /// Counts a request that its client abandoned before a response, unless it counts already:
    /// then it was slow, or has failed.
    #[inline(never)]
    pub(super) fn abandon(&mut self, request: &mut Request) {
        let is_current = request.epoch == self.epoch && !request.marks.has(Marks::COUNTED);
        if is_current && request.marks.set(Marks::ABANDONED) {
            self.news.counts.abandoned = self.news.counts.abandoned.saturating_add(1);
            self.news.units.add(request.unit);
            self.news.offenses.add(request.unit, Kind::Abandoned);
        }
        self.leave(request);
    }

    /// Forgets a request whose end says nothing about the variant.
    pub(super) fn leave(&mut self, request: &mut Request) {
        if request.epoch == self.epoch {
            self.stop_streaming(request);
        }
    }

    /// Notes that a request waits for an answer.
    pub(super) fn wait(&mut self, request: &Request) {
        self.news.is_waiting |= request.epoch == self.epoch;
    }

    #[inline]
    fn count_request(&mut self, request: &mut Request, uptime: Millis) {
        if request.marks.set(Marks::COUNTED) {
            request.counted = uptime;
            self.news.counts.requests = self.news.counts.requests.saturating_add(1);
            self.news.units.add(request.unit);
        }
    }

    #[inline]
    fn stop_streaming(&mut self, request: &mut Request) {
        if request.marks.take(Marks::STREAMS) {
            self.streak.streams = self.streak.streams.saturating_sub(1);
            self.news.streams -= 1;
        }
    }

    /// Notes that the shared record has all outcomes.
    #[inline(never)]
    pub(super) const fn clear_news(&mut self) {
        self.news = News::NONE;
    }

    /// Starts counting for this epoch. Outcomes of an earlier epoch are dropped.
    #[inline]
    pub(super) fn enter_epoch(&mut self, epoch: u32) {
        if epoch != self.epoch {
            *self = Self::new(epoch);
        }
    }

    /// Judges the candidate's failures in a row by the baseline's outcomes on the same worker, and
    /// where it has none since they began, by what all workers know of the baseline.
    pub(super) fn judge(
        &self,
        rule: &Rule,
        are_few: bool,
        baseline: &Self,
        shared: impl FnOnce() -> Option<Breaker>,
        uptime: Millis,
    ) -> Verdict {
        let forever = Millis::new(u64::MAX);
        let Some(failures) = self.streak.complete(rule.streak(are_few), forever) else {
            return Verdict::Short;
        };
        if !rule.compare {
            return Verdict::Trips(failures);
        }
        let is_shared = if baseline.latest > self.streak_began {
            !baseline.streak.is_empty() || !rule.are_surprising(failures, baseline.recent)
        } else {
            shared().is_some_and(|shared| {
                let is_used = baseline.latest > 0;
                shared.shares_streak(rule, failures, self.streak.began(), uptime, is_used)
            })
        };
        if is_shared { Verdict::Undecided } else { Verdict::Trips(failures) }
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
    pub(super) const fn new(shared: Breaker, now: Timestamp) -> Self {
        Self { local: LocalOutcomes::new(shared.epoch()), shared, synced: now }
    }

    /// Takes over the shared breaker; if it is in another epoch, outcomes start anew.
    #[inline(never)]
    pub(super) fn adopt(&mut self, shared: Breaker) {
        self.local.enter_epoch(shared.epoch());
        self.shared = shared;
    }

    /// Whether the variant has had few units lately, so that none of them is capped.
    pub(super) fn are_few(&self) -> bool {
        self.shared.are_few(&self.local.news.units)
    }

    /// Whether to read, judge and write the shared record now.
    #[inline]
    pub(super) fn is_due(&self, rule: &Rule, now: Timestamp) -> bool {
        let wakes = self.shared.wakes_at().is_some_and(|wakes| wakes <= now);
        // Every second in any case: outcomes leave the window without new ones, which can raise a
        // rate; the clock may have been set back; and this worker may have missed another worker's
        // transition.
        let is_stale = now.get().abs_diff(self.synced.get()) >= STALE_AFTER;
        !self.local.news.is_empty() || wakes || is_stale || self.shared.has_streak(rule)
    }
}
