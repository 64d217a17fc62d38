//! Outcomes from a CSV file with a header, by request or by unit.
//!
//! The key column is `request_id` or `unit` (`request_id` if there are both), `time` is optional, and every other column is
//! a number. `prediction` and `label` together are accuracy: 1 if they are equal. `correct` is accuracy itself. Units
//! match the unit of the log or its digest.

use std::collections::HashMap;
use std::path::Path;

use hashbrown::HashTable;
use sidetrack::plan::Experiment;
use sidetrack::quantity::Timestamp;

use crate::error::{Error, Part};
use crate::figures::visible;
use crate::row::key;

/// Columns and rows of an outcomes file; empty without a file.
#[derive(Debug, Default)]
pub struct Outcomes {
    /// Whether rows are about requests, else about units.
    pub(crate) by_request: bool,
    /// The names of the values.
    pub(crate) columns: Vec<String>,
    /// By row; NaN without a value.
    values: Vec<f64>,
    keys: Vec<u64>,
    /// The same units by their digests.
    digests: Vec<u64>,
    times: Vec<u64>,
    index: HashTable<u32>,
    /// Rows that were skipped, and the first of them.
    pub(crate) malformed: u64,
    pub(crate) examples: Vec<String>,
    /// The first keys, to be shown.
    pub(crate) first: Vec<String>,
    /// Rows whose request had a row before.
    pub(crate) repeated: u64,
}

/// The metric name of `correct`, or of `prediction` and `label`.
pub const ACCURACY: &str = "accuracy";

/// The meaning of each column.
struct Head {
    key: usize,
    by_request: bool,
    time: Option<usize>,
    /// Equal: 1, else 0.
    pair: Option<(usize, usize)>,
    values: Vec<(usize, String)>,
}

impl Outcomes {
    /// Reads the file, plain or gzip.
    ///
    /// # Errors
    /// A file that cannot be read, or whose header has neither `request_id` nor `unit`.
    pub fn read(path: &Path, experiment: &Experiment) -> Result<Self, Error> {
        let name = visible(&path.to_string_lossy());
        let mut file = std::io::BufReader::with_capacity(
            1 << 18,
            std::fs::File::open(path).map_err(Error::read(&name))?,
        );
        let gzip = std::io::BufRead::fill_buf(&mut file)
            .map_err(Error::read(&name))?
            .starts_with(&[0x1f, 0x8b]);
        let text: Box<dyn std::io::Read> = if gzip {
            Box::new(flate2::bufread::MultiGzDecoder::new(file))
        } else {
            Box::new(file)
        };
        let mut reader =
            csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(text);
        let csv_error = |error: csv::Error| Error::read(&name)(std::io::Error::other(error));
        let head = Head::of(reader.headers().map_err(csv_error)?)
            .map_err(|problem| Error::input(Part::Outcomes(Some(name.clone())), problem))?;
        let mut out =
            Self { by_request: head.by_request, columns: head.columns(), ..Self::default() };
        let mut record = csv::StringRecord::new();
        loop {
            let line = reader.position().line();
            match reader.read_record(&mut record) {
                Ok(false) => break,
                Ok(true) => {
                    if let Err(what) = out.add(&head, &record, experiment) {
                        out.skip(line, &what);
                    }
                }
                Err(error) if error.is_io_error() => return Err(csv_error(error)),
                Err(_) => out.skip(line, "not UTF-8 text"),
            }
        }
        Ok(out)
    }

    fn skip(&mut self, line: u64, what: &str) {
        self.malformed += 1;
        if self.examples.len() < 3 {
            self.examples.push(format!("line {line}: {what}"));
        }
    }

