//! Records of a table with separators: strict about quotes, and no fault swallows the lines after it.
//!
//! A quoted field may contain separators, doubled quotes and a few line ends. A quote that is not closed, or text behind a
//! closing quote, makes one line malformed: the next line is a new record. (Lenient readers take everything up to the
//! next quote as one field.)

use std::collections::VecDeque;
use std::io::{self, BufRead, Read};

/// How many further lines a quoted field may take.
pub(in crate::source) const QUOTED_LINES: usize = 20;
/// Separators, in the order in which they are tried.
pub(in crate::source) const SEPARATORS: [u8; 4] = *b",;\t|";
/// A longer line is malformed.
const LONGEST: u64 = 8 << 20;

/// The fields of one record.
#[derive(Debug, Default)]
pub(in crate::source) struct Record {
    text: Vec<u8>,
    /// Where each field ends in the text.
    ends: Vec<usize>,
    /// Fields that are numbers of JSON.
    numbers: Vec<usize>,
}

impl Record {
    pub(in crate::source) fn len(&self) -> usize {
        self.ends.len()
    }

    /// A field without the spaces around it.
    pub(in crate::source) fn get(&self, field: usize) -> Option<&[u8]> {
        let end = *self.ends.get(field)?;
        let before = field.checked_sub(1).and_then(|before| self.ends.get(before));
        self.text.get(before.copied().unwrap_or(0)..end).map(<[u8]>::trim_ascii)
    }

    pub(in crate::source) fn fields(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).filter_map(|field| self.get(field))
    }

    pub(in crate::source) fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
        self.numbers.clear();
    }

    /// Adds a field. `number`: a number of JSON, whose notation is certain.
    pub(in crate::source) fn push(&mut self, field: &[u8], number: bool) {
        if number {
            self.numbers.push(self.len());
        }
        self.text.extend_from_slice(field);
        self.end_field();
    }

    /// Whether a field is a number of JSON.
    pub(in crate::source) fn is_number(&self, field: usize) -> bool {
        self.numbers.contains(&field)
    }

    fn end_field(&mut self) {
        self.ends.push(self.text.len());
    }
}

/// Why a record is malformed as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source) enum Fault {
    Unclosed,
    AfterQuote,
    TooLong,
    /// An object of JSON breaks off.
    Cut,
    /// A line of JSON is no object.
    NotObject,
    /// An object of JSON has NaN or Infinity.
    NotNumber,
    /// An object of JSON has a key twice.
    KeyTwice,
}

impl Fault {
    pub(in crate::source) const fn words(self) -> &'static str {
        match self {
            Self::Unclosed => "a quote is not closed",
            Self::AfterQuote => "text after a closing quote; a quote within a field is doubled",
            Self::TooLong => "a line of more than 8 MiB",
            Self::Cut => "the JSON object breaks off",
            Self::NotObject => "not a JSON object",
            Self::NotNumber => "NaN and Infinity are no values of JSON; write null",
            Self::KeyTwice => "the JSON object has a key twice",
        }
    }
}

/// Reads records.
pub(in crate::source) struct Records {
    text: Box<dyn BufRead>,
    separator: u8,
    /// Lines that were read for a quoted field that never ended.
    pending: VecDeque<Vec<u8>>,
    line: u64,
}

impl Records {
    pub(in crate::source) fn new(text: Box<dyn BufRead>) -> Self {
        Self { text, separator: b',', pending: VecDeque::new(), line: 0 }
    }

    /// The first line that is not empty, as text. It is the header; [`Records::separate`] says how to read it.
    ///
    /// # Errors
    /// The text cannot be read.
    pub(in crate::source) fn first(&mut self) -> io::Result<Option<Vec<u8>>> {
        while let Some(line) = self.line()? {
            if !line.trim_ascii().is_empty() {
                return Ok(Some(line));
            }
        }
        Ok(None)
    }

    /// Sets the separator.
    pub(in crate::source) const fn separate(&mut self, separator: u8) {
        self.separator = separator;
    }

    /// The next record with the number of its first line, from 1; `None` at the end.
    ///
    /// # Errors
    /// The text cannot be read.
    pub(in crate::source) fn next(
        &mut self,
        record: &mut Record,
    ) -> io::Result<Option<(u64, Result<(), Fault>)>> {
        let Some(mut text) = self.first()? else { return Ok(None) };
        let first = self.line;
        if text.len() as u64 > LONGEST {
            return Ok(Some((first, Err(Fault::TooLong))));
        }
        let mut more = Vec::new();
        loop {
            match split(&text, self.separator, record) {
                Ok(true) => return Ok(Some((first, Ok(())))),
                Ok(false) if more.len() < QUOTED_LINES => match self.line()? {
                    Some(line) => {
                        text.push(b'\n');
                        text.extend_from_slice(&line);
                        more.push(line);
                    }
                    None => return Ok(Some((first, self.give_back(more, Fault::Unclosed)))),
                },
                Ok(false) => return Ok(Some((first, self.give_back(more, Fault::Unclosed)))),
                Err(fault) if more.is_empty() => return Ok(Some((first, Err(fault)))),
                // The quote was closed by the next field's opening quote, lines below.
                Err(_) => return Ok(Some((first, self.give_back(more, Fault::Unclosed)))),
            }
        }
    }

