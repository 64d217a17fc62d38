//! Transitions of a breaker, with the numbers that caused them. Each is one line of the log.

use core::fmt;

use super::window::Counts;
use crate::quantity::{Millis, Ppm};

/// A transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The baseline serves the candidate's units.
    Opened {
        /// What caused it.
        why: Why,
        /// For how long.
        length: Millis,
        /// In a dry run, the breaker only reports it.
        would: bool,
    },
    /// The candidate serves this share of its units, in the recovery from the trip of this number.
    Trying(Ppm, u32),
    /// The candidate serves all of its units again.
    Closed,
}

/// What caused a trip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// A share was above its limit.
    Rate {
        /// The share.
        kind: Kind,
        /// The candidate's requests.
        seen: Counts,
        /// The baseline's requests, if they were compared.
        baseline: Option<Counts>,
    },
    /// This many failures in a row.
    Streak(u32),
}

/// A share that is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The share of failures.
    Errors,
    /// The share of slow answers.
    Slow,
    /// The share of requests that their clients abandoned before a response.
    Abandoned,
}

impl Kind {
    /// All kinds.
    pub(super) const ALL: [Self; 3] = [Self::Errors, Self::Slow, Self::Abandoned];

    /// The requests that count for it, and all requests.
    pub(super) const fn of(self, counts: Counts) -> (u32, u32) {
        match self {
            Self::Abandoned => (counts.abandoned, counts.requests.saturating_add(counts.abandoned)),
            Self::Errors => (counts.errors, counts.requests),
            Self::Slow => (counts.slow, counts.requests),
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Errors => "failed",
            Self::Slow => "were slow",
            Self::Abandoned => "were abandoned by their clients before a response",
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
            Self::Trying(share, trip) => {
                write!(f, "the breaker is half-open: {share} percent of its units try it")?;
                write!(f, " after trip {trip}")
            }
            Self::Closed => write!(f, "the breaker is closed: it has its units back"),
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Streak(failures) => {
                write!(f, "{failures} requests in a row failed")
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
