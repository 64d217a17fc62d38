//! Exposures as a table with a header (CSV): the columns have the names of the log's fields.
//!
//! Rows are read as strictly as those of the outcomes: what breaks one row costs no other one.

use std::borrow::Cow;
use std::io::Cursor;

use sidetrack::names::log;

use super::blocks::Block;
use super::line::{Field, Line, Slot};
use super::outcomes::records::{QUOTED_LINES, Record, Records, SEPARATORS, split};

/// So many columns with names of the log make a table one of exposures.
const KNOWN: usize = 3;

/// The header of a table.
#[derive(Debug)]
pub(super) struct Head {
    separator: u8,
    names: Vec<String>,
}

impl Head {
    /// Reads the first line of a text; `None` if it is not a table of exposures.
    pub(super) fn of(text: &[u8]) -> Option<Self> {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let end = memchr::memchr(b'\n', text).unwrap_or(text.len());
        let line = text.get(..end).unwrap_or_default().trim_ascii();
        if line.starts_with(b"{") {
            return None;
        }
        let read = |separator: &u8| {
            let mut record = Record::default();
            split(line, *separator, &mut record).ok().filter(|whole| *whole)?;
            let names = record.fields().map(|name| String::from_utf8_lossy(name).into_owned());
            Some(Self { separator: *separator, names: names.collect() })
        };
        SEPARATORS.iter().filter_map(read).find(|head| {
            let known = head.names.iter().filter(|name| Slot::of(name).is_some()).count();
            known >= KNOWN && head.names.iter().any(|name| name == log::EXPERIMENT)
        })
    }

    fn is(&self, record: &Record) -> bool {
        record.fields().eq(self.names.iter().map(String::as_bytes))
    }
}

/// A row of a table.
#[expect(
    clippy::large_enum_variant,
    reason = "one at a time, on the stack: a box would cost an allocation per row"
)]
pub(super) enum Row<'r> {
    Fields(Line<'r>),
    /// Why it cannot be read, and whether a field is the experiment's name.
    Lost(String, bool),
}

/// Gives the rows of a block, each with its line, until one is refused.
pub(super) fn rows(
    head: &Head,
    block: &Block,
    experiment: &str,
    take: &mut dyn FnMut(u64, Row<'_>) -> bool,
) {
    let mut records = Records::new(Box::new(Cursor::new(block.text.clone())));
    records.separate(head.separator);
    let mut record = Record::default();
    // Reading from memory cannot fail.
    while let Ok(Some((line, found))) = records.next(&mut record) {
        if head.is(&record) {
            continue;
        }
        let row = match found {
            Ok(()) => fields(head, &record, experiment),
            Err(fault) => Row::Lost(fault.words().to_owned(), names(&record, experiment)),
        };
        if !take(block.first_line + line - 1, row) {
            return;
        }
    }
}

fn fields<'r>(head: &Head, record: &'r Record, experiment: &str) -> Row<'r> {
    let width = head.names.len();
    if record.len() != width {
        let problem = format!("{} fields, but the header has {width}", record.len());
        return Row::Lost(problem, names(record, experiment));
    }
    let mut line = Line::default();
    for (name, value) in head.names.iter().zip(record.fields()) {
        let Ok(value) = std::str::from_utf8(value) else {
            return Row::Lost(format!("{name}: not UTF-8 text"), names(record, experiment));
        };
        if let Err(problem) = line.set(name, Field::of_text(Cow::Borrowed(value))) {
            return Row::Lost(problem, names(record, experiment));
        }
    }
    line.take_exposure();
    Row::Fields(line)
}

fn names(record: &Record, experiment: &str) -> bool {
    record.fields().any(|field| field == experiment.as_bytes())
}

/// Where the last whole record of a text ends: after a line end that is not within quotes, if one of the last lines has
/// such an end.
pub(super) fn end_of_records(text: &[u8]) -> usize {
    let mut is_open = memchr::memchr_iter(b'"', text).count() % 2 == 1;
    let mut end = text.len();
    for newline in memchr::memrchr_iter(b'\n', text).take(QUOTED_LINES) {
        let after = text.get(newline..end).unwrap_or_default();
        is_open ^= memchr::memchr_iter(b'"', after).count() % 2 == 1;
        if !is_open {
            return newline + 1;
        }
        end = newline;
    }
    memchr::memrchr(b'\n', text).map_or(0, |newline| newline + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_known_by_the_names_of_its_columns() {
        let head = |text: &str| Head::of(text.as_bytes()).map(|head| head.separator);
        assert_eq!(head("time,experiment,assigned,status\n1,2,3,4\n"), Some(b','));
        assert_eq!(head("\u{feff}time;other;\"experiment\";assigned\r\n"), Some(b';'));
        assert_eq!(head("time\texperiment\tunit"), Some(b'\t'));
        for other in ["{\"time\":1,\"experiment\":2,\"assigned\":3}", "request_id,correct", ""] {
            assert_eq!(head(other), None, "{other}");
        }
    }

    #[test]
    fn a_block_ends_where_a_record_does() {
        let end = |text: &str| end_of_records(text.as_bytes());
        assert_eq!(end("a,b\n1,\"x\ny\"\n2,"), 12);
        assert_eq!(end("a,b\n1,\"x\ny"), 4, "within quotes");
        assert_eq!(end("none"), 0);
        assert_eq!(end("a,5\" disk\nb,2\nc"), 14, "a stray quote");
    }
}
