//! What a breaker did, with the numbers that caused it: one line of the log each.

use core::fmt;

use super::window::Counts;
use crate::quantity::{Millis, Ppm};

/// A transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The candidate lost its units.
    Opened {
        /// What caused it.
        why: Why,
        /// For how long.
        length: Millis,
        /// It only would have, in a dry run.
        would: bool,
    },
    /// This share of its units tries the candidate.
    Trying(Ppm),
    /// The candidate has its units back.
    Closed,
}

/// What caused a trip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// A share was above its limit.
    Rate {
        /// Which share.
        kind: Kind,
        /// The candidate's requests.
        seen: Counts,
        /// The baseline's, when they were compared.
        baseline: Option<Counts>,
    },
    /// So many failures in a row on one worker.
    Streak(u32),
}

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The share of failures.
    Errors,
    /// The share of slow answers.
    Slow,
}

impl Kind {
    /// How many, of how many.
    pub(super) const fn of(self, counts: Counts) -> (u32, u32) {
        match self {
            Self::Errors => (counts.errors, counts.requests),
            Self::Slow => (counts.slow, counts.requests),
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Errors => "failed",
            Self::Slow => "were slow",
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opened { why, length, would } => {
                let (verb, note) =
                    if *would { ("would open", " (dry run)") } else { ("opens", "") };
                let (seconds, tenths) = (length.seconds(), length.get() % 1000 / 100);
                write!(f, "the breaker {verb} for {seconds}.{tenths} s{note}: {why}")
            }
            Self::Trying(share) => {
                write!(f, "the breaker is half-open: {share} percent of its units try it")
            }
            Self::Closed => write!(f, "the breaker is closed: it has its units back"),
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Streak(failures) => {
                write!(f, "{failures} requests in a row failed on one worker")
            }
            Self::Rate { kind, seen, baseline } => {
                let (count, of) = kind.of(*seen);
                write!(f, "{count} of {of} requests {}", kind.word())?;
                if let Some(baseline) = baseline {
                    let (count, of) = kind.of(*baseline);
                    write!(f, "; of the baseline's {count} of {of}")?;
                }
                Ok(())
            }
        }
    }
}
