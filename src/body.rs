//! Values inside a JSON body, found and replaced without building the body.
//!
//! A value is the text of a string or the literal of a number, exactly as it was sent: `1`, `1.0`
//! and `"1"` are three spellings, of which the first and the last are the same unit. Of a repeated
//! key the last counts, as in the JSON parsers of most languages. A body that is not JSON to its
//! end has no value. An edit replaces the bytes of one value; all other bytes stay as they are.

mod edit;

use core::fmt;
use std::borrow::Cow;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

pub use edit::{DIGESTS, Edit, edited};

use crate::request::{Request, Unread};

/// The body is not JSON to its last byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotJson;

/// The bytes of the value at a JSON Pointer (RFC 6901), of any type; `None` if there is no value.
///
/// # Errors
///
/// A body that is not JSON.
pub fn find<'a>(body: &'a [u8], pointer: &str) -> Result<Option<&'a str>, NotJson> {
    let mut parser = serde_json::Deserializer::from_slice(body);
    let found = Walk { pointer }.deserialize(&mut parser).map_err(|_| NotJson)?;
    parser.end().map_err(|_| NotJson)?;
    Ok(found)
}

/// The value at a JSON Pointer, when it is a string or a number: a unit.
#[must_use]
pub fn value<'a>(body: &'a [u8], pointer: &str) -> Option<Cow<'a, [u8]>> {
    text(find(body, pointer).ok()??)
}

/// The value at a JSON Pointer, when it is a string, a number or a boolean.
#[must_use]
pub(crate) fn scalar<'a>(body: &'a [u8], pointer: &str) -> Option<Cow<'a, [u8]>> {
    let raw = find(body, pointer).ok()??;
    if matches!(raw, "true" | "false") { Some(raw.as_bytes().into()) } else { text(raw) }
}

fn text(raw: &str) -> Option<Cow<'_, [u8]>> {
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

/// Why a body with this announced length in bytes must not be waited for; `None` if it may be. A
/// body without an announced length may be an endless stream, unless its type says that it is one
/// JSON document.
pub fn unreadable(request: &impl Request, length: Option<u64>, limit: u64) -> Option<Unread> {
    let kind = request.first("content-type");
    let is_plain = request
        .first("content-encoding")
        .is_none_or(|coding| coding.eq_ignore_ascii_case(b"identity"));
    if kind.is_some_and(|kind| kind.starts_with(b"application/grpc")) {
        Some(Unread::Grpc)
    } else if length.is_some_and(|length| length > limit) {
        Some(Unread::TooLarge)
    } else if !is_plain {
        Some(Unread::Compressed)
    } else if length.is_none() && !kind.is_some_and(is_json) {
        Some(Unread::Endless)
    } else {
        None
    }
}

/// Whether a media type is one JSON document: `application/json` or `application/…+json`, with any
/// parameters.
fn is_json(kind: &[u8]) -> bool {
    let kind = kind.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    let ends_with = |end: &[u8]| {
        let at = kind.len().checked_sub(end.len());
        at.and_then(|at| kind.get(at..)).is_some_and(|tail| tail.eq_ignore_ascii_case(end))
    };
    kind.eq_ignore_ascii_case(b"application/json") || ends_with(b"+json")
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
    fn a_body_of_unknown_length_is_awaited_if_it_is_one_json_document() {
        for (headers, length, reason) in [
            (&[][..], Some(64), None),
            (&[], Some(65), Some(Unread::TooLarge)),
            (&[], None, Some(Unread::Endless)),
            (&[("content-type", "application/json")], None, None),
            (&[("content-type", "Application/JSON; charset=utf-8")], None, None),
            (&[("content-type", "application/merge-patch+json")], None, None),
            (&[("content-type", "application/x-ndjson")], None, Some(Unread::Endless)),
            (&[("content-type", "application/jsonl")], None, Some(Unread::Endless)),
            (&[("content-type", "json")], None, Some(Unread::Endless)),
            (&[("content-type", "application/grpc+json")], None, Some(Unread::Grpc)),
            (&[("content-type", "application/grpc")], Some(5), Some(Unread::Grpc)),
            (&[("content-encoding", "gzip")], Some(5), Some(Unread::Compressed)),
            (&[("content-encoding", "Identity")], Some(5), None),
        ] {
            let headers: Vec<(&str, &str)> = headers.to_vec();
            assert_eq!(unreadable(&headers, length, 64), reason, "{headers:?} {length:?}");
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
