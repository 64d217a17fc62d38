//! The counts of a load.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// The counts of a load, running or finished.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Completed requests: responses and errors.
    pub done: u64,
    /// Responses by HTTP status.
    pub by_status: BTreeMap<u16, u64>,
    /// Requests without a response: refused, reset, timed out.
    pub errors: u64,
    /// Requests sent more than 100 ms after they were due: this machine or the connections were busy.
    pub late: u64,
}

impl Totals {
    /// The number of responses with this status.
    #[must_use]
    pub fn status(&self, status: u16) -> u64 {
        self.by_status.get(&status).copied().unwrap_or_default()
    }
}

/// Totals shared by many tasks.
#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<Totals>);

impl Tally {
    /// Counts one request; without a status it counts as an error.
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
