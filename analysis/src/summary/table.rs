//! The table: rows of numbers, each with what it is about. One CSV or JSON line per row.
//!
//! | column | meaning |
//! |---|---|
//! | `kind`, `name` | which number; the metric, the column of the outcomes, or which of several counts |
//! | `pass` | 0: all data; 1: without the minutes in which a breaker was open |
//! | `phase`, `variant` | the phase, from 0 in the order of time, and the assigned variant |
//! | `place` | a day, a moment, a bin, a place in a list |
//! | `n` | a count, or a time in milliseconds since 1970 |
//! | `s1` to `s7` | of units with two numbers y and x: the origin of y, the mean of y minus it, the squared deviations from the mean, the same three of x, and the products of both deviations |
//! | `items` | counts of a histogram or of minutes, as in `12:4 13:1`; or text |
//!
//! Numbers are written with all digits, so reading them gives the same bits.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Read, Write};

use crate::error::{Error, Part};
use crate::source::outcomes::read_plain;

/// What a row is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) kind: String,
    pub(crate) pass: u8,
    pub(crate) phase: Option<u32>,
    pub(crate) variant: Option<String>,
    pub(crate) name: String,
    pub(crate) at: Option<i64>,
}

/// The numbers of a row.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Cells {
    pub(crate) n: Option<u64>,
    pub(crate) s: [Option<f64>; 7],
    pub(crate) list: Option<String>,
}

/// The names of the columns.
pub const COLUMNS: [&str; 15] = [
    "kind", "pass", "phase", "variant", "name", "place", "n", "s1", "s2", "s3", "s4", "s5", "s6",
    "s7", "items",
];

/// A row as text, by column; empty without a value.
pub type Row = [String; COLUMNS.len()];

/// A summary as a table.
#[derive(Clone, Debug, Default)]
pub struct Table {
    pub(crate) rows: BTreeMap<Key, Cells>,
}

impl Table {
    /// Reads a text: CSV with a header, or JSON. `name` is for messages.
    ///
    /// # Errors
    /// A text that cannot be read, or is not such a table.
    pub fn read(text: Box<dyn Read>, name: &str) -> Result<Self, Error> {
        let mut table = Self::default();
        read_plain(text, name, &COLUMNS, |_| Part::Summary, &mut |row| table.add(row))?;
        Ok(table)
    }

    /// Adds a row, given as the text of each column.
    ///
    /// # Errors
    /// A number that cannot be read, or a second row about the same.
    pub fn add(&mut self, row: &Row) -> Result<(), String> {
        let [kind, pass, phase, variant, name, at, n, sums @ .., list] = row;
        let key = Key {
            kind: kind.clone(),
            pass: number(pass, "pass")?.unwrap_or_default(),
            phase: number(phase, "phase")?,
            variant: Some(variant.clone()).filter(|variant| !variant.is_empty()),
            name: name.clone(),
            at: number(at, "place")?,
        };
        let mut cells = Cells {
            n: number(n, "n")?,
            list: Some(list.clone()).filter(|list| !list.is_empty()),
            ..Cells::default()
        };
        for ((cell, text), column) in cells.s.iter_mut().zip(sums).zip(COLUMNS.iter().skip(7)) {
            *cell = number(text, column)?;
        }
        if self.rows.contains_key(&key) {
            return Err(format!("two rows are about the same: {}", key.words()));
        }
        self.rows.insert(key, cells);
        Ok(())
    }

    /// The rows as text.
    pub fn rows(&self) -> impl Iterator<Item = Row> {
        self.rows.iter().map(|(key, cells)| row(key, cells))
    }

    /// Writes the table as CSV with a header.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "{}", COLUMNS.join(","))?;
        for row in self.rows() {
            let fields: Vec<String> = row.iter().map(|field| quoted(field)).collect();
            writeln!(out, "{}", fields.join(","))?;
        }
        Ok(())
    }
}

impl Key {
    /// `metric revenue of fancy in phase 1`.
    pub(crate) fn words(&self) -> String {
        let mut words = format!("{} {}", self.kind, self.name).trim_end().to_owned();
        if let Some(variant) = &self.variant {
            write!(words, " of {variant}").ok();
        }
        if let Some(phase) = self.phase {
            write!(words, " in phase {phase}").ok();
        }
        if let Some(at) = self.at {
            write!(words, " at {at}").ok();
        }
        crate::figures::visible(&words)
    }
}

fn row(key: &Key, cells: &Cells) -> Row {
    let [s1, s2, s3, s4, s5, s6, s7] = cells.s.map(text);
    [
        key.kind.clone(),
        key.pass.to_string(),
        text(key.phase),
        text(key.variant.as_ref()),
        key.name.clone(),
        text(key.at),
        text(cells.n),
        s1,
        s2,
        s3,
        s4,
        s5,
        s6,
        s7,
        text(cells.list.as_ref()),
    ]
}

fn text(value: Option<impl ToString>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

/// A number; `None` if the field is empty. Engines write whole numbers with decimals, too.
fn number<N: std::str::FromStr>(text: &str, column: &str) -> Result<Option<N>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let whole = text.strip_suffix(".0").unwrap_or(text);
    let found = text.parse().or_else(|_| whole.parse());
    found.map(Some).map_err(|_| {
        format!("{column}: \"{}\" is not a number of this column", crate::figures::visible(text))
    })
}

/// A field of CSV.
fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}
