//! A table of any columns: each cell a number, a word, or nothing. For predictions and reference data, whose columns are
//! not known beforehand.

use std::collections::HashMap;
use std::io::Read;

use super::json::Json;
use super::records::{Fault, Record, Records, split};
use super::value::{Value, is_missing_class, value};
use super::{Rows, text};
use crate::error::{Error, Part};
use crate::figures::visible;

/// How many malformed rows are shown.
const EXAMPLES: usize = 3;
/// Separators, in the order in which they are preferred.
const SEPARATORS: [u8; 4] = *b",;\t|";

/// A cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell {
    /// Empty, null, or a word that programs write for it.
    Missing,
    /// A number; yes and no are words.
    Number(f64),
    /// The number of a word of its column.
    Word(u32),
}

/// A column.
#[derive(Debug, Default)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// By row.
    pub cells: Vec<Cell>,
    /// The words, in the order in which they were met.
    pub words: Vec<String>,
    index: HashMap<String, u32>,
}

/// Rows of one or several files. A column that a file does not have is missing in its rows.
#[derive(Debug, Default)]
pub struct Cells {
    /// The columns, in the order in which they were met.
    pub columns: Vec<Column>,
    /// The names of all rows' keys: `request_id` and `unit`, as text, empty if missing.
    keys: [Vec<String>; 2],
    /// Rows that could be read.
    pub rows: usize,
    /// Rows that could not be read.
    pub malformed: u64,
    /// The first of them, with file, line and problem.
    pub examples: Vec<String>,
}

impl Column {
    /// The number of a word.
    fn word(&mut self, text: &str) -> u32 {
        if let Some(number) = self.index.get(text) {
            return *number;
        }
        let number = u32::try_from(self.words.len()).unwrap_or(u32::MAX);
        self.words.push(text.to_owned());
        self.index.insert(text.to_owned(), number);
        number
    }

    /// A cell as text; `None` if it is missing.
    #[must_use]
    pub fn text(&self, row: usize) -> Option<String> {
        match *self.cells.get(row)? {
            Cell::Missing => None,
            Cell::Number(number) => Some(number.to_string()),
            Cell::Word(word) => self.words.get(word as usize).cloned(),
        }
    }
}

impl Cells {
    /// Reads a text in addition: a table with a header, or JSON objects. `name` is for messages.
    ///
    /// # Errors
    /// A text that cannot be read, or that has no columns.
    pub fn read(&mut self, text: Box<dyn Read>, name: &str) -> Result<(), Error> {
        self.read_text(text::decode(text, name)?, name)
    }

    /// The same, of bytes.
    ///
    /// # Errors
    /// As [`Cells::read`].
    pub fn read_bytes(&mut self, bytes: Vec<u8>, name: &str) -> Result<(), Error> {
        self.read(Box::new(std::io::Cursor::new(bytes)), name)
    }

    /// Rows of requests, with the values of these columns.
    #[must_use]
    pub fn of_requests(names: &[String], rows: &[(String, Vec<String>)]) -> Self {
        let mut cells = Self::default();
        let columns = names.iter().map(|name| Place::Column(cells.column(name)));
        let places: Vec<Place> = columns.collect();
        let mut record = Record::default();
        for (request, values) in rows {
            record.clear();
            values.iter().for_each(|value| record.push(value.as_bytes(), false));
            cells.add(&record, &places, false);
            if let Some(key) = cells.keys[0].last_mut() {
                key.clone_from(request);
            }
        }
        cells
    }

    fn read_text(&mut self, mut text: Box<dyn std::io::BufRead>, name: &str) -> Result<(), Error> {
        let input = |problem: String| Error::input(Part::Outcomes(Some(name.to_owned())), problem);
        let start = text.fill_buf().map_err(Error::read(name))?.trim_ascii_start();
        let (mut rows, names, comma) = if start.starts_with(b"{") || start.starts_with(b"[") {
            let mut all = Vec::new();
            text.read_to_end(&mut all).map_err(Error::read(name))?;
            let json = Json::new(all).map_err(input)?;
            let names = json.keys.clone();
            (Rows::Json(json), names, false)
        } else {
            let mut records = Records::new(text);
            let mut first = records.first().map_err(Error::read(name))?;
            while first.as_deref().is_some_and(|line| line.starts_with(b"#")) {
                first = records.first().map_err(Error::read(name))?;
            }
            let first = first.ok_or_else(|| input("the file is empty".to_owned()))?;
            let (separator, names) = header(&first);
            records.separate(separator);
            (Rows::Table(records), names, separator != b',')
        };
        let places = self.places(&names).map_err(input)?;
        let mut record = Record::default();
        while let Some((line, found)) = rows.next(&mut record).map_err(Error::read(name))? {
            let fault = match found {
                Ok(()) if record.len() == names.len() => None,
                Ok(()) => {
                    Some(format!("{} fields, but the header has {}", record.len(), names.len()))
                }
                Err(fault) => Some(problem(fault).to_owned()),
            };
            match fault {
                None => self.add(&record, &places, comma),
                Some(fault) => {
                    self.malformed += 1;
                    if self.examples.len() < EXAMPLES {
                        self.examples.push(format!("{name}:{line}: {fault}"));
                    }
                }
            }
        }
        Ok(())
    }

