//! What came of a load, counted.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// The counts of a load, so far or at its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests with an answer or an error.
    pub done: u64,
    /// Answers by HTTP status.
    pub by_status: BTreeMap<u16, u64>,
    /// Requests without an answer: refused, broken off, timed out.
    pub errors: u64,
    /// Requests that went out more than 100 ms after they were due: this machine or the connections were busy.
    pub late: u64,
}

impl Totals {
    /// The number of answers with this status.
    #[must_use]
    pub fn status(&self, status: u16) -> u64 {
        self.by_status.get(&status).copied().unwrap_or_default()
    }
}

/// Totals that many tasks add to.
#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<Totals>);

impl Tally {
    /// Counts one request; without a status it was an error.
    pub(super) fn add(&self, status: Option<u16>, late: bool) {
        let mut totals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        totals.done += 1;
        totals.late += u64::from(late);
        match status {
            Some(status) => *totals.by_status.entry(status).or_default() += 1,
            None => totals.errors += 1,
        }
    }

    pub(super) fn totals(&self) -> Totals {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
