//! How much memory a request of OTLP in JSON takes when it is decoded, before it is: an empty record has two bytes in a body,
//! and hundreds in memory.

use std::fmt;

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs};
use serde::de::{DeserializeSeed, Deserializer, Error as Failure, MapAccess, SeqAccess, Visitor};

use crate::exposure::{Exposure, Unfit};

/// What a record takes, with the exposure that it becomes.
const RECORD: usize = size_of::<LogRecord>() + size_of::<Result<Exposure, Unfit>>();
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
