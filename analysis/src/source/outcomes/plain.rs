//! A table whose columns are known: CSV with a header, or JSON. Every row must be readable.

use std::io::Read;

use super::json::Json;
use super::records::{Fault, Record, Records, split};
use super::text;
use crate::error::{Error, Part};
use crate::figures::visible;

/// Reads a table with these columns in any order, and gives each row to `take`; missing values are empty.
///
/// # Errors
/// A text that cannot be read, a column that is missing or unknown, a row that cannot be read, or what `take` refuses.
pub(crate) fn read_plain<const N: usize>(
    text: Box<dyn Read>,
    name: &str,
    columns: &[&str; N],
    part: impl Fn(String) -> Part,
    take: &mut dyn FnMut(&[String; N]) -> Result<(), String>,
) -> Result<(), Error> {
    let bad = |problem: String| Error::input(part(name.to_owned()), problem);
    let mut text = text::decode(text, name).map_err(|error| match error {
        Error::Input { problem, .. } => bad(problem),
        error @ (Error::Read { .. } | Error::Temporary { .. }) => error,
    })?;
    let start = text.fill_buf().map_err(Error::read(name))?.trim_ascii_start();
    let mut record = Record::default();
    let mut row: [String; N] = std::array::from_fn(|_| String::new());
    let mut give = |line: u64, found: Result<(), Fault>, record: &Record, places: &[usize]| {
        let wrong = |problem: &str| bad(format!("line {line}: {problem}"));
        found.map_err(|fault| wrong(fault.words()))?;
        if record.len() != places.len() {
            return Err(wrong("too many or too few fields"));
        }
        row.iter_mut().for_each(String::clear);
        for (field, place) in record.fields().zip(places) {
            if let Some(cell) = row.get_mut(*place) {
                cell.push_str(&String::from_utf8_lossy(field));
            }
        }
        take(&row).map_err(|problem| wrong(&problem))
    };
    if start.starts_with(b"{") || start.starts_with(b"[") {
        let mut all = Vec::new();
        text.read_to_end(&mut all).map_err(Error::read(name))?;
        let mut json = Json::new(all).map_err(bad)?;
        let places = places(&json.keys, columns).map_err(bad)?;
        while let Some((line, found)) = json.next(&mut record) {
            give(line, found, &record, &places)?;
        }
        return Ok(());
    }
    let mut records = Records::new(text);
    let head = records.first().map_err(Error::read(name))?;
    let head = head.ok_or_else(|| bad("the file is empty".to_owned()))?;
    split(&head, b',', &mut record).map_err(|fault| bad(fault.words().to_owned()))?;
    let names: Vec<String> =
        record.fields().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    let places = places(&names, columns).map_err(bad)?;
    while let Some((line, found)) = records.next(&mut record).map_err(Error::read(name))? {
        give(line, found, &record, &places)?;
    }
    Ok(())
}

/// Where each of these columns belongs. Engines may write names in capitals.
fn places<const N: usize>(names: &[String], columns: &[&str; N]) -> Result<Vec<usize>, String> {
    let place = |name: &String| {
        let place = columns.iter().position(|column| column.eq_ignore_ascii_case(name));
        place.ok_or_else(|| {
            format!("unknown column \"{}\"; expected: {}", visible(name), columns.join(", "))
        })
    };
    let places: Vec<usize> = names.iter().map(place).collect::<Result<_, String>>()?;
    match columns.first().filter(|_| !places.contains(&0)) {
        Some(first) => Err(format!("the column \"{first}\" is missing")),
        None => Ok(places),
    }
}
