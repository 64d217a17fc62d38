//! How much memory the rows of a body take when they are read, before they are: `0,` has two bytes in a body, and a number has 32 in
//! memory. A row about a unit is stored once for each experiment.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as Failure, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::Format;
use crate::outcome::Outcome;

/// A value with its name: in a map, they have about half as much again of room.
const NAMED: usize = 3 * (size_of::<String>() + size_of::<Value>()) / 2;

/// The weight of a body in bytes, if a row about a unit becomes so many.
pub(crate) fn of(format: Format, body: &[u8], copies: usize) -> usize {
    let of_json = |text: &[u8]| {
        let mut weight = 0;
        let mut json = serde_json::Deserializer::from_slice(text);
        // What is no JSON is refused where it is read.
        let _ = Weigh { weight: &mut weight, copies }.deserialize(&mut json);
        weight
    };
    match format {
        Format::Json => of_json(body),
        Format::Lines => body.split(|byte| *byte == b'\n').map(of_json).sum(),
        Format::Csv => of_csv(body, copies),
    }
}

/// Each row of a table has all names of the header, and no fewer bytes than it has fields.
fn of_csv(body: &[u8], copies: usize) -> usize {
    let header = body.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let names = || header.trim_ascii().split(|byte| *byte == b',');
    let fields = names().count();
    let ends = body.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count();
    let rows = ends.min(body.len() / fields) + 1;
    let row = (fields * NAMED).saturating_add(header.len() + size_of::<Outcome>());
    let by_request = names().any(|name| name == b"request_id" || name == b"\"request_id\"");
    let once = rows.saturating_mul(row).saturating_add(body.len());
    if by_request { once } else { once.saturating_mul(copies) }
}

struct Weigh<'a> {
    weight: &'a mut usize,
    copies: usize,
}

impl Weigh<'_> {
    fn add(self, bytes: usize) {
        *self.weight = self.weight.saturating_add(bytes);
    }
}

impl<'de> DeserializeSeed<'de> for Weigh<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Weigh<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut row = size_of::<Outcome>();
        let mut by_request = false;
        while let Some((length, is_request)) = map.next_key_seed(Name)? {
            row = row.saturating_add(NAMED + length);
            by_request |= is_request;
            map.next_value_seed(Weigh { weight: &mut row, copies: 1 })?;
        }
        let copies = if by_request { 1 } else { self.copies };
        self.add(row.saturating_mul(copies));
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Self { weight, copies } = self;
        while list.next_element_seed(Weigh { weight, copies })?.is_some() {
            // A list that grows has up to twice its room.
            *weight = weight.saturating_add(2 * size_of::<Value>());
        }
        Ok(())
    }

    fn visit_bool<E: Failure>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Failure>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Failure>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Failure>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Failure>(self, text: &str) -> Result<(), E> {
        self.add(text.len());
        Ok(())
    }

    fn visit_unit<E: Failure>(self) -> Result<(), E> {
        Ok(())
    }
}

/// The length of a name, and whether it is that of the request. No text is made of it.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = (usize, bool);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(usize, bool), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = (usize, bool);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Failure>(self, name: &str) -> Result<(usize, bool), E> {
        Ok((name.len(), name == "request_id"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_values_weigh_what_they_become() {
        let zeros = format!("[{}0]", "0,".repeat(1000));
        assert!(of(Format::Json, zeros.as_bytes(), 1) > 32_000);
        let rows = "{\"unit\":\"a\",\"x\":1}\n".repeat(1000);
        let lines = of(Format::Lines, rows.as_bytes(), 1);
        assert!(lines > 1000 * (2 * NAMED + size_of::<Outcome>()), "{lines}");
        let table = |head: &str, copies: usize| {
            of(Format::Csv, format!("{head},x\n{}", "a,1\n".repeat(1000)).as_bytes(), copies)
        };
        let csv = table("unit", 1);
        assert!((lines / 2..2 * lines).contains(&csv), "{csv} {lines}");
        // Each experiment has its own row about a unit, but not about a request.
        assert_eq!(of(Format::Lines, rows.as_bytes(), 5), 5 * lines);
        assert_eq!(table("unit", 5), 5 * csv);
        let requests = rows.replace("unit", "request_id");
        assert!(of(Format::Lines, requests.as_bytes(), 5) < 2 * lines);
        assert_eq!(table("request_id", 5), table("request_id", 1));
        // Line ends alone are no rows with as many fields as a long header.
        let empty = format!("unit{}\n{}", ",x".repeat(1000), "\n".repeat(100_000));
        assert!(of(Format::Csv, empty.as_bytes(), 1) < 60_000_000);
        assert!(of(Format::Json, b"{", 1) < 1000);
    }
}