    fn add(
        &mut self,
        head: &Head,
        record: &csv::StringRecord,
        experiment: &Experiment,
    ) -> Result<(), String> {
        let get = |column: usize| record.get(column).filter(|value| !value.is_empty());
        let subject = get(head.key).ok_or_else(|| format!("{} is empty", head.subject()))?;
        let time = match head.time.and_then(get) {
            Some(text) => Timestamp::parse(text)
                .ok_or_else(|| format!("time: not RFC 3339: \"{}\"", visible(text)))?
                .get(),
            None => u64::MAX,
        };
        let mut row = Vec::with_capacity(self.columns.len());
        if let Some((prediction, label)) = head.pair {
            row.push(match (get(prediction), get(label)) {
                (Some(prediction), Some(label)) => f64::from(u8::from(same(prediction, label))),
                _ => f64::NAN,
            });
        }
        for (column, name) in &head.values {
            row.push(match get(*column) {
                None => f64::NAN,
                Some(text) => number(text).ok_or_else(|| {
                    format!("{}: not a number: \"{}\"", visible(name), visible(text))
                })?,
            });
        }
        if let Some(accuracy) = self.columns.iter().position(|name| name == ACCURACY) {
            let value = row.get(accuracy).copied().unwrap_or(f64::NAN);
            if !(value.is_nan() || value == 0.0 || value == 1.0) {
                return Err(format!("correct is {value}, but must be 0 or 1"));
            }
        }
        let key_of = key(subject);
        let number =
            u32::try_from(self.keys.len()).map_err(|_| "more rows than 2^32".to_owned())?;
        if head.by_request {
            let known =
                self.index.find(key_of, |&row| self.keys.get(row as usize) == Some(&key_of));
            if known.is_some() {
                self.repeated += 1;
                return Ok(());
            }
            let keys = &self.keys;
            self.index
                .insert_unique(key_of, number, |&row| keys.get(row as usize).copied().unwrap_or(0));
        } else {
            self.digests.push(key(&experiment.exposure.pseudonym(subject.as_bytes())));
            self.times.push(time);
        }
        if self.first.len() < 3 {
            self.first.push(visible(subject));
        }
        self.keys.push(key_of);
        self.values.extend(row);
        Ok(())
    }

    /// How many rows there are.
    pub(crate) fn rows(&self) -> usize {
        self.keys.len()
    }

    /// The values of a row; NaN without a value.
    pub(crate) fn row(&self, row: u32) -> &[f64] {
        let start = row as usize * self.columns.len();
        self.values.get(start..start + self.columns.len()).unwrap_or_default()
    }

    /// The row of a request.
    pub(crate) fn request(&self, id: &str) -> Option<u32> {
        if !self.by_request || self.index.is_empty() {
            return None;
        }
        let key = key(id);
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

    /// Whether a column has only 0 and 1.
    pub(crate) fn is_binary(&self, column: usize) -> bool {
        let values = self.values.iter().skip(column).step_by(self.columns.len().max(1));
        values.filter(|value| !value.is_nan()).all(|value| *value == 0.0 || *value == 1.0)
    }
}

impl Head {
    fn of(header: &csv::StringRecord) -> Result<Self, String> {
        let mut at: HashMap<String, usize> = HashMap::new();
        for (column, name) in header.iter().enumerate() {
            let name = name.trim_start_matches('\u{feff}').to_owned();
            if at.insert(name.clone(), column).is_some() {
                return Err(format!("the header has \"{}\" twice", visible(&name)));
            }
        }
        let found = header.iter().map(visible).collect::<Vec<_>>().join(", ");
        let (key, by_request) = match (at.get("request_id"), at.get("unit")) {
            (Some(key), _) => (*key, true),
            (None, Some(key)) => (*key, false),
            (None, None) => {
                return Err(format!(
                    "the header has neither request_id nor unit: {found}\n  hint: the first line names the columns, as in request_id,correct"
                ));
            }
        };
        let pair = at.get("prediction").copied().zip(at.get("label").copied());
        if pair.is_some() && at.contains_key("correct") {
            return Err("the header has correct as well as prediction and label; both are the accuracy, so remove one".to_owned());
        }
        let known = ["request_id", "unit", "time"];
        let paired = |name: &str| pair.is_some() && ["prediction", "label"].contains(&name);
        let mut values: Vec<(usize, String)> = Vec::new();
        for (column, name) in header.iter().enumerate() {
            let name = name.trim_start_matches('\u{feff}');
            if !known.contains(&name) && !paired(name) {
                let name = if name == "correct" { ACCURACY } else { name };
                values.push((column, name.to_owned()));
            }
        }
        if values.is_empty() && pair.is_none() {
            return Err(format!("no column has values: {found}"));
        }
        Ok(Self { key, by_request, time: at.get("time").copied(), pair, values })
    }

    const fn subject(&self) -> &'static str {
        if self.by_request { "request_id" } else { "unit" }
    }

    fn columns(&self) -> Vec<String> {
        let pair = self.pair.map(|_| ACCURACY.to_owned());
        pair.into_iter().chain(self.values.iter().map(|(_, name)| name.clone())).collect()
    }
}

/// `true` and `false` are numbers too.
fn number(text: &str) -> Option<f64> {
    match text {
        "true" | "True" | "TRUE" => Some(1.0),
        "false" | "False" | "FALSE" => Some(0.0),
        _ => text.parse().ok().filter(|number: &f64| number.is_finite() && number.abs() <= 1e150),
    }
}

/// Whether a prediction equals its label: `1` equals `1.0`.
fn same(prediction: &str, label: &str) -> bool {
    prediction == label
        || matches!((prediction.parse::<f64>(), label.parse::<f64>()), (Ok(a), Ok(b)) if a == b)
}

#[cfg(test)]
mod tests;
