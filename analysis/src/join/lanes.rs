//! Lanes: shared tables that take batches from several threads strictly in the order of their numbers.
//!
//! Batch n enters a lane after batch n − 1 has left it. All batches visit the lanes in the same order, so the batch with the
//! lowest number never waits, and there is no deadlock. At most one batch per thread exists, which bounds memory.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::growing::Growing;
use super::repeats::Repeats;
use super::tally::Tally;
use crate::error::Error;

/// How long a thread sleeps before it checks whether another one panicked or failed.
const CHECK: Duration = Duration::from_millis(200);

/// A table with the number of the batch whose turn it is.
#[derive(Debug)]
struct Lane<T> {
    state: Mutex<(u64, T)>,
    next: Condvar,
}

impl<T> Lane<T> {
    const fn new(table: T) -> Self {
        Self { state: Mutex::new((0, table)), next: Condvar::new() }
    }

    /// Applies `add` when it is this batch's turn. `None` if a thread panicked or failed meanwhile.
    fn enter<R>(
        &self,
        number: u64,
        broken: &AtomicBool,
        add: impl FnOnce(&mut T) -> R,
    ) -> Option<R> {
        let mut state = self.state.lock().ok()?;
        while state.0 != number {
            if broken.load(Ordering::Relaxed) {
                return None;
            }
            state = self.next.wait_timeout(state, CHECK).ok()?.0;
        }
        let result = add(&mut state.1);
        state.0 += 1;
        self.next.notify_all();
        Some(result)
    }

    fn into_table(self) -> T {
        self.state.into_inner().unwrap_or_else(PoisonError::into_inner).1
    }
}

/// The lane of repeats, that of the tally, and one per shard.
#[derive(Debug)]
pub(super) struct Lanes {
    repeats: Lane<Repeats>,
    tally: Lane<Tally>,
    shards: Vec<Lane<Growing>>,
    broken: AtomicBool,
    /// Why the lanes are broken, unless a thread panicked.
    error: Mutex<Option<Error>>,
}

impl Lanes {
    pub(super) fn new(tally: Tally, shards: Vec<Growing>) -> Self {
        Self {
            repeats: Lane::new(Repeats::default()),
            tally: Lane::new(tally),
            shards: shards.into_iter().map(Lane::new).collect(),
            broken: AtomicBool::new(false),
            error: Mutex::new(None),
        }
    }

    /// Releases the other threads: this one cannot go on.
    pub(super) fn fail(&self, error: Error) {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.broken.store(true, Ordering::Relaxed);
    }

    /// Releases the other threads if this one panics.
    pub(super) const fn guard(&self) -> Guard<'_> {
        Guard(&self.broken)
    }

    pub(super) fn repeats<R>(&self, number: u64, add: impl FnOnce(&mut Repeats) -> R) -> Option<R> {
        self.repeats.enter(number, &self.broken, add)
    }

    pub(super) fn tally<R>(&self, number: u64, add: impl FnOnce(&mut Tally) -> R) -> Option<R> {
        self.tally.enter(number, &self.broken, add)
    }

    pub(super) fn shard<R>(
        &self,
        number: u64,
        shard: usize,
        add: impl FnOnce(&mut Growing) -> R,
    ) -> Option<R> {
        self.shards.get(shard)?.enter(number, &self.broken, add)
    }

    /// What was read.
    ///
    /// # Errors
    /// That of [`Lanes::fail`].
    pub(super) fn into_parts(self) -> Result<(Repeats, Tally, Vec<Growing>), Error> {
        if let Some(error) = self.error.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        let shards = self.shards.into_iter().map(Lane::into_table).collect();
        Ok((self.repeats.into_table(), self.tally.into_table(), shards))
    }
}

/// Marks the lanes as broken when its thread panics.
pub(super) struct Guard<'l>(&'l AtomicBool);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Waits for a thread that must not hang.
    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn batches_enter_in_the_order_of_their_numbers() {
        let lanes = Lane::new(Vec::new());
        let broken = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for number in (0..8).rev() {
                let (lane, broken) = (&lanes, &broken);
                scope.spawn(move || lane.enter(number, broken, |list| list.push(number)));
            }
        });
        assert_eq!(lanes.into_table(), (0..8).collect::<Vec<_>>());
    }

    #[test]
    fn a_thread_that_panics_releases_those_that_wait_for_it() {
        let lanes = std::sync::Arc::new(Lanes::new(Tally::default(), Vec::new()));
        let (sender, ended) = mpsc::channel();
        let waiting = std::sync::Arc::clone(&lanes);
        // Batch 1 waits for batch 0, which never comes. Not joined, so that a hang fails the test.
        std::thread::spawn(move || sender.send(waiting.tally(1, |_| ()).is_some()));
        assert_eq!(ended.recv_timeout(2 * CHECK), Err(mpsc::RecvTimeoutError::Timeout));
        drop(lanes.guard());
        assert_eq!(ended.recv_timeout(2 * CHECK), Err(mpsc::RecvTimeoutError::Timeout));
        let panics = std::sync::Arc::clone(&lanes);
        let panicked = std::thread::spawn(move || {
            let _guard = panics.guard();
            std::panic::resume_unwind(Box::new("a batch that cannot be read"));
        });
        assert!(panicked.join().is_err());
        assert_eq!(ended.recv_timeout(PATIENCE), Ok(false));
    }
}
