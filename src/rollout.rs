//! The weights as a function of the clock, and of nothing else: no memory, so a restart, a late start or a clock
//! that jumps gives the phase of that instant.

use crate::plan::PerVariant;
use crate::quantity::{Millis, Ppm, Timestamp};

/// The weights of an experiment and when they hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// The same weights always.
    Fixed(PerVariant<Ppm>),
    /// Phase after phase.
    Rollout(Rollout),
}

/// Phases from a start on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollout {
    /// When the first phase begins.
    pub start: Timestamp,
    /// The phases in order; never empty.
    pub phases: Vec<Phase>,
}

/// One step of a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phase {
    /// The name in headers and metrics.
    pub name: String,
    /// How long it lasts; the last one stays in force.
    pub length: Option<Millis>,
    /// The weights.
    pub weights: PerVariant<Ppm>,
}

/// What holds at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InForce<'a> {
    /// Before the rollout's start.
    NotStarted,
    /// These weights; with a rollout, the phase's index.
    Weights(&'a PerVariant<Ppm>, Option<usize>),
}

impl Schedule {
    /// What holds at `now`.
    #[must_use]
    pub fn at(&self, now: Timestamp) -> InForce<'_> {
        match self {
            Self::Fixed(weights) => InForce::Weights(weights, None),
            Self::Rollout(rollout) => rollout.at(now),
        }
    }

    /// The phases; empty without a rollout.
    #[must_use]
    pub fn phases(&self) -> &[Phase] {
        match self {
            Self::Fixed(_) => &[],
            Self::Rollout(rollout) => &rollout.phases,
        }
    }
}

impl Rollout {
    /// When the phase of this index begins, and when the next one does; `None` for the last phase.
    #[must_use]
    pub fn times(&self, index: usize) -> (Timestamp, Option<Timestamp>) {
        let length = |phase: &Phase| phase.length.unwrap_or_default();
        let before: Millis = self.phases.iter().take(index).map(length).sum();
        let begins = self.start + before;
        let is_last = index + 1 >= self.phases.len();
        let ends = self.phases.get(index).filter(|_| !is_last);
        (begins, ends.map(|phase| begins + length(phase)))
    }

    fn at(&self, now: Timestamp) -> InForce<'_> {
        if now < self.start {
            return InForce::NotStarted;
        }
        let mut begins = self.start;
        let mut current = InForce::NotStarted;
        for (index, phase) in self.phases.iter().enumerate() {
            if now < begins {
                break;
            }
            current = InForce::Weights(&phase.weights, Some(index));
            begins = begins + phase.length.unwrap_or(Millis::new(u64::MAX));
        }
        current
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rollout() -> Rollout {
        let phase = |name: &str, length| Phase {
            name: name.to_owned(),
            length,
            weights: PerVariant::new(vec![]),
        };
        Rollout {
            start: Timestamp::new(1000),
            phases: vec![
                phase("a", Some(Millis::new(10))),
                phase("b", Some(Millis::new(10))),
                phase("c", None),
            ],
        }
    }

    #[test]
    fn a_phase_ends_when_the_next_one_begins() {
        let times = |index| {
            let (begins, ends) = rollout().times(index);
            (begins.get(), ends.map(Timestamp::get))
        };
        assert_eq!([0, 1, 2].map(times), [(1000, Some(1010)), (1010, Some(1020)), (1020, None)]);
    }

    #[test]
    fn the_phase_is_the_one_of_the_instant() {
        let schedule = Schedule::Rollout(rollout());
        let at = |now| match schedule.at(Timestamp::new(now)) {
            InForce::NotStarted => None,
            InForce::Weights(_, phase) => phase,
        };
        assert_eq!(
            [0, 999, 1000, 1009, 1010, 1019, 1020].map(at),
            [None, None, Some(0), Some(0), Some(1), Some(1), Some(2)]
        );
        assert_eq!(at(u64::MAX), Some(2));
    }
}
