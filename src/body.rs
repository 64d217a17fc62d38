//! A value inside a JSON body, found without building the body.
//!
//! The unit is the text of a string or the literal of a number, exactly as it was sent: `1`, `1.0` and `"1"` are three
//! spellings, of which the first and the last are the same unit. A body that is not JSON to its end has no value.

use core::fmt;
use std::borrow::Cow;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::request::Request;

/// The value at a JSON Pointer (RFC 6901), when it is a string or a number. Of a repeated key the last counts, as in
/// the JSON parsers of most languages.
#[must_use]
pub fn value<'a>(body: &'a [u8], pointer: &str) -> Option<Cow<'a, [u8]>> {
    let mut parser = serde_json::Deserializer::from_slice(body);
    let raw = Walk { pointer }.deserialize(&mut parser).ok()??;
    parser.end().ok()?;
    match raw.as_bytes().first()? {
        // Without an escape the text stands in the body as it is.
        b'"' if !raw.contains('\\') => {
            raw.get(1..raw.len().checked_sub(1)?).map(|text| Cow::Borrowed(text.as_bytes()))
        }
        b'"' => serde_json::from_str::<String>(raw).ok().map(|text| Cow::Owned(text.into_bytes())),
        b'-' | b'0'..=b'9' => Some(Cow::Borrowed(raw.as_bytes())),
        _ => None,
    }
}

/// Whether a body of this length may be waited for and read: not above the limit, and not compressed. gRPC bodies are
/// no JSON.
pub fn body_is_readable(request: &impl Request, length: u64, limit: u64) -> bool {
    let plain = request
        .first("content-encoding")
        .is_none_or(|coding| coding.eq_ignore_ascii_case(b"identity"));
    let grpc =
        request.first("content-type").is_some_and(|kind| kind.starts_with(b"application/grpc"));
    (1..=limit).contains(&length) && plain && !grpc
}

/// Follows the rest of a pointer into the value that comes next.
#[derive(Clone, Copy)]
struct Walk<'p> {
    pointer: &'p str,
}

impl<'p> Walk<'p> {
    /// The pointer's next key, unescaped, and what follows it; `None` at its end.
    fn step(self) -> Option<(Cow<'p, str>, Self)> {
        let rest = self.pointer.strip_prefix('/')?;
        let (key, pointer) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
        let key = if key.contains('~') {
            Cow::Owned(key.replace("~1", "/").replace("~0", "~"))
        } else {
            Cow::Borrowed(key)
        };
        Some((key, Self { pointer }))
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = Option<&'de str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        if self.pointer.is_empty() {
            let raw: &RawValue = serde::Deserialize::deserialize(deserializer)?;
            return Ok(Some(raw.get()));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = Option<&'de str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let step = self.step();
        let mut found = None;
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            match &step {
                Some((wanted, rest)) if key == *wanted => found = map.next_value_seed(*rest)?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        // An index has no sign and no leading zero.
        let step = self.step().and_then(|(key, rest)| {
            let plain = key == "0" || key.starts_with(|c: char| matches!(c, '1'..='9'));
            plain.then(|| key.parse::<usize>().ok()).flatten().map(|index| (index, rest))
        });
        let (mut found, mut index) = (None, 0);
        loop {
            match &step {
                Some((wanted, rest)) if *wanted == index => match items.next_element_seed(*rest)? {
                    Some(value) => found = value,
                    None => break,
                },
                _ if items.next_element::<IgnoredAny>()?.is_none() => break,
                _ => {}
            }
            index += 1;
        }
        Ok(found)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(body: &str, pointer: &str) -> Option<String> {
        value(body.as_bytes(), pointer).map(|unit| String::from_utf8_lossy(&unit).into_owned())
    }

    #[test]
    fn a_unit_is_a_strings_text_or_a_numbers_literal() {
        for (body, pointer, unit) in [
            (r#"{"user_id": "4711"}"#, "/user_id", Some("4711")),
            (r#"{"user_id": 4711}"#, "/user_id", Some("4711")),
            (
                r#"{"user_id": 12345678901234567890123}"#,
                "/user_id",
                Some("12345678901234567890123"),
            ),
            (r#"{"user_id": -1.50e2}"#, "/user_id", Some("-1.50e2")),
            (r#"{"user_id": "a\u00e9\"b"}"#, "/user_id", Some("aé\"b")),
            (r#"{"a": {"b": [1, {"c": "x"}]}}"#, "/a/b/1/c", Some("x")),
            (r#"{"a/b": {"~": "x"}}"#, "/a~1b/~0", Some("x")),
            (r#"{"": "x"}"#, "/", Some("x")),
            (r#"{"u": 1, "u": 2}"#, "/u", Some("2")),
            (r#"[1, 2]"#, "/1", Some("2")),
            (r#"[1, 2]"#, "/01", None),
            (r#"[1, 2]"#, "/+1", None),
            (r#"[1, 2]"#, "/2", None),
            (r#"{"u": true}"#, "/u", None),
            (r#"{"u": null}"#, "/u", None),
            (r#"{"u": {"v": 1}}"#, "/u", None),
            (r#"{"u": "x"}"#, "/u/v", None),
            (r#"{"v": "x"}"#, "/u", None),
            (r#"{"u": "x"} trailing"#, "/u", None),
            (r#"{"u": "x""#, "/u", None),
            (r#"{"u": "x", "v": }"#, "/u", None),
            ("", "/u", None),
            ("not json", "/u", None),
            ("7", "/u", None),
        ] {
            assert_eq!(text(body, pointer).as_deref(), unit, "{body} {pointer}");
        }
    }

    #[test]
    fn a_hostile_body_is_no_value_and_no_crash() {
        assert_eq!(value(&[0xff, 0xfe], "/u"), None);
        assert_eq!(value(b"{\"u\": \"\xff\"}", "/u"), None);
        assert_eq!(text(&"[".repeat(100_000), "/0/0"), None);
        assert_eq!(
            text(&format!("{{\"u\": {}1{}}}", "[".repeat(5000), "]".repeat(5000)), "/v"),
            None
        );
    }
}
