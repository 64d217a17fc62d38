//! Sliding window of the latest outcomes, in ten buckets.
//!
//! The buckets are aligned to the clock and expire whole, so the window covers between nine and ten
//! tenths of its length. A decaying average would be smaller, but hides a short burst and cannot be
//! recomputed from a log.

use crate::quantity::{Millis, Timestamp};

/// The number of buckets.
const BUCKETS: usize = 10;

/// Outcomes by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that ended.
    pub requests: u32,
    /// Requests that failed.
    pub errors: u32,
    /// Requests with a slow response.
    pub slow: u32,
}

impl Counts {
    /// The sum of both.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_add(other.requests),
            errors: self.errors.saturating_add(other.errors),
            slow: self.slow.saturating_add(other.slow),
        }
    }

    /// Whether there is nothing. There may be a failure without a request, if the request counted
    /// as a success before.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.requests == 0 && self.errors == 0 && self.slow == 0
    }
}

/// The counts of the last ten buckets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Window {
    width: Millis,
    /// Each with its number since 1970; bucket `n` is at index `n % 10`.
    pub(super) buckets: [(u64, Counts); BUCKETS],
}

impl Window {
    /// An empty window of ten buckets of this width.
    pub(super) const fn new(width: Millis) -> Self {
        let empty = (0, Counts { requests: 0, errors: 0, slow: 0 });
        Self { width, buckets: [empty; BUCKETS] }
    }

    pub(super) const fn width(&self) -> Millis {
        self.width
    }

    pub(super) fn add(&mut self, now: Timestamp, new: Counts) {
        let number = self.number(now);
        let place = usize::try_from(number % BUCKETS as u64).unwrap_or(0);
        if let Some(bucket) = self.buckets.get_mut(place) {
            if bucket.0 != number {
                *bucket = (number, Counts::default());
            }
            bucket.1 = bucket.1.plus(new);
        }
    }

    pub(super) fn total(&self, now: Timestamp) -> Counts {
        let number = self.number(now);
        let oldest = number.saturating_sub(BUCKETS as u64 - 1);
        let inside = self.buckets.iter().filter(|(n, _)| (oldest..=number).contains(n));
        inside.fold(Counts::default(), |sum, (_, counts)| sum.plus(*counts))
    }

    fn number(&self, now: Timestamp) -> u64 {
        now.get() / self.width.get().max(1)
    }
}
