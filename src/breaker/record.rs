//! Binary record of a breaker, which the workers of a proxy share: 758 bytes.
//!
//! The first byte is the version of the layout: a newer module that finds an older record starts
//! with a closed breaker instead of misreading it. A record with another length or with impossible
//! values is rejected.

use super::streak::{Failure, KEPT, Recent, Streak};
use super::units::{Offender, SeenUnits, Unit};
use super::window::{Counts, Window};
use super::{Breaker, STAGES, State};
use crate::quantity::{Millis, Timestamp};

const VERSION: u8 = 3;

/// The length of a record in bytes.
const LENGTH: usize = 758;

impl Breaker {
    /// The record of this breaker.
    #[inline(never)]
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (state, time, stage, seen) = match self.state {
            State::Closed(since) => (0, since.get(), 0, Counts::default()),
            State::Open(until) => (1, until.get(), 0, Counts::default()),
            State::HalfOpen(stage, seen) => (2, 0, u8::try_from(stage).unwrap_or(0), seen),
        };
        let mut bytes = vec![0; LENGTH];
        let mut out = Writer(&mut bytes);
        out.put([VERSION, state, stage, self.level]);
        out.short(self.epoch);
        for number in [self.clock.get(), time, self.window.width().get()] {
            out.long(number);
        }
        out.short(self.trips);
        out.long(self.active.get());
        out.counts(seen);
        out.long(self.window.latest);
        self.window.buckets.iter().for_each(|counts| out.counts(*counts));
        self.window.periods.iter().for_each(|counts| out.counts(*counts));
        for offender in &self.window.offenders.0 {
            out.short(offender.unit.0);
            let counts = offender.counts.as_flattened();
            counts.iter().for_each(|count| out.put(count.to_le_bytes()));
        }
        for (unit, number) in self.units.0 {
            out.short(unit.0);
            out.short(number);
        }
        out.streak(&self.streak);
        out.short(self.recent.bits);
        out.put([self.recent.known]);
        out.long(self.answered.get());
        bytes
    }

    /// Reads a record; `None` if it does not have this layout.
    #[inline(never)]
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let [version, state, stage, level] = reader.take()?;
        if version != VERSION || bytes.len() != LENGTH {
            return None;
        }
        let epoch = reader.short()?;
        let (clock, time, width) = (reader.long()?, reader.long()?, reader.long()?);
        let (trips, active) = (reader.short()?, reader.long()?);
        let seen = reader.counts()?;
        let state = match (state, usize::from(stage)) {
            (0, _) => State::Closed(Timestamp::new(time)),
            (1, _) => State::Open(Timestamp::new(time)),
            (2, stage) if stage < STAGES.len() => State::HalfOpen(stage, seen),
            _ => return None,
        };
        let mut window = Window::new(Millis::new(width));
        window.latest = reader.long()?;
        if window.latest > window.number(Timestamp::new(clock)) {
            return None;
        }
        for counts in window.buckets.iter_mut().chain(&mut window.periods) {
            *counts = reader.counts()?;
        }
        for offender in &mut window.offenders.0 {
            *offender = reader.offender()?;
        }
        let mut units = SeenUnits::new();
        for place in &mut units.0 {
            *place = (Unit(reader.short()?), reader.short()?);
        }
        let streak = reader.streak()?;
        let bits = reader.short()?;
        let [known] = reader.take()?;
        if known > Recent::MOST {
            return None;
        }
        Some(Self {
            epoch,
            level,
            clock: Timestamp::new(clock),
            state,
            trips,
            active: Millis::new(active),
            window,
            units,
            streak,
            recent: Recent { bits, known },
            answered: Millis::new(reader.long()?),
        })
    }
}

/// Writes into the rest of a record.
struct Writer<'a>(&'a mut [u8]);

impl Writer<'_> {
    fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        if let Some((place, rest)) = core::mem::take(&mut self.0).split_first_chunk_mut() {
            *place = bytes;
            self.0 = rest;
        }
    }

    #[inline(never)]
    fn short(&mut self, number: u32) {
        self.put(number.to_le_bytes());
    }

    #[inline(never)]
    fn long(&mut self, number: u64) {
        self.put(number.to_le_bytes());
    }

    #[inline(never)]
    fn counts(&mut self, counts: Counts) {
        self.short(counts.requests);
        self.short(counts.errors);
        self.short(counts.slow);
        self.short(counts.abandoned);
    }

    fn streak(&mut self, streak: &Streak) {
        self.long(streak.success.get());
        self.short(streak.older);
        self.long(streak.older_since.get());
        for failure in &streak.latest {
            self.long(failure.at.get());
            self.short(failure.unit.0);
        }
        self.put([streak.count]);
        self.short(streak.streams);
        self.short(streak.streams_before);
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    #[inline(never)]
    fn short(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    #[inline(never)]
    fn long(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn millis(&mut self) -> Option<Millis> {
        self.long().map(Millis::new)
    }

    #[inline(never)]
    fn counts(&mut self) -> Option<Counts> {
        let [requests, errors] = [self.short()?, self.short()?];
        let [slow, abandoned] = [self.short()?, self.short()?];
        Some(Counts { requests, errors, slow, abandoned })
    }

    fn offender(&mut self) -> Option<Offender> {
        let mut offender = Offender { unit: Unit(self.short()?), ..Offender::NONE };
        for count in offender.counts.as_flattened_mut() {
            *count = u16::from_le_bytes(self.take()?);
        }
        Some(offender)
    }

    fn streak(&mut self) -> Option<Streak> {
        let mut streak = Streak {
            success: self.millis()?,
            older: self.short()?,
            older_since: self.millis()?,
            ..Streak::new()
        };
        for failure in &mut streak.latest {
            *failure = Failure { at: self.millis()?, unit: Unit(self.short()?) };
        }
        [streak.count] = self.take()?;
        streak.streams = self.short()?;
        streak.streams_before = self.short()?;
        (usize::from(streak.count) <= KEPT).then_some(streak)
    }
}
