//! Requests of OTLP in protobuf, read where they are: a record of fifteen attributes would be fifty allocations as messages.
//!
//! Only what an exposure is made of is looked at, twice: once for what the record names, once for its values. A field that
//! comes again replaces the earlier one.

use std::borrow::Cow;

use sidetrack::names::log;

use crate::catalog::Catalog;
use crate::exposure::{Exposure, Fields, Unfit};
use sidetrack_analysis::Clock;

use super::timed;

/// What a record takes in memory, with the room of a list that grows.
const RECORD: usize = 2 * size_of::<Result<Exposure, Unfit>>();
/// What an exposure has beyond the bytes of its record: its time as text, and the head of an allocation.
const MORE: usize = 64;

/// A message in the wrong form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

type Read<T> = Result<T, Malformed>;

/// A field of a message.
enum Field<'a> {
    Number(u64),
    Fixed(u64),
    Bytes(&'a [u8]),
    Other,
}

/// The fields of a message with their numbers.
struct Message<'a>(&'a [u8]);

impl<'a> Message<'a> {
    fn next(&mut self) -> Read<Option<(u64, Field<'a>)>> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.number()?;
        let field = match tag & 7 {
            0 => Field::Number(self.number()?),
            1 => {
                let (bytes, rest) = self.0.split_first_chunk().ok_or(Malformed)?;
                self.0 = rest;
                Field::Fixed(u64::from_le_bytes(*bytes))
            }
            2 => {
                let length = usize::try_from(self.number()?).map_err(|_| Malformed)?;
                let (bytes, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
                self.0 = rest;
                Field::Bytes(bytes)
            }
            5 => {
                self.0 = self.0.get(4..).ok_or(Malformed)?;
                Field::Other
            }
            _ => return Err(Malformed),
        };
        Ok(Some((tag >> 3, field)))
    }

    /// A number of variable length.
    fn number(&mut self) -> Read<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (byte, after) = self.0.split_first().ok_or(Malformed)?;
            self.0 = after;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Malformed)
    }
}

/// Gives `to` each message in a field of a message.
fn each<'a>(message: &'a [u8], number: u64, to: &mut dyn FnMut(&'a [u8]) -> Read<()>) -> Read<()> {
    let mut message = Message(message);
    while let Some((found, field)) = message.next()? {
        if found == number {
            let Field::Bytes(bytes) = field else { return Err(Malformed) };
            to(bytes)?;
        }
    }
    Ok(())
}

/// Gives `to` each log record of a request.
fn each_record<'a>(request: &'a [u8], to: &mut dyn FnMut(&'a [u8]) -> Read<()>) -> Read<()> {
    each(request, 1, &mut |resource| each(resource, 2, &mut |scope| each(scope, 2, to)))
}

/// How much memory the records of a request take, in bytes.
pub(crate) fn weight(request: &[u8]) -> Read<usize> {
    let mut weight = 0_usize;
    each_record(request, &mut |record| {
        weight = weight.saturating_add(RECORD + MORE + record.len());
        Ok(())
    })?;
    Ok(weight)
}

/// All records of a request.
pub(crate) fn records(request: &[u8], catalog: &Catalog) -> Read<Vec<Result<Exposure, Unfit>>> {
    let (mut records, mut clock) = (Vec::new(), Clock::default());
    each_record(request, &mut |record| {
        let fields = fields(&Record::read(record)?)?;
        records.push(fields.and_then(|fields| fields.exposure(catalog, &mut clock)));
        Ok(())
    })?;
    Ok(records)
}

/// What a log record has.
#[derive(Default)]
struct Record<'a> {
    message: &'a [u8],
    /// Nanoseconds since 1970: when it happened, and when it was observed.
    times: [u64; 2],
    body: &'a [u8],
    names_experiment: bool,
}

