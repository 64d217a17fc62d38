//! A table that is being read: each row's key, time and values, and what only all rows show together.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use hashbrown::HashTable;
use sidetrack::plan::Experiment;

use super::again::Again;
use super::classes::Classes;
use super::columns::{Column, UNREADABLE};
use super::echoes::{Echoes, echoes};
use super::head::{ACCURACY, Head};
use super::labeled::{Finished, Labeled, Merged};
use super::records::{Fault, Record};
use super::segments::SegmentColumns;
use super::value::{Cause, Value, is_missing_class, value};
use super::{EXAMPLES, EqualRows, Outcomes, Timed, Untimed, Wanted};
use crate::figures::visible;
use crate::model::Piece;
use crate::row::{key, mix};
use crate::source::clock::Clock;

/// How many different values show that two equal ones are no chance.
pub(super) const DIVERSE: usize = 1000;

pub(super) struct Table<'e> {
    head: Head,
    /// Columns that are metrics because a user names them.
    named: &'e [&'e str],
    /// Rows with an empty key.
    keyless: u64,
    experiment: &'e Experiment,
    clock: Clock,
    columns: Vec<Column>,
    segments: SegmentColumns,
    /// Predictions and labels.
    classes: Classes,
    /// Their hashes, row by row.
    pairs: Vec<u64>,
    pub(super) out: Outcomes,
    equal: EqualRows,
    /// Rows about units with a time, which identifies a delivery.
    delivered: Again,
    /// Those that are equal to an earlier one and count: the number among all of them, and the number in `out`.
    counted: Vec<(u64, u32)>,
    /// Rows about units without a time.
    again: Again,
    /// Hashes of the values of such rows, up to [`DIVERSE`].
    distinct: HashTable<u64>,
    /// Predictions and labels by the plan.
    labeled: Option<Labeled>,
}

impl<'e> Table<'e> {
    /// # Errors
    /// The header has only some of the model's columns.
    pub(super) fn new(
        mut head: Head,
        experiment: &'e Experiment,
        wanted: Wanted<'e>,
    ) -> Result<Self, String> {
        let Wanted { named, equal, model, segments: _ } = wanted;
        let labeled = model.map(|model| Labeled::new(model, &mut head)).transpose()?.flatten();
        let columns: Vec<Column> = head.columns().into_iter().map(Column::new).collect();
        let out = Outcomes {
            by_request: head.by_request,
            nameless: head.nameless,
            ..Outcomes::default()
        };
        Ok(Self {
            segments: SegmentColumns::of(&head),
            head,
            named,
            keyless: 0,
            experiment,
            clock: Clock::default(),
            columns,
            classes: Classes::default(),
            pairs: Vec::new(),
            out,
            equal,
            delivered: Again::default(),
            counted: Vec::new(),
            again: Again::default(),
            distinct: HashTable::new(),
            labeled,
        })
    }

