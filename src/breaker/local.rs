//! What one worker knows by itself: outcomes it has not told the others yet, and failures in a row.
//!
//! Counting here costs no host call; a worker tells the others a few times a second. Failures in a row are the
//! exception: they are told at once.

use super::{Breaker, Counts, Ended, Rule};
use crate::quantity::Timestamp;

/// How many looks a worker gives a silent baseline to prove that it is healthy, unless the streak becomes [`LONG`]
/// before. A baseline that gets one request in ten is heard by then, and an outage that it shares does not trip.
const LOOKS_AT_SILENCE: u8 = 30;

/// How many times `consecutive` a streak is that counts beside a silent baseline.
const LONG: u32 = 20;

/// One variant on one worker.
#[derive(Clone, Debug, Default)]
pub struct Local {
    /// The epoch that outcomes are counted in.
    epoch: u32,
    pending: Counts,
    /// Failures since the last success.
    streak: u32,
    /// The number of the streak's second outcome; the first may be chance.
    streak_began: u64,
    /// The number of the latest outcome.
    latest: u64,
    /// Whether the latest outcomes were failures, the latest in the lowest bit.
    recent: u32,
    /// How many of these bits are outcomes.
    known: u32,
    /// How often the baseline was found silent while the streak was long enough.
    looks: u8,
}

/// What failures in a row mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Streak {
    /// Nothing yet.
    Short,
    /// The baseline fails in the same way, or was not heard since they began.
    Undecided,
    /// The candidate alone fails, this many times in a row.
    Trips(u32),
}

impl Local {
    /// Counts an outcome, the `number`th on this worker, of a request that was decided in `epoch`.
    pub fn ended(&mut self, ended: Ended, epoch: u32, number: u64) {
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
            self.looks = 0;
        } else {
            if self.streak <= 1 {
                self.streak_began = number;
            }
            self.streak = self.streak.saturating_add(1);
        }
    }

    /// The outcomes that the others do not know yet.
    #[must_use]
    pub const fn pending(&self) -> Counts {
        self.pending
    }

    /// The others know all outcomes now.
    pub fn told(&mut self) {
        self.pending = Counts::default();
    }

    /// What is counted from now on belongs to this epoch; what was counted before does not.
    pub fn adopt(&mut self, epoch: u32) {
        if epoch != self.epoch {
            *self = Self { epoch, ..Self::default() };
        }
    }

    /// Whether any outcome was counted yet.
    #[must_use]
    pub const fn is_used(&self) -> bool {
        self.latest > 0
    }

    /// Judges the candidate's failures in a row. `baseline_is_used`: the baseline had requests lately.
    #[must_use]
    pub fn streak(&self, rule: &Rule, baseline: &Self, baseline_is_used: bool) -> Streak {
        if rule.consecutive == 0 || self.streak < rule.consecutive {
            return Streak::Short;
        }
        let heard = baseline.latest > self.streak_began;
        let undecided = if heard {
            baseline.streak > 0 || !baseline.would_be_surprised(rule, self.streak)
        } else {
            let is_long = self.streak >= rule.consecutive.saturating_mul(LONG);
            baseline_is_used && self.looks < LOOKS_AT_SILENCE && !is_long
        };
        if rule.compare && undecided { Streak::Undecided } else { Streak::Trips(self.streak) }
    }

    /// Whether so many failures in a row are improbable here too, going by the last 8 and by the last 32 outcomes.
    fn would_be_surprised(&self, rule: &Rule, streak: u32) -> bool {
        [8, u32::BITS].into_iter().all(|length| {
            let outcomes = self.recent & (u32::MAX >> (u32::BITS - length));
            rule.is_surprising(streak, outcomes.count_ones(), self.known.min(length))
        })
    }

    /// One look at a streak that is long enough, whether the baseline was heard meanwhile.
    pub fn look(&mut self, rule: &Rule) {
        if rule.consecutive > 0 && self.streak >= rule.consecutive {
            self.looks = self.looks.saturating_add(1);
        }
    }
}

/// One candidate or baseline as a worker sees it: its own counts, and the shared breaker as it last read it.
#[derive(Clone, Debug)]
pub struct Watch {
    /// What only this worker knows.
    pub local: Local,
    /// The shared breaker as last read.
    pub shared: Breaker,
    /// When this worker last told or asked the others.
    pub synced: Timestamp,
}

impl Watch {
    /// Begins with a breaker as it was found, or with a new one.
    #[must_use]
    pub fn new(shared: Breaker, now: Timestamp) -> Self {
        let mut local = Local::default();
        local.adopt(shared.epoch());
        Self { local, shared, synced: now }
    }

    /// Takes over what the others decided.
    pub fn adopt(&mut self, shared: Breaker) {
        self.local.adopt(shared.epoch());
        self.shared = shared;
    }

    /// Whether it is time to tell the others, or to see whether something happened by itself.
    #[must_use]
    pub fn is_due(&self, rule: &Rule, now: Timestamp) -> bool {
        let wakes = self.shared.wakes_at().is_some_and(|wakes| wakes <= now);
        // Each second in any case: outcomes leave the window without new ones coming in, which can raise a rate; the
        // clock may have been set back; and what another worker decided may have been missed.
        let stale = now.0.abs_diff(self.synced.0) >= 1000;
        rule.is_active() && (!self.local.pending().is_empty() || wakes || stale)
    }
}
