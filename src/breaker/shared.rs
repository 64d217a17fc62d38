//! Read-modify-write of one variant's shared breaker.
//!
//! A worker reads the record, applies its change and writes the result if the record still has the
//! version that it read; otherwise it starts over with the winner's record. So each outcome is
//! counted once, and each transition is made by one worker.

use super::local::LocalView;
use super::store::{Store, SwapError};
use super::{Breaker, Event, News, Rule};
use crate::quantity::{Millis, Timestamp};

/// Attempts to write a record before its outcomes are left to the next tick.
const ATTEMPTS: u32 = 8;

/// Workers write a record at least every second. One that was not written for this long was not
/// watched in between, so it says nothing about the variant now.
const UNWATCHED_AFTER: Millis = Millis::new(10_000);

/// The breaker of one variant, as all workers share it and as this worker sees it.
#[derive(Debug)]
pub(super) struct SharedBreaker {
    key: String,
    pub(super) view: LocalView,
}

impl SharedBreaker {
    /// Reads the record under this key, or creates it with a closed breaker. A breaker that nobody
    /// watched, or will watch, starts anew.
    pub(super) fn load(store: &impl Store, key: String, rule: &Rule, now: Timestamp) -> Self {
        let record = match read(store, &key) {
            Some((mut record, version)) => {
                let is_old = now.since(record.seen_at()) >= UNWATCHED_AFTER;
                if is_old || (!rule.is_active() && !record.is_untouched()) {
                    record.restart(rule, now);
                    // Whoever writes first has restarted it, or watches it.
                    store.swap(&key, &record.encode(), version).ok();
                }
                record
            }
            None => {
                let record = Breaker::new(rule, now);
                // The first worker of a proxy loads a configuration alone, so this write has no
                // competitor. Without a store, this worker continues alone.
                store.swap(&key, &record.encode(), 0).ok();
                record
            }
        };
        Self { key, view: LocalView::new(record, now) }
    }

    /// The record as the workers share it now; `None` if it is missing or unreadable.
    pub(super) fn read(&self, store: &impl Store) -> Option<Breaker> {
        read(store, &self.key).map(|(record, _)| record)
    }

    /// Applies `change` to the shared record and this worker's new outcomes, and retries after a
    /// lost race. Drops outcomes of an epoch that is over. Without a store, changes only this
    /// worker's view.
    pub(super) fn update(
        &mut self,
        store: &impl Store,
        now: Timestamp,
        change: impl Fn(&mut Breaker, &News) -> Option<Event>,
    ) -> Option<Event> {
        for _ in 0..ATTEMPTS {
            let found = read(store, &self.key);
            let version = found.as_ref().map_or(0, |(_, version)| *version);
            if let Some((record, _)) = found {
                self.view.adopt(record);
            }
            let mut record = self.view.shared.clone();
            let event = change(&mut record, &self.view.local.news);
            match store.swap(&self.key, &record.encode(), version) {
                Err(SwapError::Conflict) => {}
                Ok(()) | Err(SwapError::Unavailable) => {
                    self.view.local.clear_news();
                    self.view.adopt(record);
                    self.view.synced = now;
                    return event;
                }
            }
        }
        None
    }
}

#[inline(never)]
fn read(store: &impl Store, key: &str) -> Option<(Breaker, u32)> {
    let (bytes, version) = store.get(key)?;
    Some((Breaker::decode(&bytes)?, version))
}
