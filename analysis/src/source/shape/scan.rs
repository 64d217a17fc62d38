//! Reading values of a line at a place. All functions return the place after what they read, and nothing for what is not
//! written plainly.

use super::Form;
use crate::row::Id;

/// Numbers with more digits are left to the parser.
const DIGITS: usize = 18;
/// How many bytes are compared at once.
const WORD: usize = 16;

/// Bytes that a line must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Literal {
    /// The first bytes, and which of them there are.
    word: u128,
    mask: u128,
    /// Those after them.
    rest: Box<[u8]>,
    length: usize,
}

impl Literal {
    pub(super) fn new(bytes: &[u8]) -> Self {
        let (head, rest) = bytes.split_at_checked(WORD).unwrap_or((bytes, &[]));
        let word = head.iter().rev().fold(0, |word, byte| word << 8 | u128::from(*byte));
        let mask = head.iter().fold(0, |mask, _| mask << 8 | 0xff);
        Self { word, mask, rest: rest.into(), length: bytes.len() }
    }

    /// The place after these bytes, if they are at this place and the text goes on for a word.
    #[inline]
    pub(super) fn after(&self, text: &[u8], at: usize) -> Option<usize> {
        let head: &[u8; WORD] = text.get(at..)?.first_chunk()?;
        if (u128::from_le_bytes(*head) ^ self.word) & self.mask != 0 {
            return None;
        }
        let end = at + self.length;
        let is_equal = self.rest.is_empty() || text.get(at + WORD..end)? == &*self.rest;
        is_equal.then_some(end)
    }
}

/// Text up to its closing quote that is no missing value. It has no escapes, no control characters, and only ASCII.
#[inline]
pub(super) fn text(line: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let end = quote(line, at)?;
    Some((line.get(at..end)?, end + 1))
}

/// The place of the quote that ends a plain text.
#[inline]
fn quote(line: &[u8], mut at: usize) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    // A byte that is zero borrows from its high bit. Beyond the first such byte, the others are not exact.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    loop {
        let word = u64::from_le_bytes(*line.get(at..)?.first_chunk()?);
        let controls = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
        let quotes = zeros(word ^ (ONES * u64::from(b'"')));
        let escapes = zeros(word ^ (ONES * u64::from(b'\\')));
        let special = quotes | escapes | controls | (word & HIGH);
        if special != 0 {
            at += (special.trailing_zeros() / 8) as usize;
            return (line.get(at) == Some(&b'"')).then_some(at);
        }
        at += 8;
    }
}

/// What identifies something: with its text.
#[inline]
pub(super) fn id(line: &[u8], at: usize, form: Form) -> Option<(Id, &[u8], usize)> {
    let bytes = match form {
        Form::Text => {
            // UUIDs and digests have no bytes that end a text.
            for length in [36, 32] {
                if line.get(at + length) == Some(&b'"')
                    && let Some(bytes) = line.get(at..at + length)
                    && let Some(id) = Id::of_digits(bytes)
                {
                    return Some((id, bytes, at + length + 1));
                }
            }
            let (bytes, after) = text(line, at)?;
            let is_missing = bytes.is_empty() || bytes == b"-";
            return (!is_missing).then(|| (Id::of_bytes(bytes), bytes, after));
        }
        Form::Number => line.get(at..digits(line, at)?.1)?,
    };
    Some((Id::of_bytes(bytes), bytes, at + bytes.len()))
}

/// A whole number without superfluous zeros.
#[inline]
pub(super) fn digits(line: &[u8], at: usize) -> Option<(u64, usize)> {
    let (mut number, mut end) = (0, at);
    while let Some(digit) = line.get(end).filter(|byte| byte.is_ascii_digit()) {
        number = number * 10 + u64::from(digit - b'0');
        end += 1;
        if end - at > DIGITS {
            return None;
        }
    }
    let is_plain = end == at + 1 || end > at && line.get(at) != Some(&b'0');
    is_plain.then_some((number, end))
}

/// A number without an exponent.
pub(super) fn decimal(line: &[u8], at: usize) -> Option<usize> {
    let start = at + usize::from(line.get(at) == Some(&b'-'));
    let (_, end) = digits(line, start)?;
    if line.get(end) != Some(&b'.') {
        return Some(end);
    }
    let decimals = line.get(end + 1..)?.iter().take(DIGITS + 1);
    let count = decimals.take_while(|byte| byte.is_ascii_digit()).count();
    (1..=DIGITS).contains(&count).then_some(end + 1 + count)
}