    /// Leaves the lines after the first to the next records.
    fn give_back(&mut self, lines: Vec<Vec<u8>>, fault: Fault) -> Result<(), Fault> {
        self.line -= lines.len() as u64;
        for line in lines.into_iter().rev() {
            self.pending.push_front(line);
        }
        Err(fault)
    }

    /// The next line without its end.
    fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        if let Some(line) = self.pending.pop_front() {
            self.line += 1;
            return Ok(Some(line));
        }
        let mut line = Vec::new();
        if self.text.by_ref().take(LONGEST + 1).read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        if line.len() as u64 > LONGEST && !line.ends_with(b"\n") {
            self.text.skip_until(b'\n')?;
        }
        self.line += 1;
        let end = line.strip_suffix(b"\n").unwrap_or(&line);
        let end = end.strip_suffix(b"\r").unwrap_or(end).len();
        line.truncate(end);
        // Where files were joined, a byte order mark is in the middle.
        if line.starts_with(b"\xef\xbb\xbf") {
            line.drain(..3);
        }
        Ok(Some(line))
    }
}

/// Splits a text into fields. `false`: it ends within a quoted field.
///
/// # Errors
/// Text behind a closing quote.
pub(in crate::source) fn split(
    text: &[u8],
    separator: u8,
    record: &mut Record,
) -> Result<bool, Fault> {
    record.clear();
    let mut rest = text;
    loop {
        let quoted = rest.trim_ascii_start().strip_prefix(b"\"");
        let Some(mut inside) = quoted.filter(|_| separator != b'\t' || rest.starts_with(b"\""))
        else {
            let end = memchr::memchr(separator, rest);
            record.text.extend_from_slice(rest.get(..end.unwrap_or(rest.len())).unwrap_or(rest));
            record.end_field();
            let Some(end) = end else { return Ok(true) };
            rest = rest.get(end + 1..).unwrap_or_default();
            continue;
        };
        loop {
            let Some(quote) = memchr::memchr(b'"', inside) else { return Ok(false) };
            let (before, after) = inside.split_at(quote);
            record.text.extend_from_slice(before);
            inside = after.get(1..).unwrap_or_default();
            let Some(again) = inside.strip_prefix(b"\"") else { break };
            record.text.push(b'"');
            inside = again;
        }
        record.end_field();
        let after = inside.iter().position(|byte| *byte != b' ');
        match after.map(|at| inside.split_at(at).1) {
            None => return Ok(true),
            Some([byte, more @ ..]) if *byte == separator => rest = more,
            Some(_) => return Err(Fault::AfterQuote),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(text: &'static str) -> Vec<(u64, Result<Vec<String>, Fault>)> {
        let mut records = Records::new(Box::new(text.as_bytes()));
        let mut record = Record::default();
        let mut out = Vec::new();
        while let Some((line, found)) = records.next(&mut record).unwrap() {
            let fields = || {
                record.fields().map(|field| String::from_utf8(field.to_vec()).unwrap()).collect()
            };
            out.push((line, found.map(|()| fields())));
        }
        out
    }

    fn good(line: u64, fields: &[&str]) -> (u64, Result<Vec<String>, Fault>) {
        (line, Ok(fields.iter().map(|field| (*field).to_owned()).collect()))
    }

    #[test]
    fn fields_are_separated_and_quoted() {
        let text = "a,b\r\n\n \"x, y\" , \"say \"\"no\"\"\"\n1,\n,\n\"two\nlines\",2";
        assert_eq!(
            records(text),
            [
                good(1, &["a", "b"]),
                good(3, &["x, y", "say \"no\""]),
                good(4, &["1", ""]),
                good(5, &["", ""]),
                good(6, &["two\nlines", "2"]),
            ]
        );
    }

    #[test]
    fn a_quote_that_is_not_closed_costs_one_line() {
        let text = "u1,\"1\nu2,2\nu3,\"3\"\nu4,4\nu5,\"5";
        assert_eq!(
            records(text),
            [
                (1, Err(Fault::Unclosed)),
                good(2, &["u2", "2"]),
                good(3, &["u3", "3"]),
                good(4, &["u4", "4"]),
                (5, Err(Fault::Unclosed)),
            ]
        );
        assert_eq!(records("\"a\"b,1\nc,2"), [(1, Err(Fault::AfterQuote)), good(2, &["c", "2"])]);
    }

    #[test]
    fn a_quote_within_a_field_is_a_letter() {
        assert_eq!(records("5\" disk,1"), [good(1, &["5\" disk", "1"])]);
    }
}
