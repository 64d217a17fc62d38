//! A request's headers as Envoy hands them over: one block of bytes, read in place.
//!
//! One call for the whole map costs about as much as two single reads that hit, and a request needs path, host and
//! unit at least. It also shows which of the filter's own headers a client sent, so that only those are removed.
//!
//! The block: a count, then for each header the lengths of name and value, all as 32-bit little-endian numbers; then
//! each name and value, each followed by NUL.

use sidetrack::request::Request;

/// The block of a header map.
pub(crate) struct Headers(pub(crate) Vec<u8>);

impl Headers {
    /// Names and values in order. Lengths that point outside the block end the list.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let count = number(&self.0, 0).unwrap_or(0);
        let mut next = count.saturating_mul(8).saturating_add(4);
        (0..count).map_while(move |index| {
            let lengths = index.saturating_mul(8).saturating_add(4);
            let name_ends = next.checked_add(number(&self.0, lengths)?)?;
            let value_begins = name_ends.checked_add(1)?;
            let value_ends = value_begins.checked_add(number(&self.0, lengths.saturating_add(4))?)?;
            let header = (self.0.get(next..name_ends)?, self.0.get(value_begins..value_ends)?);
            next = value_ends.saturating_add(1);
            Some(header)
        })
    }
}

fn number(block: &[u8], at: usize) -> Option<usize> {
    let bytes = block.get(at..at.checked_add(4)?)?;
    usize::try_from(u32::from_le_bytes(bytes.try_into().ok()?)).ok()
}

impl Request for Headers {
    fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        // Envoy's names are lower case, and so are the plan's.
        self.iter().filter(move |(key, _)| *key == name.as_bytes()).map(|(_, value)| value)
    }
}
