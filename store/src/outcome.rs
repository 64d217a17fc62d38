//! Rows of outcomes: JSON, JSON lines or CSV, by request or by unit.
//!
//! Values are kept as they were written; what they mean is decided by the analysis, as for a file. Of a row about a request, each
//! metric has one value: a later one replaces it. A row about a unit is an event; the same row again is the same event, so two
//! equal ones need different times.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use sidetrack_analysis::Clock;

use crate::catalog::Catalog;

/// The most metrics that a row may have.
const MOST_METRICS: usize = 64;
/// The longest name of a metric, text or id, in bytes.
const LONGEST: usize = 512;
/// How many rejected rows are listed.
pub(crate) const MOST_REJECTED: usize = 100;

/// How the rows of a body are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// One object, or an array of objects.
    Json,
    /// An object per line.
    Lines,
    /// A table with a header.
    Csv,
}

/// The names of the metrics so far. Their number is limited, so that no sender chooses how much the store keeps.
#[derive(Debug)]
pub(crate) struct Metrics {
    names: Mutex<BTreeSet<String>>,
    most: usize,
}

impl Metrics {
    pub(crate) const fn new(names: BTreeSet<String>, most: usize) -> Self {
        Self { names: Mutex::new(names), most }
    }

    /// Takes note of the metrics of a row.
    fn admit(&self, row: &Map<String, Value>) -> Result<(), String> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let new: Vec<&String> =
            row.keys().filter(|name| *name != "time" && !names.contains(*name)).collect();
        if let Some(first) = new.first().filter(|_| names.len() + new.len() > self.most) {
            return Err(format!(
                "{first:?} would be more than {} different metrics; --max-metrics raises the limit",
                self.most
            ));
        }
        names.extend(new.into_iter().cloned().collect::<Vec<_>>());
        Ok(())
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// What a row may be about.
#[derive(Clone, Copy)]
pub(crate) struct Known<'a> {
    pub(crate) catalog: &'a Catalog,
    pub(crate) metrics: &'a Metrics,
}

/// What a row is about.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Request(String),
    /// The experiment and the unit as its log names it.
    Unit {
        experiment: String,
        unit: String,
        key: [u8; 16],
    },
}

/// A row that can be stored.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) subject: Subject,
    /// Metrics, and the time.
    pub(crate) row: Map<String, Value>,
}

/// A row that cannot.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Rejected {
    pub(crate) line: u64,
    pub(crate) message: String,
}

/// The rows of a body.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    /// A row about a unit counts once here, and is stored for each experiment.
    pub(crate) accepted: u64,
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) rejected: Vec<Rejected>,
    /// All of them.
    pub(crate) refused: u64,
}

impl Rows {
    /// Reads a body.
    ///
    /// # Errors
    /// The body as a whole cannot be read: why.
    pub(crate) fn read(format: Format, body: &[u8], known: Known<'_>) -> Result<Self, String> {
        let mut rows = Self::default();
        match format {
            Format::Json => rows.json(body, known)?,
            Format::Lines => rows.lines(body, known),
            Format::Csv => rows.csv(body, known)?,
        }
        Ok(rows)
    }

    /// The row about one request.
    pub(crate) fn of_request(id: &str, body: &[u8], known: Known<'_>) -> Result<Self, String> {
        let mut object = object(body)?;
        if let Some(given) = object.get("request_id").filter(|given| *given != id) {
            return Err(format!("request_id is {given} in the body, but {id:?} in the path"));
        }
        object.insert("request_id".to_owned(), id.into());
        let mut rows = Self::default();
        rows.add(1, object, known);
        match rows.rejected.pop() {
            Some(rejected) => Err(rejected.message),
            None => Ok(rows),
        }
    }

    fn json(&mut self, body: &[u8], known: Known<'_>) -> Result<(), String> {
        let value: Value = serde_json::from_slice(body).map_err(|error| bad_json(&error))?;
        let rows = match value {
            Value::Array(rows) => rows,
            row => vec![row],
        };
        for (row, line) in rows.into_iter().zip(1..) {
            match row {
                Value::Object(row) => self.add(line, row, known),
                other => self.reject(line, format!("expected a JSON object, found {other}")),
            }
        }
        Ok(())
    }

    fn lines(&mut self, body: &[u8], known: Known<'_>) {
        for (text, line) in body.split(|byte| *byte == b'\n').zip(1..) {
            if text.trim_ascii().is_empty() {
                continue;
            }
            match object(text) {
                Ok(row) => self.add(line, row, known),
                Err(problem) => self.reject(line, problem),
            }
        }
    }

    fn csv(&mut self, body: &[u8], known: Known<'_>) -> Result<(), String> {
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        let mut table = csv::ReaderBuilder::new().from_reader(body);
        let header = table.headers().map_err(|error| format!("not a CSV table: {error}"))?.clone();
        if !header.iter().any(|name| name == "request_id" || name == "unit") {
            let names: Vec<&str> = header.iter().collect();
            return Err(format!(
                "the header has neither request_id nor unit: {}; the first line names the columns, as in \
                 request_id,accuracy",
                names.join(",")
            ));
        }
        for record in table.records() {
            let record = match record {
                Ok(record) => record,
                Err(error) => {
                    let line = error.position().map_or(0, csv::Position::line);
                    self.reject(line, wrong_record(&error));
                    continue;
                }
            };
            let line = record.position().map_or(0, csv::Position::line);
            let fields = header.iter().zip(&record).filter(|(name, _)| !name.is_empty());
            let row = fields.map(|(name, value)| (name.to_owned(), of_text(value))).collect();
            self.add(line, row, known);
        }
        Ok(())
    }

