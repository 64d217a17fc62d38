//! Outcomes from a table with a header, by request or by unit.
//!
//! The key column is `request_id` or `unit` (`request_id` if there are both), `time` is optional (of rows about requests,
//! only attribution reads it), and every other column with numbers is a metric. `prediction` and `label` together are accuracy: 1 if they are equal. `correct` is accuracy
//! itself. Units match the unit of the log or its digest.
//!
//! Unknown is never zero: a value that cannot be read, or a row of which only the key can, leaves its unit out of the
//! metric. Separator, decimal comma and encoding are detected; what stays unclear is unreadable.

mod columns;
mod head;
mod records;
mod text;
mod value;

use std::path::Path;

use hashbrown::HashTable;
use sidetrack::plan::Experiment;

use super::clock::Clock;
use crate::error::{Error, Part};
use crate::figures::visible;
use crate::row::{key, mix};
use columns::{Column, UNREADABLE};
pub(crate) use columns::{Ignored, Unreadable};
pub use head::ACCURACY;
use head::Head;
use records::{Record, Records};
use value::{Cause, Value, is_missing_class, value};

/// How many malformed rows are shown.
const EXAMPLES: usize = 3;

/// Columns and rows of an outcomes file; empty without a file.
#[derive(Debug, Default)]
pub struct Outcomes {
    /// Whether rows are about requests, else about units.
    pub(crate) by_request: bool,
    /// The names of the values.
    pub(crate) columns: Vec<String>,
    /// By column.
    pub(crate) unreadable: Vec<Unreadable>,
    /// Columns that are no metrics.
    pub(crate) ignored: Vec<Ignored>,
    /// How many columns have no name.
    pub(crate) nameless: usize,
    /// By row; NaN without a value, infinite if it cannot be read.
    values: Vec<f64>,
    keys: Vec<u64>,
    /// The same units by their digests.
    digests: Vec<u64>,
    /// The greatest number without a time; empty for rows about requests without such a column.
    times: Vec<u64>,
    index: HashTable<u32>,
    /// Rows of the file.
    pub(crate) read: u64,
    /// Rows that cannot be read as a whole, and the first of them.
    pub(crate) malformed: u64,
    pub(crate) examples: Vec<String>,
    /// Rows that say again what a row before them said.
    pub(crate) repeated: u64,
    /// Rows whose request had a row with other values before.
    pub(crate) conflicting: u64,
    /// The first keys of the file, as it writes them.
    pub(crate) first: Vec<String>,
}

impl Outcomes {
    /// Reads the file, plain or gzip.
    ///
    /// # Errors
    /// A file that cannot be read or is not a table, or whose header has neither `request_id` nor `unit`.
    pub fn read(path: &Path, experiment: &Experiment) -> Result<Self, Error> {
        let name = visible(&path.to_string_lossy());
        let input = |problem: String| Error::input(Part::Outcomes(Some(name.clone())), problem);
        let mut records = Records::new(text::open(path, &name)?);
        let mut first = records.first().map_err(Error::read(&name))?;
        // Excel's own way to name the separator; the header shows it as well.
        if first.as_deref().is_some_and(|line| line.len() == 5 && line.starts_with(b"sep=")) {
            first = records.first().map_err(Error::read(&name))?;
        }
        let first = first.ok_or_else(|| input("the file is empty".to_owned()))?;
        let head = Head::of(&first).map_err(input)?;
        records.separate(head.separator);
        let mut table = Table::new(head, experiment);
        let mut record = Record::default();
        while let Some((line, found)) = records.next(&mut record).map_err(Error::read(&name))? {
            table.out.read += 1;
            match found {
                Ok(()) => table.row(line, &record).map_err(input)?,
                Err(fault) => table.skip(line, fault.words()),
            }
        }
        Ok(table.finish())
    }

    /// How many rows there are.
    pub(crate) fn rows(&self) -> usize {
        self.keys.len()
    }

    /// The values of a row; NaN without a value, infinite if it cannot be read.
    pub(crate) fn row(&self, row: u32) -> &[f64] {
        let start = row as usize * self.columns.len();
        self.values.get(start..start + self.columns.len()).unwrap_or_default()
    }

    /// The row of a request, by the key of its id.
    pub(crate) fn request(&self, key: u64) -> Option<u32> {
        self.find(key).filter(|_| self.by_request)
    }

    fn find(&self, key: u64) -> Option<u32> {
        self.index.find(key, |&row| self.keys.get(row as usize) == Some(&key)).copied()
    }

