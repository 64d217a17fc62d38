//! A request's headers as Envoy hands them over: one block of bytes, read in place.
//!
//! One call for the whole map costs about as much as two single reads that hit, and a request needs path, host and
//! unit at least. It also shows which of the filter's own headers a client sent, so that only those are removed.
//!
//! The block: a count, then for each header the lengths of name and value, all as 32-bit little-endian numbers; then
//! each name and value, each followed by NUL.

use core::ops::Range;

use sidetrack::request::Request;

/// A header map.
pub(crate) struct Headers {
    block: Vec<u8>,
    /// Where each name and each value stands. Found once: a decision asks for several headers.
    places: Vec<(Range<usize>, Range<usize>)>,
}

impl Headers {
    /// Reads a block. Lengths that point outside it end the list.
    pub(crate) fn new(block: Vec<u8>) -> Self {
        let count = number(&block, 0).unwrap_or(0).min(block.len() / 8);
        let mut next = count.saturating_mul(8).saturating_add(4);
        let mut places = Vec::with_capacity(count);
        for lengths in block.get(4..).unwrap_or_default().chunks_exact(8).take(count) {
            let (Some(name), Some(value)) = (number(lengths, 0), number(lengths, 4)) else { break };
            let name = next..next.saturating_add(name);
            let value = name.end.saturating_add(1)..name.end.saturating_add(1).saturating_add(value);
            if value.end > block.len() {
                break;
            }
            next = value.end.saturating_add(1);
            places.push((name, value));
        }
        Self { block, places }
    }

    /// Names and values in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let of = |place: &Range<usize>| self.block.get(place.clone()).unwrap_or_default();
        self.places.iter().map(move |(name, value)| (of(name), of(value)))
    }
}

fn number(block: &[u8], at: usize) -> Option<usize> {
    let bytes = block.get(at..at.checked_add(4)?)?;
    usize::try_from(u32::from_le_bytes(bytes.try_into().ok()?)).ok()
}

impl Request for Headers {
    fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        // Envoy's names are lower case, and so are the plan's.
        let of = |place: &Range<usize>| self.block.get(place.clone()).unwrap_or_default();
        let named =
            move |(key, _): &&(Range<usize>, _)| key.len() == name.len() && of(key) == name.as_bytes();
        self.places.iter().filter(named).map(move |(_, value)| of(value))
    }
}