    /// Adds a row, which may be one that cannot be read.
    ///
    /// # Errors
    /// There are too many rows.
    pub(super) fn read(
        &mut self,
        line: u64,
        found: Result<(), Fault>,
        record: &Record,
    ) -> Result<(), String> {
        self.out.read += 1;
        match found {
            Ok(()) => self.row(line, record),
            Err(fault) => {
                self.skip(line, fault.words());
                Ok(())
            }
        }
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
        if self.head.is_header(record) {
            // Files were joined, header and all.
            self.out.read -= 1;
            return Ok(());
        }
        if self.head.is_other_header(record) {
            let names: Vec<String> =
                record.fields().map(|name| visible(&String::from_utf8_lossy(name))).collect();
            return Err(format!(
                "line {line} is the header of another table: {}\n  hint: its rows have other columns \
                 than the first table; analyze each table by itself",
                names.join(", ")
            ));
        }
        let subject = record.get(self.head.key).filter(|field| !field.is_empty());
        let Some(subject) = subject.and_then(|field| std::str::from_utf8(field).ok()) else {
            let missing = subject.is_none();
            self.keyless += u64::from(missing);
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
                self.segments.forget();
                let values = vec![UNREADABLE; self.columns.len()];
                return self.add(subject, None, values, (None, Labeled::LOST), 0);
            }
        };
        let (values, pair) = self.values(line, record);
        self.segments.read(record);
        let text = self.text(record, &values);
        let comma = self.head.separator != b',';
        let labeled = self.labeled.as_mut();
        let piece = labeled.map_or(Piece::NONE, |labeled| labeled.read(line, record, comma));
        self.add(subject, time, values, (pair, piece), text)
    }

    /// The time, if the row has as many fields as the header and no bad time.
    fn whole(&mut self, record: &Record) -> Result<Option<u64>, String> {
        let width = self.head.names.len();
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
        time.map(Some).ok_or_else(|| {
            let shown = visible(&text);
            if self.clock.read(&format!("{text}T00:00:00Z")).is_some() {
                format!(
                    "time: \"{shown}\" is a day; without the time of day, it is unknown whether the \
                     row is from before the unit's first request"
                )
            } else {
                format!("time: not a time as in 2026-11-23T09:00:00Z: \"{shown}\"")
            }
        })
    }

    /// The values, and the prediction with its label.
    fn values<'r>(&mut self, line: u64, record: &'r Record) -> (Vec<f64>, Option<Pair<'r>>) {
        let comma = self.head.separator != b',';
        let mut values = Vec::with_capacity(self.columns.len());
        let mut columns = self.columns.iter_mut();
        let mut pair = None;
        if let Some((prediction, label)) = self.head.pair
            && let Some(column) = columns.next()
        {
            let get = |column: usize| record.get(column).filter(|field| !field.is_empty());
            let both = [prediction, label].map(get);
            let bad =
                both.into_iter().flatten().find_map(|field| match std::str::from_utf8(field) {
                    Ok(_) if !is_missing_class(field) => None,
                    Ok(_) => Some((field, Cause::Missing)),
                    Err(_) => Some((field, Cause::Text)),
                });
            values.push(match bad {
                Some((field, cause)) => {
                    column.unreadable(line, field, cause, comma);
                    UNREADABLE
                }
                // Until all classes are known.
                None => f64::NAN,
            });
            let text = |field: &'r [u8]| std::str::from_utf8(field).ok();
            pair = match (bad, both) {
                (None, [Some(one), Some(other)]) => text(one).zip(text(other)),
                _ => None,
            };
        }
        for (column, (at, _)) in columns.zip(&self.head.values) {
            let field = record.get(*at).unwrap_or_default();
            let binary = column.name == ACCURACY;
            values.push(match value(field, comma) {
                Value::Absent => f64::NAN,
                Value::Number(value) if binary && value != 0.0 && value != 1.0 => {
                    column.unreadable(line, field, Cause::NotBinary, comma);
                    UNREADABLE
                }
                Value::Number(value) => {
                    column.number(value, line, Some(field).filter(|_| !record.is_number(*at)));
                    value
                }
                Value::Unreadable(cause) => {
                    column.unreadable(line, field, cause, comma);
                    UNREADABLE
                }
            });
        }
        (values, pair)
    }

    /// A hash of the fields that are no numbers.
    fn text(&self, record: &Record, values: &[f64]) -> u64 {
        let paired = usize::from(self.head.pair.is_some());
        let mut hasher = DefaultHasher::new();
        for ((at, _), value) in self.head.values.iter().zip(values.iter().skip(paired)) {
            if value.is_infinite() {
                (at, record.get(*at)).hash(&mut hasher);
            }
        }
        self.segments.last().hash(&mut hasher);
        hasher.finish()
    }

    fn add(
        &mut self,
        subject: &str,
        time: Option<u64>,
        values: Vec<f64>,
        (pair, piece): (Option<Pair<'_>>, Piece),
        text: u64,
    ) -> Result<(), String> {
        let key_of = key(subject);
        let number =
            u32::try_from(self.out.keys.len()).map_err(|_| "more rows than 2^32".to_owned())?;
        let pair_hash = match pair {
            Some((one, other)) => mix(key(one), key(other)),
            None if self.labeled.is_some() => piece.hash(),
            None => 0,
        };
        let out = &mut self.out;
        if self.head.by_request {
            if let Some(known) = out.find(key_of) {
                // The values of text columns cannot be compared, and both rows have them.
                let start = known as usize * self.columns.len();
                let before = out.values.get_mut(start..start + self.columns.len());
                let before = before.unwrap_or_default();
                let pairs = || before.iter().zip(&values);
                let clash = self.pairs.get(known as usize).is_some_and(|pair| *pair != pair_hash)
                    || pairs().any(|(a, b)| a != b && !a.is_nan() && !b.is_nan());
                let labeled = self.labeled.as_mut().filter(|_| !clash);
                let merged = labeled.map(|labeled| labeled.merge(known, piece));
                if clash || merged == Some(None) {
                    out.conflicting += 1;
                    return Ok(());
                }
                // A later row may say what an earlier one did not: a label comes after its prediction.
                let adds = pairs().any(|(a, b)| a.is_nan() && !b.is_nan());
                for (known, value) in before.iter_mut().zip(&values).filter(|(a, _)| a.is_nan()) {
                    *known = *value;
                }
                out.repeated += u64::from(!adds && merged != Some(Some(Merged::New)));
                return Ok(());
            }
            let keys = &out.keys;
            out.index
                .insert_unique(key_of, number, |&row| keys.get(row as usize).copied().unwrap_or(0));
            out.times.extend(self.head.time.map(|_| time.unwrap_or(u64::MAX)));
        } else {
            out.ids.add(key_of, subject);
            let bits = |hash, value: &f64| mix(hash, value.to_bits());
            let content = values.iter().fold(pair_hash, bits);
            // A unit may have several rows, but not twice the same at one moment.
            if let Some(time) = time {
                let row = mix(mix(key_of, time), mix(content, text));
                let at = self.delivered.rows;
                if self.delivered.add(key_of, row) {
                    if self.equal == EqualRows::Skip {
                        out.repeated += 1;
                        return Ok(());
                    }
                    self.counted.push((at, number));
                }
            } else {
                if self.distinct.len() < DIVERSE {
                    let entry =
                        self.distinct.entry(content, |known| *known == content, |known| *known);
                    entry.or_insert(content);
                }
                self.again.add(key_of, mix(key_of, content));
            }
            out.digests.push(key(&self.experiment.exposure.pseudonym(subject.as_bytes())));
            out.times.push(time.unwrap_or(u64::MAX));
        }
        if self.head.pair.is_some() {
            self.pairs.push(pair_hash);
            self.classes.add(pair);
        }
        if let Some(labeled) = &mut self.labeled {
            labeled.add(piece);
        }
        out.keys.push(key_of);
        self.segments.keep();
        out.values.extend(values);
        Ok(())
    }

    /// Settles what only all values can: which columns are numbers, what their separators mean, and which predictions are
    /// right.
    ///
    /// # Errors
    /// Predictions and labels cannot be compared.
    pub(super) fn finish(self) -> Result<Outcomes, String> {
        if self.head.has_both && self.out.read > 0 && self.keyless == self.out.read {
            return Err(
                "request_id is empty in all rows, and comes before unit\n  hint: remove the \
                        column request_id, and unit is the key"
                    .to_owned(),
            );
        }
        let (named, equal) = (self.named, self.equal);
        let Self { mut columns, mut out, mut classes, delivered, counted, segments, .. } = self;
        out.segments = segments.finish();
        let (again, distinct, head) = (self.again, self.distinct, self.head);
        let labeled = self.labeled;
        let width = columns.len().max(1);
        if head.pair.is_some() {
            let right = classes.right()?;
            out.known = classes.known();
            out.classes = classes.numbers();
            for (row, right) in out.values.chunks_mut(width).zip(right) {
                if let Some((first, right)) = row.first_mut().zip(right) {
                    *first = f64::from(u8::from(right));
                }
            }
        }
        for (at, column) in columns.iter_mut().enumerate() {
            if column.is_unclear() {
                let values = out.values.iter_mut().skip(at).step_by(width);
                values.filter(|value| !value.is_nan()).for_each(|value| *value = UNREADABLE);
            }
        }
        out.untimed = Untimed {
            repeated: again.repeated,
            in_runs: again.in_runs,
            diverse: distinct.len() >= DIVERSE
                || 3 * distinct.len() as u64 > out.read.saturating_sub(again.repeated),
        };
        // Accuracy is never text, and a table without rows has no text either.
        let ignored = |column: &Column| {
            column.ignored(named).filter(|_| out.read > 0 && column.name != ACCURACY)
        };
        let ignored: Vec<_> = columns.iter().map(ignored).collect();
        if ignored.iter().any(Option::is_some) {
            let kept = out
                .values
                .chunks(width)
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
        if let Some(labeled) = labeled {
            out.label(labeled.finish(out.columns.len())?);
        }
        let scattered = delivered.repeated - delivered.in_runs;
        if equal == EqualRows::Count {
            out.remove(&delivered_again(&counted, &delivered));
        }
        let Echoes { rows, alike } = echoes(&out);
        let alike = alike - if equal == EqualRows::Count { scattered } else { 0 };
        out.timed = Timed { scattered, alike, equal };
        out.echoes = rows;
        Ok(out)
    }
}

impl Outcomes {
    /// Adds the metrics of predictions and labels as columns.
    fn label(&mut self, finished: Finished) {
        let Finished { predictions, values, unreadable, classes } = finished;
        let (old, new) = (self.columns.len(), predictions.metrics.len());
        let mut all = Vec::with_capacity(self.values.len() + values.len());
        for row in 0..self.keys.len() {
            all.extend(self.values.iter().skip(row * old).take(old));
            all.extend(values.iter().skip(row * new).take(new));
        }
        self.values = all;
        let names = predictions.metrics.iter().map(|(metric, ..)| metric.as_str().to_owned());
        self.columns.extend(names);
        self.unreadable.extend(unreadable);
        let mut classes = classes;
        self.known = classes.known();
        self.classes = classes.numbers();
        self.predictions = Some(predictions);
    }
}

/// The rows that count although they are equal to an earlier one, and that were delivered again.
fn delivered_again(counted: &[(u64, u32)], delivered: &Again) -> Vec<u32> {
    let mut runs = delivered.delivered.iter().peekable();
    let mut rows = Vec::new();
    for (at, row) in counted {
        while runs.next_if(|run| run.end <= *at).is_some() {}
        if runs.peek().is_some_and(|run| run.contains(at)) {
            rows.push(*row);
        }
    }
    rows
}

/// A prediction and its label.
type Pair<'r> = (&'r str, &'r str);