    /// The rows about units: the two keys that the log may have for it, its time, and its values.
    pub(crate) fn units(&self) -> impl Iterator<Item = ([u64; 2], Option<u64>, &[f64])> {
        let times = self.times.iter().map(|time| Some(*time).filter(|time| *time < u64::MAX));
        let keys = self.keys.iter().zip(&self.digests).map(|(key, digest)| [*key, *digest]);
        keys.zip(times).enumerate().map(|(row, (keys, time))| {
            (keys, time, self.row(u32::try_from(row).unwrap_or(u32::MAX)))
        })
    }

    /// The time of a row.
    pub(crate) fn time(&self, row: u32) -> Option<u64> {
        self.times.get(row as usize).copied().filter(|time| *time < u64::MAX)
    }

    /// The latest time of a row; `None` if no row has a time.
    pub(crate) fn last_time(&self) -> Option<u64> {
        self.times.iter().copied().filter(|time| *time < u64::MAX).max()
    }

    /// Whether a column has only 0 and 1.
    pub(crate) fn is_binary(&self, column: usize) -> bool {
        let values = self.values.iter().skip(column).step_by(self.columns.len().max(1));
        values.filter(|value| value.is_finite()).all(|value| *value == 0.0 || *value == 1.0)
    }
}

/// A table that is being read.
struct Table<'e> {
    head: Head,
    experiment: &'e Experiment,
    clock: Clock,
    columns: Vec<Column>,
    out: Outcomes,
    /// Hashes of rows with a time, which identify a delivery.
    delivered: HashTable<u64>,
}

impl<'e> Table<'e> {
    fn new(head: Head, experiment: &'e Experiment) -> Self {
        let columns: Vec<Column> = head.columns().into_iter().map(Column::new).collect();
        let out = Outcomes {
            by_request: head.by_request,
            nameless: head.nameless,
            ..Outcomes::default()
        };
        let (clock, delivered) = (Clock::default(), HashTable::new());
        Self { head, experiment, clock, columns, out, delivered }
    }

    /// A row that cannot be read as a whole.
    fn skip(&mut self, line: u64, what: &str) {
        self.out.malformed += 1;
        if self.out.examples.len() < EXAMPLES {
            self.out.examples.push(format!("line {line}: {what}"));
        }
    }

    /// Adds a row. What cannot be read of it is counted.
    ///
    /// # Errors
    /// There are too many rows.
    fn row(&mut self, line: u64, record: &Record) -> Result<(), String> {
        let subject = record.get(self.head.key).filter(|field| !field.is_empty());
        let Some(subject) = subject.and_then(|field| std::str::from_utf8(field).ok()) else {
            let missing = subject.is_none();
            let what = if missing { "is empty" } else { "is not UTF-8 text" };
            self.skip(line, &format!("{} {what}", self.head.subject()));
            return Ok(());
        };
        if self.out.first.len() < EXAMPLES {
            self.out.first.push(visible(subject));
        }
        let time = match self.whole(record) {
            Ok(time) => time,
            Err(problem) => {
                self.skip(line, &problem);
                self.columns.iter_mut().for_each(Column::lost);
                let values = vec![UNREADABLE; self.columns.len()];
                return self.add(subject, None, values);
            }
        };
        let values = self.values(line, record)?;
        self.add(subject, time, values)
    }

    /// The time, if the row has as many fields as the header and no bad time.
    fn whole(&mut self, record: &Record) -> Result<Option<u64>, String> {
        let width = self.head.width;
        let surplus = (width..record.len()).any(|field| record.get(field) != Some(b""));
        if record.len() < width || surplus {
            let hint = if surplus && self.head.separator == b',' {
                "; a value with a comma must be in quotes"
            } else {
                ""
            };
            return Err(format!("{} fields, but the header has {width}{hint}", record.len()));
        }
        let field = self.head.time.and_then(|time| record.get(time));
        let Some(field) = field.filter(|field| !field.is_empty()) else { return Ok(None) };
        let text = String::from_utf8_lossy(field);
        let time = self.clock.read(&text);
        if time.is_none() && self.head.by_request {
            // The request has a time of its own, so the row counts.
            return Ok(None);
        }
        let problem =
            || format!("time: not a time as in 2026-11-23T09:00:00Z: \"{}\"", visible(&text));
        time.map(Some).ok_or_else(problem)
    }

