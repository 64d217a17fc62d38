//! The rows of a body: JSON, JSON lines or CSV. What a row means is decided by [`outcome`](crate::outcome).

pub(crate) mod weight;

use serde_json::{Map, Value};

use crate::outcome::{Known, NewNames, Outcome};

/// How many rejected rows are listed.
pub(crate) const MOST_REJECTED: usize = 100;
/// The longest message about a row, in characters.
const LONGEST_MESSAGE: usize = 300;

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

/// A row that cannot be stored.
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
    pub(crate) names: NewNames,
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
            Value::Object(row) => vec![Value::Object(row)],
            _ => return Err("expected a JSON object, or an array of objects".to_owned()),
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
        known.kind.check_header(&header)?;
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
            // It may quote a value of any length.
            let message = message.chars().take(LONGEST_MESSAGE).collect();
            self.rejected.push(Rejected { line, message });
        }
    }

    fn add(&mut self, line: u64, row: Map<String, Value>, known: Known<'_>) {
        match known.read(row, &mut self.outcomes, &mut self.names) {
            Ok(()) => self.accepted += 1,
            Err(problem) => self.reject(line, problem),
        }
    }
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
