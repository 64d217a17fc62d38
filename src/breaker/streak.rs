//! Failures in a row, as one worker sees them and as all workers share them.
//!
//! A streak is the failures since the latest answer that ended in order. Workers report both on
//! their ticks, with times on a clock that they share, so the order of the reports does not matter:
//! a success removes the failures before it, also if they were reported earlier.
//!
//! A unit counts for a third of the failures that are needed at most, so a single client cannot
//! complete a streak.

use super::local::News;
use super::units::Unit;
use crate::quantity::Millis;

/// How many of the latest failures are kept with time and unit.
pub(super) const KEPT: usize = 8;

/// A failure: when, and whose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) at: Millis,
    pub(super) unit: Unit,
}

impl Failure {
    pub(super) const NONE: Self = Self { at: Millis::ZERO, unit: Unit::NONE };
}

/// The failures that are needed, and how many units they must come from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Need {
    pub(super) failures: u32,
    /// One unit counts.
    pub(super) is_capped: bool,
}

impl Need {
    /// The failures of one unit that count among the latest.
    fn cap(self) -> usize {
        let third = usize::try_from(self.failures.div_ceil(3)).unwrap_or(KEPT);
        if self.is_capped { third.clamp(1, 3) } else { usize::MAX }
    }

    const fn units(self) -> u32 {
        match self.failures {
            _ if !self.is_capped => 1,
            few @ 0..=3 => few,
            _ => 3,
        }
    }
}

/// Failures since the latest answer that ended in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Streak {
    /// When the latest answer ended in order.
    pub(super) success: Millis,
    /// Failures before the latest ones.
    pub(super) older: u32,
    /// When the second of them happened, or the only one; the first of a streak may be chance.
    pub(super) older_since: Millis,
    /// The latest failures in the order of their times; `count` of them.
    pub(super) latest: [Failure; KEPT],
    pub(super) count: u8,
    /// Answers that have begun and are not over.
    pub(super) streams: u32,
    /// As many of them had begun when the streak began.
    pub(super) streams_before: u32,
}

impl Streak {
    pub(super) const fn new() -> Self {
        Self {
            success: Millis::ZERO,
            older: 0,
            older_since: Millis::ZERO,
            latest: [Failure::NONE; KEPT],
            count: 0,
            streams: 0,
            streams_before: 0,
        }
    }

    #[inline]
    pub(super) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Ends the streak as far as it is not younger than this success.
    #[inline]
    pub(super) fn succeed(&mut self, at: Millis) {
        self.success = self.success.max(at);
        if !self.is_empty() {
            self.forget();
        }
    }

    #[cold]
    fn forget(&mut self) {
        if self.older > 0 && self.older_since <= self.success {
            self.older = 0;
        }
        let kept = self.failures().iter().filter(|failure| failure.at > self.success);
        let mut latest = [Failure::NONE; KEPT];
        let mut count = 0;
        for (place, failure) in latest.iter_mut().zip(kept) {
            *place = *failure;
            count += 1;
        }
        (self.latest, self.count) = (latest, count);
        if self.is_empty() {
            self.older = 0;
        }
    }

    /// Adds what a worker has to share.
    #[inline(never)]
    pub(super) fn merge(&mut self, news: &News, need: Need) {
        let new = &news.streak;
        self.succeed(new.success);
        let was_empty = self.is_empty();
        if new.older > 0 && new.older_since > self.success {
            let since = if self.older > 0 { self.older_since } else { new.older_since };
            self.older_since = since.min(new.older_since);
            self.older = self.older.saturating_add(new.older);
        }
        new.failures().iter().for_each(|failure| self.fail(*failure, need));
        if was_empty && !self.is_empty() {
            self.streams_before = self.streams.saturating_add_signed(news.streams_before);
        }
        self.streams = self.streams.saturating_add_signed(news.streams);
    }