    fn values(&mut self, line: u64, record: &Record) -> Result<Vec<f64>, String> {
        let number = self.next()?;
        let comma = self.head.separator != b',';
        let mut values = Vec::with_capacity(self.columns.len());
        let mut columns = self.columns.iter_mut();
        if let Some((prediction, label)) = self.head.pair {
            let get = |column: usize| record.get(column).filter(|field| !field.is_empty());
            let missing =
                [prediction, label].map(get).into_iter().flatten().find(|it| is_missing_class(it));
            let right = get(prediction).zip(get(label));
            if let Some(column) = columns.next() {
                match missing {
                    Some(field) => column.unreadable(line, field, Cause::Missing),
                    None => right.iter().for_each(|_| column.number()),
                }
            }
            values.push(match (missing, right) {
                (Some(_), _) => UNREADABLE,
                (None, Some((prediction, label))) => f64::from(u8::from(same(prediction, label))),
                (None, None) => f64::NAN,
            });
        }
        for (column, (at, _)) in columns.zip(&self.head.values) {
            let field = record.get(*at).unwrap_or_default();
            let binary = column.name == ACCURACY;
            values.push(match value(field, comma) {
                Value::Absent => f64::NAN,
                Value::Number(value) if binary && value != 0.0 && value != 1.0 => {
                    column.unreadable(line, field, Cause::NotBinary);
                    UNREADABLE
                }
                Value::Number(value) => {
                    column.number();
                    if comma {
                        column.notation(number, line, field);
                    }
                    value
                }
                Value::Unreadable(cause) => {
                    column.unreadable(line, field, cause);
                    UNREADABLE
                }
            });
        }
        Ok(values)
    }

    /// The number of the next row.
    fn next(&self) -> Result<u32, String> {
        u32::try_from(self.out.keys.len()).map_err(|_| "more rows than 2^32".to_owned())
    }

    fn add(&mut self, subject: &str, time: Option<u64>, values: Vec<f64>) -> Result<(), String> {
        let key_of = key(subject);
        let number = self.next()?;
        let out = &mut self.out;
        if self.head.by_request {
            if let Some(known) = out.find(key_of) {
                // The values of text columns cannot be compared, and both rows have them.
                let start = known as usize * self.columns.len();
                let before = out.values.get(start..start + self.columns.len()).unwrap_or_default();
                let same =
                    before.iter().zip(&values).all(|(a, b)| a == b || a.is_nan() && b.is_nan());
                out.repeated += u64::from(same);
                out.conflicting += u64::from(!same);
                return Ok(());
            }
            let keys = &out.keys;
            out.index
                .insert_unique(key_of, number, |&row| keys.get(row as usize).copied().unwrap_or(0));
            out.times.extend(self.head.time.map(|_| time.unwrap_or(u64::MAX)));
        } else {
            // A unit may have several rows, but not twice the same at one moment.
            if let Some(time) = time {
                let row =
                    values.iter().fold(mix(key_of, time), |hash, value| mix(hash, value.to_bits()));
                if self.delivered.find(row, |known| *known == row).is_some() {
                    out.repeated += 1;
                    return Ok(());
                }
                self.delivered.insert_unique(row, row, |known| *known);
            }
            out.digests.push(key(&self.experiment.exposure.pseudonym(subject.as_bytes())));
            out.times.push(time.unwrap_or(u64::MAX));
        }
        out.keys.push(key_of);
        out.values.extend(values);
        Ok(())
    }

    /// Settles what only all values can: which columns are numbers, and what their commas mean.
    fn finish(self) -> Outcomes {
        let Self { mut columns, mut out, .. } = self;
        let width = columns.len();
        for (at, column) in columns.iter_mut().enumerate() {
            for row in column.doubtful() {
                if let Some(value) = out.values.get_mut(row as usize * width + at) {
                    *value = UNREADABLE;
                }
            }
        }
        // Accuracy is never text, and a table without rows has no text either.
        let ignored =
            |column: &Column| column.ignored().filter(|_| out.read > 0 && column.name != ACCURACY);
        let ignored: Vec<_> = columns.iter().map(ignored).collect();
        if ignored.iter().any(Option::is_some) {
            let kept = out
                .values
                .chunks(width.max(1))
                .flat_map(|row| row.iter().zip(&ignored).filter(|(_, ignored)| ignored.is_none()));
            out.values = kept.map(|(value, _)| *value).collect();
        }
        for (column, ignored) in columns.into_iter().zip(ignored) {
            if let Some(ignored) = ignored {
                out.ignored.push(ignored);
            } else {
                out.columns.push(column.name);
                out.unreadable.push(column.unreadable);
            }
        }
        out
    }
}

/// Whether a prediction equals its label: `1` equals `1.0`.
fn same(prediction: &[u8], label: &[u8]) -> bool {
    let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<f64>().ok();
    prediction == label
        || matches!((number(prediction), number(label)), (Some(a), Some(b)) if a == b)
}

#[cfg(test)]
mod tests;
