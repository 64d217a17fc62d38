//! Fields of an access log line that only segments need: the line is read once more, and only if there are segments.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use super::line::Lenient;

/// The values of these fields of a line, as text; nothing for what is absent, a list or an object.
pub(super) fn fields(line: &[u8], names: &[&str]) -> Vec<Option<String>> {
    let mut reader = serde_json::Deserializer::from_slice(line);
    // The line has been read before, so that an error cannot be new.
    Fields { names }.deserialize(&mut reader).unwrap_or_default()
}

struct Fields<'n> {
    names: &'n [&'n str],
}

impl<'de> DeserializeSeed<'de> for Fields<'_> {
    type Value = Vec<Option<String>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = Vec<Option<String>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = vec![None; self.names.len()];
        while let Some(place) = map.next_key_seed(Name { names: self.names })? {
            match place.and_then(|place| found.get_mut(place)) {
                Some(slot) => {
                    let value: Lenient<'_> = map.next_value()?;
                    *slot = value.0.id().ok().flatten().map(Cow::into_owned);
                }
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }
}

/// The place of a key among the names.
struct Name<'n> {
    names: &'n [&'n str],
}

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.names.iter().position(|name| *name == key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_named_fields_are_read() {
        let line = br#"{"country":"DE","deep":{"country":"FR"},"age":41,"tier":null,"beta":true,"list":[1]}"#;
        let found = fields(line, &["age", "country", "tier", "beta", "list", "none"]);
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(found, [some("41"), some("DE"), None, some("true"), None, None]);
        assert!(fields(b"{\"country\":", &["country"]).is_empty());
    }
}