    fn reject(&mut self, line: u64, message: String) {
        self.refused += 1;
        if self.rejected.len() < MOST_REJECTED {
            self.rejected.push(Rejected { line, message });
        }
    }

    fn add(&mut self, line: u64, mut row: Map<String, Value>, known: Known<'_>) {
        let key = checked(&mut row).and_then(|key| known.metrics.admit(&row).map(|()| key));
        match key {
            Err(problem) => self.reject(line, problem),
            Ok(Key::Request(id)) => {
                self.accepted += 1;
                self.outcomes.push(Outcome { subject: Subject::Request(id), row });
            }
            Ok(Key::Unit(unit)) => {
                self.accepted += 1;
                for entry in known.catalog.all() {
                    let unit = if entry.plain || is_digest(&unit) {
                        unit.clone()
                    } else {
                        entry.experiment.exposure.pseudonym(unit.as_bytes())
                    };
                    let experiment = entry.experiment.name.clone();
                    let key = identity(&experiment, &unit, &row);
                    let subject = Subject::Unit { experiment, unit, key };
                    self.outcomes.push(Outcome { subject, row: row.clone() });
                }
            }
        }
    }
}

enum Key {
    Request(String),
    Unit(String),
}

/// Whether a unit is a pseudonym already.
fn is_digest(unit: &str) -> bool {
    unit.len() == 32 && unit.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Takes the key out of a row and checks the rest.
fn checked(row: &mut Map<String, Value>) -> Result<Key, String> {
    let mut take = |name: &str| match row.remove(name) {
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) if text.len() > LONGEST => {
            Err(format!("{name} is longer than {LONGEST} bytes"))
        }
        Some(Value::String(text)) => Ok(Some(text)),
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        Some(Value::Null) | None => Ok(None),
        Some(other) => Err(format!("{name} is {other}, but must be text")),
    };
    let (request, unit) = (take("request_id")?, take("unit")?);
    let key = match (request, unit) {
        (Some(request), _) => Key::Request(request),
        (None, Some(unit)) => Key::Unit(unit),
        (None, None) => return Err("request_id or unit is missing".to_owned()),
    };
    // A missing value is no value.
    row.retain(|_, value| !value.is_null() && value.as_str() != Some(""));
    if let Some(time) = row.get_mut("time") {
        *time = normal_time(time)?.into();
    }
    let metrics = row.iter().filter(|(name, _)| *name != "time");
    if metrics.clone().count() == 0 {
        return Err("the row has no metric".to_owned());
    }
    if metrics.clone().count() > MOST_METRICS {
        return Err(format!("the row has more than {MOST_METRICS} metrics"));
    }
    for (name, value) in metrics {
        if name.len() > LONGEST || name.chars().any(char::is_control) {
            return Err(format!(
                "the name of a metric is longer than {LONGEST} bytes, or not text"
            ));
        }
        match value {
            Value::Array(_) | Value::Object(_) => {
                return Err(format!(
                    "{name} is {value}, but must be a number, text, true or false"
                ));
            }
            Value::String(text) if text.len() > LONGEST => {
                return Err(format!("{name} is longer than {LONGEST} bytes"));
            }
            _ => {}
        }
    }
    Ok(key)
}

/// The time as the analysis reads it.
fn normal_time(time: &Value) -> Result<String, String> {
    let text = match time {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let read = Clock::default().read(&text);
    let time = read.ok_or_else(|| {
        format!("time is {time}, but must be a time as in 2026-11-23T09:00:00Z, or since 1970")
    })?;
    Ok(sidetrack::quantity::Timestamp::new(time).to_string())
}

/// A field of a table: a number if JSON would write it so, else text.
fn of_text(text: &str) -> Value {
    match text {
        "" => Value::Null,
        "true" | "True" | "TRUE" => true.into(),
        "false" | "False" | "FALSE" => false.into(),
        _ => serde_json::from_str::<serde_json::Number>(text)
            .map_or_else(|_| text.into(), Value::Number),
    }
}

fn identity(experiment: &str, unit: &str, row: &Map<String, Value>) -> [u8; 16] {
    let mut hash = Sha256::new();
    hash.update(experiment);
    hash.update([0]);
    hash.update(unit);
    // In the order of the names, whatever the order of the row.
    for (name, value) in row.iter().collect::<BTreeMap<_, _>>() {
        hash.update([0]);
        hash.update(name);
        hash.update([0]);
        hash.update(value.to_string());
    }
    let digest: [u8; 32] = hash.finalize().into();
    let mut key = [0; 16];
    key.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    key
}

fn object(text: &[u8]) -> Result<Map<String, Value>, String> {
    match serde_json::from_slice(text).map_err(|error| bad_json(&error))? {
        Value::Object(object) => Ok(object),
        other => Err(format!("expected a JSON object, found {other}")),
    }
}

fn bad_json(error: &serde_json::Error) -> String {
    format!("not valid JSON at line {}, column {}", error.line(), error.column())
}

fn wrong_record(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("{len} fields, but the header has {expected_len}")
        }
        csv::ErrorKind::Utf8 { .. } => "the row is not UTF-8 text".to_owned(),
        _ => "the row cannot be read".to_owned(),
    }
}
