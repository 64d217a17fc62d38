//! A store in memory that can fail, and a wrapper that runs something between two of a worker's
//! accesses.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use crate::breaker::{Store, SwapError};

/// Shared data as Envoy keeps it: each write has a new version, and version 0 overwrites.
#[derive(Default)]
pub(crate) struct Memory {
    values: RefCell<HashMap<String, (Vec<u8>, u32)>>,
    latest: Cell<u32>,
    is_down: Cell<bool>,
    /// Writes of this key fail.
    pub(crate) read_only: RefCell<Option<&'static str>>,
    pub(crate) gets: Cell<u32>,
    pub(crate) swaps: Cell<u32>,
    pub(crate) conflicts: Cell<u32>,
}

impl Memory {
    /// While it is down, reads find nothing and writes fail; what it holds stays.
    pub(crate) fn set_down(&self, is_down: bool) {
        self.is_down.set(is_down);
    }

    /// The value of a key, without an access.
    pub(crate) fn value(&self, key: &str) -> Option<Vec<u8>> {
        self.values.borrow().get(key).map(|(value, _)| value.clone())
    }

    /// All keys, sorted.
    pub(crate) fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.values.borrow().keys().cloned().collect();
        keys.sort();
        keys
    }

    /// The number of reads and writes since the last call.
    pub(crate) fn take_accesses(&self) -> (u32, u32) {
        (self.gets.take(), self.swaps.take())
    }
}

impl Store for Memory {
    fn get(&self, key: &str) -> Option<(Vec<u8>, u32)> {
        self.gets.set(self.gets.get() + 1);
        if self.is_down.get() {
            return None;
        }
        self.values.borrow().get(key).cloned()
    }

    fn swap(&self, key: &str, value: &[u8], version: u32) -> Result<(), SwapError> {
        self.swaps.set(self.swaps.get() + 1);
        if self.is_down.get() || *self.read_only.borrow() == Some(key) {
            return Err(SwapError::Unavailable);
        }
        let mut values = self.values.borrow_mut();
        if values.get(key).is_some_and(|(_, found)| version != 0 && version != *found) {
            self.conflicts.set(self.conflicts.get() + 1);
            return Err(SwapError::Conflict);
        }
        self.latest.set(self.latest.get() + 1);
        values.insert(key.to_owned(), (value.to_vec(), self.latest.get()));
        Ok(())
    }
}

/// A moment at which other workers can act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment<'a> {
    /// The worker has read this key, and does not know yet what it will do.
    Read(&'a str),
    /// The worker has decided what to write to this key.
    Write(&'a str),
}

/// A store that calls `interrupt` at each [`Moment`].
pub(crate) struct Interrupted<'a, F> {
    pub(crate) memory: &'a Memory,
    pub(crate) interrupt: F,
}

impl<F: Fn(Moment<'_>)> Store for Interrupted<'_, F> {
    fn get(&self, key: &str) -> Option<(Vec<u8>, u32)> {
        let found = self.memory.get(key);
        (self.interrupt)(Moment::Read(key));
        found
    }

    fn swap(&self, key: &str, value: &[u8], version: u32) -> Result<(), SwapError> {
        (self.interrupt)(Moment::Write(key));
        self.memory.swap(key, value, version)
    }
}
