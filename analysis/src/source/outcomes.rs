//! Outcomes from a table with a header, or from JSON, by request or by unit.
//!
//! The key column is `request_id` or `unit` (`request_id` if there are both), `time` is optional (of rows about requests,
//! only attribution reads it), and every other column with numbers is a metric. `prediction` and `label` together are
//! accuracy: 1 if they are the same class. `correct` is accuracy itself. Units match the unit of the log or its digest.
//!
//! Unknown is never zero: a value that cannot be read, or a row of which only the key can, leaves its unit out of the
//! metric. Separator, decimal comma and encoding are detected; what stays unclear is unreadable.

mod again;
mod cells;
mod classes;
mod columns;
mod echoes;
mod head;
mod ids;
mod json;
mod labeled;
pub(super) mod logged;
mod merge;
mod plain;
pub(super) mod records;
mod segments;
mod shape;
mod table;
mod text;
mod thousands;
mod value;

use std::io::{self, BufRead as _, Read as _};
use std::path::Path;

use hashbrown::HashTable;
use sidetrack::config::Model;
use sidetrack::plan::Experiment;

use super::logs::name as file_name;
use crate::answer::LoggedColumn;
use crate::attribution::stray;
use crate::error::{Error, Part};
use crate::model::Predictions;
use crate::segments::NO_VALUE;
pub use cells::{Cell, Cells, Column};
use classes::Numbers;
pub(crate) use columns::{Ignored, NoMetric, Unreadable};
pub use head::ACCURACY;
use head::Head;
use ids::Ids;
pub(crate) use ids::spellings;
use json::Json;
pub(crate) use merge::File;
pub(crate) use plain::read_plain;
use records::{Fault, Record, Records};
pub(crate) use segments::SegmentColumn;
use table::Table;

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
    /// Columns by which results are shown separately.
    pub(crate) segments: Vec<SegmentColumn>,
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
    /// By row: whether the class of its prediction is one of the labels. Empty if nobody knows.
    pub(crate) known: Vec<Option<bool>>,
    /// By row: the classes of the prediction and the label.
    pub(crate) classes: Numbers,
    /// Rows of the file.
    pub(crate) read: u64,
    /// Rows that cannot be read as a whole, and the first of them.
    pub(crate) malformed: u64,
    pub(crate) examples: Vec<String>,
    /// Rows that say again what a row before them said.
    pub(crate) repeated: u64,
    /// Rows about units without a time that are equal to an earlier one. They count.
    pub(crate) untimed: Untimed,
    /// Rows about units with a time that are equal, or nearly so, to an earlier one.
    pub(crate) timed: Timed,
    /// By row: whether it repeats the values of a row of its unit from less than a minute before. Empty for rows about
    /// requests, and if there are too few distinct values to conclude anything.
    pub(crate) echoes: Vec<bool>,
    /// Rows whose request had a row with other values before.
    pub(crate) conflicting: u64,
    /// A sample of its units, as it writes them.
    pub(crate) ids: Ids,
    /// The first keys of the file, as it writes them.
    pub(crate) first: Vec<String>,
    /// The files, if there are several.
    pub(crate) files: Vec<File>,
    /// By row: the files that have it, one bit each; empty if there is one file.
    origins: Vec<u64>,
    /// Predictions and labels, if the plan has a model and the outcomes have its columns.
    pub(crate) predictions: Option<Predictions>,
    /// Columns that are made from fields of the log.
    pub(crate) logged: Vec<LoggedColumn>,
}

/// What is read of outcomes, and how.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'w> {
    /// Columns that are metrics even if they look like identifiers or times.
    pub named: &'w [&'w str],
    /// Columns by which results are shown separately. They are metrics only if they are named as such, too.
    pub segments: &'w [&'w str],
    /// Which of equal rows about units count.
    pub equal: EqualRows,
    /// Which columns hold predictions and labels.
    pub model: Option<&'w Model>,
}

/// Rows about units without a time that are equal to an earlier row: second purchases, or second deliveries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Untimed {
    pub(crate) repeated: u64,
    /// Those of them that come in the order of the earlier rows: deliveries.
    pub(crate) in_runs: u64,
    /// The values are so diverse that a unit hardly has the same twice by chance.
    pub(crate) diverse: bool,
}

/// What becomes of rows about units that are equal to an earlier row, time and all. Rows that come again in the order of
/// the earlier ones were delivered twice and never count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EqualRows {
    /// They are deliveries.
    #[default]
    Skip,
    /// They are events of one moment, as the items of an order.
    Count,
}