    /// Adds a failure, unless its unit has failed too often in this streak already.
    #[inline(never)]
    pub(super) fn fail(&mut self, failure: Failure, need: Need) {
        if failure.at <= self.success {
            return;
        }
        let same = self.failures().iter().filter(|other| other.unit == failure.unit).count();
        if same >= need.cap() {
            return;
        }
        if self.is_empty() {
            self.streams_before = self.streams;
        }
        if usize::from(self.count) == KEPT {
            if self.older <= 1 {
                self.older_since = self.latest.first().map_or(failure.at, |first| first.at);
            }
            self.older = self.older.saturating_add(1);
            self.latest.rotate_left(1);
        } else {
            self.count += 1;
        }
        // Reports of several workers overlap in time.
        let place = self.failures().len().saturating_sub(1);
        if let Some(last) = self.latest.get_mut(place) {
            *last = failure;
        }
        if let Some(failures) = self.latest.get_mut(..=place) {
            failures.sort_by_key(|failure| failure.at);
        }
    }

    /// The latest failures, in the order of their times.
    pub(super) fn failures(&self) -> &[Failure] {
        self.latest.get(..usize::from(self.count)).unwrap_or(&self.latest)
    }

    /// When the latest failure happened.
    #[inline]
    pub(super) fn ends_at(&self) -> Millis {
        self.failures().last().map_or(Millis::ZERO, |last| last.at)
    }

    /// When the second failure happened; the first may be chance.
    pub(super) fn began(&self) -> Millis {
        match (self.older, self.failures()) {
            (0, [_, second, ..]) | (1, [second, ..]) => second.at,
            (0, [first]) => first.at,
            (0 | 1, []) => self.success,
            _ => self.older_since,
        }
    }

    /// The failures up to this moment, less the answers that have begun since the first of them:
    /// those may end in order yet. `None` if they are too few, or of too few units.
    #[inline(never)]
    pub(super) fn complete(&self, need: Need, until: Millis) -> Option<u32> {
        let settled = self.failures().iter().filter(|failure| failure.at <= until);
        let failures = self.older.saturating_add(u32::try_from(settled.count()).unwrap_or(0));
        let begun = self.streams.saturating_sub(self.streams_before);
        let failures = failures.saturating_sub(begun);
        let is_complete =
            need.failures > 0 && failures >= need.failures && self.units() >= need.units();
        is_complete.then_some(failures)
    }

    /// The number of different units among the latest failures.
    fn units(&self) -> u32 {
        let failures = self.failures();
        let is_first = |(place, failure): &(usize, &Failure)| {
            !failures.iter().take(*place).any(|other| other.unit == failure.unit)
        };
        u32::try_from(failures.iter().enumerate().filter(is_first).count()).unwrap_or(0)
    }
}

/// The latest outcomes in their order, roughly: workers report them a tick at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Recent {
    /// One bit each, 1 for a failure, the latest in the lowest bit.
    pub(super) bits: u32,
    /// How many of these bits are outcomes.
    pub(super) known: u8,
}

impl Recent {
    /// The most that is kept.
    pub(super) const MOST: u8 = 32;

    #[inline]
    pub(super) fn add(&mut self, failed: bool) {
        self.bits = self.bits << 1 | u32::from(failed);
        self.known = Self::MOST.min(self.known.saturating_add(1));
    }

    /// Adds the outcomes of another worker as the latest.
    pub(super) fn append(&mut self, other: Self) {
        self.bits = self.bits.checked_shl(other.known.into()).unwrap_or(0) | other.bits;
        self.known = Self::MOST.min(self.known.saturating_add(other.known));
    }