impl<'a> Record<'a> {
    fn read(record: &'a [u8]) -> Read<Self> {
        let mut found = Self { message: record, ..Self::default() };
        let mut message = Message(record);
        while let Some((number, field)) = message.next()? {
            match (number, field) {
                (1, Field::Fixed(time)) => found.times[0] = time,
                (11, Field::Fixed(time)) => found.times[1] = time,
                (5, Field::Bytes(body)) => found.body = body,
                (6, Field::Bytes(attribute)) => {
                    found.names_experiment |= pair(attribute)?.0 == log::EXPERIMENT;
                }
                (1 | 5 | 6 | 11, _) => return Err(Malformed),
                _ => {}
            }
        }
        Ok(found)
    }
}

/// The fields of a record: its attributes or, if they name no experiment, its body.
fn fields<'a>(record: &Record<'a>) -> Read<Result<Fields<'a>, Unfit>> {
    let mut fields = Fields::default();
    let mut add = |attribute: &'a [u8]| {
        let (name, value) = pair(attribute)?;
        if let Some(text) = text(value)? {
            fields.set(name, text);
        }
        Ok(())
    };
    match content(record)? {
        Content::Attributes => each(record.message, 6, &mut add)?,
        Content::List(list) => each(list, 1, &mut add)?,
        Content::Line(line) => match Fields::of_line(line.trim_start()) {
            Ok(of_line) => fields = of_line,
            Err(unfit) => return Ok(Err(unfit)),
        },
    }
    let time = record.times.into_iter().find(|time| *time > 0);
    Ok(Ok(timed(fields, time.map(|nanoseconds| nanoseconds / 1_000_000))))
}

enum Content<'a> {
    Attributes,
    /// Pairs, as in attributes.
    List(&'a [u8]),
    /// A line of an access log.
    Line(&'a str),
}

fn content<'a>(record: &Record<'a>) -> Read<Content<'a>> {
    Ok(match last(record.body)? {
        Some((1, Field::Bytes(line))) if !record.names_experiment => match utf8(line)? {
            line if line.contains('{') => Content::Line(line),
            _ => Content::Attributes,
        },
        Some((6, Field::Bytes(list))) if !record.names_experiment => Content::List(list),
        _ => Content::Attributes,
    })
}

/// The name and the value of an attribute.
fn pair(attribute: &[u8]) -> Read<(&str, &[u8])> {
    let mut found = ("", [].as_slice());
    let mut message = Message(attribute);
    while let Some((number, field)) = message.next()? {
        match (number, field) {
            (1, Field::Bytes(name)) => found.0 = utf8(name)?,
            (2, Field::Bytes(value)) => found.1 = value,
            (1 | 2, _) => return Err(Malformed),
            _ => {}
        }
    }
    Ok(found)
}

/// The last of the fields of a value: it has one of several kinds.
fn last(value: &[u8]) -> Read<Option<(u64, Field<'_>)>> {
    const KINDS: u64 = 8;
    let (mut found, mut message) = (None, Message(value));
    while let Some(field) = message.next()? {
        if field.0 <= KINDS {
            found = Some(field);
        }
    }
    Ok(found)
}

/// A value as text; `None` if it is none, or a list.
fn text(value: &[u8]) -> Read<Option<Cow<'_, str>>> {
    Ok(match last(value)? {
        Some((1, Field::Bytes(text))) => Some(Cow::Borrowed(utf8(text)?)),
        Some((2, Field::Number(value))) => Some((value != 0).to_string().into()),
        Some((3, Field::Number(number))) => Some(number.cast_signed().to_string().into()),
        Some((4, Field::Fixed(bits))) => Some(f64::from_bits(bits).to_string().into()),
        Some((1..=4, _)) => return Err(Malformed),
        _ => None,
    })
}

fn utf8(bytes: &[u8]) -> Read<&str> {
    std::str::from_utf8(bytes).map_err(|_| Malformed)
}

#[cfg(test)]
mod tests;