/// Rows about units with a time, beside an earlier row of the same unit and time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Timed {
    /// Rows that are equal to it, without those that come in the order of the earlier rows.
    pub(crate) scattered: u64,
    /// What became of them.
    pub(crate) equal: EqualRows,
    /// Rows that count, have its values, and differ from it in text or in an identifier.
    pub(crate) alike: u64,
}

impl Outcomes {
    /// Reads the file, plain or gzip: a table, or JSON. `-` is stdin.
    ///
    /// # Errors
    /// A file that cannot be read or is neither, whose header has neither `request_id` nor `unit`, or whose predictions and
    /// labels cannot be compared.
    pub fn read(path: &Path, experiment: &Experiment) -> Result<Self, Error> {
        Self::read_with(path, experiment, Wanted::default())
    }

    /// Reads the file as [`Outcomes::read`], and what is wanted of it.
    ///
    /// # Errors
    /// As [`Outcomes::read`]; some columns of the model are missing.
    pub fn read_with(
        path: &Path,
        experiment: &Experiment,
        wanted: Wanted<'_>,
    ) -> Result<Self, Error> {
        let name = file_name(path);
        let input = |problem: String| Error::input(Part::Outcomes(Some(name.clone())), problem);
        if path.is_dir() {
            return Err(input("it is a folder; name its files, as in 'FOLDER/*.csv'".to_owned()));
        }
        Self::read_text(text::open(path, &name)?, &name, experiment, wanted)
    }

    /// Reads rows that are not in a file, such as those of a store: JSON objects with these keys, one after another, so
    /// that only their values are in memory. `name` is for messages.
    ///
    /// # Errors
    /// As [`Outcomes::read`].
    pub fn of_objects(
        rows: &mut dyn Iterator<Item = io::Result<String>>,
        keys: &[String],
        name: &str,
        experiment: &Experiment,
        wanted: Wanted<'_>,
    ) -> Result<Self, Error> {
        let input = |problem: String| Error::input(Part::Outcomes(Some(name.to_owned())), problem);
        let head = Head::of_keys(keys, wanted).map_err(input)?;
        let mut table = Table::new(head, experiment, wanted).map_err(input)?;
        let mut record = Record::default();
        for (row, line) in rows.zip(1..) {
            let row = row.map_err(Error::read(name))?;
            let found = json::object(row.as_bytes(), keys, &mut record);
            table.read(line, found, &record).map_err(input)?;
        }
        table.finish().map_err(input)
    }

    /// Reads an open text, which is not compressed: a table, or JSON. `name` is for messages.
    ///
    /// # Errors
    /// As [`Outcomes::read`].
    pub fn of_text(
        text: Box<dyn io::Read>,
        name: &str,
        experiment: &Experiment,
        wanted: Wanted<'_>,
    ) -> Result<Self, Error> {
        Self::read_text(text::decode(text, name)?, name, experiment, wanted)
    }

    fn read_text(
        mut text: Box<dyn io::BufRead>,
        name: &str,
        experiment: &Experiment,
        wanted: Wanted<'_>,
    ) -> Result<Self, Error> {
        let input = |problem: String| Error::input(Part::Outcomes(Some(name.to_owned())), problem);
        let start = text.fill_buf().map_err(Error::read(name))?.trim_ascii_start();
        let (mut rows, head) = if start.starts_with(b"{") || start.starts_with(b"[") {
            let mut all = Vec::new();
            text.read_to_end(&mut all).map_err(Error::read(name))?;
            let json = Json::new(all).map_err(input)?;
            let head = Head::of_keys(&json.keys, wanted).map_err(input)?;
            (Rows::Json(json), head)
        } else {
            let mut records = Records::new(text);
            let mut first = records.first().map_err(Error::read(name))?;
            // Programs write comments above the header.
            while first.as_deref().is_some_and(|line| line.starts_with(b"#")) {
                first = records.first().map_err(Error::read(name))?;
            }
            // Excel's own way to name the separator; the header shows it as well.
            if first.as_deref().is_some_and(|line| line.len() == 5 && line.starts_with(b"sep=")) {
                first = records.first().map_err(Error::read(name))?;
            }
            let first = first.ok_or_else(|| input("the file is empty".to_owned()))?;
            let head = Head::of(&first, wanted).map_err(input)?;
            records.separate(head.separator);
            (Rows::Table(records), head)
        };
        let mut table = Table::new(head, experiment, wanted).map_err(input)?;
        let mut record = Record::default();
        while let Some((line, found)) = rows.next(&mut record).map_err(Error::read(name))? {
            table.read(line, found, &record).map_err(input)?;
        }
        table.finish().map_err(input)
    }

