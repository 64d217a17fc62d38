//! Requests that wait for their bodies, and how many may.
//!
//! A waiting request keeps nothing in the filter but a place in these counts: its headers are read
//! again once its body has arrived, and until then the proxy has both. So a client that opens many
//! requests without ever sending their bodies costs the filter no memory, and the proxy no more
//! than these bounds. A request beyond them is decided as one without a body, and counted.

use std::cell::Cell;
use std::rc::Rc;

/// The most requests of a worker that may wait.
const MOST_REQUESTS: u32 = 50_000;

/// The most bytes that the headers of a worker's waiting requests have, and their bodies when they
/// are complete: 256 MiB. A body of unknown length counts as `settings.body_limit`.
const MOST_BYTES: u64 = 256 << 20;

/// A worker's waiting requests.
#[derive(Debug, Default)]
pub(crate) struct Held {
    requests: Cell<u32>,
    bytes: Cell<u64>,
}

/// The place of one waiting request, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    held: Rc<Held>,
    bytes: u64,
}

impl Hold {
    /// A place for a request of so many bytes; `None` beyond the bounds.
    pub(crate) fn take(held: &Rc<Held>, bytes: u64) -> Option<Self> {
        let requests = held.requests.get().checked_add(1).filter(|&all| all <= MOST_REQUESTS)?;
        let all = held.bytes.get().checked_add(bytes).filter(|&all| all <= MOST_BYTES)?;
        held.requests.set(requests);
        held.bytes.set(all);
        Some(Self { held: Rc::clone(held), bytes })
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let held = &self.held;
        held.requests.set(held.requests.get().saturating_sub(1));
        held.bytes.set(held.bytes.get().saturating_sub(self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_by_number_and_size_and_given_back() {
        let held = Rc::<Held>::default();
        let all: Vec<_> = (0..MOST_REQUESTS).map_while(|_| Hold::take(&held, 1)).collect();
        assert_eq!(all.len(), MOST_REQUESTS as usize);
        assert!(Hold::take(&held, 1).is_none());
        drop(all);
        let large = Hold::take(&held, MOST_BYTES - 1).unwrap();
        assert!(Hold::take(&held, 2).is_none());
        let rest = Hold::take(&held, 1).unwrap();
        drop(large);
        assert!(Hold::take(&held, MOST_BYTES).is_none());
        drop(rest);
        assert!(Hold::take(&held, MOST_BYTES).is_some());
        assert!(Hold::take(&held, u64::MAX).is_none());
        assert_eq!((held.requests.get(), held.bytes.get()), (0, 0));
    }
}
