//! What the values of a column turn out to be: numbers, text, or numbers that cannot be read.

use std::fmt;

use super::value::{Cause, is_ambiguous};
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
    /// A value of it; empty if it has none.
    pub(crate) example: String,
}

/// `country is text, for example "DE"`.
impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = visible(&self.name);
        if self.example.is_empty() {
            write!(f, "{name} has no values")
        } else {
            write!(f, "{name} is text, for example \"{}\"", self.example)
        }
    }
}

/// A row whose number may mean something else, and the line, the field.
type Doubtful = Vec<(u32, u64, Box<[u8]>)>;

/// What was met in a column.
#[derive(Debug, Default)]
pub(super) struct Column {
    pub(super) name: String,
    numbers: u64,
    /// Values that are text, not numbers in a bad shape.
    text: u64,
    example: String,
    pub(super) unreadable: Unreadable,
    /// A comma separates decimals for certain.
    comma: bool,
    /// Numbers such as `1,304`.
    commas: Doubtful,
    /// Numbers with a point, which separates thousands where a comma separates decimals.
    points: Doubtful,
}

impl Column {
    pub(super) fn new(name: String) -> Self {
        Self { name, ..Self::default() }
    }

    pub(super) fn number(&mut self) {
        self.numbers += 1;
    }

    /// A number in a file whose fields are not separated by commas.
    pub(super) fn notation(&mut self, row: u32, line: u64, field: &[u8]) {
        if is_ambiguous(field) {
            self.commas.push((row, line, field.into()));
        } else if field.contains(&b',') {
            self.comma = true;
        } else if field.contains(&b'.') {
            self.points.push((row, line, field.into()));
        }
    }

    pub(super) fn unreadable(&mut self, line: u64, field: &[u8], cause: Cause) {
        self.text += u64::from(cause.is_text());
        if self.example.is_empty() {
            self.example = visible(&String::from_utf8_lossy(field));
        }
        self.unreadable.add(line, &self.name, field, cause);
    }

    /// A row that cannot be read as a whole.
    pub(super) const fn lost(&mut self) {
        self.unreadable.rows += 1;
    }

    /// The rows whose numbers may mean something else: known when all values have been seen.
    pub(super) fn doubtful(&mut self) -> Vec<u32> {
        let mut doubtful = Doubtful::new();
        if self.comma || !self.commas.is_empty() {
            doubtful.append(&mut self.points);
        }
        if !self.comma {
            doubtful.append(&mut self.commas);
        }
        for (_, line, field) in &doubtful {
            self.unreadable.add(*line, &self.name, field, Cause::Ambiguous);
        }
        doubtful.into_iter().map(|(row, ..)| row).collect()
    }

    /// Why it cannot: most of its values are text, or all are empty.
    pub(super) fn ignored(&self) -> Option<Ignored> {
        let is_text = self.text > self.numbers;
        let is_empty = self.numbers == 0 && self.unreadable.rows == 0;
        (is_text || is_empty)
            .then(|| Ignored { name: self.name.clone(), example: self.example.clone() })
    }
}