    /// How many of the latest outcomes are failures, and of how many.
    pub(super) fn failures(self, latest: u32) -> (u32, u32) {
        let bits = self.bits & (u32::MAX >> (u32::BITS - latest.clamp(1, u32::BITS)));
        (bits.count_ones(), latest.min(self.known.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn failure(at: u64, unit: u32) -> Failure {
        Failure { at: Millis::new(at), unit: Unit(unit) }
    }

    /// Whether a streak of these units' failures is complete.
    fn is_complete(units: &str, failures: u32, is_capped: bool) -> bool {
        let mut streak = Streak::new();
        let need = Need { failures, is_capped };
        for (at, unit) in (1..).zip(units.bytes()) {
            match unit {
                b'.' => streak.succeed(Millis::new(at)),
                _ => streak.fail(failure(at, unit.into()), need),
            }
        }
        streak.complete(need, Millis::new(1000)).is_some()
    }

    #[test]
    fn a_streak_takes_three_units() {
        for (units, failures, expected) in [
            ("ABCDE", 5, true),
            ("ABCD", 5, false),
            ("ABCAB", 5, true),
            ("AABBC", 5, true),
            ("AAAAA", 5, false),
            ("AAAABBBB", 5, false),
            ("AAAAABC", 5, false),
            ("AAAAABCD", 5, true),
            ("ABCD.E", 5, false),
            ("ABCD.ABCDE", 5, true),
            ("AAAA.AAAA", 5, false),
            ("A", 1, true),
            ("AA", 2, false),
            ("AB", 2, true),
            ("AAB", 3, false),
            ("ABC", 3, true),
            ("AABB", 4, false),
            ("AABC", 4, true),
            ("ABCABCABCABCABCABCABC", 20, true),
            ("ABABABABABABABABABABABABABABABAB", 20, false),
            ("AAAAAAAAAAAAAAAAAAAAAAAAAAAAABC", 20, false),
        ] {
            assert_eq!(is_complete(units, failures, true), expected, "{failures} of {units}");
        }
    }

    #[test]
    fn without_caps_failures_count_whosever_they_are() {
        assert!(is_complete("AAAAA", 5, false) && !is_complete("AAA.AA", 5, false));
        assert!(is_complete(&"A".repeat(100), 100, false));
        assert!(!is_complete(&"A".repeat(99), 100, false));
    }

    #[test]
    fn the_order_of_reports_does_not_matter() {
        let need = Need { failures: 3, is_capped: false };
        let until = Millis::new(100);
        // A success at 20 that is reported last, among failures at 10, 30, 40 and 50.
        let mut streak = Streak::new();
        for at in [40, 10, 50, 30] {
            streak.fail(failure(at, 1), need);
        }
        streak.succeed(Millis::new(20));
        assert_eq!(streak.complete(need, until), Some(3));
        streak.fail(failure(15, 1), need);
        assert_eq!(streak.complete(need, until), Some(3), "it was before the success");
        assert_eq!(streak.began(), Millis::new(40));
        assert_eq!(streak.complete(need, Millis::new(49)), None, "not settled yet");
        streak.succeed(Millis::new(45));
        assert_eq!(streak.complete(need, until), None);
        // Failures that are not kept one by one end with a success among them.
        for at in 50..70 {
            streak.fail(failure(at, 1), need);
        }
        streak.succeed(Millis::new(55));
        assert_eq!(streak.complete(need, until), Some(8), "the latest are younger");
    }

    #[test]
    fn a_streak_begins_with_its_second_failure() {
        let need = Need { failures: 3, is_capped: false };
        let mut streak = Streak::new();
        for at in 1..30 {
            streak.fail(failure(at, 1), need);
            assert_eq!(streak.began(), Millis::new(at.min(2)), "after {at}");
        }
    }

    #[test]
    fn answers_that_stream_are_subtracted() {
        let need = Need { failures: 3, is_capped: false };
        let mut streak = Streak { streams: 10, ..Streak::new() };
        (1..=4).for_each(|at| streak.fail(failure(at, 1), need));
        assert_eq!(streak.complete(need, Millis::new(9)), Some(4));
        streak.streams = 12;
        assert_eq!(streak.complete(need, Millis::new(9)), None);
    }
}
