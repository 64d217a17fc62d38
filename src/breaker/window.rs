//! Sliding window of the latest outcomes, in ten buckets.
//!
//! The buckets are aligned to the clock and expire whole, so the window covers between nine and ten
//! tenths of its length. A decaying average would be smaller, but hides a short burst and cannot be
//! recomputed from a log.

use super::event::Kind;
use super::units::{Offenders, Offenses};
use crate::quantity::{Millis, Timestamp};

/// The number of buckets.
pub(super) const BUCKETS: usize = 10;

/// Outcomes by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests with a known outcome.
    pub requests: u32,
    /// Requests that failed.
    pub errors: u32,
    /// Requests with a slow response.
    pub slow: u32,
    /// Requests that their clients abandoned before a response. They are not among the requests.
    pub abandoned: u32,
}

impl Counts {
    pub(super) const NONE: Self = Self { requests: 0, errors: 0, slow: 0, abandoned: 0 };

    /// The sum of both.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_add(other.requests),
            errors: self.errors.saturating_add(other.errors),
            slow: self.slow.saturating_add(other.slow),
            abandoned: self.abandoned.saturating_add(other.abandoned),
        }
    }

    /// Whether there is nothing. There may be a failure without a request, if the request counted
    /// as a success before.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.requests == 0 && self.errors == 0 && self.slow == 0 && self.abandoned == 0
    }

    /// Without so many requests of a kind.
    pub(super) const fn without(self, kind: Kind, excess: u32) -> Self {
        let requests = self.requests.saturating_sub(excess);
        match kind {
            Kind::Errors => Self { requests, errors: self.errors.saturating_sub(excess), ..self },
            Kind::Slow => Self { requests, slow: self.slow.saturating_sub(excess), ..self },
            Kind::Abandoned => Self { abandoned: self.abandoned.saturating_sub(excess), ..self },
        }
    }
}

/// The counts of the last ten buckets, and roughly those before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Window {
    width: Millis,
    /// The number of the latest bucket, since 1970.
    pub(super) latest: u64,
    /// Bucket `n` is at index `n % 10`.
    pub(super) buckets: [Counts; BUCKETS],
    pub(super) offenders: Offenders,
    /// By ten buckets, aligned: those of the latest bucket, and the ones before. Together they
    /// reach back for one to two windows.
    pub(super) periods: [Counts; 2],
}

impl Window {
    /// An empty window of ten buckets of this width.
    pub(super) const fn new(width: Millis) -> Self {
        Self {
            width,
            latest: 0,
            buckets: [Counts::NONE; BUCKETS],
            offenders: Offenders::new(),
            periods: [Counts::NONE; 2],
        }
    }

    pub(super) const fn width(&self) -> Millis {
        self.width
    }

    /// Adds outcomes to the bucket of this moment.
    #[inline(never)]
    pub(super) fn add(&mut self, now: Timestamp, new: Counts, offenses: &Offenses) {
        let number = self.number(now);
        self.advance(number);
        if self.latest - number >= BUCKETS as u64 {
            return;
        }
        let place = place(number);
        if let Some(bucket) = self.buckets.get_mut(place) {
            *bucket = bucket.plus(new);
        }
        let [current, _] = &mut self.periods;
        *current = current.plus(new);
        self.offenders.add_all(place, offenses);
    }

    /// Drops what is older than the window at this moment.
    pub(super) fn move_to(&mut self, now: Timestamp) {
        self.advance(self.number(now));
    }

    /// Moves on to the bucket of this number.
    #[inline(never)]
    fn advance(&mut self, number: u64) {
        if number <= self.latest {
            return;
        }
        let passed = number - self.latest;
        for number in self.latest + 1..=self.latest + passed.min(BUCKETS as u64) {
            let place = place(number);
            if let Some(bucket) = self.buckets.get_mut(place) {
                *bucket = Counts::NONE;
            }
            self.offenders.clear(place);
        }
        let [current, _] = self.periods;
        match number / BUCKETS as u64 - self.latest / BUCKETS as u64 {
            0 => {}
            1 => self.periods = [Counts::NONE, current],
            _ => self.periods = [Counts::NONE; 2],
        }
        self.latest = number;
    }

    /// What the window holds at this moment.
    #[inline(never)]
    pub(super) fn total(&self, now: Timestamp) -> Counts {
        self.total_and_burst(now).0
    }

    /// What the window holds at this moment, and how many requests were abandoned in the bucket
    /// with the most of them.
    #[inline(never)]
    pub(super) fn total_and_burst(&self, now: Timestamp) -> (Counts, u32) {
        let number = self.number(now);
        let oldest = number.saturating_sub(BUCKETS as u64 - 1);
        let kept = self.latest.saturating_sub(BUCKETS as u64 - 1).max(oldest);
        let inside = (kept..=self.latest.min(number)).filter_map(|n| self.buckets.get(place(n)));
        inside.fold((Counts::NONE, 0), |(sum, burst), counts| {
            (sum.plus(*counts), counts.abandoned.max(burst))
        })
    }

    /// What was counted in the window and just before it.
    pub(super) fn total_and_before(&self, now: Timestamp) -> Counts {
        let [current, before] = self.periods;
        match (self.number(now) / BUCKETS as u64).saturating_sub(self.latest / BUCKETS as u64) {
            0 => current.plus(before),
            1 => current,
            _ => Counts::NONE,
        }
    }

    pub(super) fn number(&self, now: Timestamp) -> u64 {
        now.get() / self.width.get().max(1)
    }
}

fn place(number: u64) -> usize {
    usize::try_from(number % BUCKETS as u64).unwrap_or(0)
}
