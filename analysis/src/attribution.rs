//! Attribution: outcomes about a unit count for a fixed time from its first request in a phase.
//!
//! Without it, users who joined yesterday have had a day to buy and others two weeks, so a variant whose users buy
//! *sooner* looks better than one whose users buy *more*. Units whose window is still open are left out, in all variants
//! alike.

use sidetrack::quantity::{Millis, Timestamp};

use crate::source::outcomes::Outcomes;
use crate::window::{Moment, Window};

/// The window of each unit, and the time up to which outcomes are known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attribution {
    /// How long outcomes count.
    pub(crate) length: Millis,
    /// Outcomes up to this moment are known: a window that ends later is open.
    pub(crate) known: Timestamp,
}

impl Attribution {
    /// `last`: when the log ends (see [`Tally::end`](crate::join::Tally::end)). Outcomes are known up to `--until` or the
    /// end of the log, but not beyond the end of the outcomes.
    pub(crate) fn new(length: Millis, last: u64, window: Window, outcomes: &Outcomes) -> Self {
        let until = window.until.map_or_else(|| Timestamp::new(last), Moment::time);
        let known = outcomes.end().map_or(until, |time| until.min(Timestamp::new(time)));
        Self { length, known }
    }

    /// Whether the window of a unit whose first request was at this time is still open.
    pub(crate) fn is_open(self, first: u64) -> bool {
        self.end(first) > self.known
    }

    /// The first moment after the window.
    pub(crate) fn end(self, first: u64) -> Timestamp {
        end(first, self.length)
    }
}

/// How many of so many times may lie beyond the end of a file: one in a thousand, and at least one of a hundred. A clock
/// that is wrong once must not move the end.
pub(crate) const fn stray(times: u64) -> u64 {
    if times < 100 { 0 } else { times.div_ceil(1000) }
}

/// Whether an outcome at this time is from after the window of a unit whose first request was at `first`.
pub(crate) fn is_late(first: u64, time: u64, length: Millis) -> bool {
    Timestamp::new(time) >= end(first, length)
}

fn end(first: u64, length: Millis) -> Timestamp {
    Timestamp::new(first) + length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_time_in_a_thousand_may_be_stray() {
        let found = [0, 99, 100, 1000, 1001, 14_000_000].map(stray);
        assert_eq!(found, [0, 0, 1, 1, 2, 14_000]);
    }

    #[test]
    fn a_window_begins_with_the_first_request_and_excludes_its_end() {
        let hour = Millis::new(3_600_000);
        let late = [0, 3_599_999, 3_600_000].map(|time| is_late(1000, 1000 + time, hour));
        assert_eq!(late, [false, false, true]);
        // An outcome slightly before the first request is a matter of clocks.
        assert!(!is_late(1000, 0, hour));
        let known = Timestamp::new(10_000_000);
        let attribution = Attribution { length: hour, known };
        assert!(!attribution.is_open(6_400_000) && attribution.is_open(6_400_001));
        assert_eq!(attribution.end(6_400_001), Timestamp::new(10_000_001));
    }
}
