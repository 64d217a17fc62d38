//! What reaches the experiment store: records, rows, bodies and headers. The first byte selects the parser.
//!
//! Nothing panics, and what is accepted is accepted again in the form in which it is stored, as the same row or record.

use sidetrack_store::fuzzing::PARSERS;

/// One input.
pub fn run(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    // Digits, so that seeds can be written by hand.
    let number = usize::from(first.wrapping_sub(b'0')) % PARSERS.len();
    PARSERS[number].1(rest);
}