    /// Where the columns of a file go.
    fn places(&mut self, names: &[String]) -> Result<Vec<Place>, String> {
        let mut places = Vec::new();
        for name in names {
            let place = match name.as_str() {
                "request_id" => Place::Key(0),
                "unit" => Place::Key(1),
                _ => Place::Column(self.column(name)),
            };
            if places.contains(&place) {
                return Err(format!("the header has \"{}\" twice", visible(name)));
            }
            places.push(place);
        }
        Ok(places)
    }

    fn column(&mut self, name: &str) -> usize {
        if let Some(place) = self.columns.iter().position(|column| column.name == name) {
            return place;
        }
        let cells = vec![Cell::Missing; self.rows];
        self.columns.push(Column { name: name.to_owned(), cells, ..Column::default() });
        self.columns.len() - 1
    }

    fn add(&mut self, record: &Record, places: &[Place], comma: bool) {
        let mut keys = [String::new(), String::new()];
        for (field, place) in places.iter().enumerate() {
            let text = record.get(field).unwrap_or_default();
            match *place {
                Place::Key(key) => {
                    if let Some(key) = keys.get_mut(key) {
                        *key = String::from_utf8_lossy(text).into_owned();
                    }
                }
                Place::Column(column) => {
                    let Some(column) = self.columns.get_mut(column) else { continue };
                    let cell = match value(text, comma) {
                        Value::Absent => Cell::Missing,
                        _ if is_missing_class(text) => Cell::Missing,
                        Value::Number(number) if !is_yes_no(text) => Cell::Number(number),
                        _ => Cell::Word(column.word(&String::from_utf8_lossy(text))),
                    };
                    column.cells.push(cell);
                }
            }
        }
        for (all, key) in self.keys.iter_mut().zip(keys) {
            all.push(key);
        }
        self.rows += 1;
        for column in &mut self.columns {
            column.cells.resize(self.rows, Cell::Missing);
        }
    }

    /// The request of a row; empty if it has none.
    #[must_use]
    pub fn request(&self, row: usize) -> &str {
        self.keys[0].get(row).map_or("", String::as_str)
    }

    /// The unit of a row; empty if it has none.
    #[must_use]
    pub fn unit(&self, row: usize) -> &str {
        self.keys[1].get(row).map_or("", String::as_str)
    }

    /// The column of this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }
}

/// Where a field goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Key(usize),
    Column(usize),
}

/// The separator that gives the most columns, and their names.
fn header(line: &[u8]) -> (u8, Vec<String>) {
    let read = |separator: u8| {
        let mut record = Record::default();
        split(line, separator, &mut record).ok().filter(|whole| *whole)?;
        let names = record.fields().map(|name| String::from_utf8_lossy(name).into_owned());
        Some((separator, names.collect::<Vec<String>>()))
    };
    let mut best = (b',', vec![String::from_utf8_lossy(line.trim_ascii()).into_owned()]);
    for found in SEPARATORS.into_iter().filter_map(read) {
        if found.1.len() > best.1.len() {
            best = found;
        }
    }
    best
}

fn is_yes_no(text: &[u8]) -> bool {
    text.eq_ignore_ascii_case(b"true") || text.eq_ignore_ascii_case(b"false")
}

const fn problem(fault: Fault) -> &'static str {
    match fault {
        Fault::Unclosed => "a quote is not closed",
        Fault::AfterQuote => "text follows a closing quote",
        Fault::TooLong => "a line of more than 8 MiB",
        Fault::Cut => "the object breaks off",
        Fault::NotObject => "not a JSON object",
        Fault::NotNumber => "NaN and Infinity are not JSON",
        Fault::KeyTwice => "a key is there twice",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(texts: &[&str]) -> Cells {
        let mut cells = Cells::default();
        for text in texts {
            cells.read_bytes(text.as_bytes().to_vec(), "t").unwrap();
        }
        cells
    }

    #[test]
    fn tables_and_objects_are_one() {
        let cells = read(&[
            "request_id;score;label\na;0,5;cat\nb;;NaN\nc;1\n",
            "{\"request_id\":\"d\",\"label\":\"dog\",\"unit\":\"u\"}\n{\"request_id\":1,\"ok\":true}\n{\n",
        ]);
        assert_eq!((cells.rows, cells.malformed), (4, 2), "{:?}", cells.examples);
        let text = |name: &str| {
            let column = cells.named(name).unwrap();
            (0..4).map(|row| column.text(row).unwrap_or_default()).collect::<Vec<_>>().join(",")
        };
        assert_eq!(text("score"), "0.5,,,");
        assert_eq!(text("label"), "cat,,dog,");
        assert_eq!(text("ok"), ",,,true");
        assert_eq!((cells.request(2), cells.request(3), cells.unit(2)), ("d", "1", "u"));
        assert_eq!(cells.named("score").unwrap().cells[0], Cell::Number(0.5));
        assert!(cells.examples[0].contains("2 fields, but the header has 3"));
    }

    #[test]
    fn a_column_twice_is_an_error() {
        let mut cells = Cells::default();
        let error = cells.read_bytes(b"a,b,a\n1,2,3\n".to_vec(), "t").unwrap_err();
        assert!(error.to_string().contains("\"a\" twice"), "{error}");
    }
}
