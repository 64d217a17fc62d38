//! JSON as a table: objects one after another, on one line or several lines, or one array of objects. Keys are columns; an object without a key, or with null,
//! has no value there.
//!
//! The text is read into memory, since any row may bring a new key.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::records::{Fault, Record};

/// The objects of a JSON text.
pub(super) struct Json {
    text: Vec<u8>,
    /// Where each row is, and its line.
    rows: Vec<(u64, Range<usize>)>,
    next: usize,
    /// The keys of all rows, in the order in which they were met.
    pub(super) keys: Vec<String>,
}

impl Json {
    /// Finds the rows and their keys.
    ///
    /// # Errors
    /// An array that cannot be read, or a single object.
    pub(super) fn new(text: Vec<u8>) -> Result<Self, String> {
        let is_array = text.trim_ascii_start().starts_with(b"[");
        let rows = if is_array { of_array(&text)? } else { of_lines(&text) };
        let mut json = Self { text, rows, next: 0, keys: Vec::new() };
        let mut any = false;
        for (_, place) in &json.rows {
            let row = json.text.get(place.clone()).unwrap_or_default();
            let Ok(Object(fields)) = serde_json::from_slice(row) else { continue };
            any = true;
            for (key, _) in fields {
                if !json.keys.iter().any(|known| *known == key) {
                    json.keys.push(key.into_owned());
                }
            }
        }
        if let Some(key) = json.wrapper() {
            return Err(format!(
                "the rows are in \"{key}\" of a single object; expected one object per row\n  hint: \
                 jq -c '.{key}[]' FILE prints the rows"
            ));
        }
        if any {
            return Ok(json);
        }
        Err("this looks like JSON, but no line is an object by itself; expected one object per \
             line, or one array of objects\n  hint: jq -c prints one per line"
            .to_owned())
    }

    /// The key of a single object that has all rows as an array.
    fn wrapper(&self) -> Option<String> {
        let [(_, place)] = self.rows.as_slice() else { return None };
        let row = self.text.get(place.clone())?;
        let Ok(Object(fields)) = serde_json::from_slice(row) else { return None };
        let is_rows = |value: &&RawValue| {
            let text = value.get().trim_start().strip_prefix('[');
            text.is_some_and(|text| text.trim_start().starts_with('{'))
        };
        let rows = fields.iter().find(|(_, value)| is_rows(value));
        rows.map(|(key, _)| crate::figures::visible(key))
    }

    /// The next row with its line; `None` at the end.
    pub(super) fn next(&mut self, record: &mut Record) -> Option<(u64, Result<(), Fault>)> {
        let (line, place) = self.rows.get(self.next)?.clone();
        self.next += 1;
        let row = self.text.get(place).unwrap_or_default();
        Some((line, object(row, &self.keys, record)))
    }
}

/// Reads an object into the columns of these keys.
pub(super) fn object(row: &[u8], keys: &[String], record: &mut Record) -> Result<(), Fault> {
    let object = match serde_json::from_slice::<Object<'_>>(row) {
        Ok(object) => object,
        Err(error) if error.classify() == Category::Eof => return Err(Fault::Cut),
        Err(_) if has_no_number(row) => return Err(Fault::NotNumber),
        Err(_) => return Err(Fault::NotObject),
    };
    let mut fields: Vec<Option<&RawValue>> = vec![None; keys.len()];
    for (key, value) in object.0 {
        let column = keys.iter().position(|known| *known == key);
        let Some(field) = column.and_then(|column| fields.get_mut(column)) else { continue };
        if field.replace(value).is_some() {
            return Err(Fault::KeyTwice);
        }
    }
    record.clear();
    for field in fields {
        add(record, field.map_or("null", RawValue::get));
    }
    Ok(())
}

/// Whether an object has a value that programs write for what is no number.
fn has_no_number(row: &[u8]) -> bool {
    let has = |word: &[u8]| memchr::memmem::find(row, word).is_some();
    row.starts_with(b"{") && (has(b"NaN") || has(b"Infinity"))
}

/// Adds a value: text as it is meant, everything else as it is written, null as nothing.
fn add(record: &mut Record, value: &str) {
    match value.as_bytes().first() {
        Some(b'"') => {
            let text = serde_json::from_str::<Cow<'_, str>>(value).unwrap_or_default();
            record.push(text.as_bytes(), false);
        }
        Some(b'n') => record.push(b"", false),
        Some(b'-' | b'0'..=b'9') => record.push(value.as_bytes(), true),
        _ => record.push(value.as_bytes(), false),
    }
}

/// The objects of each line that is not empty. What cannot be read is a row as well, up to where the next object begins.
fn of_lines(text: &[u8]) -> Vec<(u64, Range<usize>)> {
    let mut rows = Vec::new();
    let mut start = 0;
    for (line, row) in (1..).zip(text.split(|byte| *byte == b'\n')) {
        let mut at = 0;
        while let Some(rest) = row.get(at..).filter(|rest| !rest.is_empty()) {
            // Between objects, some exports write commas.
            let is_between = |byte: &u8| byte.is_ascii_whitespace() || *byte == b',' && at > 0;
            if let Some(gap) = rest.iter().position(|byte| !is_between(byte)).filter(|gap| *gap > 0)
            {
                at += gap;
                continue;
            }
            if rest.iter().all(is_between) {
                break;
            }
            let mut values = serde_json::Deserializer::from_slice(rest).into_iter::<&RawValue>();
            let is_open = rest.starts_with(b"{") || rest.starts_with(b"[");
            let end = match values.next() {
                Some(Ok(_)) if is_open => values.byte_offset(),
                _ => next_object(rest),
            };
            let place = start + at..start + at + end;
            match rest.get(..end).filter(|item| item.starts_with(b"[")).map(of_array) {
                Some(Ok(items)) => rows.extend(
                    items
                        .into_iter()
                        .map(|(_, item)| (line, place.start + item.start..place.start + item.end)),
                ),
                _ => rows.push((line, place)),
            }
            at += end;
        }
        start += row.len() + 1;
    }
    rows
}

