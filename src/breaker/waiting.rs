//! The requests of one worker that wait for an answer.
//!
//! Insertion and removal are O(1) and allocate nothing once the worker has had as many requests
//! waiting. A tick visits only what waits.

use super::ticket::{Place, Request};
use crate::quantity::Millis;

/// Stands for no place.
const NOWHERE: u32 = u32::MAX;

/// Requests that wait for an answer.
#[derive(Debug)]
pub(super) struct Waiting {
    /// In no order.
    entries: Vec<Entry>,
    /// By place: the index of the entry, or the next free place.
    places: Vec<u32>,
    /// The first free place.
    free: u32,
}

/// A request that waits for an answer.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) request: Request,
    /// Since when.
    pub(super) since: Millis,
    pub(super) upload: Upload,
    place: u32,
}

/// How much of a request has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upload {
    /// All of it.
    Whole,
    /// A part, and more since the last tick.
    Moving,
    /// A part, and no more since the last tick.
    Stalled,
}

impl Waiting {
    pub(super) const fn new() -> Self {
        Self { entries: Vec::new(), places: Vec::new(), free: NOWHERE }
    }

    #[inline]
    pub(super) fn insert(
        &mut self,
        request: Request,
        since: Millis,
        upload: Upload,
    ) -> Option<Place> {
        let index = u32::try_from(self.entries.len()).ok().filter(|&index| index < NOWHERE)?;
        let place = match self.places.get_mut(self.free as usize) {
            Some(slot) => core::mem::replace(&mut self.free, core::mem::replace(slot, index)),
            None => {
                self.places.push(index);
                index
            }
        };
        self.entries.push(Entry { request, since, upload, place });
        Some(Place(place))
    }

    pub(super) fn entry(&mut self, Place(place): Place) -> Option<&mut Entry> {
        let index = *self.places.get(place as usize)?;
        self.entries.get_mut(index as usize)
    }

    /// Removes a request, and returns it with what has been counted of it.
    #[inline]
    pub(super) fn remove(&mut self, Place(place): Place) -> Option<Entry> {
        let slot = self.places.get_mut(place as usize)?;
        let index = core::mem::replace(slot, self.free) as usize;
        self.free = place;
        if index >= self.entries.len() {
            return None;
        }
        let removed = self.entries.swap_remove(index);
        if let Some(moved) = self.entries.get(index)
            && let Some(slot) = self.places.get_mut(moved.place as usize)
        {
            *slot = u32::try_from(index).unwrap_or(NOWHERE);
        }
        Some(removed)
    }

    pub(super) fn iter_mut(&mut self) -> core::slice::IterMut<'_, Entry> {
        self.entries.iter_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::breaker::Served;
    use crate::plan::{ExperimentId, VariantId};

    fn request(number: u32) -> Request {
        let served = Served { experiment: ExperimentId::new(0), variant: VariantId::new(0) };
        Request::new(served, number, None)
    }

    #[test]
    fn requests_leave_in_any_order_and_places_are_used_again() {
        let mut waiting = Waiting::new();
        let mut present: Vec<(Place, u32)> = Vec::new();
        for step in 0..10_000_u32 {
            // Grows and shrinks between none and some hundred.
            let grows = (step / 300).is_multiple_of(2) || step % 3 == 0;
            if grows {
                let place =
                    waiting.insert(request(step), Millis::new(step.into()), Upload::Whole).unwrap();
                assert!(present.iter().all(|(other, _)| *other != place));
                present.push((place, step));
            } else if !present.is_empty() {
                let at = (step as usize).wrapping_mul(7919) % present.len();
                let (place, number) = present.swap_remove(at);
                assert_eq!(waiting.entry(place).unwrap().request.epoch, number);
                assert_eq!(waiting.remove(place).unwrap().request.epoch, number);
            }
            assert_eq!(waiting.entries.len(), present.len());
        }
        let most = waiting.places.len();
        let mut left: Vec<u32> = waiting.iter_mut().map(|entry| entry.request.epoch).collect();
        left.sort_unstable();
        let mut expected: Vec<u32> = present.iter().map(|(_, number)| *number).collect();
        expected.sort_unstable();
        assert_eq!(left, expected);
        for (place, _) in present.drain(..) {
            waiting.remove(place).unwrap();
        }
        for number in 0..u32::try_from(most).unwrap() {
            waiting.insert(request(number), Millis::ZERO, Upload::Whole).unwrap();
        }
        assert_eq!(waiting.places.len(), most, "no new place was needed");
    }
}
