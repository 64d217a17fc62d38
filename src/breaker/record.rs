//! Binary record of a breaker, which the workers of a proxy share.
//!
//! The first byte is the version of the layout: a newer module that finds an older record starts
//! with a closed breaker instead of misreading it. A record with another length or with impossible
//! values is rejected.

use super::window::{Counts, Window};
use super::{Breaker, STAGES, State};
use crate::quantity::{Millis, Timestamp};

const VERSION: u8 = 1;

impl Breaker {
    /// The record of this breaker.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (state, time, stage, seen) = match self.state {
            State::Closed(since) => (0, since.get(), 0, Counts::default()),
            State::Open(until) => (1, until.get(), 0, Counts::default()),
            State::HalfOpen(stage, seen) => (2, 0, u8::try_from(stage).unwrap_or(0), seen),
        };
        let mut out = Vec::with_capacity(256);
        out.extend([VERSION, state, stage, self.level]);
        out.extend(self.epoch.to_le_bytes());
        for number in [self.clock.get(), time, self.window.width().get()] {
            out.extend(number.to_le_bytes());
        }
        put(&mut out, seen);
        for (number, counts) in &self.window.buckets {
            out.extend(number.to_le_bytes());
            put(&mut out, *counts);
        }
        out
    }

    /// Reads a record; `None` if it does not have this layout.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let [version, state, stage, level] = reader.take()?;
        if version != VERSION {
            return None;
        }
        let epoch = u32::from_le_bytes(reader.take()?);
        let (clock, time, width) = (reader.number()?, reader.number()?, reader.number()?);
        let seen = reader.counts()?;
        let state = match (state, usize::from(stage)) {
            (0, _) => State::Closed(Timestamp::new(time)),
            (1, _) => State::Open(Timestamp::new(time)),
            (2, stage) if stage < STAGES.len() => State::HalfOpen(stage, seen),
            _ => return None,
        };
        let mut window = Window::new(Millis::new(width));
        for bucket in &mut window.buckets {
            *bucket = (reader.number()?, reader.counts()?);
        }
        reader.0.is_empty().then_some(Self {
            epoch,
            level,
            clock: Timestamp::new(clock),
            state,
            window,
        })
    }
}

fn put(out: &mut Vec<u8>, counts: Counts) {
    for number in [counts.requests, counts.errors, counts.slow] {
        out.extend(number.to_le_bytes());
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    fn number(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn counts(&mut self) -> Option<Counts> {
        let mut next = || self.take().map(u32::from_le_bytes);
        Some(Counts { requests: next()?, errors: next()?, slow: next()? })
    }
}
