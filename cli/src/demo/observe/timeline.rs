//! Responses by time: a count per slice, and separate counts since the recovery.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The length of a slice.
pub(crate) const SLICE: Duration = Duration::from_millis(250);

/// The responses in one slice of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Slice {
    pub(crate) responses: u64,
    /// Those from candidates.
    pub(crate) from_candidates: u64,
}

/// The responses since the recovery.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recovery {
    /// Users by the variant of their first response since then.
    pub(crate) users: Vec<u64>,
    /// Responses from the baseline to a candidate's users.
    pub(crate) fallbacks: u64,
}

pub(super) struct Timeline {
    started: Instant,
    variants: usize,
    slices: Vec<Slice>,
    recovery: Option<(HashMap<u64, usize>, u64)>,
}

impl Timeline {
    pub(super) fn start(variants: usize) -> Self {
        Self { started: Instant::now(), variants, slices: Vec::new(), recovery: None }
    }

    /// Counts a response to a user: the variant that served it, and the variant that the user belongs to.
    pub(super) fn record(
        &mut self,
        user: u64,
        variant: usize,
        home: usize,
        baseline: Option<usize>,
    ) {
        let at = self.index();
        if self.slices.len() <= at {
            self.slices.resize(at + 1, Slice::default());
        }
        if let Some(slice) = self.slices.get_mut(at) {
            slice.responses += 1;
            slice.from_candidates += u64::from(Some(variant) != baseline);
        }
        if let Some((users, fallbacks)) = &mut self.recovery {
            users.entry(user).or_insert(variant);
            *fallbacks += u64::from(variant != home);
        }
    }

    pub(super) fn start_recovery(&mut self) {
        self.recovery = Some((HashMap::new(), 0));
    }

    /// The complete slices.
    pub(super) fn slices(&self) -> Vec<Slice> {
        self.slices.get(..self.index()).unwrap_or(&self.slices).to_vec()
    }

    pub(super) fn recovery(&self) -> Option<Recovery> {
        let (users, fallbacks) = self.recovery.as_ref()?;
        let count = |variant| users.values().filter(|user| **user == variant).count() as u64;
        Some(Recovery { users: (0..self.variants).map(count).collect(), fallbacks: *fallbacks })
    }

    fn index(&self) -> usize {
        let index = self.started.elapsed().as_millis() / SLICE.as_millis();
        usize::try_from(index).unwrap_or(usize::MAX)
    }
}
