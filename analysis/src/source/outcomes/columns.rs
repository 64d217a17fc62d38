//! What the values of a column turn out to be: numbers, text, or numbers that cannot be read.

use std::fmt;

use super::shape::Shape;
use super::thousands::Evidence;
use super::value::Cause;
use crate::figures::visible;

/// How many unreadable values of a column are shown.
const EXAMPLES: usize = 3;

/// What stands for a value that cannot be read: it makes the sum of its unit infinite, so the unit is left out.
pub(super) const UNREADABLE: f64 = f64::INFINITY;

/// Values of a column that cannot be read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unreadable {
    pub(crate) rows: u64,
    /// The first ones, with their lines.
    pub(crate) examples: Vec<String>,
}

impl Unreadable {
    /// Adds those of another column.
    pub(super) fn merge(&mut self, other: &Self) {
        self.rows += other.rows;
        let room = EXAMPLES.saturating_sub(self.examples.len());
        self.examples.extend(other.examples.iter().take(room).cloned());
    }

    fn add(&mut self, line: u64, name: &str, field: &[u8], cause: Cause) {
        self.rows += 1;
        if self.examples.len() < EXAMPLES {
            let (name, text) = (visible(name), visible(&String::from_utf8_lossy(field)));
            self.examples.push(format!("line {line}: {name} is \"{text}\": {}", cause.hint()));
        }
    }
}

/// A column that cannot be a metric.
#[derive(Clone, Debug)]
pub(crate) struct Ignored {
    pub(crate) name: String,
    pub(crate) why: NoMetric,
    /// A value of it; empty if it has none.
    pub(crate) example: String,
}

/// Why a column is not a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoMetric {
    Text,
    Empty,
    /// By its name or its values.
    Identifiers,
    Times,
}

impl Ignored {
    /// What a metric needs instead.
    pub(crate) const fn needs(&self) -> &'static str {
        match self.why {
            NoMetric::Text | NoMetric::Empty => "a metric needs numbers",
            NoMetric::Identifiers | NoMetric::Times => "--metric names it if it is one",
        }
    }
}

/// `country is text, for example "DE"`.
impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = visible(&self.name);
        let what = match self.why {
            NoMetric::Empty => return write!(f, "{name} has no values"),
            NoMetric::Text => "is text",
            NoMetric::Identifiers => "looks like an identifier",
            NoMetric::Times => "looks like a time",
        };
        write!(f, "{name} {what}, for example \"{}\"", self.example)
    }
}

/// What was met in a column.
#[derive(Debug, Default)]
pub(super) struct Column {
    pub(super) name: String,
    numbers: u64,
    /// Values that are text, not numbers in a bad shape.
    text: u64,
    /// The first value; the first text, if there is one.
    example: String,
    pub(super) unreadable: Unreadable,
    evidence: Evidence,
    shape: Shape,
}

impl Column {
    pub(super) fn new(name: String) -> Self {
        Self { name, ..Self::default() }
    }

    /// A number, as its field writes it; `None` for a number of JSON, whose notation is certain.
    pub(super) fn number(&mut self, number: f64, line: u64, field: Option<&[u8]>) {
        self.numbers += 1;
        self.shape.add(number);
        if self.example.is_empty() {
            self.example = field.map_or_else(
                || number.to_string(),
                |field| visible(&String::from_utf8_lossy(field)),
            );
        }
        if let Some(text) = field.and_then(|field| std::str::from_utf8(field).ok()) {
            self.evidence.number(line, text);
        }
    }

    /// `comma`: a comma may separate decimals.
    pub(super) fn unreadable(&mut self, line: u64, field: &[u8], cause: Cause, comma: bool) {
        self.text += u64::from(cause.is_text());
        let text = String::from_utf8_lossy(field);
        if self.text == 1 && cause.is_text() || self.example.is_empty() {
            self.example = visible(&text);
        }
        if matches!(cause, Cause::Thousands | Cause::Notation) {
            self.evidence.unreadable(line, &text, !comma);
        }
        self.unreadable.add(line, &self.name, field, cause);
    }

    /// A row that cannot be read as a whole.
    pub(super) const fn lost(&mut self) {
        self.unreadable.rows += 1;
    }

    /// Whether no number of the column can be read, because of separators of thousands: known when all values have been
    /// seen.
    pub(super) fn is_unclear(&mut self) -> bool {
        let Some((line, text, cause)) = self.evidence.verdict() else { return false };
        let mut first = Unreadable::default();
        first.add(line, &self.name, text.as_bytes(), cause);
        self.unreadable.rows += self.numbers;
        first.examples.append(&mut self.unreadable.examples);
        first.examples.truncate(EXAMPLES);
        self.unreadable.examples = first.examples;
        true
    }

    /// Why it is not a metric: most of its values are text, all are empty, or it looks like identifiers or times.
    /// A user who names it knows better than its name and its values.
    pub(super) fn ignored(&self, named: &[&str]) -> Option<Ignored> {
        let why = if self.text > self.numbers {
            NoMetric::Text
        } else if self.numbers == 0 && self.unreadable.rows == 0 {
            NoMetric::Empty
        } else if named.contains(&self.name.as_str()) {
            return None;
        } else {
            self.shape.no_metric(&self.name)?
        };
        Some(Ignored { name: self.name.clone(), why, example: self.example.clone() })
    }
}
