//! How much memory a request of OTLP takes when it is decoded, before it is: an empty record has two bytes in a body, and
//! hundreds in memory.

use std::fmt;

use opentelemetry_proto::tonic::common::v1::{AnyValue, EntityRef, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use serde::de::{DeserializeSeed, Deserializer, Error as Failure, MapAccess, SeqAccess, Visitor};

use crate::exposure::{Exposure, Unfit};

/// What a record takes, with the exposure that it becomes.
const RECORD: usize = size_of::<LogRecord>() + size_of::<Result<Exposure, Unfit>>();
/// Deeper messages are refused when they are decoded.
const DEEPEST: usize = 100;

/// The messages of a request that have messages or lists inside.
#[derive(Clone, Copy)]
enum Kind {
    Request,
    ResourceLogs,
    Resource,
    Entity,
    ScopeLogs,
    Scope,
    Record,
    KeyValue,
    Value,
    Values,
    KeyValues,
    Text,
}

impl Kind {
    /// What a field has, and what it takes.
    const fn field(self, number: u64) -> Option<(Self, usize)> {
        Some(match (self, number) {
            (Self::Request, 1) => (Self::ResourceLogs, size_of::<ResourceLogs>()),
            (Self::ResourceLogs, 1) => (Self::Resource, 0),
            (Self::ResourceLogs, 2) => (Self::ScopeLogs, size_of::<ScopeLogs>()),
            (Self::Resource, 3) => (Self::Entity, size_of::<EntityRef>()),
            (Self::Entity, 3 | 4) => (Self::Text, size_of::<String>()),
            (Self::ScopeLogs, 1) => (Self::Scope, size_of::<InstrumentationScope>()),
            (Self::ScopeLogs, 2) => (Self::Record, RECORD),
            (Self::Resource, 1) | (Self::Scope, 3) | (Self::Record, 6) | (Self::KeyValues, 1) => {
                (Self::KeyValue, size_of::<KeyValue>())
            }
            (Self::Record, 5) | (Self::KeyValue, 2) | (Self::Values, 1) => {
                (Self::Value, size_of::<AnyValue>())
            }
            (Self::Value, 5) => (Self::Values, 0),
            (Self::Value, 6) => (Self::KeyValues, 0),
            _ => return None,
        })
    }
}

/// The weight of a request in protobuf, in bytes, or `None` if it is none.
pub(crate) fn of_protobuf(message: &[u8]) -> Option<usize> {
    let mut outer = vec![(message, Kind::Request)];
    let mut weight = 0_usize;
    while let Some((mut rest, kind)) = outer.pop() {
        while !rest.is_empty() {
            let tag = number(&mut rest)?;
            let length = match tag & 7 {
                0 => number(&mut rest).map(|_| 0)?,
                1 => 8,
                2 => usize::try_from(number(&mut rest)?).ok()?,
                5 => 4,
                _ => return None,
            };
            let (content, after) = rest.split_at_checked(length)?;
            rest = after;
            let Some((inner, takes)) = kind.field(tag >> 3).filter(|_| tag & 7 == 2) else {
                continue;
            };
            weight = weight.saturating_add(takes);
            if !content.is_empty() && !matches!(inner, Kind::Text) {
                outer.push((rest, kind));
                outer.push((content, inner));
                break;
            }
        }
        if outer.len() > DEEPEST {
            return None;
        }
    }
    Some(weight)
}

/// A number of variable length.
fn number(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// The weight of a request in JSON, in bytes.
pub(crate) fn of_json(text: &[u8]) -> Result<usize, serde_json::Error> {
    let mut weight = 0;
    let mut json = serde_json::Deserializer::from_slice(text);
    Weigh { weight: &mut weight, element: size_of::<KeyValue>() }.deserialize(&mut json)?;
    json.end()?;
    Ok(weight)
}

struct Weigh<'a> {
    weight: &'a mut usize,
    /// What an element takes if this is a list.
    element: usize,
}

impl Weigh<'_> {
    fn add(&mut self, bytes: usize) {
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

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        self.add(size_of::<AnyValue>());
        while let Some(name) = map.next_key::<String>()? {
            let element = match name.as_str() {
                "logRecords" | "log_records" => RECORD,
                _ => size_of::<ResourceLogs>(),
            };
            map.next_value_seed(Weigh { weight: self.weight, element })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        // A list in a list may be a message by the order of its fields, so its own lists may be of anything.
        while let Some(()) =
            list.next_element_seed(Weigh { weight: self.weight, element: RECORD })?
        {
            self.add(self.element);
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

    fn visit_str<E: Failure>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: Failure>(self) -> Result<(), E> {
        Ok(())
    }
}