/// Where the next object begins after something that cannot be read: a brace behind a closing one.
fn next_object(text: &[u8]) -> usize {
    let mut closed = false;
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'{' if closed => return at,
            b'}' => closed = true,
            b',' | b' ' | b'\t' => {}
            _ => closed = false,
        }
    }
    text.len()
}

/// The items of an array.
fn of_array(text: &[u8]) -> Result<Vec<(u64, Range<usize>)>, String> {
    let items: Vec<&RawValue> = serde_json::from_slice(text).map_err(|error| {
        let what = match error.classify() {
            Category::Eof => "breaks off",
            _ => "cannot be read",
        };
        format!("the JSON array {what} in line {}, column {}", error.line(), error.column())
    })?;
    let (mut line, mut seen) = (1, 0);
    let place = |item: &&RawValue| {
        let start = (item.get().as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
        let between = text.get(seen..start).unwrap_or_default();
        line += memchr::memchr_iter(b'\n', between).count() as u64;
        seen = start;
        (line, start..start + item.get().len())
    };
    Ok(items.iter().map(place).collect())
}

/// The fields of an object, repeated ones included.
struct Object<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
        let mut fields = Vec::new();
        while let Some(Key(key)) = map.next_key()? {
            fields.push((key, map.next_value()?));
        }
        Ok(Object(fields))
    }
}

/// A key, borrowed unless it has escapes.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys, and each row with its line.
    type Read = (Vec<String>, Vec<(u64, Result<Vec<String>, Fault>)>);

    fn read(text: &str) -> Result<Read, String> {
        let mut json = Json::new(text.as_bytes().to_vec())?;
        let mut record = Record::default();
        let mut rows = Vec::new();
        while let Some((line, found)) = json.next(&mut record) {
            let fields = record.fields().map(|field| String::from_utf8(field.to_vec()).unwrap());
            rows.push((line, found.map(|()| fields.collect())));
        }
        Ok((json.keys, rows))
    }

    fn good(line: u64, fields: &[&str]) -> (u64, Result<Vec<String>, Fault>) {
        (line, Ok(fields.iter().map(|field| (*field).to_owned()).collect()))
    }

    #[test]
    fn lines_and_arrays_are_rows() {
        let lines =
            "{\"unit\":\"a\\\"b\",\"n\":1.50}\n\n {\"n\":null,\"late\":true,\"unit\":7}\r\n{}\n";
        let (keys, rows) = read(lines).unwrap();
        assert_eq!(keys, ["unit", "n", "late"]);
        let wanted =
            [good(1, &["a\"b", "1.50", ""]), good(3, &["7", "", "true"]), good(4, &["", "", ""])];
        assert_eq!(rows, wanted);
        let array =
            "\n[{\"unit\": \"a\",\n \"n\": {\"x\": 1}},\n\n {\"unit\": 9007199254740993}]\n";
        let (keys, rows) = read(array).unwrap();
        assert_eq!(keys, ["unit", "n"]);
        assert_eq!(rows, [good(2, &["a", "{\"x\": 1}"]), good(5, &["9007199254740993", ""])]);
    }

    #[test]
    fn numbers_are_told_from_text() {
        let mut json = Json::new(br#"{"a":1.103,"b":"1.103","c":-2,"d":false}"#.to_vec()).unwrap();
        let mut record = Record::default();
        json.next(&mut record).unwrap().1.unwrap();
        assert_eq!([0, 1, 2, 3].map(|at| record.is_number(at)), [true, false, true, false]);
    }

    #[test]
    fn a_bad_row_costs_only_itself() {
        let text = "{\"unit\":1}\n{\"unit\":2\n[3]\n{\"unit\":4,\"unit\":5}\nhello\n{\"unit\":6}";
        let (_, rows) = read(text).unwrap();
        assert_eq!(
            rows,
            [
                good(1, &["1"]),
                (2, Err(Fault::Cut)),
                (3, Err(Fault::NotObject)),
                (4, Err(Fault::KeyTwice)),
                (5, Err(Fault::NotObject)),
                good(6, &["6"]),
            ]
        );
        let (_, rows) = read("[{\"unit\":1}, 7]").unwrap();
        assert_eq!(rows, [good(1, &["1"]), (1, Err(Fault::NotObject))]);
    }

    #[test]
    fn what_is_no_list_of_objects_is_refused() {
        let problem = |text: &str| read(text).unwrap_err();
        assert_eq!(
            problem("[{\"unit\":1},\n{\"un"),
            "the JSON array breaks off in line 2, column 4"
        );
        assert!(problem("[{\"unit\":1}\n{}]").contains("cannot be read in line 2"));
        assert!(problem("{\n \"unit\": 1\n}").contains("one object per line"));
        assert!(problem("[1, 2]").contains("one array of objects"));
    }
}
