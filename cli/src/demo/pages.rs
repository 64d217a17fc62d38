//! The part of the ledger that knows when: who served in each slice of time, and who since the recovery.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long a slice is.
pub(super) const SLICE: Duration = Duration::from_millis(250);

/// A slice of time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Slice {
    pub(super) answers: u64,
    /// Those of candidates.
    pub(super) of_candidates: u64,
}

/// Since the recovery.
#[derive(Clone, Debug, Default)]
pub(super) struct Recovery {
    /// Users by the variant that served them first since then.
    pub(super) users: Vec<u64>,
    /// Answers of the baseline to a candidate's users.
    pub(super) lent: u64,
}

pub(super) struct Pages {
    begun: Instant,
    variants: usize,
    slices: Vec<Slice>,
    recovery: Option<(HashMap<u64, usize>, u64)>,
}

impl Pages {
    /// Nothing, as of now.
    pub(super) fn begin(variants: usize) -> Self {
        Self { begun: Instant::now(), variants, slices: Vec::new(), recovery: None }
    }

    /// Enters an answer: who got it of whom, and of whom by the draw.
    pub(super) fn enter(
        &mut self,
        user: u64,
        variant: usize,
        home: usize,
        baseline: Option<usize>,
    ) {
        let at = self.slice();
        if self.slices.len() <= at {
            self.slices.resize(at + 1, Slice::default());
        }
        if let Some(slice) = self.slices.get_mut(at) {
            slice.answers += 1;
            slice.of_candidates += u64::from(Some(variant) != baseline);
        }
        if let Some((users, lent)) = &mut self.recovery {
            users.entry(user).or_insert(variant);
            *lent += u64::from(variant != home);
        }
    }

    pub(super) fn recovers(&mut self) {
        self.recovery = Some((HashMap::new(), 0));
    }

    /// The slices that are over, and the recovery.
    pub(super) fn read(&self) -> (Vec<Slice>, Option<Recovery>) {
        let over = self.slices.get(..self.slice()).unwrap_or(&self.slices).to_vec();
        let recovery = self.recovery.as_ref().map(|(users, lent)| Recovery {
            users: (0..self.variants).map(|v| count(users.values().filter(|u| **u == v))).collect(),
            lent: *lent,
        });
        (over, recovery)
    }

    fn slice(&self) -> usize {
        usize::try_from(self.begun.elapsed().as_millis() / SLICE.as_millis()).unwrap_or(usize::MAX)
    }
}

fn count(of: impl Iterator) -> u64 {
    of.count() as u64
}
