//! A request's headers as Envoy returns them: one block of bytes, read in place.
//!
//! Reading the whole map costs about as much as two single reads that find a value, and a request
//! needs at least path, host and unit. It also shows which of the filter's own headers the client
//! sent, so only those are removed.
//!
//! The block: a count; for each header the lengths of name and value, all as 32-bit little-endian
//! numbers; then each name and value, each followed by NUL.

use core::ops::Range;

use sidetrack::request::{Request, path_of};

/// A header map.
pub(crate) struct Headers {
    block: Vec<u8>,
    /// Located once: a decision reads several headers.
    places: Vec<Place>,
    /// The path without its query; empty without one.
    path: Range<usize>,
}

/// The position of a name and its value.
struct Place {
    name: Range<usize>,
    value: Range<usize>,
}

impl Headers {
    /// Reads a block. Lengths that point outside it end the list.
    #[inline(never)]
    pub(crate) fn new(block: Vec<u8>) -> Self {
        let (count, lengths) = block.split_first_chunk().unwrap_or((&[0; 4], &[]));
        let count = number(*count).min(lengths.len() / 8);
        let mut places = Vec::with_capacity(count);
        let mut path = 0..0;
        let mut next = count * 8 + 4;
        for &[a, b, c, d, e, f, g, h] in lengths.as_chunks().0.iter().take(count) {
            let name = next..next.saturating_add(number([a, b, c, d]));
            let value = name.end.saturating_add(1);
            let value = value..value.saturating_add(number([e, f, g, h]));
            let Some(text) = block.get(value.clone()) else { break };
            next = value.end.saturating_add(1);
            if path.is_empty() && block.get(name.clone()) == Some(b":path") {
                path = value.start..value.start + path_of(text).len();
            }
            places.push(Place { name, value });
        }
        Self { block, places, path }
    }

    fn at(&self, place: &Range<usize>) -> &[u8] {
        self.block.get(place.clone()).unwrap_or_default()
    }
}

fn number(bytes: [u8; 4]) -> usize {
    usize::try_from(u32::from_le_bytes(bytes)).unwrap_or(usize::MAX)
}

impl Request for Headers {
    fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        // Envoy's names are lower case, and so are the plan's.
        let named = move |place: &&Place| {
            place.name.len() == name.len() && self.at(&place.name) == name.as_bytes()
        };
        self.places.iter().filter(named).map(|place| self.at(&place.value))
    }

    fn path(&self) -> Option<&[u8]> {
        Some(self.at(&self.path)).filter(|path| !path.is_empty())
    }
}

impl sidetrack_proxy::host::Headers for Headers {
    fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.places.iter().map(|place| self.at(&place.name))
    }

    fn size(&self) -> usize {
        self.block.len()
    }
}