    /// Whether rows are about requests, else about units.
    #[must_use]
    pub const fn by_request(&self) -> bool {
        self.by_request
    }

    /// The names of the values.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// How many of the columns are metrics of predictions and labels.
    pub(crate) fn modeled(&self) -> usize {
        self.predictions.as_ref().map_or(0, |predictions| predictions.metrics.len())
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

    /// The value of a row in a column of segments, by its key; nothing without one.
    pub(crate) fn segment(&self, column: usize, row: u32) -> Option<u64> {
        let key = self.segments.get(column)?.keys.get(row as usize).copied();
        key.filter(|key| *key != NO_VALUE)
    }

    /// The rows about units: the two keys that the log may have for it, its time, and its values.
    pub(crate) fn units(&self) -> impl Iterator<Item = ([u64; 2], Option<u64>, &[f64])> {
        let times = self.times.iter().map(|time| Some(*time).filter(|time| *time < u64::MAX));
        let keys = self.keys.iter().zip(&self.digests).map(|(key, digest)| [*key, *digest]);
        keys.zip(times).enumerate().map(|(row, (keys, time))| {
            (keys, time, self.row(u32::try_from(row).unwrap_or(u32::MAX)))
        })
    }

    /// Removes rows about units, given in order.
    fn remove(&mut self, rows: &[u32]) {
        let mut gone = vec![false; self.rows()];
        for row in rows {
            if let Some(gone) = gone.get_mut(*row as usize) {
                *gone = true;
            }
        }
        let width = self.columns.len().max(1);
        keep(&mut self.values, width, &gone);
        keep(&mut self.keys, 1, &gone);
        keep(&mut self.digests, 1, &gone);
        keep(&mut self.times, 1, &gone);
        keep(&mut self.known, 1, &gone);
        self.segments.iter_mut().for_each(|column| keep(&mut column.keys, 1, &gone));
        if let Some(predictions) = &mut self.predictions {
            keep(&mut predictions.rows, 1, &gone);
        }
        self.repeated += rows.len() as u64;
    }

    /// The earliest time of a row; `None` if no row has a time.
    pub(crate) fn first_time(&self) -> Option<u64> {
        self.times.iter().copied().min().filter(|time| *time < u64::MAX)
    }

    /// To what all times are rounded, in milliseconds: a day or an hour. `None` if they are not, or if there are few.
    pub(crate) fn resolution(&self) -> Option<u64> {
        const HOUR: u64 = 3_600_000;
        const FEW: usize = 20;
        let times = || self.times.iter().filter(|time| **time < u64::MAX);
        let all = |length: &u64| times().all(|time| time % length == 0);
        (times().nth(FEW).is_some()).then(|| [24 * HOUR, HOUR].into_iter().find(all)).flatten()
    }

    /// The time of a row.
    pub(crate) fn time(&self, row: u32) -> Option<u64> {
        self.times.get(row as usize).copied().filter(|time| *time < u64::MAX)
    }

    /// The latest time of a row, [stray] ones aside; `None` if no row has a time.
    pub(crate) fn end(&self) -> Option<u64> {
        let mut times: Vec<u64> =
            self.times.iter().copied().filter(|time| *time < u64::MAX).collect();
        let end = times.len().checked_sub(1)?;
        let end = end - usize::try_from(stray(times.len() as u64)).unwrap_or(0);
        Some(*times.select_nth_unstable(end).1)
    }

    /// Whether a column has only 0 and 1.
    pub(crate) fn is_binary(&self, column: usize) -> bool {
        let values = self.values.iter().skip(column).step_by(self.columns.len().max(1));
        values.filter(|value| value.is_finite()).all(|value| *value == 0.0 || *value == 1.0)
    }
}

/// Keeps the values of the rows that are not gone; each has so many.
fn keep<T>(values: &mut Vec<T>, width: usize, gone: &[bool]) {
    let mut at = 0;
    values.retain(|_| {
        let is_gone = gone.get(at / width).copied().unwrap_or(false);
        at += 1;
        !is_gone
    });
}

/// Rows, as a table or as JSON.
enum Rows {
    Table(Records),
    Json(Json),
}

impl Rows {
    /// The next row with its line; `None` at the end.
    fn next(&mut self, record: &mut Record) -> io::Result<Option<(u64, Result<(), Fault>)>> {
        match self {
            Self::Table(records) => records.next(record),
            Self::Json(json) => Ok(json.next(record)),
        }
    }
}

#[cfg(test)]
mod tests;
