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
    /// The length of the path without its query, found once.
    path: usize,
}

impl Headers {
    /// Takes a block. Lengths that point outside it end the list.
    #[inline]
    pub(crate) fn new(block: Vec<u8>) -> Self {
        let headers = Self { block, path: 0 };
        let path = headers.first(":path").map_or(0, |target| path_of(target).len());
        Self { path, ..headers }
    }

    #[inline]
    fn places(&self) -> Places<'_> {
        let (count, rest) = self.block.split_first_chunk().unwrap_or((&[0; 4], &[]));
        let lengths = rest.as_chunks().0;
        let lengths = lengths.get(..number(*count)).unwrap_or(lengths);
        Places { lengths: lengths.iter(), next: lengths.len().wrapping_mul(8).wrapping_add(4) }
    }

    #[inline]
    fn at(&self, place: Range<usize>) -> &[u8] {
        self.block.get(place).unwrap_or_default()
    }
}

/// The positions of names and values. There are few, so a lookup that walks through them costs less
/// than a table. Positions outside the block have no text.
struct Places<'a> {
    lengths: core::slice::Iter<'a, [u8; 8]>,
    next: usize,
}

impl Iterator for Places<'_> {
    type Item = (Range<usize>, Range<usize>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let &[a, b, c, d, e, f, g, h] = self.lengths.next()?;
        let start = self.next;
        let end = start.wrapping_add(number([a, b, c, d]));
        let value = end.wrapping_add(1);
        let value = value..value.wrapping_add(number([e, f, g, h]));
        self.next = value.end.wrapping_add(1);
        Some((start..end, value))
    }
}

fn number(bytes: [u8; 4]) -> usize {
    usize::try_from(u32::from_le_bytes(bytes)).unwrap_or(usize::MAX)
}

impl Request for Headers {
    #[inline]
    fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        // Envoy's names are lower case, and so are the plan's.
        let named = move |(other, _): &(Range<usize>, Range<usize>)| {
            other.end.wrapping_sub(other.start) == name.len()
                && self.at(other.clone()) == name.as_bytes()
        };
        self.places().filter(named).map(|(_, value)| self.at(value))
    }

    #[inline]
    fn path(&self) -> Option<&[u8]> {
        self.first(":path")?.get(..self.path)
    }
}

impl sidetrack_proxy::host::Headers for Headers {
    #[inline]
    fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.places().map(|(name, _)| self.at(name))
    }

    fn size(&self) -> usize {
        self.block.len()
    }
}
